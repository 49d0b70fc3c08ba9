"""The SARIF log of `refser validate`, by the schema of the standard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli_helpers import FUNCTIONAL, HOSTILE, TESTS, cli
from hypothesis import given
from hypothesis import strategies as st

import refser
from refser.checks.report import Finding, Report, error, info, unchecked, unsafe, warning
from refser.cli import _explain, _sarif

SCHEMA = json.loads((TESTS / "data/sarif-schema-2.1.0.json").read_text("utf-8"))
FORMATS = jsonschema.FormatChecker([])
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=FORMATS)


@FORMATS.checks("uri-reference")
def is_uri_reference(text: object) -> bool:
    """RFC 3986, for paths: no scheme but one before `//`, no colon in the first component."""
    assert isinstance(text, str)
    path = re.sub(r"^[a-z][a-z0-9+.-]*://", "/", text)
    return re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=/@:-]|%[0-9A-F]{2})*", path) is not None and ":" not in path.split("/")[0]


FINDINGS = [
    unsafe("SF-001", "a lambda", "config.layers[3].config.function", "do not load it"),
    error("WH-003", "an array of shape (2,)", "model.keras:model.weights.h5:/layers/dense/vars/0"),
    unchecked("LI-001", "too long", "model.keras: byte 1,024"),
    warning("KZ-010", "a member", "model.keras:extra.txt"),
    warning("KZ-010", "another word", "model.keras:extra.txt"),
    info("KZ-011", "bytes in front", "model.keras: byte 0"),
    error("CF-003", "a file", "models/model.keras"),
    error("CF-003", "nowhere"),
]


def log_of(*reports: Report, code: int = 1) -> dict[str, Any]:
    """A log, once the schema holds."""
    log = _sarif.log(reports, code)
    VALIDATOR.validate(log)
    return log["runs"][0]


def results(*findings: Finding, path: str = "models/model.keras") -> list[dict[str, Any]]:
    return log_of(Report(path=path, layout="keras-zip", problems=findings))["results"]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_cl052_the_log_is_valid_by_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"lfs.keras": "version https://git-lfs.github.com/spec/v1\n", f"{HOSTILE}.keras": "x"}.items():
        Path(name).write_text(content)
    found = cli("validate", "--sarif", ".", FUNCTIONAL, "missing\udcff é.keras")
    assert found.code == 1
    assert found.out.isascii()
    assert found.out.count("\n") == 1
    log = json.loads(found.out)
    VALIDATOR.validate(log)
    run = log["runs"][0]
    assert run["tool"]["driver"]["version"] == refser.__version__
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]
    assert [it["properties"]["verdict"] for it in run["artifacts"]] == ["invalid", "invalid", "valid", "unchecked"]
    assert run["artifacts"][3]["location"]["uri"] == "missing%FF%20%C3%A9.keras"
    assert {it["ruleId"] for it in run["results"] if it["level"] == "error"} == {"FT-004", "FT-006", "IO-001"}


def test_cl052_a_log_of_what_could_not_be_looked_at_says_so(tmp_path: Path) -> None:
    found = cli("validate", "--sarif", tmp_path / "missing.keras")
    assert found.code == 2
    assert json.loads(found.out)["runs"][0]["invocations"] == [{"executionSuccessful": False, "exitCode": 2}]


def test_cl053_rules_are_the_requirements() -> None:
    run = log_of(Report(path="a.keras", problems=tuple(FINDINGS)))
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert list(rules) == ["SF-001", "WH-003", "LI-001", "KZ-010", "KZ-011", "CF-003"]
    known = _explain.requirements()["WH-003"]
    assert rules["WH-003"]["shortDescription"]["text"] == known.title
    assert "MUST" in rules["WH-003"]["fullDescription"]["text"]
    assert rules["SF-001"]["properties"]["tags"] == ["security"]
    assert "properties" not in rules["WH-003"]
    numbers = {result["ruleId"]: result["ruleIndex"] for result in run["results"]}
    assert list(numbers.items()) == [(code, number) for number, code in enumerate(rules)]


def test_cl054_levels_follow_the_severity() -> None:
    found = [(it["level"], it["properties"]["verdict"]) for it in results(*FINDINGS[:6])]
    assert found == [
        ("error", "unsafe"),
        ("error", "invalid"),
        ("error", "unchecked"),
        ("warning", "valid"),
        ("warning", "valid"),
        ("note", "valid"),
    ]


def test_cl055_uris_are_relative_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert _sarif.uri("a b/ü#?.keras") == "a%20b/%C3%BC%23%3F.keras"
    assert _sarif.uri("./a.keras") == "a.keras"
    assert _sarif.uri("c:a.keras") == "c%3Aa.keras"
    assert _sarif.uri(".") == "."
    assert _sarif.uri(str(tmp_path / "here/x/m.keras")) == "x/m.keras"
    assert _sarif.uri(str(tmp_path / "there.keras")) == (tmp_path / "there.keras").as_uri()
    assert _sarif.uri("s3://bucket/a b.keras") == "s3://bucket/a%20b.keras"


@given(path=st.text(min_size=1, max_size=30))
def test_cl055_every_path_is_a_uri_reference(path: str) -> None:
    log_of(Report(path=path, problems=(error("IO-001", path, path),)))
    assert _sarif.uri(path).isascii()


def test_cl056_places_are_logical_locations_or_bytes() -> None:
    found = [it["locations"][0] for it in results(*FINDINGS)]
    assert found[0]["logicalLocations"] == [
        {"fullyQualifiedName": "config.layers[3].config.function", "name": "function", "kind": "property"}
    ]
    assert found[1]["logicalLocations"] == [
        {"fullyQualifiedName": "model.weights.h5:/layers/dense/vars/0", "name": "0", "kind": "resource"}
    ]
    assert found[2]["physicalLocation"]["region"] == {"byteOffset": 1024}
    assert found[3]["logicalLocations"][0]["fullyQualifiedName"] == "extra.txt"
    assert found[5]["physicalLocation"]["region"] == {"byteOffset": 0}
    assert "logicalLocations" not in found[6]
    assert "logicalLocations" not in found[7]
    assert {it["physicalLocation"]["artifactLocation"]["uri"] for it in found} == {"models/model.keras"}


def test_cl057_fingerprints_outlive_words_and_places_of_the_file() -> None:
    def prints(*findings: Finding, path: str = "m.keras") -> list[str]:
        return [it["partialFingerprints"]["refserProblem/v1"] for it in results(*findings, path=path)]

    first, second = prints(*FINDINGS[3:5])
    assert first != second
    assert prints(*FINDINGS[3:5], path="elsewhere/m.keras") == [first, second]
    assert prints(FINDINGS[4]) == [first]
    assert len(set(prints(*FINDINGS))) == len(FINDINGS)
