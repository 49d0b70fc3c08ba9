"""The members of a zip archive: what they are called, how much they unpack to, whether their bytes are sound.

Spec: spec/keras-zip.md (KZ-008, KZ-027, KZ-028, KZ-030 to KZ-034).  Not here: where they lie (_zip_records).
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterator, Sequence

from refser.checks._zip_records import Entry, Extras, Records
from refser.checks.report import Finding, error, of_error, unsafe, warning
from refser.errors import RefserError
from refser.limits import Limits
from refser.zipio import Archive, shortened

_UTF8, _UNICODE_PATH = 0x800, 0x7075
_COMPONENT_MOST, _PATH_MOST = 255, 4096  # bytes that usual file systems take
_PACKED = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b\x08", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
)
_NPZ = b"model.weights.npz"
_HEAD, _TAR = 262, 257


def look_at_names(records: Records) -> Iterator[Finding]:
    """Names that other systems take for others [KZ-027, KZ-028]."""
    folded: dict[str, Entry] = {}
    for entry in records.entries:
        name = entry.text
        if not name.isascii() or entry.extras:
            yield from _encoding(records, entry)
        if reason := _odd(entry, name):
            yield warning("KZ-028", f"a member whose name {reason}", records.member(entry))
        alike = name.casefold() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
        twin = folded.setdefault(alike, entry)
        if twin.name != entry.name:
            message = f"a name that some systems take for that of {shortened(twin.text)!r}"
            yield warning("KZ-027", message, records.member(entry))


def _odd(entry: Entry, name: str) -> str:
    if not name.isprintable():
        return "has characters that do not print"
    if len(name) > _COMPONENT_MOST // 4:
        if len(entry.name) > _PATH_MOST:
            return f"has {len(entry.name):,} bytes"
        if max(len(part.encode("utf-8", "replace")) for part in name.split("/")) > _COMPONENT_MOST:
            return f"has a part of over {_COMPONENT_MOST} bytes"
    return ""


def _encoding(records: Records, entry: Entry) -> Iterator[Finding]:
    """A name has one reading: as UTF-8 where the flag says so, else as ASCII [KZ-028]."""
    flagged = bool(entry.flags & _UTF8)
    if flagged:
        try:
            entry.name.decode("utf-8")
        except UnicodeDecodeError:
            yield error("KZ-028", "a name that is flagged as UTF-8 and is not", records.member(entry))
    elif not entry.name.isascii():
        yield warning("KZ-028", "a name that is not ASCII and not flagged as UTF-8", records.member(entry))
    if (other := _unicode_path(entry.extras, entry.name)) is not None and other != entry.name:
        make = error if flagged or entry.name.isascii() else warning
        shown = shortened(other.decode("utf-8", "replace"))
        yield make("KZ-028", f"a Unicode path field with another name, {shown!r}", records.member(entry))


def _unicode_path(extras: Extras, name: bytes) -> bytes | None:
    """The name in the field, where it holds for this name."""
    for kind, data in extras:
        if kind == _UNICODE_PATH and len(data) > 5 and data[0] == 1 and data[1:5] == zlib.crc32(name).to_bytes(4, "little"):
            return data[5:]
    return None


def look_at_sizes(records: Records, limits: Limits) -> Iterator[Finding]:
    """What all compressed members unpack to together [KZ-030]; of one alone the reader has told [LI-004]."""
    total = sum(entry.size for entry in records.entries if entry.method)
    if total > limits.inflated_bytes:
        message = f"members that unpack to {total:,} bytes together; the limit is {limits.inflated_bytes:,}"
        yield unsafe("KZ-030", message, records.name)


def look_for_archives(records: Records) -> Iterator[Finding]:
    """Archives inside, by their first bytes where they are stored; nobody looks into them [KZ-032]."""
    for entry, (start, length) in zip(records.entries, records.data):
        told = entry.name == _NPZ or entry.name.startswith(b"assets/")  # by others [NZ-001, SF-020]
        if not entry.method and length >= 2 and not told:
            head = bytes(records.source.view(start, min(_HEAD, length)))
            if kind := _archive(head):
                yield warning("KZ-032", f"{kind}, which nobody looks into", records.member(entry))


def _archive(head: bytes) -> str | None:
    if head[_TAR:_HEAD] == b"ustar":
        return "a tar archive"
    return next((kind for start, kind in _PACKED if head.startswith(start)), None)


def look_at_data(archive: Archive, names: Sequence[str]) -> Iterator[Finding]:
    """Every byte of these members, once [KZ-005, KZ-008, KZ-031]."""
    for name in names:
        try:
            left = archive.check_data(name)
        except RefserError as fault:
            yield of_error(fault)
            continue
        if left:
            message = f"{left:,} bytes behind the compressed data, which unpack to nothing"
            yield warning("KZ-031", message, f"{archive.name}:{shortened(name)}")
