"""The schemas of the JSON that models are made of, against every golden file, and against broken ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import FILES, GOLDEN, SCHEMAS
from config_helpers import CONFIGS, golden_text, layer, model, new_call
from jsonschema import Draft202012Validator

import refser
from refser import config
from refser.errors import RefserError

OURS = ("model-config", "metadata", "weights-index")
INDEXES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*.weights.json"))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name].schema)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_golden_config_is_valid(name: str) -> None:
    SCHEMAS["model-config"].validate(json.loads(golden_text(name)))


def metadata() -> Iterator[tuple[str, Any]]:
    for name, entry in sorted(FILES.items()):
        if entry["layout"] in ("keras-zip", "keras-dir"):
            with refser.open(GOLDEN / name) as file:
                yield name, dict(file.metadata)


def test_golden_metadata_is_valid() -> None:
    found = list(metadata())
    assert len(found) > 25
    for name, value in found:
        assert SCHEMAS["metadata"].is_valid(value), name


@pytest.mark.parametrize("name", INDEXES)
def test_a_golden_index_is_valid(name: str) -> None:
    SCHEMAS["weights-index"].validate(json.loads((GOLDEN / name).read_bytes()))


BROKEN: dict[str, list[Any]] = {
    "metadata": [
        [],
        {"date_saved": "2026-11-25@02:44:57"},
        {"keras_version": "3.15.1"},
        {"keras_version": 3, "date_saved": "2026-11-25@02:44:57"},
        {"keras_version": "3", "date_saved": "2026-11-25@02:44:57"},
        {"keras_version": "3.15.1", "date_saved": "2026-11-25T02:44:57"},
        {"keras_version": "3.15.1", "date_saved": "2026-13-25@02:44:57"},
    ],
    "weights-index": [
        [],
        {},
        {"weight_map": []},
        {"weight_map": {"/layers/dense": "a.h5"}},
        {"weight_map": {"/vars/0": "a.h5"}},
        {"weight_map": {"/vars": []}},
        {"weight_map": {"/vars": ""}},
        {"weight_map": {"/vars": 1}},
        {"weight_map": {"/vars": ["a.h5", "a.h5"]}},
        {"weight_map": {"/vars": "../a.h5"}},
        {"weight_map": {"/vars": ".."}},
        {"weight_map": {"/vars": "a\\b.h5"}},
        {"weight_map": {"/vars": "C:a.h5"}},
        {"weight_map": {"/vars": "a\0.h5"}},
        {"weight_map": {}, "metadata": {"total_size": -1}},
        {"weight_map": {}, "metadata": []},
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BROKEN.items() for value in values])
def test_a_broken_file_is_not_valid(name: str, value: Any) -> None:
    assert not SCHEMAS[name].is_valid(value)


@pytest.mark.parametrize("value", BROKEN["weights-index"][:14])
def test_an_index_that_is_not_valid_is_refused(value: Any, tmp_path: Path) -> None:
    """SH-001, SH-002, SH-003."""
    path = tmp_path / "m.weights.json"
    path.write_text(
        json.dumps({"weight_map": value["weight_map"]} if isinstance(value, dict) and "weight_map" in value else value)
    )
    with pytest.raises(RefserError), refser.open(path) as file:
        list(file.weights)


INPUT = layer("a", [], "InputLayer")
SOUND = model([INPUT, layer("d", [new_call(["a", 0, 0])])], [["a", 0, 0]], {"o": ["d", 0, 0]}, keras_version="3.15.1")
CHANGES: list[tuple[str, Any]] = [
    ("class_name", ""),
    ("class_name", 1),
    ("config", []),
    ("config.layers", {}),
    ("config.layers[0]", 1),
    ("config.layers[0].class_name", None),
    ("config.layers[1].config", [1]),
    ("config.layers[1].name", None),
    ("config.layers[1].inbound_nodes", {}),
    ("config.layers[1].inbound_nodes[0]", 1),
    ("config.layers[1].inbound_nodes[0]", [[["a", -1, 0, {}]]]),
    ("config.layers[1].inbound_nodes[0]", [[["a", 0, 0, []]]]),
    ("config.layers[1].inbound_nodes[0]", [["a", 0]]),
    ("config.layers[1].inbound_nodes[0].args", {}),
    ("config.layers[1].inbound_nodes[0].args[0][0].config.dtype", 1),
    ("config.layers[1].inbound_nodes[0].args[0][0].config.keras_history", ["a", 0]),
    ("config.input_layers", 1),
    ("config.input_layers[0]", ["a", 0, 1.5]),
    ("config.output_layers.o", None),
    ("config.layers[1].config", {"f": {"class_name": "function", "config": None}}),
    ("config.layers[1].config", {"f": [{"class_name": "__tensor__", "config": {"value": 1}}]}),
    ("config.layers[1].config", {"f": {"class_name": "__numpy__", "config": {"value": "x", "dtype": "int8"}}}),
    ("config.layers[1].config", {"f": {"class_name": "__bytes__", "config": {}}}),
    ("config.layers[1].config", {"f": {"class_name": "__slice__", "config": {"start": 1}}}),
    ("config.layers[1].config", {"f": {"class_name": "__lambda__", "config": {"value": ["x", None]}}}),
    ("config.layers[1].config", {"f": {"class_name": "__lambda__", "config": {"code": 1}}}),
    ("config.layers[1].config", {"f": {"class_name": "__typespec__", "config": []}}),
    ("config.layers[1]", {"class_name": "Sequential", "config": [1], "name": "d", "inbound_nodes": []}),
]


def test_the_config_that_is_changed_below_is_valid() -> None:
    SCHEMAS["model-config"].validate(SOUND)
    config.graph(config.parse(json.dumps(SOUND)).root)


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_a_broken_config_is_neither_valid_nor_read(path: str, value: Any) -> None:
    """CF-010 to CF-016, CF-030 to CF-035, CF-040: what the schema refuses, the reader refuses."""
    changed = config.parse(json.dumps(copy.deepcopy(SOUND))).replace(path, value)
    assert not SCHEMAS["model-config"].is_valid(changed.json)

    def read() -> None:
        for node in changed.walk():
            if config.is_model(node):
                config.graph(node)

    with pytest.raises(RefserError):
        read()


def test_the_schemas_are_told_from_those_of_the_commands() -> None:
    assert set(OURS) <= set(SCHEMAS)
    assert all("format" not in SCHEMAS[name].schema["properties"] for name in OURS if "properties" in SCHEMAS[name].schema)
