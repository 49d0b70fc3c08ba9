"""The model directory (KD)."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from helpers import CONFIG, GOLDEN, KERNEL, METADATA, everything, hostile, keras_members, refused, write, zip_bytes

import refser
from refser.errors import AccessError, InvalidError, LimitError, UnsafeError, UnsupportedError
from refser.limits import Limits
from refser.values import Model, Weight

PATH = "layers/dense/vars/0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model directory, empty `assets/` included."""
    here = tmp_path / "model"
    (here / "assets").mkdir(parents=True)
    for name, data in keras_members().items():
        write(here / name, data)
    return here


def test_kd001_the_sound_directory_is_sound(folder: Path) -> None:
    with refser.open(folder) as file:
        assert file.layout == "keras-dir"
        assert file.config_json == CONFIG.decode()
        assert file.metadata == json.loads(METADATA)
        assert file.weights[PATH].array().tobytes() == KERNEL.tobytes()
        assert (dict(file.assets), file.problems) == ({}, ())


def test_kd006_neither_metadata_nor_assets_are_needed(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / "assets").rmdir()
    with refser.open(folder) as file:
        assert (file.metadata, len(file.weights), len(file.assets)) == ({}, 1, 0)


def test_kd001_a_trailing_slash_changes_nothing(folder: Path) -> None:
    assert refser.load(f"{folder}/") == refser.load(folder)


