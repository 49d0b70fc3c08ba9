"""The HDF5 reader has to see in a file what h5py sees in it, or say that it is outside the profile."""

from __future__ import annotations

import contextlib
import io
import random
import re
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from h5_trees import KINDS, LIMITS, arrays, compare, few, image, names, texts
from helpers import h5_bytes, refused
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import hdf5
from refser.errors import UnsupportedError
from refser.hdf5 import Dataset
from refser.limits import Limits
from refser.source import MemorySource

Put = Callable[[Any, str], Any]  # makes the attribute or the dataset of this name


def put_low_level(node: Any, name: str, kind: Any, values: Any) -> None:
    attribute = h5py.h5a.create(node.id, name.encode(), kind, h5py.h5s.create_simple(values.shape))
    attribute.write(values, mtype=h5py.h5t.py_create(values.dtype) if values.dtype.kind == "S" else kind)


def string_type(size: int, padding: int) -> Any:
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_strpad(padding)
    return kind


def ragged() -> Any:
    cells = np.empty(2, object)
    cells[0], cells[1] = np.arange(1), np.arange(2)
    return cells


UTF8, COLOUR = h5py.string_dtype("utf-8", 5), h5py.enum_dtype({"red": 0, "green": 1})
RECORD = np.dtype([("x", "<f4"), ("y", "i1", (2,))])
ODD_ATTRIBUTES: list[Put] = [
    lambda node, name: node.attrs.create(name, h5py.Empty("f4")),
    lambda node, name: node.attrs.create(name, h5py.Empty(h5py.string_dtype())),
    lambda node, name: node.attrs.create(name, np.array(["é".encode(), b"abcde"], UTF8)),
    lambda node, name: node.attrs.create(name, np.array("ü".encode(), UTF8)),
    lambda node, name: node.attrs.create(name, np.uint8(1), dtype=COLOUR),
    lambda node, name: node.attrs.create(name, np.zeros(2, RECORD)),
    lambda node, name: node.attrs.create(name, np.zeros(2, "V3")),
    lambda node, name: node.attrs.create(name, node.ref, dtype=h5py.ref_dtype),
    lambda node, name: node.attrs.create(name, ragged(), dtype=h5py.vlen_dtype("i4")),
    lambda node, name: put_low_level(node, name, string_type(4, h5py.h5t.STR_SPACEPAD), np.array([b"a", b"bcde"])),
    lambda node, name: put_low_level(node, name, string_type(4, h5py.h5t.STR_NULLTERM), np.array([b"a", b"bcd"])),
    lambda node, name: put_low_level(node, name, h5py.h5t.STD_B8LE, np.array([1, 2], "u1")),
]
ATTRIBUTE_KINDS = [kind for kind in KINDS if "V" not in kind]
one = st.sampled_from([(), (0,), (1,), (3,), (9,), (2, 2)])
file_attributes = st.dictionaries(
    names.map(lambda name: name[:900]),
    st.one_of(
        texts,
        texts.map(lambda text: np.bytes_(text.encode() + b"x")),
        st.lists(texts, max_size=5).map(lambda cells: np.array(cells, dtype=h5py.string_dtype())),
        st.integers(0, 3000).map(lambda count: "ü" * count),
        arrays(ATTRIBUTE_KINDS, one),
        st.sampled_from(ODD_ATTRIBUTES),
    ),
    max_size=4,
)


