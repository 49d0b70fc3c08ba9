"""An HDF5 file as plain values, read with h5py's low-level calls: what two files must share to be alike."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def h5_tree(source: Any) -> dict[str, Any]:
    """Path -> what is there: a group's attributes, a dataset's attributes, type, shape, storage and bytes."""
    found: dict[str, Any] = {}
    with h5py.File(source, "r") as file:
        found["/"] = {"attributes": _attributes(file)}
        todo: list[tuple[str, h5py.Group]] = [("/", file)]
        while todo:
            path, group = todo.pop()
            for name in group:
                node = group[name]
                found[f"{path}{name}"] = {"attributes": _attributes(node)}
                if isinstance(node, h5py.Group):
                    todo.append((f"{path}{name}/", node))
                else:
                    found[f"{path}{name}"] |= _dataset(node)
    return found


def weights_tree(path: Path) -> dict[str, Any]:
    """The HDF5 tree of whatever holds the weights, but of shards."""
    if path.is_dir():
        return h5_tree(path / "model.weights.h5")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return h5_tree(io.BytesIO(archive.read("model.weights.h5")))
    return h5_tree(path)


def _dataset(node: h5py.Dataset) -> dict[str, Any]:
    plist, type_id = node.id.get_create_plist(), node.id.get_type()
    raw = np.empty(node.shape, np.dtype((np.void, type_id.get_size())))
    if raw.size:
        node.id.read(h5py.h5s.ALL, h5py.h5s.ALL, raw, type_id)
    return {
        "type": _type(type_id),
        "shape": node.shape,
        "class": node.id.get_space().get_simple_extent_type(),
        "layout": plist.get_layout(),
        "filters": plist.get_nfilters(),
        "fill": plist.get_fill_time(),
        "allocation": plist.get_alloc_time(),
        "data": raw.tobytes(),
    }


def _attributes(node: Any) -> dict[str, Any]:
    """Name -> (stored type, shape, value), in name order: Keras's order of writing has no meaning."""
    found = {}
    for name in sorted(node.attrs):
        attribute = h5py.h5a.open(node.id, name.encode())
        value = node.attrs[name]
        found[name] = (_type(attribute.get_type()), attribute.shape, value.tolist() if isinstance(value, np.ndarray) else value)
    return found


def _type(type_id: Any) -> tuple[Any, ...]:
    """An HDF5 type by class, size and, for strings, character set and padding; by its encoding for all else."""
    if isinstance(type_id, h5py.h5t.TypeStringID):
        return ("string", type_id.is_variable_str(), type_id.get_cset(), type_id.get_strpad(), type_id.get_size())
    return (type_id.get_class(), type_id.get_size(), type_id.encode())
