"""Are there numbers among the weights that are none?  Looks at every element, so only when asked.

Spec: spec/values.md (VA-020).  Not here: dtypes (weights).  NumPy is imported where elements are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from refser.checks._fitting import Places, counted
from refser.checks.report import Finding, of_error, warning
from refser.checks.subject import Subject
from refser.errors import RefserError
from refser.values import DTYPES, Weight

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

BLOCK = 1 << 22  # bytes that are looked at together; a multiple of the size of every element
_NARROW = {  # the bits that are all ones in NaN and infinity, and those that are 0 in infinity; e4m3fn has none
    "bfloat16": (0x7F80, 0x007F),
    "float8_e5m2": (0x7C, 0x03),
    "float8_e4m3fn": (0x7F, 0x00),
}


def check_values(subject: Subject) -> Iterator[Finding]:
    if not (subject.options.values or subject.options.deep):
        return
    file, at = subject.file, Places(subject.file)
    step: Callable[[int], object] = getattr(subject, "step", _nothing)
    for path in file.weights:
        try:
            weight = file.weights[path]
            found = _Count()
            if DTYPES[weight.dtype][0][0] in "fcV":
                _scan(weight, found, step)
            else:
                step(weight.nbytes)
        except RefserError as fault:
            yield of_error(fault)
            continue
        if found.nans or found.infinities:
            place = f", the first at {_index(found.first, weight.shape)}" if weight.shape else ""
            message = f"{found} among {counted(weight.size, 'elements')} of {weight.dtype}{place}; wanted numbers"
            yield warning("VA-020", message, at(path))


class _Count:
    __slots__ = ("first", "infinities", "nans")

    def __init__(self) -> None:
        self.nans = self.infinities = 0
        self.first = -1  # by number in C order

    def __str__(self) -> str:
        kinds = [f"{self.nans:,} NaN"] * (self.nans > 0) + [f"{self.infinities:,} infinite"] * (self.infinities > 0)
        return " and ".join(kinds)


def _nothing(nbytes: int) -> None: ...


def _scan(weight: Weight, count: _Count, step: Callable[[int], object]) -> None:
    """Block by block, so that no array is in memory as a whole unless its chunks have to be put together."""
    import numpy as np

    source, size = weight.source, DTYPES[weight.dtype][0][1:]
    order = ">" if weight.big_endian else "<"
    narrow = _NARROW.get(weight.dtype)
    dtype = np.dtype(f"{order}u{size}" if narrow else order + DTYPES[weight.dtype][0])
    held = None
    for offset in range(0, source.length, BLOCK):
        held = source.source.view(source.offset + offset, min(BLOCK, source.length - offset))  # the last one is let go after
        block = np.frombuffer(held, dtype)
        odd = (block & narrow[0]) == narrow[0] if narrow else ~np.isfinite(block)
        if odd.any():
            some = block[odd]
            infinite = (some & narrow[1]) == 0 if narrow else ~np.isnan(some)
            infinities = 0 if weight.dtype == "float8_e4m3fn" else int(np.count_nonzero(infinite))
            if count.first < 0:
                count.first = offset // dtype.itemsize + int(odd.argmax())
            count.nans += len(some) - infinities
            count.infinities += infinities
        step(len(held))


def _index(number: int, shape: tuple[int, ...]) -> list[int]:
    found: list[int] = []
    for length in reversed(shape):
        number, rest = divmod(number, length)
        found.append(rest)
    return found[::-1]
