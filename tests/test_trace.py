"""The traceability matrix: its rules on small texts, and that the real one has the holes it says it has."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "spec" / "trace.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trace_of_the_spec", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


trace = _load()


def made(text: str, prefix: str = "KZ") -> Any:
    requirement = trace.Requirement(f"{prefix}-900", "x", "x.md", 1, text)
    trace.analyse(requirement)
    return requirement


@pytest.mark.parametrize(
    ("text", "subject", "needs"),
    [
        ("The name of a member MUST be relative. (Since 0.1.)", "file", ["broken", "kept near"]),
        ("A reader MUST refuse a bomb. (Since 0.1.)", "reader", ["broken", "kept near"]),
        ("A reader MUST take a `reader MUST refuse` so. (Since 0.1.)", "reader", ["kept"]),
        ("When `x` is absent, a reader MUST go on. (Since 0.1.)", "reader", ["kept"]),
        ("A validator MUST report as an error a gap. (Since 0.1.)", "validator", ["broken", "kept near"]),
        ("A validator MUST report as a warning a gap. (Since 0.1.)", "validator", ["kept"]),
        ("A validator MUST report a gap. (Since 0.1.)", "validator", ["broken", "kept near"]),
        ("A validator MUST go on after a fault. (Since 0.1.)", "validator", ["kept"]),
        ("A writer MUST write the same bytes. (Since 0.1.)", "writer", ["kept"]),
        ("A model that is written MUST have names. (Since 0.1.)", "writer", ["kept"]),
    ],
)
def test_needs_follow_from_subject_and_predicate(text: str, subject: str, needs: list[str]) -> None:
    requirement = made(text)
    assert (requirement.subject, requirement.needs) == (subject, ["code", "test", *needs])


def test_only_a_must_needs_cases() -> None:
    requirement = made("A file SHOULD be small. (Since 1.2. Observed: Keras 3.0.5.)")
    assert (requirement.verb, requirement.since, requirement.observed) == ("SHOULD", "1.2", "Keras 3.0.5")
    assert requirement.needs == ["code", "test"]


def test_an_exemption_takes_away_what_it_names_and_nothing_else() -> None:
    requirement = made("A command MUST end. (Since 0.1.)", "CL")
    assert requirement.needs == ["code", "test"]
    assert requirement.exempt


def test_every_exemption_is_of_a_requirement_and_changes_something() -> None:
    found = trace.trace()
    used = {r.id for r in found.requirements if r.exempt}
    used |= {code[:2] for code in used}
    defined = {r.id for r in found.requirements}
    assert [code for code, (gone, _) in trace.EXEMPT.items() if code not in (used if gone else defined)] == []


def test_every_case_that_shows_more_is_there() -> None:
    assert [hole for hole in trace.trace().other if "SHOWN" in hole] == []


def test_each_hole_is_told() -> None:
    requirement = made("A name MUST be short. (Since 0.1.)")
    assert len(list(trace.holes_of(requirement))) == 4
    requirement.code, requirement.examples, requirement.kept_near = ["refser/zipio.py"], 1, 3
    assert list(trace.holes_of(requirement)) == ["no case breaks it"]
    requirement.broken = ["keras-zip/x"]
    assert list(trace.holes_of(requirement)) == ["no code of refser/ names the problem of the cases that break it"]
    requirement.raised = ["KZ-001"]
    assert list(trace.holes_of(requirement)) == []


def test_a_run_of_ids_cites_those_between() -> None:
    assert trace.cited("KZ-009 to KZ-011, not XKZ-001") == {"KZ-009", "KZ-010", "KZ-011"}
    assert list(trace.runs(["KZ-001", "KZ-002", "KZ-004", "WH-001"])) == ["KZ-001 to KZ-002", "KZ-004", "WH-001"]


def test_matrix_has_every_requirement_and_agrees_with_the_spec_s_own_test() -> None:
    from test_spec import REQUIREMENTS

    assert {(r.id, r.chapter) for r in trace.trace().requirements} == {(r.code, r.chapter) for r in REQUIREMENTS}
    assert sorted(path.name for path in trace.chapters()) == sorted({r.chapter for r in REQUIREMENTS})


@pytest.mark.parametrize("option", [[], ["--holes"], ["--markdown"], ["--json"]])
def test_exit_code_says_whether_there_is_a_hole(option: list[str]) -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-I", str(SCRIPT), *option], capture_output=True, text=True, check=False)
    assert (done.stderr, time.monotonic() - start < 10) == ("", True)
    holes = trace.trace().holes
    assert done.returncode == bool(holes)
    if option == ["--json"]:
        assert json.loads(done.stdout)["holes"] == holes
    elif option != ["--markdown"]:
        assert all(hole in done.stdout for hole in holes)


def test_open_questions_are_those_of_the_chapters() -> None:
    assert trace.OPEN.read_text("utf-8") == trace.collected(), "run `python spec/trace.py --write`"
