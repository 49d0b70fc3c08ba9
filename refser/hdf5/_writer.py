"""A tree of new groups and arrays as the bytes of an HDF5 file, in one canonical form: metadata in front, then the data.

Spec: spec/hdf5-canonical.md (H5-060 to H5-070).  Not here: the bytes of single structures (_encode).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from refser.errors import InvalidError, Problem
from refser.hdf5 import _encode as encode
from refser.hdf5._datatype import RANK_MAX
from refser.hdf5._image import UNDEFINED
from refser.hdf5._plan import ALIGNMENT, Plan
from refser.hdf5._tree import FixedStrings, NewDataset, NewGroup, is_text

_RANK_MAX = 32
_COLLECTION_OBJECTS = 0xFFFE


def plan_file(root: NewGroup) -> Plan:
    """Where everything goes, with no hole [H5-097].  The same tree gives the same bytes in whatever order [H5-069]."""
    return _Layout(root).plan()


@dataclass(slots=True)
class _DatasetPlace:
    new: NewDataset
    header: int = 0
    address: int = UNDEFINED


@dataclass(slots=True)
class _GroupPlace:
    """A group, its links in byte order of their names, and where its structures are."""

    new: NewGroup
    links: list[tuple[bytes, _DatasetPlace | _GroupPlace]]
    header: int = 0
    levels: list[list[int]] = field(default_factory=list)  # addresses: leaves, the nodes above them, ..., the top node
    heap: int = 0
    names: int = 0  # where the heap's names are

    @property
    def table(self) -> tuple[int, int]:
        return self.levels[-1][0], self.heap


def _dataset_place(new: NewDataset) -> _DatasetPlace:
    if len(new.weight.shape) > _RANK_MAX:
        message = f"an array of {len(new.weight.shape)} dimensions; HDF5 has at most {_RANK_MAX}"
        raise InvalidError(Problem(code="H5-025", message=message, at=f"/{new.weight.path}"))
    if new.weight.dtype == "float8_e5m2":  # told from e4m3fn by nothing else [VA-004]
        new = NewDataset(new.weight, {**new.attributes, "dtype": new.weight.dtype})
    return _DatasetPlace(new)


class _Layout:
    """Two passes over the tree: the first gives every structure its address, the second writes it down."""

    def __init__(self, root: NewGroup) -> None:
        self._places: list[_GroupPlace | _DatasetPlace] = []  # in file order
        self._strings = _Strings()
        self._end = encode.SUPERBLOCK_SIZE
        self._metadata_size = 0
        self._root = self._place_all(root)

    def plan(self) -> Plan:
        self._strings.place(self._take)
        self._end = -(-self._end // ALIGNMENT) * ALIGNMENT
        metadata_size, data = self._end, []
        for place in self._places:
            if isinstance(place, _DatasetPlace) and place.new.weight.nbytes:
                place.address = self._end
                data.append((place.address, place.new.weight))
                self._end += -(-place.new.weight.nbytes // ALIGNMENT) * ALIGNMENT
        self._metadata_size = metadata_size
        pieces = [encode.superblock(self._end, self._root.header, *self._root.table)]
        for place in self._places:
            pieces.extend(self._group(place) if isinstance(place, _GroupPlace) else self._dataset(place))
        pieces.extend(self._strings.collections())
        return Plan(metadata=b"".join(pieces).ljust(metadata_size, b"\0"), data=data, size=self._end)

    def _take(self, size: int) -> int:
        start = self._end
        self._end += size
        return start

    def _place_all(self, root: NewGroup) -> _GroupPlace:
        """Groups before what they hold, links in byte order of their names [H5-069]."""
        top = _GroupPlace(root, [])
        todo: list[_GroupPlace | _DatasetPlace] = [top]
        while todo:
            place = todo.pop()
            self._places.append(place)
            if isinstance(place, _DatasetPlace):
                place.header = self._take(len(b"".join(self._dataset(place))))
                continue
            for name, below in sorted(
                ((name.encode("utf-8"), below) for name, below in place.new.children.items()), key=itemgetter(0)
            ):
                place.links.append((name, _GroupPlace(below, []) if isinstance(below, NewGroup) else _dataset_place(below)))
            place.header = self._take(len(encode.object_header(self._group_messages(place, (0, 0)))))
            leaves = -(-len(place.links) // encode.LEAF_LINKS)
            counts = [leaves] if leaves else [0]
            while len(counts) == 1 or counts[-1] > 1:
                counts.append(max(1, -(-counts[-1] // encode.NODE_CHILDREN)))
            sizes = [encode.LEAF_SIZE, *[encode.NODE_SIZE] * (len(counts) - 1)]
            place.levels = [[self._take(size) for _ in range(count)] for count, size in zip(counts, sizes)]
            place.heap = self._take(encode.HEAP_SIZE)
            place.names = self._take(8 + sum(len(encode.padded(name + b"\0")) for name, _ in place.links))
            todo.extend(below for _, below in reversed(place.links))
        return top

    def _group(self, place: _GroupPlace) -> Iterator[bytes]:
        """Header, leaves, B-tree nodes level by level, heap, names: the order of their addresses."""
        yield encode.object_header(self._group_messages(place, place.table))
        offsets, names = [], [bytes(8)]
        here = 8
        for name, _ in place.links:
            offsets.append(here)
            names.append(encode.padded(name + b"\0"))
            here += len(names[-1])
        symbols = [
            encode.symbol(offset, below.header, below.table if isinstance(below, _GroupPlace) else None)
            for offset, (_, below) in zip(offsets, place.links)
        ]
        for start in range(0, len(symbols), encode.LEAF_LINKS):
            yield encode.leaf(symbols[start : start + encode.LEAF_LINKS])
        width = encode.LEAF_LINKS  # links below one child
        for level, children in enumerate(place.levels[:-1]):
            # The key before a child is the greatest name before it, the empty name for the first.
            keys = [0, *(offsets[min(end, len(offsets)) - 1] for end in range(width, len(children) * width + 1, width))]
            beside = [UNDEFINED, *place.levels[level + 1], UNDEFINED]  # libhdf5 needs the siblings when it removes links
            for number, start in enumerate(range(0, max(1, len(children)), encode.NODE_CHILDREN)):
                stop = start + encode.NODE_CHILDREN
                left, right = beside[number], beside[number + 2]
                yield encode.tree_node(level, keys[start : stop + 1], children[start:stop], left, right)
            width *= encode.NODE_CHILDREN
        yield encode.heap(names_bytes := b"".join(names), place.names)
        yield names_bytes

    def _group_messages(self, place: _GroupPlace, table: tuple[int, int]) -> list[bytes]:
        hint = [encode.metadata_hint(self._metadata_size)] if place is self._places[0] else []
        return [encode.symbol_table(*table), *hint, *self._attributes(place)]

    def _dataset(self, place: _DatasetPlace) -> list[bytes]:
        weight = place.new.weight
        size = weight.itemsize
        if len(weight.shape) > RANK_MAX:
            message = f"{len(weight.shape)} dimensions; wanted at most {RANK_MAX}"
            raise InvalidError(Problem(code="H5-065", message=message, at=f"/{weight.path}"))
        messages = encode.dataset_messages(weight.dtype, weight.big_endian, size, weight.shape, place.address, weight.nbytes)
        return [encode.object_header([*messages, *self._attributes(place)])]

    def _attributes(self, place: _GroupPlace | _DatasetPlace) -> Iterator[bytes]:
        for name, value in place.new.attributes.items():
            if not name or not is_text(name):
                message = f"{name!r} as the name of an attribute; wanted UTF-8 without NUL"
                raise InvalidError(Problem(code="H5-066", message=message))
            if isinstance(value, FixedStrings):
                found = encode.fixed_strings(name, value)
            elif isinstance(value, list):
                found = self._string_list(place, name, value)
            else:
                data = value.encode("utf-8") if isinstance(value, str) else value
                reference = self._strings.reference((id(place), name, 0), data)
                found = encode.attribute(name, encode.vlen_type(isinstance(value, str)), (), reference)
            yield found

    def _string_list(self, place: _GroupPlace | _DatasetPlace, name: str, cells: list[bytes]) -> bytes:
        if not cells:
            return encode.empty_list(name)
        data = b"".join(self._strings.reference((id(place), name, number), cell) for number, cell in enumerate(cells))
        return encode.attribute(name, encode.vlen_type(False), (len(cells),), data)


class _Strings:
    """Variable-length strings in global heaps: each is taken in on the first pass and found again on the second [H5-067]."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, int], tuple[int, int, int]] = {}  # owner -> length, collection, number in it
        self._heaps: list[list[bytes]] = [[]]
        self._addresses: list[int] = []

    def reference(self, owner: tuple[int, str, int], data: bytes) -> bytes:
        """The 16 bytes of one cell; the address is right once `place` was called."""
        if not data:
            return struct.pack("<IQI", 0, 0, 0)
        if owner not in self._known:
            if len(self._heaps[-1]) == _COLLECTION_OBJECTS:
                self._heaps.append([])
            self._heaps[-1].append(data)
            self._known[owner] = len(data), len(self._heaps) - 1, len(self._heaps[-1])
        length, heap, number = self._known[owner]
        return struct.pack("<IQI", length, self._addresses[heap] if self._addresses else 0, number)

    def place(self, take: Callable[[int], int]) -> None:
        self._addresses = [take(len(encode.collection(cells))) for cells in self._heaps if cells]

    def collections(self) -> list[bytes]:
        return [encode.collection(cells) for cells in self._heaps if cells]
