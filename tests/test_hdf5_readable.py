"""Archives that are HDF5 files too (KZ-019): read by h5py, `zipfile`, the command-line tools of both formats, and refser."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import GOLDEN

import refser
from refser import hdf5
from refser.hdf5 import Dataset, Group
from refser.layouts.weights_h5 import read_store
from refser.limits import DEFAULT_LIMITS, Limits
from refser.source import FileSource

FILES = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))["files"]
ARCHIVES = sorted(name for name, entry in FILES.items() if entry["layout"] == "keras-zip")
archives = pytest.mark.parametrize("name", ARCHIVES)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def made(name: str, tmp_path: Path) -> Path:
    refser.save(refser.load(GOLDEN / name), tmp_path / "both.keras", hdf5_readable=True)
    return tmp_path / "both.keras"


@archives
def test_kz019_h5py_opens_the_archive_itself(name: str, made: Path) -> None:
    want = refser.load(GOLDEN / name).weights
    with h5py.File(made, "r") as file:
        found: dict[str, h5py.Dataset] = {}
        file.visititems(lambda path, node: found.update({path: node}) if isinstance(node, h5py.Dataset) else None)
        assert found.keys() == want.keys()
        for path, weight in want.items():
            if weight.nbytes:
                assert found[path][()].tobytes() == weight.tobytes()
                at = found[path].id.get_offset()  # in the archive
                assert made.read_bytes()[at : at + weight.nbytes] == weight.tobytes()
                assert at % 64 == 0


@archives
def test_kz019_the_store_is_first_and_starts_at_a_place_of_hdf5(name: str, made: Path) -> None:
    data = made.read_bytes()
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        first, *others = archive.infolist()
        with zipfile.ZipFile(GOLDEN / name) as original:
            assert {info.filename for info in (first, *others)} == set(original.namelist())
            for info in others:
                if info.filename != "metadata.json":
                    assert archive.read(info) == original.read(info.filename)
    start = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    assert (first.filename, first.header_offset) == ("model.weights.h5", 0)
    assert start >= 512
    assert start & (start - 1) == 0  # a power of two
    assert data[start:].startswith(hdf5.SIGNATURE)
    assert hdf5.SIGNATURE not in data[:start]


@archives
def test_kz019_refser_reads_both(name: str, made: Path) -> None:
    model = refser.load(GOLDEN / name)
    assert refser.load(made) == model
    assert refser.load(made, limits=Limits(allow_libhdf5=False)) == model
    store = read_store(hdf5.read_tree(FileSource(str(made)), limits=DEFAULT_LIMITS))  # the archive as an HDF5 file
    assert dict(store.weights) == model.weights
    assert store.groups == model.groups


@archives
def test_kz019_unzip_tests_the_archive(name: str, made: Path) -> None:
    run = subprocess.run([tool("unzip"), "-t", made], capture_output=True)
    assert (run.returncode, run.stderr) == (0, b""), run.stdout


@archives
def test_kz019_h5dump_shows_the_archive(name: str, made: Path) -> None:
    run = subprocess.run([tool("h5dump"), "-H", made], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "USERBLOCK_SIZE" in subprocess.run([tool("h5dump"), "-H", "-B", made], capture_output=True, text=True).stdout
    assert run.stdout.count("DATASET ") == len(refser.load(GOLDEN / name).weights)


def test_kz019_h5py_reads_large_arrays_in_place(tmp_path: Path) -> None:
    values = {f"layers/d{n}/vars/0": np.random.default_rng(n).standard_normal((300, 301), dtype="f4") for n in range(9)}
    weights = {path: refser.Weight.from_array(path, array) for path, array in values.items()}
    model = refser.Model(config_json="{}", assets={"a/b.txt": b"x" * 5000}, weights=weights)
    refser.save(model, tmp_path / "m.keras", hdf5_readable=True)
    with h5py.File(tmp_path / "m.keras", "r") as file:
        for path, array in values.items():
            assert file[path][()].tobytes() == array.tobytes()
    root = hdf5.read_tree(FileSource(str(tmp_path / "m.keras")), limits=DEFAULT_LIMITS)
    assert isinstance(root, Group)
    assert isinstance(root.get("layers/d0/vars/0"), Dataset)
