"""Name lists of files of Keras 1 and 2 against the config.  Real Keras: tests/keras/test_check_legacy_keras.py."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import h5_bytes
from weights_checked import codes, found_in, zeros

AT = "m.h5:/model_weights"
Layers = dict[str, dict[str, Any]]


def layer(name: str, units: int, **config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": units, **config}}


LAYERS = [
    layer("a", 2, batch_input_shape=[None, 2]),
    {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.5}},
    layer("b", 2),
    layer("c", 3),
]
MODEL = {"class_name": "Sequential", "config": {"name": "m", "layers": LAYERS}}


def weights(name: str, *shape: int) -> dict[str, Any]:
    return {f"{name}/kernel:0": zeros(*shape), f"{name}/bias:0": zeros(shape[-1])}


def fitting() -> Layers:
    return {"a": weights("a", 2, 2), "drop": {}, "b": weights("b", 2, 2), "c": weights("c", 2, 3)}


def file_of(layers: Layers, model: Any = MODEL, names: list[str] | None = None) -> bytes:
    def fill(file: h5py.File) -> None:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(model), "2.15.0"
        base = file.create_group("model_weights")
        base.attrs["layer_names"] = [name.encode() for name in (names or layers)]
        for name, held in layers.items():
            group = base.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in held]
            for key, value in held.items():
                group[key] = value

    return h5_bytes(fill, vars_group=False)


def found(layers: Layers, **more: Any) -> list[Any]:
    return found_in(file_of(layers, **more), "m.h5")


def test_lh030_lists_that_fit() -> None:
    assert found(fitting()) == []
    assert found({name: held for name, held in fitting().items() if held}) == []  # nobody misses what has no weights


def test_lh030_missing_layers_are_one_finding() -> None:
    (it,) = found({"a": fitting()["a"]})
    assert (it.code, it.severity, it.at) == ("LH-030", "error", AT)
    assert it.message.startswith("layer_names has no 'b', 'c' with weights; the config calls for b/kernel (2, 2), b/bias (2,)")


def test_lh031_layers_too_many() -> None:
    (it,) = found({**fitting(), "d": weights("d", 2, 2)})
    assert (it.code, it.severity, it.at) == ("LH-031", "error", AT)
    (it,) = found({**fitting(), "top_level_model_weights": {"x": zeros(1)}})
    assert (it.code, it.severity, it.at) == ("LH-031", "error", f"{AT}/top_level_model_weights")


def test_lh030_lh031_other_layers_are_told_from_those_that_fit() -> None:
    layers = {
        "a": fitting()["a"],
        "x": weights("x", 2, 2),
        "y": weights("y", 2, 2),
        "z": weights("z", 1, 1),
        "c": fitting()["c"],
    }
    assert codes(found(layers)) == [("LH-030", "error"), ("LH-031", "error")]


def test_lh032_another_order() -> None:
    (it,) = found(fitting(), names=["b", "drop", "a", "c"])
    assert (it.code, it.severity, it.at) == ("LH-032", "error", AT)
    assert found(fitting(), names=["a", "b", "c", "drop"]) == []


def test_lh033_number_of_weights() -> None:
    (it,) = found({**fitting(), "b": {"b/kernel:0": zeros(2, 2)}})
    assert (it.code, it.severity, it.at) == ("LH-033", "error", f"{AT}/b")


def test_lh034_shapes() -> None:
    (it,) = found({**fitting(), "c": weights("c", 2, 4)})
    assert (it.code, it.severity, it.at) == ("LH-034", "error", f"{AT}/c/c/kernel:0")
    assert it.message == "the config calls for c/kernel (2, 3), c/bias (3,) and the file has (2, 4), (4,)"


def test_lh035_order_of_weights() -> None:
    (it,) = found({**fitting(), "b": dict(reversed(weights("b", 2, 2).items()))})
    assert (it.code, it.severity, it.at) == ("LH-035", "error", f"{AT}/b")


def test_lh035_names_that_say_nothing_are_taken_in_their_order() -> None:
    assert found({**fitting(), "b": {"x_1:0": zeros(2, 2), "x:0": zeros(2)}}) == []


def test_lh036_other_names_that_fit() -> None:
    layers = {"dense_1": weights("a", 2, 2), "dense_2": weights("b", 2, 2), "dense_3": weights("c", 2, 3)}
    (it,) = found(layers)
    assert (it.code, it.severity, it.at) == ("LH-036", "warning", AT)


def test_lh034_other_names_that_do_not_fit() -> None:
    (it,) = found({"a": weights("a", 2, 2), "x": weights("x", 2, 4), "c": weights("c", 2, 3)})
    assert (it.code, it.at) == ("LH-034", f"{AT}/x/x/kernel:0")
    assert it.message.endswith("in 'x', in the place of 'b'")


@pytest.mark.parametrize(("dtype", "severity"), [("f2", "warning"), ("f8", "warning"), ("i4", "error"), ("c8", "error")])
def test_wt043_dtypes_of_legacy_files(dtype: str, severity: str) -> None:
    layers = fitting()
    layers["b"]["b/kernel:0"] = zeros(2, 2, dtype=dtype)
    assert codes(found(layers)) == [("WT-043", severity)]


def test_lh030_a_layer_that_nobody_knows_stands_for_itself() -> None:
    mine = {"class_name": "Mine", "module": "my", "registered_name": "my>Mine", "config": {"name": "b"}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer("a", 2, batch_input_shape=[None, 2]), mine]}}
    for held in ({}, {"b/w:0": zeros(7)}):
        assert [it for it in found({"a": weights("a", 2, 2), "b": held}, model=model) if it.severity != "info"] == []
    assert codes(found({"b": {}}, model=model))[-1] == ("LH-030", "error")


def test_lh030_what_cannot_be_read_is_said_once() -> None:
    layers = fitting()
    layers["b"]["b/kernel:0"] = np.zeros((2, 2), "f4,i4")
    assert [code for code, _ in codes(found(layers))] == ["VA-008"]
    assert [code for code, _ in codes(found(fitting(), names=["a", "drop", "b", "c", "d"]))] == ["LH-013"]
