"""Regular expressions out of a file, matched with a bound on the time that they take.

Not here: what they are matched against (optimizers).
"""

from __future__ import annotations

import re

_LONGEST = 256  # characters of a pattern
_STEPS = 20_000_000  # that one Budget may take, by the estimate below
# What may take exponential time (a repeated group, a back reference, a lookaround), and what Python warns of.
_REFUSED = re.compile(r"\)[*+?{]|\(\?|\\[1-9]|\[\[|--|&&|\|\||~~")
_REPEATS = re.compile(r"[*+?{]")


class TooSlow(Exception):
    """The pattern may take too long.  Never leaves the package."""


class Budget:
    """How much all the matching for one model may cost."""

    __slots__ = ("_left", "_patterns")

    def __init__(self, steps: int = _STEPS) -> None:
        self._left = steps
        self._patterns: dict[str, re.Pattern[str]] = {}

    def search(self, pattern: str, text: str) -> bool:
        """`re.search`.  Raises `TooSlow`, or `ValueError` for what is no regular expression."""
        return self._compiled(pattern, text, 1).search(text) is not None

    def fullmatch(self, pattern: str, text: str) -> bool:
        return self._compiled(pattern, text, 0).fullmatch(text) is not None

    def _compiled(self, pattern: str, text: str, places: int) -> re.Pattern[str]:
        if (found := self._patterns.get(pattern)) is None:
            if len(pattern) > _LONGEST or _REFUSED.search(pattern):
                raise TooSlow
            try:
                found = self._patterns[pattern] = re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(str(error)) from error
        # Without what is refused, a repeat multiplies the time by the length of the text at most, a choice by two.
        repeats, choices = len(_REPEATS.findall(pattern)) + places, pattern.count("|")
        self._left -= (len(text) + 1) ** min(repeats, 16) << min(choices, 64)
        if self._left < 0:
            raise TooSlow
        return found
