"""The `.keras` archive: config.json, metadata.json, model.weights.h5 and assets in one zip.

Spec: spec/keras-zip.md (KZ).  Not here: the zip itself (zipio), the weights inside (weights_h5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refser import jsonio
from refser.errors import InvalidError, Problem
from refser.hdf5 import plan_tree, read_tree
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
    parse_metadata,
)
from refser.layouts.model_file import Assets, ModelFile
from refser.layouts.weights_h5 import read_store, store_tree
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


def read_keras_zip(path: str, archive: Archive, *, limits: Limits) -> ModelFile:
    """Raises the first KZ, WH or H5 requirement that the archive breaks."""
    sizes = archive.sizes
    if WEIGHTS not in sizes:
        if NPZ in sizes:
            raise npz_refused(f"{archive.name}:{NPZ}")
        message = f"an archive without {WEIGHTS}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
        raise InvalidError(Problem(code="KZ-009", message=message, at=archive.name))
    config = archive.read(CONFIG, cap=limits.json_bytes, code="LI-001")
    metadata = archive.read(METADATA, cap=limits.json_bytes, code="LI-001") if METADATA in sizes else b"{}"  # [KZ-015]
    store = read_store(read_tree(archive.open(WEIGHTS, cap=_ANY_SIZE, code="LI-004"), limits=limits))
    prefix = f"{ASSETS}/"
    assets = {name.removeprefix(prefix): size for name, size in sizes.items() if name.startswith(prefix)}
    check_asset_names(assets, archive.name)
    others = [name for name in sizes if name not in (CONFIG, METADATA, WEIGHTS) and not name.startswith(prefix)]
    return ModelFile(
        path=path,
        layout="keras-zip",
        config_json=jsonio.decode_text(config, limits=limits, at=f"{archive.name}:{CONFIG}"),
        metadata=parse_metadata(metadata, limits=limits, at=f"{archive.name}:{METADATA}"),
        found_groups=lambda: store.groups,
        weights=store.weights,
        assets=Assets(assets, lambda name: archive.read(prefix + name, cap=limits.asset_bytes, code="LI-008")),
        problems=tuple(_unknown_member(archive, name) for name in others),
        limits=limits,
    )


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
