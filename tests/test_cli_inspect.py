"""What `refser inspect` shows, of every golden file too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_helpers import (
    CONFIG,
    FILES,
    FUNCTIONAL,
    GOLDEN,
    LEGACY,
    READ,
    SHARDED,
    SPEC,
    TEXT,
    UNPRINTABLE,
    cli,
    new_keras,
)
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser.cli import _classes, _screen


@pytest.mark.parametrize("name", READ)
def test_cl012_inspect_of_a_golden_file_fits_80_columns(name: str) -> None:
    """CL-012, CL-013."""
    for args in ([], ["--all"], ["--depth", "1"]):
        shown = cli("inspect", GOLDEN / name, *args)
        assert (shown.code, shown.err) == (0, "")
        assert [line for line in shown.lines if _screen.cells(line) > 80] == []
        assert not UNPRINTABLE.search(shown.out)
        assert FILES[name]["layout"] in shown.out


@pytest.mark.parametrize("name", READ)
def test_cl011_json_of_a_golden_file_is_valid_by_its_schema(name: str) -> None:
    """CL-010, CL-011, CL-015, CL-019."""
    want, tensors = FILES[name], FILES[name]["tensors"]
    found = cli("inspect", GOLDEN / name, "--json").json
    assert found["layout"] == want["layout"]
    weights = [weight for thing in found["objects"] for weight in thing["weights"]]
    assert [(w["path"], w["dtype"], w["shape"]) for w in weights] == [(t["path"], t["dtype"], t["shape"]) for t in tensors]
    assert sum(total["weights"] for total in found["totals"].values()) == len(tensors)
    assert {asset["path"] for asset in found["assets"]} == set(want["assets"])
    assert (found["model"] is None) == (want["config_sha256"] is None)
    assert cli("weights", GOLDEN / name, "--json").json["weights"] == weights
    if want["config_sha256"]:
        config = cli("config", GOLDEN / name)
        assert json.loads(config.out) == cli("config", GOLDEN / name, "--json").json["config"]


@pytest.mark.parametrize("name", READ)
def test_cl021_list_of_a_golden_file_cuts_at_tabs(name: str) -> None:
    rows = [line.split("\t") for line in cli("weights", GOLDEN / name).lines]
    assert [(path, dtype, json.loads(shape)) for path, dtype, shape, _ in rows] == [
        (tensor["path"], tensor["dtype"], tensor["shape"]) for tensor in FILES[name]["tensors"]
    ]
    assert all(size.isdigit() for *_, size in rows)


def blocks() -> list[tuple[str, list[str]]]:
    """The commands of the chapter's console blocks with what they print."""
    text = (SPEC / "command-line.md").read_text("utf-8")
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


@pytest.mark.parametrize(("command", "want"), blocks(), ids=lambda value: value if isinstance(value, str) else "")
def test_example_of_the_chapter_prints_what_it_says(command: str, want: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    program, *args = [word.strip("'") for word in command.split()]
    assert program == "refser"
    found = cli(*args)
    lines = [*(found.out + found.err).splitlines(), *([f"[{found.code}]"] if found.code else [])]
    assert len(lines) == len(want)
    for line, pattern in zip(lines, want):
        wanted = re.escape(pattern).replace("SIZE", r"[\d.]+ KiB").replace("DATE", r"[\d-]{10} [\d:]{8}")
        assert re.fullmatch(wanted, line), line


def test_cl015_inspect_shows_the_facts_and_reads_no_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refser.ByteRange, "read", lambda self: pytest.fail("an array was read"))
    shown = cli("inspect", FUNCTIONAL).out
    assert "Keras 3.15.1, 20" in shown
    assert "model       Functional 'two_inputs'\n" in shown
    assert "compiled    optimizer Adam, loss MeanSquaredError\n" in shown
    assert "backend jax" in cli("inspect", LEGACY).out
    assert "layers/text_vectorization/vocabulary.txt" in cli("inspect", TEXT).out
    told = cli("inspect", LEGACY, "--json").json
    assert told["training"] == {"optimizer": "Adam", "loss": "MeanSquaredError", "metrics": None}
    assert (told["keras_version"], told["backend"], told["date_saved"]) == ("3.15.1", "jax", None)


