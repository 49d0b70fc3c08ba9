"""An h5py that reads one file for each line on stdin: what a mutant holds.  It may hang or crash, which its caller expects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from typing import Any

import h5py
import numpy as np

SHORT = 4096  # bytes that are told as they are


def look(path: str) -> dict[str, Any]:
    """By path: of a dataset its type, shape and its bytes or a hash of them; of a group its attributes.

    What fails is left out.
    """
    found: dict[str, Any] = {"in chunks": []}
    with h5py.File(path, "r") as file:
        todo: list[tuple[str, h5py.Group]] = [("", file)]
        while todo and len(found) < 3000:
            prefix, group = todo.pop()
            found[f"{prefix}@"] = attributes(group)
            for name in group:
                try:
                    node = group[name]
                    if isinstance(node, h5py.Group):
                        todo.append((f"{prefix}{name}/", node))
                    elif isinstance(node, h5py.Dataset):
                        found[f"{prefix}{name}"] = values(node)
                        if node.chunks:
                            found["in chunks"].append(f"{prefix}{name}")
                except Exception:
                    continue
    return found


def values(dataset: h5py.Dataset) -> list[Any] | None:
    if dataset.size is None or dataset.size * dataset.dtype.itemsize > 1 << 22 or dataset.dtype.hasobject:
        return None
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, array, mtype=h5py.h5t.py_create(dataset.dtype, logical=True))
    native = array if array.dtype.kind in "SV" else array.astype(array.dtype.newbyteorder("<"))
    data = native.tobytes()
    return [dataset.dtype.kind, list(dataset.shape), data.hex() if len(data) <= SHORT else hashlib.sha1(data).hexdigest()]


def attributes(group: h5py.Group) -> dict[str, Any]:
    """Texts and numbers, and lists of them."""
    found: dict[str, Any] = {}
    for name in group.attrs:
        try:
            kind, value = group.attrs.get_id(name).get_type(), group.attrs[name]
            if isinstance(kind, h5py.h5t.TypeStringID):
                found[name] = value if isinstance(value, str) else [text(cell) for cell in value]
            elif isinstance(kind, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)) and value.ndim < 2:
                found[name] = value.tolist()
        except Exception:
            continue
    return found


def text(cell: str | bytes) -> str:
    """NumPy keeps what stands behind the NUL of a cell of fixed length [H5-051]."""
    return cell if isinstance(cell, str) else cell.split(b"\0")[0].decode()


def main() -> None:
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for line in sys.stdin:
        try:
            answer = look(line.strip())
        except Exception:
            answer = {}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
