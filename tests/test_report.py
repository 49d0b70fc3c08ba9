"""The report of `validate`: verdict, severities, what is made of a refusal, and that nothing but the file is touched."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import FILES, FUNCTIONAL, GOLDEN, SPEC
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser.checks.report import (
    VERDICTS,
    Finding,
    Report,
    error,
    info,
    judged,
    of_error,
    of_problem,
    unchecked,
    unsafe,
    warning,
)
from refser.errors import (
    AccessError,
    InvalidError,
    LimitError,
    MalformedError,
    Problem,
    RefserError,
    UnsafeError,
    UnsupportedError,
)

MAKERS = {"unsafe": unsafe, "invalid": error, "unchecked": unchecked}
findings = st.builds(
    lambda make, code, at: make(code, "found; wanted", at),
    st.sampled_from([unsafe, error, unchecked, warning, info]),
    st.sampled_from(["SF-001", "WT-001", "LI-001"]),
    st.sampled_from(["", "config", "config.layers[0]"]),
)


@given(found=st.lists(findings, max_size=12))
def test_vr001_verdict_is_the_strongest_that_is_called_for(found: list[Finding]) -> None:
    """VR-002."""
    verdict = Report(path="x", problems=tuple(found)).verdict
    event(verdict)
    called = {it.verdict for it in found if it.severity == "error"}
    assert verdict == next((it for it in ("unsafe", "invalid", "unchecked") if it in called), "valid")
    assert all((it.severity == "error") == (it.verdict != "valid") for it in found)


KINDS: dict[str, type[RefserError]] = {
    "malformed": MalformedError,
    "invalid": InvalidError,
    "unsafe": UnsafeError,
    "limit": LimitError,
    "unsupported": UnsupportedError,
    "access": AccessError,
}


def rows() -> dict[str, list[tuple[str, list[str], str]]]:
    """Kind -> what the table says of it: the requirements of the row, or none where it is of all others, and the verdict."""
    text = (SPEC / "validate.md").read_text("utf-8")
    table = text[text.index("| refused as |") : text.index("A finding has the ID")]
    found: dict[str, list[tuple[str, list[str], str]]] = {}
    for what, verdict in re.findall(r"^\| (.+?) \| `(\w+)` \|$", table, re.MULTILINE):
        for kind in KINDS:
            if re.search(rf"\b{kind}\b", what.partition(":")[0]):
                found.setdefault(kind, []).append((what, re.findall(r"[A-Z][A-Z0-9]-\d{3}", what), verdict))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_vr003_a_refusal_has_the_verdict_of_its_kind(kind: str) -> None:
    assert kind in rows()
    named = {code for _, codes, _ in rows()[kind] for code in codes}
    for what, codes, verdict in rows()[kind]:
        for code in codes or sorted({"ZZ-001", "LI-001", "LI-003", "FT-011"} - named):
            found = of_error(KINDS[kind](Problem(code=code, message="m", at="a", hint="h")))
            assert (found.verdict, found.severity) == (verdict, "error"), what
            assert (found.code, found.message, found.at, found.hint) == (code, "m", "a", "h")


def test_vr004_suppressed_findings_are_counted_and_call_for_nothing() -> None:
    found = [unsafe("SF-001", "a"), unsafe("SF-001", "b"), warning("KZ-010", "c")]
    kept, count = judged(found, suppress={"SF-001"}, strict=False)
    assert ([it.code for it in kept], count) == (["KZ-010"], 2)
    assert Report(path="x", problems=kept, suppressed=count).verdict == "valid"


def test_vr005_strict_takes_warnings_and_nothing_else_for_errors() -> None:
    kept, _ = judged([info("KZ-011", "a"), warning("KZ-010", "b", "at", "do"), unsafe("SF-001", "c")], suppress=(), strict=True)
    assert [(it.severity, it.verdict) for it in kept] == [("error", "unsafe"), ("error", "invalid"), ("info", "valid")]
    assert (kept[1].code, kept[1].message, kept[1].at, kept[1].hint) == ("KZ-010", "b", "at", "do")


@given(found=st.lists(findings, max_size=12), strict=st.booleans())
def test_vr006_findings_come_once_and_in_order(found: list[Finding], strict: bool) -> None:
    kept, _ = judged(found, suppress=(), strict=strict)
    assert len(set(kept)) == len(kept)
    ranks = [("error", "warning", "info").index(it.severity) * 10 - VERDICTS.index(it.verdict) for it in kept]
    assert ranks == sorted(ranks)
    for one, other in itertools.pairwise(kept):
        if (one.severity, one.verdict) == (other.severity, other.verdict) and not strict:
            assert found.index(one) < found.index(other)


def test_a_remark_of_a_reader_is_a_warning() -> None:
    problem = Problem(code="FT-002", message="m", at="a", hint="h")
    assert str(of_problem(problem)) == str(problem) == str(of_problem(problem, "info"))
    assert {of_problem(problem).severity, of_problem(problem, "info").severity} == {"warning", "info"}


def test_a_report_pickles_and_escapes() -> None:
    report = Report(path="x", problems=(error("WT-001", "red\x1b[31m", "a\nb"),), statistics={"weights": 1})
    assert pickle.loads(pickle.dumps(report)) == report
    assert str(report.problems[0]) == r"a\nb: red\x1b[31m [WT-001]"
    assert report.of_severity("error") == list(report.problems)


STARTS = [
    b"",
    b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n",
    b"{",
    b'{"class_name": "Sequential", "config": ',
    b'{"weight_map": ',
    b"<html",
]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200))
def test_vr007_whatever_the_bytes_there_is_a_report(
    start: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "whatever"
    path.write_bytes(start + rest)
    report = refser.validate(path)
    event(report.verdict)
    assert report.verdict != "valid"
    assert report.problems


@pytest.mark.parametrize("path", ["missing", "", "a\0b", "\udcff", "x" * 5000, "/dev/null/x"])
def test_vr007_where_nothing_can_be_opened_it_is_unchecked(path: str) -> None:
    report = refser.validate(path)
    assert (report.verdict, report.layout, dict(report.statistics)) == ("unchecked", None, {})


HOSTILE_CONFIG = {
    "class_name": "Sequential",
    "module": "keras",
    "config": {
        "name": "s",
        "layers": [
            {"module": "antigravity", "class_name": "x", "config": {}, "registered_name": None},
            {"module": "builtins", "class_name": "eval", "config": {"name": "1"}, "registered_name": "eval"},
            {
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": "4wA="}}},
                "registered_name": None,
            },
            {
                "module": "keras.layers",
                "class_name": "TextVectorization",
                "config": {"name": "t", "vocabulary": "/etc/hostname"},
                "registered_name": None,
            },
            {
                "module": "keras.layers",
                "class_name": "TFSMLayer",
                "config": {"name": "f", "filepath": "https://example.invalid/model"},
                "registered_name": None,
            },
        ],
    },
    "registered_name": None,
}
# What it needs is imported for those before; of the last it opens the file and nothing else.
AUDITED = """
import sys, refser
seen, started = [], False
EVENTS = ("open", "import", "exec", "compile", "marshal.", "pickle.", "socket.", "subprocess.", "os.", "urllib.", "ctypes.")

