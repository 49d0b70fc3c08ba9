"""The filters of a dataset, and undoing them on the bytes of one chunk.

Spec: spec/hdf5-chunks.md (H5-080 to H5-083), spec/hdf5.md (H5-004).  HDF5 File Format Specification IV.A.2.l.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from refser.errors import Problem, UnsupportedError
from refser.hdf5._image import Image

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
_FILTERS_MAX = 32
_NAMED = 256  # from this number on, a filter has a name in version 2 too
_CHECKSUM = 4
_WORDS = 1 << 15  # words of a checksum that are added up at once: their sums stay below 2 ** 63
_MOD = 0xFFFF


class Filter(NamedTuple):
    number: int
    value: int  # the first of its client values: bytes of an element, for shuffle


def read_filters(image: Image, body: int, size: int, at: str) -> tuple[Filter, ...]:
    """The filters of a pipeline message, in the order in which they were applied [H5-080]."""
    buffer, end = image.buffer, body + size
    version, count = (buffer[body], buffer[body + 1]) if size >= 2 else (0, 0)
    if version not in (1, 2) or count > _FILTERS_MAX:
        image.malformed(f"a filter message of {size:,} bytes, version {version}, with {count} filters", at)
    found: list[Filter] = []
    here = body + (8 if version == 1 else 2)
    for _ in range(count):
        head = buffer[here : min(here + 8, end)].tobytes().ljust(8, b"\0")  # what the end cuts off is refused below
        number, length, _, values = struct.unpack("<4H", head)
        here += 8
        if version == 2 and number < _NAMED:
            length, values = 0, struct.unpack_from("<H", head, 4)[0]
            here -= 2
        here += -(-length // 8) * 8 if version == 1 else length
        first = int.from_bytes(buffer[here : min(here + 4, end)], "little") if values else 0
        here += 4 * (values + (values & 1 if version == 1 else 0))
        if here > end:
            image.malformed("a filter message that is cut short", at)
        if number not in (DEFLATE, SHUFFLE, FLETCHER32):
            message = f"compressed with HDF5 filter {number}; Keras uses none"
            raise UnsupportedError(Problem(code="H5-004", message=message, at=image.at(at), hint="rewrite it with h5repack"))
        if number == SHUFFLE and not first:
            image.malformed("a shuffle filter of elements without a size", at)
        if number in (other.number for other in found):
            image.outside(f"the filter {number} twice", at)
        found.append(Filter(number, first))
    return tuple(found)


def is_plain(filters: tuple[Filter, ...], mask: int) -> bool:
    """Whether the bytes of a chunk are its elements: bit n of its mask leaves out filter n [H5-081]."""
    return not ~mask & ((1 << len(filters)) - 1)


def undo(image: Image, filters: tuple[Filter, ...], mask: int, data: memoryview, size: int, what: str, at: str) -> memoryview:
    """The `size` bytes from which the filters made `data`, the last filter first [H5-081]."""
    applied = [one for place, one in enumerate(filters) if not mask >> place & 1]
    while applied:
        number, value = applied.pop()
        if number == FLETCHER32:
            data = _checked(image, data, what, at)
        elif number == SHUFFLE:
            data = _unshuffled(data, value)
        else:
            checksums = _CHECKSUM * sum(one.number == FLETCHER32 for one in applied)
            data = _inflated(image, data, size + checksums, what, at)
    if len(data) != size:
        image.malformed(f"{what} that decodes to {len(data):,} bytes; wanted {size:,}", at, "H5-082")
    return data


def _inflated(image: Image, data: memoryview, size: int, what: str, at: str) -> memoryview:
    """One whole zlib stream that gives `size` bytes; never more than one byte over that is made [H5-082]."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, size + 1)
    except zlib.error as error:
        image.malformed(f"{what} that does not inflate: {error}", at, "H5-082")
    if len(found) != size or not stream.eof or stream.unused_data:
        length = f"over {size:,} bytes" if len(found) > size else f"{len(found):,} bytes"
        end = "" if stream.eof else " without an end" if len(found) <= size else ""
        extra = f" and {len(stream.unused_data):,} bytes behind it" if stream.unused_data else ""
        image.malformed(f"{what} with a stream of {length}{end}{extra}; wanted {size:,}", at, "H5-082")
    return memoryview(found)


def _unshuffled(data: memoryview, width: int) -> memoryview:
    """All first bytes of the elements, then all second ones; what makes no whole element stays at the end [H5-081]."""
    import numpy as np

    count = len(data) // width
    if width == 1 or count < 2:
        return data
    raw = np.frombuffer(data, np.uint8)
    found = np.empty_like(raw)
    whole = count * width
    found[:whole].reshape(count, width)[...] = raw[:whole].reshape(width, count).T
    found[whole:] = raw[whole:]
    return found.data


def _checked(image: Image, data: memoryview, what: str, at: str) -> memoryview:
    """What stands before a Fletcher-32 checksum that is right [H5-083]."""
    if len(data) <= _CHECKSUM:
        image.malformed(f"{what} of {len(data)} bytes with a checksum of {_CHECKSUM}", at, "H5-083")
    stored = int.from_bytes(data[-_CHECKSUM:], "little")
    data = data[:-_CHECKSUM]
    if (found := fletcher32(data)) != stored:
        image.malformed(f"{what} with checksum {stored:08x}; its bytes give {found:08x}", at, "H5-083")
    return data


def fletcher32(data: memoryview) -> int:
    """As HDF5 computes it: over big-endian words, an odd last byte the upper half of one; a sum is 0 for zeros alone."""
    import numpy as np

    raw = np.frombuffer(data, np.uint8)
    words = raw[: len(raw) & ~1].view(">u2")
    first = second = 0
    weights = np.arange(_WORDS, 0, -1, dtype=np.uint64)
    for start in range(0, len(words), _WORDS):
        block = words[start : start + _WORDS].astype(np.uint64)
        second += len(block) * first + int(block @ weights[_WORDS - len(block) :])
        first += int(block.sum())
    if len(raw) & 1:
        first += int(raw[-1]) << 8
        second += first
    first, second = (total and (total % _MOD or _MOD) for total in (first, second))
    return second << 16 | first
