"""H5-028: no byte belongs to two owners, whichever they are."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import refser
from refser import InvalidError, Limits

PURE = Limits(allow_libhdf5=False)
FIRST, SECOND = np.arange(6, dtype="f4"), np.arange(100, 106, dtype="f4")


def saved(tmp_path: Path) -> tuple[Path, bytearray]:
    path = tmp_path / "two.weights.h5"
    refser.save_weights({"layers/dense/vars/0": FIRST, "layers/dense/vars/1": SECOND}, path)
    return path, bytearray(path.read_bytes())


def moved(data: bytearray, values: np.ndarray, to: int) -> bytearray:
    """The layout message of these values leads to `to`."""
    layout = struct.pack("<QQ", data.index(values.tobytes()), values.nbytes)
    assert data.count(layout) == 1
    at = data.index(layout)
    data[at : at + 8] = struct.pack("<Q", to)
    return data


def refusal(path: Path, data: bytearray) -> refser.Problem:
    path.write_bytes(data)
    with pytest.raises(InvalidError) as caught:
        refser.open(path, limits=PURE)
    assert caught.value.problem.code == "H5-028"
    return caught.value.problem


@pytest.mark.parametrize("shift", [-4, 0, 4, 20])
def test_h5028_two_arrays_that_share_some_bytes(tmp_path: Path, shift: int) -> None:
    path, data = saved(tmp_path)
    problem = refusal(path, moved(data, SECOND, data.index(FIRST.tobytes()) + shift))
    assert "vars/0" in problem.message + problem.at
    assert "vars/1" in problem.message + problem.at


@pytest.mark.parametrize("owner", [b"TREE", b"SNOD", b"HEAP", b"\x89HDF"])
def test_h5028_an_array_over_a_structure(tmp_path: Path, owner: bytes) -> None:
    path, data = saved(tmp_path)
    refusal(path, moved(data, SECOND, data.rindex(owner)))


def test_h5028_an_array_over_its_own_header(tmp_path: Path) -> None:
    path, data = saved(tmp_path)
    here = data.index(struct.pack("<Q", data.index(SECOND.tobytes())))
    refusal(path, moved(data, SECOND, here - 8))


def test_h5028_arrays_that_only_touch_are_read(tmp_path: Path) -> None:
    path, data = saved(tmp_path)
    path.write_bytes(moved(data, SECOND, data.index(FIRST.tobytes()) + FIRST.nbytes))
    with refser.open(path, limits=PURE) as file:
        assert list(file.weights) == ["layers/dense/vars/0", "layers/dense/vars/1"]
        assert file.weights["layers/dense/vars/0"].array().tolist() == FIRST.tolist()


def test_h5028_one_array_by_two_paths_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "linked.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/a/vars/0"] = FIRST
        file["layers/b/vars/0"] = file["layers/a/vars/0"]
        file["layers/c/vars/0"] = SECOND
    with refser.open(path, limits=PURE) as file:
        assert [weight.array().tolist() for weight in file.weights.values()] == [
            FIRST.tolist(),
            FIRST.tolist(),
            SECOND.tolist(),
        ]


def test_h5028_a_heap_of_strings_over_an_array(tmp_path: Path) -> None:
    """Strings are looked at when they are asked for."""
    path = tmp_path / "named.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.frombuffer(bytes(4096), "u1")
        file["layers/dense/vars"].attrs["name"] = "dense"
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    size = int.from_bytes(data[heap + 8 : heap + 16], "little")
    with h5py.File(path, "r") as file:
        array = file["layers/dense/vars/0"].id.get_offset()
    data[array : array + size] = data[heap : heap + size]
    place = data.index(struct.pack("<IQ", 5, heap))
    data[place + 4 : place + 12] = struct.pack("<Q", array)
    path.write_bytes(data)
    with refser.open(path, limits=PURE) as file, pytest.raises(InvalidError) as caught:
        _ = file.groups
    assert caught.value.problem.code == "H5-028"
