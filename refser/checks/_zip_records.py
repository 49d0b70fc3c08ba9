"""The records of a zip archive as they lie there, held against each other.

Spec: spec/keras-zip.md (KZ-020 to KZ-026, KZ-029).  Not here: what the members are called and hold (_zip_members).
`zipfile` reads many an archive that other readers take for something else; here nothing is put right.
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from refser.checks.report import Finding, error, info, unsafe, warning
from refser.source import Source
from refser.zipio import find_end, shortened

_CENTRAL, _LOCAL = struct.Struct("<4s2B5H3L5H2L"), struct.Struct("<4s5H3L2H")
_MAX32, _TAIL = 0xFFFFFFFF, 22 + 0xFFFF
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
_COMPARED = _ENCRYPTED | _DESCRIPTOR | _PATCHED | _STRONG | _UTF8 | _MASKED
_BLOCK = 1 << 20
Extras = Sequence[tuple[int, bytes]]


class Entry(NamedTuple):
    """A member as the directory has it."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int  # bytes stored
    size: int
    offset: int  # of the local header, in the file
    mode: int
    extras: Extras
    has_comment: bool

    @property
    def text(self) -> str:
        return self.name.decode("utf-8" if self.flags & _UTF8 else "cp437", "replace")


class End(NamedTuple):
    """What the end records say."""

    at: int  # of the record that every archive has
    first: int  # of the first: that of zip64 where there is one
    stop: int  # behind the comment
    start: int  # of the directory, in the file
    members: int
    shift: int  # what the offsets lack


