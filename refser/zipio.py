"""The only door to zip archives: names checked, sizes capped, stored members read in place.

Spec: spec/keras-zip.md (KZ), spec/limits.md (LI).  Not here: which members a model has (layouts/keras_zip).
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.limits import Limits
from refser.source import MemorySource, Source, SourceFile

_EOCD, _EOCD_SIZE, _COMMENT_MAX = b"PK\x05\x06", 22, 0xFFFF
_LOCAL, _LOCAL_SIZE, _CENTRAL_SIZE = b"PK\x03\x04", 30, 46
_ENCRYPTED, _PATCHED, _UTF8 = 0x41, 0x20, 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_SHOWN = 300
_CHUNK, _SMALL_CHUNK = 1 << 20, 1 << 12
_DRIVE = re.compile(r"[A-Za-z]:")
# What zipfile and the decompressors raise on bad bytes; anything else would be a bug of ours.
_BAD_BYTES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error),
    *(ValueError, NotImplementedError, RuntimeError, MemoryError),
)


def is_zip(source: Source) -> bool:
    """Whether an end-of-central-directory record stands where one can."""
    return find_end(source) is not None


class Archive:
    """The members of one zip archive by name, in the directory's order.  Raises the first broken KZ requirement.

    With `refuse`, what is wrong with a member is handed to that, and the member is `left_out`; of members of one name it is
    the last that stays, the one that Keras would take.
    """

    def __init__(self, source: Source, *, limits: Limits, refuse: Callable[[RefserError], None] | None = None) -> None:
        self.source, self._limits, self.name = source, limits, source.name
        self.left_out: set[str] = set()
        self.compared: set[str] = set()  # members that are stored and whose CRC-32 was compared [KZ-008]
        _check_directory_size(source, limits)
        try:
            self._zip = zipfile.ZipFile(SourceFile(source))
        except (*_BAD_BYTES, UnicodeDecodeError) as error:
            raise self._malformed(f"a zip directory that cannot be read: {error}") from error
        infos = self._zip.infolist()
        if len(infos) > limits.zip_members:
            raise _too_many(len(infos), limits, self.name)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            try:
                self._check_member(info)
            except RefserError as error:
                if refuse is None:
                    raise
                refuse(error)
                self.left_out.add(info.orig_filename)
                continue
            # By the name in the header: that of a Unicode path field, which newer zipfiles put in its place, nobody checked.
            if info.orig_filename in self._members:
                twice = InvalidError(Problem(code="KZ-004", message="two members have this name", at=self._at(info)))
                if refuse is None:
                    raise twice
                refuse(twice)
            self._members[info.orig_filename] = info

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size of each member, in bytes, without directory entries."""
        return {name: info.file_size for name, info in self._members.items() if not info.is_dir()}

    def open(self, name: str, *, cap: int, code: str) -> Source:
        """The bytes of one member: a window of the archive when stored, else inflated into memory.

        `cap` bytes are the most it may have, by requirement `code`.  Raises `KeyError` when there is no such member.
        """
        info = self._members[name]
        at = self._at(info)
        cap = min(cap, self._limits.inflated_bytes) if info.compress_type != zipfile.ZIP_STORED else cap
        if info.file_size > cap:
            message = f"a member of {info.file_size:,} bytes; the limit is {cap:,}"
            raise LimitError(Problem(code=code, message=message, at=at))
        if info.compress_type == zipfile.ZIP_STORED:
            return self.source.window(self._data_offset(info), info.compress_size, at)
        return MemorySource(self._inflate(info), at)

    def read(self, name: str, *, cap: int, code: str) -> bytes:
        """The bytes of one member, its CRC-32 compared [KZ-008]."""
        source = self.open(name, cap=cap, code=code)
        source.keep(0, source.size)
        data = bytes(source.view(0, source.size))
        info = self._members[name]
        if zlib.crc32(data) != info.CRC:
            message = f"CRC-32 {zlib.crc32(data):08x}; the directory says {info.CRC:08x}"
            raise MalformedError(Problem(code="KZ-008", message=message, at=self._at(info), hint="the file is damaged"))
        if info.compress_type == zipfile.ZIP_STORED:
            self.compared.add(name)
        return data

    @property
    def listed(self) -> list[tuple[int, int, int, int]]:
        """Local header, stored size, size and CRC-32 of every member, also of those that are left out."""
        return [(info.header_offset, info.compress_size, info.file_size, info.CRC) for info in self._zip.infolist()]

    def check_data(self, name: str) -> int:
        """Go over all bytes of a member, a block at a time: size and CRC-32 are the directory's [KZ-005, KZ-008].

        The number of bytes that are stored behind the end of the compressed data.  Raises `LimitError` where there is more
        to inflate than `inflated_bytes`.
        """
        info = self._members[name]
        stored = info.compress_type == zipfile.ZIP_STORED
        if not stored and info.file_size > self._limits.inflated_bytes:
            message = f"a member of {info.file_size:,} bytes; the limit is {self._limits.inflated_bytes:,}"
            raise LimitError(Problem(code="LI-004", message=message, at=self._at(info)))
        data = self.source.window(self._data_offset(info), info.compress_size, self._at(info))
        crc = size = left = 0
        from refser.zipwrite import _crc32 as fastest_crc32  # reading the directory has no need of it

        update = fastest_crc32()
        try:
            for piece, behind in _blocks(data) if stored else _inflated(data, info):
                left = behind
                crc = update(piece, crc)
                size += len(piece)
                if size > info.file_size:
                    message = f"over {info.file_size:,} bytes; the directory says that there are so many"
                    raise InvalidError(Problem(code="KZ-005", message=message, at=self._at(info)))
        except _BAD_BYTES as error:
            raise self._malformed(f"member {shortened(info.orig_filename)!r} cannot be inflated: {error}") from error
        if size != info.file_size:
            message = f"{size:,} bytes; the directory says {info.file_size:,}"
            raise InvalidError(Problem(code="KZ-005", message=message, at=self._at(info)))
        if crc != info.CRC:
            message = f"CRC-32 {crc:08x}; the directory says {info.CRC:08x}"
            raise MalformedError(Problem(code="KZ-008", message=message, at=self._at(info), hint="the file is damaged"))
        return left

    def _at(self, info: zipfile.ZipInfo) -> str:
        return f"{self.name}:{shortened(info.orig_filename)}"

    def _malformed(self, message: str) -> RefserError:
        return MalformedError(Problem(code="KZ-013", message=message, at=self.name, hint="the file is damaged"))

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        at, name = self._at(info), info.orig_filename
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or _DRIVE.match(name):
            message = f"a member named {shortened(name)!r}, which leaves the archive; wanted a relative path without '..'"
            raise UnsafeError(Problem(code="KZ-003", message=message, at=self.name))
        if "." in parts or "" in parts[:-1] or not name:
            message = f"a member named {shortened(name)!r}; wanted a plain relative path"
            raise InvalidError(Problem(code="KZ-003", message=message, at=self.name))
        mode = info.external_attr >> 16
        if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            message = "a member that is a link or a device; wanted a file"
            raise UnsafeError(Problem(code="KZ-014", message=message, at=at))
        if info.flag_bits & (_ENCRYPTED | _PATCHED):
            raise UnsupportedError(Problem(code="KZ-006", message="an encrypted or patched member", at=at))
        if info.compress_type not in _METHODS:
            message = f"compression method {info.compress_type}; Keras stores its members without any"
            raise UnsupportedError(Problem(code="KZ-007", message=message, at=at))
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            message = f"a stored member of {info.compress_size:,} bytes that says it is {info.file_size:,}"
            raise InvalidError(Problem(code="KZ-005", message=message, at=at))

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        """Where the data start, from the local header, which has to name the same member [KZ-013]."""
        header = self.source.view(info.header_offset, _LOCAL_SIZE)
        flags, name_size, extra_size = struct.unpack("<4x2xH18xHH", header)
        name = bytes(self.source.view(info.header_offset + _LOCAL_SIZE, name_size))
        encoding = "utf-8" if flags & _UTF8 else "cp437"
        if header[:4] != _LOCAL or name.decode(encoding, "replace") != info.orig_filename:
            raise self._malformed(f"no local header for member {shortened(info.orig_filename)!r}")
        return int(info.header_offset + _LOCAL_SIZE + name_size + extra_size)

    def _inflate(self, info: zipfile.ZipInfo) -> bytes:
        """At most the declared size, which is under its cap already [KZ-005]; one that goes on fails its CRC-32 [KZ-008]."""
        pieces, left = [], info.file_size
        # zipfile bounds only what deflate gives back: of bzip2 and lzma it inflates in one go as many bytes as are asked for
        chunk = _CHUNK if info.compress_type == zipfile.ZIP_DEFLATED else _SMALL_CHUNK
        try:
            with self._zip.open(info) as stream:
                while left and (piece := stream.read(min(left, chunk))):
                    pieces.append(piece)
                    left -= len(piece)
        except (*_BAD_BYTES, zipfile.LargeZipFile) as error:
            if isinstance(error, zipfile.BadZipFile) and str(error).startswith("Bad CRC-32"):
                message = "bytes whose CRC-32 is not the directory's, at the size that the directory says"
                raise MalformedError(
                    Problem(code="KZ-008", message=message, at=self._at(info), hint="the file is damaged")
                ) from error
            raise self._malformed(f"member {shortened(info.orig_filename)!r} cannot be inflated: {error}") from error
        if left:
            message = f"{info.file_size - left:,} bytes; the directory says {info.file_size:,}"
            raise InvalidError(Problem(code="KZ-005", message=message, at=self._at(info)))
        return b"".join(pieces)


