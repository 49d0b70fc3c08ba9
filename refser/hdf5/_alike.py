"""Datasets whose object headers differ from an earlier one in nothing but dimensions and address.

A file has thousands of arrays and few kinds of them.  Once one header has been decoded message by message, another of the
same bytes around its dimensions and its address means the same: comparing runs of bytes is much faster than decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from refser.hdf5._header import DATASPACE, DATATYPE, FILL, FILL_OLD, LAYOUT, Message
from refser.hdf5._image import Image
from refser.hdf5._tree import Dataset

_HEAD = 32  # prefix, head of the dataspace message, version to flags of the dataspace
_KNOWN = {DATASPACE, DATATYPE, FILL_OLD, FILL, LAYOUT, 0x12}  # 0x12: a modification time, which varies and so never matches
_PATTERNS_MAX = 8  # of one rank


class Pattern(NamedTuple):
    """A header cut into what has to be the same and what may differ: head, dimensions, middle, address, size, tail."""

    unpack: Callable[[memoryview, int], tuple[Any, ...]]
    head: bytes
    middle_at: int  # in what `unpack` gives
    middle: bytes
    tail: bytes
    rank: int
    itemsize: int
    size: int  # of the header
    dtype: str
    big_endian: bool


Patterns = dict[int, list[Pattern]]  # by rank


def learn(patterns: Patterns, image: Image, start: int, messages: list[Message], dataset: Dataset) -> None:
    """Make a pattern of a contiguous array whose header is one version 1 block without attributes."""
    buffer = image.buffer
    bodies = {kind: (body, size) for kind, body, size in messages}
    if image.need is not None or buffer[start] != 1 or set(bodies) - _KNOWN or len(bodies) < len(messages):
        return
    (space, _), (layout, _) = bodies[DATASPACE], bodies[LAYOUT]
    size = 16 + int.from_bytes(buffer[start + 8 : start + 12], "little")
    inside = all(start < body and body + length <= start + size for body, length in bodies.values())
    if space != start + 24 or buffer[space] != 1 or buffer[layout + 1] != 1 or not inside or not dataset.length:
        return
    rank, with_maximum = buffer[space + 1], buffer[space + 2] & 1
    numbers = rank * (2 if with_maximum else 1)
    middle = layout + 2 - start - _HEAD - 8 * numbers
    tail = size - (layout + 18 - start)
    if tail < 0:
        return
    cut = struct.Struct(f"<{_HEAD}s{numbers}Q{middle}sQQ{tail}s").unpack_from
    values = cut(buffer, start)
    itemsize = dataset.length // prod(dataset.shape)
    same = values[0], 1 + numbers, values[1 + numbers], values[-1]
    known = patterns.setdefault(rank, [])
    known.insert(0, Pattern(cut, *same, rank, itemsize, size, dataset.dtype, dataset.big_endian))
    del known[_PATTERNS_MAX:]
