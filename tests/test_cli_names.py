"""Names of variables on the command line and in the library: `weights --by-name`, `inspect`, `summary`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import CONFIG, FUNCTIONAL, LEGACY, WEIGHTS, cli
from helpers import refused

import refser
from refser import InvalidError

GOLDEN = Path(__file__).parent / "golden" / "keras-3.15.1"


def test_cl038_weights_by_name_have_variable_paths() -> None:
    found = [line.split("\t")[0] for line in cli("weights", FUNCTIONAL, "--by-name").lines]
    assert found[:2] == ["both_ways/backward_lstm/lstm_cell/kernel", "both_ways/backward_lstm/lstm_cell/recurrent_kernel"] or (
        "convolution/kernel" in found
    )
    assert "nested/inner/kernel" in found
    assert "optimizer/convolution/kernel/momentum" in found
    assert len(set(found)) == len(found)


def test_cl038_patterns_and_json_go_by_the_same_names() -> None:
    assert len(cli("weights", FUNCTIONAL, "--by-name", "--match", "*/kernel").lines) >= 5
    entry = cli("weights", FUNCTIONAL, "--by-name", "--match", "nested/inner/bias", "--json").json["weights"][0]
    assert (entry["path"], entry["name"], entry["trainable"]) == ("nested/inner/bias", "bias", True)


def test_cl038_arrays_come_out_under_their_names(tmp_path: Path) -> None:
    cli("weights", FUNCTIONAL, "--by-name", "--match", "nested/*", "--out", tmp_path / "arrays")
    with refser.open(FUNCTIONAL) as file:
        want = file.variables["nested/inner/kernel"].array()
    assert np.array_equal(np.load(tmp_path / "arrays/nested/inner/kernel.npy"), want)


def test_cl038_weights_alone_have_no_names() -> None:
    found = cli("weights", WEIGHTS, "--by-name")
    assert (found.code, "without a config" in found.err) == (1, True)


def test_cl039_inspect_shows_names() -> None:
    shown = cli("inspect", FUNCTIONAL, "--all").out
    assert "vars/0  kernel" in shown
    assert "convolution/kernel/momentum" in shown
    assert "kernel" not in cli("inspect", WEIGHTS).out


@pytest.mark.parametrize("path", [FUNCTIONAL, CONFIG, LEGACY], ids=["keras", "config", "legacy"])
def test_cl040_summary_is_a_table(path: str) -> None:
    found = cli("summary", path)
    assert found.code == 0
    assert "Layer (type)" in found.out
    assert "convolution (Conv2D)" in found.out
    assert "Total params:" in found.out


def test_cl040_summary_json_has_the_numbers_of_the_file() -> None:
    found = cli("summary", FUNCTIONAL, "--json").json
    with refser.open(FUNCTIONAL) as file:
        total = sum(weight.size for weight in file.weights.values())
        assert str(refser.summary(FUNCTIONAL)).startswith('Model: "two_inputs"')
    assert (found["totals"]["all"]["parameters"], found["complete"]) == (total, True)
    nested = cli("summary", FUNCTIONAL, "--nested", "--json").json["layers"]
    assert [row["name"] for row in nested if row["depth"]] == ["flat", "inner"] or len(nested) > len(found["layers"])


def test_cl040_weights_alone_have_no_summary() -> None:
    found = cli("summary", WEIGHTS)
    assert (found.code, "wanted a file with a config" in found.err) == (1, True)


def test_wt014_variables_of_a_file() -> None:
    with refser.open(GOLDEN / "functional.keras") as file:
        kernel = file.variables["shared/kernel"]
        assert kernel.path.startswith("layers/dense")
        assert (kernel.name, kernel.variable_path, kernel.trainable) == ("kernel", "shared/kernel", True)
        assert file.weights[kernel.path].name == "kernel"
        model = file.load()
    assert model.weights[kernel.path].variable_path == "shared/kernel"


def test_wt014_weights_alone_have_no_variables() -> None:
    with refser.open(WEIGHTS) as file:
        assert {weight.name for weight in file.weights.values()} == {None}
        with refused("WT-014", InvalidError):
            _ = file.variables


def test_wt014_a_config_that_does_not_fit_gives_no_names(tmp_path: Path) -> None:
    """An array of another shape is not what the config speaks of."""
    model = refser.load(GOLDEN / "sequential.keras")
    assert model.config_json is not None
    config = json.loads(model.config_json)
    config["config"]["layers"][1]["config"]["units"] = 77
    refser.save(
        refser.Model(config_json=json.dumps(config), metadata=model.metadata, weights=model.weights, groups=model.groups),
        tmp_path / "m.keras",
    )
    with refser.open(tmp_path / "m.keras") as file:
        assert file.weights["layers/dense/vars/0"].name is None
        assert "dense/kernel" not in file.variables


def test_wt014_a_config_that_breaks_a_rule_is_told_by_variables_only(tmp_path: Path) -> None:
    model = refser.load(GOLDEN / "sequential.keras")
    assert model.config_json is not None
    config = json.loads(model.config_json)
    config["config"]["layers"][1]["config"]["units"] = -1
    refser.save(
        refser.Model(config_json=json.dumps(config), metadata=model.metadata, weights=model.weights, groups=model.groups),
        tmp_path / "m.keras",
    )
    with refser.open(tmp_path / "m.keras") as file:
        assert {weight.name for weight in file.weights.values()} == {None}
        with refused("LY-003", InvalidError):
            _ = file.variables