def put_attributes(node: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if callable(value):
            value(node, name)
        else:
            node.attrs[name] = value


@st.composite
def fills(draw: st.DrawFn, depth: int = 3) -> Callable[[h5py.Group], None]:
    """What to put into a group: attributes, datasets, groups."""
    attributes = draw(file_attributes)
    nodes = st.tuples(arrays(), file_attributes) if depth == 0 else st.tuples(arrays(), file_attributes) | fills(depth - 1)
    children = draw(st.dictionaries(names, nodes, min_size=int(depth == 3), max_size=draw(st.sampled_from([1, 3, 12]))))

    def fill(group: h5py.Group) -> None:
        put_attributes(group, attributes)
        for name, child in children.items():
            if callable(child):
                child(group.create_group(name))
                continue
            put_attributes(group.create_dataset(name, data=child[0]), child[1])

    return fill


@few(120)
@given(
    fill=fills(),
    libver=st.sampled_from(["earliest", ("earliest", "v108"), "v108", "v110", "latest", None]),
    track_order=st.booleans(),
    userblock=st.sampled_from([0, 0, 512, 2048]),
)
def test_h5011_the_reader_sees_what_h5py_sees(fill: Any, libver: Any, track_order: bool, userblock: int) -> None:
    data = image(fill, libver=libver, track_order=track_order, userblock_size=userblock)
    try:
        event(f"read: {'some objects' if compare(data) else 'empty'}")
    except UnsupportedError as error:
        event(f"outside the profile: {re.sub('[0-9]+', 'N', error.problem.message)}")
        # libhdf5 turns a group into a new-style one for a name that is not ASCII.
        if libver not in ("v108", "v110", "latest") and not track_order and only_ascii(data):
            raise


def compact(group: Any, name: str) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    h5py.Dataset(h5py.h5d.create(group.id, name.encode(), h5py.h5t.STD_I16BE, h5py.h5s.create_simple((3,)), plist))[:] = [
        1,
        2,
        3,
    ]


def allocated(time: int) -> Put:
    def put(group: Any, name: str) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(time)
        h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3, 2)), plist)

    return put


def chunked(**options: Any) -> Put:
    """Some chunks are written, some not, some reach over the edge."""

    def put(group: Any, name: str) -> None:
        dataset = group.create_dataset(name, (7, 5), "<i4", chunks=(3, 2), **options)
        dataset[:4] = np.arange(20).reshape(4, 5)

    return put


def growing(group: Any, name: str) -> None:
    dataset = group.create_dataset(name, data=np.arange(8.0).reshape(2, 4), maxshape=(None, None), chunks=(2, 2))
    dataset.resize((5, 3))


STORED: dict[str, Put] = {  # more than Keras writes; the first of them are in the profile
    "compact": compact,
    "early": allocated(h5py.h5d.ALLOC_TIME_EARLY),
    "late": allocated(h5py.h5d.ALLOC_TIME_LATE),
    "null": lambda group, name: group.create_dataset(name, data=h5py.Empty("f4")),
    "record": lambda group, name: group.create_dataset(name, data=np.zeros(3, RECORD)),
    "enum": lambda group, name: group.create_dataset(name, data=np.zeros(3, "u1"), dtype=COLOUR),
    "reference": lambda group, name: group.create_dataset(name, data=np.array([group.ref] * 2, dtype=h5py.ref_dtype)),
    "numbers of any length": lambda group, name: group.create_dataset(name, data=ragged(), dtype=h5py.vlen_dtype("i4")),
    "3 bytes": lambda group, name: group.create_dataset(name, data=np.zeros(3, "V3")),
    "chunks": chunked(),
    "gzip": chunked(compression="gzip"),
    "all filters": chunked(compression="gzip", shuffle=True, fletcher32=True),
    "lzf": chunked(compression="lzf"),
    "fill": lambda group, name: group.create_dataset(name, (3,), "f4", fillvalue=2),
    "chunks with a fill value": chunked(fillvalue=-1),
    "growing": growing,
    "strings": lambda group, name: group.create_dataset(name, data=["a", "größe", ""], dtype=h5py.string_dtype()),
    "strings in chunks": lambda group, name: group.create_dataset(
        name, data=[["a"], ["b" * 40]], dtype=h5py.string_dtype(), chunks=(1, 1), compression="gzip"
    ),
    "UTF-8": lambda group, name: group.create_dataset(name, data=np.array(["é".encode(), b"abcde"], UTF8)),
}
IN_PROFILE = 13


