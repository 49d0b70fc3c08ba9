"""What the specification says of a requirement.

Spec: spec/command-line.md (CL-050, CL-051).  The text is that of spec/ itself, which a wheel has as refser/_spec.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from refser.cli import _outcome
from refser.cli._screen import Paint, screen_width, wrap

_HEADING = re.compile(r"^#### ([A-Z][A-Z0-9]-\d{3}) (.+)$", re.MULTILINE)
_END = re.compile(r"^##", re.MULTILINE)
_EXAMPLE = re.compile(r"^```example\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_EXAMPLES_MAX, _EXAMPLE_LINES_MAX = 3, 20


class Requirement(NamedTuple):
    """One heading with an ID, and all that stands below it."""

    code: str
    title: str
    text: str  # the paragraph that binds, on one line
    more: tuple[str, ...]  # tables and lists below it, as they stand
    why: str  # the reasons, on one line; can be empty
    examples: tuple[str, ...]
    chapter: str  # "safety.md"


@cache
def requirements() -> Mapping[str, Requirement]:
    """Every requirement by its ID; none where the specification was not installed."""
    found: dict[str, Requirement] = {}
    for chapter, text in _chapters():
        for heading in _HEADING.finditer(text):
            end = _END.search(text, heading.end())
            below = text[heading.end() : end.start() if end else len(text)]
            found[heading[1]] = _requirement(heading[1], heading[2], below, chapter)
    return found


def _requirement(code: str, title: str, below: str, chapter: str) -> Requirement:
    lines = _FENCED.sub("\n", below).splitlines()
    why = " ".join(line.lstrip("> ") for line in lines if line.startswith(">"))
    blocks = re.split(r"\n{2,}", "\n".join("" if line.startswith(">") else line for line in lines).strip())
    text, *more = (_LINK.sub(r"\1", block) for block in blocks)
    examples = tuple(_EXAMPLE.findall(below))
    return Requirement(code, title, " ".join(text.split()), tuple(more), _LINK.sub(r"\1", why), examples, chapter)


def _chapters() -> Iterator[tuple[str, str]]:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "_spec"), os.path.join(os.path.dirname(package), "spec")):
        if os.path.isfile(os.path.join(folder, "introduction.md")):
            for name in sorted(os.listdir(folder)):
                if name.endswith(".md"):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        yield name, file.read()
            return


def unknown(code: str) -> str | None:
    """What to say of an ID that no requirement has, with those that look like it; None when there is one."""
    known = requirements()
    if code in known or (not known and re.fullmatch(r"[A-Z][A-Z0-9]-\d{3}", code)):
        return None
    from difflib import get_close_matches

    near = get_close_matches(code, known, n=3, cutoff=0.5)
    return f"no requirement has the ID {code!r}" + (f"; there is {_or(near)}" if near else "")


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def explain(code: str) -> int:
    """Print one requirement; 2 when there is none of that ID."""
    found = requirements().get(code)
    if found is None:
        _outcome.say(unknown(code) or "the text of the specification is not installed")
        return _outcome.NOT_DONE
    width, paint = screen_width(), Paint()
    print(paint("bold", f"{found.code} {found.title}"))
    print("", *wrap(found.text, width, ""), sep="\n")
    for block in found.more:
        print("", block, sep="\n")
    if found.why:
        print("", *wrap(found.why, width, ""), sep="\n")
    for example in found.examples[:_EXAMPLES_MAX]:
        if example.count("\n") <= _EXAMPLE_LINES_MAX:
            print("", paint("dim", "example"), sep="\n")
            print(*("  " + line for text in example.splitlines() for line in wrap(text, width - 2)), sep="\n")
    print("", paint("dim", f"spec/{found.chapter}"), sep="\n")
    return _outcome.CONFORMS
