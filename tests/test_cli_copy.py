"""What `refser config` prints and `refser copy` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_helpers import (
    CONFIG,
    FUNCTIONAL,
    GOLDEN,
    LEGACY,
    LEGACY_WEIGHTS,
    SHARDED,
    TEXT,
    WEIGHTS,
    Outcome,
    cli,
    new_keras,
)

import refser
from refser.cli import _parser
from refser.cli.__main__ import main


def test_cl027_config_is_indented_ascii() -> None:
    shown = cli("config", GOLDEN / "keras-3.15.1/names.legacy.h5")
    assert shown.out.startswith('{\n  "class_name": "Functional",\n')
    assert shown.out.isascii()


@pytest.mark.parametrize("source", [FUNCTIONAL, LEGACY, CONFIG])
def test_cl028_raw_config_is_the_stored_bytes(source: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["config", source, "--raw"]) == 0
    with refser.open(source) as file:
        assert file.config_json
        assert capsysbinary.readouterr().out == file.config_json.encode()


def test_cl028_raw_config_need_not_parse(tmp_path: Path) -> None:
    path = new_keras(tmp_path / "a.keras", '{"größe": ')
    assert cli("config", path, "--raw") == Outcome(0, '{"größe": ', "")


@pytest.mark.parametrize("source", [WEIGHTS, SHARDED, LEGACY_WEIGHTS])
def test_cl029_weights_have_no_config(source: str) -> None:
    found = cli("config", source)
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith("[CL-029]\n")


V3 = {"keras-zip": "a.keras", "keras-dir": "a", "weights-h5": "a.weights.h5", "weights-sharded": "a.weights.json"}
OLD = {"legacy-h5": "a.h5", "legacy-weights-h5": "b.h5"}
TARGETS = [(source, layout, name) for source in (FUNCTIONAL, TEXT) for layout, name in V3.items()]
TARGETS += [(LEGACY, layout, name) for layout, name in OLD.items()] + [(LEGACY, "config-json", "a.json")]


@pytest.mark.parametrize(("source", "layout", "name"), TARGETS, ids=lambda value: Path(value).name)
def test_cl030_copy_writes_what_the_layout_holds(source: str, layout: str, name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    told = cli("copy", source, target, *(["--layout", layout] if layout == "legacy-weights-h5" else []))
    want = refser.load(source)
    copied = refser.load(target)
    count = {"config-json": 0, "legacy-weights-h5": 19}.get(layout, len(want.weights))
    assert told.code == 0
    assert re.fullmatch(rf"wrote \S+: {layout}, {count} weights, [\d.]+ K?i?B\n", told.out)
    assert copied.weights == want.weights or (layout in ("legacy-weights-h5", "config-json") and len(copied.weights) == count)
    assert copied.config_json == (None if "weights" in layout else want.config_json)
    again = cli("copy", source, target, "--json", *(["--layout", layout] if layout == "legacy-weights-h5" else []))
    assert (again.code, again.json["error"]["code"]) == (2, "IO-005")
    args = ["copy", source, target, "--json", "--overwrite", "--layout", layout]
    assert cli(*args).json["weights"] == count


@pytest.mark.parametrize(
    ("source", "name", "code"),
    [(LEGACY, "a.keras", "IO-010"), (FUNCTIONAL, "a.h5", "IO-010"), (TEXT, "a.odd", "IO-010"), (TEXT, "no/a.keras", "IO-001")],
)
def test_cl030_what_cannot_be_written_is_2(source: str, name: str, code: str, tmp_path: Path) -> None:
    found = cli("copy", source, tmp_path / name)
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith(f"[{code}]\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "name", "want"),
    [
        (TEXT, "a.keras", []),
        (TEXT, "a.weights.h5", ["config", "metadata", "assets"]),
        (TEXT, "a.json", ["config", "metadata", "assets", "weights"]),
        (LEGACY, "a.h5", []),
        (LEGACY, "a.json", ["training_config", "metadata", "weights"]),
        (LEGACY, "b.h5", ["config", "training_config", "optimizer_state"]),
        (WEIGHTS, "a.weights.json", []),
    ],
)
def test_cl031_what_is_left_out_is_named(source: str, name: str, want: list[str], tmp_path: Path) -> None:
    layout = ["--layout", "legacy-weights-h5"] if name == "b.h5" else []
    told = cli("copy", source, tmp_path / name, "--json", *layout)
    assert sorted(told.json["left_out"]) == sorted(set(want) - ({"config"} if name == "a.json" else set()))
    for word in told.json["left_out"]:
        assert f"the {word.replace('_', ' ')}" in told.err
    assert told.err == "" if not told.json["left_out"] else told.err.count("\n") == 1


@pytest.mark.parametrize(("text", "want"), [("5", 5.0), ("0.5", 0.5), ("512MB", 0.5), ("2GB", 2.0), ("1KB", 2.0**-20)])
def test_cl032_shard_sizes(text: str, want: float) -> None:
    assert _parser._shard_size(text) == want


def test_cl032_shards_obey_the_size(tmp_path: Path) -> None:
    assert cli("copy", FUNCTIONAL, tmp_path / "a.weights.json", "--max-shard-size", "500B").code == 0
    assert len(list(tmp_path.glob("a_*.weights.h5"))) > 3
    assert refser.load(tmp_path / "a.weights.json").weights == refser.load(FUNCTIONAL).weights
    wrong = cli("copy", FUNCTIONAL, tmp_path / "a.weights.h5", "--max-shard-size", "1GB")
    assert wrong.code == 2


def test_cl033_source_and_target_are_apart(tmp_path: Path) -> None:
    for source, name in ((FUNCTIONAL, "m.keras"), (FUNCTIONAL, "m"), (FUNCTIONAL, "m.weights.json")):
        assert cli("copy", source, tmp_path / name).code == 0
    (tmp_path / "link.keras").symlink_to("m.keras")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for source, target in (
        ("m.keras", "m.keras"),
        ("m.keras", "link.keras"),
        ("m", "m"),
        ("m", "m/model.weights.h5"),
        ("m", "m/copy.keras"),
        ("m/model.weights.h5", "m"),
        ("m.weights.json", "m.weights.json"),
        ("m.weights.json", "m_00000.weights.h5"),
        ("m_00000.weights.h5", "m.weights.json"),
    ):
        refused = cli("copy", tmp_path / source, tmp_path / target, "--overwrite")
        assert (refused.code, refused.out) == (2, ""), (source, target)
        assert refused.err.endswith("[CL-033]\n")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["a.keras", "a", "a.weights.h5", "a.weights.json"])
def test_cl034_bare_config_becomes_no_model(name: str, tmp_path: Path) -> None:
    refused = cli("copy", CONFIG, tmp_path / name)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith("[CL-034]\n")
    assert list(tmp_path.iterdir()) == []


def test_cl034_bare_config_is_copied_as_such(tmp_path: Path) -> None:
    assert cli("copy", CONFIG, tmp_path / "a.json").code == 0
    assert (tmp_path / "a.json").read_bytes() == Path(CONFIG).read_bytes()


def test_cl035_config_comes_from_another_file(tmp_path: Path) -> None:
    assert cli("copy", TEXT, tmp_path / "a.weights.h5").code == 0
    assert cli("copy", tmp_path / "a.weights.h5", tmp_path / "a.keras", "--config", TEXT).code == 0
    assert refser.load(tmp_path / "a.keras") == refser.load(TEXT)
    assert cli("copy", LEGACY, tmp_path / "b.h5", "--layout", "legacy-weights-h5").code == 0
    assert cli("copy", tmp_path / "b.h5", tmp_path / "c.h5", "--config", LEGACY).code == 0
    whole, want = refser.load(tmp_path / "c.h5"), refser.load(LEGACY)
    assert (whole.config_json, whole.training_config) == (want.config_json, want.training_config)
    assert cli("copy", SHARDED, tmp_path / "d.keras", "--config", CONFIG).code == 0
    for source, config in ((TEXT, TEXT), (WEIGHTS, WEIGHTS), (WEIGHTS, LEGACY)):
        refused = cli("copy", source, tmp_path / "e.keras", "--config", config)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.endswith("[CL-035]\n")
    assert cli("copy", WEIGHTS, tmp_path / "e.keras", "--config", tmp_path / "missing").code == 2
    assert not (tmp_path / "e.keras").exists()
