"""Reports as one SARIF 2.1.0 log.

Spec: spec/command-line.md (CL-052 to CL-057).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from refser import __version__
from refser.checks.report import Finding, Report
from refser.cli import _explain, _outcome

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_BYTE = re.compile(r"byte ([0-9][0-9,]{0,25})")
_JSON_PLACE = re.compile(r"(?:training_)?config(?=[.\[]|$)")
_URL_SAFE = ":/?#[]@!$&'()*+,;=%~"
_SEVERITY = "9.0"  # from 9.0, code scanning calls it critical

Json = dict[str, Any]


def log(reports: Sequence[Report], exit_code: int) -> Json:
    """One run with every file as an artifact and every problem as a result."""
    rules = _Rules()
    results = [result for number, report in enumerate(reports) for result in _results(report, number, rules)]
    run = {
        "tool": {"driver": {"name": "refser", "version": __version__, "semanticVersion": __version__, "rules": rules.listed()}},
        "invocations": [{"executionSuccessful": exit_code != _outcome.NOT_DONE, "exitCode": exit_code}],
        "artifacts": [_artifact(report) for report in reports],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


class _Rules:
    """The requirements that results name, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._unsafe: set[str] = set()

    def number(self, problem: Finding) -> int:
        if problem.verdict == "unsafe":
            self._unsafe.add(problem.code)
        return self._numbers.setdefault(problem.code, len(self._numbers))

    def listed(self) -> list[Json]:
        return [self._rule(code) for code in self._numbers]

    def _rule(self, code: str) -> Json:
        rule: Json = {"id": code}
        if (found := _explain.requirements().get(code)) is not None:
            told = f"{found.text}\n\n{found.why}" if found.why else found.text
            rule |= {
                "shortDescription": {"text": found.title},
                "fullDescription": {"text": found.text},
                "help": {"text": told},
            }
        if code in self._unsafe:
            rule["properties"] = {"tags": ["security"], "security-severity": _SEVERITY}
        return rule


def _artifact(report: Report) -> Json:
    properties = {"verdict": report.verdict, "layout": report.layout, "suppressed": report.suppressed, **report.statistics}
    return {"location": {"uri": uri(report.path)}, "roles": ["analysisTarget"], "properties": properties}


def _results(report: Report, number: int, rules: _Rules) -> Iterator[Json]:
    seen = Counter[tuple[str, str]]()
    for problem in report.problems:
        key = (problem.code, problem.at)
        seen[key] += 1
        text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        yield {
            "ruleId": problem.code,
            "ruleIndex": rules.number(problem),
            "level": _LEVELS[problem.severity],
            "message": {"text": text},
            "locations": [_location(report, problem.at, number)],
            "partialFingerprints": {"refserProblem/v1": _fingerprint(*key, seen[key])},
            "properties": {"verdict": problem.verdict},
        }


def _fingerprint(code: str, at: str, times: int) -> str:
    """The same from run to run, wherever the file lies and whatever the words: requirement, place, and which one there."""
    text = "\0".join((code, at, str(times)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _location(report: Report, at: str, number: int) -> Json:
    """The file, the bytes where `at` names some of the file itself, and the place inside it."""
    physical: Json = {"artifactLocation": {"uri": uri(report.path), "index": number}}
    name = os.path.basename(report.path.rstrip("/" + os.sep))
    place = at
    for whole in (report.path, name):
        if whole and (at == whole or at.startswith(f"{whole}:")):
            place = at[len(whole) + 1 :].strip()
            break
    byte = _BYTE.fullmatch(place)
    if byte:
        physical["region"] = {"byteOffset": int(byte[1].replace(",", ""))}
    found: Json = {"physicalLocation": physical}
    if place and not byte:
        found["logicalLocations"] = [_logical(place)]
    return found


def _logical(place: str) -> Json:
    """A JSON path, or a member and a place in it."""
    if _JSON_PLACE.match(place):
        return {"fullyQualifiedName": place, "name": re.split(r"[.]", place)[-1], "kind": "property"}
    return {"fullyQualifiedName": place, "name": re.split(r"[:/]", place.rstrip("/"))[-1].strip() or place, "kind": "resource"}


def uri(path: str) -> str:
    """A URI reference, relative where the file lies below the working directory."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        return quote(path, safe=_URL_SAFE)
    if os.path.isabs(path):
        inside = _below_here(path)
        if inside is None:
            from pathlib import Path

            return Path(path).as_uri()
        path = inside
    return quote(os.fsencode(path.replace(os.sep, "/").removeprefix("./") or "."))


def _below_here(path: str) -> str | None:
    try:
        inside = os.path.relpath(path)
    except (OSError, ValueError):  # another drive
        return None
    return None if inside.split(os.sep)[0] == os.pardir else inside
