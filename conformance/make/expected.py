"""What a file holds, found with h5py, zipfile and json alone: the expected answers of cases that have none written by hand.

Spec: spec/weights-h5.md, spec/legacy-h5.md, spec/weights-sharded.md, spec/values.md.  Not here: refser, which this judges.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Json = dict[str, Any]
OPAQUE = {1: "float8_e4m3fn", 2: "bfloat16"}  # where no attribute says otherwise


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_hand(weight: Json) -> Json:
    """A weight of an example, whose bytes stand in it."""
    return {"dtype": weight["dtype"], "shape": weight["shape"], "sha256": sha256(bytes.fromhex(weight["hex"]))}


def describe(path: Path) -> Json:
    """The answer of a reader: layout, weights in file order, names of weight groups, and what else the layout has."""
    if path.is_dir():
        files = {it.relative_to(path).as_posix(): it.read_bytes() for it in sorted(path.rglob("*")) if it.is_file()}
        return _model("keras-dir", files)
    data = path.read_bytes()
    if data[:4] == b"PK\x03\x04" or (data[:4] != b"\x89HDF" and zipfile.is_zipfile(path)):
        with zipfile.ZipFile(path) as archive:
            return _model("keras-zip", {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")})
    if not h5py.is_hdf5(path):
        found = json.loads(data)
        return _shards(path, found) if "weight_map" in found else _config(data, found)
    with h5py.File(io.BytesIO(data), "r") as file:
        weights = file.get("model_weights")
        if "model_config" in file.attrs or (weights is not None and _has_list(weights, "layer_names")):
            return _legacy(file, file["model_weights"], "legacy-h5")
        if _has_list(file, "layer_names"):
            return _legacy(file, file, "legacy-weights-h5")
        weights, names = _store(file)
    return {"layout": "weights-h5", "weights": weights, "names": names}


def _model(layout: str, files: dict[str, bytes]) -> Json:
    with h5py.File(io.BytesIO(files["model.weights.h5"]), "r") as file:
        weights, names = _store(file)
    return {
        "layout": layout,
        "weights": weights,
        "names": names,
        "config_sha256": sha256(files["config.json"]),
        "metadata": json.loads(files.get("metadata.json", b"{}")),
        "assets": {name[7:]: sha256(data) for name, data in sorted(files.items()) if name.startswith("assets/")},
    }


def _config(data: bytes, found: Json) -> Json:
    about = {key: found[key] for key in ("keras_version", "backend") if key in found}
    return {"layout": "config-json", "weights": {}, "config_sha256": sha256(data), "metadata": about}


def _shards(path: Path, index: Json) -> Json:
    files = {name for value in index["weight_map"].values() for name in ([value] if isinstance(value, str) else value)}
    stem = path.name.removesuffix(".json").removesuffix(".weights")
    first = f"{stem}_00000.weights.h5"  # which has the names where no weight is in any
    if not files and (path.parent / first).exists():
        files = {first}
    weights: Json = {}
    names: Json = {}
    for name in sorted(files):
        with h5py.File(path.parent / name, "r") as file:
            more, groups = _store(file)
        weights.update(more)
        names.update({key: value for key, value in groups.items() if names.get(key) is None})
    in_order = sorted(weights, key=lambda it: (_links(_group_of(it)), _natural(it[len(_group_of(it)) + 1 :])))
    return {"layout": "weights-sharded", "weights": {it: weights[it] for it in in_order}, "names": names}


# Weights files


def _links(path: str) -> list[bytes]:
    """Sorts groups as a walk meets them: parents first, links by their bytes."""
    return [part.encode() for part in path.split("/")]


def _natural(key: str) -> list[tuple[int, int, str]]:
    parts = key.split("/")
    return [(0, int(it), "") if it.isascii() and it.isdigit() and len(it) <= 9 else (1, 0, it) for it in parts]


def _group_of(path: str) -> str:
    parts = path.split("/")
    last = max(number for number, part in enumerate(parts[:-1]) if part == "vars")
    return "/".join(parts[: last + 1])


def _walk(group: h5py.Group, path: str) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    yield path, group
    for name in sorted(group, key=str.encode):
        child, below = group[name], f"{path}/{name}" if path else name
        if isinstance(child, h5py.Group):
            yield from _walk(child, below)
        else:
            yield below, child


def _store(file: h5py.File) -> tuple[Json, Json]:
    """Weights by weight group, in the order of the walk; the name of every weight group."""
    keys: dict[str, list[str]] = {}
    names: Json = {}
    found: Json = {}
    for path, node in _walk(file, ""):
        if isinstance(node, h5py.Dataset):
            keys.setdefault(_group_of(path), []).append(path)
            found[path] = weight(node)
        elif path.split("/")[-1] == "vars" and ("vars" not in path.split("/")[:-1] or _owns(node)):
            keys.setdefault(path, [])
            names[path] = _text(node.attrs["name"]) if "name" in node.attrs else None
    weights = {
        it: found[it] for group, paths in keys.items() for it in sorted(paths, key=lambda p: _natural(p[len(group) + 1 :]))
    }
    return weights, names


def _owns(group: h5py.Group) -> bool:
    return "name" in group.attrs or any(isinstance(child, h5py.Dataset) for child in group.values())


# Legacy files


def _has_list(owner: h5py.Group, attribute: str) -> bool:
    return attribute in owner.attrs or f"{attribute}0" in owner.attrs


def _names(owner: h5py.Group, attribute: str) -> list[str]:
    if attribute in owner.attrs:
        return [_text(cell) for cell in owner.attrs[attribute]]
    found: list[str] = []
    while (key := f"{attribute}{len(found)}") in owner.attrs:
        found.append(key)
    return [_text(cell) for key in found for cell in owner.attrs[key]]


def _legacy(file: h5py.File, weights: h5py.Group, layout: str) -> Json:
    groups = [weights[name] for name in _names(weights, "layer_names")]
    groups += [it for it in (weights.get("top_level_model_weights"), file.get("optimizer_weights")) if it is not None]
    found: Json = {}
    for group in groups:
        for name in _names(group, "weight_names"):
            found[f"{group.name}/{name}".strip("/")] = weight(group[name])
    config = file.attrs.get("model_config")
    about = {key: _text(file.attrs[key]) for key in ("keras_version", "backend") if key in file.attrs}
    text = {} if config is None else {"config_sha256": sha256(_text(config).encode())}
    return {"layout": layout, "weights": found, "metadata": about, **text}


# Values


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def weight(dataset: h5py.Dataset) -> Json:
    array = np.asarray(dataset[()])
    if array.dtype.kind == "O":  # strings of variable length: cells as long as the longest, padded with NUL
        array = np.array([it if isinstance(it, bytes) else it.encode() for it in array.ravel()], "S").reshape(array.shape)
    if array.dtype.kind == "S":
        dtype, data = "string", array.tobytes("C")
    elif array.dtype.kind == "V" and not array.dtype.names:
        dtype, data = _text(dataset.attrs.get("dtype", OPAQUE.get(array.dtype.itemsize))), array.tobytes("C")
    else:
        dtype, data = array.dtype.name, array.astype(array.dtype.newbyteorder("<")).tobytes("C")
    return {"dtype": dtype, "shape": list(array.shape), "sha256": sha256(data)}
