"""What `check_constructors` says of keys and names, and what real Keras says.  NumPy backend: breadth."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import domain_cases
import pytest
from builders import DEEP
from domain_cases import Sample

from refser.checks import symbols
from refser.checks.constructors import check_constructors
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.config.nodes import walk
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]

NEWEST = symbols.newest()
KEYS = ("no_such_key", "units", "axis", "seed", "input_axes", "renorm", "use_gate", "fn", "dtype", "name", "batch_input_shape")
# Takes and drops a key in `from_config` only where another stands beside it, or is made by Keras itself.
ODD: set[tuple[str, str]] = set()


def found_in(value: dict[str, Any]) -> list[Finding]:
    subject: Any = SimpleNamespace(
        version=(3, 15, 1),
        nodes=list(walk(value, "config")),
        training=None,
        file=SimpleNamespace(generation="v3"),
    )
    return list(check_constructors(subject))


def samples() -> Iterator[Sample]:
    yield from domain_cases.layers()
    yield from domain_cases.others()


def refusal(value: dict[str, Any]) -> str | None:
    """Why Keras does not make it, if that is for a key that it does not know, or misses."""
    try:
        domain_cases.load(value)
    except Exception as error:
        return str(error)
    return None


def test_ar002_nothing_that_keras_wrote_is_reported() -> None:
    count = 0
    for sample in samples():
        assert found_in(sample.json) == [], sample.json
        count += 1
    assert count > 900


def test_ar002_a_key_is_reported_if_and_only_if_keras_refuses_it() -> None:
    wrong, refused, seen = [], 0, set()
    for sample in samples():
        if sample.class_name in seen:
            continue
        seen.add(sample.class_name)
        for key in KEYS:
            if key in sample.json["config"]:
                continue
            changed = copy.deepcopy(sample.json)
            changed["config"][key] = {"units": 3, "name": "some", "dtype": "float32"}.get(key)
            text = refusal(changed)
            is_refused = text is not None and (
                key in text.rpartition("Exception encountered")[2] or "takes no arguments" in text
            )
            is_found = any(it.code == "AR-002" and it.at.endswith(f".{key}") for it in found_in(changed))
            refused += is_refused
            if is_found != is_refused and (sample.class_name, key) not in ODD:
                wrong.append((sample.class_name, key, is_found, text and text[-300:]))
    assert wrong == []
    assert refused > 1000


def test_ar003_a_missing_key_is_reported_if_and_only_if_keras_misses_it() -> None:
    wrong, missed, seen = [], 0, set()
    for sample in samples():
        if sample.class_name in seen:
            continue
        seen.add(sample.class_name)
        for key in sample.json["config"]:
            changed = copy.deepcopy(sample.json)
            del changed["config"][key]
            text = refusal(changed) or ""
            is_missed = (
                "missing" in text and "required" in text and f"'{key}'" in text.rpartition("missing")[2]
            ) or text == f"'{key}'"
            is_found = any(it.code == "AR-003" and f"{key!r}" in it.message for it in found_in(changed))
            missed += is_missed
            if is_found != is_missed:
                wrong.append((sample.class_name, key, is_found, text[-300:]))
    assert wrong == []
    assert missed > 50


@pytest.mark.parametrize(
    "family", ["activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers"]
)
def test_ar004_the_names_are_those_that_keras_takes(family: str) -> None:
    import keras

    get = getattr(keras, family).get
    known = symbols.names_in(family, NEWEST)
    tried = {*known, *symbols.names(family), *symbols.class_names(family), "relux", "msee", "adan", "", "Relu"}
    for string in sorted(tried):
        try:
            taken = callable(get(string)) or family == "optimizers"
        except Exception:
            taken = False
        wanted = string in known or (family == "optimizers" and string.lower() in known)
        assert taken == wanted, string


def test_ar001_the_classes_of_a_module_are_those_that_keras_finds() -> None:
    import keras

    for module in (
        "layers",
        "initializers",
        "losses",
        "metrics",
        "optimizers",
        "regularizers",
        "constraints",
        "optimizers.schedules",
    ):
        holder = keras.optimizers.schedules if module == "optimizers.schedules" else getattr(keras, module)
        for name in dir(holder):
            value = getattr(holder, name)
            if isinstance(value, type) and hasattr(value, "from_config") and name == value.__name__ != "InputSpec":
                symbol = symbols.find(f"keras.{module}", name)
                assert symbol is not None, name
                assert (symbol.is_in(NEWEST), symbol.kind) == (True, "class"), name


APPLICATIONS = ("MobileNetV2", "EfficientNetB0", "ResNet50V2", "ConvNeXtTiny", "MobileNetV3Small")


@pytest.mark.parametrize(
    "name", APPLICATIONS if not DEEP else (*APPLICATIONS, "DenseNet121", "NASNetMobile", "InceptionV3", "Xception")
)
@pytest.mark.parametrize("layout", ["json", "keras"])
def test_ar001_an_architecture_has_no_finding(name: str, layout: str, tmp_path: Path) -> None:
    import keras

    if layout == "keras" and name != "MobileNetV2":
        pytest.skip("one is enough")
    model = getattr(keras.applications, name)(weights=None)
    path = tmp_path / f"model.{layout}"
    if layout == "json":
        path.write_text(model.to_json(), "utf-8")
        assert json.loads(path.read_text("utf-8"))
    else:
        model.compile("adam", "mse", metrics=["accuracy", "mae"])
        model.save(path)
    with open_layout(str(path), limits=DEFAULT_LIMITS) as file:
        assert list(check_constructors(Subject(file, Options()))) == []
