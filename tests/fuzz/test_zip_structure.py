"""Whatever is done to the records of a zip archive: the container is judged, in bounded time and memory.

An archive about which nothing is said has one reading: `zipfile` and two readers of another kind (zip_streaming) see the same
members with the same bytes.

`REFSER_FUZZ_SECONDS` is how long it runs (5 by default), `REFSER_FUZZ_SEED` where it starts.
`python tests/fuzz/test_zip_structure.py number` shows what is said of one mutant.
"""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from bounds import bounded, watched

sys.path.insert(0, str(Path(__file__).parents[1]))

import zip_streaming
from helpers import Pipe

import refser
from refser.checks.container import check_container
from refser.checks.report import Finding, of_error, of_problem
from refser.checks.subject import Options, Subject
from refser.layouts import open_layout
from refser.limits import Limits
from refser.source import MemorySource

GOLDEN = Path(__file__).parents[1] / "golden"
SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "1000"))
LIMITS = Limits(inflated_bytes=1 << 22, asset_bytes=1 << 22, allow_libhdf5=False)
MARKS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08")
SIZES = {b"PK\x03\x04": 30, b"PK\x01\x02": 46, b"PK\x05\x06": 22, b"PK\x06\x06": 56, b"PK\x06\x07": 20, b"PK\x07\x08": 24}
NUMBERS = [0, 1, 2, 7, 8, 0x20, 0x40, 0x800, 0x2000, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 40]
READERS = (zip_streaming.members, zip_streaming.members_by_offset)
NUMBERS += [(1 << 63) - 1, 1 << 63, (1 << 64) - 1]


@cache
def sources() -> list[bytes]:
    """Archives of Keras, of refser, and of zipfile in all its ways."""
    text = GOLDEN / "keras-3.15.1" / "text.keras"
    found = [text.read_bytes(), (GOLDEN / "tf-keras-2.12.0" / "mixed.keras").read_bytes()]
    model = refser.load(text)
    for options in ({}, {"hdf5_readable": True}):
        stream = io.BytesIO()
        refser.save(model, stream, layout="keras-zip", **options)
        found.append(stream.getvalue())
    with zipfile.ZipFile(text) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for wide in (False, True):
            for target in (io.BytesIO(), Pipe()):
                with zipfile.ZipFile(target, "w", method) as archive:  # type: ignore[arg-type]
                    for name, data in members.items():
                        with archive.open(name, "w", force_zip64=wide) as file:
                            file.write(data)
                found.append(bytes(target.data) if isinstance(target, Pipe) else target.getvalue())
    return [*found, as_zip64(found[0]), as_zip64(found[4])]


def as_zip64(data: bytes) -> bytes:
    """With the records of zip64 at the end, which a small archive does not need."""
    count, size, offset = struct.unpack_from("<H2L", data, len(data) - 12)
    at = len(data) - 22
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return data[:at] + record + locator + data[at:]


def records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    for mark in MARKS:
        at = data.find(mark)
        while at >= 0:
            found.append((at, mark))
            at = data.find(mark, at + 1)
    return sorted(found)


