"""A zip archive written in one pass: members stored one after another, their data aligned, fixed times.

Spec: spec/keras-zip.md (KZ-002, KZ-012, KZ-016 to KZ-018).  Not here: reading archives (zipio).
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from refser.errors import InvalidError, Problem
from refser.output import Sink

ALIGNMENT = 64  # of each member's data, in bytes [KZ-016]
_FIXED_TIME, _FIXED_DATE = 0, 0x21  # 1980-01-01 00:00:00
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4sBB5H3L5H2L")
_PADDING_ID = 0xD935  # the extra field with which zipalign pads
_ZIP64_ID = 1
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_UTF8 = 0x800
_DESCRIPTOR = 0x8
_UNIX, _VERSION, _VERSION64 = 3, 20, 45


@dataclass(slots=True)
class _Member:
    name: bytes
    flags: int
    mode: int
    offset: int
    size: int
    crc: int = 0


class ArchiveWriter:
    """Writes to a file that may or may not seek; the bytes are the same, but for members given by an iterator.

    Where it seeks, each member's CRC-32 is put in its header afterwards.  Where it does not, the pieces are gone over twice;
    those of an iterator cannot be, and have the CRC-32 in a data descriptor behind them [KZ-018].
    """

    def __init__(self, file: Sink) -> None:
        self._file, self._members = file, list[_Member]()
        self._here = 0
        self._seekable = file.seekable()
        self._start = file.tell() if self._seekable else 0

    def write(
        self, name: str, pieces: Iterable[bytes | memoryview], *, size: int | None = None, alignment: int = ALIGNMENT
    ) -> None:
        """Add a member whose data start at a multiple of `alignment` bytes, at most 32 KiB.

        `size`, its bytes, is needed where `pieces` is not a tuple: the header comes first.
        """
        if size is None:
            pieces = tuple(pieces)
            size = sum(memoryview(piece).nbytes for piece in pieces)
        encoded = name.encode("utf-8")
        if len(encoded) > _MAX16:
            raise InvalidError(Problem(code="KZ-010", message=f"a member name of {len(encoded):,} bytes", at=name[:80]))
        mode = (stat.S_IFREG | 0o644) if "/" in name else 0o600  # assets, the rest: as Keras
        update, ahead = _crc32(), not self._seekable and not isinstance(pieces, Iterator)
        flags = (0 if encoded.isascii() else _UTF8) | (0 if self._seekable or ahead else _DESCRIPTOR)
        member = _Member(encoded, flags, mode, self._here, size)
        if ahead:
            for piece in pieces:
                member.crc = update(piece, member.crc)
        self._members.append(member)
        self._put(self._local_header(member, alignment))
        crc, written = 0, 0
        for piece in pieces:
            crc = update(piece, crc)
            written += self._put(piece)
        if written != size:
            message = f"{written:,} bytes for a member of {size:,}"
            raise InvalidError(Problem(code="KZ-005", message=message, at=name))
        if ahead and crc != member.crc:
            raise InvalidError(Problem(code="KZ-008", message="values that changed while they were written", at=name))
        member.crc = crc
        if self._seekable:
            self._file.seek(self._start + member.offset + 14)
            self._file.write(struct.pack("<L", crc))
            self._file.seek(self._start + self._here)
        elif not ahead:
            wide = size > _MAX32
            self._put(struct.pack("<4sLQQ" if wide else "<4sLLL", b"PK\7\10", crc, size, size))

    def finish(self) -> None:
        """The central directory and its end, with zip64 records where a number needs them [KZ-017]."""
        start = self._here
        for member in self._members:
            self._put(_central(member))
        size, count = self._here - start, len(self._members)
        if start > _MAX32 or size > _MAX32 or count >= _MAX16:
            record = self._here
            self._put(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, _VERSION64, _VERSION64, 0, 0, count, count, size, start))
            self._put(struct.pack("<4sLQL", b"PK\6\7", 0, record, 1))
        small = min(count, _MAX16)
        self._put(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, small, small, min(size, _MAX32), min(start, _MAX32), 0))

    def _put(self, data: bytes | memoryview) -> int:
        self._file.write(data)
        length = memoryview(data).nbytes
        self._here += length
        return length

    def _local_header(self, member: _Member, alignment: int) -> bytes:
        """With padding in the extra field that brings the data to a multiple of the alignment [KZ-016]."""
        wide = member.size > _MAX32
        extra = struct.pack("<2H2Q", _ZIP64_ID, 16, member.size, member.size) if wide else b""
        length = self._here + _LOCAL.size + len(member.name) + len(extra)
        if gap := -length % alignment:
            gap += alignment if gap < 6 else 0
            extra += struct.pack("<3H", _PADDING_ID, gap - 4, alignment).ljust(gap, b"\0")
        shown = _MAX32 if wide else 0 if member.flags & _DESCRIPTOR else member.size
        version = _VERSION64 if wide else _VERSION
        sizes = (member.crc, shown, shown, len(member.name), len(extra))
        head = _LOCAL.pack(b"PK\3\4", version, member.flags, 0, _FIXED_TIME, _FIXED_DATE, *sizes)
        return head + member.name + extra


def _central(member: _Member) -> bytes:
    numbers = [number for number in (member.size, member.size, member.offset) if number > _MAX32]
    extra = struct.pack(f"<2H{len(numbers)}Q", _ZIP64_ID, 8 * len(numbers), *numbers) if numbers else b""
    version = _VERSION64 if numbers else _VERSION
    size, offset = min(member.size, _MAX32), min(member.offset, _MAX32)
    fixed = (member.flags, 0, _FIXED_TIME, _FIXED_DATE, member.crc, size, size)
    rest = (len(member.name), len(extra), 0, 0, 0, member.mode << 16, offset)
    return _CENTRAL.pack(b"PK\1\2", version, _UNIX, version, *fixed, *rest) + member.name + extra


@cache
def _crc32() -> Callable[[bytes | memoryview, int], int]:
    """The fastest CRC-32 that is installed; all give the same number."""
    try:
        from isal import isal_zlib
    except ImportError:
        pass
    else:
        crc32: Callable[[bytes | memoryview, int], int] = isal_zlib.crc32
        return crc32
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.crc32
    fast: Callable[[bytes | memoryview, int], int] = zlib_ng.crc32
    return fast
