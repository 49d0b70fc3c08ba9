"""What the checks of weights share: where an array stands, how a message names it, which dtypes stand in for which.

Spec: spec/weights-fit.md (WT-043).  Not here: what is compared with what (weights, legacy_weights).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from refser.checks.report import Finding, Severity, error, of_error, warning
from refser.errors import RefserError
from refser.layouts import ModelFile
from refser.rules.tree import WeightSpec
from refser.rules.walk import Opaque
from refser.values import DTYPES, Weight

_LONGEST = 120  # characters of one name in a message
MODELS = ("keras-zip", "keras-dir")  # layouts of a whole model of Keras 3
OLD_CONTAINER = "_layer_checkpoint_dependencies"  # where tf.keras up to 2.14 has the layers
_FLOATS, _INTEGERS = "fV", "iu"


class Places:
    """Where inner paths are, as `Dataset.at` and `Group.at` say it, and assets."""

    def __init__(self, file: ModelFile) -> None:
        self._name, self._slash = os.path.basename(file.path.rstrip("/")), "/" if file.layout == "keras-dir" else ":"
        self._start = self._name + (f"{self._slash}model.weights.h5:/" if file.layout in MODELS else ":/")

    def __call__(self, path: str) -> str:
        return self._start + path

    def asset(self, name: str) -> str:
        return f"{self._name}{self._slash}assets/{name}"


class Vague:
    """The places below which the config cannot tell."""

    def __init__(self, opaque: Iterable[Opaque]) -> None:
        self._paths = {place.path for place in opaque}

    def covers(self, path: str) -> bool:
        return bool(self._paths) and any(above in self._paths for above in ("", *prefixes(path)))


def prefixes(path: str) -> Iterator[str]:
    """`a`, `a/b` and `a/b/c` of `a/b/c`."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)
    yield path


def weight_at(file: ModelFile, path: str, faults: list[Finding]) -> Weight | None:
    """The array; None where it cannot be told what it is, and a fault more, unless somebody has said so already."""
    if path in file.left_out:
        return None
    try:
        return file.weights[path]
    except RefserError as fault:
        faults.append(of_error(fault))
        return None


# Messages


def named(spec: WeightSpec) -> str:
    """`dense/kernel (3, 4)`."""
    return f"{brief(spec.variable_path or spec.path)} {spec.shape}"


def some(items: Iterable[str], count: int, most: int = 3) -> str:
    """The first few of `count` items, and how many more there are."""
    text = ", ".join(islice(items, most if count > most + 1 else count))
    return f"{text} and {count - most:,} more" if count > most + 1 else text


def brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number != 1 else f"1 {what.removesuffix('s')}"


# Dtypes


class Dtypes:
    """Arrays that are stored as another dtype than the config's, gathered: a model saved in another precision is one fault."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Severity], tuple[str, list[str]]] = {}

    def compare(self, name: str, wanted: str | None, stored: str, at: str) -> None:
        if stored != wanted and (severity := judged_dtype(wanted, stored)) is not None:
            self._found.setdefault((wanted or "", stored, severity), (at, []))[1].append(name)

    def findings(self) -> Iterator[Finding]:
        """One for each pair of dtypes [WT-043]."""
        for (wanted, stored, severity), (at, names) in self._found.items():
            shown = some(map(brief, names), len(names))
            calls = f"the config calls for {wanted}" if wanted else "no variable of Keras is that"
            if severity == "error":
                yield error("WT-043", f"{stored} in the place of {shown}; {calls}", at)
            else:
                yield warning("WT-043", f"{stored} in the place of {shown}; {calls}, to which Keras casts it", at)


def judged_dtype(wanted: str | None, stored: str) -> Severity | None:
    """A warning where Keras casts to a like dtype; an error where it refuses, or makes other values without a word."""
    kind = DTYPES[stored][0][0]
    if kind == "S":
        return "error"
    if wanted is None or wanted == stored:
        return None
    want = DTYPES[wanted][0][0]
    if want in _FLOATS and kind in _FLOATS:
        return "warning"
    if want == "c" and (kind == "c" or kind in _FLOATS):
        return "warning"
    if want in _INTEGERS and kind in _INTEGERS:
        (low, high), (least, most) = _range(wanted), _range(stored)
        return "warning" if low <= least and most <= high else "error"
    return "error"


def _range(dtype: str) -> tuple[int, int]:
    kind, bits = DTYPES[dtype][0][0], DTYPES[dtype][1]
    return (0, (1 << bits) - 1) if kind == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def shapes_text(shapes: Sequence[Sequence[int | None]]) -> str:
    return some((str(tuple(shape)) for shape in shapes), len(shapes))
