"""Datasets: which dtype and shape, and where the elements are.

Spec: spec/hdf5.md (H5-002, H5-003, H5-006, H5-012), spec/hdf5-bytes.md (H5-035, H5-036).  Not here: chunks (_chunks).
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from refser.errors import Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5._attribute import Attributes
from refser.hdf5._datatype import opaque_dtype, read_shape, read_type
from refser.hdf5._header import (
    ATTRIBUTE,
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    FILL,
    FILL_OLD,
    FILTERS,
    LAYOUT,
    Message,
)
from refser.hdf5._image import UNDEFINED, Image
from refser.hdf5._tree import Dataset
from refser.source import Source
from refser.values import Bytes

if TYPE_CHECKING:
    from refser.hdf5._chunks import Chunks

Place = tuple[Bytes, int, int]  # source, offset, length
BFLOAT16 = "bfloat16"  # the one dtype that Keras says in an attribute [WH-006]
_VIRTUAL = 3  # class of a layout
_ADDRESS_AND_SIZE = struct.Struct("<QQ")


class Datasets:
    """Decodes one dataset after another."""

    def __init__(self, image: Image, source: Source, attributes: Attributes) -> None:
        self._image, self._source, self._attributes = image, source, attributes
        self._chunks: dict[tuple[Message, ...], Chunks | RefserError] = {}

    def read(self, messages: list[Message], at: str) -> Dataset:
        space = kind = layout = filters = None
        marked = False
        for message in messages:
            number = message[0]
            if number == DATASPACE:
                space = message
            elif number == DATATYPE:
                kind = message
            elif number == LAYOUT:
                layout = message
                if message[2] and self._image.buffer[message[1]] >= 4:
                    self.check_place(messages, at)
            elif number == FILTERS:
                filters = message
            elif number == ATTRIBUTE:
                marked = True
            elif number == EXTERNAL:
                self.check_place(messages, at)
        image, name = self._image, self._image.at(at)
        if layout is None and space is None and kind is not None:
            raise UnsupportedError(Problem(code="H5-006", message="an object that is neither a group nor a dataset", at=name))
        if space is None or kind is None or layout is None:
            image.malformed("an object header without datatype, dataspace or layout", at)
        try:
            stored = read_type(image, kind[1], kind[2], at)
            shape = read_shape(image, space[1], space[2], at)
            if shape is None:
                image.invalid("a dataset without a dataspace; wanted an array or a scalar", at, "H5-012")
            if 0 in shape and math.prod(n for n in shape if n) * stored.size >= 1 << 63:
                image.invalid(f"dimensions {shape}, which no array can have", at, "H5-012")
            dtype = stored.kind
            if dtype == "opaque":
                self._attributes.check(messages, at)
                dtype = opaque_dtype(stored.size, self._attributes.read(messages, at).get("dtype"))
                if not dtype:
                    found = f"opaque elements of {stored.size} bytes; wanted bfloat16 (2 bytes) or float8 (1)"
                    image.invalid(found, at, "VA-002")
            elif dtype in ("vlen", "foreign"):
                image.outside(stored.found or "variable-length strings in a dataset", at)
            elif not dtype:
                found = f"elements that are {stored.found}, {stored.size} bytes; no Keras dtype is stored so"
                image.invalid(found, at, "VA-008")
            elif marked and self._attributes.read(messages, at).get("dtype") == BFLOAT16:
                image.invalid(f"elements of {dtype} that are said to be {BFLOAT16}; wanted 2 opaque bytes each", at, "VA-013")
            data = self._storage(layout, filters, messages, math.prod(shape) * stored.size, at)
        except RefserError as fault:
            return Dataset(image.name, at, fault=fault)
        return Dataset(image.name, at, dtype, shape, stored.big_endian, *data)

    def check_place(self, messages: list[Message], at: str) -> None:
        """Raise for a dataset whose values are in other files, whatever else its header has [H5-002, H5-003]."""
        buffer = self._image.buffer
        for number, body, size in messages:
            if number == EXTERNAL:
                code, found = "H5-002", "a dataset that keeps its values in another file"
            elif number == LAYOUT and size >= 2 and buffer[body] >= 4 and buffer[body + 1] == _VIRTUAL:
                code, found = "H5-003", "a virtual dataset, which takes its values from other files"
            else:
                continue
            raise UnsafeError(Problem(code=code, message=found, at=self._image.at(at)))

    def _storage(self, layout: Message, filters: Message | None, messages: list[Message], nbytes: int, at: str) -> Place:
        """Where the elements are [H5-007, H5-035].  Layout message version 3, or the same classes in later ones."""
        image, buffer, body = self._image, self._image.buffer, layout[1]
        if layout[2] < 2:
            image.malformed("a layout message that is cut short", at)
        version, kind = buffer[body], buffer[body + 1]
        if kind == 2 and 3 <= version <= 5:
            return self._chunked(messages, nbytes, at)
        if version not in (3, 4) or kind > 1 or filters is not None:
            image.outside(f"a data layout of version {version}, class {kind}{', with filters' if filters else ''}", at)
        if kind == 0:
            size = int.from_bytes(buffer[body + 2 : body + 4], "little")
            if 4 + size > layout[2]:
                image.malformed("compact data that leave their message", at)
            address = body + 4
        else:
            if layout[2] < 18:
                image.malformed("a layout message that is cut short", at)
            address, size = _ADDRESS_AND_SIZE.unpack_from(buffer, body + 2)
            if address == UNDEFINED:
                return self._unstored(messages, nbytes, at)
            address = image.inside(address, size, "the values of a dataset", at)
            image.own(address, size, "the values of a dataset", at)
        if size != nbytes:
            image.invalid(f"{size:,} bytes stored for a dtype and shape of {nbytes:,}", at, "H5-012")
        return self._source, address, nbytes

    def _chunked(self, messages: list[Message], nbytes: int, at: str) -> Place:
        """Elements that are put together, and inflated, when they are asked for [H5-007, H5-071]."""
        from refser.hdf5._chunks import Chunks

        chunks = self._chunks.get(tuple(messages))
        if chunks is None:  # the first of several looks, and of several paths
            try:
                chunks = Chunks(self._image, self._source, messages, at)
            except RefserError as fault:
                chunks = fault
            self._chunks[tuple(messages)] = chunks
        if isinstance(chunks, RefserError):
            raise chunks.with_traceback(None)
        if chunks.unstored_bytes:
            zeros = self._unstored(messages, chunks.unstored_bytes, at)
            if not chunks.stored:
                return zeros
        return chunks, 0, nbytes

    def _unstored(self, messages: list[Message], nbytes: int, at: str) -> Place:
        """A dataset that nobody wrote to reads as zeros, where it declares no other fill value [H5-036]."""
        if nbytes > self._image.limits.unstored_bytes:
            self._image.limit("LI-010", f"{nbytes:,} bytes declared and not stored", at)
        for number, body, size in messages:
            if number == FILL and not _is_zero_fill(bytes(self._image.buffer[body : body + size])):
                self._image.outside("a fill value that is not zero", at)
            if number == FILL_OLD and any(self._image.buffer[body + 4 : body + size]):
                self._image.outside("a fill value that is not zero", at)
        return ZEROS, 0, nbytes


class _Zeros:
    """Elements that the file does not store, made when they are asked for."""

    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(bytes(length))


ZEROS = _Zeros()


def is_unstored(dataset: Dataset) -> bool:
    """Whether the file stores nothing for some of the elements."""
    return dataset.length > 0 and (dataset.source is ZEROS or getattr(dataset.source, "unstored_bytes", 0) > 0)


def _is_zero_fill(body: bytes) -> bool:
    """Fill value messages of version 2 and 3."""
    if len(body) >= 4 and body[0] == 2:
        return body[3] == 0 or not any(body[8:])
    if len(body) >= 2 and body[0] == 3:
        return not body[1] & 0x20 or not any(body[6:])
    return False
