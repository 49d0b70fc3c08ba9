"""What runs the examples of what a validator reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spec_content import put
from spec_examples import Run

import refser
from refser.checks.report import Report
from refser.limits import UNTRUSTED_LIMITS


def run_validate(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    content = example["validate"]
    is_config = isinstance(content, dict) and "config" in content
    path = folder / example.get("name", "model.json" if is_config else "model")
    put(path, json.dumps(content["config"]) if is_config else content)
    report = validated(path, example.get("options", {}))
    problems = [it for it in report.problems if it.severity != "info"]
    found = {
        "verdict": report.verdict,
        "codes": sorted({it.code for it in problems}),
        "warnings": sorted({it.code for it in problems if it.severity == "warning"}),
        "infos": sorted({it.code for it in report.problems if it.severity == "info"}),
        "at": report.problems[0].at if report.problems else "",
        "suppressed": report.suppressed,
    }
    shown = "\n".join(map(str, report.problems))
    assert {key: found[key] for key in found if key in example} == {key: example[key] for key in found if key in example}, shown


def validated(path: Path, options: dict[str, Any]) -> Report:
    """With the options of `refser.validate`; those that are limits are taken for such."""
    known = {key: options[key] for key in options if key not in UNTRUSTED_LIMITS.__dataclass_fields__}
    limits = {key: options[key] for key in options if key not in known}
    given = {name: getattr(UNTRUSTED_LIMITS, name) for name in UNTRUSTED_LIMITS.__dataclass_fields__}
    return refser.validate(path, limits=refser.Limits(**{**given, **limits}), **known)


VALIDATE_RUNNERS: dict[tuple[str, str], Run] = {
    ("validate verdict codes", "name options warnings infos at suppressed"): run_validate,
}
