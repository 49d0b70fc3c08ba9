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
from collections.abc import Mapping

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.limits import Limits
from refser.source import MemorySource, Source, SourceFile

_EOCD, _EOCD_SIZE, _COMMENT_MAX = b"PK\x05\x06", 22, 0xFFFF
_LOCAL, _LOCAL_SIZE, _CENTRAL_SIZE = b"PK\x03\x04", 30, 46
_ENCRYPTED, _PATCHED, _UTF8 = 0x41, 0x20, 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_CHUNK, _SMALL_CHUNK = 1 << 20, 1 << 12
_DRIVE = re.compile(r"[A-Za-z]:")
# What zipfile and the decompressors raise on bad bytes; anything else would be a bug of ours.
_BAD_BYTES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error),
    *(ValueError, NotImplementedError, RuntimeError, MemoryError),
)


def is_zip(source: Source) -> bool:
    """Whether an end-of-central-directory record stands where one can."""
    return _find_end(source) is not None


class Archive:
    """The members of one zip archive by name, in the directory's order.  Raises the first broken KZ requirement."""

    def __init__(self, source: Source, *, limits: Limits) -> None:
        self._source, self._limits, self.name = source, limits, source.name
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
            self._check_member(info)
            if info.filename in self._members:
                raise InvalidError(Problem(code="KZ-004", message="two members have this name", at=self._at(info)))
            self._members[info.filename] = info

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
            return self._source.window(self._data_offset(info), info.compress_size, at)
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
        return data

    def _at(self, info: zipfile.ZipInfo) -> str:
        return f"{self.name}:{info.filename}"

    def _malformed(self, message: str) -> RefserError:
        return MalformedError(Problem(code="KZ-013", message=message, at=self.name, hint="the file is damaged"))

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        at, name = self._at(info), info.orig_filename
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or _DRIVE.match(name):
            message = f"a member named {name!r}, which leaves the archive; wanted a relative path without '..'"
            raise UnsafeError(Problem(code="KZ-003", message=message, at=self.name))
        if "." in parts or "" in parts[:-1] or not name:
            message = f"a member named {name!r}; wanted a plain relative path"
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
        header = self._source.view(info.header_offset, _LOCAL_SIZE)
        flags, name_size, extra_size = struct.unpack("<4x2xH18xHH", header)
        name = bytes(self._source.view(info.header_offset + _LOCAL_SIZE, name_size))
        encoding = "utf-8" if flags & _UTF8 else "cp437"
        if header[:4] != _LOCAL or name.decode(encoding, "replace") != info.orig_filename:
            raise self._malformed(f"no local header for member {info.filename!r}")
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
            raise self._malformed(f"member {info.filename!r} cannot be inflated: {error}") from error
        if left:
            message = f"{info.file_size - left:,} bytes; the directory says {info.file_size:,}"
            raise InvalidError(Problem(code="KZ-005", message=message, at=self._at(info)))
        return b"".join(pieces)


def _find_end(source: Source) -> tuple[int, bytes] | None:
    start = max(0, source.size - _EOCD_SIZE - _COMMENT_MAX)
    tail = bytes(source.view(start, source.size - start))
    at = tail.rfind(_EOCD)
    if at < 0 or len(tail) - at < _EOCD_SIZE:
        return None
    return start + at, tail[at : at + _EOCD_SIZE]


def _check_directory_size(source: Source, limits: Limits) -> None:
    """Cap the directory before anything parses it: each record takes at least 46 bytes and its name [LI-003]."""
    found = _find_end(source)
    if found is None:
        hint = "the file is cut short: fetch it again"
        raise MalformedError(Problem(code="KZ-013", message="a zip without its end record", at=source.name, hint=hint))
    at, record = found
    count, size = struct.unpack_from("<HI", record, 10)
    if zip64 := _zip64_directory(source, at):
        size, count = max(size % 0xFFFFFFFF, zip64[0]), max(count % 0xFFFF, zip64[1])
    if count > limits.zip_members or size > limits.zip_members * (_CENTRAL_SIZE + 1024):
        raise _too_many(count, limits, source.name)


def _zip64_directory(source: Source, end: int) -> tuple[int, int] | None:
    if end < 20 or bytes(source.view(end - 20, 4)) != b"PK\x06\x07":
        return None
    (offset,) = struct.unpack_from("<Q", source.view(end - 20, 20), 8)
    if offset + 56 > source.size:
        return None
    count, size = struct.unpack_from("<QQ", source.view(offset, 56), 32)
    return size, count


def _too_many(count: int, limits: Limits, at: str) -> RefserError:
    message = f"an archive of {count:,} members; the limit is {limits.zip_members:,}"
    return LimitError(Problem(code="LI-003", message=message, at=at))