def mutant(number: int) -> bytes:
    """Always the same for one number."""
    rng = random.Random(f"zip structure {number}")
    source = rng.choice(sources())
    out = bytearray(source)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = records(bytes(out))
        if not places:
            break
        at, mark = rng.choice(places if rng.random() < 0.5 else [place for place in places if place[1] != MARKS[0]] or places)
        size = SIZES[mark]
        match rng.randrange(15):
            case 0 | 1 | 2 | 3:  # a field of the record
                width = rng.choice((1, 2, 2, 4, 4, 8))
                here = at + rng.randrange(4, size)
                old = int.from_bytes(out[here : here + width], "little")
                new = rng.choice(
                    (rng.choice(NUMBERS), old + rng.choice((-8, -1, 1, 8, 46)), old ^ 1 << rng.randrange(8 * width))
                )
                out[here : here + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
            case 4:  # a byte of the name or what follows
                here = at + size + rng.randrange(40)
                out[here : here + 1] = rng.choice((b"\0", b"/", b".", b"\\", b"A", b"\xff", b"\x81"))
            case 5:  # a record once more, elsewhere
                other = rng.choice(places)[0]
                out[other:other] = out[at : at + size + rng.choice((0, 13, 100))]
            case 6:  # over another one
                other = rng.choice(places)[0]
                out[other : other + size] = out[at : at + size]
            case 7:  # bytes between
                out[at:at] = rng.choice((bytes(7), b"hello", rng.randbytes(30), b"PK\x05\x06" + bytes(18)))
            case 8:  # fewer bytes
                del out[at - rng.choice((0, 1, 4)) : at + rng.choice((0, 1, 4, size))]
            case 9:  # in front, or behind, a few bytes or an archive
                extra = rng.choice((b"x", bytes(64), rng.choice(sources())))
                out = bytearray(extra) + out if rng.random() < 0.5 else out + extra
            case 10:  # the same change to both records of a member
                name = rng.choice((b"config.json", b"metadata.json", b"model.weights.h5"))
                out = bytearray(bytes(out).replace(name, rng.choice((name.upper(), name[:-1] + b"\0", b"../" + name[3:]))))
            case 11:  # a comment, true or not
                comment = rng.choice((b"hello", b"PK\x05\x06" + bytes(18), source[-22:]))
                out += comment
                if len(out) > len(comment) + 2 and rng.random() < 0.8:
                    end = bytes(out[: -len(comment)]).rfind(b"PK\x05\x06")
                    out[end + 20 : end + 22] = struct.pack("<H", len(comment))
            case 12 | 13:  # bytes between, a record once more, or fewer bytes, and all offsets put right
                insert = rng.choice((bytes(7), b"hello", bytes(out[at : at + size]), b"PK\x05\x06" + bytes(18)))
                drop = rng.choice((0, 0, 0, 1, size))
                out[at : at + drop] = insert
                mend(out, at, len(insert) - drop)
            case 14:  # the end says what it likes of the directory
                end = places[-1][0] if places[-1][1] == b"PK\x05\x06" else at
                form, here = rng.choice((("<H", 8), ("<H", 10), ("<L", 12), ("<L", 16)))
                if end + 22 <= len(out):
                    (old,) = struct.unpack_from(form, out, end + here)
                    new = max(0, old + rng.choice((-46, -1, 1, 46)))
                    struct.pack_into(form, out, end + here, new % (1 << 16 if form == "<H" else 1 << 32))
    return bytes(out)


def mend(out: bytearray, at: int, more: int) -> None:
    """Offsets of what lies behind `at`, which has moved."""
    for place, mark in records(bytes(out)):
        where, form = {
            b"PK\x01\x02": (42, "<L"),
            b"PK\x05\x06": (16, "<L"),
            b"PK\x06\x07": (8, "<Q"),
            b"PK\x06\x06": (48, "<Q"),
        }.get(mark, (0, ""))
        if form and place + where + 8 <= len(out):
            (old,) = struct.unpack_from(form, out, place + where)
            if at <= old and 0 <= old + more < 1 << 32:
                struct.pack_into(form, out, place + where, old + more)


def said(data: bytes) -> list[Finding]:
    """All that reading and judging the container say."""
    found: list[Finding] = []
    try:
        source = MemorySource(data, "m.keras")
        with open_layout("m.keras", limits=LIMITS, source=source, refuse=lambda error: found.append(of_error(error))) as file:
            subject = Subject(file, Options(deep=True))
            found += map(of_problem, file.problems)
            found += check_container(subject)
            found += subject.found
    except refser.RefserError as error:
        found.append(of_error(error))
    return found


def by_zipfile(data: bytes) -> list[tuple[str, bytes]] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            return [(info.filename, archive.read(info)) for info in infos if info.file_size < 1 << 24]
    except Exception:  # it has dozens of them, and here they all mean: no members
        return None


def by(read: Callable[[bytes], list[tuple[str, bytes]]], data: bytes) -> list[tuple[str, bytes]] | None:
    try:
        return read(data)
    except (zip_streaming.NoStream, struct.error, UnicodeDecodeError, zip_streaming.zlib.error):
        return None


def check(number: int) -> str:
    data = mutant(number)
    with watched():
        found = said(data)
    for finding in found:
        assert str(finding).isprintable()
    if any(finding.severity != "info" for finding in found):
        return max(found, key=lambda it: it.severity == "error").code
    first = by_zipfile(data)
    assert first is not None, f"{number}: nothing is said of an archive that zipfile refuses"
    for read in READERS:
        assert by(read, data) == first, f"{number}: nothing is said of an archive with two readings"
    return "clean"


def test_kz024_the_archives_that_are_changed_are_clean() -> None:
    for data in sources():
        assert [finding for finding in said(data) if finding.severity != "info"] == []
        assert all(by(read, data) == by_zipfile(data) for read in READERS)


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits")
def test_any_archive_of_two_readings_is_told() -> None:
    """In a process of its own, whose memory is bounded."""
    command = [sys.executable, __file__, "run", str(SEED), str(SECONDS)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 120)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    print(run.stdout)


def run_for(number: int, seconds: float) -> None:
    check(number)
    bounded()
    end, counts = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        number += 1
        counts[check(number)] += 1
    print(f"{counts.total()} mutants, {dict(counts.most_common())}")
    assert counts["clean"]
    assert len(counts) > 4


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_for(int(sys.argv[2]), float(sys.argv[3]))
    else:
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as keep:
            keep.write(mutant(int(sys.argv[1])))
        print(keep.name, *map(repr, said(mutant(int(sys.argv[1])))), sep="\n")