def hook(event, args):
    if started and event.startswith(EVENTS):
        seen.append([event, str(args[0]) if args else ""])

sys.addaudithook(hook)
for path in sys.argv[1:]:
    started = path == sys.argv[-1]
    verdict = refser.validate(path, deep=True).verdict
started = False
import json
print(json.dumps([verdict, seen]))
"""


def test_vr008_nothing_is_run_imported_or_opened(tmp_path: Path) -> None:
    path, twin = tmp_path / "model.json", tmp_path / "twin.json"
    for name in (path, twin):
        name.write_text(json.dumps(HOSTILE_CONFIG))
    words = [sys.executable, "-c", AUDITED, FUNCTIONAL, str(GOLDEN / "keras-3.15.1/functional.json"), str(twin), str(path)]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    verdict, seen = json.loads(run.stdout)
    assert verdict in VERDICTS
    assert seen == [["open", str(path)]]


NOT_LOADED = {"npz": "unsafe", "saved-model": "unchecked"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_vr009_a_golden_file_is_valid_without_a_warning(name: str) -> None:
    """VR-010: with the facts."""
    report = refser.validate(GOLDEN / name)
    if FILES[name]["layout"] in NOT_LOADED:
        assert report.verdict == NOT_LOADED[FILES[name]["layout"]]
        return
    assert [it.code for it in report.problems if it.severity != "info"] == [], report.problems
    assert report.layout == FILES[name]["layout"]
    assert report.statistics["weights"] == len(FILES[name]["tensors"])
    assert report.statistics["assets"] == len(FILES[name]["assets"])
