"""What stops no reader and is worth a word: bytes that nobody owns, a file that nobody closed, arrays with two names.

Spec: spec/hdf5-holes.md (H5-086 to H5-093).  Looked for only when somebody asks, once for the whole file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from refser.errors import RefserError
from refser.hdf5._attribute import Attributes
from refser.hdf5._header import Message, read_messages
from refser.hdf5._image import UNDEFINED, Image, OutsideProfile
from refser.hdf5._superblock import find_signature, read_superblock
from refser.hdf5._tree import Remark
from refser.limits import Limits
from refser.source import Source

_TOLD_MAX = 100  # remarks of one kind that name their place
_PIECE = 1 << 20
_ZIP = b"PK\x03\x04"
_LARGE, _SHARE = 4096, 100  # a hole over so many bytes, and over this part of the file, is large [H5-087]
_PADDING = 64  # fewer bytes are there for what comes next to start at a multiple of them
_NOT_CLOSED = 0x05  # flags of a superblock of version 3: open for writing, open for SWMR
_VLEN = struct.Struct("<IQ4x")
_CHUNK_NODE = 24 + 64 * (2 * 280)  # at most: 64 children, keys of 33 dimensions
_BTREE_K = 0x13  # message of a superblock extension


def of_file(image: Image, start: int) -> Iterator[Remark]:
    """Of the superblock at `start`, of what is before it and behind the end that it declares [H5-088, H5-089, H5-092]."""
    buffer, name, end = image.buffer, image.name, image.declared_end
    _need(image, 0, start + 12)
    in_zip = bool(start) and buffer[:4] == _ZIP
    severity: Literal["info", "warning"] = "info" if in_zip else "warning"
    if start and any(map(any, _pieces(image, 0, start))):
        message = f"{start:,} bytes before the HDF5 file, {'of a zip archive' if in_zip else 'not all of them zero'}"
        yield Remark("H5-089", message, f"{name}: byte 0", severity)
    if end < image.end:
        hint = "" if in_zip else "what follows is no part of the file"
        yield Remark("H5-088", f"{image.end - end:,} bytes behind the end of the HDF5 file", _byte(name, end), severity, hint)
    flags = buffer[start + 11] if buffer[start + 8] == 3 else 0
    if flags & _NOT_CLOSED:
        message = f"a file that was never closed by who wrote it (flags {flags:#04x} of the superblock)"
        yield Remark("H5-092", message, _byte(name, start + 11), "error", "h5clear -s, if all of it was written")


def whole_file(source: Source, limits: Limits) -> list[Remark]:
    """`of_file` for a file that libhdf5 has read."""
    buffer, need = source.image()
    image = Image(buffer, source.name, limits, need)
    try:
        start = find_signature(image)
        read_superblock(image, start)
    except (RefserError, OutsideProfile):  # of a version that only libhdf5 knows
        return []
    return list(of_file(image, start))


def of_objects(name: str, unstored: Iterable[str], others: Iterable[str]) -> Iterator[Remark]:
    """Elements that are not stored, and objects that are neither a group nor a dataset [H5-091, H5-093]."""
    message = "elements that the file does not store: they read as the fill value"
    yield from _told("H5-091", message, name, unstored)
    yield from _told("H5-093", "an object that is neither a group nor a dataset, which Keras never writes", name, others)


def of_aliases(name: str, paths: Iterable[tuple[object, str]]) -> Iterator[Remark]:
    """Arrays that several paths lead to, from where each array is and the path [H5-090]."""
    first: dict[object, str] = {}
    count, example = 0, ("", "")
    for place, path in paths:
        other = first.setdefault(place, path)
        if other != path:
            count += 1
            example = example if count > 1 else (other, path)
    if count:
        more = f", and {count - 1:,} more such paths" if count > 1 else ""
        yield Remark("H5-090", f"the same array as /{example[0]}{more}", f"{name}:/{example[1]}", "info")


def of_holes(image: Image, start: int, objects: Iterable[int]) -> Iterator[Remark]:
    """Bytes that no object owns [H5-086, H5-087].  `objects` are the headers that can have attributes."""
    count = total = 0
    largest = strange = (0, 0)
    for hole in _holes(image, _spans(image, start, objects), _sizes(image, start)):
        size = hole[1] - hole[0]
        count += 1
        total += size
        largest = max(largest, hole, key=_length)
        if size > max(_LARGE, _length(strange)):
            strange = max(strange, _strange(image, hole), key=_length)
    if not count:
        return
    message = f"{total:,} bytes in {count:,} places that no object of the file owns; the largest has {_length(largest):,}"
    yield Remark("H5-086", message, _byte(image.name, largest[0]), "info")
    if _length(strange) > max(_LARGE, (image.end - start) // _SHARE):
        message = f"{_length(strange):,} bytes that no object of the file owns, and that are neither zeros nor old structures"
        hint = "h5repack leaves them out, as saving the model again does"
        yield Remark("H5-087", message, _byte(image.name, strange[0]), "warning", hint)


def _told(code: str, message: str, name: str, paths: Iterable[str]) -> Iterator[Remark]:
    """A warning for each path; after many, how many more."""
    more, last = 0, ""
    for number, path in enumerate(paths):
        if number < _TOLD_MAX:
            yield Remark(code, message, f"{name}:/{path}", "warning")
        else:
            more, last = more + 1, path
    if more:
        yield Remark(code, f"{message}; so have {more:,} objects in all that are not listed", f"{name}:/{last}", "warning")


def _spans(image: Image, start: int, objects: Iterable[int]) -> list[tuple[int, int]]:
    """Start and end of everything that has an owner, in order: what the walk saw, heaps of strings, superblock extensions."""
    spans = list(zip(*image.owned()))
    other = Image(image.buffer, image.name, image.limits, image.need)
    other.base, other.declared_end = image.base, image.declared_end
    heaps = _Heaps(image.again())
    for place in objects:
        heaps.look(place)
    if image.buffer[start + 8] in (2, 3):
        extension = int.from_bytes(image.buffer[start + 20 : start + 28], "little")
        if extension != UNDEFINED:
            _read_messages(other, extension)
    found = [(begin, end) for begin, end, _, _ in other.owners or ()] + [*heaps.spans()]
    return sorted(spans + found) if found else spans


def _sizes(image: Image, start: int) -> dict[bytes, int]:
    """What a node takes, however few children it has, by the bytes it starts with."""
    leaf, node = 4, 16
    buffer = image.buffer
    if buffer[start + 8] < 2:
        leaf, node = struct.unpack_from("<HH", buffer, start + 16)
    else:
        extension = int.from_bytes(buffer[start + 20 : start + 28], "little")
        for kind, body, size in _read_messages(image.again(), extension) if extension != UNDEFINED else ():
            if kind == _BTREE_K and size >= 7:
                node, leaf = struct.unpack_from("<HH", buffer, body + 3)
    return {b"SNOD\1": 8 + 80 * leaf, b"TREE\0": 32 + 32 * node, b"TREE\1": _CHUNK_NODE}


def _holes(image: Image, spans: Iterable[tuple[int, int]], sizes: Mapping[bytes, int]) -> Iterator[tuple[int, int]]:
    """What lies between; the room of a node that has fewer children than it could is its own."""
    buffer, here = image.buffer, image.base
    last = here
    for start, end in (*spans, (image.declared_end, image.declared_end)):
        if start > here:
            hole = here
            if (room := sizes.get(bytes(buffer[last : last + 5]))) is not None:
                hole = min(max(here, last + room), start)
                if room == _CHUNK_NODE:  # how much of it is the node's depends on the array
                    hole = here + _zeros(image, here, hole)
            if hole + _PADDING <= start:
                yield hole, start
        if end > here:
            last, here = start, end


def _strange(image: Image, hole: tuple[int, int]) -> tuple[int, int]:
    """What of a hole is neither zeros nor a heap of strings that was left behind."""
    if image.need is not None:
        return 0, 0  # nobody fetches bytes that no reader looks at
    here, end = hole
    buffer = image.buffer
    while here < end:
        if buffer[here] == 0:
            here += max(1, _zeros(image, here, end))
            continue
        if bytes(buffer[here : here + 8]) != b"GCOL\1\0\0\0":
            break
        here += max(16, int.from_bytes(buffer[here + 8 : here + 16], "little"))
    return (here, end) if here < end else (0, 0)


def _zeros(image: Image, start: int, end: int) -> int:
    """How many zeros there are from `start`."""
    here = start
    for piece in _pieces(image, start, end):
        rest = len(piece.lstrip(b"\0"))
        here += len(piece) - rest
        if rest:
            break
    return here - start


def _pieces(image: Image, start: int, end: int) -> Iterator[bytes]:
    for here in range(start, end, _PIECE):
        _need(image, here, min(_PIECE, end - here))
        yield bytes(image.buffer[here : min(here + _PIECE, end)])


def _need(image: Image, start: int, size: int) -> None:
    if image.need is not None:
        image.need(start, size)


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def _byte(name: str, offset: int) -> str:
    return f"{name}: byte {offset:,}"


def _read_messages(image: Image, address: int) -> Sequence[Message]:
    """Whatever is wrong with them was said by others, or is nobody's."""
    try:
        return read_messages(image, address, "")
    except OutsideProfile as outside:
        return outside.messages
    except RefserError:
        return ()


class _Heaps(Attributes):
    """Finds which global heaps the attributes of some objects name, without reading a string."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self._named: set[int] = set()

    def look(self, start: int) -> None:
        messages = _read_messages(self._image, start - self._image.base)
        try:
            self.read(list(messages), "")
        except (RefserError, OutsideProfile):
            return

    def _strings(self, start: int, count: int, at: str) -> list[bytes]:
        self._named.update(heap for length, heap in _VLEN.iter_unpack(self._image.buffer[start : start + 16 * count]) if length)
        return [b""] * count

    def spans(self) -> Iterator[tuple[int, int]]:
        image = self._image
        for address in self._named:
            start = address + image.base
            if start + 16 <= image.end:
                _need(image, start, 16)
                size = int.from_bytes(image.buffer[start + 8 : start + 16], "little")
                if bytes(image.buffer[start : start + 4]) == b"GCOL" and start + size <= image.end:
                    yield start, start + size
