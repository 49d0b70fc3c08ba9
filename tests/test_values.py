"""Dtypes, weights and models (VA), without a file where none is needed."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from helpers import h5_bytes, keras_members, refused, write, zip_bytes
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import values
from refser.errors import InvalidError, UnsupportedError
from refser.values import DTYPES, ByteRange, MemoryBytes, Model, Weight, WeightGroup

PATH = "layers/dense/vars/0"
# Keras dtype -> the bytes of three elements, written by hand, little-endian.
SAMPLES = {
    "bool": b"\1\0\1",
    "int8": b"\x80\0\x7f",
    "int16": b"\0\x80\0\0\xff\x7f",
    "int32": b"\0\0\0\x80\0\0\0\0\xff\xff\xff\x7f",
    "int64": b"\0\0\0\0\0\0\0\x80" + bytes(8) + b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    "uint8": b"\0\1\xff",
    "uint16": b"\0\0\1\0\xff\xff",
    "uint32": b"\0\0\0\0\1\0\0\0\xff\xff\xff\xff",
    "uint64": bytes(8) + b"\1\0\0\0\0\0\0\0" + b"\xff" * 8,
    "float16": b"\0\x80\1\x7e\0\x7c",  # -0.0, a NaN with a payload, infinity
    "float32": b"\0\0\0\x80\1\0\xc0\x7f\1\0\x80\x7f",  # -0.0, a quiet and a signalling NaN
    "float64": bytes(7) + b"\x80" + b"\1\0\0\0\0\0\xf8\x7f" + b"\1\0\0\0\0\0\xf0\x7f",
    "bfloat16": b"\0\x80\xc1\x7f\x80\x3f",
    "float8_e4m3fn": b"\x80\x7f\x38",
    "float8_e5m2": b"\x80\x7d\x3c",
    "complex64": b"\0\0\0\x80\1\0\xc0\x7f" * 3,
    "complex128": (bytes(7) + b"\x80\1\0\0\0\0\0\xf8\x7f") * 3,
    "string": b"a\0\0bc\0\xff\xfe\xfd",
}
STORABLE = sorted(SAMPLES)


def weight_of(dtype: str, shape: tuple[int, ...] = (3,), path: str = PATH) -> Weight:
    width = len(SAMPLES[dtype]) // 3
    data = SAMPLES[dtype][: width * int(np.prod(shape))]
    return Weight(path=path, dtype=dtype, shape=shape, source=ByteRange(MemoryBytes(data), 0, len(data)))


def put(file: h5py.File, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
    """A dataset of a Keras dtype through h5py alone, as Keras stores it."""
    kind = {"bfloat16": "V2", "float8_e4m3fn": "V1", "float8_e5m2": "V1", "string": "S3"}.get(dtype, DTYPES[dtype][0])
    array = np.frombuffer(data, dtype=np.dtype(kind).newbyteorder("<")).reshape(shape)
    file[PATH] = array
    if dtype in ("bfloat16", "float8_e5m2"):
        file[PATH].attrs["dtype"] = dtype


def test_va001_every_dtype_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(DTYPES)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3, 1), (), (0,), (2, 0, 3), (1,)])
@pytest.mark.parametrize("dtype", STORABLE)
def test_va001_every_dtype_is_read_from_hdf5(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    data = SAMPLES[dtype][: len(SAMPLES[dtype]) // 3 * int(np.prod(shape))]
    path = write(tmp_path / "m.weights.h5", h5_bytes(lambda file: put(file, dtype, shape, data)))
    with refser.open(path) as file:
        weight = file.weights[PATH]
        assert (weight.dtype, weight.shape, weight.size) == (dtype, shape, int(np.prod(shape)))
        assert weight.tobytes() == data
        assert weight.nbytes == len(data)
        array = weight.array()
        assert array.shape == shape
        assert array.dtype.name == (dtype if dtype != "string" else f"bytes{24 if data else 8}")
        assert array.tobytes() == data
        assert not array.flags.writeable


@pytest.mark.parametrize("shape", [(3,), (), (0, 2)])
@pytest.mark.parametrize("name", ["m.keras", "m", "m.weights.h5", "m.weights.json"])
def test_va001_every_dtype_survives_every_v3_layout(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    dtypes = [dtype for dtype in STORABLE if (dtype, name) != ("string", "m.weights.json")]
    weights = {f"layers/{dtype}/vars/0": weight_of(dtype, shape, f"layers/{dtype}/vars/0") for dtype in dtypes}
    model = Model(config_json="{}", weights=weights)
    refser.save(model, tmp_path / name)
    back = refser.load(tmp_path / name)
    assert set(back.weights) == set(weights)
    for path, weight in weights.items():
        found = back.weights[path]
        assert (found.dtype, found.shape, found.tobytes()) == (weight.dtype, shape, bytes(weight.source.read())), path


@pytest.mark.parametrize("name", ["m.h5", "w.h5"])
def test_va001_every_dtype_survives_the_legacy_layouts(tmp_path: Path, name: str) -> None:
    prefix = "model_weights/" if name == "m.h5" else ""
    weights = {}
    for dtype in STORABLE:
        for shape in ((3,), (), (0, 2)):
            path = f"{prefix}{dtype}{len(shape)}/{dtype}/kernel:0"
            weights[path] = weight_of(dtype, shape, path)
    model = Model(generation="legacy", config_json="{}" if prefix else None, weights=weights)
    refser.save(model, tmp_path / name)
    back = refser.load(tmp_path / name)
    assert list(back.weights) == list(weights)
    for path, weight in weights.items():
        found = back.weights[path]
        assert (found.dtype, found.shape, found.tobytes()) == (weight.dtype, weight.shape, bytes(weight.source.read())), path


def test_va005_opaque_of_two_bytes_is_bfloat16_with_and_without_the_attribute(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for name in ("a", "b"):
            file[f"{name}/vars/0"] = np.frombuffer(b"\x80\x3f\0\x40", "V2")
        file["a/vars/0"].attrs["dtype"] = "bfloat16"

    back = refser.load(write(tmp_path / "m.weights.h5", h5_bytes(fill)))
    for path in ("a/vars/0", "b/vars/0"):
        assert back.weights[path].dtype == "bfloat16"
        assert back.weights[path].array().astype(np.float32).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("kind", "declared"),
    [("V2", "float16"), ("V2", "bfloat17"), ("V1", "bfloat16"), ("V3", None), ("V4", "float32"), ("V2", "")],
)
def test_va002_opaque_elements_of_no_keras_dtype_are_refused(tmp_path: Path, kind: str, declared: str | None) -> None:
    def fill(file: h5py.File) -> None:
        file[PATH] = np.zeros(2, kind)
        if declared is not None:
            file[PATH].attrs["dtype"] = declared

    path = write(tmp_path / "m.weights.h5", h5_bytes(fill))
    with refused("VA-002", InvalidError):
        refser.open(path)


def test_va003_opaque_of_one_byte_is_e4m3fn_unless_the_attribute_says_e5m2(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for name in ("a", "b"):
            file[f"{name}/vars/0"] = np.frombuffer(b"\x3c", "V1")
        file["b/vars/0"].attrs["dtype"] = "float8_e5m2"

    back = refser.load(write(tmp_path / "m.weights.h5", h5_bytes(fill)))
    assert back.weights["a/vars/0"].array().astype(np.float32).tolist() == [1.5]  # exponent 7 - 7, fraction 4/8
    assert back.weights["b/vars/0"].array().astype(np.float32).tolist() == [1.0]  # exponent 15 - 15, fraction 0/4


def test_va004_wh006_the_written_attribute_is_the_one_that_keras_writes(tmp_path: Path) -> None:
    weights = {f"{d}/vars/0": weight_of(d, path=f"{d}/vars/0") for d in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float16")}
    refser.save(Model(weights=weights), tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        found = {
            name: (file[f"{name}/vars/0"].attrs.get("dtype"), file[f"{name}/vars/0"].dtype.str)
            for name in file
            if name != "vars"
        }
    assert found == {
        "bfloat16": ("bfloat16", "|V2"),
        "float8_e4m3fn": (None, "|V1"),
        "float8_e5m2": ("float8_e5m2", "|V1"),
        "float16": (None, "<f2"),
    }


@pytest.mark.parametrize("kind", ["i2", "u4", "i8", "f2", "f4", "f8"])
def test_va007_big_endian_numbers_read_as_they_are_and_compare_equal(tmp_path: Path, kind: str) -> None:
    numbers = np.array([1, 2, 3], dtype=">" + kind)
    path = write(tmp_path / "m.weights.h5", h5_bytes(lambda file: file.create_dataset(PATH, data=numbers)))
    weight = refser.load(path).weights[PATH]
    assert weight.big_endian
    assert weight.array().tolist() == [1, 2, 3]
    code = {"i2": "h", "u4": "I", "i8": "q", "f2": "e", "f4": "f", "f8": "d"}[kind]
    assert weight.array().tobytes() == struct.pack(f">3{code}", 1, 2, 3)
    assert weight.tobytes() == struct.pack(f"<3{code}", 1, 2, 3)
    assert weight == Weight.from_array(PATH, numbers.astype("<" + kind))


def test_va010_the_byte_order_of_what_is_written_is_that_of_what_was_given(tmp_path: Path) -> None:
    weights = {
        f"{n}/vars/0": Weight.from_array(f"{n}/vars/0", np.array([1.5], kind)) for n, kind in (("b", ">f4"), ("l", "<f4"))
    }
    refser.save(Model(weights=weights), tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert (file["b/vars/0"].dtype.str, file["l/vars/0"].dtype.str) == (">f4", "<f4")
        assert file["b/vars/0"][()].tobytes() == struct.pack(">f", 1.5)
    assert refser.load(tmp_path / "m.weights.h5").weights == weights


def test_va007_a_signalling_nan_survives_the_change_of_byte_order() -> None:
    data = b"\x7f\x80\0\1"
    weight = Weight(path=PATH, dtype="float32", shape=(1,), big_endian=True, source=ByteRange(MemoryBytes(data), 0, 4))
    assert weight.tobytes() == b"\1\0\x80\x7f"


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.array(["2020"], dtype="M8[Y]"),
        np.zeros(2, dtype="i4,f4"),
        np.zeros(2, dtype="V2"),
        np.zeros(2, dtype=np.longdouble),
        np.zeros(2, dtype=ml_dtypes.float8_e4m3b11fnuz),
        np.zeros(2, dtype=ml_dtypes.int4),
    ],
    ids=lambda array: str(array.dtype),
)
def test_va008_an_array_that_keras_has_no_dtype_for_is_refused(array: Any) -> None:
    with refused("VA-008", InvalidError):
        Weight.from_array(PATH, array)


@pytest.mark.parametrize("dtype", STORABLE)
@pytest.mark.parametrize("shape", [(3,), (), (0,), (1, 3)])
def test_va008_from_array_takes_every_dtype_without_a_copy(dtype: str, shape: tuple[int, ...]) -> None:
    array = weight_of(dtype, shape).array()
    weight = Weight.from_array(PATH, array)
    assert (weight.dtype, weight.shape) == (dtype, shape)
    assert weight.tobytes() == array.tobytes()
    if array.size:
        assert np.shares_memory(np.frombuffer(weight.source.read(), "u1"), array.reshape(-1).view("u1"))


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<i2", ">c8", ml_dtypes.bfloat16, "S3", "?"])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a.reshape(3, 4).T,
        lambda a: a.reshape(3, 4)[:, 1:3],
        lambda a: np.asfortranarray(a.reshape(3, 4)),
        lambda a: np.broadcast_to(a[:1], (2, 3)),
        lambda a: a[3],
        lambda a: a.reshape(3, 4)[1:1],
    ],
)
def test_va008_from_array_takes_any_memory_order(kind: Any, view: Any) -> None:
    array = view(np.arange(12).astype(kind))
    weight = Weight.from_array(PATH, array)
    assert weight.shape == np.shape(array)
    want = np.asarray(array)
    little = want.astype(want.dtype.newbyteorder("<")) if want.dtype.kind in "iufc" else want
    assert weight.tobytes() == little.tobytes(order="C")
    assert weight.array().tobytes() == want.tobytes(order="C")


@pytest.mark.parametrize(
    ("value", "dtype"), [(1.5, "float64"), (True, "bool"), ([1, 2], "int64"), (b"ab", "string"), (1j, "complex128")]
)
def test_va008_from_array_takes_what_numpy_takes(value: Any, dtype: str) -> None:
    assert Weight.from_array(PATH, value).dtype == dtype


def test_va008_an_hdf5_type_that_keras_does_not_write_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {
        "compound": np.zeros(2, "i4,f4"),
        "longdouble": np.zeros(2, np.longdouble),
        "subarray": np.zeros(2, np.dtype([("r", "f4"), ("i", "f4", 2)])),
    }
    for name, array in kinds.items():
        path = write(tmp_path / f"{name}.weights.h5", h5_bytes(lambda file, array=array: file.create_dataset(PATH, data=array)))
        with refused("VA-008"):
            refser.open(path)


@pytest.mark.parametrize(
    "dtype",
    [h5py.ref_dtype, h5py.regionref_dtype, h5py.enum_dtype({"A": 0, "B": 1}), h5py.vlen_dtype("i4"), np.dtype(("f4", (2,)))],
    ids=["reference", "region", "enum", "vlen", "array"],
)
def test_va008_references_enums_and_lists_are_refused(tmp_path: Path, dtype: Any) -> None:
    def fill(file: h5py.File) -> None:
        type_id = h5py.h5t.py_create(dtype, logical=True)
        file.create_group("layers/dense/vars")
        h5py.h5d.create(file["layers/dense/vars"].id, b"0", type_id, h5py.h5s.create_simple((2,)))

    path = write(tmp_path / "m.weights.h5", h5_bytes(fill))
    with refused("VA-008", InvalidError):
        refser.open(path)


class _Blocked:
    """A meta-path finder under which ml_dtypes is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "ml_dtypes":
            raise ModuleNotFoundError(name)


