"""The `.keras` archive: config.json, metadata.json, model.weights.h5 and assets in one zip.

Spec: spec/keras-zip.md (KZ).  Not here: the zip itself (zipio), the weights inside (weights_h5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refser import jsonio
from refser.errors import InvalidError, Problem
from refser.hdf5 import Group, plan_tree, read_tree
from refser.layouts._parts import (
    ASSETS,
    CONFIG,
    METADATA,
    NPZ,
    WEIGHTS,
    check_asset_names,
    checked_assets,
    config_bytes,
    metadata_bytes,
    npz_refused,
)
from refser.layouts._reading import Parts, Refuse
from refser.layouts.model_file import Assets, ModelFile
from refser.layouts.weights_h5 import no_store, read_store, store_tree
from refser.limits import Limits
from refser.values import Model
from refser.zipio import Archive

if TYPE_CHECKING:
    from refser.output import Output

_ANY_SIZE = 1 << 63
_USER_BLOCK = 512  # the first place but 0 where the signature of an HDF5 file can stand [H5-013]


def detect_keras_zip(archive: Archive) -> bool:
    """A member config.json at the top, beside weights or metadata [FT-009]."""
    return CONFIG in archive.sizes and not {WEIGHTS, NPZ, METADATA}.isdisjoint(archive.sizes)


def has_part(archive: Archive) -> bool:
    """A member config.json or weights: Keras looks at the first before it misses the other."""
    return not {CONFIG, WEIGHTS}.isdisjoint(archive.left_out.union(archive.sizes))


def read_keras_zip(path: str, archive: Archive, *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    """Raises the first KZ, WH or H5 requirement that the archive breaks; with `refuse`, each part's goes there."""
    sizes, parts = archive.sizes, Parts(refuse)
    _check_members(archive, parts)

    def text(name: str) -> str:
        data = archive.read(name, cap=limits.json_bytes, code="LI-001")
        return jsonio.decode_text(data, limits=limits, at=f"{archive.name}:{name}")

    def metadata() -> Mapping[str, Any]:
        return jsonio.parse_object(text(METADATA), limits=limits, at=f"{archive.name}:{METADATA}")

    def tree() -> Group:
        return read_tree(archive.open(WEIGHTS, cap=_ANY_SIZE, code="LI-004"), limits=limits, refuse=refuse)

    config = parts.read("config", lambda: text(CONFIG), None) if CONFIG in sizes else None
    about: Mapping[str, Any] = parts.read("metadata", metadata, {}) if METADATA in sizes else {}  # [KZ-015]
    root = parts.read("weights", tree, None) if WEIGHTS in sizes else None
    store = no_store() if root is None else parts.read("weights", lambda: read_store(root, refuse=refuse), no_store())
    prefix = f"{ASSETS}/"
    assets = {name.removeprefix(prefix): size for name, size in sizes.items() if name.startswith(prefix)}
    parts.read("assets", lambda: check_asset_names(assets, archive.name, refuse=refuse), None)
    known = {CONFIG, METADATA, WEIGHTS if WEIGHTS in sizes else NPZ}
    others = [name for name in sizes if name not in known and not name.startswith(prefix)]
    return ModelFile(
        path=path,
        layout="keras-zip",
        config_json=config,
        metadata=about,
        found_groups=lambda: store.groups,
        weights=store.weights,
        assets=Assets(assets, lambda name: archive.read(prefix + name, cap=limits.asset_bytes, code="LI-008")),
        problems=(*parts.problems, *(_unknown_member(archive, name) for name in others)),
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=store.left_out,
        roots=() if root is None else (root,),
        archive=archive,
    )


def _check_members(archive: Archive, parts: Parts) -> None:
    """Config and weights are there [KZ-009]; of those whose member is left out the reader has been told."""
    sizes = archive.sizes
    if METADATA in archive.left_out - sizes.keys():
        parts.unread.add("metadata")
    if any(name.startswith(f"{ASSETS}/") for name in archive.left_out):
        parts.unread.add("assets")
    for part, name in (("config", CONFIG), ("weights", WEIGHTS)):
        if name in sizes:
            continue
        if name in archive.left_out:
            parts.unread.add(part)
        elif part == "weights" and NPZ in sizes:
            parts.fail("weights", npz_refused(f"{archive.name}:{NPZ}"))
        else:
            message = f"an archive without {name}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
            missing = InvalidError(Problem(code="KZ-009", message=message, at=archive.name))
            parts.fail("config" if name == CONFIG else "weights", missing)


def write_keras_zip(model: Model, output: Output, *, hdf5_readable: bool = False) -> None:
    """Members in Keras's order, stored, with fixed times [KZ-002, KZ-012].

    With `hdf5_readable` the weights come first, where HDF5 looks for a file behind a user block: any HDF5 tool then opens
    the archive itself and reads its weights in place [KZ-019].
    """
    from refser.zipwrite import ArchiveWriter

    name = output.name
    config, metadata, assets = config_bytes(model, name), metadata_bytes(model, name), checked_assets(model, name)
    plan = plan_tree(store_tree(model))
    with output.open() as file:
        archive = ArchiveWriter(file)
        if hdf5_readable:
            archive.write(WEIGHTS, plan, size=plan.size, alignment=_USER_BLOCK)
        archive.write(METADATA, (metadata,))
        archive.write(CONFIG, (config,))
        if not hdf5_readable:
            archive.write(WEIGHTS, plan, size=plan.size)
        for asset, data in assets.items():
            archive.write(f"{ASSETS}/{asset}", (data,))
        archive.finish()


def _unknown_member(archive: Archive, name: str) -> Problem:
    message = f"a member that no Keras model has, {name!r}, is left alone"
    return Problem(code="KZ-001", message=message, at=archive.name)