def test_cl016_tree_has_every_weight_in_file_order() -> None:
    shown = cli("inspect", SHARDED).out
    assert re.search(r"^  dense_1  'head'\n    vars/0 .*\(6, 2\).*48 B\n    vars/1 .*\(2,\).* 8 B\n", shown, re.MULTILINE)
    assert re.search(r"^optimizer  'adam' +36 weights, +1\.6 KiB$", shown, re.MULTILINE)
    assert shown.count("vars/") == 19
    assert cli("inspect", SHARDED, "--all").out.count("vars/") == 55
    assert "vars/" not in cli("inspect", SHARDED, "--depth", "2").out
    assert re.search(r"^layers +19 weights, +816 B$", cli("inspect", SHARDED, "--depth", "1").out, re.MULTILINE)
    assert "layers" not in cli("inspect", SHARDED, "--depth", "0").out.replace("functional", "")


def test_cl016_weights_of_the_model_itself_are_in_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "own.weights.h5"
    with h5py.File(path, "w") as file:
        file["vars/0"] = np.zeros(3, "f4")
        file["vars"].attrs["name"] = "own"
    assert re.search(r"^\(the model itself\)\n  vars/0 ", cli("inspect", path).out, re.MULTILINE)


@pytest.mark.parametrize("version", ["tf-keras-2.12.0", "tf-keras-2.14.0", "tf-keras-2.15.0", "keras-3.0.5", "keras-3.15.1"])
def test_cl017_classes_are_matched_by_name_or_by_number(version: str) -> None:
    objects = cli("inspect", GOLDEN / version / "functional.keras", "--json").json["objects"]
    found = {(thing["class_name"], thing["name"]) for thing in objects}
    want = {
        ("Dense", "shared"),
        ("Dense", "head"),
        ("Dense", "inner"),
        ("Sequential", "nested"),
        ("Conv2D", "convolution"),
        ("BatchNormalization", "normalization"),
    }
    assert want <= found
    shapes = {thing["name"]: [w["shape"] for w in thing["weights"]] for thing in objects}
    assert shapes["head"] == [[6, 2], [2]]
    assert shapes["shared"] == [[4, 3], [3]]


def test_cl017_no_class_is_guessed_where_the_counts_differ(tmp_path: Path) -> None:
    layers = [{"class_name": "Dense", "config": {"name": name}} for name in ("a", "b")]
    config = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    objects = cli("inspect", new_keras(tmp_path / "a.keras", config), "--json").json["objects"]
    assert [(thing["path"], thing["class_name"]) for thing in objects] == [("layers/dense", None), ("", "Sequential")]


def test_cl018_layers_of_a_bare_config_stand_in_its_order() -> None:
    lines = cli("inspect", CONFIG).lines
    want = ["both_ways  Bidirectional", "  forward_lstm  LSTM", "nested  Sequential", "  input_layer  InputLayer"]
    assert lines[lines.index(want[0]) :][:4] == want
    assert "  inner  Dense" in lines
    assert "  inner  Dense" not in cli("inspect", CONFIG, "--depth", "1").lines


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "layers", "name", "layer", "compile_config", "optimizer", "loss", "x"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(config=anything)
def test_cl018_no_config_is_too_odd(config: Any) -> None:

    whole = {"class_name": "Functional", "config": {"layers": config}, "compile_config": config}
    for value in (config, whole):
        layers = list(_classes.outline(value))
        event("layers" if layers else "none")
        _classes.match({"layers/dense": None, "layers/x/layers/dense_1": "a", "optimizer": None, "": "m"}, value)
        _classes.match_by_name(value)
        _classes.training(value, config)


def test_cl019_totals_are_apart() -> None:
    totals = cli("inspect", FUNCTIONAL, "--json").json["totals"]
    assert totals["model"] == {"weights": 19, "parameters": 204, "bytes": 816}
    assert (totals["optimizer"]["weights"], totals["metrics"]["weights"]) == (36, 0)
    assert cli("inspect", LEGACY, "--json").json["totals"] == totals
    older = cli("inspect", GOLDEN / "tf-keras-2.13.1/functional.keras", "--json").json["totals"]
    assert (older["model"], older["metrics"]["weights"]) == (totals["model"], 2)


@pytest.mark.parametrize("config", ['{"class_name": ', "[]", '{"a": 1, "a": 2}', '{"a": NaN}', f'{{"{"k" * 3000}": 1,}}'])
def test_cl020_config_that_does_not_parse_hides_nothing_else(config: str, tmp_path: Path) -> None:
    path = new_keras(tmp_path / "a.keras", config)
    shown = cli("inspect", path)
    assert (shown.code, shown.err) == (1, "")
    assert "vars/0" in shown.out
    assert "parameters  3 in 1 weight, 12 B" in shown.lines
    assert [line for line in shown.lines if len(line) > 80] == []
    assert re.search(r"^error: ", shown.out, re.MULTILINE)
    told = cli("inspect", path, "--json")
    assert told.code == 1
    assert [problem["severity"] for problem in told.json["problems"]] == ["error"]
    assert cli("config", path).code == 1
