"""Scanners of model files: modelscan, modelaudit.  Flagged is refused, and so is what the scanner says it could not look at.

    python scanner_tool.py modelscan|modelaudit --serve

The exit code of its command line, computed as the command line does: 0 clean, 1 issues, 2 errors; modelscan has 3, nothing
scanned, which is no answer.  Not here: a verdict, a code; they do not have those of the specification.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NO_ANALYTICS"] = "1"  # nothing leaves the machine
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from common import Answer, Question, Unsupported, main

CLEAN: Answer = {"result": "read", "verdict": "valid"}


def with_modelscan(path: Path) -> Answer:
    from modelscan.modelscan import ModelScan

    scan = ModelScan()
    scan.scan(path)
    if not scan.scanned:
        if scan.errors:
            return {"result": "refused", "message": f"error: {scan.errors[0]}"}
        raise Unsupported("; ".join(f"skipped: {it.message}" for it in scan.skipped[:1]) or "nothing scanned")
    if scan.issues.all_issues:
        issue = scan.issues.all_issues[0]
        return {"result": "refused", "message": f"{issue.severity.name}: {issue.details.output_json().get('description', '')}"}
    if scan.errors:
        return {"result": "refused", "message": f"error: {scan.errors[0]}"}
    return CLEAN


def with_modelaudit(path: Path) -> Answer:
    from modelaudit.core import determine_exit_code, scan_model_directory_or_file

    found = scan_model_directory_or_file(str(path), cache_enabled=False)
    code = determine_exit_code(found)
    if code == 0:
        return CLEAN
    told = [f"{it.severity.value}: {it.message}" for it in found.issues if it.severity.value in ("critical", "warning")]
    return {"result": "refused", "message": f"exit code {code}: {told[0] if told else 'inconclusive'}"[:300]}


SCANNERS = {"modelscan": with_modelscan, "modelaudit": with_modelaudit}


def warm(name: str) -> None:
    """What the children share."""
    if name == "modelscan":
        from modelscan.modelscan import ModelScan

        ModelScan()
    else:
        import modelaudit.core  # noqa: F401


if __name__ == "__main__":
    scanner, *words = sys.argv[1:]
    warm(scanner)

    def handle(question: Question) -> Answer:
        if question.kind in ("read", "reject"):
            return SCANNERS[scanner](question.input)
        raise Unsupported(f"the kind {question.kind}")

    main(handle, words)
