"""Names and arguments of Keras's own objects: what is reported, where, and that nothing else is."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_golden import GOLDEN, READ

from refser.checks.constructors import check_constructors
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.config.nodes import walk
from refser.errors import InvalidError
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS


def made(module: str, class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def dense(**options: Any) -> dict[str, Any]:
    return made("keras.layers", "Dense", **{"units": 3, **options})


def found_in(
    value: dict[str, Any], version: tuple[int, ...] = (3, 15, 1), generation: str = "v3", training: Any = None
) -> list[Finding]:
    refused: list[InvalidError] = []
    nodes = list(walk(value, "config", refuse=refused.append))
    subject: Any = SimpleNamespace(version=version, nodes=nodes, training=training, file=SimpleNamespace(generation=generation))
    return list(check_constructors(subject))


def codes_at(value: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    return [(it.code, it.at) for it in found_in(value, **options)]


@pytest.mark.parametrize("name", READ)
def test_ar006_golden_files_have_no_finding(name: str) -> None:
    with open_layout(str(GOLDEN / name), limits=DEFAULT_LIMITS) as file:
        assert list(check_constructors(Subject(file, Options()))) == []


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (made("keras.layers", "Dens", units=3), "did you mean 'Dense'?"),
        (made("keras.layers", "BatchNormalisation"), "did you mean 'BatchNormalization'?"),
        (made("keras.optimizers", "Adamm"), "did you mean 'Adam'?"),
        (made("keras.layers", "Qqqqqq"), ""),
        (made("keras.no_such_module", "Dense"), ""),
        (made("keras.src.layers.core.dense", "Dens"), ""),
        (
            {"module": "keras.activations", "class_name": "function", "config": "rellu", "registered_name": "rellu"},
            "did you mean 'relu'?",
        ),
    ],
)
def test_ar001_an_unknown_name_is_reported_with_the_nearest(value: dict[str, Any], hint: str) -> None:
    (finding,) = found_in(value)
    assert (finding.code, finding.at, finding.hint, finding.verdict) == ("AR-001", "config", hint, "invalid")


@pytest.mark.parametrize(
    "value",
    [
        made("mine.layers", "Dens"),
        made("kerastuner", "Dens"),
        {**made("keras.layers", "Dens"), "module": None, "registered_name": "mine>Dens"},
        {"class_name": "Dens", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "my_function", "registered_name": "function"},
    ],
)
def test_ar001_what_is_not_keras_own_is_not_judged(value: dict[str, Any]) -> None:
    assert found_in(value) == []


def test_ar002_a_key_is_reported_at_its_place_with_the_nearest() -> None:
    (finding,) = found_in(dense(actvation="relu"))
    assert (finding.code, finding.at, finding.hint) == ("AR-002", "config.config.actvation", "did you mean 'activation'?")


def test_ar002_all_keys_are_reported() -> None:
    value = dense(one=1, two=2, kernel_initializer=made("keras.initializers", "Ones", three=3))
    assert [it.at.rpartition(".")[2] for it in found_in(value)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "value",
    [
        dense(name="d", dtype="float32", trainable=True, input_shape=[3], quantization_config=None),
        made("keras.layers", "LSTM", units=3, implementation=2),
        made("keras.layers", "InputLayer", batch_shape=[None, 3], anything=1),
        made("keras", "Sequential", layers=[], anything=1),
        made("keras.optimizers", "Adam", learning_rate=0.1, decay=None),
        made("keras.losses", "MeanSquaredError", reduction="sum", name="mse", dtype=None),
    ],
)
def test_ar002_what_keras_takes_or_drops_is_not_reported(value: dict[str, Any]) -> None:
    assert found_in(value) == []


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (made("keras.layers", "Dense"), "units"),
        (made("keras.layers", "Dropout", name="d"), "rate"),
        (made("keras.layers", "Embedding", input_dim=3), "output_dim"),
        (made("keras.optimizers.schedules", "ExponentialDecay", initial_learning_rate=0.1, decay_steps=3), "decay_rate"),
    ],
)
def test_ar003_a_missing_key_is_reported(value: dict[str, Any], key: str) -> None:
    (finding,) = found_in(value)
    assert (finding.code, finding.at) == ("AR-003", "config.config")
    assert repr(key) in finding.message


@pytest.mark.parametrize(
    ("key", "string"),
    [
        ("activation", "relux"),
        ("activation", ""),
        ("activation", "Relu"),
        ("kernel_initializer", "glorot"),
        ("kernel_initializer", "Constantly"),
        ("bias_regularizer", "l3"),
        ("kernel_constraint", "maxnormal"),
        ("activity_regularizer", "relu"),
    ],
)
def test_ar004_a_string_that_names_nothing_is_an_error_in_keras_3_and_a_warning_before(key: str, string: str) -> None:
    assert codes_at(dense(**{key: string})) == [("AR-004", f"config.config.{key}")]
    value = {"class_name": "Dense", "config": {"units": 3, key: string}}
    (finding,) = found_in(value, version=(2, 15, 0), generation="legacy")
    assert (finding.code, finding.severity, finding.verdict) == ("AR-005", "warning", "valid")


def test_ar004_what_a_model_was_compiled_with_is_looked_up() -> None:
    value = made("keras", "Sequential", layers=[dense()])
    value["compile_config"] = {
        "optimizer": "SGDx",
        "loss": {"a": "mse", "b": "msee"},
        "metrics": [["accuracy", "acc"], ["maee"]],
        "weighted_metrics": {"a": ["mae", "nothing"]},
        "loss_weights": "nothing",
        "jit_compile": "auto",
    }
    at = ("optimizer", "loss.b", "metrics[1][0]", "weighted_metrics.a[1]")
    assert codes_at(value) == [("AR-004", f"config.compile_config.{place}") for place in at]


def test_ar005_what_a_legacy_model_was_compiled_with_is_looked_up() -> None:
    training = {
        "optimizer_config": {"class_name": "Custom>Adam", "config": {"learning_rate": 0.1}},
        "loss": "my_loss",
        "metrics": ["acc"],
    }
    value = {"class_name": "Dense", "config": {"units": 3}}
    assert codes_at(value, version=(2, 15, 0), generation="legacy", training=training) == [("AR-005", "training_config.loss")]


@pytest.mark.parametrize("version", [(1, 2, 2), (2, 2, 4), (2, 3, 1), (2, 11, 0)])
def test_ar006_what_is_older_than_the_table_is_not_judged(version: tuple[int, ...]) -> None:
    value = made(
        "keras", "Sequential", layers=[dense(init="zero", W_regularizer=None, activation="mine"), made("keras.layers", "Old")]
    )
    assert found_in(value, version=version, generation="legacy") == []


def test_ar006_a_file_of_tf_keras_is_judged_by_its_own_version() -> None:
    value = made(
        "keras.layers", "InputLayer", batch_input_shape=[None, 3], sparse=False, ragged=False, name="x", dtype="float32"
    )
    assert found_in(value, version=(2, 15, 0)) == []
    assert codes_at(dense(quantization_config=None), version=(2, 15, 0)) == [("AR-002", "config.config.quantization_config")]
    assert found_in(dense(quantization_config=None), version=(3, 0, 5)) == []  # the newest takes it


def test_ar001_hints_are_given_a_few_times() -> None:
    layers = [made("keras.layers", f"Dens{number}") for number in range(500)]
    found = found_in(made("keras", "Sequential", layers=layers))
    assert len(found) == 500
    assert 0 < sum(bool(it.hint) for it in found) <= 20


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["relu", "mse", "", "x"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["units", "activation", "loss", "config"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    key=st.sampled_from(["module", "class_name", "config", "registered_name", "compile_config", "build_config"]),
    inner=st.sampled_from(["units", "activation", "kernel_initializer", "loss", "dtype"]),
    value=JSON,
    other=JSON,
    version=st.sampled_from([(3, 15, 1), (2, 15, 0), (3,)]),
)
def test_ar006_any_json_is_judged(key: str, inner: str, value: Any, other: Any, version: tuple[int, ...]) -> None:
    config = copy.deepcopy(made("keras", "Sequential", layers=[dense(**{inner: other})]))
    config[key] = value
    training = other if isinstance(other, dict) else None
    assert all(it.code.startswith("AR-00") for it in found_in(config, version=version, training=training))
