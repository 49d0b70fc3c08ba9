"""Reading that goes on after a fault: what is wrong with one part of a model is handed over, and the others are read.

Spec: spec/keras-zip.md (KZ-035), spec/keras-dir.md (KD-010), spec/weights-sharded.md (SH-015).
Not here: what the parts are (the layouts).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeVar

from refser.errors import AccessError, Problem, RefserError, UnsafeError
from refser.source import reason

Refuse = Callable[[RefserError], None]
Part = Literal["config", "metadata", "weights", "assets"]
T = TypeVar("T")
_MOST = 100


class Fewer:
    """Hands over the first errors of each requirement and kind, then one that says there are more: there can be a million."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse, self._counts = refuse, Counter[tuple[str, type]]()

    def __call__(self, error: RefserError) -> None:
        key = (error.problem.code, type(error))
        self._counts[key] += 1
        if self._counts[key] <= _MOST:
            self._refuse(error)
        elif self._counts[key] == _MOST + 1:
            message = f"the same in more than {_MOST} places; the others are not listed"
            self._refuse(type(error)(Problem(code=error.problem.code, message=message)))


class Parts:
    """The reading of one model.  Without `refuse` the first fault of a part is raised."""

    def __init__(self, refuse: Refuse | None) -> None:
        self.refuse = refuse
        self.unread = set[str]()
        self.problems = list[Problem]()  # what Keras would not notice
        self._told = set[Problem]()

    def read(self, part: Part, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives; `otherwise` where it raises.  Keras never looks at the metadata, whatever is wrong with them."""
        try:
            return read()
        except RefserError as error:
            if self.refuse is None:
                raise
            fault = error
        except OSError as error:
            if self.refuse is None:
                raise
            fault = AccessError(Problem(code="IO-003", message=f"the {part} cannot be read: {reason(error)}"))
        self.unread.add(part)
        if part != "metadata":
            self.refuse(fault)
        elif fault.problem not in self._told:
            self.problems.append(fault.problem)
        self._told.add(fault.problem)
        return otherwise

    def fail(self, part: Part, error: RefserError) -> None:
        """A part that is not there, or not as it has to be."""
        if self.refuse is None:
            raise error
        self.refuse(error)
        self.unread.add(part)


def of_special_file(error: RefserError, code: str) -> RefserError:
    """Who opens a FIFO or a device, as Keras does, waits or reads for ever: more than a file that cannot be read."""
    problem = error.problem
    if problem.code != "IO-002" or problem.message.startswith("a directory"):
        return error
    return UnsafeError(Problem(code=code, message=problem.message, at=problem.at, hint=problem.hint))
