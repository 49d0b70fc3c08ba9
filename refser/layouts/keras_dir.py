"""A model directory: the members of a `.keras` archive as files (Keras 3.6 and later, `save(..., zipped=False)`).

Spec: spec/keras-dir.md (KD).  Not here: the weights inside (weights_h5).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from refser import atomic, jsonio
from refser.errors import AccessError, InvalidError, LimitError, Problem, RefserError, UnsafeError
from refser.hdf5 import Group, read_tree, write_tree
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
from refser.layouts._reading import Parts, Refuse, of_special_file
from refser.layouts.model_file import Assets, ModelFile
from refser.layouts.weights_h5 import no_store, read_store, store_tree
from refser.limits import Limits
from refser.source import FileSource, not_regular
from refser.values import Model

_UNKNOWN_MOST = 100  # files that are named one by one
_ENTRIES_WITHOUT_ASSETS = 3


def detect_keras_dir(path: str) -> bool:
    """A file config.json beside weights or metadata [FT-007]."""
    names = set(os.listdir(path))
    return CONFIG in names and not {WEIGHTS, NPZ, METADATA}.isdisjoint(names)


def has_part(path: str) -> bool:
    """A file config.json or weights: Keras looks at the first before it misses the other."""
    return not {CONFIG, WEIGHTS}.isdisjoint(os.listdir(path))


def read_keras_dir(path: str, *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    """Raises the first KD, WH or H5 requirement that the directory breaks; with `refuse`, each part's goes there."""
    name = os.path.basename(os.path.abspath(path))
    present = sorted(os.listdir(path))
    parts = Parts(None if refuse is None else lambda error: refuse(of_special_file(error, "KD-007")))
    _check_present(present, name, parts)

    def text(file: str) -> str:
        return jsonio.decode_text(_small(path, file, limits), limits=limits, at=f"{name}/{file}")

    def metadata() -> Mapping[str, Any]:
        try:
            return jsonio.parse_object(text(METADATA), limits=limits, at=f"{name}/{METADATA}")
        except AccessError as error:
            raise error if refuse is None else of_special_file(error, "KD-007") from error

    def tree() -> Group:
        weights = _open(path, WEIGHTS, limits)
        if weights.head(4) == b"PK\x03\x04":  # Keras gives npz weights the name of HDF5 ones here
            raise npz_refused(f"{name}/{WEIGHTS}")
        return read_tree(weights, limits=limits, refuse=parts.refuse)

    root = parts.read("weights", tree, None) if WEIGHTS in present else None
    config = parts.read("config", lambda: text(CONFIG), None) if CONFIG in present else None
    about: Mapping[str, Any] = parts.read("metadata", metadata, {}) if METADATA in present else {}  # [KD-006]
    store = no_store() if root is None else parts.read("weights", lambda: read_store(root, refuse=refuse), no_store())
    assets: Mapping[str, int] = {}
    if ASSETS in present:
        assets = parts.read("assets", lambda: _assets(path, limits, parts.refuse), assets)
    if METADATA not in present and refuse is not None:
        _miss_metadata(name, present, bool(assets), parts)
    known = {CONFIG, METADATA, WEIGHTS if WEIGHTS in present else NPZ, ASSETS}
    others = [file for file in present if file not in known]
    return ModelFile(
        path=path,
        layout="keras-dir",
        config_json=config,
        metadata=about,
        found_groups=lambda: store.groups,
        weights=store.weights,
        assets=Assets(assets, lambda asset: _asset(path, asset, limits)),
        problems=(*parts.problems, *_unknown_files(name, others)),
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=store.left_out,
        roots=() if root is None else (root,),
    )


def _check_present(present: Collection[str], at: str, parts: Parts) -> None:
    if WEIGHTS not in present:
        if NPZ in present:
            parts.fail("weights", npz_refused(f"{at}/{NPZ}"))
        else:
            message = f"a directory without {WEIGHTS}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
            parts.fail("weights", InvalidError(Problem(code="KD-005", message=message, at=at)))
    if CONFIG not in present:
        message = f"a directory without {CONFIG}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
        parts.fail("config", InvalidError(Problem(code="KZ-009", message=message, at=at)))


def _miss_metadata(at: str, present: Collection[str], has_assets: bool, parts: Parts) -> None:
    """Keras takes a directory of up to three entries for one without assets [KD-008, KD-009]."""
    if has_assets and len(present) <= _ENTRIES_WITHOUT_ASSETS:
        message = f"assets that Keras does not load: without {METADATA} it takes {len(present)} entries for all but the assets"
        parts.fail("metadata", InvalidError(Problem(code="KD-009", message=message, at=at, hint=f"add a {METADATA}")))
    else:
        message = f"a directory without {METADATA}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
        parts.problems.append(Problem(code="KD-008", message=message, at=at))


