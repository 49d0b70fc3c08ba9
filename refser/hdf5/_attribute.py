"""Attributes, and the global heaps that hold their variable-length strings.

Spec: spec/hdf5-groups.md (H5-050 to H5-055).  HDF5 File Format Specification III.E and IV.A.2.m.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import NoReturn

from refser.hdf5._datatype import SPACE_PADDED, Type, read_shape, read_type
from refser.hdf5._header import ATTRIBUTE, ATTRIBUTE_INFO, Message
from refser.hdf5._image import UNDEFINED, Image
from refser.hdf5._tree import Attribute

_HEAP = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")
_VLEN = struct.Struct("<IQI")
_FORMATS = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


class Attributes:
    """Reads the attributes of one object after another; each global heap is looked through once."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._taken = 0  # bytes of strings so far

    def check(self, messages: list[Message], at: str) -> None:
        """Leave the profile where an attribute is outside."""
        for kind, body, size in messages:
            if kind == ATTRIBUTE_INFO:
                self._check_info(body, size, at)
            elif kind == ATTRIBUTE:
                self._check_own_type(body, size, at)

    def read(self, messages: list[Message], at: str) -> Mapping[str, Attribute]:
        """Strings and numbers, scalar or in one dimension; None for the rest [H5-009, H5-017, H5-051, H5-052]."""
        found: dict[str, Attribute] = {}
        for kind, body, size in messages:
            if kind == ATTRIBUTE:
                name, value = self._attribute(body, size, at)
                if name in found:
                    self._image.invalid(f"two attributes {name!r}", at, "H5-052")
                found[name] = value
        return found

    def _attribute(self, body: int, size: int, at: str) -> tuple[str, Attribute]:
        """An attribute message of version 1, 2 or 3 [H5-050]."""
        image, buffer, end = self._image, self._image.buffer, body + size
        version = buffer[body] if size >= 9 else 0
        if not 1 <= version <= 3:
            image.malformed(f"an attribute message of version {version}", at)
        self._check_own_type(body, size, at)
        lengths = struct.unpack_from("<HHH", buffer, body + 2)
        here = body + (9 if version == 3 else 8)
        starts = []
        for length in lengths:
            starts.append(here)
            here += -(-length // 8) * 8 if version == 1 else length
        if here > end:
            image.malformed("an attribute message that is cut short", at)
        raw = bytes(buffer[starts[0] : starts[0] + lengths[0]]).split(b"\0")[0]
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            image.malformed(f"an attribute named {raw!r}, which is not UTF-8", at, "H5-009")
        place = f"{at} attribute {name!r}"
        stored = read_type(image, starts[1], lengths[1], place)
        shape = read_shape(image, starts[2], lengths[2], place)
        if shape is None or len(shape) > 1 or not stored.kind:
            return name, None
        count = math.prod(shape)
        nbytes = count * stored.size
        if nbytes > image.limits.attribute_bytes:
            self._too_big(nbytes, place)
        if here + nbytes > end:
            image.malformed(f"an attribute of {nbytes:,} bytes in a message that ends before", place)
        return name, self._value(stored, here, count, bool(shape), place)

    def _value(self, stored: Type, start: int, count: int, is_list: bool, at: str) -> Attribute:
        if stored.kind in _FORMATS:
            order = ">" if stored.big_endian else "<"
            numbers = list(struct.unpack_from(f"{order}{count}{_FORMATS[stored.kind]}", self._image.buffer, start))
            return numbers if is_list else numbers[0]
        if stored.kind == "string" or stored.found == SPACE_PADDED:
            raw, size = bytes(self._image.buffer[start : start + count * stored.size]), stored.size
            cells = [raw[first : first + size] for first in range(0, count * size, size)]
            if stored.kind != "string":
                cells = [cell.rstrip(b" ") for cell in cells]
        elif stored.kind == "vlen":
            cells = self._strings(start, count, at)
        else:
            return None
        try:
            texts = [cell.split(b"\0")[0].decode("utf-8") if b"\0" in cell else cell.decode("utf-8") for cell in cells]
        except UnicodeDecodeError:
            self._image.malformed("a string that is not UTF-8", at, "H5-009")
        return texts if is_list else texts[0]

    def _strings(self, start: int, count: int, at: str) -> list[bytes]:
        """Variable-length cells: a length, and where in which global heap the bytes are [H5-053]."""
        image, cells, total = self._image, [], 0
        for length, heap, index in _VLEN.iter_unpack(image.buffer[start : start + 16 * count].tobytes()):
            if length == 0:
                cells.append(b"")
                continue
            total += length
            if total > image.limits.attribute_bytes:
                self._too_big(total, at)
            self._taken += 0 if image.revisited else length
            if self._taken > image.end:  # as `claim`: every cell has an object of its own
                image.invalid("strings that share their bytes in a global heap", at, "H5-028")
            first, size = self._heap(heap, at).get(index, (0, -1))
            if length > size:
                image.malformed(
                    f"a string of {length:,} bytes in object {index} of a global heap, which has {max(size, 0):,}", at
                )
            cells.append(bytes(image.buffer[first : first + length]))
        return cells

    def _heap(self, address: int, at: str) -> dict[int, tuple[int, int]]:
        """Objects of one collection: number -> start, size [H5-054]."""
        if address in self._heaps:
            return self._heaps[address]
        image = self._image
        start = image.check(address, 16, "a global heap", at)
        signature, version, size = _HEAP.unpack_from(image.buffer, start)
        if signature != b"GCOL" or version != 1:
            image.malformed(f"a global heap {signature!r} of version {version}", at)
        image.check(address, size, "a global heap", at)
        image.own(start, size, "a global heap", at)
        here, end = start + 16, start + size
        found: dict[int, tuple[int, int]] = {}
        while here + 16 <= end:
            index, _, length = _OBJECT.unpack_from(image.buffer, here)
            if index == 0:  # free space up to the end, whatever its size says
                break
            body = here + 16
            here = body + -(-length // 8) * 8
            if body + length > end:
                image.malformed(f"an object of {length:,} bytes that leaves its global heap", at)
            if index in found:
                image.invalid(f"two objects {index} in a global heap", at, "H5-054")
            found[index] = body, length
        self._heaps[address] = found
        return found

    def _check_info(self, body: int, size: int, at: str) -> None:
        """Attributes in a fractal heap are outside the profile [H5-055]."""
        buffer = self._image.buffer
        flags = buffer[body + 1] if size >= 2 else 255
        start = body + 2 + (2 if flags & 1 else 0)
        if flags > 3 or buffer[body] != 0 or start + 16 > body + size:
            self._image.malformed("an attribute info message that does not decode", at)
        if int.from_bytes(buffer[start : start + 8], "little") != UNDEFINED:
            self._image.outside("an object whose attributes are in a fractal heap", at)

    def _check_own_type(self, body: int, size: int, at: str) -> None:
        """A datatype or dataspace that stands elsewhere is outside the profile [H5-050]."""
        if size >= 2 and self._image.buffer[body] in (2, 3) and self._image.buffer[body + 1] & 3:
            self._image.outside("an attribute whose type is shared between objects", at)

    def _too_big(self, nbytes: int, at: str) -> NoReturn:
        message = f"an attribute of {nbytes:,} bytes; the limit is {self._image.limits.attribute_bytes:,}"
        self._image.limit("LI-007", message, at)
