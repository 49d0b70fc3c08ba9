"""Files that Keras 3.15.1 cannot load, whoever wrote them (facts of the format, one case each): the copy fails alike."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from h5tree import weights_tree

import refser

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]


def make_lambda() -> Any:
    import keras

    keras.config.enable_unsafe_deserialization()
    return keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x, k=2.0: x * k)])


def make_float8() -> Any:
    import keras

    @keras.saving.register_keras_serializable("refser_tests", "Narrow")
    class Narrow(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1],), dtype="float8_e4m3fn", initializer="ones", trainable=False)

        def call(self, x: Any) -> Any:
            return x * keras.ops.cast(self.kernel, x.dtype)

    return keras.Sequential([keras.Input((2,)), Narrow()])


def make_mse() -> Any:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], Any]
    file: str
    error: str  # what Keras says of its own file
    uncompiled: bool = False  # loads with compile=False


CASES = (
    Case("lambda-defaults", make_lambda, "m.keras", "must be None or tuple"),
    Case("float8-weights", make_float8, "m.keras", "No cast function available"),
    Case("mse-legacy", make_mse, "m.h5", "Could not deserialize 'keras.metrics.mse'", uncompiled=True),
)


def failure(path: Path) -> str:
    import keras

    try:
        keras.saving.load_model(path)
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace(str(path), "")
    return ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_copy_of_what_keras_cannot_load_fails_alike(case: Case) -> None:
    """WH-010, LH-001."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        own, copy = Path(folder, "own", case.file), Path(folder, "copy", case.file)
        own.parent.mkdir(), copy.parent.mkdir()
        case.make().save(own)
        refser.save(refser.load(own), copy)
        assert weights_tree(copy) == weights_tree(own)
        theirs, ours = (re.sub(r"\d{9,}", "", failure(path)) for path in (own, copy))  # without Python's `id`s
        assert case.error in theirs
        assert ours == theirs
        if case.uncompiled:
            models = [keras.saving.load_model(path, compile=False) for path in (own, copy)]
            assert len({weight.tobytes() for model in models for weight in model.get_weights()}) == len(models[0].get_weights())
