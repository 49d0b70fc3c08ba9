"""The door to HDF5 (H5), on files that h5py wrote and some bytes of which were changed."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import KERNEL, h5_bytes, hostile, refused, write

import refser
from refser import hdf5
from refser.errors import InvalidError, LimitError, MalformedError, RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import Dataset, FixedStrings, Group, NewDataset, NewGroup
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import Weight


def tree_of(data: bytes, **limits: Any) -> Group:
    return hdf5.read_tree(MemorySource(data, "m.h5"), limits=Limits(**limits))


def tree(fill: Callable[[h5py.File], object] | None = None, limits: dict[str, Any] | None = None, **options: Any) -> Group:
    return tree_of(h5_bytes(fill, vars_group=False, **options), **(limits or {}))


def weight(root: Group, path: str = "x") -> Weight:
    node = root.get(path)
    assert isinstance(node, Dataset)
    return node.weight(path)


def create(file: h5py.File, type_id: Any, shape: tuple[int, ...] | None = (2,), plist: Any = None) -> Any:
    """A dataset `x` through the low-level calls.  No shape: the null dataspace."""
    space = (
        h5py.h5s.create(h5py.h5s.NULL)
        if shape is None
        else h5py.h5s.create_simple(shape)
        if shape
        else h5py.h5s.create(h5py.h5s.SCALAR)
    )
    return h5py.h5d.create(file.id, b"x", type_id, space, dcpl=plist)


# --- what leads out of the file


@pytest.mark.parametrize("target", ["/a", "a", "/nowhere", "../x"])
def test_h5001_a_soft_link_is_unsafe_wherever_it_leads(target: str) -> None:
    def fill(file: h5py.File) -> None:
        file["a"] = KERNEL
        file["x"] = h5py.SoftLink(target)

    with refused("H5-001", UnsafeError) as caught:
        tree(fill)
    assert caught.value.problem.at == "m.h5:/x"


def test_h5001_an_external_link_is_unsafe_and_its_file_is_not_opened(tmp_path: Path) -> None:
    for number, target in enumerate((hostile(tmp_path / "fifo"), str(tmp_path / "nowhere.h5"), "relative.h5")):

        def fill(file: h5py.File, target: str = target) -> None:
            file["x"] = h5py.ExternalLink(target, "/a")

        path = write(tmp_path / f"m{number}.weights.h5", h5_bytes(fill))
        with refused("H5-001", UnsafeError) as caught:
            refser.open(path)
        assert "another file" in caught.value.problem.message


def test_h5001_a_user_defined_link_is_unsafe() -> None:
    data = bytearray(h5_bytes(lambda file: file.__setitem__("extern", h5py.ExternalLink("f", "/a")), vars_group=False))
    at = data.find(b"\x40\x06extern")  # the link message: kind, length of the name, name
    assert at > 0
    data[at] = 70
    with refused("H5-001", UnsafeError) as caught:
        tree_of(bytes(data))
    assert "user-defined" in caught.value.problem.message


def test_h5001_a_link_deep_in_a_group_that_nobody_uses_is_unsafe() -> None:
    with refused("H5-001", UnsafeError):
        tree(lambda file: file.create_group("a/b/c").__setitem__("x", h5py.SoftLink("/")))


def test_h5002_external_storage_is_unsafe_and_its_file_is_not_opened(tmp_path: Path) -> None:
    for number, target in enumerate((hostile(tmp_path / "fifo"), str(tmp_path / "nowhere"), "/etc/passwd")):

        def fill(file: h5py.File, target: str = target) -> None:
            file.create_dataset("vars/0", (4,), "u1", external=[(target, 0, 4)])

        path = write(tmp_path / f"m{number}.weights.h5", h5_bytes(fill))
        with refused("H5-002", UnsafeError):
            refser.open(path)


def test_h5003_a_virtual_dataset_is_unsafe_and_its_file_is_not_opened(tmp_path: Path) -> None:
    for number, target in enumerate((hostile(tmp_path / "fifo"), str(tmp_path / "nowhere.h5"), ".")):

        def fill(file: h5py.File, target: str = target) -> None:
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource(target, "a", (4,))
            file.create_virtual_dataset("vars/0", layout)

        path = write(tmp_path / f"m{number}.weights.h5", h5_bytes(fill, libver="latest"))
        with refused("H5-003", UnsafeError):
            refser.open(path)


def test_h5002_storage_outside_is_unsafe_even_for_an_array_that_no_list_names(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["layer_names"] = np.array([], "f8")
        file.create_dataset("unused", (4,), "u1", external=[("/etc/passwd", 0, 4)])

    with refused("H5-002", UnsafeError):
        refser.open(write(tmp_path / "m.h5", h5_bytes(fill, vars_group=False)))


# --- storage


def filtered(file: h5py.File, number: int) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2,))
    plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
    create(file, h5py.h5t.IEEE_F32LE, (2,), plist)


@pytest.mark.parametrize("number", [307, 32001, 32004, 32013, 32015, 65535])
def test_h5004_an_unknown_filter_is_refused_where_the_array_is_asked_for(number: int) -> None:
    root = tree(lambda file: filtered(file, number))
    with refused("H5-004", UnsupportedError) as caught:
        weight(root)
    assert str(number) in caught.value.problem.message
    assert "h5repack" in caught.value.problem.hint


@pytest.mark.parametrize("options", [{"compression": "lzf"}, {"scaleoffset": 3, "dtype": "i4"}])
def test_h5004_filters_of_h5py_and_packing_ones_are_refused(options: dict[str, Any]) -> None:
    dtype = options.pop("dtype", "f4")
    root = tree(lambda file: file.create_dataset("x", data=np.arange(8, dtype=dtype), chunks=(4,), **options))
    with refused("H5-004", UnsupportedError):
        weight(root)


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"fletcher32": True},
        {"shuffle": True},
        {"maxshape": (None, None)},
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "<c8", "?"])
def test_h5007_chunks_are_read_whatever_their_filters(options: dict[str, Any], dtype: str, libver: str) -> None:
    want = np.arange(35).reshape(5, 7).astype(dtype)
    root = tree(lambda file: file.create_dataset("x", data=want, chunks=(2, 3), **options), libver=libver)
    found = weight(root)
    assert (found.shape, found.nbytes) == ((5, 7), want.nbytes)
    little = want.astype(want.dtype.newbyteorder("<")) if want.dtype.kind in "iufc" else want
    assert found.tobytes() == little.tobytes()
    assert found.array().astype(little.dtype).tobytes() == little.tobytes()


@pytest.mark.parametrize("kind", ["V2", "V1"])
def test_h5007_chunks_of_opaque_elements_are_read(kind: str) -> None:
    want = np.arange(12, dtype=f"u{kind[1]}").view(kind)
    found = weight(tree(lambda file: file.create_dataset("x", data=want, chunks=(5,), compression="gzip")))
    assert found.dtype == {"V2": "bfloat16", "V1": "float8_e4m3fn"}[kind]
    assert found.tobytes() == want.tobytes()


def test_h5007_the_compact_layout_is_read() -> None:
    def fill(file: h5py.File) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        create(file, h5py.h5t.IEEE_F32BE, (2, 3), plist).write(h5py.h5s.ALL, h5py.h5s.ALL, KERNEL)

    assert weight(tree(fill)).tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("options", [{}, {"chunks": (4,)}, {"chunks": (4,), "compression": "gzip"}])
@pytest.mark.parametrize(("fillvalue", "want"), [(None, 0.0), (2.5, 2.5)])
def test_h5007_what_nobody_wrote_reads_as_the_fill_value(options: dict[str, Any], fillvalue: float | None, want: float) -> None:
    found = weight(tree(lambda file: file.create_dataset("x", (9,), "f4", fillvalue=fillvalue, **options)))
    assert found.tobytes() == struct.pack("<f", want) * 9


def test_h5082_a_chunk_that_does_not_inflate_is_an_error_of_ours() -> None:
    data = bytearray(
        h5_bytes(lambda f: f.create_dataset("x", data=np.arange(99, dtype="<i4"), chunks=(99,), compression="gzip"))
    )
    at = data.find(b"\x78\x5e")  # a zlib stream of level 4
    assert at > 0
    data[at + 10 : at + 40] = bytes(30)
    found = weight(tree_of(bytes(data)))
    with refused("H5-082", MalformedError):
        found.array()


def test_h5083_a_wrong_fletcher32_is_an_error_of_ours() -> None:
    data = bytearray(
        h5_bytes(lambda f: f.create_dataset("x", data=np.full(9, 0x01020304, "<i4"), chunks=(9,), fletcher32=True))
    )
    data[data.find(b"\4\3\2\1" * 9)] ^= 1
    found = weight(tree_of(bytes(data)))
    with refused("H5-083", MalformedError):
        found.tobytes()


def test_h5007_contiguous_arrays_are_views_and_h5py_reads_none_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "m.weights.h5", h5_bytes(lambda file: file.create_dataset("vars/0", data=KERNEL)))
    with refser.open(path) as file:
        found = file.weights["vars/0"]
        assert path.read_bytes()[found.source.offset : found.source.offset + found.source.length] == KERNEL.tobytes()
        assert not found.array().flags.owndata


# --- the shape of the file


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "v114", "latest"])
@pytest.mark.parametrize("track_order", [False, True])
def test_h5018_files_of_every_version_are_read_in_the_order_of_their_names(libver: str, track_order: bool) -> None:
    def fill(file: h5py.File) -> None:
        for number in reversed(range(30)):
            file[f"g/{number}"] = np.float32(number)
        for number in range(30):
            file["g"].attrs[f"a{number}"] = number

    root = tree(fill, libver=libver, track_order=track_order)
    group = root.get("g")
    assert isinstance(group, Group)
    assert list(group.children) == sorted(map(str, range(30)))
    assert weight(root, "g/17").array() == np.float32(17)
    assert group.attributes == {f"a{number}": number for number in range(30)}


@pytest.mark.parametrize("size", [512, 1024, 4096])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5013_a_user_block_is_passed_over(tmp_path: Path, size: int, libver: str) -> None:
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w", userblock_size=size, libver=libver) as file:
        file["vars/0"] = KERNEL
        file.create_dataset("vars/1", data=KERNEL, chunks=(1, 1))
    with open(path, "r+b") as stream:
        stream.write(b"user data")
    for number in range(2):
        assert refser.load(path).weights[f"vars/{number}"].tobytes() == KERNEL.tobytes()
    write(path, path.read_bytes()[:-1])
    with refused("H5-014", MalformedError):
        refser.open(path)


def test_h5013_the_signature_stands_only_where_it_can() -> None:
    data = h5_bytes()
    for offset, found in ((0, 0), (512, 512), (2048, 2048), (256, None), (511, None), (1536, None)):
        assert hdf5.find_superblock(MemorySource(bytes(offset) + data, "x")) == found
    with refused("H5-011", MalformedError):
        tree_of(bytes(1536) + data)


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_h5014_a_file_shorter_than_it_says_is_refused(libver: str) -> None:
    data = h5_bytes(lambda file: file.create_dataset("x", data=np.zeros(1000)), libver=libver)
    for cut in (1, 1000, len(data) - 100):
        with refused("H5-014", MalformedError) as caught:
            tree_of(data[:-cut])
        assert f"{len(data) - cut:,}" in caught.value.problem.message


def test_h5014_bytes_behind_the_end_do_no_harm() -> None:
    data = h5_bytes(lambda file: file.create_dataset("x", data=KERNEL), vars_group=False)
    assert weight(tree_of(data + b"behind")).tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("path", ["/", "/a/b", "/a"])
def test_h5005_a_group_that_is_reached_twice_is_refused(path: str) -> None:
    def fill(file: h5py.File) -> None:
        file.create_group("a/b/c")
        file["a/b/c/again"] = file[path]

    with refused("H5-005", InvalidError):
        tree(fill)


def test_h5005_two_paths_to_one_group_are_refused_before_they_multiply() -> None:
    def fill(file: h5py.File) -> None:
        here = file.create_group("g0")
        for _ in range(1, 40):
            below = here.create_group("a")
            here["b"] = below
            here = below

    with refused("H5-005", InvalidError):
        tree(fill)


def test_h5005_two_paths_to_one_dataset_are_two_weights() -> None:
    def fill(file: h5py.File) -> None:
        file["x"] = KERNEL
        file["y"] = file["x"]

    root = tree(fill)
    assert weight(root, "x").tobytes() == weight(root, "y").tobytes() == KERNEL.tobytes()


def test_h5006_a_committed_datatype_is_refused() -> None:
    with refused("H5-006", UnsupportedError):
        tree(lambda file: file.__setitem__("t", np.dtype("f4")))


def with_name(name: bytes) -> bytes:
    """One group whose name is written into the heap over another of the same length."""
    old = b"Q" * len(name)
    data = h5_bytes(lambda file: file.create_group(old), vars_group=False)
    assert data.count(old) == 1
    return data.replace(old, name)


@pytest.mark.parametrize("name", [b"a/b", b"/ab", b"ab/", b"../x", b"..", b".", b"/"])
def test_h5008_a_name_that_acts_as_a_path_is_unsafe(name: bytes) -> None:
    with refused("H5-008", UnsafeError):
        tree_of(with_name(name))


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xed\xa0\x80", b"ab\xc3"])
def test_h5008_a_name_that_is_not_utf8_is_refused(name: bytes) -> None:
    with refused("H5-008", MalformedError):
        tree_of(with_name(name))


@pytest.mark.parametrize("name", ["a\x1b[31m", "\x01", "a\nb", " ", "größe", "a.b", "...", "\u202e", "x" * 5000])
def test_h5008_any_other_name_is_read(name: str) -> None:
    root = tree(lambda file: file.create_dataset(f"g/{name}", data=KERNEL))
    assert weight(root, f"g/{name}").shape == (2, 3)


# --- types and shapes


def test_h5012_the_null_dataspace_is_refused_where_the_array_is_asked_for() -> None:
    root = tree(lambda file: create(file, h5py.h5t.IEEE_F32LE, None))
    with refused("H5-012", InvalidError):
        weight(root)


def test_va001_a_scalar_and_the_largest_rank_are_read() -> None:
    root = tree(lambda file: (file.__setitem__("s", np.float32(7)), file.__setitem__("r", np.zeros((1,) * 31 + (2,)))))
    assert (weight(root, "s").shape, weight(root, "s").array()) == ((), np.float32(7))
    assert weight(root, "r").array().shape == (1,) * 31 + (2,)


def test_va007_integers_of_odd_precision_are_read_by_value() -> None:
    def fill(file: h5py.File) -> None:
        kind = h5py.h5t.STD_I32LE.copy()
        kind.set_precision(24)
        kind.set_offset(8)
        create(file, kind).write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([5, -7], "<i4"))

    assert weight(tree(fill)).array().tolist() == [5, -7]


@pytest.mark.parametrize("base", ["i1", "u1"])
def test_va006_a_bool_over_one_byte_is_read(base: str) -> None:
    def fill(file: h5py.File) -> None:
        kind = h5py.h5t.enum_create(h5py.h5t.py_create(np.dtype(base)))
        kind.enum_insert(b"FALSE", 0)
        kind.enum_insert(b"TRUE", 1)
        create(file, kind, (3,)).write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([0, 1, 1], base), mtype=kind)

    found = weight(tree(fill))
    assert (found.dtype, found.tobytes()) == ("bool", b"\0\1\1")


def test_va007_big_endian_complex_numbers_are_read() -> None:
    found = weight(tree(lambda file: file.create_dataset("x", data=np.array([1 + 2j], ">c16"))))
    assert (found.dtype, found.tobytes()) == ("complex128", struct.pack("<2d", 1, 2))


def test_va008_a_compound_that_only_looks_complex_is_refused() -> None:
    for fields in ([("real", "f4"), ("imag", "f4")], [("r", "f4"), ("i", "f8")], [("r", "i4"), ("i", "i4")], [("r", "f4")]):
        root = tree(lambda file, fields=fields: file.create_dataset("x", data=np.zeros(2, fields)))
        with refused("VA-008", InvalidError):
            weight(root)


def strings(pad: int, size: int, data: bytes) -> Callable[[h5py.File], object]:
    def fill(file: h5py.File) -> None:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(size)
        kind.set_strpad(pad)
        cells = np.frombuffer(data, f"S{size}")
        create(file, kind, cells.shape).write(h5py.h5s.ALL, h5py.h5s.ALL, cells, mtype=kind)

    return fill


@pytest.mark.parametrize(
    ("pad", "data"),
    [
        (h5py.h5t.STR_NULLPAD, b"ab\0\0c\0\0\0"),
        (h5py.h5t.STR_NULLTERM, b"ab\0\0c\0\0\0"),
        (h5py.h5t.STR_SPACEPAD, b"ab  c   "),
    ],
)
def test_va012_fixed_strings_are_read_without_their_padding(pad: int, data: bytes) -> None:
    found = weight(tree(strings(pad, 4, data)))
    assert found.dtype == "string"
    assert found.array().tolist() == [b"ab", b"c"]


def test_va012_variable_strings_are_read_as_cells_of_the_longest() -> None:
    texts = ["a", "größe", "", "日"]
    root = tree(lambda file: file.create_dataset("x", data=texts, dtype=h5py.string_dtype()))
    found = weight(root)
    assert (found.dtype, found.shape, found.nbytes) == ("string", (4,), 4 * 7)
    assert found.array().tolist() == [text.encode() for text in texts]
    assert found.tobytes() == b"".join(text.encode().ljust(7, b"\0") for text in texts)


def test_va012_variable_strings_that_nobody_wrote_are_empty() -> None:
    root = tree(
        lambda file: [file.create_dataset(n, s, dtype=h5py.string_dtype()) for n, s in (("x", (3,)), ("s", ()), ("z", (0,)))]
    )
    assert weight(root).array().tolist() == [b"", b"", b""]
    assert weight(root, "s").array().tolist() == b""
    assert weight(root, "z").array().tolist() == []


def test_h5011_an_array_beyond_the_end_of_the_file_is_refused() -> None:
    data = h5_bytes(lambda file: file.create_dataset("x", data=KERNEL), vars_group=False)
    with _image(data) as file:
        offset = file["x"].id.get_offset()
    packed = struct.pack("<QQ", offset, KERNEL.nbytes)
    assert data.count(packed) == 1
    for place in (len(data) - 23, len(data), 1 << 40, 1 << 62):
        with refused("H5-011", MalformedError):  # by libhdf5 at once, by us when it is asked for
            weight(tree_of(data.replace(packed, struct.pack("<QQ", place, KERNEL.nbytes))))


def _image(data: bytes) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_file_image(data)
    return h5py.File(h5py.h5f.open(b"image", h5py.h5f.ACC_RDONLY, fapl=access))


@pytest.mark.parametrize(
    "data", [b"\x89HDF\r\n\x1a\n" + bytes(500), b"\x89HDF\r\n\x1a\n" + b"\xff" * 500, b"\x89HDF\r\n\x1a\n"]
)
def test_h5011_h5019_h5014_a_signature_and_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(RefserError):
        tree_of(data)


# --- attributes


def test_h5009_h5017_attributes_are_text_numbers_and_lists_of_them() -> None:
    def fill(file: h5py.File) -> None:
        attributes = file.attrs
        attributes["text"], attributes["bytes"], attributes["fixed"] = "größe", b"ascii", np.bytes_(b"abc")
        attributes["list"] = np.array([b"a", b"bc"], "S4")
        attributes["texts"] = ["é", ""]
        attributes["int"], attributes["float"], attributes["ints"] = np.int64(-5), 1.5, np.array([1, 2], ">i2")
        attributes["floats"], attributes["none"] = np.array([]), h5py.Empty("S3")
        attributes["table"], attributes["enum"] = np.zeros((2, 2)), np.bool_(True)
        attributes["compound"], attributes["reference"] = np.zeros(1, "i4,f4")[0], file.ref
        attributes["big"] = np.uint64(2**64 - 1)

    assert tree(fill).attributes == {
        "text": "größe",
        "bytes": "ascii",
        "fixed": "abc",
        "list": ["a", "bc"],
        "texts": ["é", ""],
        "int": -5,
        "float": 1.5,
        "ints": [1, 2],
        "floats": [],
        "none": None,
        "table": None,
        "enum": None,
        "compound": None,
        "reference": None,
        "big": 2**64 - 1,
    }


def test_h5009_space_padded_text_loses_its_padding() -> None:
    def fill(file: h5py.File) -> None:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(6)
        kind.set_strpad(h5py.h5t.STR_SPACEPAD)
        attribute = h5py.h5a.create(file.id, b"a", kind, h5py.h5s.create(h5py.h5s.SCALAR))
        attribute.write(np.array(b"ab    ", "S6"), mtype=kind)

    assert tree(fill).attributes == {"a": "ab"}


@pytest.mark.parametrize("value", [np.bytes_(b"\xff"), np.array([b"ok", b"\xc3"])])
def test_h5009_text_that_is_not_utf8_is_refused(value: object) -> None:
    with refused("H5-009", MalformedError) as caught:
        _ = tree(lambda file: file.attrs.__setitem__("a", value)).attributes
    assert "'a'" in caught.value.problem.at


# --- limits


def test_li004_and_li010_declared_bytes_are_capped_before_they_are_read() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("late", (1 << 40,), "f4")  # 4 TiB, nothing stored
        file.create_dataset("gzip", (1 << 40,), "f4", chunks=(1 << 16,), compression="gzip")
        file["gzip"][:4] = 1
        file.create_dataset("text", (1 << 40,), "S8", chunks=(1 << 16,))
        file.create_dataset("texts", (1 << 40,), h5py.string_dtype())
        file.create_dataset("overflow", (1 << 62, 1 << 62), "f8", chunks=(1, 1))

    root = tree(fill)
    for path, code in (("late", "LI-010"), ("gzip", "LI-004"), ("text", "LI-010"), ("texts", "LI-010"), ("overflow", "LI-010")):
        with refused(code, LimitError):
            weight(root, path)


def test_li004_decoded_bytes_are_capped_and_stored_ones_are_not() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("chunks", data=np.zeros(11, "u1"), chunks=(11,))
        file["plain"] = np.zeros(1000, "u1")

    root = tree(fill, {"inflated_bytes": 10})
    assert weight(root, "plain").nbytes == 1000
    with refused("LI-004", LimitError):
        weight(root, "chunks")
    assert weight(tree(fill, {"inflated_bytes": 11}), "chunks").nbytes == 11


def test_li010_unstored_bytes_are_capped() -> None:
    for limit, fine in ((36, True), (35, False)):
        root = tree(lambda file: file.create_dataset("x", (9,), "f4"), {"unstored_bytes": limit})
        if fine:
            assert weight(root).tobytes() == bytes(36)
        else:
            with refused("LI-010", LimitError):
                weight(root)


def test_li005_the_number_of_objects_is_capped() -> None:
    def fill(file: h5py.File) -> None:
        for number in range(10):
            file[str(number)] = np.float32(0)

    assert len(tree(fill, {"hdf5_objects": 10}).children) == 10
    with refused("LI-005", LimitError):
        tree(fill, {"hdf5_objects": 9})


def test_li006_the_depth_of_groups_is_capped() -> None:
    assert tree(lambda file: file.create_group("/".join("a" * 64))).get("/".join("a" * 64))
    with refused("LI-006", LimitError):
        tree(lambda file: file.create_group("/".join("a" * 65)))
    with refused("LI-006", LimitError):
        tree(lambda file: file.create_group("/".join("a" * 5000)))


def test_li007_the_size_of_an_attribute_is_capped() -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["a"] = np.zeros(100_000, "u1")

    assert len(tree(fill, {"attribute_bytes": 100_000}, libver="latest").attributes["a"]) == 100_000  # type: ignore[arg-type]
    with refused("LI-007", LimitError):
        tree(fill, {"attribute_bytes": 99_999}, libver="latest")


# --- writing


def test_h5010_h5016_a_written_tree_has_the_types_that_keras_writes(tmp_path: Path) -> None:
    root = NewGroup()
    written: dict[str, Any] = {"s": "größe", "b": b"ascii", "l": [b"a", b"bc"], "e": [], "f": FixedStrings((b"a", b"bcd"), 3)}
    root.attributes.update(written)
    root.put("g/x", NewDataset(Weight.from_array("x", KERNEL), {"dtype": "bfloat16"}))
    hdf5.write_tree(str(tmp_path / "m.h5"), root)
    with h5py.File(tmp_path / "m.h5") as file:
        kinds = {name: h5py.h5a.open(file.id, name.encode()).get_type() for name in "sblf"}
        assert [kinds[name].is_variable_str() for name in "sblf"] == [True, True, True, False]
        assert [kinds[name].get_cset() for name in "sbl"] == [h5py.h5t.CSET_UTF8, h5py.h5t.CSET_ASCII, h5py.h5t.CSET_ASCII]
        assert (kinds["f"].get_size(), kinds["f"].get_strpad()) == (3, h5py.h5t.STR_NULLPAD)
        assert (file.attrs["e"].shape, file.attrs["e"].dtype) == ((0,), np.dtype("f8"))
        assert (file.attrs["s"], file.attrs["b"]) == ("größe", "ascii")
        assert list(file.attrs["f"]) == [b"a", b"bcd"]
        assert file["g/x"][()].tobytes() == KERNEL.tobytes()
        assert dict(file["g/x"].attrs) == {"dtype": "bfloat16"}


@pytest.mark.parametrize("path", ["", "a//b", "/a", "a/", "a/../b", "./a", "a\0", "\ud800"])
def test_h5008_a_name_that_no_reader_takes_is_not_written(path: str) -> None:
    with refused("H5-008", InvalidError):
        NewGroup().put(path, NewDataset(Weight.from_array("x", KERNEL)))


def test_h5008_one_place_holds_one_thing() -> None:
    root = NewGroup()
    root.put("a/b", NewDataset(Weight.from_array("x", KERNEL)))
    for path in ("a/b", "a", "a/b/c"):
        with refused("H5-008", InvalidError):
            root.put(path, NewDataset(Weight.from_array("x", KERNEL)))


def test_h5010_a_tree_reads_back_with_its_attributes(tmp_path: Path) -> None:
    root = NewGroup()
    root.group("a/b").attributes["name"] = "n"
    hdf5.write_tree(str(tmp_path / "m.h5"), root)
    found = tree_of((tmp_path / "m.h5").read_bytes()).get("a/b")
    assert isinstance(found, Group)
    assert found.attributes == {"name": "n"}


def test_get_follows_only_what_is_there() -> None:
    root = tree(lambda file: file.create_dataset("a/b", data=KERNEL))
    assert isinstance(root.get("a/b"), Dataset)
    assert [root.get(path) for path in ("", "a/", "/a", "a/b/c", "a/c", "..", "a/../a")] == [None] * 7


def test_every_fault_of_an_array_is_an_error_of_ours_with_its_place() -> None:
    root = tree(lambda file: create(file, h5py.h5t.IEEE_F32LE, None))
    with pytest.raises(RefserError) as caught:
        weight(root)
    assert caught.value.problem.at == "m.h5:/x"
    assert os.sep not in caught.value.problem.at.replace(":/x", "")
