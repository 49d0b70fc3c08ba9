"""The bytes of one HDF5 file and where its addresses count from; every look at them is bounds-checked here.

Spec: spec/hdf5.md (H5-011), spec/hdf5-bytes.md (H5-027, H5-028).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import islice
from operator import le
from typing import NoReturn

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.limits import Limits

UNDEFINED = 0xFFFFFFFFFFFFFFFF


_KEPT_MAX = 1000  # faults that are told one by one


class OutsideProfile(Exception):
    """A structure that HDF5 has and this reader does not; libhdf5 may read the file.  Never leaves the door."""

    def __init__(self, code: str, message: str, at: str) -> None:
        super().__init__(message)
        self.code, self.message, self.at = code, message, at
        self.messages: list[tuple[int, int, int]] = []  # of the object's header, where those could be read

    def refusal(self) -> RefserError:
        return UnsupportedError(Problem(code=self.code, message=self.message, at=self.at))


class SharedBytes(Exception):
    """Two owners of one byte, met in a hurry: a second, careful look says which.  Never leaves the door."""


class Faults:
    """What is wrong with one link or one dataset: raised at once, or kept where somebody wants to hear of all [H5-084]."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.unsafe = False
        self.lost = False  # a group whose links cannot be read, so that the tree lacks something
        self.outside: list[OutsideProfile] = []
        self.unsupported: RefserError | None = None
        self.others: list[str] = []  # objects that are neither a group nor a dataset
        self._found: list[RefserError] = []
        self._more = 0

    def add(self, fault: RefserError) -> None:
        if not self.keep:
            raise fault
        self.unsafe |= isinstance(fault, UnsafeError)
        if len(self._found) < _KEPT_MAX:
            self._found.append(fault)
        else:
            self._more += 1

    def add_outside(self, outside: OutsideProfile) -> None:
        if len(self.outside) < _KEPT_MAX:
            self.outside.append(outside)

    def add_other(self, fault: RefserError, at: str) -> None:
        """An object that Keras does not use: harmless where all are looked at [H5-093], else refused behind what is unsafe."""
        if not self.keep:
            self.unsupported = self.unsupported or fault
        elif len(self.others) < _KEPT_MAX:
            self.others.append(at)

    def clear(self) -> None:
        """Before a second look."""
        self.unsafe, self.lost, self.unsupported = False, False, None
        self.outside, self.others, self._found, self._more = [], [], [], 0

    def hand_over(self, refuse: Callable[[RefserError], None] | None) -> None:
        if refuse is None:
            return
        for fault in self._found:
            refuse(fault)
        if self._more:
            kind, last = (UnsafeError if self.unsafe else InvalidError), self._found[-1].problem
            refuse(kind(Problem(code=last.code, message=f"{self._more:,} more links and datasets like those", at=last.at)))
        self._found, self._more = [], 0


