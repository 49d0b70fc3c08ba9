"""`refser inspect`: what is in a model file.

Spec: spec/command-line.md (CL-015 to CL-020).  Not here: finding it out (_report), showing it (_report_text).
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from refser import api
from refser.cli import _outcome
from refser.cli._parser import limits_of
from refser.cli._report import ROLES, Part, Report, report_on


def run(args: Namespace) -> int:
    """1 when the config does not parse, with everything else still shown [CL-020]."""
    with api.open(args.file, limits=limits_of(args)) as file:
        report = report_on(file)
    if args.json:
        _outcome.print_json(args, report_json(report))
    else:
        _print_text(report, args)
    return _outcome.HAS_PROBLEM if report.errors else _outcome.CONFORMS


def _print_text(report: Report, args: Namespace) -> None:
    from refser.cli import _report_text
    from refser.cli._screen import Paint, screen_width

    shown = _report_text.lines(report, width=screen_width(), depth=args.depth, everything=args.all, paint=Paint())
    print("\n".join(shown))


def report_json(report: Report) -> dict[str, Any]:
    """The fields that spec/schemas/inspect.schema.json describes [CL-011]."""
    training = report.training
    totals = {role: report.total(role) for role in ROLES}
    return {
        "layout": report.layout,
        "generation": report.generation,
        "file_bytes": report.file_bytes,
        "keras_version": report.metadata_text("keras_version"),
        "date_saved": report.metadata_text("date_saved"),
        "backend": report.metadata_text("backend"),
        "metadata": dict(report.metadata),
        "model": report.model,
        "training": {"optimizer": training.optimizer, "loss": training.loss, "metrics": training.metrics} if training else None,
        "layers": [{"depth": it.depth, "name": it.name, "class_name": it.class_name} for it in report.layers],
        "objects": [_part_json(part) for part in report.parts],
        "totals": {
            role: {"weights": total.weights, "parameters": total.parameters, "bytes": total.bytes}
            for role, total in totals.items()
        },
        "assets": [{"path": path, "bytes": size} for path, size in report.assets.items()],
        "problems": [_outcome.problem_json(problem, "warning") for problem in report.warnings]
        + [_outcome.problem_json(problem, "error") for problem in report.errors],
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "path": part.path,
        "name": part.name,
        "class_name": part.class_name,
        "role": part.role,
        "weights": [_outcome.weight_json(weight) for weight in part.weights],
    }
