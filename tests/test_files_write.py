"""How files get into place (IO): atomic.py."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from file_models import (
    LAYOUTS,
    NEW,
    OLD,
    PATH,
    _no_open_files_are_left,  # noqa: F401  # for each test here
    contents,
    options,
    posix,
    same,
    v3,
)
from helpers import GOLDEN, KERNEL, hostile, refused, write

import refser
from refser import atomic, layouts
from refser.errors import AccessError, RefserError, UnsafeError
from refser.values import ByteRange


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io005_what_is_there_is_not_replaced_unasked(tmp_path: Path, name: str) -> None:
    refser.save(LAYOUTS[name](OLD), tmp_path / name, **options(name))
    before = contents(tmp_path)
    with refused("IO-005", AccessError) as caught:
        refser.save(LAYOUTS[name](NEW), tmp_path / name, **options(name))
    assert "overwrite" in caught.value.problem.hint
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io006_what_is_there_is_replaced_when_asked(tmp_path: Path, name: str) -> None:
    for arrays in (OLD, NEW, OLD):
        refser.save(LAYOUTS[name](arrays), tmp_path / name, overwrite=True, **options(name))
        assert same(refser.load(tmp_path / name), LAYOUTS[name](arrays))
        assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io005_a_dangling_link_counts_as_something(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("gone")
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name)


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io005_nothing_but_a_file_is_replaced_by_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name, overwrite=True)
    (tmp_path / name).rmdir()
    hostile(tmp_path / name)
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name, overwrite=True)
    assert stat.S_ISFIFO((tmp_path / name).stat().st_mode)


def test_io005_a_file_is_not_replaced_by_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "m", b"mine")
    with refused("IO-005", AccessError):
        refser.save(v3(OLD), tmp_path / "m", overwrite=True)
    assert contents(tmp_path) == {"m": b"mine"}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io001_a_directory_that_does_not_exist_is_told(tmp_path: Path, name: str) -> None:
    with refused("IO-001", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / "gone" / name, **options(name))


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io006_a_replaced_file_keeps_its_permissions_and_a_new_one_has_the_umask(tmp_path: Path, name: str) -> None:
    before = os.umask(0o027)
    try:
        refser.save(LAYOUTS[name](OLD), tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
        (tmp_path / name).chmod(0o604)
        refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io012_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "real").mkdir()
    refser.save(LAYOUTS[name](OLD), tmp_path / "real" / name)
    (tmp_path / name).symlink_to(Path("real") / name)
    refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
    assert (tmp_path / name).is_symlink()
    assert same(refser.load(tmp_path / "real" / name), LAYOUTS[name](NEW))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["real", name])


@posix
def test_io012_a_link_to_a_directory_stays_a_link(tmp_path: Path) -> None:
    refser.save(v3(OLD), tmp_path / "real")
    (tmp_path / "m").symlink_to("real")
    refser.save(v3(NEW), tmp_path / "m", overwrite=True)
    assert (tmp_path / "m").is_symlink()
    assert same(refser.load(tmp_path / "real"), v3(NEW))


def test_io006_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    for name in ("x" * 249 + ".keras", "é" * 124 + ".keras", "y" * 255):
        refser.save(v3(OLD), tmp_path / name, layout=None if "." in name else "keras-dir")
        assert same(refser.load(tmp_path / name), v3(OLD))
    with refused("IO-003", AccessError):
        refser.save(v3(OLD), tmp_path / ("x" * 250 + ".keras"))
    assert len(list(tmp_path.iterdir())) == 3


def test_io007_a_directory_with_anything_else_in_it_is_never_replaced(tmp_path: Path) -> None:
    for name in ("thesis.txt", ".git", "sub"):
        folder = tmp_path / f"m_{name.strip('.')[:3]}"
        refser.save(v3(OLD), folder)
        (folder / name).mkdir() if name != "thesis.txt" else write(folder / name, b"work")
        before = contents(tmp_path)
        with refused("IO-007", AccessError) as caught:
            refser.save(v3(NEW), folder, overwrite=True)
        assert repr(name) in caught.value.problem.message
        assert contents(tmp_path) == before


def test_io007_an_empty_directory_is_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with refused("IO-005"):
        refser.save(v3(OLD), tmp_path / "m")
    refser.save(v3(OLD), tmp_path / "m", overwrite=True)
    assert same(refser.load(tmp_path / "m"), v3(OLD))


def test_io007_assets_of_the_old_directory_are_gone(tmp_path: Path) -> None:
    refser.save(replace(v3(OLD), assets={"old/a": b"1"}), tmp_path / "m")
    refser.save(replace(v3(OLD), assets={"new": b"2"}), tmp_path / "m", overwrite=True)
    assert sorted(contents(tmp_path / "m" / "assets")) == ["new"]


class Failing:
    """Bytes that cannot be had."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def view(self, offset: int, length: int) -> memoryview:
        raise self.error


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    KeyboardInterrupt(),
    MemoryError(),
    UnsafeError(refser.Problem(code="H5-001", message="m")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"m.json"}))
