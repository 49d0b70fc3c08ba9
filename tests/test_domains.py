"""Values of arguments: what is reported, where, and that nothing else is.  What real Keras says is in tests/keras."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_golden import GOLDEN, READ

import refser
from refser.checks.domains import _tables, check_domains
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.config.nodes import walk
from refser.errors import InvalidError


def made(module: str, class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": f"keras.{module}", "class_name": class_name, "config": config, "registered_name": None}


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return made("layers", class_name, **config)


def found_in(value: dict[str, Any], version: tuple[int, ...] = (3, 15, 1)) -> list[Finding]:
    refused: list[InvalidError] = []
    subject: Any = SimpleNamespace(version=version, nodes=list(walk(value, refuse=refused.append)))
    return list(check_domains(subject))


def codes_at(value: dict[str, Any], version: tuple[int, ...] = (3, 15, 1)) -> list[tuple[str, str]]:
    return [(it.code, it.at) for it in found_in(value, version)]


ADAM = made("optimizers", "Adam")
DENSE = layer("Dense", units=3)
WRONG: tuple[tuple[str, str, dict[str, Any]], ...] = (
    # Of another type
    ("AR-010", "units", layer("Dense", units="ten")),
    ("AR-010", "units", layer("Dense", units=None)),
    ("AR-010", "units", layer("Dense", units=3.0)),
    ("AR-010", "rate", layer("Dropout", rate="half")),
    ("AR-010", "trainable", layer("Dense", units=3, trainable=1)),
    ("AR-010", "kernel_size", layer("Conv2D", filters=3, kernel_size="33")),
    ("AR-010", "learning_rate", made("optimizers", "SGD", learning_rate=1)),
    ("AR-010", "beta_1", made("optimizers", "Adam", beta_1="much")),
    ("AR-010", "stddev", made("initializers", "RandomNormal", stddev="wide")),
    ("AR-010", "num_classes", made("metrics", "MeanIoU", num_classes=2.0)),
    # Out of the domain
    ("AR-011", "units", layer("Dense", units=-1)),
    ("AR-011", "units", layer("LSTM", units=0)),
    ("AR-011", "rate", layer("Dropout", rate=2.0)),
    ("AR-011", "padding", layer("Conv2D", filters=3, kernel_size=3, padding="sam")),
    ("AR-011", "padding", layer("MaxPooling2D", padding="SAME")),
    ("AR-011", "data_format", layer("GlobalMaxPooling2D", data_format="channels_middle")),
    ("AR-011", "kernel_size", layer("Conv2D", filters=3, kernel_size=[3])),
    ("AR-011", "kernel_size", layer("Conv2D", filters=3, kernel_size=[3, 0])),
    ("AR-011", "strides", layer("AveragePooling1D", pool_size=2, strides=0)),
    ("AR-011", "groups", layer("GroupNormalization", groups=-2)),
    ("AR-011", "dims", layer("Permute", dims=[1, 3])),
    ("AR-011", "merge_mode", layer("Bidirectional", layer=layer("LSTM", units=3), merge_mode="best")),
    ("AR-011", "name", layer("Dense", units=3, name="a/b")),
    ("AR-011", "momentum", made("optimizers", "SGD", momentum=1.5)),
    ("AR-011", "decay_steps", made("optimizers.schedules", "CosineDecay", initial_learning_rate=0.1, decay_steps=0)),
    ("AR-011", "reduction", made("losses", "Huber", reduction="best")),
    ("AR-011", "l2", made("regularizers", "L2", l2=-0.1)),
    ("AR-011", "distribution", made("initializers", "VarianceScaling", distribution="flat")),
    ("AR-011", "curve", made("metrics", "AUC", curve="round")),
    # Dtypes and policies
    ("AR-012", "dtype", layer("Dense", units=3, dtype="float31")),
    ("AR-012", "dtype", layer("Dense", units=3, dtype="half")),
    ("AR-012", "dtype", layer("InputLayer", batch_shape=[None], dtype="float31")),
    ("AR-012", "dtype", layer("CategoryEncoding", num_tokens=3, dtype="float31")),
    ("AR-012", "dtype", made("losses", "Huber", dtype="float31")),
    ("AR-012", "name", made("dtype_policies", "DTypePolicy", name="float31")),
    ("AR-013", "dtype", layer("Dense", units=3, dtype="int8")),
    ("AR-013", "dtype", layer("Dense", units=3, dtype="int9_from_float32")),
    ("AR-013", "dtype", layer("Dense", units=3, dtype=5)),
    ("AR-013", "mode", made("dtype_policies", "QuantizedDTypePolicy", mode="int9", source_name="float32")),
    ("AR-013", "name", made("dtype_policies", "DTypePolicy", name=32)),
    ("AR-013", "policy_map", made("dtype_policies", "DTypePolicyMap", policy_map=[])),
    ("AR-013", "default_policy", made("dtype_policies", "DTypePolicyMap", default_policy={"a": 1})),
    # Shapes
    ("AR-014", "batch_shape", layer("InputLayer", batch_shape=[None, -3])),
    ("AR-014", "batch_shape", layer("InputLayer", batch_shape="abc")),
    ("AR-014", "batch_shape", layer("InputLayer", batch_shape=[None, 2.0])),
    ("AR-014", "noise_shape", layer("Dropout", rate=0.5, noise_shape=[0])),
    ("AR-014", "target_shape", layer("Reshape", target_shape=[-1, -1])),
    ("AR-014", "output_shape", layer("EinsumDense", equation="ab,bc->ac", output_shape=[-3])),
    # Objects
    ("AR-015", "units", layer("Dense", units=ADAM)),
    ("AR-015", "activation", layer("Dense", units=3, activation=5)),
    ("AR-015", "activation", layer("Dense", units=3, activation=ADAM)),
    ("AR-015", "activation", layer("Dense", units=3, activation={"a": 1})),
    ("AR-015", "kernel_initializer", layer("Dense", units=3, kernel_initializer=ADAM)),
    ("AR-015", "kernel_initializer", layer("Dense", units=3, kernel_initializer=[1])),
    ("AR-015", "dtype", layer("Dense", units=3, dtype=ADAM)),
    ("AR-015", "layer", layer("TimeDistributed", layer="Dense")),
    ("AR-015", "layer", layer("Bidirectional", layer=DENSE)),
    ("AR-015", "cell", layer("RNN", cell=DENSE)),
    ("AR-015", "cell", layer("RNN", cell=[layer("LSTMCell", units=2), DENSE])),
    ("AR-015", "inner_optimizer", made("optimizers", "LossScaleOptimizer", inner_optimizer="adam")),
    ("AR-015", "batch_shape", layer("InputLayer", batch_shape=ADAM)),
    # Together
    ("AR-016", "strides", layer("Conv2D", filters=3, kernel_size=3, strides=2, dilation_rate=[1, 2])),
    ("AR-016", "groups", layer("Conv1D", filters=4, kernel_size=3, groups=3)),
    ("AR-016", "output_padding", layer("Conv2DTranspose", filters=3, kernel_size=3, strides=[2, 1], output_padding=[1, 1])),
    ("AR-016", "num_query_heads", layer("GroupQueryAttention", head_dim=2, num_query_heads=3, num_key_value_heads=2)),
    ("AR-016", "variance", layer("Normalization", mean=[1.0])),
    ("AR-016", "num_bins", layer("Discretization", num_bins=None)),
    ("AR-016", "clipvalue", made("optimizers", "SGD", clipnorm=1.0, clipvalue=1.0)),
    ("AR-016", "ema_momentum", made("optimizers", "Adam", use_ema=True, ema_momentum=2.0)),
    ("AR-016", "values", made("optimizers.schedules", "PiecewiseConstantDecay", boundaries=[1, 2], values=[0.1, 0.2])),
)


@pytest.mark.parametrize(("code", "argument", "value"), WRONG)
def test_ar010_to_ar016_a_wrong_value_is_reported_at_its_argument(code: str, argument: str, value: dict[str, Any]) -> None:
    found = found_in({"class_name": "Sequential", "module": "keras", "config": {"layers": [{}, value]}})
    assert [(it.code, it.at, it.verdict) for it in found] == [(code, f"config.layers[1].config.{argument}", "invalid")]
    assert "wanted" in found[0].message or code in ("AR-012", "AR-016")


RIGHT: tuple[dict[str, Any], ...] = (
    layer("Dense", units=True, use_bias="yes", activation="mine", kernel_initializer=None, name=None, dtype=None),
    layer("Dense", units=1 << 70, dtype="int8_from_mixed_bfloat16", activation={"class_name": "Mine", "config": {}}),
    layer("Conv1D", filters=3, kernel_size=[3], padding="CAUSAL", data_format="Channels_Last", strides=[2.5]),
    layer("Conv2D", filters=3, kernel_size=3, lora_rank="", padding=[[0, 0], [1, 1]]),
    layer("MaxPool2D", pool_size=2, strides=None),
    layer("ReLU", max_value=None, negative_slope=True),
    layer("BatchNormalization", axis="-1", momentum="0.9"),
    layer("RNN", cell=[{"module": "mine", "class_name": "Cell", "config": {}, "registered_name": "mine>Cell"}]),
    layer("InputLayer", batch_shape=[None, 0], dtype="string"),
    layer("SomethingNew", units=-1),
    {"module": "mine", "class_name": "Dense", "config": {"units": -1}, "registered_name": "mine>Dense"},
    {"module": "keras.src.layers.core.dense", "class_name": "Dense", "config": {"units": -1}, "registered_name": None},
    made("optimizers", "Adam", learning_rate=made("optimizers.schedules", "CosineDecay", decay_steps=3), clipnorm=[]),
    made("initializers", "RandomNormal", seed=made("random", "SeedGenerator", seed=3)),
    made("losses", "Huber", dtype=""),
    made("metrics", "Recall", thresholds=[0, 0.5, 1]),
    made("dtype_policies", "DTypePolicy", name="int8"),
)


@pytest.mark.parametrize("value", RIGHT)
def test_ar010_what_keras_takes_is_not_reported(value: dict[str, Any]) -> None:
    assert found_in(value) == []


def test_ar014_only_the_first_layer_of_a_sequential_is_asked_for_its_input_shape() -> None:
    wrong = layer("Dense", units=3, input_shape="abc")
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [wrong, wrong]}}
    assert codes_at(model) == [("AR-014", "config.layers[0].config.input_shape")]


@pytest.mark.parametrize("version", [(1, 2, 2), (2, 3, 1), (2, 15, 0)])
def test_ar017_of_old_files_only_what_never_changed_is_judged(version: tuple[int, ...]) -> None:
    old = {"class_name": "Conv2D", "config": {"filters": "8", "kernel_size": [3.0, 3], "padding": "full", "strides": 0}}
    assert codes_at(old, version) == []
    assert codes_at({"class_name": "Conv2D", "config": {"nb_filter": -8, "border_mode": "sam"}}, version) == []
    assert codes_at({"class_name": "Dense", "config": {"units": -1}}, version) == [("AR-011", "config.units")]
    assert codes_at({"class_name": "Dense", "config": {"units": "ten"}}, version) == [("AR-010", "config.units")]
    wrong = {"module": "keras.layers", "class_name": "MaxPooling2D", "config": {"pool_size": [2, 0], "data_format": "nchw"}}
    assert codes_at(wrong, version) == [("AR-011", "config.pool_size"), ("AR-011", "config.data_format")]


@pytest.mark.parametrize("name", READ)
def test_ar010_to_ar017_nothing_is_found_in_the_files_that_keras_saved(name: str) -> None:
    with refser.open(Path(GOLDEN) / name) as file:
        assert list(check_domains(Subject(file, Options()))) == []


def test_ar010_a_long_value_is_shown_in_part() -> None:
    for value in ("x" * 10_000, [1] * 10_000, {"class_name": "y" * 10_000, "config": {}}, int("9" * 4000)):
        for wrong in (layer("Dense", units=value, dtype=value, activation=value), layer("Conv1D", filters=value, groups=value)):
            assert all(len(it.message) < 400 for it in found_in(wrong))


# Whatever stands in a config

ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["same", "float16"])
)
KEYS = st.sampled_from(
    ["class_name", "config", "module", "registered_name", "name", "mode", "source_name", "dtype", "units", "x"]
)
NAMES = st.sampled_from(["Dense", "DTypePolicy", "DTypePolicyMap", "QuantizedDTypePolicy", "keras", "keras.layers", "function"])
JSON = st.recursive(
    st.one_of(ATOMS, NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_ar010_to_ar017_whatever_the_values_are_there_are_only_findings(data: st.DataObject) -> None:
    family, class_name = data.draw(st.sampled_from(sorted(_tables()[1])), label="class")
    kinds = _tables()[1][family, class_name].kinds
    names = st.sampled_from([*sorted(kinds), "dtype", "strides", "filters", "groups"])
    config = data.draw(st.dictionaries(names, JSON, max_size=6), label="config")
    value = made(family, class_name, **copy.deepcopy(config))
    found = found_in(value)
    event("found" if found else "nothing")
    assert all(it.at.startswith("config") and it.code.startswith("AR-") for it in found)
    assert isinstance(found_in(value, (2, 15, 0)), list)
