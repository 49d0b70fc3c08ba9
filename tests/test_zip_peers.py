"""The zip writer, judged by `zipfile` and `unzip`: archives of every kind, sizes and counts beyond 16 and 32 bits."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from h5_trees import few
from helpers import Pipe
from hypothesis import given
from hypothesis import strategies as st

from refser.zipwrite import ArchiveWriter


def data_offset(data: bytes, info: zipfile.ZipInfo) -> int:
    at = info.header_offset
    return at + 30 + int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")


member_names = st.lists(st.text("ab.-_ é漢\U0001f600", min_size=1, max_size=40), min_size=1, max_size=3).map("/".join)


@few(60)
@given(members=st.dictionaries(member_names, st.lists(st.binary(max_size=300), max_size=4), max_size=9), seekable=st.booleans())
def test_kz018_zipfile_and_unzip_read_every_archive(members: dict[str, list[bytes]], seekable: bool) -> None:
    stream: Any = io.BytesIO() if seekable else Pipe()
    writer = ArchiveWriter(stream)
    for name, pieces in members.items():
        if len(pieces) % 2:
            writer.write(name, iter(pieces), size=sum(map(len, pieces)))
        else:
            writer.write(name, pieces)
    writer.finish()
    data = bytes(stream.getvalue() if seekable else stream.data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(members)
        for info in archive.infolist():
            want = b"".join(members[info.filename])
            assert archive.read(info) == want
            assert data_offset(data, info) % 64 == 0
            start = data_offset(data, info)
            assert data[start : start + len(want)] == want
    if members and shutil.which("unzip"):
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            file.write(data)
            file.flush()
            run = subprocess.run(["unzip", "-t", file.name], capture_output=True)
            assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536, 70_000])
def test_kz017_more_members_than_16_bits_count(count: int) -> None:
    stream = io.BytesIO()
    writer = ArchiveWriter(stream)
    for number in range(count):
        writer.write(f"{number}", (b"",))
    writer.finish()
    with zipfile.ZipFile(stream) as archive:
        assert len(archive.infolist()) == count
        assert archive.namelist()[-1] == str(count - 1)


class Holes(io.RawIOBase):
    """A file in which blocks of zeros are holes, so that it takes no space."""

    def __init__(self, path: Path, seekable: bool) -> None:
        self.file, self._seekable = open(path, "wb"), seekable  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def write(self, data: Any) -> int:
        if len(data) == 1 << 20:
            self.file.seek(len(data), io.SEEK_CUR)
            return len(data)
        return self.file.write(data)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="holes in files")
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("extra", [-1, 0, 5])
def test_kz017_a_member_of_4_gib(tmp_path: Path, seekable: bool, extra: int) -> None:
    """Below, at and over what 32 bits count; what follows it stands beyond them."""
    size, block = (1 << 32) + extra, bytes(1 << 20)
    path = tmp_path / "m.zip"
    file = Holes(path, seekable)
    writer = ArchiveWriter(file)  # type: ignore[arg-type]
    blocks = [block] * (size >> 20)
    writer.write("big", iter([*blocks, b"\1" * (size & 0xFFFFF)]), size=size)
    writer.write("small", (b"small",))
    writer.finish()
    file.file.close()
    with zipfile.ZipFile(path) as archive:
        assert [(info.filename, info.file_size) for info in archive.infolist()] == [("big", size), ("small", 5)]
        assert archive.read("small") == b"small"
        if extra == 5 and seekable:
            assert archive.testzip() is None
    if shutil.which("unzip"):
        run = subprocess.run(["unzip", "-t", str(path), "small"], capture_output=True)
        assert run.returncode == 0, run.stdout + run.stderr
        listing = subprocess.run(["unzip", "-l", str(path)], capture_output=True, text=True).stdout
        assert str(size) in listing
