"""Models that refser makes from a config and values, loaded by real Keras.  JAX backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import Description, descriptions, examples
from hypothesis import event, given
from test_rules_summary import MODELS, check

import refser
from refser.rules.author import BuildError, build
from refser.rules.initial import draw
from refser.rules.summary import summarize
from refser.rules.tree import expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

RELOADED = [name for name in MODELS if not name.startswith(("quantized gptq", "quantized awq"))]  # Keras cannot read its own
FILLED = [name for name in MODELS if name != "unbuilt"]


def fill(model: Any, seed: int = 0) -> None:
    """Numbers in the range of each variable."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        dtype = np.dtype(variable.dtype) if variable.dtype != "bfloat16" else np.dtype("f4")
        numbers = rng.integers(0, 5, variable.shape) if dtype.kind in "iu" else rng.normal(size=variable.shape)
        if variable.name != "g_idx":
            variable.assign((np.abs(numbers) + 0.1).astype(dtype))


def saved(model: Any, folder: Path) -> refser.Model:
    model.save(folder / "real.keras")
    return refser.load(folder / "real.keras")


def by_name(specs: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """By `variable_path`, where it has one that is its own."""
    return {spec.variable_path or spec.path: arrays[spec.path] for spec in specs}


def inputs_of(model: Any, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = [2 if size is None else size for size in tensor.shape]
        found.append(rng.integers(0, 5, shape) if "int" in tensor.dtype else rng.normal(size=shape).astype("f4"))
    return found[0] if len(found) == 1 else found


def outputs_of(model: Any, inputs: Any) -> list[Any]:
    import keras

    return keras.tree.flatten(model.predict(inputs, verbose=0))


def check_loads(model: refser.Model, live: Any, folder: Path) -> None:
    """Keras loads what it loads from its own file: the values of `live`, and a model that computes the same."""
    import keras

    refser.save(model, folder / "built.keras")
    loaded, wanted = (keras.models.load_model(folder / name) for name in ("built.keras", "real.keras"))
    assert len(loaded.weights) == len(wanted.weights)
    for ours, theirs in zip(loaded.get_weights(), wanted.get_weights()):
        assert np.array_equal(ours, theirs)
    if not any("lora" in weight.name for weight in live.weights):  # which is saved with the kernel, as one
        for ours, theirs in zip(loaded.weights, live.weights):
            assert np.array_equal(np.asarray(ours.value, "f8"), np.asarray(theirs.value, "f8")), ours.path
    inputs = inputs_of(live)
    for ours, theirs in zip(outputs_of(loaded, inputs), outputs_of(wanted, inputs)):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", FILLED)
def test_the_model_is_the_one_that_keras_saves(name: str, tmp_path: Path) -> None:
    """WT-030: from its config and its values by name, part by part."""
    live = MODELS[name]()
    fill(live)
    real = saved(live, tmp_path)
    assert real.config_json is not None
    specs = list(expected_weights(real.config_json))
    model = build(real.config_json, by_name(specs, real.arrays), metadata=real.metadata)
    assert model.config_json == real.config_json
    assert model.metadata == real.metadata
    assert model.weights == real.weights
    assert {group.path: group.keys for group in model.groups} == {group.path: group.keys for group in real.groups}
    names = {group.path: group.name for group in real.groups}
    assert all(group.name in (None, names[group.path]) for group in model.groups)
    if name in RELOADED:
        check_loads(model, live, tmp_path)


def test_an_unbuilt_model_has_no_arrays(tmp_path: Path) -> None:
    real = saved(MODELS["unbuilt"](), tmp_path)
    model = build(real.config_json or "", metadata=real.metadata)
    assert model.weights == {}
    assert {group.path for group in model.groups} == {group.path for group in real.groups}


@pytest.mark.parametrize("name", ["branches", "attention", "states", "mixed"])
def test_values_come_by_the_paths_of_live_variables(name: str, tmp_path: Path) -> None:
    live = MODELS[name]()
    fill(live)
    real = saved(live, tmp_path)
    values = {variable.path: value for variable, value in zip(live.weights, live.get_weights())}
    assert build(real.config_json or "", values, metadata=real.metadata).weights == real.weights


@pytest.mark.parametrize("name", ["branches", "nested", "quantized int8", "mixed"])
def test_a_function_gives_the_values(name: str, tmp_path: Path) -> None:
    live = MODELS[name]()
    fill(live)
    real = saved(live, tmp_path)
    assert build(real.config_json or "", lambda spec: real.weights[spec.path], metadata=real.metadata).weights == real.weights


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad", "ftrl", "adamw", "rmsprop", "lion", "adamax", "adadelta"])
def test_the_state_of_an_optimizer_is_made_when_asked_for(optimizer: str, tmp_path: Path) -> None:
    import keras

    live = MODELS["branches"]()
    live.compile(optimizer, "mse")
    live.optimizer.build(live.trainable_variables)
    real = saved(live, tmp_path)
    values = {path: weight for path, weight in real.weights.items() if not path.startswith("optimizer")}
    assert build(real.config_json or "", values, metadata=real.metadata).weights == values
    started = build(real.config_json or "", metadata=real.metadata, optimizer=True)
    for path in real.weights.keys() - values.keys():
        assert started.weights[path] == real.weights[path], path
    given = build(real.config_json or "", dict(real.weights), metadata=real.metadata, optimizer=True)
    assert given.weights == real.weights
    refser.save(given, tmp_path / "built.keras")
    loaded = keras.models.load_model(tmp_path / "built.keras")
    assert len(loaded.optimizer.variables) == len(live.optimizer.variables)


# Initial values


@pytest.mark.parametrize("name", [name for name in FILLED if not name.startswith("lora ")])  # quantized once more on saving
def test_initial_values_are_those_of_keras_where_they_are_constant(name: str, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    live = MODELS[name]()
    real = saved(live, tmp_path)
    try:
        model = build(real.config_json or "", metadata=real.metadata)
    except BuildError as error:
        pytest.fail(str(error))
    assert model.weights.keys() == real.weights.keys()
    for path, weight in real.weights.items():
        ours, theirs = (np.asarray(it.array(), "f8") for it in (model.weights[path], weight))
        assert (model.weights[path].shape, model.weights[path].dtype) == (weight.shape, weight.dtype)
        if len(np.unique(theirs)) <= 2 and (theirs == np.round(theirs)).all():
            assert np.array_equal(ours, theirs), path
        else:
            assert len(np.unique(ours)) > 2 or ours.size < 3, path
    if name in RELOADED:
        refser.save(model, tmp_path / "built.keras")
        keras.models.load_model(tmp_path / "built.keras")


def initializers() -> dict[str, Any]:
    from keras import initializers

    names = ("GlorotUniform", "GlorotNormal", "LecunUniform", "LecunNormal", "HeUniform", "HeNormal", "Zeros", "Ones")
    found = {name: getattr(initializers, name)() for name in names}
    return found | {
        "RandomNormal": initializers.RandomNormal(mean=0.5, stddev=2.0),
        "RandomUniform": initializers.RandomUniform(-1, 3),
        "TruncatedNormal": initializers.TruncatedNormal(mean=-1, stddev=0.3),
        "Constant": initializers.Constant(0.25),
        "Constant of an array": initializers.Constant(np.arange(300.0)),
        "Identity": initializers.Identity(),  # its `gain` is not in the config
        "Orthogonal": initializers.Orthogonal(1.5),
        "VarianceScaling": initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
        "VarianceScaling by axes": initializers.VarianceScaling(2.0, "fan_avg", "uniform", input_axes=[0], output_axes=[1]),
    }


NAMES = (
    *("GlorotUniform", "GlorotNormal", "LecunUniform", "LecunNormal", "HeUniform", "HeNormal", "Zeros", "Ones", "RandomNormal"),
    *("RandomUniform", "TruncatedNormal", "Constant", "Constant of an array", "Identity", "Orthogonal", "VarianceScaling"),
    "VarianceScaling by axes",
)


@pytest.mark.parametrize("shape", [(200, 300), (3, 20, 1000), (60000,)])
@pytest.mark.parametrize("name", NAMES)
def test_a_draw_has_the_distribution_of_keras(name: str, shape: tuple[int, ...]) -> None:
    import keras

    initializer = initializers()[name]
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(initializer)))
    rng = np.random.default_rng(0)
    try:
        real = np.asarray(initializer(shape), "f8")
    except (IndexError, TypeError, ValueError):
        with pytest.raises(refser.InvalidError):
            draw(config, shape, rng, "")
        return
    ours = np.asarray(draw(config, shape, rng, ""), "f8")
    assert ours.shape == real.shape
    spread = real.std()
    assert np.isclose(ours.std(), spread, rtol=0.03)
    assert np.isclose(ours.mean(), real.mean(), atol=0.03 * max(spread, 1e-9))
    for share in (1, 10, 25, 50, 75, 90, 99):
        assert np.isclose(np.percentile(ours, share), np.percentile(real, share), atol=0.06 * max(spread, 1e-9))
    assert np.abs(ours - ours.mean()).max() <= 1.3 * np.abs(real - real.mean()).max()
    if name == "Orthogonal":
        flat = ours.reshape(-1, shape[-1])
        square = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
        assert np.allclose(square, 1.5**2 * np.eye(len(square)), atol=1e-5)
    if not name.startswith(("Constant", "Zeros", "Ones", "Identity")):
        assert not np.array_equal(draw(config, shape, np.random.default_rng(1), ""), ours)


def test_initializers_of_a_config_count(tmp_path: Path) -> None:
    import keras
    from keras import layers

    live = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.DepthwiseConv2D(2, depthwise_initializer=keras.initializers.Constant(2.0), bias_initializer="ones"),
            layers.SeparableConv2D(4, 2, depthwise_initializer="ones", pointwise_initializer="zeros"),
            layers.BatchNormalization(moving_variance_initializer=keras.initializers.Constant(4.0), renorm=True),
            layers.Reshape((16, 4)),
            layers.LSTM(3, return_sequences=True, kernel_initializer="ones", recurrent_initializer="zeros"),
            layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25)),
            layers.EinsumDense("abc,cd->abd", (None, 2), kernel_initializer="ones", bias_axes="d", bias_initializer="ones"),
        ]
    )
    query = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 2, kernel_initializer=keras.initializers.Constant(0.5), bias_initializer="ones")
    for model in (live, keras.Model(query, attention(query, query))):
        real = saved(model, tmp_path)
        assert build(real.config_json or "", metadata=real.metadata).weights == real.weights


