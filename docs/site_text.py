"""Markdown as the repository has it, made fit for the site's renderer.

Renderers of code forges take a list, a table or a code block right below a paragraph, and two spaces before the entry of an
inner list; Python-Markdown wants an empty line and four spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from markdown.util import AtomicString

ID = r"[A-Z][A-Z0-9]-\d{3}"
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(rf"^(#{{2,6}} ({ID}) .*?)\s*$", re.MULTILINE)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s#]*)(#[^()\s]*)?\)")
_FORGE_ANCHOR = re.compile(r"^#([a-z][a-z0-9]-\d{3})-[\w-]+$")  # what a code forge makes of "#### WH-007 Older folders"
_ENTRY = re.compile(r"^( *)(?:[-*+]|\d+\.) ")

atomic = AtomicString


def parts(text: str) -> Iterator[tuple[bool, str]]:
    """Runs of lines: whether it is a code block with its fences, and the lines."""
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence:
            lines.append(line)
            if found and found[1].startswith(fence) and line.strip() == found[1]:
                yield True, "\n".join(lines)
                lines, fence = [], ""
        elif found:
            yield False, "\n".join(lines)
            lines, fence = [line], found[1]
        else:
            lines.append(line)
    yield bool(fence), "\n".join(lines)


def targets(text: str) -> set[str]:
    """The files that a page links to, as it writes them."""
    return {
        found[2]
        for code, part in parts(text)
        if not code
        for found in _LINK.finditer(part)
        if found[2] and ":" not in found[2] and not found[2].startswith("/")
    }


def prepared(text: str, moved: Callable[[str], str | None]) -> str:
    """The page, IDs of requirements being anchors and links leading where `moved` says."""

    def link(found: re.Match[str]) -> str:
        words, target, fragment = found[1], found[2], found[3] or ""
        if forge := _FORGE_ANCHOR.match(fragment):
            fragment = f"#{forge[1].upper()}"
        if target and ":" not in target and not target.startswith("/"):
            there = moved(target)
            if there is None:
                return words
            target = there
        return f"[{words}]({target}{fragment})"

    made = []
    for code, part in parts(text):
        if not code:
            part = _HEADING.sub(r"\1 { #\2 }", _LINK.sub(link, spaced(part)))
        made.append(part)
    return "\n\n".join(made)


def spaced(text: str) -> str:
    lines: list[str] = []
    before = ""
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry and len(entry[1]) in (2, 3):
            line = "    " + line.lstrip()
        starts = (entry and not entry[1] and not _ENTRY.match(before) and not before.startswith(" ")) or (
            line.startswith("|") and not before.startswith("|")
        )
        if starts and before.strip():
            lines.append("")
        lines.append(line)
        before = line
    return "\n".join(lines)
