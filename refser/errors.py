"""What is wrong with a file: a `Problem`, and the kinds of error that carry one.

Spec: spec/introduction.md (requirement IDs).  Not here: deciding that something is wrong (every other module).
"""

from __future__ import annotations

from refser._record import record


@record(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken requirement.  `str()` of it is the one line that a user sees, with unprintable characters escaped."""

    code: str  # its ID in spec/, which never changes meaning
    message: str  # what was found, then what was wanted
    at: str = ""  # "model.weights.h5:/layers/dense/vars/0"
    hint: str = ""  # what the file's owner can do; empty unless certain

    def __str__(self) -> str:
        return one_line(self.code, self.message, self.at, self.hint)


def one_line(code: str, message: str, at: str, hint: str) -> str:
    """Where, what, what to do, by which requirement."""
    place, advice = f"{at}: " if at else "", f"; {hint}" if hint else ""
    return printable(f"{place}{message}{advice} [{code}]")


class RefserError(Exception):
    """Base of every error about a file."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)  # args match __init__, so it pickles
        self.problem = problem

    def __str__(self) -> str:
        return str(self.problem)


class MalformedError(RefserError):
    """The bytes do not decode."""


class InvalidError(RefserError):
    """The bytes decode, and break a requirement."""


class UnsafeError(RefserError):
    """Following the file would reach outside it or run code."""


class LimitError(RefserError):
    """The file asks for more than `Limits` allows."""


class UnsupportedError(RefserError):
    """The file may be fine; refser does not do this with it."""


class AccessError(RefserError):
    """The file system says no: nothing there, no permission, already there."""


def printable(text: str) -> str:
    r"""`text` with everything a terminal could act on escaped: control and format characters, lone surrogates, line breaks.

    >>> printable("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