class Records:
    """All records of an archive that zipfile opens, each looked at once; what is wrong with them is in `findings`."""

    def __init__(self, source: Source) -> None:
        self.source, self.name = source, source.name
        self.findings: list[Finding] = []
        self.entries: list[Entry] = []
        self._looked_at = self._stored = 0
        self.data: list[tuple[int, int]] = []  # where the bytes of each member lie; of no length where there are none
        end = self._end()
        if end is None:
            return
        self._read_directory(end)
        owned: list[tuple[int, int, Entry]] = []
        for entry in self.entries:
            start, data, stop = self._local(entry)
            self.data.append((data, min(entry.packed, self.source.size - data)))
            if stop:
                owned.append((start, stop, entry))
        self._look_between(owned, end)
        self._look_for_other_ends(owned, end)

    def place(self, offset: int) -> str:
        return f"{self.name}: byte {offset:,}"

    def member(self, entry: Entry) -> str:
        return f"{self.name}:{shortened(entry.text)}"

    def _bytes(self, offset: int, length: int) -> bytes:
        """None of them where they are not all there."""
        if offset < 0 or offset + length > self.source.size:
            return b""
        return bytes(self.source.view(offset, length))

    # ------------------------------------------------------------------------------------------------------------- end records

    def _end(self) -> End | None:
        found = find_end(self.source)
        if found is None:
            return None
        at, record = found
        disk, start_disk, here, count, size, offset, comment = struct.unpack("<4x4H2LH", record)
        first, stop, disks = at, at + 22 + comment, [disk, start_disk]
        if stop > self.source.size:
            self._wrong("KZ-024", f"a comment of {comment:,} bytes that the file is too short for", at)
        elif comment:
            self.findings.append(info("KZ-022", f"a comment of {comment:,} bytes", self.place(at + 22)))
        locator = self._bytes(at - 20, 20)
        if locator.startswith(b"PK\x06\x07"):
            locator_disk, place, all_disks = struct.unpack_from("<LQL", locator, 4)
            wide = self._bytes(at - 76, 56)
            if wide.startswith(b"PK\x06\x06"):
                narrow = (here, count, size, offset)
                length, disk64, start64, here, count, size, offset = struct.unpack_from("<Q4x2L4Q", wide, 4)
                first = at - 76
                disks += [locator_disk, max(all_disks, 1) - 1, disk64, start64]
                self._compare_ends(narrow, (here, count, size, offset), length, at)
            else:
                self._wrong("KZ-024", "a zip64 locator with no record of zip64 in front of it", at - 20)
        else:
            place = None
        start = first - size
        shift = start - offset
        if any(disks):
            self._wrong("KZ-024", "an archive of several disks; wanted one file", at)
        if here != count:
            self._wrong("KZ-024", f"{here:,} members on this disk and {count:,} in all; wanted the same number", at)
        if start < 0:
            self._wrong("KZ-024", f"a directory of {size:,} bytes in front of byte {first:,}", at)
            return None
        elsewhere = shift and self._bytes(offset, 4) == b"PK\x01\x02"
        if shift < 0 or elsewhere:
            self._wrong("KZ-024", f"a directory at byte {offset:,}, by its size at {start:,}", at)
        if first < at and place is not None and place + shift != first:
            self._wrong("KZ-024", f"a record of zip64 at byte {place:,}; it is at {first:,}", at - 20)
        return End(at=at, first=first, stop=min(stop, self.source.size), start=start, members=count, shift=shift)

    def _compare_ends(self, narrow: tuple[int, ...], wide: tuple[int, ...], length: int, at: int) -> None:
        if length != 44:
            self._wrong("KZ-024", f"a record of zip64 of {length:,} bytes; wanted 44", at - 76)
        for what, small, full, mark in zip(
            ("members on this disk", "members", "the directory's size", "the directory's place"),
            narrow,
            wide,
            (0xFFFF, 0xFFFF, _MAX32, _MAX32),
        ):
            if small not in (full, mark):
                self._wrong("KZ-024", f"{what}: {small:,} in the end record, {full:,} in that of zip64", at)

    def _wrong(self, code: str, message: str, at: int) -> None:
        self.findings.append(error(code, message, self.place(at)))

    # --------------------------------------------------------------------------------------------------------------- directory

    def _read_directory(self, end: End) -> None:
        directory = self.source.view(end.start, end.first - end.start)
        at = 0
        while at + 46 <= len(directory):
            (mark, _, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, attributes, offset) = _CENTRAL.unpack_from(
                directory, at
            )
            name_end = at + 46 + lengths[0]
            extra_end = name_end + lengths[1]
            stop = extra_end + lengths[2]
            if mark != b"PK\x01\x02" or stop > len(directory):
                break
            name = bytes(directory[at + 46 : name_end])
            extras = self._extras(bytes(directory[name_end:extra_end]), end.start + name_end) if lengths[1] else ()
            if _MAX32 in (packed, size, offset):
                size, packed, offset = self._widened(extras, (size, packed, offset), end.start + at)
            self.entries.append(
                Entry(name, flags, method, crc, packed, size, offset + end.shift, attributes >> 16, extras, lengths[2] > 0)
            )
            at = stop
        if at != len(directory):
            self._wrong("KZ-024", f"a directory whose records end {len(directory) - at:,} bytes early", end.start + at)
        if len(self.entries) != end.members:
            self._wrong("KZ-024", f"{len(self.entries):,} members; the end record says {end.members:,}", end.at)

    def _widened(self, extras: Extras, numbers: tuple[int, ...], at: int) -> Iterator[int]:
        """Size, stored size and offset, from the zip64 field where they are the mark of one."""
        field = next((data for kind, data in extras if kind == 1), b"")
        for number in numbers:
            if number == _MAX32:
                if len(field) >= 8:
                    number, field = int.from_bytes(field[:8], "little"), field[8:]
                else:
                    self._wrong("KZ-029", "a number left to a zip64 field that does not have it", at)
            yield number

    def _extras(self, data: bytes, at: int) -> Extras:
        """The extra fields, by number [KZ-029]."""
        found, here = list[tuple[int, bytes]](), 0
        while here + 4 <= len(data):
            kind, length = struct.unpack_from("<HH", data, here)
            if here + 4 + length > len(data):
                self._wrong("KZ-029", f"an extra field {kind:04x} of {length:,} bytes that reaches beyond its end", at + here)
                return found
            found.append((kind, data[here + 4 : here + 4 + length]))
            here += 4 + length
        if any(data[here:]):
            message = f"{len(data) - here} bytes behind the extra fields, too few for one"
            self.findings.append(warning("KZ-029", message, self.place(at + here)))
        if sum(kind == 1 for kind, _ in found) > 1:
            self._wrong("KZ-029", "two zip64 fields; wanted one", at)
        return found

    # ----------------------------------------------------------------------------------------------------------- local headers

    def _local(self, entry: Entry) -> tuple[int, int, int]:
        """Where the member begins, where its data do, and where it ends: 0 where that cannot be told [KZ-025]."""
        header = self._bytes(entry.offset, 30)
        if not header.startswith(b"PK\x03\x04"):
            self._disagree(entry, f"no local header at byte {entry.offset:,}")
            return entry.offset, self.source.size, 0
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        name = self._bytes(entry.offset + 30, name_length if name_length == len(entry.name) else min(name_length, 100))
        extra_at = entry.offset + 30 + name_length
        start = extra_at + extra_length
        stop = start + entry.packed
        if stop > self.source.size:
            self._disagree(entry, f"data up to byte {stop:,} of a file of {self.source.size:,}")
            return entry.offset, min(start, self.source.size), 0
        self._looked_at += extra_length  # headers can lie in each other, and be many times as much as the file
        look = extra_length > 0 and self._looked_at <= self.source.size
        extras = self._extras(self._bytes(extra_at, extra_length), extra_at) if look else ()
        wide = next((data for kind, data in extras if kind == 1), None)
        if wide is not None and len(wide) >= 16:
            size64, packed64 = struct.unpack_from("<QQ", wide)
            size, packed = (size64 if size == _MAX32 else size), (packed64 if packed == _MAX32 else packed)
        for what, here, there in (
            ("name", name, entry.name),
            ("method", method, entry.method),
            ("flags", flags & _COMPARED, entry.flags & _COMPARED),
        ):
            if here != there:
                self._disagree(entry, f"{what} {_plain(here)} in the local header, {_plain(there)} in the directory")
        told = (crc, packed, size)
        if flags & _DESCRIPTOR:
            told_there = any(told) and told == (entry.crc, entry.packed, entry.size)
            self._compare_numbers(entry, told, zero_too=True)
            return entry.offset, start, stop + self._descriptor(entry, stop, wide is not None, told_there)
        self._compare_numbers(entry, told)
        return entry.offset, start, stop

    def _compare_numbers(self, entry: Entry, told: tuple[int, int, int], *, zero_too: bool = False) -> None:
        for what, here, there in zip(("CRC-32", "stored size", "size"), told, (entry.crc, entry.packed, entry.size)):
            if here != there and not (zero_too and here == 0):
                self._disagree(entry, f"{what} {here:,} in the local header, {there:,} in the directory")

    def _descriptor(self, entry: Entry, at: int, wide: bool, told: bool) -> int:
        """Bytes of the data descriptor: with a mark or without, of 32 or 64 bits; the one that says what the directory says."""
        data = bytes(self.source.view(at, min(24, self.source.size - at)))
        for form in ("<LQQ", "<LLL") if wide else ("<LLL", "<LQQ"):
            if form == "<LLL" and max(entry.packed, entry.size) > _MAX32:
                continue
            wanted = struct.pack(form, entry.crc, entry.packed, entry.size)
            for prefix in (b"PK\x07\x08", b""):
                if data.startswith(prefix + wanted):
                    return len(prefix) + len(wanted)
        message = "flagged to have a data descriptor, and there is none that agrees with the directory"
        if told or not (entry.packed or entry.size or entry.crc):  # some writers set the flag and need no descriptor
            self.findings.append(warning("KZ-025", message, self.member(entry)))
        else:
            self._disagree(entry, message)
        return 0

    def _disagree(self, entry: Entry, message: str) -> None:
        self.findings.append(error("KZ-025", message, self.member(entry)))

    # ----------------------------------------------------------------------------------------------------------------- between

    def _look_between(self, owned: list[tuple[int, int, Entry]], end: End) -> None:
        owned.sort(key=itemgetter(0, 1))
        self._stored = sum(entry.packed for entry in self.entries)
        first = owned[0][0] if owned else end.start
        if first > 0:
            uncounted = ", which the offsets do not count" if end.shift else ""
            message = f"{first:,} bytes in front of the archive{uncounted}"
            self.findings.append(warning("KZ-021", message, self.place(0), "they can be a file of another kind"))
        here = first
        for start, stop, entry in owned:
            if start > here:
                self._gap(here, start)
            elif start < here:
                self._overlap(f"a member that begins at byte {start:,}, inside of what begins before it", self.member(entry))
            here = max(here, stop)
        if here > end.start:
            self._overlap("members that reach into the directory", self.place(end.start))
        elif here < end.start and owned:
            self._gap(here, end.start)
        if end.stop < self.source.size:
            message = f"{self.source.size - end.stop:,} bytes behind the archive"
            self.findings.append(warning("KZ-022", message, self.place(end.stop)))

    def _overlap(self, message: str, at: str) -> None:
        """More data than the file has bytes are a bomb, however small each member is [KZ-026]."""
        make = unsafe if self._stored > self.source.size else error
        self.findings.append(make("KZ-026", f"{message}; wanted each byte in one member", at))

    def _gap(self, start: int, stop: int) -> None:
        message = f"{stop - start:,} bytes that belong to no member"
        if self._all_zero(start, stop):
            self.findings.append(info("KZ-020", f"{message}, all 0", self.place(start)))
        else:
            self.findings.append(warning("KZ-020", message, self.place(start)))

    def _all_zero(self, start: int, stop: int) -> bool:
        blocks = (bytes(self.source.view(at, min(_BLOCK, stop - at))) for at in range(start, stop, _BLOCK))
        return not any(block.strip(b"\0") for block in blocks)

    def _look_for_other_ends(self, owned: list[tuple[int, int, Entry]], end: End) -> None:
        """A reader that goes by another end record reads another archive [KZ-023]."""
        ranges = [(begin, stop) for begin, stop, _ in owned]
        start = max(0, self.source.size - _TAIL)
        tail = bytes(self.source.view(start, self.source.size - start))
        at = tail.find(b"PK\x05\x06")
        while 0 <= at <= len(tail) - 22:
            place = start + at
            if place != end.at and self._is_end(tail[at : at + 22], place, ranges, end):
                self._wrong("KZ-023", f"a second end record; the one that is read is at byte {end.at:,}", place)
                break
            at = tail.find(b"PK\x05\x06", at + 1)

    def _is_end(self, record: bytes, place: int, ranges: list[tuple[int, int]], end: End) -> bool:
        count, size, offset, comment = struct.unpack_from("<H2LH", record, 10)
        if place + 22 + comment == self.source.size:
            return True
        before = bisect(ranges, (place, self.source.size))
        if (before and place < ranges[before - 1][1]) or end.start <= place < end.first:
            return False  # an archive in the archive, or a few bytes that happen to look so
        marks = {self._bytes(place - size, 4), self._bytes(offset, 4)}
        return b"PK\x01\x02" in marks if size else not count


def _plain(value: object) -> str:
    return repr(value[:100]) if isinstance(value, bytes) else str(value)
