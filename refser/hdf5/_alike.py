"""Datasets whose object headers differ from an earlier one in nothing but dimensions and address.

A file has thousands of arrays and few kinds of them.  Once one header has been decoded message by message, another of the
same bytes around its dimensions and its address means the same: comparing two runs of bytes is much faster than decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from refser.hdf5._header import DATASPACE, DATATYPE, FILL, FILL_OLD, LAYOUT, Message
from refser.hdf5._image import Image
from refser.hdf5._tree import Dataset
from refser.source import Source

_HEAD = 32  # prefix, head of the dataspace message, version to flags of the dataspace
_PLACE = struct.Struct("<QQ").unpack_from
_KNOWN = {DATASPACE, DATATYPE, FILL_OLD, FILL, LAYOUT, 0x12}  # 0x12: a modification time, which varies and so never matches


class _Pattern(NamedTuple):
    size: int  # of the whole header
    dimensions: Callable[..., tuple[int, ...]]
    middle_at: int
    middle: bytes  # between the dimensions and the address
    layout_at: int
    tail_at: int
    tail: bytes  # behind the size of the data
    dtype: str
    itemsize: int
    big_endian: bool


class Alike:
    def __init__(self, image: Image, source: Source) -> None:
        self._image, self._source = image, source
        self._patterns: dict[bytes, _Pattern] = {}

    def read(self, address: int, path: str) -> Dataset | None:
        """The dataset at `address` when its header fits a known pattern and nothing is wrong with it; else None."""
        image = self._image
        buffer = image.buffer
        start = address + image.base
        pattern = self._patterns.get(buffer[start : start + _HEAD].tobytes())
        if pattern is None:
            return None
        size, dimensions, middle_at, middle, layout_at, tail_at, tail, dtype, itemsize, big_endian = pattern
        header = buffer[start : start + size].tobytes()
        if header[middle_at:layout_at] != middle or header[tail_at:] != tail:
            return None
        shape = dimensions(header, _HEAD)
        offset, nbytes = _PLACE(header, layout_at)
        count = itemsize
        for length in shape:
            count *= length
        offset += image.base
        if count != nbytes or offset + nbytes > image.end or not nbytes:
            return None
        image.claimed += size + nbytes
        if image.claimed > image.end:
            image.claim(0, "a dataset", path)
        return Dataset(image.name, path, dtype, shape, big_endian, self._source, offset, nbytes)

    def learn(self, address: int, messages: list[Message], dataset: Dataset) -> None:
        """Make a pattern of a contiguous array whose header is one version 1 block without attributes."""
        buffer, start = self._image.buffer, address + self._image.base
        bodies = {kind: (body, size) for kind, body, size in messages}
        if dataset.source is not self._source or buffer[start] != 1 or set(bodies) - _KNOWN or len(bodies) < len(messages):
            return
        (space, _), (layout, _) = bodies[DATASPACE], bodies[LAYOUT]
        end = start + 16 + int.from_bytes(buffer[start + 8 : start + 12], "little")
        inside = all(start < body and body + size <= end for body, size in bodies.values())
        if space != start + 24 or buffer[space] != 1 or buffer[layout + 1] != 1 or not inside or self._image.need is not None:
            return
        rank, with_maximum = buffer[space + 1], buffer[space + 2] & 1
        middle_at = _HEAD + 8 * rank * (2 if with_maximum else 1)
        layout_at = layout + 2 - start
        header = buffer[start:end].tobytes()
        if layout_at + 16 >= len(header):  # without a tail, a header that the file cuts short would look whole
            return
        self._patterns[header[:_HEAD]] = _Pattern(
            size=len(header),
            dimensions=struct.Struct(f"<{rank}Q").unpack_from,
            middle_at=middle_at,
            middle=header[middle_at:layout_at],
            layout_at=layout_at,
            tail_at=layout_at + 16,
            tail=header[layout_at + 16 :],
            dtype=dataset.dtype,
            itemsize=dataset.length // max(1, _product(dataset.shape)) if dataset.length else 0,
            big_endian=dataset.big_endian,
        )


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
