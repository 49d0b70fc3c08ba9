"""What `validate` asks of a file: is it sound, do config and weights agree, is it safe to hand to Keras.

Spec: spec/validate.md (VR).  What Keras saves is no fault [VR-009].
Not here: what is asked of one subject (the modules, one function for a requirement or a family).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from refser.checks.constructors import check_constructors
from refser.checks.container import check_container
from refser.checks.domains import check_domains
from refser.checks.graph import check_graph
from refser.checks.report import Finding, Report, Severity, Verdict, judged, of_error, of_problem
from refser.checks.safety import check_safety
from refser.checks.subject import Options, Subject
from refser.checks.target import check_target
from refser.checks.values import check_values
from refser.checks.weights import check_weights
from refser.errors import Problem, RefserError
from refser.layouts import ModelFile, open_layout
from refser.limits import Limits
from refser.rules.tree import read_version
from refser.source import Source

__all__ = ["CHECKS", "Check", "Finding", "Options", "Report", "Severity", "Subject", "Verdict", "validate_layout"]

Check = Callable[[Subject], Iterator[Finding]]
# In the order in which their findings are listed, among those of one severity.
CHECKS: tuple[Check, ...] = (
    check_container,
    check_safety,
    check_constructors,
    check_domains,
    check_graph,
    check_weights,
    check_values,
    check_target,
)


def validate_layout(
    path: str,
    *,
    limits: Limits,
    options: Options,
    suppress: Collection[str] = (),
    strict: bool = False,
    source: Source | None = None,
) -> Report:
    """The report on whatever is at `path`.  Nothing that is wrong with the file is raised."""
    findings: list[Finding] = []
    layout: str | None = None
    statistics: dict[str, object] = {}
    try:
        with open_layout(path, limits=limits, source=source, refuse=lambda error: findings.append(of_error(error))) as file:
            layout = file.layout
            more, statistics = _look(file, options)
            findings.extend(more)
    except RefserError as error:
        findings.append(of_error(error))
    problems, suppressed = judged(findings, suppress=suppress, strict=strict)
    return Report(path=path, layout=layout, problems=problems, suppressed=suppressed, statistics=statistics)


def _look(file: ModelFile, options: Options) -> tuple[list[Finding], dict[str, object]]:
    subject = Subject(file, options)
    findings = [_remark(problem, file) for problem in file.problems]
    for check in CHECKS:
        findings.extend(check(subject))
    return [*_untold(subject.found, findings), *findings], _statistics(subject)


def _remark(problem: Problem, file: ModelFile) -> Finding:
    """tf.keras 2.12 itself gave HDF5 files the name `.keras`, and loads them."""
    own_name = problem.code == "FT-002" and file.generation == "legacy" and read_version(file.keras_version) < (2, 13)
    return of_problem(problem, "info" if own_name else "warning")


def _untold(stops: Sequence[Finding], findings: Sequence[Finding]) -> list[Finding]:
    """What stopped a derivation, where no check has said what is wrong with the same place."""
    told = {it.at for it in findings if it.severity == "error"}
    return [it for it in stops if not it.at or it.at not in told]


def _statistics(subject: Subject) -> dict[str, object]:
    """VR-010."""
    file = subject.file
    return {
        "keras_version": file.keras_version,
        "weights": len(file.weights),
        "bytes": sum(weight.nbytes for weight in file.weights.values()),
        "assets": len(file.assets),
    }