@pytest.mark.parametrize("name", ["branches", "quantized int8"])
def test_zeros_are_zeros(name: str, tmp_path: Path) -> None:
    import keras

    real = saved(MODELS[name](), tmp_path)
    model = build(real.config_json or "", "zeros", metadata=real.metadata)
    assert not any(np.any(array) for array in model.arrays.values())
    refser.save(model, tmp_path / "built.keras")
    assert not any(np.any(value) for value in keras.models.load_model(tmp_path / "built.keras").get_weights())


# Configs written by hand, without a word of what the layers are built for


def layer(class_name: str, name: str, *inputs: Any, **config: Any) -> dict[str, Any]:
    value = {"module": "keras.layers", "class_name": class_name, "config": {"name": name, **config}, "registered_name": None}
    tensors = [{"class_name": "__keras_tensor__", "config": it} for it in inputs]
    args: list[Any] = tensors if len(tensors) < 2 else [tensors]
    return value | {"name": name, "inbound_nodes": [{"args": args, "kwargs": {}}] if tensors else []}


def tensor(name: str, *shape: int | None) -> dict[str, Any]:
    return {"shape": [None, *shape], "dtype": "float32", "keras_history": [name, 0, 0]}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    values = [{key: value for key, value in it.items() if key not in ("name", "inbound_nodes")} for it in layers]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": values}, "registered_name": None}


