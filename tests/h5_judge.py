"""What libhdf5 finds in a file, as plain data, by h5py.  h5_ctypes asks another version of the library the same."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import h5py
import numpy as np


def describe(path: str) -> dict[str, Any]:
    """Every object by path, looked up by name link by link."""
    with h5py.File(path, "r") as file:
        found: dict[str, Any] = {"": _group(file)}
        visited: list[str] = []
        file.visititems(lambda name, node: visited.append(name))
        for name in visited:
            node = file[name]
            found[name] = _group(node) if isinstance(node, h5py.Group) else _dataset(node)
        return found


def _group(group: h5py.Group) -> dict[str, Any]:
    names = list(group)
    for name in names:
        assert name in group, name
        assert isinstance(group.get(name, getlink=True), h5py.HardLink), name
        for absent in (f"{name}\x01", f"{name}z", f"\x01{name}", name[:-1]):
            assert not absent or absent in (".", "/") or (absent in group) == (absent in names), absent
    for absent in ("\x01", "\U0010ffff", "absent", "m"):
        assert (absent in group) == (absent in names), absent
        if absent not in names:
            with contextlib.suppress(KeyError):
                group[absent]
                raise AssertionError(absent)
    return {"links": names, "attributes": _attributes(group)}


def _dataset(dataset: h5py.Dataset) -> dict[str, Any]:
    type_id, plist = dataset.id.get_type(), dataset.id.get_create_plist()
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, array, mtype=type_id)
    offset = dataset.id.get_offset()
    return {
        "dtype": dataset.dtype.str,
        "exact": bool(type_id.equal(h5py.h5t.py_create(dataset.dtype, logical=True))),
        "shape": list(dataset.shape),
        "contiguous": plist.get_layout() == h5py.h5d.CONTIGUOUS and not plist.get_nfilters(),
        "stored": dataset.id.get_storage_size(),
        "offset": offset if offset is not None and array.size else None,
        "bytes": array.tobytes().hex(),
        "attributes": _attributes(dataset),
    }


def _attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Name -> class, details of the type, shape, the bytes of each cell."""
    found = {}
    assert len(node.attrs) == len(list(node.attrs))
    for name in node.attrs:
        attribute = node.attrs.get_id(name)
        type_id, shape = attribute.get_type(), list(attribute.shape)
        if isinstance(type_id, h5py.h5t.TypeStringID):
            if type_id.is_variable_str():
                kind: list[Any] = ["vlen", type_id.get_cset()]
                value = node.attrs[name]
                texts = [value] if not shape else list(value)
                cells = [text.encode("utf-8", "surrogateescape").hex() for text in texts]
            else:
                kind = ["fixed", type_id.get_cset(), type_id.get_strpad(), type_id.get_size()]
                array = np.empty(shape, type_id.dtype)
                if array.size:
                    attribute.read(array, mtype=type_id)
                cells = [array.tobytes().hex()]
        else:
            array = np.empty(shape, type_id.dtype)
            if array.size:
                attribute.read(array, mtype=type_id)
            kind, cells = [type_id.dtype.str], [array.tobytes().hex()] if array.size else []
        found[name] = [kind, shape, cells]
    return found


def change(path: str, seed: int) -> None:
    """Add and remove links, datasets and attributes in every group."""
    rng = random.Random(seed)
    with h5py.File(path, "r+") as file:
        groups: list[h5py.Group] = [file]
        file.visititems(lambda name, node: groups.append(node) if isinstance(node, h5py.Group) else None)
        for group in groups:
            if not group:  # went with a group above it
                continue
            for name in list(group.attrs):
                if rng.random() < 0.4:
                    del group.attrs[name]
                elif rng.random() < 0.4:
                    group.attrs[name] = "changed ü" * rng.randrange(30)
            for name in list(group):
                if rng.random() < 0.3:
                    del group[name]
            for number in range(rng.choice((0, 1, 3, 20, 80))):
                name = f"{rng.choice('!Mz' if seed % 4 else '!Mz¡')}{number}new{'x' * rng.randrange(60)}"
                if name in group:
                    continue
                if rng.random() < 0.3:
                    group.create_group(name).attrs["name"] = f"n{number}"
                else:
                    group.create_dataset(name, data=np.arange(rng.randrange(9), dtype="<i4"))
            for number in range(rng.randrange(4)):
                group.attrs[f"added{number}"] = "added"
