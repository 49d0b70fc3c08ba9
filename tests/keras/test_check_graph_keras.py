"""Broken graphs: what real Keras refuses is an error, what it loads is none, and its own models have no finding at all."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graph_cases import CASES, Config, bases
from graph_findings import found_in

import refser

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

# Keras makes something else of these than they say: a call counted from the end, one object in the place of another.
LOADED_WRONG = {
    "a negative call": "CF-016",
    "one_shared_id_of_layers_of_one_shape": "CF-056",
}


@cache
def _bases() -> dict[str, Config]:
    return bases()


def load(config: Config) -> Any:
    import keras
    from keras.src.saving.serialization_lib import ObjectSharingScope

    with ObjectSharingScope():  # as the loading of a file has it
        return keras.saving.deserialize_keras_object(copy.deepcopy(config))


@pytest.mark.parametrize("base", ["shared", "nested", "chain", "in_chain", "steps", "images", "operations", "compiled"])
def test_cf050_models_of_keras_have_no_finding(base: str, tmp_path: Path) -> None:
    load(_bases()[base])
    assert found_in(_bases()[base], tmp_path) == []


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 60


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CASES))
def test_cf050_what_keras_refuses_is_an_error(name: str, tmp_path: Path) -> None:
    base, mutate = CASES[name]
    config = copy.deepcopy(_bases()[base])
    mutate(config)
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    report = refser.validate(tmp_path / "config.json")  # names of layers are another check's
    errors = {it.code for it in report.problems if it.severity == "error"}
    try:
        load(config)
    except Exception:  # of any class: a config is not looked at before it is used
        assert errors, "Keras refuses this, and nothing was found"
    else:
        assert errors == ({LOADED_WRONG[name]} if name in LOADED_WRONG else set())


def test_cf056_one_layer_takes_the_place_of_another() -> None:
    base, mutate = CASES["one_shared_id_of_layers_of_one_shape"]
    config = copy.deepcopy(_bases()[base])
    mutate(config)
    *_, one, other = load(config).layers
    assert one is other
    assert [layer["config"]["activation"] for layer in config["config"]["layers"][-2:]] == ["linear", "relu"]
