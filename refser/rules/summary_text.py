"""A summary as a table of text.

Spec: spec/weight-trees.md (WT).  Not here: what is in it (summary).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from refser.errors import printable
from refser.rules.layer import Shape
from refser.rules.summary import Count, Row, Summary

_LEAST = 8  # characters that a column keeps
_BOX = {True: ("│", "─", "├┼┤", "┌┬┐", "└┴┘", "└ "), False: ("|", "-", "+++", "+++", "+++", "- ")}


def text(summary: Summary, width: int = 80, *, unicode: bool = False) -> str:
    """Keras's table in `width` columns.  `unicode`: with the characters that draw boxes, for a stream that can show them."""
    bar, line, middle, top, bottom, branch = _BOX[unicode]
    header = ["Layer (type)", "Output Shape", "Param #", *([] if summary.chain else ["Connected to"])]
    rows = [_cells(row, summary.chain, branch) for row in summary.rows]
    widths = _widths([header, *rows], max(width, 1))
    found = [f'Model: "{printable(summary.name or summary.class_name)}"']
    if rows:
        found.append(_rule(widths, line, top))
        found.extend(_lines(header, widths, bar))
        found.append(_rule(widths, line, middle))
        for row in rows:
            found.extend(_lines(row, widths, bar))
        found.append(_rule(widths, line, bottom))
    counts = [
        ("Total", summary.total),
        ("Trainable", summary.trainable),
        ("Non-trainable", summary.non_trainable),
        ("Optimizer", summary.optimizer),
    ]
    least = "" if summary.complete else "at least "
    found.extend(f" {name} params: {least}{_count(count)}" for name, count in counts if count is not None)
    for place in summary.opaque:
        found.append(printable(f" Cannot be told: {place.path or 'the model'} ({place.class_name}): {place.reason}"))
    return "\n".join(found) + "\n"


def _cells(row: Row, chain: bool, branch: str) -> list[str]:
    prefix = "   " * row.depth + branch if row.depth else ""
    parameters = "?" if row.parameters is None else f"{row.parameters:,}"
    cells = [
        f"{prefix}{printable(row.name or '?')} ({printable(row.class_name)})",
        shapes_text(row.outputs),
        parameters if row.built else f"{parameters} (unbuilt)",
    ]
    return cells if chain else [*cells, ", ".join(map(printable, row.connected_to)) or "-"]


def shapes_text(shapes: Sequence[Shape | None]) -> str:
    """As Keras shows them: one alone, several as a list, "?" for what is not known."""
    found = ["?" if shape is None else f"({', '.join(map(str, shape))})" for shape in shapes]
    return f"[{', '.join(found)}]" if len(found) > 1 else "".join(found) or "?"


def _count(count: Count) -> str:
    return f"{count.parameters:,} ({size_text(count.bytes)})"


def size_text(size: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB"]
    for unit in units:
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


# Layout


def _widths(rows: list[list[str]], width: int) -> list[int]:
    """As wide as the longest cell, the widest column narrowed until all fit."""
    found = [max(map(len, column)) for column in zip(*rows)]
    space = width - 3 * len(found) - 1
    while sum(found) > space and max(found) > _LEAST:
        widest = found.index(max(found))
        others = sorted(found)[-2] if len(found) > 1 else 0
        found[widest] = max(_LEAST, min(found[widest] - 1, max(others, found[widest] - (sum(found) - space))))
    return found


def _rule(widths: list[int], line: str, corners: str) -> str:
    return corners[0] + corners[1].join(line * (width + 2) for width in widths) + corners[2]


def _lines(cells: list[str], widths: list[int], bar: str) -> Iterator[str]:
    parts = [_wrapped(cell, width) for cell, width in zip(cells, widths)]
    for number in range(max(map(len, parts))):
        shown = [part[number] if number < len(part) else "" for part in parts]
        padded = [f"{it:>{width}}" if at == 2 else f"{it:<{width}}" for at, (it, width) in enumerate(zip(shown, widths))]
        yield f"{bar} {f' {bar} '.join(padded)} {bar}"


def _wrapped(cell: str, width: int) -> list[str]:
    """Pieces of a cell, cut at a space where there is one."""
    found = []
    while len(cell) > width:
        cut = cell.rfind(" ", 1, width + 1)
        cut = cut if cut > 0 and cell[:cut].strip() else width
        found.append(cell[:cut].rstrip())
        cell = cell[cut:].lstrip()
    return [*found, cell]
