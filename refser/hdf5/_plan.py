"""An HDF5 file before it is written: its metadata as bytes, its arrays still where they are.

Spec: spec/hdf5-canonical.md (H5-068).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from refser.errors import InvalidError, Problem
from refser.values import Weight

if TYPE_CHECKING:
    from refser.output import Writable

ALIGNMENT = 64  # of the data as a whole and of each array, in bytes [H5-068]


class Plan:
    """Metadata first, then each array at its offset, zeros between, up to `size` bytes."""

    __slots__ = ("data", "metadata", "size")

    def __init__(self, metadata: bytes, data: list[tuple[int, Weight]], size: int) -> None:
        self.metadata, self.data, self.size = metadata, data, size  # data by offset

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self.pieces()

    def pieces(self) -> Iterator[bytes | memoryview]:
        """All bytes of the file in order, one array at a time.  Raises `InvalidError` for an array of another length."""
        yield self.metadata
        here = len(self.metadata)
        for offset, weight in self.data:
            if offset > here:
                yield bytes(offset - here)
            values = weight.source.read()
            if values.nbytes != weight.nbytes:
                message = f"{values.nbytes:,} bytes for an array of {weight.nbytes:,}"
                raise InvalidError(Problem(code="H5-012", message=message, at=f"/{weight.path}"))
            yield values
            here = offset + weight.nbytes
        if self.size > here:
            yield bytes(self.size - here)

    def write(self, file: Writable) -> None:
        for piece in self.pieces():
            file.write(piece)
