"""What real Keras does with a weights file that was tampered with, and what the check of weights says of it.

What Keras does is asserted first, mutant by mutant: it refuses, or loads all as it was, or loads something else without a word.
"""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from checked import found_in
from keras import layers

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

Change = Callable[[h5py.File], object]
REFUSED, SAME, OTHER = "refused", "loads all as it was", "loads something else"


# Models


def dense() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")], name="m")
    return trained(model, "adam")


def trained(model: Any, optimizer: Any) -> Any:
    model.compile(optimizer, "mse", jit_compile=False)
    model.train_on_batch(np.ones((2, *model.input_shape[1:])), np.ones((2, *model.output_shape[1:])))
    return model


def untrained() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    model.compile("adam", "mse")
    return model


def convolution() -> Any:
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="conv"), layers.BatchNormalization(name="norm"), layers.Flatten()]
    )


def recurrent() -> Any:
    inputs = keras.Input((5, 3))
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both")(inputs)
    return keras.Model(inputs, layers.GRU(3, name="gru")(x))


def attention() -> Any:
    inputs = keras.Input((4, 6))
    return keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="heads")(inputs, inputs))


def nested() -> Any:
    inner = keras.Sequential([layers.Dense(4, name="one"), layers.Dense(3, name="two")], name="inner")
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(2, name="out")(inner(inputs)))


def shared() -> Any:
    inputs = keras.Input((3,))
    layer = layers.Dense(3, name="twice")
    return keras.Model(inputs, layers.Add()([layer(inputs), layer(layer(inputs))]))


def embedding() -> Any:
    inputs = keras.Input((4,), dtype="int32")
    return keras.Model(inputs, layers.Embedding(7, 3, name="table")(inputs))


def narrow() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a", dtype="bfloat16")])


def quantized() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    model.quantize("int8")
    return model


def scaled() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    return trained(model, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))


def scaled_nadam() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    return trained(model, keras.optimizers.LossScaleOptimizer(keras.optimizers.Nadam(0.1)))


def scaled_by_policy() -> Any:
    """The model's policy has the loss scaled, and no layer tells."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return trained(keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a", dtype="float32")]), "adam")
    finally:
        keras.config.set_dtype_policy("float32")


def unscaled_by_policy() -> Any:
    """All layers compute in float16, and the model's policy is another."""
    return trained(keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a", dtype="mixed_float16")]), "adam")


def nadam() -> Any:
    return trained(keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")]), "nadam")


def scaled_untrained() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)), "mse")
    return model


def lora() -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")])
    model.layers[0].enable_lora(2)
    return model


MODELS = (dense, untrained, convolution, recurrent, attention, nested, shared, embedding, narrow, quantized, scaled)
MODELS += (scaled_untrained, scaled_nadam, scaled_by_policy, unscaled_by_policy, nadam, lora)


@cache
def saved(make: Callable[[], Any]) -> dict[str, bytes]:
    """The members of the archive that Keras writes."""
    keras.utils.set_random_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.keras")
        make().save(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: dict[str, bytes], change: Change | None = None) -> None:
    data = io.BytesIO(members["model.weights.h5"])
    if change is not None:
        with h5py.File(data, "r+") as file:
            change(file)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, data.getvalue() if name == "model.weights.h5" else content)


