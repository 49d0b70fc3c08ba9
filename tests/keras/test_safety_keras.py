"""What real Keras does with the hostile configs, and that nothing it writes itself is taken for hostile.  JAX backend.

Nothing here runs what a config names: Keras refuses it, or finds something inert that stands in for it.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from hostile_configs import HOSTILE, codes, fn, lambda_layer, obj, placed

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

# What Keras 3.15.1 turns into an object with safe mode, and refser calls unsafe.
TAKEN = {
    "set-floatx",  # functions that are not on its list
    "applications",
    "deserialize",
    "lambda-output-shape",  # what it leaves as it is, and other versions do not
    "lambda-mask",
    "name-up",
    "name-backslash",
    "name-nul",
}
# Allocates before it refuses, or reads another framework's format.
LEFT_OUT = {construct for construct, (code, _) in HOSTILE.items() if code == "SF-013"}


@pytest.mark.parametrize("construct", sorted(set(HOSTILE) - LEFT_OUT))
def test_sf001_keras_refuses_or_takes_what_is_unsafe(construct: str) -> None:
    import keras

    node = HOSTILE[construct][1]
    is_function = isinstance(node, dict) and node.get("class_name") == "function"
    config = lambda_layer(node) if is_function else placed(construct, "layer")
    assert HOSTILE[construct][0] in codes(config, "unsafe")
    try:
        keras.saving.deserialize_keras_object(json.loads(json.dumps(config)), safe_mode=True)
        taken = True
    except Exception:  # Keras refuses with many kinds
        taken = False
    assert taken == (construct in TAKEN)


@pytest.mark.parametrize("module", ["keras.utils", "keras.config", "keras"])
def test_sf004_keras_calls_public_functions_with_the_arguments_of_the_file(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list of what it refuses does not name them all.  The function is one of ours, under a name of Keras."""
    import keras
    from keras.src import api_export

    seen: list[Any] = []

    def stand_in(inputs: Any, destination: str) -> Any:
        seen.append(destination)
        return inputs

    name = "stand_in" if module != "keras" else "utils.stand_in"
    monkeypatch.setitem(api_export.REGISTERED_NAMES_TO_OBJS, f"{module}.{name}", stand_in)
    layer = lambda_layer(fn(name, module, name))
    layer["config"]["arguments"] = {"destination": "anywhere"}
    model = obj("Sequential", "keras", name="m", layers=[obj("InputLayer", name="i", batch_shape=[None, 2]), layer])
    assert codes(model, "unsafe") == {"SF-004"}
    keras.saving.deserialize_keras_object(model, safe_mode=True)
    assert set(seen) == {"anywhere"}


def test_sf004_no_function_of_keras_outside_the_modelling_modules_is_let_through() -> None:
    """Each public name, called by a Lambda: what is let through is of a module of functions on tensors."""
    import keras  # noqa: F401
    from keras.src import api_export

    through = set()
    for path, symbol in api_export.REGISTERED_NAMES_TO_OBJS.items():
        module, _, name = path.rpartition(".")
        if inspect.isfunction(symbol) and not codes(lambda_layer(fn(name, module))):
            through.add(module.split(".")[1])
    modelling = {"activations", "ops", "losses", "metrics", "initializers", "regularizers", "constraints", "random", "layers"}
    assert through > {"activations", "ops", "losses"}
    assert through <= modelling | {"quantizers"}


def test_sf006_keras_refuses_a_registered_name_that_contradicts() -> None:
    import keras

    with pytest.raises(ValueError, match="registered_name"):
        keras.saving.deserialize_keras_object({**obj("Dense", units=1), "registered_name": "a>Other"})
    assert codes({**obj("Dense", units=1), "registered_name": "Dense"}) == set()


