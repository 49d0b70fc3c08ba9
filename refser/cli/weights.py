"""`refser weights`: list a model's weights, or extract them.

Spec: spec/command-line.md (CL-021 to CL-026).  Not here: writing .npy files (_extract).
"""

from __future__ import annotations

import fnmatch
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from refser import api
from refser.cli import _outcome
from refser.cli._parser import limits_of
from refser.cli._screen import plural, size_text
from refser.errors import Problem, printable
from refser.layouts import ModelFile
from refser.values import Weight


def run(args: Namespace) -> int:
    with api.open(args.file, limits=limits_of(args)) as file:
        problems = _outcome.warn(file.problems)
        weights = _chosen(file, _named(file) if args.by_name else list(file.weights.values()), args.match)
        listed = [_outcome.weight_json(weight) for weight in weights]
        content: dict[str, Any] = {"layout": file.layout, "weights": listed, "problems": problems}
        if args.out is not None:
            content["out"] = _extract(weights, args.out, args.overwrite, listed)
    if args.json:
        _outcome.print_json(args, content)
    elif args.out is not None:
        total = size_text(sum(weight.nbytes for weight in weights))
        print(printable(f"wrote {plural(len(weights), 'array')}, {total}, to {args.out}"))
    else:
        print("".join(f"{line}\n" for line in _lines(weights)), end="")
    return _outcome.CONFORMS


def _named(file: ModelFile) -> list[Weight]:
    """Every weight under its variable path, where the config tells one and no other weight has it [CL-038]."""
    first = {weight.path: path for path, weight in file.variables.items()}
    return [weight.moved(first.get(inner, inner)) for inner, weight in file.weights.items()]


def _chosen(file: ModelFile, weights: list[Weight], patterns: Sequence[str] | None) -> list[Weight]:
    """Those whose path one of the patterns matches [CL-022]."""
    if patterns is None:
        return weights
    chosen = [weight for weight in weights if any(fnmatch.fnmatchcase(weight.path, pattern) for pattern in patterns)]
    if not chosen:
        message = f"none of {plural(len(weights), 'weight')} matches {' or '.join(map(repr, patterns))}"
        raise _outcome.NotDoneError(Problem(code="CL-022", message=message, at=file.path))
    return chosen


def _lines(weights: Sequence[Weight]) -> Iterator[str]:
    """Path, dtype, shape and bytes: a tab between for `cut`, in columns on a terminal [CL-021]."""
    rows = [(printable(w.path), w.dtype, f"[{','.join(map(str, w.shape))}]", str(w.nbytes)) for w in weights]
    if not sys.stdout.isatty():
        yield from ("\t".join(row) for row in rows)
        return
    widths = [max(map(len, column)) for column in zip(*rows)]
    for path, dtype, shape, size in rows:
        yield f"{path.ljust(widths[0])}  {dtype.ljust(widths[1])}  {shape.ljust(widths[2])}  {size.rjust(widths[3])}"


def _extract(weights: Sequence[Weight], out: str, overwrite: bool, listed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the arrays; what came out of each is added to its entry in `listed` [CL-023, CL-024, CL-026]."""
    from refser.cli import _extract

    is_archive = out.lower().endswith(".npz")
    write = _extract.to_npz if is_archive else _extract.to_folder
    files = write(weights, out, overwrite=overwrite)
    widened = set()
    for entry, weight, file in zip(listed, weights, files):
        entry["file"], entry["saved_dtype"] = file, _extract.saved_dtype(weight)
        if entry["saved_dtype"] != weight.dtype:
            widened.add(weight.dtype)
    if widened:
        _outcome.say(f"note: {' and '.join(sorted(widened))} arrays are written as float32, which holds them exactly")
    return {"path": os.fspath(out), "kind": "npz" if is_archive else "folder"}
