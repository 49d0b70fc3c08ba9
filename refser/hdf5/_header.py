"""Object headers: the messages of one object, wherever its continuation blocks are.

Spec: spec/hdf5-bytes.md (H5-030 to H5-034).  HDF5 File Format Specification IV.A.1.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from refser.hdf5._image import Image, OutsideProfile

DATASPACE, LINK_INFO, DATATYPE, FILL_OLD, FILL, LINK, EXTERNAL, LAYOUT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08
GROUP_INFO, FILTERS, ATTRIBUTE, COMMENT, CONTINUATION, SYMBOL_TABLE = 0x0A, 0x0B, 0x0C, 0x0D, 0x10, 0x11
ATTRIBUTE_INFO = 0x15
NIL = 0x00
METADATA_MARK = b"refser\0\1"  # starts a nil message of the root group, behind it the size of all metadata [H5-070]
_SHARED = 2  # flag of a message that stands elsewhere
_PREFIX = struct.Struct("<BxHII")
_MESSAGE = struct.Struct("<HHB")
_BLOCK = struct.Struct("<QQ")

Message = tuple[int, int, int]  # type, where its body starts, size of the body


def read_messages(image: Image, address: int, at: str) -> list[Message]:
    """The messages of the object whose header is at `address`, in file order, nil and continuation left out.

    Raises `MalformedError` for a header that does not decode; leaves the profile, once it is read to its end, for a message
    that stands elsewhere.
    """
    start = address + image.base
    if image.need is not None:
        image.need(start, 512)
    buffer = image.buffer
    if start + 16 > image.end:
        image.check(address, 16, "an object header", at)
    if buffer[start] == 1:
        return _version_1(image, start, at)
    image.expect(start, b"OHDR", "an object header", at)
    return _version_2(image, start, at)


def _version_1(image: Image, start: int, at: str) -> list[Message]:
    """A prefix and messages, all inside their block [H5-030, H5-031]; one that is shared leaves the profile [H5-034]."""
    buffer, unpack = image.buffer, _MESSAGE.unpack_from
    _, count, _, size = _PREFIX.unpack_from(buffer, start)
    here, end = start + 16, start + 16 + size
    if end > image.end or image.need is not None:
        image.check(start - image.base, 16 + size, "an object header", at)
    image.own(start, 16 + size, "an object header", at)
    found: list[Message] = []
    more: list[tuple[int, int]] = []
    shared = False
    while True:
        while here + 8 <= end and count:
            count -= 1
            kind, length, flags = unpack(buffer, here)
            body = here + 8
            here = body + length
            if here > end:
                image.malformed(f"a message of {length:,} bytes that leaves its object header", at)
            if kind == CONTINUATION:
                more.append(_continuation(image, body, length, at))
            elif kind:
                if flags & _SHARED and kind != EXTERNAL:
                    shared = True
                    continue
                found.append((kind, body, length))
        if not more:
            break
        here, extent = more.pop(0)
        end = here + extent
    if count:
        image.malformed(f"an object header that lacks {count:,} of its messages", at)
    if shared:
        _leave(image, found, at)
    return found


def _leave(image: Image, found: list[Message], at: str) -> NoReturn:
    """With what the header says for itself, as it can be unsafe [H5-085]."""
    outside = OutsideProfile("H5-027", "a message that is shared between objects", image.at(at))
    outside.messages = found
    raise outside


def _continuation(image: Image, body: int, length: int, at: str) -> tuple[int, int]:
    """Start and size of the block that goes on with a header; a cycle of them ends at what the file has [H5-028, H5-032]."""
    if length < 16:
        image.malformed("a continuation that is cut short", at)
    address, extent = _BLOCK.unpack_from(image.buffer, body)
    block = image.check(address, extent, "a continuation of an object header", at)
    image.own(block, max(extent, 8), "a continuation of an object header", at)
    return block, extent


def _version_2(image: Image, start: int, at: str) -> list[Message]:
    """Headers that `libver="latest"` and h5repack write; their checksums are compared [H5-033]."""
    buffer = image.buffer
    flags = buffer[start + 5]
    if buffer[start + 4] != 2:
        image.malformed(f"an object header OHDR of version {buffer[start + 4]}", at)
    here = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    image.check(start - image.base, here + width - start, "an object header", at)
    size = int.from_bytes(buffer[here : here + width], "little")
    here += width
    image.check(start - image.base, here + size + 4 - start, "an object header", at)
    image.own(start, here + size + 4 - start, "an object header", at)
    compare_checksum(image, start, here + size, "an object header", at)
    head = 6 if flags & 4 else 4
    found: list[Message] = []
    shared = False
    more = [(here, here + size)]
    while more:
        here, end = more.pop(0)
        while here + head <= end:
            kind, length, message_flags = buffer[here], int.from_bytes(buffer[here + 1 : here + 3], "little"), buffer[here + 3]
            body = here + head
            here = body + length
            if here > end:
                image.malformed(f"a message of {length:,} bytes that leaves its object header", at)
            if kind == CONTINUATION:
                block, extent = _continuation(image, body, length, at)
                if extent < 8:
                    image.malformed("a continuation that is cut short", at)
                image.expect(block, b"OCHK", "a continuation", at)
                compare_checksum(image, block, block + extent - 4, "a continuation", at)
                more.append((block + 4, block + extent - 4))
            elif kind:
                if message_flags & _SHARED and kind != EXTERNAL:
                    shared = True
                    continue
                found.append((kind, body, length))
    if shared:
        _leave(image, found, at)
    return found


def compare_checksum(image: Image, start: int, end: int, what: str, at: str) -> None:
    """The Jenkins lookup3 hash behind `end` covers the bytes from `start` [H5-033]."""
    stored = int.from_bytes(image.buffer[end : end + 4], "little")
    if (found := lookup3(bytes(image.buffer[start:end]))) != stored:
        image.malformed(f"{what} with checksum {stored:08x}; its bytes give {found:08x}", at, "H5-033")


def lookup3(data: bytes) -> int:
    """Bob Jenkins's lookup3 `hashlittle` with initial value 0, as HDF5 uses it."""
    mask, length = 0xFFFFFFFF, len(data)
    a = b = c = (0xDEADBEEF + length) & mask
    if not length:
        return c
    padded = data + bytes(-length % 12)
    words: tuple[int, ...] = struct.unpack(f"<{len(padded) // 4}I", padded)
    last = len(words) - 3
    for at in range(0, last, 3):
        a, b, c = (a + words[at]) & mask, (b + words[at + 1]) & mask, (c + words[at + 2]) & mask
        for x in (4, 6, 8, 16, 19, 4):
            # Each step mixes one word; the three names then turn by one place.
            a = (a - c) & mask
            a ^= ((c << x) | (c >> (32 - x))) & mask
            c = (c + b) & mask
            a, b, c = b, c, a
    a, b, c = (a + words[last]) & mask, (b + words[last + 1]) & mask, (c + words[last + 2]) & mask
    for x in (14, 11, 25, 16, 4, 14, 24):
        c ^= b
        c = (c - (((b << x) | (b >> (32 - x))) & mask)) & mask
        a, b, c = b, c, a
    return b  # after the turn, what was c
