"""The report of `inspect` as lines for a person.

Spec: spec/command-line.md (CL-012, CL-015, CL-016).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from refser.cli._report import ROLES, Part, Report, sum_of
from refser.cli._screen import LAYOUTS, Paint, cells, elide, fit, plural, shape_text, size_text, wrap
from refser.errors import printable
from refser.values import Weight

_LABEL = 12  # columns of the words on the left
_DEEPEST = 4  # no indent is wider than this part of the screen, so that a name always has room
_DATE = r"(\d{4}-\d\d-\d\d)@(\d\d:\d\d:\d\d)"


@dataclass(slots=True)
class _Node:
    """A level of the tree: an object, or a name on the way to one."""

    label: str
    part: Part | None = None
    below: dict[str, _Node] = field(default_factory=dict)


def lines(report: Report, *, width: int, depth: int | None, everything: bool, paint: Paint) -> Iterator[str]:
    """The whole report, no line wider than `width`."""
    yield paint("bold", elide(report.file, width))
    yield from _facts(report, width, paint)
    tree = list(_tree(report, width, depth, everything, paint))
    yield from ["", *tree] if tree else []
    yield ""
    yield from _totals(report, width, everything or depth is not None, paint)
    for colour, word, problems in (("yellow", "warning", report.warnings), ("red", "error", report.errors)):
        for problem in problems:
            first, *rest = wrap(f"{word}: {problem}", width)
            yield paint(colour, first)
            yield from (paint(colour, line) for line in rest)


def _facts(report: Report, width: int, paint: Paint) -> Iterator[str]:
    size = f", {size_text(report.file_bytes)}" if report.file_bytes is not None else ""
    facts = {"layout": f"{LAYOUTS.get(report.layout, report.layout)} ({report.layout}){size}", "saved by": _saved_by(report)}
    if report.model:
        name = f" {report.model['name']!r}" if report.model["name"] else ""
        facts["model"] = f"{report.model['class_name'] or 'of unknown class'}{name}"
    if report.training:
        said = (("optimizer", report.training.optimizer), ("loss", report.training.loss), ("metrics", report.training.metrics))
        facts["compiled"] = ", ".join(f"{word} {value}" for word, value in said if value)
    for word, fact in facts.items():
        if fact:
            yield f"{paint('dim', word.ljust(_LABEL))}{elide(fact, width - _LABEL)}"


def _saved_by(report: Report) -> str:
    version, date, backend = map(report.metadata_text, ("keras_version", "date_saved", "backend"))
    when = re.fullmatch(_DATE, date or "", re.ASCII)
    said = (
        f"Keras {version}" if version else "",
        f"backend {backend}" if backend else "",
        f"{when[1]} {when[2]}" if when else date or "",
    )
    return ", ".join(word for word in said if word)


def _tree(report: Report, width: int, depth: int | None, everything: bool, paint: Paint) -> Iterator[str]:
    if not report.parts:
        yield from _layer_lines(report, width, depth, paint)
        return
    columns = _Columns(report, width, paint)
    todo = [(node, 1) for node in reversed(_nodes(report))]
    while todo:
        node, level = todo.pop()
        if depth is not None and level > depth:
            continue
        part = node.part
        own = part.weights if part else ()
        folded = level == depth or (part is not None and part.role != "model" and not everything)
        yield columns.object_line(node, level, folded)
        if not folded:
            for weight in own:
                key = weight.path.removeprefix(f"{part.path}/") if part and part.path else weight.path
                key += f"  {_called(weight)}" if weight.name else ""
                yield columns.weight_line(key, shape_text(weight.shape), weight.dtype, size_text(weight.nbytes), level + 1)
            todo.extend((below, level + 1) for below in reversed(node.below.values()))


def _called(weight: Weight) -> str:
    """The variable's name; of an optimizer's array which variable it is for, too [CL-039]."""
    path, top = weight.variable_path or "", "optimizer/"
    return path.removeprefix(top) if path.startswith(top) else weight.name or ""


def _nodes(report: Report) -> list[_Node]:
    """The top of the tree.  The model itself stands there too when it has weights of its own."""
    root = _Node("")
    for part in report.parts:
        node = root
        for step in part.steps:
            node = node.below.setdefault(step, _Node(step))
        node.part = part
    own = root.part
    itself = [_Node("(the model itself)", own)] if own and own.weights else []
    return [*root.below.values(), *itself]


class _Columns:
    """Where things stand in a line: a name on the left, shape, dtype and size on the right."""

    def __init__(self, report: Report, width: int, paint: Paint) -> None:
        weights = [weight for part in report.parts for weight in part.weights]
        self._width, self._paint = width, paint
        self._shape = min(width // 4, max((len(shape_text(weight.shape)) for weight in weights), default=0))
        self._dtype = max((len(weight.dtype) for weight in weights), default=0)
        self._size = max((len(size_text(weight.nbytes)) for weight in weights), default=0)

    def object_line(self, node: _Node, level: int, folded: bool) -> str:
        """`dense  Dense 'head'`, and what is below it where that is not shown."""
        indent = _indent(level - 1, self._width)
        right = _below(node) if folded else ""
        part = node.part
        class_name, name = (part.class_name or "", part.name or "") if part else ("", "")
        if name == node.label or not part or not part.path:
            name = ""
        room = self._width - len(indent) - (len(right) + 2 if right else 0)
        room -= (2 if class_name or name else 0) + (3 if name else 0)
        label, class_name, name = fit([node.label, class_name, name], room)
        words = [self._paint("cyan", class_name)] if class_name else []
        words += [f"'{name}'"] if name else []
        plain = len(words) - 1 + 2 + cells(class_name) + (cells(name) + 2 if name else 0) if words else 0
        left = f"{indent}{self._paint('bold', label)}" + ("  " + " ".join(words) if words else "")
        pad = self._width - len(indent) - cells(label) - plain - len(right)
        return f"{left}{' ' * pad}{right}" if right else left

    def weight_line(self, key: str, shape: str, dtype: str, size: str, level: int) -> str:
        indent = _indent(level - 1, self._width)
        right = f"{elide(shape, self._shape).ljust(self._shape)}  {dtype.ljust(self._dtype)}  {size.rjust(self._size)}"
        room = self._width - len(indent) - len(right) - 2
        label = elide(key, room)
        return f"{indent}{label}{' ' * (room - cells(label))}  {self._paint('dim', right)}"


def _indent(level: int, width: int) -> str:
    return " " * min(width // _DEEPEST, 2 * level)


def _below(node: _Node) -> str:
    weights: list[Weight] = []
    todo = [node]
    while todo:
        here = todo.pop()
        weights += here.part.weights if here.part else ()
        todo += here.below.values()
    total = sum_of(weights)
    return f"{plural(total.weights, 'weight')}, {size_text(total.bytes):>9}" if total.weights else ""


def _layer_lines(report: Report, width: int, depth: int | None, paint: Paint) -> Iterator[str]:
    """The layers of a config: all there is to show where a file has no weights."""
    for layer in report.layers:
        if depth is None or layer.depth < depth:
            indent = _indent(layer.depth, width)
            name, class_name = fit([layer.name or "(no name)", layer.class_name or "(no class)"], width - len(indent) - 2)
            yield f"{indent}{paint('bold', name)}  {paint('cyan', class_name)}"


def _totals(report: Report, width: int, said: bool, paint: Paint) -> Iterator[str]:
    for role in ROLES:
        total = report.total(role)
        if role == "model" and report.layout == "config-json":
            yield f"{paint('dim', 'parameters'.ljust(_LABEL))}none: a config has no weights"
        elif total.weights or role == "model":
            word = "parameters" if role == "model" else role
            count = f"{total.parameters:,} in {plural(total.weights, 'weight')}, {size_text(total.bytes)}"
            more = "" if said or role == "model" else " (--all lists them)"
            yield f"{paint('dim', word.ljust(_LABEL))}{elide(count + more, width - _LABEL)}"
    if report.assets:
        count = f"{plural(len(report.assets), 'file')}, {size_text(sum(report.assets.values()))}"
        yield f"{paint('dim', 'assets'.ljust(_LABEL))}{count}"
        for name, size in report.assets.items():
            right = size_text(size)
            label = elide(printable(name), width - len(right) - 4)
            yield f"  {label}{' ' * (width - 2 - cells(label) - len(right))}{right}"
