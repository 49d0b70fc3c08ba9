"""How a command ends: exit codes, error lines, JSON objects.

Spec: spec/command-line.md (CL-001 to CL-004, CL-010).
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from refser.values import Weight

CONFORMS, HAS_PROBLEM, NOT_DONE = 0, 1, 2
FORMAT_VERSION = 1  # of every JSON object below; goes up when a field changes meaning or goes away [CL-010]
_LINE_MAX = 2_000
_KINDS: Mapping[type[RefserError], str] = {
    MalformedError: "malformed",
    InvalidError: "invalid",
    UnsafeError: "unsafe",
    LimitError: "limit",
    UnsupportedError: "unsupported",
    AccessError: "access",
}
_LONE_SURROGATE = "[\ud800-\udfff]"


class NotDoneError(RefserError):
    """The command cannot do what it was asked to, however sound the file is."""


def say(text: str) -> None:
    """One line to standard error, of a length that can be read."""
    from refser.cli._screen import elide

    print(f"refser: {elide(text, _LINE_MAX)}", file=sys.stderr)


def warn(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Say what is odd about a file where standard output is taken; the same for a JSON object [CL-003]."""
    found = list(problems)
    for problem in found:
        say(f"warning: {problem}")
    return [problem_json(problem, "warning") for problem in found]


def refused(args: Namespace, error: RefserError) -> int:
    """Report the error that ended a command; its exit code [CL-001, CL-002, CL-004]."""
    problem, kind = error.problem, _KINDS.get(type(error), "command")
    say(str(problem))
    if args.json:
        told = {"code": problem.code, "message": problem.message, "at": problem.at, "hint": problem.hint}
        print_json(args, {"error": {"kind": kind, **told}})
    return HAS_PROBLEM if kind in ("malformed", "invalid", "unsafe", "limit") else NOT_DONE


def print_json(args: Namespace, content: Mapping[str, Any], *, file: str | None = None) -> None:
    """What a command says of its FILE, or of the one that is named here."""
    head = {"format": f"refser-{args.command}", "version": FORMAT_VERSION, "file": args.file if file is None else file}
    print_object({**head, **content})


def print_object(value: Mapping[str, Any]) -> None:
    """One object on one line, in ASCII [CL-010]."""
    print(_ascii(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def problem_json(problem: Problem, severity: str) -> dict[str, str]:
    """A problem as the JSON objects have it."""
    told = {"code": problem.code, "message": problem.message, "at": problem.at, "hint": problem.hint}
    return {"severity": severity, **told}


def _ascii(text: str) -> str:
    """JSON text with all beyond printable ASCII escaped; a lone surrogate, which no UTF-8 reader takes, becomes U+FFFD."""
    if text.isascii() and "\x7f" not in text:
        return text
    whole = re.sub(_LONE_SURROGATE, "\ufffd", text)
    return "".join(char if " " <= char <= "~" else _escape(char) for char in whole)


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def weight_json(weight: Weight) -> dict[str, Any]:
    """A weight as the JSON objects have it."""
    return {
        "path": weight.path,
        "dtype": weight.dtype,
        "shape": list(weight.shape),
        "bytes": weight.nbytes,
        "name": weight.name,
        "variable_path": weight.variable_path,
        "trainable": weight.trainable,
    }
