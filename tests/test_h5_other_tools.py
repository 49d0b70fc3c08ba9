"""Files of h5py and h5repack that Keras does not write, within the profile and outside."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import KERNEL, h5_bytes, refused
from spec_examples import read_all, shown

from refser.errors import UnsupportedError
from refser.hdf5 import _libhdf5
from refser.limits import Limits
from refser.source import MemorySource


def tree_of_both(data: bytes) -> dict[str, Any]:
    """What the pure reader finds, which is what libhdf5 finds."""
    found = read_all(data)
    assert found == shown(_libhdf5.read_tree(MemorySource(data, "bytes"), limits=Limits()))
    return found


def fill(file: h5py.File) -> None:
    file.attrs["name"], file.attrs["list"], file.attrs["n"] = "größe", ["a", "", "b"], np.int64(-3)
    file["layers/dense/vars/0"] = KERNEL
    file["layers/dense/vars/1"] = np.arange(3, dtype=">f8")
    file["scalar"], file["empty"] = np.float16(1), np.zeros((0, 4), "i1")
    file["flags"], file["complex"] = np.array([True, False]), np.array([1 + 2j], "c8")
    file["strings"] = np.array([b"ab", b"c"], "S2")
    file.create_dataset("late", (3,), "u2")


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "v114", "latest"])
def test_h5019_h5030_h5033_files_of_every_version_are_read_without_libhdf5(libver: str, userblock: int) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver, userblock_size=userblock) as file:
        fill(file)
    data = stream.getvalue()
    assert data[userblock + 8] == {"earliest": 0, "v108": 2}.get(libver, 3)
    found = tree_of_both(data)
    assert found["layers"]["dense"]["vars"]["0"]["hex"] == KERNEL.tobytes().hex()
    assert found["@name"] == "größe"


@pytest.mark.skipif(shutil.which("h5repack") is None, reason="no h5repack here")
def test_h5030_files_of_h5repack_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(h5_bytes(fill, vars_group=False))
    want = read_all((tmp_path / "a.h5").read_bytes())
    for options, pure in (([], True), (["--latest"], False)):  # the latter puts the links into a fractal heap
        subprocess.run(["h5repack", *options, str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], check=True)
        data = (tmp_path / "b.h5").read_bytes()
        assert (tree_of_both(data) if pure else read_all(data, allow_libhdf5=True)) == want


def test_h5036_libhdf5_finds_no_elements_behind_a_user_block_either() -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file.create_dataset("x", (3,), "u2")
        file.create_dataset("outside", data=["a"], dtype=h5py.string_dtype())
    assert read_all(stream.getvalue(), allow_libhdf5=True)["x"]["hex"] == "00" * 6


def test_h5032_headers_in_many_blocks_are_read() -> None:
    def grow(file: h5py.File) -> None:
        for number in range(40):  # each does not fit any more, and goes into a block of its own
            file.create_group(f"{number}")
            file.attrs[f"{number}"] = "x" * 50

    assert len(tree_of_both(h5_bytes(grow, vars_group=False))) == 80


OUTSIDE: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "an extensible array": (lambda f: f.create_dataset("x", data=KERNEL, maxshape=(None, 3)), "latest"),
    "a version 2 B-tree": (lambda f: f.create_dataset("x", data=KERNEL, maxshape=(None, None)), "v110"),
    "dense links": (lambda f: [f.create_dataset(f"{n}", data=KERNEL) for n in range(30)], "latest"),
    "dense attributes": (lambda f: [f.attrs.__setitem__(f"{n}", n) for n in range(30)], "latest"),
    "variable-length strings": (lambda f: f.create_dataset("x", data=["a", "bc"], dtype=h5py.string_dtype()), "earliest"),
    "other fill value": (lambda f: f.create_dataset("x", (3,), "f4", fillvalue=2), "earliest"),
    "shared datatype": (lambda f: shared_type(f), "earliest"),
    "attribute of a shared datatype": (lambda f: shared_attribute(f), "latest"),
}


def shared_type(file: h5py.File) -> None:
    file["t"] = np.dtype("<f4")
    file.create_dataset("x", data=KERNEL, dtype=file["t"])
    del file["t"]


def shared_attribute(file: h5py.File) -> None:
    file["t"] = np.dtype("<i4")
    file.attrs.create("n", np.array([1, 2], "<i4"), dtype=file["t"])
    del file["t"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_h5027_a_file_outside_the_profile_is_read_by_libhdf5_or_refused(name: str) -> None:
    make, libver = OUTSIDE[name]
    data = h5_bytes(make, vars_group=False, libver=libver)
    with refused("H5-027", UnsupportedError) as caught:
        read_all(data)
    assert caught.value.problem.message
    found = read_all(data, allow_libhdf5=True)
    assert found
    if "x" in found and name not in ("variable-length strings", "other fill value"):
        assert found["x"]["hex"] == KERNEL.tobytes().hex()
