"""Every case of conformance/ that gives a verdict has it, and the code of its one fault."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import refser

CONFORMANCE = Path(__file__).parents[1] / "conformance"
ADVISORY = re.compile(r"CVE-\d{4}-\d{4,}|GHSA(?:-[a-z0-9]{4}){3}")
CASES = {path.parent: json.loads(path.read_text("utf-8")) for path in sorted(CONFORMANCE.glob("cases/*/*/case.json"))}
JUDGED = {folder: case for folder, case in CASES.items() if "verdict" in case}


def test_there_are_enough_of_them() -> None:
    hostile = [case for folder, case in JUDGED.items() if folder.parent.name == "hostile"]
    unusual = [case for folder, case in JUDGED.items() if folder.parent.name == "unusual"]
    assert (len(hostile) >= 150, len(unusual) >= 30) == (True, True)
    assert {case["verdict"] for case in hostile} == {"unsafe", "invalid"}
    assert all(case["covers"] and case["problem"]["code"] in case["covers"] for case in hostile)
    assert all(ADVISORY.fullmatch(name) for case in hostile for name in case.get("advisories", []))


@pytest.mark.parametrize("folder", JUDGED, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_case_has_its_verdict_and_code(folder: Path) -> None:
    case: dict[str, Any] = JUDGED[folder]
    report = refser.validate(folder / case["input"])
    errors = {it.code: it.at for it in report.problems if it.severity == "error"}
    told = [str(it) for it in report.problems]
    assert report.verdict == case["verdict"], told
    if problem := case.get("problem"):
        assert problem["code"] in errors, told
        if "at" in problem:
            assert errors[problem["code"]] == problem["at"], told
    else:
        assert errors == {}, told
