"""Text for people: widths, eliding, wrapping, sizes, colour.

Spec: spec/command-line.md (CL-006, CL-012, CL-013).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence

from refser.errors import printable

_LINES_MAX = 20  # of one problem
_WIDTH, _WIDTH_MIN, _WIDTH_MAX = 80, 60, 120
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
LAYOUTS = {
    "keras-zip": ".keras archive",
    "keras-dir": "model folder",
    "weights-h5": "weights file",
    "weights-sharded": "sharded weights",
    "legacy-h5": "legacy HDF5 model",
    "legacy-weights-h5": "legacy HDF5 weights",
    "config-json": "bare config",
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Paint:
    """Colour where it is wanted: on a terminal, unless NO_COLOR is set [CL-013]."""

    def __init__(self, wanted: bool | None = None) -> None:
        self._on = _wants_colour() if wanted is None else wanted

    def __call__(self, colour: str, text: str) -> str:
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self._on and text else text


def _wants_colour() -> bool:
    dumb = os.environ.get("TERM") == "dumb" or (sys.platform == "win32" and "WT_SESSION" not in os.environ)
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb


def screen_width() -> int:
    """The terminal's width within reason; 80 where there is no terminal [CL-012]."""
    if not sys.stdout.isatty():
        return _WIDTH
    import shutil  # brings four decompressors along

    return max(_WIDTH_MIN, min(_WIDTH_MAX, shutil.get_terminal_size((_WIDTH, 24)).columns))


def cells(text: str) -> int:
    """Columns that a terminal takes for `text`: two for wide characters, none for the first mark on a letter."""
    return len(text) if text.isascii() else sum(_cells(text))


def _cells(text: str) -> Iterator[int]:
    import unicodedata

    marked = True  # a mark that nothing stands before takes a column
    for char in text:
        mark = unicodedata.combining(char) != 0
        yield 0 if mark and not marked else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        marked = mark  # only the first: a name of marks alone has a width too


def elide(text: str, room: int) -> str:
    """`text`, escaped, in at most `room` columns: what is too much goes from the middle [CL-012]."""
    text = printable(text)
    if cells(text) <= room:
        return text
    if room <= 3:
        return "." * room
    back = (room - 3) // 2
    return f"{_head(text, room - 3 - back)}...{_head(text[::-1], back)[::-1]}"


def _head(text: str, room: int) -> str:
    taken = 0
    for at, width in enumerate(_cells(text)):
        taken += width
        if taken > room:
            return text[:at]
    return text


def fit(parts: Sequence[str], room: int) -> list[str]:
    """Each part escaped, the longest elided until all of them take at most `room` columns."""
    texts = [elide(part, room) for part in parts]
    widths = [cells(text) for text in texts]
    while sum(widths) > room and max(widths) > 3:
        longest = max(range(len(widths)), key=widths.__getitem__)
        others = sorted(widths)[-2] if len(widths) > 1 else 3
        widths[longest] = max(3, room - sum(widths) + widths[longest], min(others, widths[longest] - 1))
    return [elide(text, width) for text, width in zip(texts, widths)]


def wrap(text: str, room: int, indent: str = "  ") -> Iterator[str]:
    """`text`, escaped, in lines of at most `room` columns, all but the first after `indent`."""
    line = ""
    for word in elide(text, _LINES_MAX * room).split(" "):
        while cells(line) + 1 + cells(word) > room:
            if line.strip():
                yield line
                line = indent
            elif cells(word) >= room - len(indent):
                head = _head(word, room - len(indent))
                yield f"{indent if line else ''}{head}"
                line, word = indent, word[len(head) :]
            else:
                break
        line = f"{line} {word}" if line.strip() else f"{line}{word}"
    if line.strip():
        yield line


def size_text(size: float) -> str:
    """1536 as "1.5 KiB"."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as Python prints a tuple."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class Progress:
    """How far a long work is, on standard error where that is a terminal; nothing before half a second is over [CL-014]."""

    def __init__(self, total: int, work: str) -> None:
        self._total, self._work = total, work
        self._next = time.monotonic() + 0.5 if sys.stderr.isatty() else float("inf")
        self._shown = 0

    def step(self, done: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            line = f"{self._work} {done:,} of {self._total:,}"
            sys.stderr.write(f"\r{line}")
            sys.stderr.flush()
            self._shown = len(line)

    def end(self) -> None:
        if self._shown:
            sys.stderr.write(f"\r{' ' * self._shown}\r")
            sys.stderr.flush()
