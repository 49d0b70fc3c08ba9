"""The `.keras` archive (KZ): the zip door, then the layout."""

from __future__ import annotations

import bz2
import io
import json
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import pytest
from helpers import (
    CONFIG,
    KERNEL,
    METADATA,
    Pipe,
    central,
    dense,
    everything,
    h5_bytes,
    keras_members,
    local,
    patched,
    refused,
    write,
    zip_bytes,
)
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import zipio
from refser.errors import InvalidError, LimitError, MalformedError, UnsafeError, UnsupportedError
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import Model, Weight

SOUND = zip_bytes(keras_members())
PATH = "layers/dense/vars/0"
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def opened(tmp_path: Path, data: bytes, **limits: Any) -> refser.ModelFile:
    return refser.open(write(tmp_path / "m.keras", data), limits=Limits(**limits))


def with_member(name: str, data: bytes = b"x", info: zipfile.ZipInfo | None = None) -> bytes:
    """The sound archive and one member more."""
    stream = io.BytesIO(SOUND)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(info or zipfile.ZipInfo(name), data)
    return stream.getvalue()


def renamed(old: str, new: bytes) -> bytes:
    """The sound archive with a member `old` whose name is then overwritten in both headers by one of the same length."""
    data = bytearray(with_member(old))
    assert len(new) == len(old)
    for at in (local(data, old) + 30, central(data, old) + 46):
        data[at : at + len(new)] = new
    return bytes(data)


def test_kz001_the_sound_archive_is_sound(tmp_path: Path) -> None:
    with opened(tmp_path, SOUND) as file:
        assert file.config_json == CONFIG.decode()
        assert file.metadata == json.loads(METADATA)
        assert file.keras_version == "3.15.1"
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()
        assert (dict(file.assets), file.problems) == ({}, ())


def test_kz001_a_member_that_no_model_has_is_a_warning(tmp_path: Path) -> None:
    with opened(tmp_path, with_member("notes.txt")) as file:
        (problem,) = file.problems
        assert problem.code == "KZ-001"
        assert "'notes.txt'" in problem.message
        assert len(file.weights) == 1


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "assets/../../x", "assets/..", "a\\b", "..\\x", "C:x", "c:/x", "\\\\host\\x", "/", "assets//../x"],
)
def test_kz003_a_member_name_that_leaves_the_archive_is_unsafe(tmp_path: Path, name: str) -> None:
    with refused("KZ-003", UnsafeError):
        opened(tmp_path, renamed("q" * len(name), name.encode()))


def test_kz003_a_nul_in_a_member_name_is_unsafe(tmp_path: Path) -> None:
    with refused("KZ-003", UnsafeError):
        opened(tmp_path, renamed("assets/a.txt", b"assets/a\0txt"))


@pytest.mark.parametrize("name", ["./x", "assets/./x", "assets//x", "."])
def test_kz003_a_member_name_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    with refused("KZ-003", InvalidError):
        opened(tmp_path, with_member(name))


def test_kz003_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    data = bytearray(with_member("z"))
    at, here = central(data, "z"), local(data, "z")
    struct.pack_into("<HH", data, at + 28, 0, 1)  # the name becomes one byte of extra field
    struct.pack_into("<HH", data, here + 26, 0, 1)
    with refused("KZ-003", InvalidError):
        opened(tmp_path, bytes(data))


@pytest.mark.parametrize("name", ["assets/größe.txt", "assets/a b", "assets/..a", "assets/a..", "assets/...", "assets/日本"])
def test_kz003_an_odd_and_harmless_name_is_read(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, with_member(name)) as file:
        assert dict(file.assets) == {name.removeprefix("assets/"): b"x"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "metadata.json", "notes.txt"])
