"""Live models of Keras 3: the arrays that refser expects in `model.h5` are those that real Keras writes there.

JAX backend.  Files of older versions are in tests/test_rules_legacy.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from builders import Description, descriptions, examples
from hypothesis import event, given
from hypothesis import strategies as st

from refser.rules.legacy import BASE, TOP, expected_legacy_weights, names_by_order
from refser.rules.tree import expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]
NAMES = (
    *("chain", "built", "convolutions", "recurrent", "cells", "wrappers", "convolutions in time", "norms"),
    *("heads", "nested", "nested chain", "nested chain with input", "chain at head", "model in chain"),
    *("model in time", "shared", "frozen", "frozen inside", "frozen from the start", "frozen model"),
    *("unfrozen in part", "frozen by half", "eight bits", "four bits", "adapted", "operations", "types"),
    *("activation",),
)


class Saved:
    """What real Keras wrote, and what refser expects of its config."""

    def __init__(self, model: Any, path: Path) -> None:
        model.save(path)
        with h5py.File(path) as file:
            base = file[BASE]
            names = [name for name in [*base.attrs["layer_names"], TOP] if name in base]
            self.groups = [(f"{BASE}/{name}", list(base[name].attrs["weight_names"])) for name in names]
            self.arrays = {f"{group}/{key}": file[f"{group}/{key}"][()] for group, keys in self.groups for key in keys}
            self.config, self.version = file.attrs["model_config"], file.attrs["keras_version"]
        self.tree = expected_legacy_weights(self.config, keras_version=self.version)

    @property
    def opaque(self) -> set[str]:
        return {place.path for place in self.tree.opaque}

    def found(self) -> dict[str, Any]:
        """By path, what the names and places of the arrays tell that they are."""
        return names_by_order(self.groups, self.tree, {path: array.shape for path, array in self.arrays.items()})


def live_flags(model: Any) -> dict[str, bool]:
    return {
        f"{BASE}/{layer.name}/{it.path}": it.trainable and any(it is other for other in model.trainable_variables)
        for layer in model.layers
        for it in layer.weights
    }


def check(model: Any, folder: Path) -> Saved:
    """All of one model: groups, names, order, shapes, types, and what is trained."""
    saved = Saved(model, folder / "model.h5")
    assert saved.opaque == set()
    assert list(saved.tree.groups) == [group for group, _ in saved.groups]
    assert [spec.path for spec in saved.tree] == list(saved.arrays)
    assert [spec.shape for spec in saved.tree] == [array.shape for array in saved.arrays.values()]
    assert [spec.dtype for spec in saved.tree if spec.dtype] == [
        str(array.dtype) for spec, array in zip(saved.tree, saved.arrays.values()) if spec.dtype
    ]
    flags = live_flags(model)
    assert {spec.path: flags[spec.path] for spec in saved.tree if spec.trainable is not None} == {
        spec.path: spec.trainable for spec in saved.tree if spec.trainable is not None
    }
    newer = expected_weights(saved.config, keras_version=saved.version, optimizer=False)
    assert {spec.variable_path for spec in saved.tree} == {spec.variable_path for spec in newer}
    return saved


def models() -> dict[str, Callable[[], Any]]:
    import keras
    from keras import layers as L

    def chain(shape: tuple[int, ...], *layers: Any) -> Any:
        value = first = keras.Input(shape)
        for layer in layers:
            value = layer(value)
        return keras.Model(first, value)

    def inner(**arguments: Any) -> Any:
        return chain((5,), L.Dense(4, name="a", **arguments), L.BatchNormalization(name="b"), L.Dense(2, name="c"))

    def frozen(model: Any, *numbers: int) -> Any:
        for number in numbers:
            model.layers[number].trainable = False
        return model

    def built() -> Any:
        model = keras.Sequential([L.Dense(4), L.Dense(2)])
        model.build((None, 3))
        return model

    def heads() -> Any:
        query, value = keras.Input((4, 6)), keras.Input((3, 5))
        first = L.MultiHeadAttention(2, 3, value_dim=4, name="heads")(query, value)
        second = L.GroupQueryAttention(2, 4, 2)(first, first)
        return keras.Model([query, value], L.Attention(use_scale=True)([second, second]))

    def part(*first: Any) -> Any:
        return keras.Sequential([*first, L.Dense(4, name="a"), L.BatchNormalization(name="b"), L.Dense(3)], name="part")

    def shared() -> Any:
        dense, first = L.Dense(5, name="shared"), keras.Input((5,))
        return keras.Model(first, chain((5,), dense, L.Dense(4))(dense(first)))

    def unfrozen() -> Any:
        model = inner()
        model.trainable = False
        model.layers[2].trainable = True
        return chain((5,), model, L.Dense(1))

    def half() -> Any:
        model = chain((4, 3), L.Bidirectional(L.LSTM(2, return_sequences=True)), L.RNN([L.LSTMCell(3), L.GRUCell(2)]))
        model.layers[1].forward_layer.trainable = False
        model.layers[2].cell.cells[0].trainable = False
        return model

    def quantized(mode: str) -> Any:
        model = chain((3,), L.Embedding(5, 4), L.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), L.Dense(2))
        model.quantize(mode)
        return model

    wrapped = [L.TimeDistributed, L.Bidirectional]
    return {
        "chain": lambda: keras.Sequential([keras.Input((3,)), L.Dense(4), L.BatchNormalization(), L.LayerNormalization()]),
        "built": built,
        "convolutions": lambda: chain(
            (9, 9, 3),
            L.Conv2D(4, 2),
            L.DepthwiseConv2D(2),
            L.SeparableConv2D(3, 2),
            L.Conv2DTranspose(2, 2),
            L.PReLU(),
            L.ReLU(),
        ),
        "recurrent": lambda: chain((4, 3), L.LSTM(2, return_sequences=True), L.GRU(3, return_sequences=True), L.SimpleRNN(2)),
        "cells": lambda: chain(
            (4, 3), L.RNN(L.LSTMCell(2), return_sequences=True), L.RNN([L.GRUCell(2), L.LSTMCell(3)], name="stack")
        ),
        "wrappers": lambda: chain(
            (4, 6, 6, 3),
            wrapped[0](L.Conv2D(2, 3)),
            wrapped[0](L.Flatten()),
            wrapped[1](L.LSTM(2, return_sequences=True, name="l"), merge_mode="sum"),
            wrapped[1](
                L.GRU(2, name="f", return_sequences=True), backward_layer=L.LSTM(2, go_backwards=True, return_sequences=True)
            ),
            wrapped[0](L.BatchNormalization(name="each")),
        ),
        "convolutions in time": lambda: chain(
            (3, 5, 5, 2), L.ConvLSTM2D(2, 2, return_sequences=True), L.Bidirectional(L.ConvLSTM2D(2, 2))
        ),
        "norms": lambda: chain(
            (4, 6),
            L.GroupNormalization(3),
            L.RMSNormalization(),
            L.SpectralNormalization(L.Dense(3)),
            L.BatchNormalization(renorm=True),
        ),
        "heads": heads,
        "nested": lambda: chain((5,), L.Dense(5), inner(), L.Dense(2)),
        "nested chain": lambda: chain((5,), part(), L.Dense(2)),
        "nested chain with input": lambda: chain((5,), part(keras.Input((5,))), L.Dense(2)),
        "chain at head": lambda: keras.Sequential([part(keras.Input((5,))), L.Dense(2)]),
        "model in chain": lambda: keras.Sequential([inner(), L.Dense(2)]),
        "model in time": lambda: chain((3, 5), L.TimeDistributed(inner())),
        "shared": shared,
        "frozen": lambda: frozen(chain((5,), L.Dense(4), L.BatchNormalization(), L.Dense(2, trainable=False)), 2),
        "frozen inside": lambda: chain((5,), frozen(inner(), 1), L.Dense(2)),
        "frozen from the start": lambda: chain((5,), inner(trainable=False), L.Dense(2)),
        "frozen model": lambda: frozen(chain((5,), inner(), L.Dense(2)), 1),
        "unfrozen in part": unfrozen,
        "frozen by half": half,
        "eight bits": lambda: quantized("int8"),
        "four bits": lambda: quantized("int4"),
        "adapted": lambda: chain((5,), L.Normalization(), L.Dense(2)),
        "operations": lambda: chain((5,), L.Dense(4), lambda x: keras.ops.relu(x) * 2, L.Dense(2)),
        "types": lambda: chain((5,), L.Dense(4, dtype="mixed_float16"), L.Dense(3, dtype="float16")),
        "activation": lambda: chain((5,), L.Dense(4, activation=L.PReLU()), L.Dense(2)),
    }


def made(name: str) -> Any:
    import keras

    keras.utils.clear_session()
    assert set(models()) == set(NAMES)
    return models()[name]()


@pytest.mark.parametrize("name", NAMES)
def test_the_arrays_are_as_expected(name: str, tmp_path: Path) -> None:
    """LH-010, LH-011, WT-014, WT-020."""
    check(made(name), tmp_path)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"four bits", "eight bits", "activation"}))
def test_the_arrays_of_a_loaded_model_are_found(name: str, tmp_path: Path) -> None:
    """Under other names, with the same values: Keras builds what it loads in another way."""
    import keras

    first = check(made(name), tmp_path)
    keras.utils.clear_session()
    try:
        second = Saved(keras.models.load_model(tmp_path / "model.h5"), tmp_path / "again.h5")
    except (TypeError, ValueError) as error:  # real Keras cannot load every file that it writes
        pytest.skip(f"{type(error).__name__}: {str(error)[:80]}")
    found = second.found()
    assert set(found) == set(second.arrays)
    whole = {spec.variable_path: first.arrays[spec.path] for spec in first.tree}
    for path, spec in found.items():
        assert second.arrays[path].tobytes() == whole[spec.variable_path].tobytes(), path


def test_a_chain_in_a_chain_that_was_built_with_it_has_longer_names(tmp_path: Path) -> None:
    import keras
    from keras import layers as L

    keras.utils.clear_session()
    part = keras.Sequential([L.Dense(4, name="a"), L.BatchNormalization(name="b")], name="part")
    saved = Saved(keras.Sequential([keras.Input((3,)), part, L.Dense(2, name="last")], name="m"), tmp_path / "model.h5")
    assert [path.removeprefix(f"{BASE}/") for path in saved.arrays][:2] == ["part/m/part/a/kernel", "part/m/part/a/bias"]
    assert [spec.path.removeprefix(f"{BASE}/") for spec in saved.tree][:2] == ["part/part/a/kernel", "part/part/a/bias"]
    assert [spec.variable_path for spec in saved.found().values()] == [spec.variable_path for spec in saved.tree]


def test_low_ranks_are_opaque(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="low"), keras.layers.Dense(2)])
    model.layers[0].enable_lora(2)
    saved = Saved(model, tmp_path / "model.h5")
    assert saved.opaque == {f"{BASE}/low"}
    assert {path for path in saved.found() if "/low/" not in path} == {path for path in saved.arrays if "/low/" not in path}


@examples(ci=60, deep=2000)
@given(description=descriptions(optimizers=st.none()))
def test_the_arrays_of_random_models_are_as_expected(
    description: Description, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Layers that refser does not know are opaque; of all others each array is found."""
    from makers import build

    model = build(description, bits=False)
    if type(model).__name__ == "Tower":
        event("a subclassed model")
        return
    try:
        saved = Saved(model, tmp_path_factory.mktemp("legacy") / "model.h5")
    except (TypeError, ValueError) as error:  # two arrays of one name, or bfloat16
        event(f"Keras cannot save: {str(error)[:40]}")
        return
    found = saved.found()
    known = {path: array for path, array in saved.arrays.items() if not any(path.startswith(f"{it}/") for it in saved.opaque)}
    assert set(known) <= set(found)
    for path, array in known.items():
        assert found[path].shape == array.shape
        assert found[path].name == path.rpartition("/")[2]
    in_order = [spec.variable_path for spec in saved.tree if not any(spec.path.startswith(f"{it}/") for it in saved.opaque)]
    assert [found[path].variable_path for path in known] == in_order
    event("as they are" if [spec.path for spec in saved.tree] == list(saved.arrays) else "under other names")