def functional(inputs: list[str], outputs: list[str], *layers: dict[str, Any]) -> dict[str, Any]:
    ends = {key: [[name, 0, 0] for name in names] for key, names in (("input_layers", inputs), ("output_layers", outputs))}
    config = {"name": "f", "trainable": True, "layers": list(layers), **ends}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


HAND: dict[str, Callable[[], dict[str, Any]]] = {
    "dense": lambda: sequential(
        layer("InputLayer", "in", batch_shape=[None, 4], dtype="float32"),
        layer("Dense", "hidden", units=3, activation="relu"),
        layer("Dropout", "drop", rate=0.1),
        layer("Dense", "out", units=2, use_bias=False),
    ),
    "image": lambda: sequential(
        layer("InputLayer", "in", batch_shape=[None, 8, 8, 3], dtype="float32"),
        layer("Conv2D", "conv", filters=4, kernel_size=[3, 3]),
        layer("BatchNormalization", "norm"),
        layer("MaxPooling2D", "pool", pool_size=[2, 2]),
        layer("Flatten", "flat"),
        layer("Dense", "out", units=2),
    ),
    "text": lambda: sequential(
        layer("InputLayer", "in", batch_shape=[None, 5], dtype="int32"),
        layer("Embedding", "table", input_dim=10, output_dim=4),
        layer("LSTM", "lstm", units=3, return_sequences=True),
        layer("GRU", "gru", units=3),
        layer("LayerNormalization", "norm"),
        layer("Dense", "out", units=2),
    ),
    "branches": lambda: functional(
        ["a", "b"],
        ["out"],
        layer("InputLayer", "a", batch_shape=[None, 4], dtype="float32"),
        layer("InputLayer", "b", batch_shape=[None, 6], dtype="float32"),
        layer("Dense", "left", tensor("a", 4), units=3),
        layer("Dense", "right", tensor("b", 6), units=5),
        layer("Concatenate", "both", tensor("left", 3), tensor("right", 5)),
        layer("Dense", "out", tensor("both", 8), units=1),
    ),
}


