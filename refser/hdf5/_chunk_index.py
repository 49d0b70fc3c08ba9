"""Where the chunks of a dataset are: version 1 B-trees, single chunks, implicit places, fixed arrays.

Spec: spec/hdf5-chunks.md (H5-074 to H5-079).  HDF5 File Format Specification III.A.1, IV.A.2.i, VII.A to VII.C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import NamedTuple

from refser.hdf5._filters import Filter, is_plain
from refser.hdf5._header import compare_checksum
from refser.hdf5._image import UNDEFINED, Image

B_TREE, SINGLE, IMPLICIT, FIXED_ARRAY = 0, 1, 2, 3  # 0 is not in the file: layout messages of version 3 have no other
_NODE = struct.Struct("<BBH")
_NODE_SIZE = 24
_ARRAY = struct.Struct("<BBBBQQ")
_ARRAY_SIZE = 28
_BLOCK = struct.Struct("<BBQ")
_BLOCK_SIZE = 14


class Layout(NamedTuple):
    """What a layout message and a dataspace say of chunks."""

    kind: int  # of index
    address: int
    shape: tuple[int, ...]
    maximum: tuple[int, ...]
    chunk: tuple[int, ...]  # elements along each dimension
    itemsize: int
    filters: tuple[Filter, ...] = ()
    single: tuple[int, int] = (0, 0)  # size and filter mask of a single chunk
    version: int = 3

    @property
    def chunk_bytes(self) -> int:
        """Of one chunk, decoded; at the edge of the dataset it has no fewer."""
        return prod(self.chunk, start=self.itemsize)

    @property
    def total(self) -> int:
        """Chunks that the elements need."""
        return prod(across(self.shape, self.chunk))


class Chunk(NamedTuple):
    start: int
    size: int
    mask: int  # of the filters that were left out
    offset: tuple[int, ...]  # of its first element


def across(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    """How many chunks there are along each dimension."""
    return tuple(-(-length // part) for length, part in zip(shape, chunk))


def find_chunks(image: Image, layout: Layout, at: str, *, first: bool) -> Iterator[Chunk]:
    """The chunks that the file stores.  On a first look each structure and chunk gets its owner [H5-028]."""
    index = _Index(image, layout, at, first=first)
    readers = {B_TREE: index.b_tree, SINGLE: index.single, IMPLICIT: index.implicit, FIXED_ARRAY: index.fixed_array}
    return iter(()) if layout.address == UNDEFINED else readers[layout.kind]()


class _Index:
    def __init__(self, image: Image, layout: Layout, at: str, *, first: bool) -> None:
        self._image, self._layout, self._at, self._first = image, layout, at, first
        self._chunk_bytes = layout.chunk_bytes
        self._total = 0

    def b_tree(self) -> Iterator[Chunk]:
        """Nodes of type 1; each child is one level below, so that there is no way back up [H5-074]."""
        image, at = self._image, self._at
        rank = len(self._layout.shape)
        entry = struct.Struct(f"<II{rank}QQQ")
        last: tuple[int, ...] = ()
        todo = [(self._layout.address, -1)]
        while todo:
            address, wanted = todo.pop()
            start = image.check(address, _NODE_SIZE, "a node of a B-tree of chunks", at)
            image.expect(start, b"TREE", "a node of a B-tree of chunks", at)
            kind, level, count = _NODE.unpack_from(image.buffer, start + 4)
            if kind != 1 or (level != wanted and wanted >= 0):
                image.malformed(f"a B-tree node of type {kind} and level {level}; wanted type 1, level {max(wanted, 0)}", at)
            end = _NODE_SIZE + count * entry.size
            image.check(address, end + entry.size - 8, "a node of a B-tree of chunks", at)  # one key more than children
            self._own(start, end + entry.size - 8, "a node of a B-tree of chunks")
            entries = entry.iter_unpack(image.buffer[start + _NODE_SIZE : start + end].tobytes())
            if level:
                todo += reversed([(values[-1], level - 1) for values in entries])
                continue
            for size, mask, *offset, element, child in entries:
                where = tuple(offset)
                if element or where <= last:
                    image.invalid(f"a chunk at {where} behind that at {last}; wanted ascending places", at, "H5-075")
                last = where
                yield self._chunk(child, size, mask, where)

    def single(self) -> Iterator[Chunk]:
        """One chunk that is the whole dataset [H5-077]."""
        if self._layout.total != 1:
            self._image.invalid(f"{self._layout.total:,} chunks where the index has one", self._at, "H5-077")
        size, mask = self._layout.single if self._layout.filters else (self._chunk_bytes, 0)
        yield self._chunk(self._layout.address, size, mask, (0,) * len(self._layout.shape))

    def implicit(self) -> Iterator[Chunk]:
        """All chunks, one behind the other, none filtered [H5-078]."""
        image, layout, at = self._image, self._layout, self._at
        counts = self._counts()
        if layout.filters:
            image.malformed("filtered chunks without an index", at)
        size = prod(counts, start=self._chunk_bytes)
        start = image.inside(layout.address, size, "the chunks of a dataset", at)
        self._own(start, size, "the chunks of a dataset")
        for place in product(*map(range, across(layout.shape, layout.chunk))):
            number = 0
            for here, count in zip(place, counts):
                number = number * count + here
            offset = tuple(here * part for here, part in zip(place, layout.chunk))
            yield Chunk(start + number * self._chunk_bytes, self._chunk_bytes, 0, offset)

    def fixed_array(self) -> Iterator[Chunk]:
        """A header, a block of entries, and when there are many a bitmap of pages and the pages [H5-079]."""
        image, layout, at = self._image, self._layout, self._at
        counts = self._counts()
        width = 8 if layout.version > 4 else min(8, 1 + (self._chunk_bytes.bit_length() + 7) // 8)
        form = struct.Struct(f"<Q{width}sI" if layout.filters else "<Q")
        start = self._block(layout.address, b"FAHD", _ARRAY_SIZE)
        version, client, entry, bits, count, address = _ARRAY.unpack_from(image.buffer, start + 4)
        if version or (client, entry, count) != (int(bool(layout.filters)), form.size, prod(counts)):
            found = f"version {version}, client {client}, {count:,} entries of {entry} bytes"
            image.malformed(f"a fixed array of {found}; wanted {prod(counts):,} of {form.size}", at)
        if address == UNDEFINED:
            return
        per_page = 1 << bits
        pages = -(-count // per_page) if count > per_page else 0
        head = _BLOCK_SIZE + -(-pages // 8)
        start = self._block(address, b"FADB", head + (0 if pages else count * entry) + 4)
        version, other, back = _BLOCK.unpack_from(image.buffer, start + 4)
        if version or other != client or back != layout.address:
            image.malformed(f"a block of version {version}, client {other}, of another fixed array", at)
        bitmap = image.buffer[start + _BLOCK_SIZE : start + head].tobytes()
        if not pages:
            yield from self._entries(form, start + head, 0, count, counts)
        for page in range(pages):
            number = min(per_page, count - page * per_page)
            if bitmap[page >> 3] & 0x80 >> (page & 7):  # one that was ever written to
                place = address + head + 4 + page * (per_page * entry + 4)
                start = self._block(place, b"", number * entry + 4)
                yield from self._entries(form, start, page * per_page, number, counts)

    def _entries(self, form: struct.Struct, start: int, first: int, count: int, counts: tuple[int, ...]) -> Iterator[Chunk]:
        """Entry n is the chunk n, counted in C order over the maximum dimensions."""
        entries = form.iter_unpack(self._image.buffer[start : start + count * form.size].tobytes())
        for number, (address, *stored) in enumerate(entries, first):
            if address == UNDEFINED:
                continue
            offset: list[int] = []
            for parts, part in zip(reversed(counts), reversed(self._layout.chunk)):
                number, here = divmod(number, parts)
                offset.append(here * part)
            size, mask = (int.from_bytes(stored[0], "little"), stored[1]) if stored else (self._chunk_bytes, 0)
            yield self._chunk(address, size, mask, tuple(reversed(offset)))

    def _counts(self) -> tuple[int, ...]:
        """Chunks along each dimension at its largest, which is how these indexes count."""
        layout = self._layout
        if any(most < length or most == UNDEFINED for length, most in zip(layout.shape, layout.maximum)):
            self._image.malformed(f"dimensions {layout.shape} of at most {layout.maximum} in an index of fixed size", self._at)
        return across(layout.maximum, layout.chunk)

    def _block(self, address: int, signature: bytes, size: int) -> int:
        """Where a structure with a checksum at its end starts [H5-033]."""
        image, what = self._image, "a fixed array of chunks"
        start = image.check(address, size, what, self._at)
        image.expect(start, signature, what, self._at)
        self._own(start, size, what)
        if self._first:
            compare_checksum(image, start, start + size - 4, what, self._at)
        return start

    def _chunk(self, address: int, size: int, mask: int, offset: tuple[int, ...]) -> Chunk:
        """A chunk in its place [H5-075], of a size that it can have [H5-076], inside the file and nobody else's [H5-028]."""
        image, layout = self._image, self._layout
        for here, part, length in zip(offset, layout.chunk, layout.shape):
            if here % part or here >= length:
                found = f"a chunk of {layout.chunk} at {offset} in a dataset of {layout.shape}"
                image.invalid(found, self._at, "H5-075")
        if not size or (size != self._chunk_bytes and is_plain(layout.filters, mask)):
            found = f"a chunk at {offset} of {size:,} bytes; its elements take {self._chunk_bytes:,}"
            image.invalid(found, self._at, "H5-076")
        start = image.inside(address, size, "a chunk", self._at)
        self._own(start, size, "a chunk")
        return Chunk(start, size, mask, offset)

    def _own(self, start: int, size: int, what: str) -> None:
        """On every look, so that each takes no longer than the file is large."""
        self._total += size
        if self._total > self._image.end:
            message = f"{what} of {size:,} bytes, which shares some of them with another of this dataset"
            self._image.invalid(message, self._at, "H5-028")
        if self._first:
            self._image.own(start, size, what, self._at)
