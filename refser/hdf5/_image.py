"""The bytes of one HDF5 file and where its addresses count from; every look at them is bounds-checked here.

Spec: spec/hdf5.md (H5-011), spec/hdf5-bytes.md (H5-027, H5-028).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from refser.errors import InvalidError, MalformedError, Problem, RefserError, UnsupportedError
from refser.limits import Limits

UNDEFINED = 0xFFFFFFFFFFFFFFFF


class OutsideProfile(Exception):
    """A structure that HDF5 has and this reader does not; libhdf5 may read the file.  Never leaves the door."""

    def __init__(self, code: str, message: str, at: str) -> None:
        super().__init__(message)
        self.code, self.message, self.at = code, message, at

    def refusal(self) -> RefserError:
        return UnsupportedError(Problem(code=self.code, message=self.message, at=self.at))


class Image:
    """A window on the bytes.  Addresses are absolute in `buffer`: whoever reads one from the file adds `base`."""

    __slots__ = ("base", "buffer", "claimed", "end", "limits", "name", "need")

    def __init__(self, buffer: memoryview, name: str, limits: Limits, need: Callable[[int, int], None] | None = None) -> None:
        self.buffer, self.name, self.limits = buffer, name, limits
        self.base, self.end = 0, len(buffer)
        self.claimed = 0
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
            self.invalid(f"{what} of {size:,} bytes, which shares some of them with another object", at, "H5-028")

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

    def outside(self, message: str, at: str, code: str = "H5-027") -> NoReturn:
        raise OutsideProfile(code, message, self.at(at))
