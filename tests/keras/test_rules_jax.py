"""Rules of layers that only the JAX backend has, and that the rules hold on it.

The same classes with the NumPy backend: test_rules_simple.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from test_rules_simple import CASES, layer_of, model_of

from refser.rules.tree import expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]


@pytest.mark.parametrize("class_name", ["Conv1D", "PReLU", "Concatenate"])
def test_the_tree_is_what_keras_writes_with_jax(class_name: str) -> None:
    from trees import differences

    assert differences(model_of([(layer_of(class_name, case), case) for case in CASES[class_name]])) == []


def test_a_layer_of_jax_is_opaque() -> None:
    import keras
    import numpy as np
    from trees import config_of, differences

    @keras.saving.register_keras_serializable("tests")
    def call(params: Any, inputs: Any) -> Any:
        return inputs * params["a"]

    layer = keras.layers.JaxLayer(call, params={"a": np.ones(3)})
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(2)])
    assert [it.path for it in expected_weights(config_of(model)).opaque] == ["layers/jax_layer"]
    assert [it for it in differences(model) if "jax_layer" not in it] == []