def write_keras_dir(model: Model, path: str, *, overwrite: bool = False) -> None:
    """The files that Keras writes, `assets/` even when it is empty [KD-001, KD-002]."""
    config, metadata, assets = config_bytes(model, path), metadata_bytes(model, path), checked_assets(model, path)
    tree = store_tree(model)
    with atomic.new_directory(path, overwrite=overwrite, members=(CONFIG, METADATA, WEIGHTS, ASSETS)) as temporary:
        _write(os.path.join(temporary, METADATA), metadata)
        _write(os.path.join(temporary, CONFIG), config)
        write_tree(os.path.join(temporary, WEIGHTS), tree)
        os.mkdir(os.path.join(temporary, ASSETS))
        for name, data in assets.items():
            target = os.path.join(temporary, ASSETS, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _write(target, data)


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


def _open(folder: str, name: str, limits: Limits) -> FileSource:
    """A file of the directory, not one that a link leads to [KD-003]."""
    path = os.path.join(folder, *name.split("/"))
    if os.path.islink(path) and not limits.follow_symlinks:
        hint = "resolve its links in a copy, or pass --follow-symlinks or Limits(follow_symlinks=True) if you trust it"
        message = f"{name} is a symbolic link; wanted a file of the directory itself"
        raise UnsafeError(Problem(code="KD-003", message=message, at=folder, hint=hint))
    source = FileSource(path)
    source.name = f"{os.path.basename(os.path.abspath(folder))}/{name}"
    return source


def _small(folder: str, name: str, limits: Limits) -> memoryview:
    source = _open(folder, name, limits)
    if source.size > limits.json_bytes:
        message = f"{source.size:,} bytes of JSON; the limit is {limits.json_bytes:,}"
        raise LimitError(Problem(code="LI-001", message=message, at=source.name))
    return source.view(0, source.size)


def _assets(folder: str, limits: Limits, refuse: Refuse | None) -> dict[str, int]:
    """Every file below `assets/`; links and special files are refused, not skipped [KD-003]."""
    sizes: dict[str, int] = {}
    count = 0
    top = os.path.join(folder, ASSETS)
    todo = [(top, "")]
    while todo:
        here, prefix = todo.pop()
        if os.path.islink(here) and not limits.follow_symlinks:
            message = f"{ASSETS}/{prefix} is a symbolic link; wanted a directory"
            raise UnsafeError(Problem(code="KD-003", message=message, at=folder))
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            name = f"{prefix}{entry.name}"
            count += not entry.is_dir()
            if count > limits.zip_members:
                message = f"over {limits.zip_members:,} assets"
                raise LimitError(Problem(code="LI-003", message=message, at=folder))
            try:
                _check_asset(entry, name, folder, limits)
            except RefserError as error:
                if refuse is None:
                    raise
                refuse(error)
                continue
            if entry.is_dir():
                todo.append((entry.path, f"{name}/"))
            else:
                sizes[name] = entry.stat().st_size
    return dict(sorted(sizes.items()))


def _check_asset(entry: os.DirEntry[str], name: str, folder: str, limits: Limits) -> None:
    check_asset_names((name,), folder)
    if entry.is_symlink() and not limits.follow_symlinks:
        message = f"{ASSETS}/{name} is a symbolic link; wanted a file"
        raise UnsafeError(Problem(code="KD-003", message=message, at=folder))
    if entry.is_dir() and name.count("/") >= limits.hdf5_depth:
        message = f"directories nested over {limits.hdf5_depth} deep"
        raise LimitError(Problem(code="LI-006", message=message, at=folder))
    if not entry.is_dir() and not entry.is_file():
        raise not_regular(entry.path, stat.S_IFMT(entry.stat().st_mode))


def _asset(folder: str, name: str, limits: Limits) -> bytes:
    source = _open(folder, f"{ASSETS}/{name}", limits)
    if source.size > limits.asset_bytes:
        message = f"an asset of {source.size:,} bytes; the limit is {limits.asset_bytes:,}"
        raise LimitError(Problem(code="LI-008", message=message, at=source.name))
    return bytes(source.view(0, source.size))


def _unknown_files(folder: str, names: list[str]) -> Iterator[Problem]:
    for name in names[:_UNKNOWN_MOST]:
        yield Problem(code="KD-004", message=f"a file that no Keras model has, {name!r}, is left alone", at=folder)
    if more := len(names) - _UNKNOWN_MOST if len(names) > _UNKNOWN_MOST else 0:
        yield Problem(code="KD-004", message=f"{more:,} files more that no Keras model has are left alone", at=folder)
