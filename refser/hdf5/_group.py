"""What a group holds: symbol tables of old-style groups, link messages of compact new-style ones.

Spec: spec/hdf5-groups.md (H5-040 to H5-047).  HDF5 File Format Specification III.A.1, III.B, III.C, III.D and IV.A.2.g.
"""

from __future__ import annotations

import re
import struct
from typing import NoReturn

from refser.errors import MalformedError, Problem, RefserError, UnsafeError
from refser.hdf5._header import LINK, LINK_INFO, SYMBOL_TABLE, Message
from refser.hdf5._image import UNDEFINED, Faults, Image, OutsideProfile, SharedBytes
from refser.hdf5._tree import is_link_name

_SHOWN = 80
Entry = tuple[str, int]  # link name, address of the object's header
_NODE = struct.Struct("<4sBBH24xQ")  # a node of a B-tree and its first child; no node is so short that it would not fit
_LEAF = struct.Struct("<4sBxH")
_HEAP = struct.Struct("<4sB3xQ8xQ")
_TABLE = struct.Struct("<QQ")
SYMBOL = struct.Struct("<QQI4x16x")
_PLAIN = re.compile(rb"[A-Za-z0-9_]+").fullmatch
_SOFT = 2  # cache type of a symbol that is a soft link


class Groups:
    """Reads the links of one group after another and remembers which nodes and heaps it has seen.

    A link that nobody may follow is a fault, and left out where faults are kept.
    """

    def __init__(self, image: Image, faults: Faults | None = None) -> None:
        self._image, self._faults = image, faults or Faults(keep=False)
        self.refused = 0  # links that were left out
        self._last = b""  # name of the link before
        self._seen: set[int] = set()

    def links(self, messages: list[Message], at: str) -> list[Entry] | None:
        """The links of the object that has these messages, in byte order of their names; None when it is no group.

        A link that is not a hard one is unsafe [H5-001].  A symbol table or links, not both [H5-040].
        """
        entries: list[Entry] | None = None
        elsewhere: OutsideProfile | None = None
        table: tuple[int, int] | None = None
        for kind, body, size in messages:
            if kind == SYMBOL_TABLE:
                if table is not None or size < 16:
                    self._image.malformed("a second or a short symbol table message", at)
                table = _TABLE.unpack_from(self._image.buffer, body)
            elif kind == LINK_INFO:
                try:
                    self._check_link_info(body, size, at)
                except OutsideProfile as outside:  # first the links that can be seen
                    elsewhere = outside
                entries = entries or []
            elif kind == LINK:
                entries = entries or []
                if (entry := self._link(body, size, at)) is not None:
                    entries.append(entry)
        if elsewhere is not None:
            raise elsewhere
        if table is not None:
            if entries is not None:
                self._image.malformed("a group with a symbol table and link messages", at)
            return self._symbol_table(*table, at)
        if entries is not None:  # in the order of their making
            entries.sort(key=lambda entry: entry[0].encode("utf-8"))
        return entries

    def _symbol_table(self, tree: int, heap: int, at: str) -> list[Entry]:
        """All entries of a v1 B-tree, leaves from left to right [H5-041 to H5-044]."""
        image = self._image
        names = self._heap(heap, at)
        entries: list[Entry] = []
        used, self._last = 0, b""
        todo = [(tree, -1)]  # nodes to look at, the next one last, with the level each has to have
        while todo:
            address, level = todo.pop()
            start = self._once(address, 40, "a B-tree node", at)
            signature, kind, found, count, first = _NODE.unpack_from(image.buffer, start)
            if signature != b"TREE" or kind != 0 or (level >= 0 and found != level):
                image.malformed(f"a B-tree node {signature!r} of type {kind}, level {found}", at)
            children: tuple[int, ...] = (first,) if count == 1 else ()
            if count > 1:
                image.check(address, 32 + 16 * count, "a B-tree node", at)
                children = struct.unpack_from("<" + "8xQ" * count, image.buffer, start + 24)
            image.own(start, 32 + 16 * count, "a B-tree node", at)
            if found:
                todo.extend((child, found - 1) for child in reversed(children))
                continue
            for child in children:
                used = self._leaf(child, names, used, entries, at)
        return entries

    def _leaf(self, address: int, names: bytes, used: int, entries: list[Entry], at: str) -> int:
        """A symbol table node [H5-043]."""
        image, buffer = self._image, self._image.buffer
        start = self._once(address, 8, "a symbol table node", at)
        signature, version, count = _LEAF.unpack_from(buffer, start)
        if signature != b"SNOD" or version != 1:
            image.malformed(f"a symbol table node {signature!r} of version {version}", at)
        end = start + 8 + 40 * count
        if end > image.end or image.need is not None:
            image.check(address, 8 + 40 * count, "a symbol table node", at)
        image.own(start, 8 + 40 * count, "a symbol table node", at)
        return self._symbols(buffer[start + 8 : end].tobytes(), names, used, entries, at)

    def _symbols(self, symbols: bytes, names: bytes, used: int, entries: list[Entry], at: str) -> int:
        """The entries of one leaf: where the name starts, where the object header is, what is cached of it [H5-043, H5-047].

        `used` counts bytes of names: more than there are, and some are shared, which would take time without end.
        """
        before = self._last
        for offset, header, cache in SYMBOL.iter_unpack(symbols):
            stop = names.find(b"\0", offset)
            raw = names[offset:stop]
            used += len(raw) + 1
            if stop < 0 or raw <= before or used > len(names):
                self._bad_name(names, offset, stop, raw, before, at)
            before = raw
            # Plain letters, digits and _ need no closer look; "/" is not among them, nor a name that acts as a path.
            name = raw.decode("ascii") if raw.isalnum() or _PLAIN(raw) else self._name(raw, at)
            if name is not None and (cache == _SOFT or header == UNDEFINED):
                self._refuse("a soft link", f"{at}/{name}".lstrip("/"))
            elif name is not None:
                entries.append((name, header))
        self._last = before
        return used

    def _bad_name(self, names: bytes, offset: int, stop: int, raw: bytes, before: bytes, at: str) -> NoReturn:
        if stop < 0:
            message = f"a link name at {offset:,} that has no end in {len(names):,} bytes of names"
            self._image.malformed(message, at)
        if raw > before:
            self._image.invalid("links whose names share bytes", at, "H5-028")
        self._image.invalid(f"the link {raw!r} behind {before!r}; wanted ascending names, none twice", at, "H5-047")

    def _heap(self, address: int, at: str) -> bytes:
        """The names of a group, each ended by a NUL [H5-044]."""
        image = self._image
        start = self._once(address, 32, "a local heap", at)
        signature, version, size, data = _HEAP.unpack_from(image.buffer, start)
        if signature != b"HEAP" or version != 0:
            image.malformed(f"a local heap {signature!r} of version {version}", at)
        image.own(start, 32, "a local heap", at)
        first = self._once(data, size, "the names of a group", at)
        image.own(first, size, "the names of a group", at)
        return image.buffer[first : first + size].tobytes()

    def _name(self, raw: bytes, at: str) -> str | None:
        """None where that is a fault which is kept [H5-008]."""
        place = self._image.at(at)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            message = f"the name {shorten(raw)}, which is not UTF-8"
            self._leave_out(MalformedError(Problem(code="H5-008", message=message, at=place)))
            return None
        if not is_link_name(name):
            self._leave_out(
                UnsafeError(Problem(code="H5-008", message=f"the name {shorten(name)}, which acts as a path", at=place))
            )
            return None
        return name

    def _check_link_info(self, body: int, size: int, at: str) -> None:
        """Links in a fractal heap are outside the profile [H5-046]."""
        buffer = self._image.buffer
        flags = buffer[body + 1] if size >= 2 else 255
        start = body + 2 + (8 if flags & 1 else 0)
        if flags > 3 or buffer[body] != 0 or start + 16 > body + size:
            self._image.malformed("a link info message that does not decode", at)
        if int.from_bytes(buffer[start : start + 8], "little") != UNDEFINED:
            self._image.outside("a group whose links are in a fractal heap", at)

    def _link(self, body: int, size: int, at: str) -> Entry | None:
        """A link message of version 1 [H5-045]; None for one that is left out."""
        image, buffer, end = self._image, self._image.buffer, body + size
        if size < 4 or buffer[body] != 1:
            image.malformed("a link message that does not decode", at)
        flags, here = buffer[body + 1], body + 2
        kind = 0
        if flags & 8:
            kind, here = buffer[here], here + 1
        here += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(buffer[here : here + width], "little")
        here += width
        if here + length + (8 if kind == 0 else 0) > end:
            image.malformed("a link message that is cut short", at)
        name = self._name(bytes(buffer[here : here + length]), at)
        if name is not None and kind:
            found = {1: "a soft link", 64: "a link to another file"}.get(kind, "a user-defined link")
            self._refuse(found, f"{at}/{name}".lstrip("/"))
        if name is None or kind:
            return None
        return name, int.from_bytes(buffer[here + length : here + length + 8], "little")

    def _refuse(self, found: str, at: str) -> None:
        message = f"{found}; Keras writes hard links only"
        self._leave_out(UnsafeError(Problem(code="H5-001", message=message, at=self._image.at(at))))

    def _leave_out(self, fault: RefserError) -> None:
        self.refused += 1
        self._faults.add(fault)

    def _once(self, address: int, size: int, what: str, at: str) -> int:
        """`check` for a structure that only one place may lead to [H5-005]."""
        image = self._image
        start = address + image.base
        if start + size > image.end or image.need is not None:
            image.check(address, size, what, at)
        if start in self._seen:
            if image.hurried:  # a slower look tells by which path
                raise SharedBytes
            image.invalid(f"{what} that two places lead to", at, "H5-005")
        self._seen.add(start)
        return start


def shorten(name: bytes | str) -> str:
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."