def test_kd001_kd002_the_directory_is_written_as_keras_writes_it(tmp_path: Path) -> None:
    model = Model(config_json=CONFIG.decode(), metadata=json.loads(METADATA), weights={PATH: Weight.from_array(PATH, KERNEL)})
    refser.save(model, tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "assets",
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    assert (tmp_path / "m" / "config.json").read_bytes() == CONFIG
    assert (tmp_path / "m" / "metadata.json").read_bytes() == METADATA
    assert list((tmp_path / "m" / "assets").iterdir()) == []
    with h5py.File(tmp_path / "m" / "model.weights.h5") as file:
        assert file[PATH][()].tobytes() == KERNEL.tobytes()


def test_kd002_assets_are_written_below_assets(tmp_path: Path) -> None:
    refser.save(Model(config_json="{}", assets={"a/b/c.txt": b"1", "d": b"2"}), tmp_path / "m")
    found = {
        str(path.relative_to(tmp_path / "m" / "assets")) for path in (tmp_path / "m" / "assets").rglob("*") if path.is_file()
    }
    assert found == {os.path.join("a", "b", "c.txt"), "d"}
    assert dict(refser.open(tmp_path / "m").assets) == {"a/b/c.txt": b"1", "d": b"2"}


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5", "assets"])
def test_kd003_a_part_that_is_a_link_is_unsafe_and_can_be_allowed(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with refused("KD-003", UnsafeError) as caught:
        refser.open(folder)
    assert name in caught.value.problem.message
    assert len(refser.open(folder, limits=Limits(follow_symlinks=True)).weights) == 1


@pytest.mark.parametrize("name", ["a.txt", "sub/a.txt"])
def test_kd003_an_asset_that_is_a_link_is_unsafe_and_can_be_allowed(folder: Path, tmp_path: Path, name: str) -> None:
    target = write(tmp_path / "secret", b"s3cret")
    (folder / "assets" / name).parent.mkdir(exist_ok=True)
    (folder / "assets" / name).symlink_to(target)
    with refused("KD-003", UnsafeError):
        refser.open(folder)
    assert refser.open(folder, limits=Limits(follow_symlinks=True)).assets[name] == b"s3cret"


def test_kd003_a_folder_of_assets_that_is_a_link_is_unsafe(folder: Path, tmp_path: Path) -> None:
    (folder / "assets" / "up").symlink_to(tmp_path)
    with refused("KD-003", UnsafeError):
        refser.open(folder)


def test_kd003_links_that_go_round_end_in_an_error_even_where_links_are_allowed(folder: Path) -> None:
    (folder / "assets" / "again").symlink_to(folder / "assets")
    with pytest.raises((LimitError, AccessError)):
        refser.open(folder, limits=Limits(follow_symlinks=True))


def test_kd003_an_asset_that_becomes_a_link_after_opening_is_unsafe(folder: Path, tmp_path: Path) -> None:
    write(folder / "assets" / "a", b"x")
    with refser.open(folder) as file:
        (folder / "assets" / "a").unlink()
        (folder / "assets" / "a").symlink_to(write(tmp_path / "secret", b"s3cret"))
        with refused("KD-003", UnsafeError):
            file.assets["a"]


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5", "assets/a"])
def test_io002_a_fifo_in_the_directory_is_refused_and_never_opened(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    hostile(folder / name)
    with refused("IO-002", AccessError):
        refser.open(folder)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_io002_a_folder_where_a_file_belongs_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with refused("IO-002", AccessError):
        refser.open(folder)


def test_io003_a_file_where_assets_belong_is_refused(folder: Path) -> None:
    (folder / "assets").rmdir()
    write(folder / "assets", b"")
    with refused("IO-003", AccessError):
        refser.open(folder)


def test_kd004_a_file_that_no_model_has_is_a_warning(folder: Path) -> None:
    write(folder / "notes.txt", b"")
    hostile(folder / "pipe")
    problems = refser.open(folder).problems
    assert [problem.code for problem in problems] == ["KD-004", "KD-004"]
    assert "'notes.txt'" in problems[0].message


def test_kd005_a_directory_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.weights.h5").unlink()
    with refused("KD-005", InvalidError):
        refser.open(folder)


@pytest.mark.parametrize("name", ["model.weights.h5", "model.weights.npz"])
def test_nz001_npz_weights_are_refused_under_either_name(folder: Path, name: str) -> None:
    (folder / "model.weights.h5").unlink()
    write(folder / name, zip_bytes({"__root__.npy": b"\x93NUMPY"}))
    with refused("NZ-001", UnsupportedError):
        refser.open(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot exist there")
@pytest.mark.parametrize("name", [b"a\nb", b"a\\b", b"C:x", b"\x7f", b"\xff\xfe"])
def test_kz010_an_asset_name_that_not_every_system_holds_is_refused(folder: Path, name: bytes) -> None:
    with open(os.path.join(os.fsencode(folder), b"assets", name), "wb"):
        pass
    with refused("KZ-010", UnsafeError) as caught:
        refser.open(folder)
    str(caught.value).encode("utf-8")


def test_li001_json_over_the_cap_is_refused(folder: Path) -> None:
    for name in ("config.json", "metadata.json"):
        limit = max(len(CONFIG), len(METADATA))
        data = (folder / name).read_bytes()
        write(folder / name, data + b" " * (limit + 1 - len(data)))
        with refused("LI-001", LimitError):
            refser.open(folder, limits=Limits(json_bytes=limit))
        write(folder / name, data)
    refser.open(folder, limits=Limits(json_bytes=limit)).close()


def test_li003_the_number_of_assets_is_capped(folder: Path) -> None:
    for number in range(4):
        write(folder / "assets" / str(number), b"")
    assert len(refser.open(folder, limits=Limits(zip_members=4)).assets) == 4
    with refused("LI-003", LimitError):
        refser.open(folder, limits=Limits(zip_members=3))


def test_li006_folders_of_assets_are_capped_in_depth(folder: Path) -> None:
    (folder / "assets" / "a/b/c/d/e").mkdir(parents=True)
    refser.open(folder, limits=Limits(hdf5_depth=5)).close()
    with refused("LI-006", LimitError) as caught:
        refser.open(folder, limits=Limits(hdf5_depth=4))
    assert "directories" in caught.value.problem.message


def test_li008_an_asset_over_the_cap_is_refused_when_it_is_read(folder: Path) -> None:
    write(folder / "assets" / "a", b"x" * 11)
    with refser.open(folder, limits=Limits(asset_bytes=10)) as file, refused("LI-008", LimitError):
        file.assets["a"]


def fault(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: write(folder / name, data)


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (fault("config.json", b"{"), "JS-002"),
        (fault("config.json", b"\xff"), "JS-001"),
        (fault("metadata.json", b"[]"), "JS-005"),
        (fault("metadata.json", b'{"a": 1, "a": 1}'), "JS-003"),
        (fault("model.weights.h5", b""), "H5-011"),
        (fault("model.weights.h5", b"hello"), "H5-011"),
    ],
)
def test_kd_one_broken_part_is_refused_by_its_own_requirement(
    folder: Path, break_it: Callable[[Path], object], code: str
) -> None:
    break_it(folder)
    with refused(code):
        everything(folder)


def test_io007_a_directory_with_anything_else_in_it_is_never_replaced(folder: Path) -> None:
    write(folder / "thesis.txt", b"years of work")
    with refused("IO-007", AccessError):
        refser.save(Model(config_json="{}"), folder, overwrite=True)
    assert (folder / "thesis.txt").read_bytes() == b"years of work"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_io003_a_part_without_permission_is_told(folder: Path) -> None:
    (folder / "config.json").chmod(0)
    with refused("IO-003", AccessError):
        refser.open(folder)


def test_kd002_new_files_have_what_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        refser.save(Model(config_json="{}"), tmp_path / "m")
    finally:
        os.umask(before)
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        assert stat.S_IMODE((tmp_path / "m" / name).stat().st_mode) == 0o640


def test_ft004_a_pointer_in_the_place_of_the_weights_is_told(tmp_path: Path) -> None:
    refser.save(refser.load(GOLDEN / "keras-3.15.1" / "sequential.keras"), tmp_path / "m")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    (tmp_path / "m" / "model.weights.h5").write_bytes(pointer)
    with refused("FT-004", InvalidError) as caught:
        refser.open(tmp_path / "m")
    assert "git lfs pull" in caught.value.problem.hint
