"""Two readers of zip archives that take nothing for granted that `zipfile` does: where they differ, there are two readings.

`members` goes from the first local header to the last, as one of a pipe does, and knows nothing of the directory.
`members_by_offset` takes the first end record whose comment ends with the file, the offset and the count that it says.
"""

from __future__ import annotations

import struct
import zlib


class NoStream(Exception):
    """Not what a pipe could be read for."""


def members(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of the members, stored or deflated, in the order of the file."""
    found, at = [], 0
    while data[at : at + 4] == b"PK\x03\x04":
        flags, method, crc, packed, size, name_length, extra_length = struct.unpack_from("<HH4x3L2H", data, at + 6)
        name = data[at + 30 : at + 30 + name_length]
        extra = data[at + 30 + name_length : at + 30 + name_length + extra_length]
        wide = _zip64(extra)
        if wide is not None and 0xFFFFFFFF in (packed, size):
            size, packed = wide
        start = at + 30 + name_length + extra_length
        if flags & 8:
            content, stop = _until_descriptor(data, start, method, wide is not None)
        else:
            stop = start + packed
            content = _unpacked(data[start:stop], method)
            if (len(content), zlib.crc32(content)) != (size, crc):
                raise NoStream("size or CRC-32")
        found.append((name.decode("utf-8" if flags & 0x800 else "cp437"), content))
        at = len(data) - len(data[stop:].lstrip(b"\0"))  # zeros in between mislead nobody: KZ-020 is an info then
    if data[at : at + 4] not in (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"):
        raise NoStream(f"neither a member nor a directory at {at}")
    return found


def members_by_offset(data: bytes) -> list[tuple[str, bytes]]:
    """In the order of the file."""
    end = data.find(b"PK\x05\x06", max(0, len(data) - 65_557))
    while end >= 0 and (end + 22 > len(data) or end + 22 + int.from_bytes(data[end + 20 : end + 22], "little") != len(data)):
        end = data.find(b"PK\x05\x06", end + 1)
    if end < 0:
        raise NoStream("no end record")
    count, offset = struct.unpack_from("<H4xL", data, end + 10)
    if data[end - 20 : end - 16] == b"PK\x06\x07":
        (place,) = struct.unpack_from("<Q", data, end - 12)
        if data[place : place + 4] != b"PK\x06\x06":
            raise NoStream("no record of zip64")
        count64, _, offset64 = struct.unpack_from("<3Q", data, place + 32)
        count, offset = (count64 if count == 0xFFFF else count), (offset64 if offset == 0xFFFFFFFF else offset)
    found = []
    for _ in range(count):
        if data[offset : offset + 4] != b"PK\x01\x02":
            raise NoStream("fewer members than the end record says")
        flags, method, packed, size, *lengths, place = struct.unpack_from("<HH8x2L3H8xL", data, offset + 8)
        name = data[offset + 46 : offset + 46 + lengths[0]]
        wide = data[offset + 46 + lengths[0] : offset + 46 + lengths[0] + lengths[1]]
        if 0xFFFFFFFF in (packed, size, place):
            size, packed, place = _central64(wide, size, packed, place)
        start = place + 30 + sum(struct.unpack_from("<2H", data, place + 26))
        content = _unpacked(data[start : start + packed], method)
        if len(content) != size:
            raise NoStream("size")
        found.append((place, name.decode("utf-8" if flags & 0x800 else "cp437"), content))
        offset += 46 + sum(lengths)
    return [(name, content) for _, name, content in sorted(found, key=lambda it: it[0])]


def _central64(extra: bytes, *numbers: int) -> list[int]:
    at, field = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length] if kind == 1 else field
        at += 4 + length
    found = []
    for number in numbers:
        if number == 0xFFFFFFFF:
            (number,), field = struct.unpack("<Q", field[:8]), field[8:]
        found.append(number)
    return found


def _zip64(extra: bytes) -> tuple[int, int] | None:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 16:
            return struct.unpack_from("<QQ", extra, at + 4)
        at += 4 + length
    return None


def _unpacked(data: bytes, method: int) -> bytes:
    if method == 0:
        return data
    if method != 8:
        raise NoStream(f"method {method}")
    engine = zlib.decompressobj(-15)
    content = engine.decompress(data, 1 << 24)
    if not engine.eof or engine.unused_data:
        raise NoStream("deflated data that do not end where they have to")
    return content


def _until_descriptor(data: bytes, start: int, method: int, wide: bool) -> tuple[bytes, int]:
    if method == 8:
        engine = zlib.decompressobj(-15)
        content = engine.decompress(data[start:], 1 << 24)
        if not engine.eof:
            raise NoStream("deflated data without an end")
        places = [len(data) - len(engine.unused_data)]
    elif method == 0:  # only the descriptor tells where the data end
        content, places = b"", []
        at = data.find(b"PK\x07\x08", start)
        while at >= 0:
            places.append(at)
            at = data.find(b"PK\x07\x08", at + 1)
    else:
        raise NoStream(f"method {method}")
    for place in places:
        content = content if method else data[start:place]
        for form in ("<LQQ", "<LLL") if wide else ("<LLL", "<LQQ"):
            try:
                told = struct.pack(form, zlib.crc32(content), place - start, len(content))
            except struct.error:
                continue
            for mark in (b"PK\x07\x08", b""):
                if data[place:].startswith(mark + told):
                    return content, place + len(mark + told)
    raise NoStream("no data descriptor")