@pytest.fixture
def without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ml_dtypes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Blocked(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError):
        __import__("ml_dtypes")


def all_codes(dtype: str) -> Weight:
    width = 2 if dtype == "bfloat16" else 1
    data = np.arange(256**width, dtype=f"<u{width}").tobytes()
    return Weight(path=PATH, dtype=dtype, shape=(256**width,), source=ByteRange(MemoryBytes(data), 0, len(data)))


NARROW = {"bfloat16": ml_dtypes.bfloat16, "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}


@pytest.mark.parametrize("dtype", sorted(NARROW))
def test_va009_every_code_widens_as_ml_dtypes_widens_it(without_ml_dtypes: None, dtype: str) -> None:
    codes = np.arange(256 ** (2 if dtype == "bfloat16" else 1), dtype="u2" if dtype == "bfloat16" else "u1")
    want = codes.view(NARROW[dtype]).astype(np.float32)
    got = all_codes(dtype).array()
    assert got.dtype == np.float32
    assert not got.flags.writeable
    nan = np.isnan(want)
    assert nan.any()
    assert np.array_equal(np.isnan(got), nan)
    assert got[~nan].tobytes() == want[~nan].tobytes()  # -0.0 and subnormals included
    assert np.signbit(got[nan]).tolist() == np.signbit(want[nan]).tolist()


@pytest.mark.parametrize("dtype", sorted(NARROW))
def test_va009_with_ml_dtypes_every_code_keeps_its_bits(dtype: str) -> None:
    got = all_codes(dtype).array()
    assert got.dtype == np.dtype(NARROW[dtype])
    assert got.tobytes() == all_codes(dtype).tobytes()
    assert not got.flags.writeable


@pytest.mark.parametrize("dtype", sorted(NARROW))
@pytest.mark.parametrize("shape", [(), (0,), (0, 2), (1, 3)])
def test_va009_widening_keeps_the_shape(without_ml_dtypes: None, dtype: str, shape: tuple[int, ...]) -> None:
    got = weight_of(dtype, shape).array()
    assert isinstance(got, np.ndarray)
    assert (got.shape, got.dtype) == (shape, np.dtype(np.float32))


def test_va009_a_file_reads_without_ml_dtypes(without_ml_dtypes: None, tmp_path: Path) -> None:
    h5 = h5_bytes(lambda file: put(file, "bfloat16", (3,), b"\x80\x3f\0\xc0\x80\x7f"))
    path = write(tmp_path / "m.keras", zip_bytes(keras_members(model__weights__h5=h5)))
    model = refser.load(path)
    assert model.weights[PATH].dtype == "bfloat16"
    assert model.arrays[PATH].tolist() == [1.0, -2.0, float("inf")]
    refser.save(model, tmp_path / "copy.weights.h5")
    with h5py.File(tmp_path / "copy.weights.h5") as file:
        assert file[PATH][()].tobytes() == b"\x80\x3f\0\xc0\x80\x7f"


def f4(*numbers: float, path: str = PATH, kind: str = "<f4") -> Weight:
    return Weight.from_array(path, np.array(numbers, dtype=kind))


def test_va011_weights_are_equal_by_bits() -> None:
    assert f4(float("nan")) == f4(float("nan"))
    assert f4(0.0) != f4(-0.0)
    assert f4(1.0) == f4(1.0, kind=">f4")
    assert f4(1.0) != f4(1.0, kind="<f8")
    assert f4(1.0) != f4(1.0, path="other/vars/0")
    assert f4(0.0) != f4(0, kind="<i4")  # the same bits of another dtype
    assert f4(1.0) != Weight.from_array(PATH, np.array([[1.0]], "<f4"))
    quiet, payload = (Weight.from_array(PATH, np.frombuffer(b, "<f4")) for b in (b"\0\0\xc0\x7f", b"\1\0\xc0\x7f"))
    assert quiet != payload
    assert f4() == f4()
    assert f4(1.0) != 1.0
    with pytest.raises(TypeError):
        hash(f4(1.0))


def test_va011_padding_is_no_part_of_a_string() -> None:
    assert Weight.from_array(PATH, np.array([b"ab"], "S2")) == Weight.from_array(PATH, np.array([b"ab"], "S9"))
    assert Weight.from_array(PATH, np.array([b"ab"], "S2")) != Weight.from_array(PATH, np.array([b"a"], "S2"))
    assert Weight.from_array(PATH, np.zeros(0, "S2")) == Weight.from_array(PATH, np.zeros(0, "S5"))


def test_va011_models_are_equal_when_every_part_is() -> None:
    first, second = (Model(weights={PATH: f4(float("nan"))}, config_json="{}") for _ in range(2))
    assert first == second
    assert first != Model(weights={PATH: f4(0.0)}, config_json="{}")
    assert first != Model(weights={PATH: f4(float("nan"))}, config_json="{} ")


@given(first=st.binary(min_size=8, max_size=8), second=st.binary(min_size=8, max_size=8), same=st.booleans())
def test_va011_equality_is_that_of_the_bytes(first: bytes, second: bytes, same: bool) -> None:
    second = first if same else second
    event("equal" if first == second else "different")
    one, two = (Weight.from_array(PATH, np.frombuffer(data, "<f4")) for data in (first, second))
    assert (one == two) is (first == second)


def test_array_protocol_follows_numpy() -> None:
    weight = f4(1.0, 2.0)
    assert np.asarray(weight).tobytes() == struct.pack("<2f", 1, 2)
    assert np.asarray(weight, dtype="f8").tobytes() == struct.pack("<2d", 1, 2)
    copied = np.array(weight)
    copied[0] = 5.0
    assert weight.array()[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(weight)[0] = 1.0


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("vars/0", ("vars", "0")),
        ("layers/dense/vars/0", ("layers/dense/vars", "0")),
        ("layers/vars/vars/0", ("layers/vars/vars", "0")),
        ("layers/lookup/vars/idf/weights", ("layers/lookup/vars", "idf/weights")),
        ("vars/vars", ("vars", "vars")),
    ],
)
def test_wh001_a_weight_belongs_to_the_innermost_vars_above_it(path: str, want: tuple[str, str]) -> None:
    assert values.split_v3_path(path) == want
    assert WeightGroup(path=want[0], keys=(want[1],)) in Model(weights={path: f4(1.0, path=path)}).groups


