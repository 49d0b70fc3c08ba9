"""What several test files share: files made by h5py and zipfile alone, and the check of one refusal."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import refser
from refser.errors import RefserError
from refser.limits import Limits

GOLDEN = Path(__file__).parent / "golden"
CONFIG = b'{"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": []}, "registered_name": null}'
METADATA = b'{"keras_version": "3.15.1", "date_saved": "2026-11-22@10:38:59"}'
KERNEL = np.arange(6, dtype="<f4").reshape(2, 3)


@contextmanager
def refused(code: str, kind: type[RefserError] = RefserError) -> Iterator[Any]:
    """Exactly the requirement `code` is refused; `kind` itself or a kind of it."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.problem.code == code, str(caught.value)


def h5_bytes(fill: Callable[[h5py.File], object] | None = None, *, vars_group: bool = True, **options: Any) -> bytes:
    """An HDF5 file in memory: a root group `vars`, then what `fill` adds."""
    with h5py.File("memory", "w", driver="core", backing_store=False, **options) as file:
        if vars_group:
            file.create_group("vars")
        if fill is not None:
            fill(file)
        file.flush()
        return bytes(file.id.get_file_image())


def dense(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = KERNEL


class Pipe(io.RawIOBase):
    """What cannot seek, and so makes zipfile write data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def zip_bytes(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def keras_members(**changes: bytes) -> dict[str, bytes]:
    """The members of a small sound archive.  A name in `changes` has `__` for `.`."""
    members = {"metadata.json": METADATA, "config.json": CONFIG, "model.weights.h5": h5_bytes(dense)}
    return members | {name.replace("__", "."): data for name, data in changes.items()}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def central(data: bytes, name: str) -> int:
    """Offset of the member's record in the zip directory."""
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        if data[at + 46 : at + 46 + struct.unpack_from("<H", data, at + 28)[0]] == name.encode():
            return at
        at = data.find(b"PK\x01\x02", at + 4)
    raise AssertionError(f"no record of {name}")


def local(data: bytes, name: str) -> int:
    """Offset of the member's local header."""
    return int(struct.unpack_from("<I", data, central(data, name) + 42)[0])


def patched(data: bytes, *changes: tuple[str, int, Any]) -> bytes:
    """`data` with values written at offsets: (struct format, offset, value)."""
    out = bytearray(data)
    for form, at, value in changes:
        struct.pack_into(form, out, at, value)
    return bytes(out)


def hostile(path: Path) -> str:
    """A FIFO: whoever opens it blocks, so a test that ends has not opened it."""
    os.mkfifo(path)
    return str(path)


def everything(path: str | os.PathLike[str], limits: Limits | None = None) -> int:
    """Open a file and read all of it: every array, asset and text.  The number of bytes of its weights."""
    with refser.open(path, limits=limits or Limits()) as file:
        total = sum(weight.array().nbytes for weight in file.weights.values())
        for name in file.assets:
            file.assets[name]
        for read in (lambda: file.config, lambda: file.metadata, lambda: file.problems, file.load):
            read()
    return total