def loaded(path: Path) -> tuple[str, list[bytes]]:
    """How Keras puts it, and what the model then holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = keras.saving.load_model(path)
        except Exception as error:
            return f"{type(error).__name__}: {error}", []
    optimizer = getattr(model, "optimizer", None)
    variables = list(model.variables) + ([] if optimizer is None else list(optimizer.variables))
    return "", [keras.ops.convert_to_numpy(it).tobytes() for it in variables]


# Changes


def gone(path: str) -> Change:
    return lambda file: file.__delitem__(path)


def moved(old: str, new: str) -> Change:
    return lambda file: file.move(old, new)


def put(path: str, value: Any, **attributes: str) -> Change:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = value
        file[path].attrs.update(attributes)

    return change


def as_type(path: str, dtype: Any) -> Change:
    return lambda file: put(path, file[path][()].astype(dtype))(file)


def empty_group(path: str) -> Change:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file.create_group(path)

    return change


def named(path: str, name: str) -> Change:
    return lambda file: file[path].attrs.__setitem__("name", name)


def all_of(*changes: Change) -> Change:
    def change(file: h5py.File) -> None:
        for one in changes:
            one(file)

    return change


def swapped(one: str, other: str) -> Change:
    return all_of(moved(one, "aside"), moved(other, one), moved("aside", other))


def everything_as(dtype: str) -> Change:
    def change(file: h5py.File) -> None:
        paths: list[str] = []
        file.visititems(lambda name, node: paths.append(name) if getattr(node, "dtype", None) == np.float32 else None)
        for path in paths:
            as_type(path, dtype)(file)

    return change


A, B = "layers/dense/vars", "layers/dense_1/vars"
MUTANTS: list[tuple[str, Callable[[], Any], Change, str, list[str]]] = [
    # WT-040
    ("a bias is gone", dense, gone(f"{B}/1"), REFUSED, ["WT-040"]),
    ("a kernel is gone", dense, gone(f"{B}/0"), REFUSED, ["WT-040"]),
    ("the vars of a layer are gone", dense, gone(B), REFUSED, ["WT-040"]),
    ("a layer is gone", dense, gone("layers/dense_1"), REFUSED, ["WT-040"]),
    ("all layers are gone", dense, gone("layers"), REFUSED, ["WT-040"]),
    ("a layer's vars are empty", dense, empty_group(B), REFUSED, ["WT-040"]),
    ("a layer stands under another number", dense, moved("layers/dense_1", "layers/dense_7"), REFUSED, ["WT-040"]),
    ("a layer stands under another class", dense, moved("layers/dense_1", "layers/linear"), REFUSED, ["WT-040"]),
    ("a layer stands outside the container", dense, moved("layers/dense_1", "dense_1"), REFUSED, ["WT-040", "WT-041"]),
    ("a cell is gone", recurrent, gone("layers/gru/cell"), REFUSED, ["WT-040"]),
    ("both directions are gone", recurrent, gone("layers/bidirectional"), REFUSED, ["WT-040"]),
    ("one direction is gone", recurrent, gone("layers/bidirectional/forward_layer"), REFUSED, ["WT-040"]),
    ("a moving variance is gone", convolution, gone("layers/batch_normalization/vars/3"), REFUSED, ["WT-040"]),
    ("an inner model is gone", nested, gone("layers/sequential"), REFUSED, ["WT-040"]),
    ("an inner model stands elsewhere", nested, moved("layers/sequential", "layers/functional"), REFUSED, ["WT-040"]),
    ("a layer of an inner model is gone", nested, gone("layers/sequential/layers/dense_1"), REFUSED, ["WT-040"]),
    ("a table is gone", embedding, gone("layers/embedding/vars/0"), REFUSED, ["WT-040"]),
    ("a shared layer is gone", shared, gone("layers/dense"), REFUSED, ["WT-040"]),
    ("a scale is gone", quantized, gone(f"{A}/2"), REFUSED, ["WT-040"]),
    ("a layer's vars in place of the layer", dense,
     all_of(moved(B, "aside"), gone("layers/dense_1"), moved("aside", "layers/dense_1")), REFUSED,
     ["WH-001", "WH-001", "WT-040"]),
    # WT-041
    ("an array too many", dense, put(f"{A}/2", np.zeros(4, "f4")), REFUSED, ["WT-041"]),
    ("an array by another name too many", dense, put(f"{A}/x", np.zeros(4, "f4")), REFUSED, ["WT-041"]),
    ("an empty group too many", dense, empty_group(f"{A}/x"), REFUSED, ["WT-041"]),
    ("an array of a layer that has none", convolution, put("layers/flatten/vars/0", np.zeros(1, "f4")), REFUSED, ["WT-041"]),
    ("an array of the model itself", dense, put("vars/0", np.zeros(1, "f4")), REFUSED, ["WT-041"]),
    ("a layer too many", dense, put("layers/dense_2/vars/0", np.zeros(1, "f4")), SAME, ["WT-041"]),
    ("two layers too many", dense, all_of(put("more/a/vars/0", np.zeros(1, "f4")), put("more/b/vars/0", np.zeros(1, "f4"))),
     SAME, ["WT-041"]),
    ("an empty layer too many", dense, empty_group("layers/re_lu/vars"), SAME, []),
    ("a second copy of a shared layer", shared, put("layers/dense_1/vars/0", np.zeros((3, 3), "f4")), SAME, ["WT-041"]),
    ("an array outside of all", dense, put("stray", np.zeros(1, "f4")), SAME, ["WH-001"]),
    # WT-042
    ("a kernel of another width", dense, put(f"{A}/0", np.zeros((3, 5), "f4")), REFUSED, ["WT-042"]),
    ("a layer of another width", dense,
     all_of(put(f"{A}/0", np.zeros((3, 5), "f4")), put(f"{A}/1", np.zeros(5, "f4"))), REFUSED, ["WT-042"]),
    ("a bias of two axes", dense, put(f"{A}/1", np.zeros((4, 1), "f4")), REFUSED, ["WT-042"]),
    ("a scalar bias", dense, put(f"{A}/1", np.float32(0)), REFUSED, ["WT-042"]),
    ("a kernel the other way round", dense, put(f"{B}/0", np.zeros((2, 4), "f4")), REFUSED, ["WT-042"]),
    ("kernel and bias swapped", dense, swapped(f"{A}/0", f"{A}/1"), REFUSED, ["WT-042"]),
    ("two layers swapped", dense, swapped("layers/dense", "layers/dense_1"), REFUSED, ["WT-042", "WT-042"]),
    ("a table of more words", embedding, put("layers/embedding/vars/0", np.zeros((8, 3), "f4")), REFUSED, ["WT-042"]),
    ("heads of another size", attention, put("layers/multi_head_attention/query_dense/vars/0", np.zeros((6, 2, 4), "f4")),
     REFUSED, ["WT-042"]),
    # WT-043
    ("a kernel of float16", dense, as_type(f"{A}/0", "f2"), OTHER, ["WT-043"]),
    ("a bias of float64", dense, as_type(f"{A}/1", "f8"), SAME, ["WT-043"]),
    ("everything of float64", dense, everything_as("f8"), SAME, ["WT-043"]),
    ("a kernel of int32", dense, as_type(f"{A}/0", "i4"), OTHER, ["WT-043"]),
    ("a kernel of booleans", dense, as_type(f"{A}/0", "?"), OTHER, ["WT-043"]),
    ("a kernel of complex numbers", dense, as_type(f"{A}/0", "c8"), SAME, ["WT-043"]),
    ("a kernel of text", dense, put(f"{A}/0", np.full((3, 4), b"1.5")), OTHER, ["WT-043"]),
    ("a kernel of words", dense, put(f"{A}/0", np.full((3, 4), b"x")), REFUSED, ["WT-043"]),
    ("a kernel of pairs", dense, put(f"{A}/0", np.zeros((3, 4), [("a", "f4"), ("b", "f4")])), REFUSED, ["VA-008"]),
    ("a bfloat16 bias of float32", narrow, put(f"{A}/1", np.zeros(4, "f4")), SAME, ["WT-043"]),
    ("a float32 kernel of bfloat16", dense,
     put(f"{A}/0", np.ones((3, 4), ml_dtypes.bfloat16), dtype="bfloat16"), OTHER, ["WT-043"]),
    ("bfloat16 said of its bits", narrow, put(f"{A}/0", np.ones((3, 4), "u2"), dtype="bfloat16"), REFUSED, ["VA-013"]),
    ("bfloat16 said to be float16", narrow,
     put(f"{A}/0", np.ones((3, 4), ml_dtypes.bfloat16), dtype="float16"), REFUSED, ["VA-002"]),
    ("an int8 kernel of int32", quantized, lambda file: put(f"{A}/0", file[f"{A}/0"][()].astype("i4"))(file), SAME, ["WT-043"]),
    ("an int8 kernel of float32", quantized, as_type(f"{A}/0", "f4"), SAME, ["WT-043"]),
    ("big-endian", dense, as_type(f"{A}/0", ">f4"), SAME, []),
    # WT-044
    ("numbers 0 and 2", dense, moved(f"{A}/1", f"{A}/2"), REFUSED, ["WT-044"]),
    ("numbers 1 and 2", dense, all_of(moved(f"{A}/1", f"{A}/2"), moved(f"{A}/0", f"{A}/1")), REFUSED, ["WT-044"]),
    ("number 00", dense, moved(f"{A}/0", f"{A}/00"), REFUSED, ["WT-044"]),
    ("names for numbers", dense, all_of(moved(f"{A}/0", f"{A}/kernel"), moved(f"{A}/1", f"{A}/bias")), REFUSED, ["WT-044"]),
    # WT-045
    ("a group for a kernel", dense, empty_group(f"{A}/0"), REFUSED, ["WT-045"]),
    ("a group with an array for a kernel", dense, all_of(gone(f"{A}/0"), put(f"{A}/0/0", np.zeros((3, 4), "f4"))), REFUSED,
     ["WT-045"]),
    ("an array for a layer", dense, put("layers/dense", np.zeros(1, "f4")), REFUSED, ["WH-001"]),
    ("an array for the vars of a layer", dense, put(A, np.zeros(1, "f4")), REFUSED, ["WH-001"]),
    # WT-046
    ("another name", dense, named(A, "z"), SAME, ["WT-046"]),
    ("no name", dense, lambda file: file[A].attrs.__delitem__("name"), SAME, []),
    # WT-048
    ("a slot is gone", dense, gone("optimizer/vars/5"), OTHER, ["WT-048"]),
    ("a slot too many", dense, put("optimizer/vars/10", np.zeros(2, "f4")), OTHER, ["WT-048"]),
    ("the last slots are gone", dense, all_of(gone("optimizer/vars/9"), gone("optimizer/vars/8")), OTHER, ["WT-048"]),
    ("the optimizer is gone", dense, gone("optimizer"), OTHER, ["WT-048"]),
    ("a slot of another shape", dense, put("optimizer/vars/2", np.zeros((3, 5), "f4")), REFUSED, ["WT-042"]),
    ("a gap among the slots", dense, moved("optimizer/vars/5", "optimizer/vars/50"), REFUSED, ["WT-044"]),
    ("the inner optimizer is gone", scaled, gone("optimizer/inner_optimizer"), SAME, ["WT-048"]),
    ("the product is gone", nadam, gone("optimizer/vars/4"), OTHER, ["WT-048"]),
    ("slots of an untrained model", untrained, put("optimizer/vars/2", np.zeros((3, 4), "f4")), SAME, ["WT-048"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "change", "outcome", "codes"), [it[1:] for it in MUTANTS], ids=[it[0] for it in MUTANTS])
def test_what_keras_refuses_is_an_error(
    make: Callable[[], Any], change: Change, outcome: str, codes: list[str], tmp_path: Path
) -> None:
    """WT-040 to WT-048."""
    members = saved(make)
    write(tmp_path / "plain.keras", members)
    write(tmp_path / "m.keras", members, change)
    refused, values = loaded(tmp_path / "m.keras")
    assert (REFUSED if refused else SAME if values == loaded(tmp_path / "plain.keras")[1] else OTHER) == outcome, refused
    found = found_in(tmp_path / "m.keras")
    assert sorted(it.code for it in found) == codes, list(map(str, found))
    assert all(it.at.startswith("m.keras:model.weights.h5:/") for it in found)
    if outcome == REFUSED:
        assert any(it.severity == "error" for it in found)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_what_keras_saves_fits(make: Callable[[], Any], tmp_path: Path) -> None:
    write(tmp_path / "m.keras", saved(make))
    assert found_in(tmp_path / "m.keras", values=True) == []