@pytest.mark.parametrize("path", ["", "kernel", "layers/dense/kernel", "vars"])
def test_wh001_a_model_with_a_weight_outside_vars_is_refused(path: str) -> None:
    with refused("WH-001", InvalidError):
        Model(weights={path: f4(1.0, path=path)})


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("model_weights/dense/dense/kernel:0", ("model_weights/dense", "dense/kernel:0")),
        ("dense/dense/kernel:0", ("dense", "dense/kernel:0")),
        ("optimizer_weights/Adam/m/k:0", ("optimizer_weights", "Adam/m/k:0")),
    ],
)
def test_lh010_a_legacy_weight_belongs_to_its_layer(path: str, want: tuple[str, str]) -> None:
    assert values.split_legacy_path(path) == want


@pytest.mark.parametrize("path", ["", "kernel", "model_weights/dense", "/kernel"])
def test_lh010_a_legacy_weight_outside_every_layer_is_refused(path: str) -> None:
    with refused("LH-010", InvalidError):
        values.split_legacy_path(path)


def test_sh007_bits_of_a_dtype_are_those_that_keras_counts() -> None:
    assert {name: values.dtype_bits(name) for name in DTYPES if name != "string"} == {
        "bool": 1,
        "int8": 8,
        "int16": 16,
        "int32": 32,
        "int64": 64,
        "uint8": 8,
        "uint16": 16,
        "uint32": 32,
        "uint64": 64,
        "float16": 16,
        "float32": 32,
        "float64": 64,
        "bfloat16": 16,
        "float8_e4m3fn": 8,
        "float8_e5m2": 8,
        "complex64": 64,
        "complex128": 128,
    }
    with refused("SH-007", UnsupportedError):
        values.dtype_bits("string")


def test_wh004_numbers_come_by_value_then_names() -> None:
    assert values.natural(["10", "b", "2", "a", "0", "1", "B"]) == ["0", "1", "2", "10", "B", "a", "b"]
    assert values.natural(["١", "00", "0", "9" * 5000]) == [
        "0",
        "00",
        "9" * 5000,
        "١",
    ]  # neither crashes nor counts as a number
