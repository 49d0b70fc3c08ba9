"""Datasets in chunks: elements that are put together when they are asked for.

Spec: spec/hdf5-chunks.md (H5-071, H5-072), spec/limits.md (LI-004).  HDF5 File Format Specification IV.A.2.i.
NumPy is imported where elements are asked for, so that listing a file never loads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

from refser.hdf5._chunk_index import B_TREE, FIXED_ARRAY, IMPLICIT, SINGLE, Chunk, Layout, find_chunks
from refser.hdf5._datatype import read_shape, read_type
from refser.hdf5._filters import read_filters, undo
from refser.hdf5._header import DATASPACE, DATATYPE, FILTERS, LAYOUT, Message
from refser.hdf5._image import Image, OutsideProfile
from refser.limits import RAISE
from refser.source import Source

if TYPE_CHECKING:
    import numpy.typing as npt

_ELSEWHERE = {4: "an extensible array", 5: "a version 2 B-tree"}
_WHOLE_EDGE, _SINGLE_FILTERED = 1, 2  # flags: chunks over the edge are not filtered; size and mask of a single chunk follow
_RUN, _GAP = 16 << 20, 1 << 12  # bytes that are read at once, and what may lie between two chunks of them


class Chunks:
    """The elements of one dataset in C order, in the byte order of the file; made once for all who hold them."""

    def __init__(self, image: Image, source: Source, messages: list[Message], at: str) -> None:
        """Raises for chunks that cannot be what they are said to be; none of them is decoded yet."""
        self._image, self._source, self._at = image, source, at
        self._made: Callable[[], Any] = lambda: None  # a weak reference to the elements, while somebody holds them
        self._layout = layout = read_layout(image, messages, at)
        self.nbytes = prod(layout.shape, start=layout.itemsize)
        self.stored = sum(1 for _ in find_chunks(image, layout, at, first=True)) if self.nbytes else 0
        self.unstored_bytes = min(self.nbytes, (layout.total - self.stored) * layout.chunk_bytes)
        needed = max(self.nbytes, self.stored * layout.chunk_bytes)
        if self.stored and needed > image.limits.inflated_bytes:
            self._limit(f"{needed:,} bytes in {self.stored:,} chunks, decoded")

    def view(self, offset: int, length: int) -> memoryview:
        """Raises a `RefserError` for a chunk that does not decode.

        Who reads block by block finds the elements put together until the last of them: one dataset of the file at a time.
        """
        if not length:
            return memoryview(b"")
        try:
            elements = self._elements()
            self._image.held = elements if offset + length < self.nbytes else None
            return elements[offset : offset + length]
        except OutsideProfile as outside:  # the file has changed since it was opened
            raise outside.refusal() from None
        except MemoryError:
            self._limit(f"{self.nbytes:,} bytes, more than there is memory for")

    def _elements(self) -> memoryview:
        import numpy as np

        if (made := self._made()) is not None:
            return _bytes_of(made)
        layout = self._layout
        array = np.zeros(layout.shape, f"V{layout.itemsize}")  # where a chunk is missing [H5-073]
        for chunk, data in self._read():
            what = f"a chunk at byte {chunk.start:,}"
            plain = undo(self._image, layout.filters, chunk.mask, data, layout.chunk_bytes, what, self._at)
            block = np.frombuffer(plain, array.dtype).reshape(layout.chunk)
            part = array[tuple(slice(start, start + n) for start, n in zip(chunk.offset, layout.chunk))]
            part[...] = block[tuple(map(slice, part.shape))]  # what reaches over the edge is no element
        self._made = ref(array)
        return _bytes_of(array)

    def _read(self) -> Iterator[tuple[Chunk, memoryview]]:
        """Each chunk and its bytes, in the order of the file; neighbours are read at once, which counts over a network."""
        run: list[Chunk] = []
        end = 0
        for chunk in sorted(find_chunks(self._image, self._layout, self._at, first=False)):
            if run and (chunk.start > end + _GAP or chunk.start + chunk.size > run[0].start + _RUN):
                yield from self._read_run(run, end)
                run = []
            run.append(chunk)
            end = max(end, chunk.start + chunk.size)
        if run:
            yield from self._read_run(run, end)

    def _read_run(self, run: list[Chunk], end: int) -> Iterator[tuple[Chunk, memoryview]]:
        first = run[0].start
        data = self._source.view(first, end - first)
        for chunk in run:
            yield chunk, data[chunk.start - first : chunk.start - first + chunk.size]

    def _limit(self, message: str) -> NoReturn:
        self._image.limit("LI-004", message, self._at, RAISE.format("inflated_bytes"))


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view("u1").data.toreadonly()


def read_layout(image: Image, messages: list[Message], at: str) -> Layout:
    """The layout message of a dataset in chunks, with what others say about them [H5-071, H5-072]."""
    buffer, bodies = image.buffer, {kind: (body, size) for kind, body, size in messages}
    space = bodies[DATASPACE][0]
    shape = read_shape(image, *bodies[DATASPACE], at) or ()
    largest = shape
    if buffer[space + 2] & 1:
        largest = struct.unpack_from(f"<{len(shape)}Q", buffer, space + (8 if buffer[space] == 1 else 4) + 8 * len(shape))
    itemsize = read_type(image, *bodies[DATATYPE], at).size
    filters = read_filters(image, *bodies[FILTERS], at) if FILTERS in bodies else ()
    body, size = bodies[LAYOUT]
    fields = _Fields(image, body + 2, body + size, at)
    version, kind, single = buffer[body], B_TREE, (0, 0)
    if version == 3:
        rank, address = fields.take(1), fields.take(8)
        sizes = [fields.take(4) for _ in range(rank)]
    else:
        flags, rank, width = fields.take(1), fields.take(1), fields.take(1)
        if flags & _WHOLE_EDGE:
            image.outside("chunks over the edge that are not filtered", at)
        sizes = [fields.take(width) for _ in range(rank)]
        kind = fields.take(1)
        if kind in _ELSEWHERE:
            image.outside(f"chunks in {_ELSEWHERE[kind]}", at)
        with_size = kind == SINGLE and bool(filters)
        if kind not in (SINGLE, IMPLICIT, FIXED_ARRAY) or flags != (_SINGLE_FILTERED if with_size else 0):
            image.malformed(f"a chunk index of type {kind} with flags {flags:#x} and {len(filters)} filters", at)
        if with_size:
            single = fields.take(8), fields.take(4)
        elif kind == FIXED_ARRAY:
            fields.take(1)  # bits of a page, which its header has too
        address = fields.take(8)
    if not rank or len(sizes) != len(shape) + 1 or sizes[-1] != itemsize or 0 in sizes:
        found = f"chunks of {tuple(sizes[:-1])} elements of {sizes[-1] if sizes else 0} bytes"
        image.invalid(f"{found} in a dataset of {shape}, {itemsize} bytes", at, "H5-072")
    return Layout(kind, address, shape, largest, tuple(sizes[:-1]), itemsize, filters, single, version)


class _Fields:
    """The numbers of a message, one after the other."""

    def __init__(self, image: Image, start: int, end: int, at: str) -> None:
        self._image, self._here, self._end, self._at = image, start, end, at

    def take(self, width: int) -> int:
        start, self._here = self._here, self._here + width
        if self._here > self._end or not 1 <= width <= 8:
            self._image.malformed("a layout message that is cut short", self._at)
        return int.from_bytes(self._image.buffer[start : self._here], "little")
