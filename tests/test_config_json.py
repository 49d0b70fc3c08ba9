"""A bare config (CF)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import CONFIG, GOLDEN, refused, write

import refser
from refser.errors import InvalidError
from refser.values import Model


def test_cf001_the_text_is_kept_exactly(tmp_path: Path) -> None:
    text = '  {"class_name":"M",\t"config": {"b": 1.0e0, "a": "\\u00e9é"}}\r\n'
    path = write(tmp_path / "m.json", text.encode())
    with refser.open(path) as file:
        assert file.config_json == text
        assert file.config == {"class_name": "M", "config": {"b": 1.0, "a": "éé"}}
        assert (dict(file.weights), dict(file.assets), file.problems) == ({}, {}, ())
    refser.save(refser.load(path), tmp_path / "copy.json")
    assert (tmp_path / "copy.json").read_bytes() == text.encode()


def test_cf004_a_config_of_either_generation_is_written(tmp_path: Path) -> None:
    for generation in ("v3", "legacy"):
        refser.save(Model(generation=generation, config_json=CONFIG.decode()), tmp_path / f"{generation}.json")
        assert (tmp_path / f"{generation}.json").read_bytes() == CONFIG


@pytest.mark.parametrize(
    "text",
    [
        '{"class_name": "M", "config": {}}',
        '{"class_name": "M", "config": []}',
        '{"class_name": "", "config": null}',
        CONFIG.decode(),
    ],
)
def test_cf002_an_object_with_a_class_name_and_a_config_is_a_config(tmp_path: Path, text: str) -> None:
    assert refser.open(write(tmp_path / "m", text.encode())).layout == "config-json"


def test_cf002_a_model_without_a_config_is_not_written(tmp_path: Path) -> None:
    with refused("CF-002", InvalidError):
        refser.save(Model(), tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []


def test_cf003_a_version_beside_the_class_means_the_older_generation(tmp_path: Path) -> None:
    text = {"class_name": "Sequential", "config": [], "keras_version": "2.2.4", "backend": "tensorflow"}
    with refser.open(write(tmp_path / "m.json", json.dumps(text).encode())) as file:
        assert (file.generation, file.keras_version) == ("legacy", "2.2.4")
        assert file.metadata == {"keras_version": "2.2.4", "backend": "tensorflow"}
    with refser.open(write(tmp_path / "n.json", CONFIG)) as file:
        assert (file.generation, file.keras_version, dict(file.metadata)) == ("v3", None, {})


def test_cf003_a_version_that_is_no_string_is_not_metadata(tmp_path: Path) -> None:
    text = {"class_name": "M", "config": {}, "keras_version": 3}
    assert dict(refser.open(write(tmp_path / "m.json", json.dumps(text).encode())).metadata) == {}


@pytest.mark.parametrize("version", ["keras-1.2.2", "keras-2.3.1", "tf-keras-2.15.0", "keras-3.15.1"])
def test_cf001_configs_of_real_keras_are_kept(version: str) -> None:
    path = GOLDEN / version / "sequential.json"
    with refser.open(path) as file:
        assert file.config_json is not None
        assert file.config_json.encode() == path.read_bytes()
        assert file.config == json.loads(path.read_bytes())


def test_js002_a_config_that_ends_early_is_refused(tmp_path: Path) -> None:
    with refused("JS-002"):
        refser.open(write(tmp_path / "m.json", CONFIG[:-1]))


def test_js003_a_key_twice_is_refused(tmp_path: Path) -> None:
    with refused("JS-003"):
        refser.open(write(tmp_path / "m.json", b'{"class_name": "M", "config": {"layers": [{"a": 1, "a": 2}]}}'))


def test_js001_a_byte_order_mark_is_told_as_such(tmp_path: Path) -> None:
    with refused("JS-001"):
        refser.open(write(tmp_path / "m.json", b"\xef\xbb\xbf" + CONFIG))


def test_the_config_of_a_closed_file_is_still_there(tmp_path: Path) -> None:
    with refser.open(write(tmp_path / "m.json", CONFIG)) as file:
        pass
    assert file.closed
    assert file.config_json == CONFIG.decode()


def test_a_config_of_a_loaded_model_is_parsed(tmp_path: Path) -> None:
    model = refser.load(write(tmp_path / "m.json", CONFIG))
    assert model.config == json.loads(CONFIG)
    assert Model().config is None
