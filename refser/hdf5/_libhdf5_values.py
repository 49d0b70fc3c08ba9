"""Strings of variable length and attributes through h5py: what they are, and how long they can be.

Spec: spec/hdf5.md (H5-009, H5-017).  Not here: what holds them against a limit (_libhdf5).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from refser.hdf5._tree import Attribute
from refser.source import Source

if TYPE_CHECKING:
    from h5py import h5a, h5d

_PIECE = 1 << 20
_OBJECT = struct.Struct("<H6xQ")  # number and size of an object of a global heap


def longest_string(source: Source) -> int:
    """No string of variable length in the file is longer: the largest object of whatever looks like a global heap."""
    longest, left = 0, source.size  # bytes that heaps can have together, where no two of them share one
    for start in range(0, source.size, _PIECE):
        piece = bytes(source.view(start, min(_PIECE + 16, source.size - start)))
        at = piece.find(b"GCOL")
        while 0 <= at < _PIECE:
            size = min(int.from_bytes(piece[at + 8 : at + 16], "little"), source.size - start - at)
            left -= size
            if size > longest:
                longest = max(longest, _longest_object(source.view(start + at, size)) if left >= 0 else size)
            at = piece.find(b"GCOL", at + 1)
    return longest


def _longest_object(heap: memoryview) -> int:
    """At least the bytes of the largest object of a collection."""
    longest, here = 0, 16
    while here + 16 <= len(heap):
        number, size = _OBJECT.unpack_from(heap, here)
        if number == 0:  # free space
            return longest if here + size >= len(heap) else len(heap)
        longest = max(longest, size)
        here += 16 + -(-size // 8) * 8
    return min(longest, len(heap))


def read_strings(
    dataset_id: h5d.DatasetID, shape: tuple[int, ...], at_once: int, guard: Callable[..., Any]
) -> Iterator[list[bytes]]:
    """The strings of a dataset, so many at once and at least one; `guard` calls whatever may meet bad bytes."""
    count = math.prod(shape)
    for first in range(0, count, max(1, at_once)):
        here = np.arange(first, min(first + max(1, at_once), count))
        space = guard(dataset_id.get_space)
        if shape:
            places = np.stack(np.unravel_index(here, shape), axis=1)
            guard(space.select_elements, places.astype(np.uint64))
        found = np.empty(here.shape, h5py.string_dtype("ascii"))
        guard(dataset_id.read, h5py.h5s.create_simple(here.shape), space, found)
        yield found.tolist()


def attribute_value(attribute: h5a.AttrID) -> Attribute:
    """Strings and numbers, scalar or in one dimension; None for the rest [H5-017]."""
    space, type_id = attribute.get_space(), attribute.get_type()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        return None
    shape = space.get_simple_extent_dims()
    is_text = isinstance(type_id, h5py.h5t.TypeStringID)
    if len(shape) > 1 or not (is_text or isinstance(type_id, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID))):
        return None
    array = np.empty(shape, dtype=type_id.dtype)
    attribute.read(array, mtype=h5py.h5t.py_create(array.dtype))
    if not is_text:
        return array.tolist()  # type: ignore[no-any-return]  # int, float or a list of them
    cells = [cell.decode("utf-8") if isinstance(cell, bytes) else str(cell) for cell in array.reshape(-1).tolist()]
    return cells if shape else cells[0]
