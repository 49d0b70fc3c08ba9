"""What a live Keras model holds, asked of Keras alone: the values by inner path, and predictions.  Imports Keras late."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from builders import TOKENS, WORDS, Description, Facts


@dataclass(frozen=True)
class Value:
    """An array, compared by its bits."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)


def value_of(array: Any) -> Value:
    import keras

    plain = keras.ops.convert_to_numpy(array) if not isinstance(array, np.generic) else array
    return Value(keras.backend.standardize_dtype(plain.dtype), plain.shape, plain.tobytes())


@dataclass
class Recording:
    """What Keras's own walk over a model stores: values by path, each group's `name`, and the objects that were given."""

    values: dict[str, Value] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)


def record(model: Any) -> Recording:
    """Run the walk that `model.save` runs, into memory."""
    from keras.src.saving import saving_lib

    recording = Recording()

    class Recorder(saving_lib.H5IOStore):  # type: ignore[misc]
        def __init__(self) -> None:
            self.here = ""

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: dict[str, str] | None = None) -> Recorder:
            self.here = f"{path}/vars" if path else "vars"
            if metadata:
                recording.groups[self.here] = metadata["name"]
            return self

        def __setitem__(self, key: str, value: Any) -> None:
            recording.groups.setdefault(self.here, None)
            assert f"{self.here}/{key}" not in recording.values
            recording.values[f"{self.here}/{key}"] = value_of(value)
            recording.given.add(id(value))

    saving_lib._save_state(model, Recorder(), None, "", set())
    return recording


def variables_of(model: Any) -> list[Any]:
    """The variables that a file must have: weights and, once there is an optimizer, its state."""
    optimizer = getattr(model, "optimizer", None)
    return list(model.weights) + (list(optimizer.variables) if optimizer is not None else [])


def legacy_values(model: Any, *, whole: bool) -> dict[str, Value]:
    """What a legacy file holds, by path and in its order: layer by layer, trainable first, each by `Variable.path`."""
    base = "model_weights/" if whole else ""
    groups = [(f"{base}{layer.name}", layer.trainable_weights + layer.non_trainable_weights) for layer in model.layers]
    own = [v for v in model._trainable_variables + model._non_trainable_variables if any(v is w for w in model.weights)]
    groups.append((f"{base}top_level_model_weights", own))
    optimizer = getattr(model, "optimizer", None)
    if whole and optimizer is not None:
        groups.append(("optimizer_weights", optimizer.variables))
    return {f"{group}/{variable.path}": value_of(variable) for group, variables in groups for variable in variables}


def facts_of(model: Any) -> Facts:
    import keras

    parts = [part for part in model._flatten_layers() if isinstance(part, keras.src.models.functional.Functional)]
    operations = [operation for part in parts for operation in part.operations]
    optimizer = getattr(model, "optimizer", None)

    def repeat(variables: Any) -> bool:
        return len({variable.path for variable in variables}) < len(variables)

    return Facts(
        dtypes=frozenset(value.dtype for value in record(model).values.values()),
        has_operator=any(not isinstance(operation, keras.layers.Layer) for operation in operations),
        layer_paths_repeat=any(repeat(layer.weights) for layer in model.layers),
        optimizer_paths_repeat=optimizer is not None and repeat(optimizer.variables),
    )


def inputs_of(description: Description) -> Any:
    """Inputs for the model, drawn by the description's seed: an array, or a list of them."""
    rng = np.random.default_rng(description.seed)
    inputs = [
        rng.integers(0, WORDS, (2, *shape[:1])).astype("int32")
        if shape == TOKENS
        else rng.normal(size=(2, *shape)).astype("float32")
        for shape in description.graph.inputs
    ]
    return inputs if len(inputs) > 1 else inputs[0]


def predictions(model: Any, description: Description) -> list[Value]:
    """What the model makes of `inputs_of`, at inference."""
    import keras

    outputs = model(inputs_of(description), training=False)
    return [value_of(output) for output in keras.tree.flatten(outputs)]


def from_config(text: str) -> Any:
    """A fresh model from a config of the current generation, compiled if the config says so."""
    import keras

    return keras.saving.deserialize_keras_object(json.loads(text))
