"""What `validate` says of a file: findings, each with a requirement's ID, and the verdict that follows from them.

Spec: spec/validate.md (VR-001 to VR-006).  Not here: finding anything (the other modules of the package).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from refser._record import field, record
from refser.errors import AccessError, LimitError, Problem, RefserError, UnsafeError, UnsupportedError, one_line

Severity = Literal["error", "warning", "info"]
Verdict = Literal["valid", "unchecked", "invalid", "unsafe"]
VERDICTS: tuple[Verdict, ...] = ("valid", "unchecked", "invalid", "unsafe")  # the last of those that findings call for counts

# Over these caps a small file asks for much: what it declares is not there, or unfolds [VR-003].
_BOMBS = frozenset({"LI-002", "LI-004", "LI-010", "H5-029"})
_PICKLES = frozenset({"NZ-001"})  # refser does not read them, and nobody should


@record(frozen=True, slots=True, kw_only=True)
class Finding:
    """A `Problem`, and what it means for the file: only an error has a verdict other than "valid"."""

    code: str  # the requirement's ID in spec/
    message: str  # what was found, then what was wanted
    at: str = ""  # "config.layers[3].config.units", "model.weights.h5:/layers/dense/vars/0", "model.keras: byte 1,024"
    hint: str = ""
    severity: Severity = "error"
    verdict: Verdict = "invalid"

    def __str__(self) -> str:
        return one_line(self.code, self.message, self.at, self.hint)


def error(code: str, message: str, at: str = "", hint: str = "") -> Finding:
    """Malformed, or nothing that Keras would load faithfully."""
    return Finding(code=code, message=message, at=at, hint=hint)


def unsafe(code: str, message: str, at: str = "", hint: str = "") -> Finding:
    """Loading it could run code, reach outside the file or exhaust the machine."""
    return Finding(code=code, message=message, at=at, hint=hint, verdict="unsafe")


def unchecked(code: str, message: str, at: str = "", hint: str = "") -> Finding:
    """Something could not be looked at."""
    return Finding(code=code, message=message, at=at, hint=hint, verdict="unchecked")


def warning(code: str, message: str, at: str = "", hint: str = "") -> Finding:
    """Legal, and unusual or unverifiable."""
    return Finding(code=code, message=message, at=at, hint=hint, severity="warning", verdict="valid")


def info(code: str, message: str, at: str = "", hint: str = "") -> Finding:
    return Finding(code=code, message=message, at=at, hint=hint, severity="info", verdict="valid")


def of_problem(problem: Problem, severity: Literal["warning", "info"] = "warning") -> Finding:
    """What reading the file only remarked on."""
    make = warning if severity == "warning" else info
    return make(problem.code, problem.message, problem.at, problem.hint)


def of_error(error: RefserError) -> Finding:
    """What stopped the reading of a file, or of a part of it [VR-003]."""
    problem = error.problem
    verdict: Verdict = "invalid"
    if isinstance(error, UnsafeError) or problem.code in _BOMBS or problem.code in _PICKLES:
        verdict = "unsafe"
    elif isinstance(error, (LimitError, UnsupportedError, AccessError)):
        verdict = "unchecked"
    return Finding(code=problem.code, message=problem.message, at=problem.at, hint=problem.hint, verdict=verdict)


@record(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict on one file, and all that led to it, the worst first."""

    path: str
    layout: str | None = None  # None: no layout was recognised
    problems: tuple[Finding, ...] = ()
    suppressed: int = 0  # findings that the caller did not want to hear of
    statistics: Mapping[str, Any] = field(default_factory=dict)  # "keras_version", "layers", "weights", "bytes", ...

    @property
    def verdict(self) -> Verdict:
        """The strongest that a finding calls for: "unsafe", "invalid", "unchecked"; else "valid" [VR-001]."""
        return max((it.verdict for it in self.problems), key=VERDICTS.index, default="valid")

    def of_severity(self, severity: Severity) -> list[Finding]:
        return [it for it in self.problems if it.severity == severity]


_ORDER = {"error": 0, "warning": 1, "info": 2}


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Each once: unsafe, invalid, unchecked, then warnings, then the rest [VR-006]; else in the order of the looking."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda it: (_ORDER[it.severity], -VERDICTS.index(it.verdict))))


def judged(findings: Sequence[Finding], *, suppress: Collection[str], strict: bool) -> tuple[tuple[Finding, ...], int]:
    """Without the codes that nobody wants to hear of; `strict` takes a warning for an error [VR-004, VR-005]."""
    kept = [it for it in findings if it.code not in suppress]
    count = len(findings) - len(kept)
    if strict:
        kept = [error(it.code, it.message, it.at, it.hint) if it.severity == "warning" else it for it in kept]
    return ordered(kept), count