def test_kz004_two_members_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO(SOUND if name != "notes.txt" else with_member(name))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, b"{}")
    with refused("KZ-004", InvalidError):
        opened(tmp_path, stream.getvalue())


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize("change", [-1, 1, 1 << 20])
def test_kz005_a_stored_member_whose_two_sizes_differ_is_refused(tmp_path: Path, name: str, change: int) -> None:
    at = central(SOUND, name)
    (size,) = struct.unpack_from("<I", SOUND, at + 24)
    with refused("KZ-005", InvalidError):
        opened(tmp_path, patched(SOUND, ("<I", at + 24, size + change)))


@pytest.mark.parametrize("method", METHODS[1:])
def test_kz005_a_compressed_member_shorter_than_it_says_is_refused(tmp_path: Path, method: int) -> None:
    data = zip_bytes(keras_members(config__json=CONFIG * 50), method)
    at = central(data, "config.json") + 24
    with refused("KZ-005", InvalidError):
        opened(tmp_path, patched(data, ("<I", at, len(CONFIG) * 50 + 1)))


@pytest.mark.parametrize("method", METHODS[1:])
def test_kz008_a_compressed_member_longer_than_it_says_is_refused(tmp_path: Path, method: int) -> None:
    data = zip_bytes(keras_members(config__json=CONFIG * 50), method)
    at = central(data, "config.json") + 24
    with refused("KZ-008", MalformedError):
        opened(tmp_path, patched(data, ("<I", at, len(CONFIG) * 50 - 1)))


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x20])
def test_kz006_an_encrypted_or_patched_member_is_refused(tmp_path: Path, flag: int) -> None:
    at = central(SOUND, "config.json") + 8
    with refused("KZ-006", UnsupportedError):
        opened(tmp_path, patched(SOUND, ("<H", at, flag)))