def _instances() -> dict[str, Any]:
    """One of each public class that is made without arguments or with the usual ones."""
    import keras

    usual = {
        **dict.fromkeys(("units", "filters", "kernel_size", "output_dim", "n", "num_heads", "key_dim", "output_shape"), 2),
        **dict.fromkeys(
            ("height", "width", "head_dim", "num_query_heads", "num_key_value_heads", "num_classes", "decay_steps"), 2
        ),
        **dict.fromkeys(("rate", "factor", "stddev", "scale", "value", "learning_rate", "initial_learning_rate"), 0.1),
        **dict.fromkeys(("decay_rate", "recall", "precision", "specificity", "sensitivity", "end_learning_rate"), 0.5),
        "input_dim": 3,
        "target_shape": (2, 1),
        "dims": (2, 1),
        "equation": "ab,bc->ac",
        "axes": 1,
        "num_bins": 3,
        "gain": 1.0,
        "boundaries": [1],
        "values": [0.1, 0.2],
        "dtype": "float32",
        "name": "x",
        "activation": "relu",
        "seed": 1,
        "target_class_ids": [0],
        "inner_optimizer": "sgd",
        "max_value": 2.0,
        "cells": [keras.layers.LSTMCell(2)],
        "layer": keras.layers.LSTM(2),
        "cell": keras.layers.LSTMCell(2),
        "function": keras.activations.relu,
        "fn": keras.losses.mean_squared_error,
    }
    found = {}
    spaces = (
        "layers",
        "optimizers",
        "losses",
        "metrics",
        "initializers",
        "regularizers",
        "constraints",
        "optimizers.schedules",
    )
    for space in (*spaces, "dtype_policies", "quantizers"):
        module = keras
        for part in space.split("."):
            module = getattr(module, part)
        for name, cls in vars(module).items():
            if not inspect.isclass(cls) or name in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
                continue
            try:
                wanted = inspect.signature(cls.__init__).parameters.values()
                arguments = {it.name: usual[it.name] for it in wanted if it.name in usual and it.default is it.empty}
                found[f"{space}.{name}"] = cls(**arguments)
            except Exception:  # abstract ones, and those that need TensorFlow
                continue
    return found


def test_sf001_no_class_of_keras_has_a_finding() -> None:
    import keras

    instances, wrong = _instances(), {}
    for name, instance in instances.items():
        try:
            config = json.loads(json.dumps(keras.saving.serialize_keras_object(instance)))
        except Exception:  # no get_config
            continue
        if hits := codes(config):
            wrong[name] = hits
    assert wrong == {}
    assert len(instances) > 250


def test_sf001_no_function_of_keras_that_models_are_saved_with_has_a_finding() -> None:
    import keras

    wrong = {}
    for space in (keras.activations, keras.losses, keras.metrics):
        for name, function in vars(space).items():
            if inspect.isfunction(function) and name not in ("get", "serialize", "deserialize"):
                layer = keras.layers.Activation(function)
                for config in (layer.get_config(), keras.saving.serialize_keras_object(function)):
                    if hits := codes(json.loads(json.dumps({"x": config}))):
                        wrong[name] = hits
    assert wrong == {}


def test_sf001_compiled_models_and_operations_have_no_finding() -> None:
    import keras
    from keras import ops

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, activation=keras.activations.swish, kernel_regularizer="l2", dtype="mixed_bfloat16")(inputs)
    x = ops.relu(ops.reshape(x[:, 1:, ..., :1] * 2 + ops.mean(x, axis=-1, keepdims=True)[:, 1:], (-1, 5 * 6)))
    outputs = keras.layers.Dense(1, kernel_constraint=keras.constraints.MaxNorm(2))(ops.concatenate([x, ops.exp(x)], axis=-1))
    model = keras.Model(inputs, outputs)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(
        optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(schedule)),
        loss=[keras.losses.huber],
        metrics=["mae", keras.metrics.AUC(), keras.metrics.mean_squared_error, "accuracy"],
        weighted_metrics=["mse"],
    )
    for config in (keras.saving.serialize_keras_object(model), json.loads(model.to_json())):
        assert codes(json.loads(json.dumps(config))) == set()