def test_io006_io011_a_failure_inside_a_write_leaves_everything_as_it_was(
    tmp_path: Path, name: str, existing: bool, error: BaseException
) -> None:
    if existing:
        refser.save(LAYOUTS[name](OLD), tmp_path / name, **options(name))
    before = contents(tmp_path)
    model = LAYOUTS[name](NEW)
    last = list(model.weights)[-1]
    broken = replace(model.weights[last], source=ByteRange(Failing(error), 0, 36))
    model = replace(model, weights={**model.weights, last: broken})
    with pytest.raises((RefserError, KeyboardInterrupt, MemoryError)) as caught:
        refser.save(model, tmp_path / name, overwrite=existing, **options(name))
    if isinstance(error, OSError):
        assert isinstance(caught.value, AccessError)
        assert caught.value.problem.code == "IO-003"
    else:
        assert caught.value is error
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


FULL = """if True:
    import json, pathlib, resource, signal, sys
    import numpy as np, refser, h5py
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder, name, layout = sys.argv[1:]
    big = {"layers/d/vars/0": np.zeros(100_000, "f4"), "layers/e/vars/0": np.zeros(100_000, "f4")}
    generation, prefix = ("legacy", "model_weights/") if layout.startswith("legacy") else ("v3", "")
    weights = {prefix + path: refser.Weight.from_array(prefix + path, array) for path, array in big.items()}
    model = refser.Model(generation=generation, config_json="{}", weights=weights)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    try:
        refser.save(model, folder + "/" + name, layout=layout)
    except refser.RefserError as error:
        print(error.problem.code)
    print(sorted(p.name for p in pathlib.Path(folder).iterdir()))
"""


@posix
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("m.keras", "keras-zip"),
        ("m", "keras-dir"),
        ("m.weights.h5", "weights-h5"),
        ("m.weights.json", "weights-sharded"),
        ("m.h5", "legacy-h5"),
    ],
)
def test_io003_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, name: str, layout: str) -> None:
    out = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), name, layout], capture_output=True, text=True, check=False)
    assert out.stdout.splitlines() == ["IO-003", "[]"], out.stderr[-2000:]


# --- the parts of atomic.py


@posix
def test_io008_a_link_in_the_place_of_a_shard_is_replaced_and_not_followed(tmp_path: Path) -> None:
    name = "m.weights.json"
    refser.save(LAYOUTS[name](OLD), tmp_path / name)
    keep = write(tmp_path / "precious", b"keep me")
    (tmp_path / "m_00000.weights.h5").unlink()
    (tmp_path / "m_00000.weights.h5").symlink_to(keep)
    refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
    assert keep.read_bytes() == b"keep me"
    assert same(refser.load(tmp_path / name), LAYOUTS[name](NEW))


def test_io006_another_who_comes_first_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with refused("IO-005", AccessError), atomic.new_file(str(path), overwrite=False) as temporary:
        Path(temporary).write_bytes(b"ours")
        path.write_bytes(b"theirs")
    assert contents(tmp_path) == {"m.h5": b"theirs"}


def test_io006_the_temporary_file_lies_beside_the_target(tmp_path: Path) -> None:
    with atomic.new_file(str(tmp_path / "m.h5"), overwrite=False) as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        assert os.path.basename(temporary).startswith(".")
        Path(temporary).write_bytes(b"x")
        assert not (tmp_path / "m.h5").exists()
    assert contents(tmp_path) == {"m.h5": b"x"}


def test_io011_where_nothing_swaps_two_renames_do(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "f", name.encode())
    atomic._swap_by_two_renames(str(tmp_path / "new"), str(tmp_path / "old"))
    assert contents(tmp_path) == {os.path.join("old", "f"): b"new"}
    with pytest.raises(OSError, match="No such file"):
        atomic._swap_by_two_renames(str(tmp_path / "gone"), str(tmp_path / "old"))
    assert contents(tmp_path) == {os.path.join("old", "f"): b"new"}


def test_written_files_are_read_by_h5py_and_zipfile_alone(tmp_path: Path) -> None:
    refser.save_weights({PATH: KERNEL}, tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert file[PATH][()].tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("layout", [*layouts.LAYOUTS, None])
def test_io005_an_empty_path_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str | None) -> None:
    """The system takes it for the current directory, which a directory layout would replace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").write_text("mine")
    model = refser.load(GOLDEN / "keras-3.15.1" / "sequential.keras")
    for overwrite in (False, True):
        with pytest.raises(refser.RefserError):
            refser.save(model, "", layout=layout, overwrite=overwrite)
        with pytest.raises(refser.AccessError), atomic.new_directory("", overwrite=overwrite, members=()):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_io007_what_comes_while_a_directory_is_written_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(refser.AccessError), atomic.new_directory(str(tmp_path / "m"), overwrite=True, members=("a",)):
        (tmp_path / "m" / "letter.txt").write_text("mine")
    assert (tmp_path / "m" / "letter.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_io014_a_closed_file_is_not_saved_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    data = (GOLDEN / "keras-3.15.1" / "sequential.keras").read_bytes()
    path.write_bytes(data)
    with refser.open(path) as file:
        refser.save(file, tmp_path / "copy.keras")
        assert refser.load(tmp_path / "copy.keras") == refser.load(path)
    for use in (lambda: refser.save(file, path, overwrite=True), file.load, file.model):
        with pytest.raises(refser.AccessError):
            use()
    assert path.read_bytes() == data


def test_sh003_a_name_with_a_colon_is_a_plain_name(tmp_path: Path) -> None:
    model = refser.load(GOLDEN / "keras-3.15.1" / "sequential.weights.h5")
    refser.save(model, tmp_path / "run-03:40.weights.json")
    assert refser.load(tmp_path / "run-03:40.weights.json") == model
