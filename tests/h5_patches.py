"""The files of the chapters on HDF5 with bytes changed by hand, and how a reader has to refuse them."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from helpers import refused
from spec_examples import bases, read_all, with_patch

from refser.errors import MalformedError, RefserError

NONE = b"\xff" * 8
ONE = {"a": {"dtype": "float32", "shape": [2], "hex": "0000803f00000040"}}
Patch = list[tuple[int, bytes]]


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def patched(base: str, *changes: tuple[int, bytes]) -> bytes:
    return with_patch(bases()[base], [[at, new.hex()] for at, new in changes])


def refuse(code: str, kind: type[RefserError], base: str, *changes: tuple[int, bytes]) -> None:
    with refused(code, kind):
        read_all(patched(base, *changes))


def array(*changes: tuple[int, bytes], code: str = "H5-011", kind: type[RefserError] = MalformedError) -> None:
    """The file `one-array` is refused once these bytes are changed."""
    refuse(code, kind, "one-array", *changes)


def text(*changes: tuple[int, bytes], code: str = "H5-011", kind: type[RefserError] = MalformedError) -> None:
    refuse(code, kind, "text", *changes)


@contextmanager
def cheap(seconds: float = 2.0, memory: int = 32 << 20) -> Iterator[None]:
    """What runs inside ends soon and takes little memory."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        spent, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spent < seconds
    assert peak < memory


@contextmanager
def only_refser_errors() -> Iterator[None]:
    """It works, or one of ours says why not."""
    with suppress(RefserError):
        yield


def sealed(*changes: tuple[int, bytes]) -> bytes:
    """The file `compact` with bytes changed in its root header, whose checksum is mended."""
    data = bytearray(patched("compact", *changes))
    data[99:103] = struct.pack("<I", jenkins(bytes(data[48:99])))
    return bytes(data)


def jenkins(key: bytes) -> int:
    """`hashlittle` of lookup3.c, written from its macros."""
    mask, a = 0xFFFFFFFF, (0xDEADBEEF + len(key)) & 0xFFFFFFFF
    b = c = a

    def rot(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    here = 0
    while len(key) - here > 12:
        x, y, z = struct.unpack_from("<3I", key, here)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = (a - c) & mask ^ rot(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ rot(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 4)
        b = (b + a) & mask
        here += 12
    if here == len(key):
        return c
    x, y, z = struct.unpack("<3I", key[here:].ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - rot(b, 14)) & mask
    a = ((a ^ c) - rot(c, 11)) & mask
    b = ((b ^ a) - rot(a, 25)) & mask
    c = ((c ^ b) - rot(b, 16)) & mask
    a = ((a ^ c) - rot(c, 4)) & mask
    b = ((b ^ a) - rot(a, 14)) & mask
    return ((c ^ b) - rot(b, 24)) & mask