@few(60)
@given(
    puts=st.lists(st.sampled_from(sorted(STORED)), min_size=1, max_size=4, unique=True),
    more=fills(depth=1),
    libver=st.sampled_from(["earliest", "v108", "v110", "latest", None]),
    userblock=st.sampled_from([0, 512]),
)
def test_h5007_every_storage_is_read_as_h5py_reads_it(puts: list[str], more: Any, libver: Any, userblock: int) -> None:
    """Without libhdf5, or, where the profile ends, with it."""

    def fill(file: h5py.Group) -> None:
        more(file)
        group = file.create_group("stored in ways")
        for name in puts:
            STORED[name](group, name)

    data = image(fill, libver=libver, userblock_size=userblock)
    try:
        compare(data)
        event("in the profile")
    except UnsupportedError as error:
        event(f"outside the profile: {re.sub('[0-9]+', 'N', error.problem.message)}")
    compare(data, Limits())


@pytest.mark.parametrize("name", list(STORED)[:IN_PROFILE])
def test_h5027_what_no_weight_has_leaves_the_rest_in_the_profile(name: str) -> None:
    def fill(file: h5py.Group) -> None:
        STORED[name](file.create_group("vars"), "x")

    assert compare(image(fill)) == 2


def only_ascii(data: bytes) -> bool:
    found: list[str] = []
    with h5py.File(io.BytesIO(data), "r") as file:
        file.visit(found.append)
    return all(map(str.isascii, found))


def test_h5046_names_that_are_not_ascii_make_new_style_groups() -> None:
    """As they do in a file of Keras."""
    for count in (8, 9):
        data = image(lambda file, count=count: [file.create_group(f"é{number}") for number in range(count)], libver="earliest")
        if count == 8:
            assert compare(data) == 8
        else:
            with refused("H5-027", UnsupportedError):
                compare(data)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 64, 65, 300, 5000])
def test_h5041_groups_of_every_size_are_read(count: int, libver: str) -> None:
    order = list(range(count))
    random.Random(count).shuffle(order)

    def fill(file: h5py.Group) -> None:
        for number in order:
            file.create_dataset(f"g/{number}", data=np.int32(number))
        file.require_group("g").attrs["name"] = "g"

    data = image(fill, libver=libver)
    if libver == "latest" and count > 8:
        with refused("H5-027", UnsupportedError):
            compare(data)
    else:
        assert compare(data) == count + 1


def test_h5042_a_group_that_shrank_is_read() -> None:
    def fill(file: h5py.Group) -> None:
        for number in range(900):
            file.create_group(str(number))
        for number in range(900):
            if number % 7:
                del file[str(number)]

    assert compare(image(fill)) == 129


def test_h5007_opaque_elements_with_many_attributes_are_no_guess() -> None:
    """The attribute that tells e5m2 from e4m3fn may be where only libhdf5 finds it [VA-005]."""

    def fill(file: h5py.Group) -> None:
        dataset = file.create_dataset("x", data=np.zeros(3, "V1"))
        for number in range(20):
            dataset.attrs[f"a{number}"] = number
        dataset.attrs["dtype"] = "float8_e5m2"

    data = image(fill, libver="latest")
    with pytest.raises(UnsupportedError):
        hdf5.read_tree(MemorySource(data, "m"), limits=LIMITS)
    node = hdf5.read_tree(MemorySource(data, "m"), limits=Limits()).get("x")
    assert isinstance(node, Dataset)
    assert node.dtype == "float8_e5m2"


@pytest.mark.parametrize("shape", [(0, 1 << 40, 1 << 40), (0, 1 << 62), (1 << 62, 0), (0,) * 32])
def test_h5012_no_elements_in_any_shape_are_an_array_or_refused(shape: tuple[int, ...]) -> None:
    data = h5_bytes(lambda file: file.create_dataset("x", shape, "f4"), vars_group=False)
    node = hdf5.read_tree(MemorySource(data, "m"), limits=LIMITS).get("x")
    assert isinstance(node, Dataset)
    with contextlib.suppress(refser.RefserError):
        array = node.weight("x").array()
        assert (array.shape, array.nbytes) == (shape, 0)
