"""A model directory: the members of a `.keras` archive as files (Keras 3.6 and later, `save(..., zipped=False)`).

Spec: spec/keras-dir.md (KD).  Not here: the weights inside (weights_h5).
"""

from __future__ import annotations

import os
import stat

from refser import atomic, jsonio
from refser.errors import InvalidError, LimitError, Problem, UnsafeError
from refser.hdf5 import read_tree, write_tree
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
from refser.source import FileSource, not_regular
from refser.values import Model


def detect_keras_dir(path: str) -> bool:
    """A file config.json beside weights or metadata [FT-007]."""
    names = set(os.listdir(path))
    return CONFIG in names and not {WEIGHTS, NPZ, METADATA}.isdisjoint(names)


def read_keras_dir(path: str, *, limits: Limits) -> ModelFile:
    """Raises the first KD, WH or H5 requirement that the directory breaks."""
    name = os.path.basename(os.path.abspath(path))
    present = sorted(os.listdir(path))
    if WEIGHTS not in present:
        if NPZ in present:
            raise npz_refused(f"{name}/{NPZ}")
        message = f"a directory without {WEIGHTS}; wanted {CONFIG}, {METADATA} and {WEIGHTS}"
        raise InvalidError(Problem(code="KD-005", message=message, at=name))
    weights = _open(path, WEIGHTS, limits)
    if weights.head(4) == b"PK\x03\x04":  # Keras gives npz weights the name of HDF5 ones here
        raise npz_refused(f"{name}/{WEIGHTS}")
    config = _small(path, CONFIG, limits)
    metadata = _small(path, METADATA, limits) if METADATA in present else b"{}"  # [KD-006]
    store = read_store(read_tree(weights, limits=limits))
    assets = _assets(path, limits) if ASSETS in present else {}
    return ModelFile(
        path=path,
        layout="keras-dir",
        config_json=jsonio.decode_text(config, limits=limits, at=f"{name}/{CONFIG}"),
        metadata=parse_metadata(metadata, limits=limits, at=f"{name}/{METADATA}"),
        found_groups=lambda: store.groups,
        weights=store.weights,
        assets=Assets(assets, lambda asset: _asset(path, asset, limits)),
        problems=tuple(_unknown_file(name, file) for file in present if file not in (CONFIG, METADATA, WEIGHTS, ASSETS)),
        limits=limits,
    )


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


def _assets(folder: str, limits: Limits) -> dict[str, int]:
    """Every file below `assets/`; links and special files are refused, not skipped [KD-003]."""
    sizes: dict[str, int] = {}
    top = os.path.join(folder, ASSETS)
    todo = [(top, "")]
    while todo:
        here, prefix = todo.pop()
        if os.path.islink(here) and not limits.follow_symlinks:
            message = f"{ASSETS}/{prefix} is a symbolic link; wanted a directory"
            raise UnsafeError(Problem(code="KD-003", message=message, at=folder))
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            name = f"{prefix}{entry.name}"
            if len(sizes) >= limits.zip_members:
                message = f"over {limits.zip_members:,} assets"
                raise LimitError(Problem(code="LI-003", message=message, at=folder))
            check_asset_names((name,), folder)
            if entry.is_symlink() and not limits.follow_symlinks:
                message = f"{ASSETS}/{name} is a symbolic link; wanted a file"
                raise UnsafeError(Problem(code="KD-003", message=message, at=folder))
            if entry.is_dir():
                if name.count("/") >= limits.hdf5_depth:
                    message = f"directories nested over {limits.hdf5_depth} deep"
                    raise LimitError(Problem(code="LI-006", message=message, at=folder))
                todo.append((entry.path, f"{name}/"))
            elif entry.is_file():
                sizes[name] = entry.stat().st_size
            else:
                raise not_regular(entry.path, stat.S_IFMT(entry.stat().st_mode))
    return dict(sorted(sizes.items()))


def _asset(folder: str, name: str, limits: Limits) -> bytes:
    source = _open(folder, f"{ASSETS}/{name}", limits)
    if source.size > limits.asset_bytes:
        message = f"an asset of {source.size:,} bytes; the limit is {limits.asset_bytes:,}"
        raise LimitError(Problem(code="LI-008", message=message, at=source.name))
    return bytes(source.view(0, source.size))


def _unknown_file(folder: str, name: str) -> Problem:
    return Problem(code="KD-004", message=f"a file that no Keras model has, {name!r}, is left alone", at=folder)
