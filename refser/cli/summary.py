"""`refser summary`: the table of layers, output shapes and parameters, without Keras.

Spec: spec/command-line.md (CL-040).  Not here: what is in it (rules/summary), the table itself (rules/summary_text).
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from refser import api
from refser.cli import _outcome
from refser.cli._parser import limits_of
from refser.cli._screen import screen_width
from refser.rules.summary import Count, Row, Summary
from refser.rules.summary_text import text


def run(args: Namespace) -> int:
    summary = api.summary(args.file, limits=limits_of(args), expand_nested=args.nested)
    if args.json:
        _outcome.print_json(args, summary_json(summary))
    else:
        boxes = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        print(text(summary, screen_width(), unicode=boxes), end="")
    return _outcome.CONFORMS


def summary_json(summary: Summary) -> dict[str, Any]:
    """The fields that spec/schemas/summary.schema.json describes [CL-011]."""
    return {
        "name": summary.name,
        "class_name": summary.class_name,
        "layers": [_row_json(row) for row in summary.rows],
        "totals": {
            "all": _count_json(summary.total),
            "trainable": _count_json(summary.trainable),
            "non_trainable": _count_json(summary.non_trainable),
            "optimizer": _count_json(summary.optimizer) if summary.optimizer else None,
        },
        "complete": summary.complete,
        "opaque": [{"path": it.path, "class_name": it.class_name, "reason": it.reason, "at": it.at} for it in summary.opaque],
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "class_name": row.class_name,
        "outputs": [None if shape is None else list(shape) for shape in row.outputs],
        "parameters": row.parameters,
        "built": row.built,
        "connected_to": list(row.connected_to),
        "depth": row.depth,
        "operation": row.operation,
    }


def _count_json(count: Count) -> dict[str, int]:
    return {"parameters": count.parameters, "bytes": count.bytes}