@pytest.mark.parametrize("method", [1, 6, 9, 93, 95, 99, 65535])
def test_kz007_an_unknown_compression_method_is_refused(tmp_path: Path, method: int) -> None:
    at, here = central(SOUND, "config.json") + 10, local(SOUND, "config.json") + 8
    with refused("KZ-007", UnsupportedError):
        opened(tmp_path, patched(SOUND, ("<H", at, method), ("<H", here, method)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_kz008_a_wrong_crc_is_refused(tmp_path: Path, name: str, method: int) -> None:
    data = zip_bytes(keras_members(), method)
    at = central(data, name) + 16
    with refused("KZ-008", MalformedError):
        opened(tmp_path, patched(data, ("<I", at, zlib.crc32(b"other")), ("<I", local(data, name) + 14, zlib.crc32(b"other"))))


def test_kz008_one_changed_byte_of_the_config_is_refused(tmp_path: Path) -> None:
    with refused("KZ-008", MalformedError):
        opened(tmp_path, SOUND.replace(b'"Sequential"', b'"Sequentiam"'))


def test_kz008_a_changed_asset_is_refused_when_it_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, with_member("assets/a.txt", b"token").replace(b"token", b"Token")) as file, refused("KZ-008"):
        file.assets["a.txt"]


@pytest.mark.parametrize("method", METHODS)
def test_kz007_members_of_every_method_are_read(tmp_path: Path, method: int) -> None:
    members = keras_members() | {"assets/a/b.txt": b"token\n" * 10_000}
    with opened(tmp_path, zip_bytes(members, method)) as file:
        assert file.config_json == CONFIG.decode()
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()
        assert file.assets["a/b.txt"] == b"token\n" * 10_000
    assert everything(tmp_path / "m.keras") == KERNEL.nbytes


@pytest.mark.parametrize("method", METHODS)
def test_kz013_members_with_data_descriptors_are_read(tmp_path: Path, method: int) -> None:
    stream = Pipe()
    with zipfile.ZipFile(stream, "w", method) as archive:  # type: ignore[arg-type]
        for name, data in keras_members().items():
            archive.writestr(name, data)
    data = bytes(stream.data)
    assert struct.unpack_from("<H", data, central(data, "config.json") + 8)[0] & 8
    with opened(tmp_path, data) as file:
        assert file.config_json == CONFIG.decode()
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("junk", [b"\0", b"#!/bin/sh\n", b"PK\5\6", b"x" * 70_000])
def test_kz013_an_archive_behind_junk_is_read(tmp_path: Path, junk: bytes) -> None:
    with opened(tmp_path, junk + SOUND) as file:
        assert file.config_json == CONFIG.decode()
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()


def test_kz001_directory_entries_are_passed_over(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("assets/", "assets/a/"):
            archive.mkdir(name) if hasattr(archive, "mkdir") else archive.writestr(name, b"")
        for name, data in (keras_members() | {"assets/a/b": b"1"}).items():
            archive.writestr(name, data)
    with opened(tmp_path, stream.getvalue()) as file:
        assert (dict(file.assets), file.problems) == ({"a/b": b"1"}, ())


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO | 0o600, stat.S_IFSOCK | 0o600, stat.S_IFBLK | 0o600]
)
def test_kz014_a_member_that_is_a_link_or_a_device_is_unsafe(tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("assets/a")
    info.create_system, info.external_attr = 3, mode << 16
    with refused("KZ-014", UnsafeError):
        opened(tmp_path, with_member("assets/a", b"/etc/passwd", info))


def test_kz014_modes_of_another_system_mean_nothing(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("assets/a")
    info.create_system, info.external_attr = 0, (stat.S_IFLNK | 0o777) << 16
    assert opened(tmp_path, with_member("assets/a", b"x", info)).assets["a"] == b"x"


def test_li003_the_number_of_members_is_capped(tmp_path: Path) -> None:
    data = zip_bytes(keras_members() | {f"assets/{i}": b"" for i in range(7)})
    assert len(opened(tmp_path, data, zip_members=10).assets) == 7
    with refused("LI-003", LimitError):
        opened(tmp_path, data, zip_members=9)


def test_li003_a_count_that_lies_does_not_help(tmp_path: Path) -> None:
    data = zip_bytes(keras_members() | {f"assets/{i}": b"" for i in range(7)})
    end = data.rfind(b"PK\5\6")
    with refused("LI-003", LimitError):
        opened(tmp_path, patched(data, ("<H", end + 10, 1)), zip_members=9)


def test_li003_a_directory_too_large_for_its_members_is_refused_unread(tmp_path: Path) -> None:
    end = SOUND.rfind(b"PK\5\6")
    with refused("LI-003", LimitError):
        opened(tmp_path, patched(SOUND, ("<I", end + 12, 0xFFFFFFFE)))


def zip64_end(data: bytes, *, count: int | None = None, size: int | None = None) -> bytes:
    """`data` with a zip64 end record and locator before its end record, which is filled with 0xFF."""
    end = data.rfind(b"PK\5\6")
    entries, directory, offset = struct.unpack_from("<HII", data, end + 10)
    record = struct.pack(
        "<4sQHHIIQQQQ",
        b"PK\6\6",
        44,
        45,
        45,
        0,
        0,
        entries,
        entries if count is None else count,
        directory if size is None else size,
        offset,
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    return data[:end] + record + locator + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def test_kz013_a_zip64_archive_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, zip64_end(SOUND)) as file:
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()


def test_kz013_members_with_zip64_sizes_are_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in keras_members().items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    data = stream.getvalue()
    if sys.version_info >= (3, 12):  # older ones write the real sizes once they are known
        assert struct.unpack_from("<I", data, local(data, "config.json") + 18)[0] == 0xFFFFFFFF
    with opened(tmp_path, data) as file:
        assert file.config_json == CONFIG.decode()
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize(("count", "size"), [(1 << 40, None), (None, 1 << 62), (None, (1 << 64) - 1)])
def test_li003_a_zip64_directory_that_claims_too_much_is_refused_unread(
    tmp_path: Path, count: int | None, size: int | None
) -> None:
    with refused("LI-003", LimitError):
        opened(tmp_path, zip64_end(SOUND, count=count, size=size))


def test_kz013_a_zip64_locator_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    for size in (1 << 62, 1 << 33, 1 << 20):
        good = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, 150, 0)
        data = good + zip64_end(SOUND, size=size)
        data = patched(data, ("<Q", data.rfind(b"PK\6\7") + 8, 0))
        with pytest.raises((MalformedError, LimitError)):
            opened(tmp_path, data)


def test_kz013_a_local_header_of_another_member_is_refused(tmp_path: Path) -> None:
    here = local(SOUND, "metadata.json")
    for name in ("config.json", "model.weights.h5"):
        with refused("KZ-013", MalformedError):
            opened(tmp_path, patched(SOUND, ("<I", central(SOUND, name) + 42, here)))
    with refused("KZ-013", MalformedError):  # the name differs in one letter
        opened(tmp_path, patched(SOUND, ("B", local(SOUND, "config.json") + 30, ord("C"))))
    with refused("KZ-013", MalformedError):  # no header there
        opened(tmp_path, patched(SOUND, ("<I", local(SOUND, "config.json"), 0)))


@pytest.mark.parametrize("offset", [0x7FFFFFFF, 0xFFFFFFFE])
def test_io004_a_member_beyond_the_end_is_refused(tmp_path: Path, offset: int) -> None:
    with refused("IO-004", MalformedError):
        opened(tmp_path, patched(SOUND, ("<I", central(SOUND, "config.json") + 42, offset)))


def test_io004_a_stored_member_longer_than_the_archive_is_refused(tmp_path: Path) -> None:
    at = central(SOUND, "model.weights.h5")
    with refused("IO-004", MalformedError):
        opened(tmp_path, patched(SOUND, ("<I", at + 20, 0x7000000), ("<I", at + 24, 0x7000000)))


@pytest.mark.parametrize(("field", "value"), [(0, 0), (2, 0)])
def test_kz013_a_directory_record_without_its_signature_is_refused(tmp_path: Path, field: int, value: int) -> None:
    with refused("KZ-013", MalformedError):
        opened(tmp_path, patched(SOUND, ("<H", central(SOUND, "model.weights.h5") + field, value)))


@pytest.mark.parametrize("method", METHODS[1:])
def test_kz013_a_member_that_does_not_inflate_is_refused(tmp_path: Path, method: int) -> None:
    data = zip_bytes(keras_members(config__json=CONFIG * 20), method)
    start = local(data, "config.json") + 30 + len("config.json")
    codes = set()
    for at in range(start, start + 40):
        broken = bytearray(data)
        broken[at] ^= 0xA5
        try:
            with opened(tmp_path, bytes(broken)) as file:
                assert (
                    file.config_json == (CONFIG * 20).decode()
                )  # a byte that means nothing, such as the version of the packer
        except (MalformedError, InvalidError) as error:
            codes.add(error.problem.code)
    assert {"KZ-013"} <= codes <= {"KZ-013", "KZ-008", "KZ-005"}


BOMB = """
import resource, sys, refser
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    refser.open(sys.argv[1])
except refser.RefserError as error:
    print(error.problem.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("method", METHODS[1:])
def test_li004_a_bomb_that_lies_about_its_size_takes_little_memory(tmp_path: Path, method: int) -> None:
    huge = b" " * (300 << 20)
    if method == zipfile.ZIP_BZIP2:  # one block of 9 MB, many times: compressing 300 MB takes long
        packed = bz2.compress(b" " * 9_000_000) * 40
        data = raw_member(packed, method, size=1 << 20)
    else:
        pack = zlib.compressobj(1, zlib.DEFLATED, -15)
        packed = pack.compress(huge) + pack.flush() if method == zipfile.ZIP_DEFLATED else lzma_member(huge)
        data = raw_member(packed, method, size=1 << 20)
    del huge
    path = write(tmp_path / "m.keras", data)
    out = subprocess.run([sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] in ("KZ-008", "KZ-005")
    assert int(out[1]) < 150, f"{out[1]} MiB for a member that says it is 1 MiB"


def lzma_member(data: bytes) -> bytes:
    import lzma

    props = {"id": lzma.FILTER_LZMA1, "preset": 0}
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[props])
    return struct.pack("<BBH", 9, 4, 5) + b"\x5d" + struct.pack("<I", 1 << 18) + packer.compress(data) + packer.flush()


def raw_member(packed: bytes, method: int, *, size: int) -> bytes:
    """The sound archive, its config.json replaced by compressed bytes that say they give `size`."""
    out, records = bytearray(), bytearray()
    for name, data in keras_members().items():
        kind, length, crc = (method, size, 0) if name == "config.json" else (0, len(data), zlib.crc32(data))
        data = packed if name == "config.json" else data
        raw = name.encode()
        head = struct.pack("<HHHHHIIIHH", 20, 0, kind, 0, 33, crc, len(data), length, len(raw), 0)
        records += b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + raw
        out += b"PK\3\4" + head + raw + data
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 3, 3, len(records), len(out), 0)
    return bytes(out + records + end)


def test_li004_an_honest_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    data = zip_bytes(keras_members(model__weights__h5=h5_bytes(dense) + bytes(1 << 20)), zipfile.ZIP_DEFLATED)
    with refused("LI-004", LimitError):
        opened(tmp_path, data, inflated_bytes=1 << 20)
    opened(tmp_path, data, inflated_bytes=1 << 21).close()


def test_li008_an_asset_over_the_cap_is_refused_when_it_is_read(tmp_path: Path) -> None:
    for method in METHODS:
        data = zip_bytes(keras_members() | {"assets/a": b"x" * 1001}, method)
        with opened(tmp_path, data, asset_bytes=1000) as file, refused("LI-008", LimitError):
            file.assets["a"]
        with opened(tmp_path, data, asset_bytes=1001) as file:
            assert len(file.assets["a"]) == 1001


def test_kz009_an_archive_without_weights_is_refused(tmp_path: Path) -> None:
    members = keras_members()
    del members["model.weights.h5"]
    with refused("KZ-009", InvalidError):
        opened(tmp_path, zip_bytes(members))


def test_kz009_a_model_without_a_config_is_not_written(tmp_path: Path) -> None:
    with refused("KZ-009", InvalidError):
        refser.save(Model(), tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_nz001_npz_weights_are_refused_unopened(tmp_path: Path) -> None:
    members = {"metadata.json": METADATA, "config.json": CONFIG, "model.weights.npz": b"anything"}
    with refused("NZ-001", UnsupportedError) as caught:
        opened(tmp_path, zip_bytes(members))
    assert "weights_format='h5'" in caught.value.problem.hint


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../b", "a\\b", "C:x", "a\nb", "a\x7fb", "", "a//b", "./a", "a/", "..", "\ud800", "a\0b"]
)
def test_kz010_an_asset_name_that_leaves_assets_is_not_written(tmp_path: Path, name: str) -> None:
    with refused("KZ-010", UnsafeError):
        refser.save(Model(config_json="{}", assets={name: b""}), tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_kz010_an_asset_that_is_a_folder_of_another_is_not_written(tmp_path: Path) -> None:
    with refused("KZ-010", InvalidError):
        refser.save(Model(config_json="{}", assets={"a": b"", "a/b": b""}), tmp_path / "m.keras")


# KZ-010: a path of plain parts below assets/.
parts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",), exclude_characters="/\\:"), min_size=1, max_size=5)
asset_names = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)


@given(assets=st.dictionaries(asset_names, st.binary(max_size=20), max_size=4))
def test_kz010_assets_survive_write_then_read(tmp_path_factory: pytest.TempPathFactory, assets: dict[str, bytes]) -> None:
    clash = any(a != b and b.startswith(f"{a}/") for a in assets for b in assets)
    event("clash" if clash else f"{min(len(assets), 2)} assets")
    path = tmp_path_factory.mktemp("kz") / "m.keras"
    if clash:
        with refused("KZ-010"):
            refser.save(Model(config_json="{}", assets=assets), path)
        return
    refser.save(Model(config_json="{}", assets=assets), path)
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()[3:]} == {f"assets/{n}": d for n, d in assets.items()}
    with refser.open(path) as file:
        assert dict(file.assets) == assets


def test_kz011_metadata_is_written_as_given_and_as_keras_spaces_it(tmp_path: Path) -> None:
    refser.save(Model(config_json="{}", metadata=json.loads(METADATA)), tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.read("metadata.json") == METADATA


def test_kz011_metadata_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with refused("JS-007", InvalidError):
        refser.save(Model(config_json="{}", metadata={"a": float("nan")}), tmp_path / "m.keras")


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\ud800"}'])
def test_cf004_a_config_that_no_reader_takes_is_not_written(tmp_path: Path, text: str) -> None:
    for name in ("m.keras", "m", "m.json"):
        with pytest.raises(refser.RefserError) as caught:
            refser.save(Model(config_json=text), tmp_path / name)
        assert caught.value.problem.code.startswith("JS-")
    assert list(tmp_path.iterdir()) == []


def test_kz002_and_kz012_members_stand_as_keras_writes_them(tmp_path: Path) -> None:
    assets = {"b/vocabulary.txt": b"x\ny", "a.txt": b""}
    weights = {PATH: Weight.from_array(PATH, KERNEL)}
    refser.save(Model(config_json=CONFIG.decode(), weights=weights, assets=assets), tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        infos = archive.infolist()
        assert [info.filename for info in infos] == [
            *("metadata.json", "config.json", "model.weights.h5", "assets/a.txt", "assets/b/vocabulary.txt")
        ]
        for info in infos:
            assert (info.compress_type, info.flag_bits, info.extra, info.comment) == (0, 0, b"", b"")
            assert (info.create_system, info.create_version, info.extract_version) == (3, 20, 20)
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == (0o100644 if "/" in info.filename else 0o600)
        assert archive.comment == b""
        assert archive.testzip() is None
        assert archive.read("config.json") == CONFIG


def test_cf004_the_stored_config_comes_back_byte_for_byte(tmp_path: Path) -> None:
    odd = ' {"a" :\t[1.0e0,\n"\\u00e9", "é"]}\n'
    refser.save(Model(config_json=odd), tmp_path / "m.keras")
    assert refser.load(tmp_path / "m.keras").config_json == odd


def test_kz001_stored_weights_are_a_view_of_the_file(tmp_path: Path) -> None:
    with opened(tmp_path, SOUND) as file:
        assert not file.weights[PATH].array().flags.owndata


def test_zip_door_is_zip_only_with_an_end_record() -> None:
    assert zipio.is_zip(MemorySource(SOUND, "x"))
    assert zipio.is_zip(MemorySource(b"junk" + SOUND + b"behind", "x"))
    assert not zipio.is_zip(MemorySource(SOUND[:-22], "x"))
    assert not zipio.is_zip(MemorySource(b"PK\5\6", "x"))
    assert not zipio.is_zip(MemorySource(b"", "x"))


def test_kz019_an_archive_is_an_hdf5_file_too(tmp_path: Path) -> None:
    model = refser.load(write(tmp_path / "m.keras", SOUND))
    path = tmp_path / "both.keras"
    refser.save(model, path, hdf5_readable=True)
    assert refser.load(path) == model
    with h5py.File(path, "r") as file:
        assert file.userblock_size == 512
        assert file[PATH][()].tobytes() == KERNEL.tobytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "model.weights.h5"
    with refused("KZ-019", InvalidError):
        refser.save(model, tmp_path / "m.weights.h5", hdf5_readable=True)
