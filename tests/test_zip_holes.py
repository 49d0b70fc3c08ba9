"""Holes and contradictions in zip archives (KZ-020 to KZ-034), one fault at a time, and the archives that have none."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zip_streaming
from helpers import CONFIG, GOLDEN, Pipe, central, dense, h5_bytes, keras_members, local, patched, zip_bytes

import refser
from refser.checks.container import check_container
from refser.checks.report import Finding, of_error, of_problem
from refser.checks.subject import Options, Subject
from refser.layouts import open_layout
from refser.limits import UNTRUSTED_LIMITS, Limits
from refser.source import FileSource, MemorySource, Source

SOUND = zip_bytes(keras_members())
END = SOUND.rfind(b"PK\5\6")
DIRECTORY = SOUND.find(b"PK\1\2")


def said(data: bytes | Path, *, deep: bool = False, limits: Limits = UNTRUSTED_LIMITS) -> list[Finding]:
    """What reading an archive and judging its container say."""
    found: list[Finding] = []
    source: Source = FileSource(str(data)) if isinstance(data, Path) else MemorySource(data, "m.keras")
    with open_layout("m.keras", limits=limits, source=source, refuse=lambda error: found.append(of_error(error))) as file:
        subject = Subject(file, Options(deep=deep))
        found += map(of_problem, file.problems)
        found += check_container(subject)
        return [it for it in found + subject.found if it.code[:2] in ("KZ", "FT", "LI", "NZ")]


def grave(findings: list[Finding]) -> list[tuple[str, str]]:
    """Code and verdict of each, of a warning "warning"."""
    shown = {(it.code, it.severity if it.severity != "error" else it.verdict) for it in findings}
    return sorted(it for it in shown if it[1] != "info")


def infos(findings: list[Finding]) -> list[str]:
    return [it.code for it in findings if it.severity == "info"]


def shifted(data: bytes, count: int, at: int = DIRECTORY, filling: bytes = b"\0") -> bytes:
    """With `count` bytes more in front of `at`, and the offsets behind it put right."""
    out = data[:at] + filling * count + data[at:]
    changes = []
    for name in keras_members():
        if local(data, name) >= at:
            changes.append(("<L", central(out, name) + 42, local(data, name) + count))
    end = out.rfind(b"PK\5\6")
    return patched(out, *changes, ("<L", end + 16, DIRECTORY + count))


def with_info(change: Callable[[zipfile.ZipInfo], Any], name: str = "assets/a", data: bytes = b"x" * 40) -> bytes:
    info = zipfile.ZipInfo(name)
    change(info)
    stream = io.BytesIO(SOUND)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(info, data)
    return stream.getvalue()


def with_extra(extra: bytes, name: str = "assets/a") -> bytes:
    return with_info(lambda info: setattr(info, "extra", extra), name)


# -------------------------------------------------------------------------------------------------------------------- no holes


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.keras")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_kz020_archives_that_keras_saved_have_none_of_these(path: Path) -> None:
    if path.name.endswith(".npz.keras"):
        assert grave(said(path, deep=True)) == [("NZ-001", "unsafe")]
        return
    findings = [it for it in said(path, deep=True) if it.code != "FT-002"]
    assert findings == []


@pytest.mark.parametrize("options", [{}, {"hdf5_readable": True}], ids=["plain", "hdf5-readable"])
@pytest.mark.parametrize("seekable", [True, False])
def test_kz020_archives_that_refser_writes_have_none_of_these(seekable: bool, options: dict[str, bool]) -> None:
    model = refser.load(GOLDEN / "keras-3.15.1" / "text.keras")
    stream: Any = io.BytesIO() if seekable else Pipe()
    refser.save(model, stream, layout="keras-zip", **options)
    data = stream.getvalue() if seekable else bytes(stream.data)
    assert said(data, deep=True) == []
    assert [name for name, _ in zip_streaming.members(data)] == zipfile.ZipFile(io.BytesIO(data)).namelist()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_kz020_archives_that_zipfile_writes_have_none_of_these(method: int, seekable: bool, wide: bool) -> None:
    """Data descriptors of 16 and 24 bytes, zip64 fields that nothing needs."""
    stream: Any = io.BytesIO() if seekable else Pipe()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in keras_members().items():
            with archive.open(name, "w", force_zip64=wide) as file:
                file.write(data)
    assert said(stream.getvalue() if seekable else bytes(stream.data), deep=True) == []


ZIPS = {
    "zip": ["zip", "-q", "-r", "OUT", "."],
    "stored": ["zip", "-q", "-r", "-0", "-X", "OUT", "."],
    "zip64": ["zip", "-q", "-r", "-fz", "OUT", "."],
    "bzip2": ["zip", "-q", "-r", "-Z", "bzip2", "OUT", "."],
    "piped": ["sh", "-c", "zip -q -r - . > OUT"],
    "jar": ["jar", "cfM", "OUT", "."],
    "jar-stored": ["jar", "c0fM", "OUT", "."],
}


@pytest.mark.parametrize("tool", ZIPS)
def test_kz020_archives_of_other_tools_have_none_of_these(tmp_path: Path, tool: str) -> None:
    command = [word.replace("OUT", str(tmp_path / "m.keras")) for word in ZIPS[tool]]
    if not shutil.which(command[0]) or (command[0] == "sh" and not shutil.which("zip")):
        pytest.skip(f"no {command[0]}")
    folder = tmp_path / "model"
    with zipfile.ZipFile(GOLDEN / "keras-3.15.1" / "text.keras") as archive:
        archive.extractall(folder)
    subprocess.run(command, cwd=folder, check=True)
    assert said(tmp_path / "m.keras", deep=True) == []


# ----------------------------------------------------------------------------------------------------------------------- holes


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_kz020_bytes_between_members_are_told(name: str) -> None:
    data = shifted(SOUND, 70, local(SOUND, name), b"?")
    (finding,) = said(data)
    assert (finding.code, finding.severity) == ("KZ-020", "warning")
    assert finding.at == f"m.keras: byte {local(SOUND, name):,}"
    assert finding.message.startswith("70 bytes")


def test_kz020_bytes_in_front_of_the_directory_are_told() -> None:
    assert grave(said(shifted(SOUND, 1, filling=b"!"))) == [("KZ-020", "warning")]


def test_kz020_zeros_between_members_are_an_info() -> None:
    findings = said(shifted(SOUND, 70))
    assert (grave(findings), infos(findings)) == ([], ["KZ-020"])


@pytest.mark.parametrize("front", [b"#!/bin/sh\n", bytes(100), b"%PDF-1.7"])
def test_kz021_bytes_in_front_are_told_whether_the_offsets_count_them_or_not(front: bytes) -> None:
    counted = patched(front + SOUND, *((form, at + len(front), value) for form, at, value in offsets(SOUND, len(front))))
    for data in (front + SOUND, counted):
        (finding,) = said(data)
        assert (finding.code, finding.severity) == ("KZ-021", "warning")
        assert finding.message.startswith(f"{len(front)} bytes")
        assert ("do not count" in finding.message) == (data is not counted)


def offsets(data: bytes, more: int) -> list[tuple[str, int, int]]:
    """Every offset of the archive, `more` bytes on."""
    changes = [("<L", central(data, name) + 42, local(data, name) + more) for name in keras_members()]
    return [*changes, ("<L", END + 16, DIRECTORY + more)]


def test_kz022_bytes_behind_are_told_and_a_comment_is_an_info() -> None:
    assert grave(said(SOUND + b"more")) == [("KZ-022", "warning")]
    commented = patched(SOUND + b"a comment", ("<H", END + 20, 9))
    findings = said(commented)
    assert (grave(findings), infos(findings)) == ([], ["KZ-022"])
    assert grave(said(commented + b"more")) == [("KZ-022", "warning")]


def test_kz023_a_second_end_record_is_an_error() -> None:
    """A directory of its own in the comment of the first: who goes forwards finds the other one."""
    inner = SOUND[DIRECTORY:END] + patched(SOUND[END:], ("<L", 16, END + 22))
    findings = grave(said(patched(SOUND + inner, ("<H", END + 20, len(inner)))))
    assert ("KZ-023", "invalid") in findings


def test_kz023_an_archive_behind_another_has_two_ends() -> None:
    assert ("KZ-023", "invalid") in grave(said(SOUND + SOUND))
    assert ("KZ-021", "warning") in grave(said(SOUND + SOUND))


def test_kz023_the_signature_in_weights_is_no_end_record() -> None:
    members = keras_members(model__weights__h5=h5_bytes(lambda file: file.create_dataset("vars/0", data=list(b"PK\5\6" * 40))))
    assert said(zip_bytes(members)) == []


# ----------------------------------------------------------------------------------------------------------------- end records


@pytest.mark.parametrize(
    ("form", "at", "value"),
    [("<H", 4, 1), ("<H", 6, 1), ("<H", 8, 2), ("<H", 10, 2), ("<H", 10, 0xFFFF), ("<H", 20, 9)],
)
def test_kz024_an_end_record_that_is_wrong_is_an_error(form: str, at: int, value: int) -> None:
    assert grave(said(patched(SOUND, (form, END + at, value)))) == [("KZ-024", "invalid")]


def test_kz024_a_directory_in_front_of_its_offset_is_an_error() -> None:
    assert ("KZ-024", "invalid") in grave(said(patched(SOUND, ("<L", END + 16, DIRECTORY + 1))))


def test_kz024_a_directory_in_two_places_is_an_error() -> None:
    """Who goes by the offset reads one directory, zipfile reads the other."""
    directory = SOUND[DIRECTORY:END]
    data = SOUND[:END] + directory + SOUND[END:]
    assert ("KZ-024", "invalid") in grave(said(data))


def zip64(data: bytes, **changes: Any) -> bytes:
    count, size, offset = struct.unpack_from("<H2L", data, END + 10)
    fields = {"length": 44, "disk": 0, "start": 0, "here": count, "count": count, "size": size, "offset": offset} | changes
    record = struct.pack("<4sQ2H", b"PK\6\6", fields.pop("length"), 45, 45)
    place, disks = fields.pop("place", END), fields.pop("disks", 1)
    record += struct.pack("<2L4Q", *fields.values())
    return data[:END] + record + struct.pack("<4sLQL", b"PK\6\7", 0, place, disks) + data[END:]


def test_kz024_zip64_records_that_nothing_needs_are_sound() -> None:
    data = zip64(SOUND)
    assert said(data) == []
    end = data.rfind(b"PK\5\6")
    marks = (("<H", end + 8, 0xFFFF), ("<H", end + 10, 0xFFFF), ("<L", end + 12, 0xFFFFFFFF), ("<L", end + 16, 0xFFFFFFFF))
    assert said(patched(data, *marks)) == []
    assert grave(said(patched(data, ("<H", end + 10, 7)))) == [("KZ-024", "invalid")]


@pytest.mark.parametrize("change", [{"count": 4}, {"here": 2}, {"offset": 3}, {"length": 45}, {"place": 7}, {"start": 1}])
def test_kz024_zip64_records_that_are_wrong_are_an_error(change: dict[str, int]) -> None:
    assert ("KZ-024", "invalid") in grave(said(zip64(SOUND, **change)))


def test_kz024_a_locator_without_its_record_is_an_error() -> None:
    """It lies in a comment of the last member."""
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, END, 1)
    data = SOUND[:END] + locator + SOUND[END:]
    last = central(data, "model.weights.h5")
    data = patched(data, ("<H", last + 32, 20), ("<L", END + 20 + 12, END + 20 - DIRECTORY))
    assert grave(said(data)) == [("KZ-024", "invalid")]


# --------------------------------------------------------------------------------------------------------------- local headers


@pytest.mark.parametrize(
    ("form", "at", "value"),
    [("<H", 6, 1), ("<H", 6, 0x800), ("<H", 8, 8), ("<L", 14, 1), ("<L", 18, 3), ("<L", 22, 3), ("<L", 22, 0xFFFFFFFF)],
)
def test_kz025_a_local_header_that_disagrees_is_an_error(form: str, at: int, value: int) -> None:
    for name in keras_members():
        assert grave(said(patched(SOUND, (form, local(SOUND, name) + at, value)))) == [("KZ-025", "invalid")]


def test_kz025_another_name_in_the_local_header_is_an_error() -> None:
    data = bytearray(with_info(lambda info: None))
    at = local(bytes(data), "assets/a") + 30
    data[at : at + 8] = b"assets/b"
    (finding,) = said(bytes(data))
    assert (finding.code, finding.verdict) == ("KZ-025", "invalid")
    assert "b'assets/b' in the local header, b'assets/a' in the directory" in finding.message


def test_kz025_a_member_that_ends_beyond_the_file_is_an_error() -> None:
    data = with_info(lambda info: None)
    findings = said(patched(data, *((form, at, len(data)) for form, at in sizes(data, "assets/a"))))
    assert ("KZ-025", "invalid") in grave(findings)


def sizes(data: bytes, name: str) -> list[tuple[str, int]]:
    """Where both records have the stored size and the size."""
    at, here = central(data, name), local(data, name)
    return [("<L", at + 20), ("<L", at + 24), ("<L", here + 18), ("<L", here + 22)]


def test_kz025_a_wrong_data_descriptor_is_an_error() -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[arg-type]
        for name, content in keras_members().items():
            archive.writestr(name, content)
    data = bytes(pipe.data)
    assert said(data) == []
    at = data.find(b"PK\7\x08")
    for change in (("<L", at + 4, 1), ("<L", at + 8, 1), ("<L", at + 12, 1)):
        assert ("KZ-025", "invalid") in grave(said(patched(data, change)))
    without_mark = data[:at] + data[at + 4 :]
    moved = [("<L", central(without_mark, name) + 42, local(data, name) - 4) for name in list(keras_members())[1:]]
    end = without_mark.rfind(b"PK\5\6")
    assert said(patched(without_mark, *moved, ("<L", end + 16, data.find(b"PK\1\2") - 4))) == []


# --------------------------------------------------------------------------------------------------------------------- overlap


def test_kz026_members_that_share_bytes_are_an_error() -> None:
    """The local header of one lies in the data of another."""
    inner = zip_bytes({"assets/b": b"inside"})
    data = with_info(lambda info: None, "assets/a", inner[:44])
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("assets/b", b"inside")
    data = stream.getvalue()
    at = local(data, "assets/a") + 30 + len("assets/a")
    data = patched(data, ("<L", central(data, "assets/b") + 42, at))
    assert ("KZ-026", "invalid") in grave(said(data))


def test_kz026_members_that_are_more_than_the_file_are_unsafe() -> None:
    """One kernel of data, many members around it."""
    stream = io.BytesIO(SOUND)
    with zipfile.ZipFile(stream, "a") as archive:
        for number in range(9):
            archive.writestr(f"assets/{number}", b"x" * 4000 if number == 8 else b"")
    data = stream.getvalue()
    size = DIRECTORY + 40 * 8 + 4000
    changes = [(form, at, size - local(data, f"assets/{n}")) for n in range(8) for form, at in sizes(data, f"assets/{n}")]
    assert ("KZ-026", "unsafe") in grave(said(patched(data, *changes)))


# ----------------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("assets/A.txt", "assets/a.txt"),
        ("assets/straße", "assets/STRASSE"),
        ("assets/\u00e9", unicodedata.normalize("NFD", "assets/\u00e9")),
    ],
)
def test_kz027_names_that_some_systems_take_for_one_are_told(first: str, second: str) -> None:
    findings = said(zip_bytes(keras_members() | {first: b"1", second: b"2"}))
    assert grave(findings) == [("KZ-027", "warning")]


def test_kz027_config_json_in_capitals_is_told() -> None:
    assert ("KZ-027", "warning") in grave(said(zip_bytes(keras_members() | {"Config.json": CONFIG})))


@pytest.mark.parametrize("name", ["notes\x1b[31m", "notes\u202etxt", "n" * 256, "/".join(["n" * 200] * 21)])
def test_kz028_names_that_not_every_system_has_are_told(name: str) -> None:
    assert ("KZ-028", "warning") in grave(said(zip_bytes(keras_members() | {name: b""})))


@pytest.mark.parametrize("name", ["assets/größe", "assets/日本語", "assets/" + "n" * 200, "assets/a b (1).txt"])
def test_kz028_names_that_every_system_has_are_not(name: str) -> None:
    assert said(zip_bytes(keras_members() | {name: b""})) == []


def test_kz028_a_name_of_an_unknown_encoding_is_told() -> None:
    data = zip_bytes(keras_members() | {"assets/q": b""}).replace(b"assets/q", b"assets/\xe9")
    assert grave(said(data)) == [("KZ-028", "warning")]


@pytest.mark.parametrize("other", [b"assets/b", b"../../etc/passwd"])
def test_kz028_a_unicode_path_with_another_name_is_an_error(other: bytes) -> None:
    field = b"\1" + struct.pack("<L", zlib.crc32(b"assets/a")) + other
    data = with_extra(struct.pack("<2H", 0x7075, len(field)) + field)
    assert grave(said(data)) == [("KZ-028", "invalid")]


@pytest.mark.parametrize("crc", [zlib.crc32(b"assets/a"), 7], ids=["of the same name", "out of date"])
def test_kz028_a_unicode_path_that_says_nothing_new_is_sound(crc: int) -> None:
    field = b"\1" + struct.pack("<L", crc) + (b"assets/a" if crc != 7 else b"assets/b")
    assert said(with_extra(struct.pack("<2H", 0x7075, len(field)) + field)) == []


# ---------------------------------------------------------------------------------------------------------------- extra fields


def test_kz029_an_extra_field_that_is_cut_short_is_an_error() -> None:
    sound = struct.pack("<2H", 0x7777, 4) + b"abcd"
    data = with_extra(sound)
    assert said(data) == []
    at = local(data, "assets/a") + 30 + len("assets/a")
    assert grave(said(patched(data, ("<H", at + 2, 90)))) == [("KZ-029", "invalid")]


def test_kz029_a_few_bytes_behind_the_extra_fields_are_told_unless_they_are_zeros() -> None:
    sound = struct.pack("<2H", 0x7777, 4) + b"abcd"
    assert grave(said(with_extra(sound + b"xyz"))) == [("KZ-029", "warning")]
    assert said(with_extra(sound + bytes(3))) == []


def test_kz029_two_zip64_fields_are_an_error() -> None:
    field = struct.pack("<2H2Q", 1, 16, 40, 40)
    assert ("KZ-029", "invalid") in grave(said(with_extra(field + field)))


# ------------------------------------------------------------------------------------------------------------------------ data


def test_kz030_members_that_unpack_to_too_much_together_are_unsafe() -> None:
    data = zip_bytes(keras_members() | {f"assets/{n}": bytes(90_000) for n in range(3)}, zipfile.ZIP_DEFLATED)
    assert said(data) == []
    assert grave(said(data, limits=Limits(inflated_bytes=200_000))) == [("KZ-030", "unsafe")]


def deflated(content: bytes, packed: bytes, *, size: int | None = None) -> bytes:
    """The sound archive and an asset of these compressed bytes."""
    data = with_info(lambda info: None, "assets/a", packed)
    at, here = central(data, "assets/a"), local(data, "assets/a")
    size = len(content) if size is None else size
    crc = zlib.crc32(content[:size])
    return patched(
        data,
        *(("<H", at + 10, 8), ("<H", here + 8, 8), ("<L", at + 16, crc), ("<L", here + 14, crc)),
        *(("<L", at + 24, size), ("<L", here + 22, size)),
    )


def raw_deflate(content: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(content) + engine.flush()


def test_kz031_bytes_behind_the_compressed_data_are_told_by_a_deep_look() -> None:
    content = b"hello" * 100
    assert said(deflated(content, raw_deflate(content)), deep=True) == []
    data = deflated(content, raw_deflate(content) + b"hidden")
    assert said(data) == []
    (finding,) = said(data, deep=True)
    assert (finding.code, finding.severity) == ("KZ-031", "warning")
    assert finding.message.startswith("6 bytes")


def test_kz005_data_that_go_on_are_found_by_a_deep_look() -> None:
    """zipfile stops at the size and compares the CRC-32 of what it has."""
    content = b"hello" * 1000
    data = deflated(content, raw_deflate(content), size=300)
    assert zipfile.ZipFile(io.BytesIO(data)).read("assets/a") == content[:300]
    assert said(data) == []
    assert grave(said(data, deep=True)) == [("KZ-005", "invalid")]
    assert grave(said(deflated(content, raw_deflate(content), size=6000), deep=True)) == [("KZ-005", "invalid")]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_kz005_a_bomb_that_lies_about_its_size_stops_a_deep_look_early(method: int) -> None:
    stream = io.BytesIO(SOUND)
    with zipfile.ZipFile(stream, "a", method) as archive:
        archive.writestr("assets/a", bytes(50 << 20))
    data = stream.getvalue()
    at, here = central(data, "assets/a"), local(data, "assets/a")
    lied = patched(data, ("<L", at + 24, 10), ("<L", here + 22, 10))
    assert grave(said(lied, deep=True))[0] in {("KZ-005", "invalid"), ("KZ-013", "invalid")}
    assert said(data, deep=True) == []


@pytest.mark.parametrize("name", ["model.weights.h5", "assets/a"])
def test_kz008_a_flipped_bit_is_found_by_a_deep_look(name: str) -> None:
    data = bytearray(with_info(lambda info: None))
    at = local(bytes(data), name) + 30 + len(name)
    data[at + (2000 if name.endswith("h5") else 20)] ^= 1
    assert said(bytes(data)) == []
    assert grave(said(bytes(data), deep=True)) == [("KZ-008", "invalid")]


@pytest.mark.parametrize("data", [SOUND, b"\x1f\x8b\x08rest", b"BZh91AY", b"\xfd7zXZ\0", bytes(257) + b"ustar" + bytes(250)])
def test_kz032_an_archive_in_the_archive_is_told(data: bytes) -> None:
    assert grave(said(zip_bytes(keras_members() | {"a": data}))) == [("KZ-001", "warning"), ("KZ-032", "warning")]


# -------------------------------------------------------------------------------------------------------------------- metadata


def test_kz033_an_archive_without_metadata_is_told() -> None:
    members = keras_members()
    del members["metadata.json"]
    assert grave(said(zip_bytes(members))) == [("KZ-033", "warning")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[]", "JS-005"),
        (b"{", "JS-002"),
        (b'{"keras_version": 3}', "KZ-034"),
        (b'{"keras_version": "newest"}', "KZ-034"),
        (b'{"keras_version": "3.15.1", "date_saved": 7}', "KZ-034"),
    ],
)
def test_kz034_metadata_that_say_nothing_are_a_warning(text: bytes, code: str) -> None:
    found: list[Finding] = []
    source = MemorySource(zip_bytes(keras_members(metadata__json=text)), "m.keras")
    with open_layout("m.keras", limits=UNTRUSTED_LIMITS, source=source, refuse=lambda it: found.append(of_error(it))) as file:
        assert (file.config_json, len(file.weights)) == (CONFIG.decode(), 1)
        found += map(of_problem, file.problems)
        found += check_container(Subject(file, Options()))
        assert ("metadata" in file.unread) == code.startswith("JS")
    assert grave(found) == [(code, "warning")]


@pytest.mark.parametrize(
    "version", ["3.15.1", "2.12.0", "2.2.4-tf", "3.12.0.dev2026010103", "3.0", "2.16.0-rc0", "3.13.0+local.1"]
)
def test_kz034_versions_that_keras_had_are_sound(version: str) -> None:
    assert said(zip_bytes(keras_members(metadata__json=b'{"keras_version": "%s"}' % version.encode()))) == []


# ------------------------------------------------------------------------------------------------------------------- two files


def test_ft015_hdf5_in_front_of_an_archive_is_unsafe() -> None:
    """refser goes by the first bytes, and Keras by the name: it would load an archive that nobody looked into."""
    assert ("FT-015", "unsafe") in grave(said(h5_bytes(dense) + SOUND))
    assert ("FT-015", "unsafe") not in grave(said(h5_bytes(dense)))


def test_ft015_an_hdf5_file_in_an_asset_where_hdf5_looks_for_it_is_unsafe() -> None:
    name = "assets/a"
    gap = 512 - 30 - len(name)
    members = {name: h5_bytes(dense)} | keras_members()
    data = zip_bytes(members)
    info = zipfile.ZipInfo(name)
    info.extra = struct.pack("<2H", 0x7777, gap - 4) + bytes(gap - 4)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, content in members.items():
            archive.writestr(info if member == name else zipfile.ZipInfo(member), content)
    assert grave(said(stream.getvalue())) == [("FT-015", "unsafe")]
    assert grave(said(data)) == []


def test_many_findings_of_one_kind_are_cut_short() -> None:
    data = zip_bytes(keras_members() | {f"{n}": b"\x1f\x8b\x08" for n in range(300)})
    findings = [it for it in said(data) if it.code == "KZ-032"]
    assert len(findings) == 101
    assert "more than 100" in findings[-1].message


def test_a_directory_of_many_members_takes_linear_time() -> None:
    """Every record looked at a bounded number of times, whatever it says: counted by what is read."""
    reads = {}
    for count in (1_000, 4_000):
        source = Counting(zip_bytes(keras_members() | {f"assets/{n}": b"" for n in range(count)}))
        with open_layout("m.keras", limits=UNTRUSTED_LIMITS, source=source, refuse=print) as file:
            list(check_container(Subject(file, Options())))
        reads[count] = source.bytes
    assert reads[4_000] < 5 * reads[1_000]


class Counting(MemorySource):
    bytes = 0

    def __init__(self, data: bytes) -> None:
        super().__init__(data, "m.keras")

    def _view(self, offset: int, length: int) -> memoryview:
        self.bytes += length
        return super()._view(offset, length)