@pytest.mark.parametrize("values", [None, "zeros"])
@pytest.mark.parametrize("name", HAND)
def test_keras_loads_a_model_written_by_hand(name: str, values: str | None, tmp_path: Path) -> None:
    import keras

    config = HAND[name]()
    model = build(config, values)
    assert model.config_json == json.dumps(config)
    assert model.metadata == {"keras_version": "3.15.1"}
    refser.save(model, tmp_path / "hand.keras")
    loaded = keras.models.load_model(tmp_path / "hand.keras")
    arrays = {spec.variable_path: model.weights[spec.path].array() for spec in expected_weights(config)}
    found = {variable.path.removeprefix("s/"): np.asarray(variable.value) for variable in loaded.weights}
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[path], arrays[path]) for path in found)
    outputs_of(loaded, inputs_of(loaded))


def test_a_custom_layer_takes_its_arrays_by_inner_path(tmp_path: Path) -> None:
    """WT-031."""
    import keras
    from keras import layers

    @keras.saving.register_keras_serializable("tests_build")
    class Odd(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = layers.Dense(3)

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(3,))
            self.inner.build(shape)

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs) * self.scale

    live = keras.Sequential([keras.Input((4,)), Odd(name="odd"), layers.Dense(2, name="after")])
    fill(live)
    real = saved(live, tmp_path)
    text = real.config_json or ""
    values: dict[str, Any] = {
        "after/kernel": real.arrays["layers/dense/vars/0"],
        "after/bias": real.arrays["layers/dense/vars/1"],
    }
    with pytest.raises(BuildError) as caught:
        build(text, values)
    assert caught.value.problem.code == "WT-031"
    values |= {path: real.arrays[path] for path in real.weights if path.startswith("layers/odd/")}
    model = build(text, values, metadata=real.metadata)
    assert model.weights == real.weights
    assert [group.path for group in model.groups if "odd" in group.path] == ["layers/odd/vars", "layers/odd/inner/vars"]
    check_loads(model, live, tmp_path)


# Random models


@examples(ci=20, deep=300, shrink=False)
@given(description=descriptions())
def test_random_models_are_built_and_summed_up(description: Description) -> None:
    """WT-030, WT-031."""
    import tempfile

    from makers import build as live_model
    from trees import config_of

    live = live_model(replace(description, steps=0))  # JAX has no steps of an optimizer that scales the loss
    if description.optimizer and description.steps and live.trainable_variables:
        live.optimizer.build(live.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        real = saved(live, Path(folder))
    text, compiled = real.config_json or "", getattr(live, "optimizer", None)
    has_states = compiled is not None and compiled.built
    tree = expected_weights(text, optimizer=has_states)
    weights = {path: it for path, it in real.weights.items() if has_states or "optimizer" not in path.split("/")}
    empty = [group.path for group in real.groups if not group.keys and any(_is_in(group.path, it.path) for it in tree.opaque)]
    if {spec.path for spec in tree} <= weights.keys():  # else the optimizer is another: the config cannot tell which
        model = build(text, {**weights, **dict.fromkeys(empty)}, metadata=real.metadata, optimizer=has_states)
        if "float64" not in text:  # which JAX saves as float32
            assert model.weights == weights
        event("built")
    if tree.opaque:
        event("opaque")
        assert not summarize(config_of(live)).complete
    elif compiled is None or (has_states and "mixed_float16" not in text):  # whether the loss is scaled is not in the config
        check(live)
        event("summed up")


def _is_in(path: str, place: str) -> bool:
    return not place or path.startswith(f"{place}/")
