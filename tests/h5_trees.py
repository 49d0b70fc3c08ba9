"""Trees of any kind for the tests beside h5py: their strategies, and the comparison of what refser and h5py read.

Not here: what libhdf5 finds in a file (h5_judge, h5_ctypes).
"""

from __future__ import annotations

import io
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from helpers import refused
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from refser import hdf5
from refser.hdf5 import Dataset, Group
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import DTYPES

LIMITS = Limits(allow_libhdf5=False)
SCALE = int(os.environ.get("REFSER_EXAMPLES", "1"))  # how many times as many examples
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
NAMES = {np.dtype(kind).str[1:]: name for name, (kind, _) in DTYPES.items() if kind[0] in "biufc"} | {"V2": "bfloat16"}


def few(examples: int) -> settings:
    return settings(max_examples=examples * SCALE, deadline=None, suppress_health_check=SLOW)


chars = st.characters(codec="utf-8", exclude_characters="\0/")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.one_of(
    st.text(chars, min_size=1, max_size=8),
    st.text("ab01", min_size=1, max_size=3),
    st.builds(lambda name, times: name * times, st.text(chars, min_size=1, max_size=3), st.integers(1, 700)),
).filter(lambda name: name not in (".", ".."))
shapes = st.lists(st.integers(0, 3), max_size=6).map(tuple)
KINDS = [
    *(f"{order}{kind}" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16") for order in "<>"),
    *("|i1", "|u1", "|b1", "|V1", "|V2", "|S1", "|S2", "|S7", "|S300"),
]


@st.composite
def arrays(draw: st.DrawFn, kinds: list[str] = KINDS, shapes: st.SearchStrategy[tuple[int, ...]] = shapes) -> Any:
    dtype, shape = np.dtype(draw(st.sampled_from(kinds))), draw(shapes)
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    if dtype.kind == "b":
        data = bytes(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    elif dtype.kind == "S":  # ASCII, so that it is text in attributes too
        data = bytes(byte & 127 or 1 for byte in random.Random(draw(st.integers(0, 99))).randbytes(count))
    else:
        data = draw(st.binary(min_size=count, max_size=count))
    return np.frombuffer(data, dtype).reshape(shape)


def image(fill: Callable[[h5py.Group], object], **options: Any) -> bytes:
    """A file as h5py leaves it on a disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.h5")
        with h5py.File(path, "w", **options) as file:
            fill(file)
        return path.read_bytes()


def attribute_of(node: h5py.Group, name: str) -> object:
    """What refser has to make of an attribute [H5-017]."""
    kind, value = node.attrs.get_id(name).get_type(), node.attrs[name]
    if not isinstance(kind, (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OS":
        return [cell if isinstance(cell, str) else cell.decode() for cell in value.tolist()]
    if isinstance(value, np.generic if np.ndim(value) == 0 else np.ndarray) and value.dtype.kind in "iuf" and value.ndim < 2:
        return value.tolist()
    return None


def compare(data: bytes, limits: Limits = LIMITS) -> int:
    """refser and h5py see the same in these bytes.  How many objects."""
    root, count = hdf5.read_tree(MemorySource(data, "m"), limits=limits), 0
    with h5py.File(io.BytesIO(data), "r") as file:
        todo: list[tuple[Group, h5py.Group]] = [(root, file)]
        while todo:
            found, want = todo.pop()
            assert list(found.children) == sorted(want, key=str.encode)
            wanted = {name: attribute_of(want, name) for name in want.attrs}
            assert repr(sorted(found.attributes.items())) == repr(sorted(wanted.items()))
            for name, node in want.items():
                below, count = found.children[name], count + 1
                assert below.path == node.name.lstrip("/")
                if isinstance(node, h5py.Group):
                    assert isinstance(below, Group)
                    todo.append((below, node))
                else:
                    assert isinstance(below, Dataset)
                    compare_array(below, node, limits.allow_libhdf5)
    return count


def compare_array(node: Dataset, want: h5py.Dataset, any_order: bool) -> None:
    """`any_order`: what libhdf5 decodes is little-endian."""
    if (code := refusal_of(want)) is not None:
        with refused(code):
            node.weight(node.path)
        return
    found = node.weight(node.path)
    assert found.shape == want.shape
    if want.dtype.kind == "O":
        cells = [bytes(cell) for cell in np.asarray(want[()]).reshape(-1)]
        longest = max(map(len, cells), default=0) or 1
        assert found.tobytes() == b"".join(cell.ljust(longest, b"\0") for cell in cells)
        return
    values = np.empty(want.shape, want.dtype)
    if values.size:
        want.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=want.id.get_type())
    if want.dtype.kind == "S":
        assert found.dtype == "string"
        assert bytes(found.source.read()) == values.tobytes()
        return
    eights = {"float8_e4m3fn", "float8_e5m2"}
    assert found.dtype == NAMES[want.dtype.str[1:]] if want.dtype.str != "|V1" else found.dtype in eights
    assert found.tobytes() == values.astype(values.dtype.newbyteorder("<")).tobytes()
    if any_order:
        return
    assert bytes(found.source.read()) == values.tobytes()
    if want.dtype.kind != "V":
        array = found.array()
        assert (array.dtype, array.shape, array.tobytes()) == (values.dtype, values.shape, values.tobytes())


def refusal_of(want: h5py.Dataset) -> str | None:
    """The requirement that an array breaks so that Keras cannot have written it, if any."""
    kind, plist = want.id.get_type(), want.id.get_create_plist()
    if isinstance(kind, h5py.h5t.TypeOpaqueID):
        if kind.get_size() > 2:
            return "VA-002"
    elif (kind.dtype.metadata and not isinstance(kind, h5py.h5t.TypeStringID)) or kind.dtype.names:
        return "VA-008"
    if want.shape is None:
        return "H5-012"
    if any(plist.get_filter(index)[0] > 3 for index in range(plist.get_nfilters())):
        return "H5-004"
    return None