class Image:
    """A window on the bytes.  Addresses are absolute in `buffer`: whoever reads one from the file adds `base`."""

    __slots__ = (
        *("_sorted", "base", "buffer", "claimed", "data", "declared_end", "end", "held", "hurried", "limits", "name"),
        *("need", "owners", "revisited", "spans"),
    )

    def __init__(self, buffer: memoryview, name: str, limits: Limits, need: Callable[[int, int], None] | None = None) -> None:
        self.buffer, self.name, self.limits = buffer, name, limits
        self.base, self.end = 0, len(buffer)
        self.declared_end = self.end  # where the superblock has it
        self.held: object = None  # elements that somebody reads block by block
        self.claimed = 0
        self.spans, self.data = list[int](), list[int]()  # start, end, start, end... of what has an owner; of values
        self.owners: list[tuple[int, int, str, str]] | None = []  # the same with names; None once all is compared
        self.hurried = self.revisited = False
        self.need = need  # fetches a range before it is looked at, when the bytes are elsewhere

    def check(self, address: int, size: int, what: str, at: str) -> int:
        """`inside`, for bytes that are looked at next."""
        start = self.inside(address, size, what, at)
        if self.need is not None:
            self.need(start, size)
        return start

    def inside(self, address: int, size: int, what: str, at: str) -> int:
        """`address` counted from the start of the buffer, once `size` bytes from it lie inside the file [H5-011]."""
        start = address + self.base
        if address == UNDEFINED or start + size > self.end:
            found = "no address" if address == UNDEFINED else f"bytes {start:,} to {start + size:,} of {self.end:,}"
            self.malformed(f"{what} at {found}", at)
        return start

    def claim(self, size: int, what: str, at: str) -> None:
        """Count bytes that one structure owns.  Owners that add up to more than the file share some [H5-028].

        What keeps the work linear: no byte is parsed for two owners more often than this sum allows.
        """
        self.claimed += size
        if self.claimed > self.end:
            if self.hurried:
                raise SharedBytes
            self.invalid(f"{what} of {size:,} bytes, which shares some of them with another object", at, "H5-028")

    def own(self, start: int, size: int, what: str, at: str) -> None:
        """`claim`, and keep which bytes: no other structure may own one of them [H5-028]."""
        if self.revisited:
            return
        self.claim(size, what, at)
        end = start + size
        if not size:
            return
        if self.owners is None:  # everything else is in order already
            starts, ends = self._sorted
            place = bisect_right(starts, start)
            if (place and ends[place - 1] > start) or (place < len(starts) and starts[place] < end):
                self.invalid(f"{what} at bytes {start:,} to {end:,}, some of which another object owns", at, "H5-028")
            starts.insert(place, start)
            ends.insert(place, end)
            return
        self.spans += (start, end)
        if not self.hurried:
            self.owners.append((start, end, what, at))

    def again(self) -> Image:
        """The same bytes for a second look, by however many threads: the structures have their owners."""
        image = Image(self.buffer, self.name, self.limits, self.need)
        image.base, image.revisited, image.declared_end = self.base, True, self.declared_end
        return image

    def settle(self) -> None:
        """Compare all owners: sorted starts and sorted ends take turns where no two of them share a byte [H5-028]."""
        # Each list is nearly in order, and so sorted in no time; both together are not.
        starts, ends = (sorted(sorted(self.spans[at::2]) + sorted(self.data[at::2])) for at in (0, 1))
        self._sorted = starts, ends
        self.spans, self.data = [], []
        if not all(map(le, ends, islice(starts, 1, None))):
            if self.hurried:
                raise SharedBytes
            self._name_overlap()
        self.owners, self.hurried = None, False

    def owned(self) -> tuple[list[int], list[int]]:
        """Starts and ends of all that has an owner, in order, once it is settled."""
        return self._sorted

    def _name_overlap(self) -> NoReturn:
        reach = (0, 0, "", "")
        for owner in sorted(self.owners or ()):
            start, end, what, at = owner
            if start < reach[1]:
                other = f"{reach[2]} of {self.at(reach[3])}"
                message = f"{what} at bytes {start:,} to {end:,}, some of which {other} ({reach[0]:,} to {reach[1]:,}) owns too"
                self.invalid(message, at, "H5-028")
            reach = max(reach, owner, key=lambda it: it[1])
        raise AssertionError("an overlap that no owner has")

    def expect(self, start: int, signature: bytes, what: str, at: str) -> None:
        found = bytes(self.buffer[start : start + len(signature)])
        if found != signature:
            self.malformed(f"{what} that starts with {found!r}; wanted {signature!r}", at)

    def at(self, path: str) -> str:
        return f"{self.name}:/{path}"

    def malformed(self, message: str, at: str, code: str = "H5-011") -> NoReturn:
        raise MalformedError(Problem(code=code, message=message, at=self.at(at)))

    def invalid(self, message: str, at: str, code: str) -> NoReturn:
        raise InvalidError(Problem(code=code, message=message, at=self.at(at)))

    def limit(self, code: str, message: str, at: str, hint: str = "") -> NoReturn:
        raise LimitError(Problem(code=code, message=message, at=self.at(at), hint=hint))

    def outside(self, message: str, at: str, code: str = "H5-027") -> NoReturn:
        raise OutsideProfile(code, message, self.at(at))