def _blocks(data: Source) -> Iterator[tuple[memoryview, int]]:
    for at in range(0, data.size, _CHUNK):
        yield data.view(at, min(_CHUNK, data.size - at)), 0


def _inflated(data: Source, info: zipfile.ZipInfo) -> Iterator[tuple[bytes, int]]:
    """What the data unpack to, a bounded piece at a time, each with the bytes that would be left if it were the last."""
    engine: Any
    if info.compress_type == zipfile.ZIP_DEFLATED:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
    elif info.compress_type == zipfile.ZIP_BZIP2:
        import bz2

        engine = bz2.BZ2Decompressor()
    else:
        head = bytes(data.view(0, 4))  # version of the encoder, length of its properties
        length = int.from_bytes(head[2:], "little")
        properties = lzma._decode_filter_properties(lzma.FILTER_LZMA1, bytes(data.view(4, length)))  # type: ignore[attr-defined]
        properties["dict_size"] = min(properties["dict_size"], max(info.file_size, 1 << 12))  # is allocated, however big
        data = data.window(4 + length, data.size - 4 - length, data.name)
        engine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties])
    deflate = info.compress_type == zipfile.ZIP_DEFLATED
    for at in range(0, data.size, _CHUNK):
        block: bytes | memoryview = data.view(at, min(_CHUNK, data.size - at))
        behind = data.size - at - len(block)
        while not engine.eof:
            piece = engine.decompress(block, _CHUNK)
            block = engine.unconsumed_tail if deflate else b""
            if not piece and not block and not engine.eof:
                break
            yield piece, behind + len(engine.unused_data)
            if not engine.eof and not block and (deflate or engine.needs_input):
                break
        if engine.eof:
            return


