"""Arrays are views of the file, aligned where the file is."""

from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5_trees import KINDS
from helpers import CONFIG, GOLDEN, METADATA, h5_bytes

import refser


def is_view_of_a_map(array: Any) -> bool:
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


def check_views(path: Path, aligned: int = 1) -> None:
    with refser.open(path) as file:
        arrays = {inner: weight.array() for inner, weight in file.weights.items()}
        again = {inner: weight.array() for inner, weight in file.weights.items()}
    assert arrays
    want = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        for inner in arrays:
            want[inner] = weights[inner][()]
    for inner, array in arrays.items():  # the file is closed
        assert array.tobytes() == want[inner].tobytes()
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        if array.size:
            assert is_view_of_a_map(array), inner
            assert np.shares_memory(array, again[inner])
            assert array.ctypes.data % aligned == 0


@pytest.mark.parametrize("name", ["keras-3.15.1/functional.keras", "keras-3.15.1/many.keras", "keras-3.6.0/sequential.keras"])
def test_va010_arrays_of_a_keras_archive_are_views(name: str, tmp_path: Path) -> None:
    check_views(GOLDEN / name)
    refser.save(refser.load(GOLDEN / name), tmp_path / "m.keras")
    check_views(tmp_path / "m.keras", aligned=64)


@pytest.mark.parametrize("shift", range(9))
def test_va010_data_that_are_not_aligned_are_right(tmp_path: Path, shift: int) -> None:
    values = {kind: np.arange(-6, 6).astype(kind).reshape(3, 4) for kind in KINDS if kind[1] in "iufc"}

    def fill(file: h5py.File) -> None:
        for number, array in enumerate(values.values()):
            file[f"vars/{number}"] = array

    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", METADATA)
        archive.writestr("config.json", CONFIG + b" " * shift)
        archive.writestr("model.weights.h5", h5_bytes(fill))
    with refser.open(path) as file:
        for number, array in enumerate(values.values()):
            found = file.weights[f"vars/{number}"].array()
            assert found.tobytes() == array.tobytes()
            assert (found.astype("c16") == array.astype("c16")).all()
            assert found.sum() == array.sum()
    for inner, copy in refser.load_weights(path).items():
        assert copy.flags.writeable, inner
