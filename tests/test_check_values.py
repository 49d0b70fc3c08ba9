"""NaN and infinity among weights [VA-020]."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from helpers import GOLDEN, h5_bytes
from hypothesis import event, given, settings
from hypothesis import strategies as st
from weights_checked import archive, codes, dense, found_in, sequential

from refser.checks import values
from refser.checks.subject import Options, Subject
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS

FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16"]
NARROW = ["bfloat16", "float8_e4m3fn", "float8_e5m2"]


def file_of(array: Any, dtype: str = "", **options: Any) -> bytes:
    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("vars/0", data=array, **options)
        if dtype:
            dataset.attrs["dtype"] = dtype

    return h5_bytes(fill)


def told(data: bytes) -> list[str]:
    return [it.message for it in found_in(data, "m.weights.h5", values=True) if it.code == "VA-020"]


def wanted(plain: Any, dtype: str) -> list[str]:
    nans, infinities = int(np.isnan(plain).sum()), int(np.isinf(plain).sum() - (np.isinf(plain) & np.isnan(plain)).sum())
    if not nans and not infinities:
        return []
    parts = [f"{nans:,} NaN"] * bool(nans) + [f"{infinities:,} infinite"] * bool(infinities)
    first = [int(n) for n in np.argwhere(~np.isfinite(plain))[0]]
    count = f"{plain.size:,} element{'s' * (plain.size != 1)}"
    return [f"{' and '.join(parts)} among {count} of {dtype}, the first at {first}; wanted numbers"]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(FLOATS), shape=st.sampled_from([(1,), (5,), (3, 4), (2, 3, 2)]))
def test_va020_counts_are_those_of_numpy(data: st.DataObject, kind: str, shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    cells = st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 6e-8])
    array = np.array(data.draw(st.lists(cells, min_size=size, max_size=size)), "f8").astype(kind).reshape(shape)
    event("plain" if np.isfinite(array).all() else "odd")
    assert told(file_of(array)) == wanted(array, array.dtype.name)


@pytest.mark.parametrize("dtype", NARROW)
def test_va020_every_code_of_a_narrow_float(dtype: str) -> None:
    width = 2 if dtype == "bfloat16" else 1
    codes_ = np.arange(1 << 8 * width, dtype=f"<u{width}")
    plain = codes_.view(getattr(ml_dtypes, dtype)).astype("f4")
    assert told(file_of(codes_.view(f"V{width}"), dtype)) == wanted(plain, dtype)


def test_va020_a_scalar_has_no_index() -> None:
    assert told(file_of(np.float32(math.nan))) == ["1 NaN among 1 element of float32; wanted numbers"]


@pytest.mark.parametrize("options", [{}, {"chunks": (7,)}, {"chunks": (7,), "compression": "gzip"}])
def test_va020_blocks_are_one_array(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "BLOCK", 64)
    array = np.zeros(1000, "f4")
    array[[15, 16, 999]] = math.nan
    assert told(file_of(array, **options)) == wanted(array, "float32")


def test_va020_is_a_warning_at_the_array_and_looked_for_when_asked() -> None:
    arrays = {"layers/dense/vars/0": np.full((3, 2), math.nan, "f4"), "layers/dense/vars/1": np.zeros(2, "f4")}
    data = archive(sequential(dense()), arrays)
    assert found_in(data) == []
    for option in ("values", "deep"):
        (found,) = found_in(data, **{option: True})
        assert (found.code, found.severity, found.at) == ("VA-020", "warning", "m.keras:model.weights.h5:/layers/dense/vars/0")


def test_va020_integers_and_empty_arrays_have_none() -> None:
    assert told(file_of(np.full(3, -1, "i4"))) == []
    assert told(file_of(np.zeros((0, 3), "f4"))) == []


def test_va020_bytes_that_do_not_decode_are_an_error() -> None:
    data = bytearray(file_of(np.arange(1000, dtype="f4"), chunks=(1000,), compression="gzip"))
    with h5py.File(io.BytesIO(data)) as file:
        place = file["vars/0"].id.get_chunk_info(0).byte_offset
    data[place + 2 : place + 40] = bytes(38)
    found = found_in(bytes(data), "m.weights.h5", values=True)
    assert codes(found) == [(found[0].code, "error")]


def test_va020_every_byte_is_told_to_who_wants_to_know(tmp_path: Path) -> None:
    (tmp_path / "m.weights.h5").write_bytes(file_of(np.zeros(10, "f4")))
    with open_layout(str(tmp_path / "m.weights.h5"), limits=DEFAULT_LIMITS) as file:
        seen: list[int] = []

        class Stepping(Subject):
            def step(self, nbytes: int) -> None:
                seen.append(nbytes)

        assert list(values.check_values(Stepping(file, Options(values=True)))) == []
        assert sum(seen) == sum(weight.nbytes for weight in file.weights.values()) == 40


def test_va020_numpy_is_loaded_for_values_alone() -> None:
    code = (
        "import sys; from refser.layouts import open_layout; from refser.limits import UNTRUSTED_LIMITS as limits\n"
        "from refser.checks.subject import Options, Subject\n"
        "from refser.checks.values import check_values; from refser.checks.weights import check_weights\n"
        "with open_layout(sys.argv[1], limits=limits) as file:\n"
        "    for values in (False, True):\n"
        "        subject = Subject(file, Options(values=values))\n"
        "        print(len([*check_weights(subject), *check_values(subject)]), 'numpy' in sys.modules)"
    )
    path = GOLDEN / "keras-3.15.1/functional.keras"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["0 False", "0 True"]