def has_directory(source: Source) -> bool:
    """Whether the end record leads to the record of a member, so that the end record is none by chance."""
    found = find_end(source)
    if found is None:
        return False
    at, record = found
    (size,) = struct.unpack_from("<I", record, 12)
    if zip64 := _zip64_directories(source, at):
        size, at = zip64[0][0], at - 76
    return _CENTRAL_SIZE <= size <= at and bytes(source.view(at - size, 4)) == b"PK\x01\x02"


def find_end(source: Source) -> tuple[int, bytes] | None:
    """The end record that zipfile takes, and so Keras: the one at the very end, else the last, whatever its comment."""
    start = max(0, source.size - _EOCD_SIZE - _COMMENT_MAX)
    tail = bytes(source.view(start, source.size - start))
    last = tail[-_EOCD_SIZE:]
    at = len(tail) - _EOCD_SIZE if last.startswith(_EOCD) and last.endswith(b"\0\0") else tail.rfind(_EOCD)
    if at < 0 or len(tail) - at < _EOCD_SIZE:
        return None
    return start + at, tail[at : at + _EOCD_SIZE]


def _check_directory_size(source: Source, limits: Limits) -> None:
    """Cap the directory before anything parses it: each record takes at least 46 bytes and its name [LI-003]."""
    found = find_end(source)
    if found is None:
        hint = "the file is cut short: fetch it again"
        raise MalformedError(Problem(code="KZ-013", message="a zip without its end record", at=source.name, hint=hint))
    at, record = found
    count, size = struct.unpack_from("<HI", record, 10)
    for size64, count64 in _zip64_directories(source, at):
        size, count = max(size % 0xFFFFFFFF, size64), max(count % 0xFFFF, count64)
    if count > limits.zip_members or size > limits.zip_members * (_CENTRAL_SIZE + 1024):
        raise _too_many(count, limits, source.name)


def _zip64_directories(source: Source, end: int) -> list[tuple[int, int]]:
    """Size and count of the records in front of the locator, where zipfile looks, and where the locator points."""
    if end < 20 or bytes(source.view(end - 20, 4)) != b"PK\x06\x07":
        return []
    (offset,) = struct.unpack_from("<Q", source.view(end - 20, 20), 8)
    places = [place for place in dict.fromkeys((end - 76, offset)) if 0 <= place <= source.size - 56]
    records = [bytes(source.view(place, 56)) for place in places]
    found = [struct.unpack_from("<QQ", record, 32) for record in records if record.startswith(b"PK\x06\x06")]
    return [(size, count) for count, size in found]


def shortened(name: str) -> str:
    """A name in a message, which in a file can have any length."""
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def _too_many(count: int, limits: Limits, at: str) -> RefserError:
    message = f"an archive of {count:,} members; the limit is {limits.zip_members:,}"
    return LimitError(Problem(code="LI-003", message=message, at=at))
