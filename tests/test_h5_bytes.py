"""Each check of the pure HDF5 reader (H5-019 to H5-055), on bytes changed by hand; files of other tools; hostile files."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import KERNEL, h5_bytes, refused
from spec_examples import bases, read_all, shown, with_patch

from refser import hdf5
from refser.errors import InvalidError, LimitError, MalformedError, RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import _libhdf5
from refser.hdf5._datatype import read_type
from refser.hdf5._header import lookup3
from refser.hdf5._image import Image
from refser.limits import Limits
from refser.source import MemorySource

NONE = b"\xff" * 8
ONE = {"a": {"dtype": "float32", "shape": [2], "hex": "0000803f00000040"}}
Patch = list[tuple[int, bytes]]


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def patched(base: str, *changes: tuple[int, bytes]) -> bytes:
    return with_patch(bases()[base], [[at, new.hex()] for at, new in changes])


def refuse(code: str, kind: type[RefserError], base: str, *changes: tuple[int, bytes]) -> None:
    with refused(code, kind):
        read_all(patched(base, *changes))


def array(*changes: tuple[int, bytes], code: str = "H5-011", kind: type[RefserError] = MalformedError) -> None:
    """The file `one-array` is refused once these bytes are changed."""
    refuse(code, kind, "one-array", *changes)


def text(*changes: tuple[int, bytes], code: str = "H5-011", kind: type[RefserError] = MalformedError) -> None:
    refuse(code, kind, "text", *changes)


@contextmanager
def cheap(seconds: float = 2.0, memory: int = 32 << 20) -> Iterator[None]:
    """What runs inside ends soon and takes little memory."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        spent, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spent < seconds
    assert peak < memory


@contextmanager
def only_refser_errors() -> Iterator[None]:
    """It works, or one of ours says why not."""
    with suppress(RefserError):
        yield


# --- superblock


@pytest.mark.parametrize("version", [4, 5, 255])
def test_h5019_a_later_superblock_is_outside_the_profile(version: int) -> None:
    array((8, bytes([version])), code="H5-027", kind=UnsupportedError)


@pytest.mark.parametrize(("at", "width"), [(13, 4), (14, 4), (13, 16), (14, 0)])
def test_h5019_other_widths_are_outside_the_profile(at: int, width: int) -> None:
    array((at, bytes([width])), code="H5-027", kind=UnsupportedError)


def test_h5019_version_1_has_four_bytes_more() -> None:
    data = bases()["one-array"]
    block = data[:8] + b"\1" + data[9:24] + b"\x20\0\0\0" + data[24:96]  # the root group's header begins behind: move it
    header = data[96:160]
    moved = block + data[100:1280] + header
    moved = moved[:44] + u64(len(moved)) + moved[52:68] + u64(1280) + moved[76:]
    assert read_all(moved) == ONE


@pytest.mark.parametrize("root", [0, 97, 1279, 1280, 1 << 40, (1 << 64) - 1])
def test_h5019_a_root_that_is_no_object_header_is_refused(root: int) -> None:
    array((64, u64(root)))


@pytest.mark.parametrize("size", [8, 9, 40, 95])
def test_h5014_a_superblock_that_is_cut_short_is_refused(size: int) -> None:
    with refused("H5-014", MalformedError):
        read_all(bases()["one-array"][:size])


# --- object headers


@pytest.mark.parametrize("version", [0, 2, 255])
def test_h5030_another_version_of_an_object_header_is_refused(version: int) -> None:
    array((1080, bytes([version])))


@pytest.mark.parametrize("at", [1265, 1279, 1280, 1 << 63, (1 << 64) - 2])
def test_h5030_an_object_header_beyond_the_end_is_refused(at: int) -> None:
    array((176, u64(at)))


@pytest.mark.parametrize("count", [5, 65535])
def test_h5031_a_header_that_lacks_messages_is_refused(count: int) -> None:
    array((1082, struct.pack("<H", count)))


@pytest.mark.parametrize("size", [185, 1 << 20, 0xFFFFFFFF])
def test_h5031_a_header_larger_than_the_file_is_refused(size: int) -> None:
    array((1088, struct.pack("<I", size)))


def test_h5031_a_message_that_leaves_its_header_is_refused() -> None:
    array((1178, struct.pack("<H", 25)))
    array((1178, b"\xff\xff"))


def test_h5031_nil_and_unknown_messages_are_passed_over() -> None:
    for kind in (0, 0x0A, 0x0D, 0x12, 0x16, 0x17, 0x7F):
        assert read_all(patched("one-array", (136, bytes([kind])))) == ONE


def test_h5032_a_continuation_beyond_the_end_is_refused() -> None:
    array((136, b"\x10"), (144, u64(1280, 8)))
    array((136, b"\x10"), (144, u64(96, 1 << 63)))
    array((136, b"\x10"), (138, b"\x08"))


@pytest.mark.parametrize("extent", [0, 8, 24, 48])
def test_h5032_a_cycle_of_continuations_ends(extent: int) -> None:
    # 65,535 messages are declared, and the block that continues is the one that says so
    changes = (98, b"\xff\xff"), (136, b"\x10"), (144, u64(112 if extent > 24 else 136, extent))
    with cheap(), pytest.raises(RefserError) as caught:
        read_all(patched("one-array", *changes))
    assert caught.value.problem.code in ("H5-028", "H5-011")


@pytest.mark.parametrize("offset", range(48, 99))
def test_h5033_each_byte_of_a_new_header_counts(offset: int) -> None:
    data = bytearray(bases()["compact"])
    data[offset] ^= 1
    with pytest.raises(MalformedError) as caught:
        read_all(bytes(data))
    if offset > 54:  # before: signature, version, flags and size
        assert caught.value.problem.code == "H5-033"


def test_h5033_a_new_header_with_its_checksum_is_read() -> None:
    assert read_all(bases()["compact"]) == ONE
    assert read_all(sealed((90, b"b"))) == {"b": ONE["a"]}


def sealed(*changes: tuple[int, bytes]) -> bytes:
    """The file `compact` with bytes changed in its root header, whose checksum is mended."""
    data = bytearray(patched("compact", *changes))
    data[99:103] = struct.pack("<I", jenkins(bytes(data[48:99])))
    return bytes(data)


def jenkins(key: bytes) -> int:
    """`hashlittle` of lookup3.c, written from its macros."""
    mask, a = 0xFFFFFFFF, (0xDEADBEEF + len(key)) & 0xFFFFFFFF
    b = c = a

    def rot(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    here = 0
    while len(key) - here > 12:
        x, y, z = struct.unpack_from("<3I", key, here)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = (a - c) & mask ^ rot(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ rot(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 4)
        b = (b + a) & mask
        here += 12
    if here == len(key):
        return c
    x, y, z = struct.unpack("<3I", key[here:].ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - rot(b, 14)) & mask
    a = ((a ^ c) - rot(c, 11)) & mask
    b = ((b ^ a) - rot(a, 25)) & mask
    c = ((c ^ b) - rot(b, 16)) & mask
    a = ((a ^ c) - rot(c, 4)) & mask
    b = ((b ^ a) - rot(a, 14)) & mask
    return ((c ^ b) - rot(b, 24)) & mask


@pytest.mark.parametrize(
    ("data", "want"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551), (b"\0" * 12, None), (b"x" * 13, None)],
)
def test_h5033_lookup3_gives_the_known_values(data: bytes, want: int | None) -> None:
    assert lookup3(data) == jenkins(data)
    assert want in (None, lookup3(data))


def test_h5033_lookup3_is_the_same_for_every_length() -> None:
    data = bytes((7 * n + 3) % 256 for n in range(64))
    assert [lookup3(data[:n]) for n in range(65)] == [jenkins(data[:n]) for n in range(65)]


@pytest.mark.parametrize("at", [116, 140, 1100, 1132, 1164, 1180])
def test_h5034_a_shared_message_is_outside_the_profile(at: int) -> None:
    if at == 140:  # the NIL message
        assert read_all(patched("one-array", (at, b"\2"))) == ONE
    else:
        array((at, b"\2"), code="H5-027", kind=UnsupportedError)


# --- datatypes, dataspaces, storage


@pytest.mark.parametrize("version", [0, 6, 15])
def test_h5020_another_version_of_a_datatype_is_refused(version: int) -> None:
    array((1136, bytes([version << 4 | 1])))


@pytest.mark.parametrize(
    "change", [(1137, b"\x21\x40"), (1144, b"\1"), (1146, b"\x1f"), (1148, b"\x16"), (1152, b"\x7e"), (1138, b"\x1e")]
)
def test_h5026_a_float_of_another_form_is_outside_the_profile(change: tuple[int, bytes]) -> None:
    array(change, code="H5-027", kind=UnsupportedError)


def test_h5026_a_datatype_without_size_is_refused() -> None:
    array((1140, u64(0)[:4]))


@pytest.mark.parametrize("kind", [2, 4, 7, 10, 11, 12, 15])
def test_h5026_other_classes_are_those_that_no_weight_has(kind: int) -> None:
    array((1136, bytes([0x10 | kind])), code="VA-008", kind=InvalidError)


@pytest.mark.parametrize("head", ["19000000 10000000", "18020000 01000000", "19010100 10000000"])
def test_h5026_datatypes_in_datatypes_without_end_are_refused(head: str) -> None:
    found = bytes.fromhex(head) * 8000
    with cheap(), only_refser_errors():
        assert read_type(Image(memoryview(found), "x", Limits()), 0, len(found), "").kind in ("", "vlen")


@pytest.mark.parametrize("kind", [6, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 255, 256, 65535])
def test_h5022_h5023_huge_counts_of_members_end(kind: int, count: int) -> None:
    base = bytes.fromhex("100800000100000000000800")
    found = bytes([0x30 | kind]) + struct.pack("<HBI", count, 0, 1) + base + bytes(65000)
    with cheap():
        try:
            assert read_type(Image(memoryview(found), "x", Limits()), 0, len(found), "").kind == ""
        except MalformedError:
            assert count > 0


@pytest.mark.parametrize("change", [(1104, b"\0"), (1104, b"\3"), (1105, b"\x21"), (1105, b"\xff"), (1105, b"\3")])
def test_h5025_a_dataspace_that_does_not_decode_is_refused(change: tuple[int, bytes]) -> None:
    array(change)


@pytest.mark.parametrize("length", [0, 1, 3, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_h5012_a_shape_that_is_not_what_is_stored_is_refused(length: int) -> None:
    code, kind = ("H5-011", MalformedError) if length == (1 << 64) - 1 else ("H5-012", InvalidError)
    array((1112, u64(length)), code=code, kind=kind)


@pytest.mark.parametrize("address", [1273, 1280, 1 << 40, 1 << 63, (1 << 64) - 2])
def test_h5035_elements_beyond_the_end_are_refused(address: int) -> None:
    array((1186, u64(address)))


@pytest.mark.parametrize("version", [0, 1, 2, 5, 255])
def test_h5035_another_layout_message_is_outside_the_profile(version: int) -> None:
    array((1184, bytes([version])), code="H5-027", kind=UnsupportedError)


def test_h5035_chunks_are_outside_the_profile_and_a_virtual_dataset_is_unsafe() -> None:
    array((1185, b"\2"), code="H5-027", kind=UnsupportedError)
    array((1184, b"\4\3"), code="H5-003", kind=UnsafeError)


def test_h5035_compact_elements_are_read_and_stay_in_their_message() -> None:
    compact = (1184, b"\3\0" + struct.pack("<H", 8) + bytes.fromhex("0000803f00000040"))
    assert read_all(patched("one-array", compact)) == ONE
    array(compact, (1186, b"\x15"))
    array(compact, (1186, b"\x09"), code="H5-012", kind=InvalidError)


@pytest.mark.parametrize("kind", [1, 3, 8])
def test_h5035_an_array_that_lacks_a_message_is_refused(kind: int) -> None:
    at = {1: 1096, 3: 1128, 8: 1176}[kind]
    array((at, b"\0"))


def test_h5002_external_storage_is_unsafe() -> None:
    array((1160, b"\7"), code="H5-002", kind=UnsafeError)


def test_h5036_a_fill_value_of_any_message_counts() -> None:
    unstored = (1186, NONE + u64(0))
    zeros = {"a": ONE["a"] | {"hex": "00" * 8}}
    assert read_all(patched("one-array", unstored)) == zeros
    assert read_all(patched("one-array", unstored, (1168, b"\2\2\2\0"))) == zeros
    assert read_all(patched("one-array", unstored, (1168, b"\3\n\0\0"))) == zeros
    array(unstored, (1168, b"\1"), code="H5-027", kind=UnsupportedError)
    array(unstored, (1160, b"\4"), (1168, b"\4\0\0\0\0\0\x80\x3f"), code="H5-027", kind=UnsupportedError)


@pytest.mark.parametrize("kind", [0x02, 0x08, 0x15])
def test_h5011_a_message_without_a_body_at_the_very_end_is_refused(kind: int) -> None:
    data = bases()["one-array"]
    header = struct.pack("<BxHII4x", 1, 3, 1, 80) + data[1096:1160] + struct.pack("<H6x", kind) + b""
    grown = struct.pack("<BxHII4x", 1, 3, 1, len(header) - 16) + header[16:]
    whole = with_patch(data, [[40, u64(1280 + len(grown)).hex()], [176, u64(1280).hex()]]) + grown
    with refused("H5-011", MalformedError):
        read_all(whole)


# --- groups


@pytest.mark.parametrize("change", [(488, b"tree"), (492, b"\1"), (493, b"\1"), (493, b"\xff"), (494, b"\xff\xff")])
def test_h5041_h5042_a_node_that_is_none_is_refused(change: tuple[int, bytes]) -> None:
    array(change)


@pytest.mark.parametrize("address", [1270, 1280, 1 << 63, (1 << 64) - 1])
def test_h5041_addresses_beyond_the_end_are_refused(address: int) -> None:
    for at in (120, 128, 520, 1056):
        array((at, u64(address)))


def test_h5042_a_node_that_is_its_own_child_is_refused() -> None:
    with cheap():
        array((493, b"\1"), (520, u64(488)), code="H5-005", kind=InvalidError)
        array((493, b"\1\x14\0"), *((520 + 16 * n, u64(488)) for n in range(20)), code="H5-005", kind=InvalidError)


def test_h5042_two_links_to_one_node_are_refused() -> None:
    array((494, b"\2"), (536, u64(160)), code="H5-005", kind=InvalidError)


@pytest.mark.parametrize("change", [(160, b"snod"), (164, b"\0"), (164, b"\2"), (166, b"\x1d\0"), (166, b"\xff\xff")])
def test_h5043_a_symbol_table_node_that_is_none_is_refused(change: tuple[int, bytes]) -> None:
    array(change)


def test_h5043_an_entry_that_is_a_soft_link_is_unsafe() -> None:
    array((184, b"\2"), code="H5-001", kind=UnsafeError)
    array((176, NONE), code="H5-001", kind=UnsafeError)


@pytest.mark.parametrize(
    "change",
    [(1032, b"heap"), (1036, b"\1"), (1040, u64(9)), (1040, u64(0)), (1040, u64(1 << 63)), (168, u64(16)), (168, NONE)],
)
def test_h5044_names_that_are_not_there_are_refused(change: tuple[int, bytes]) -> None:
    array(change)


def test_h5044_a_heap_whose_names_are_itself_is_refused() -> None:
    array((1056, u64(1032)), code="H5-005", kind=InvalidError)


@pytest.mark.parametrize(("name", "code"), [(b".", "H5-008"), (b"/", "H5-008"), (b"\xff", "H5-008"), (b"\0", "H5-047")])
def test_h5008_a_name_that_acts_as_a_path_is_refused(name: bytes, code: str) -> None:
    with refused(code):
        read_all(patched("one-array", (1072, name)))


def test_h5047_a_name_twice_or_out_of_order_is_refused() -> None:
    array((166, b"\2"), (208, u64(8, 1080)), code="H5-047", kind=InvalidError)
    array((166, b"\2"), (168, u64(8, 1080)), (208, u64(0, 1080)), code="H5-047", kind=InvalidError)


def test_h5040_a_second_symbol_table_or_links_beside_it_are_refused() -> None:
    array((136, b"\x11"))
    array((136, b"\6"), (144, b"\1\0\1x" + u64(1080)))
    array((114, b"\x08"))


def test_h5045_a_link_message_that_does_not_decode_is_refused() -> None:
    for change in ((87, b"\0"), (87, b"\2"), (89, b"\2"), (89, b"\xff"), (88, b"\3"), (84, b"\x0b")):
        with pytest.raises(MalformedError):
            read_all(sealed(change))


def test_h5045_links_that_are_not_hard_are_unsafe() -> None:
    for kind in (1, 64, 65, 255):
        with refused("H5-001", UnsafeError):
            read_all(sealed((88, b"\x08" + bytes([kind]) + b"\1a")))


def test_h5047_two_link_messages_of_one_name_are_refused() -> None:
    data = bytearray(h5_bytes(lambda f: (f.create_group("x"), f.create_group("y")), vars_group=False, libver="latest"))
    start = data.index(b"OHDR")
    size = data[start + 22] if data[start + 5] & 0x20 else data[start + 6]
    end = start + (23 if data[start + 5] & 0x20 else 7) + size
    at = data.index(b"\1y", start, end)
    data[at + 1] = ord("x")
    data[end : end + 4] = struct.pack("<I", jenkins(bytes(data[start:end])))
    with refused("H5-047", InvalidError):
        read_all(bytes(data))


def test_h5046_a_link_info_message_that_does_not_decode_is_refused() -> None:
    for change in ((59, b"\1"), (60, b"\4"), (60, b"\1")):
        with pytest.raises(MalformedError):
            read_all(sealed(change))
    with refused("H5-027", UnsupportedError):
        read_all(sealed((61, u64(48))))


# --- attributes


@pytest.mark.parametrize("change", [(168, b"\0"), (168, b"\4"), (170, b"\xff\xff"), (172, b"\xff\xff"), (174, b"\x30")])
def test_h5050_an_attribute_that_does_not_decode_is_refused(change: tuple[int, bytes]) -> None:
    text(change)


def test_h5050_a_shared_datatype_is_outside_the_profile_before_a_group_is_given_out() -> None:
    data = patched("text", (168, b"\2\1"))
    with refused("H5-027", UnsupportedError):
        hdf5.read_tree(MemorySource(data, "x"), limits=Limits(allow_libhdf5=False))


def test_h5050_elements_that_are_not_there_are_refused() -> None:
    text((281, b"\1"), (288, u64(3)))


def test_h5009_a_name_or_a_string_that_is_not_utf8_is_refused() -> None:
    text((176, b"\xff"), code="H5-009")
    text((944, b"\xff"), code="H5-009")


def test_h5051_a_string_ends_at_its_first_nul() -> None:
    assert read_all(patched("text", (968, b"a\0"))) == {"@name": "é", "@l": ["a", ""]}


def test_h5052_two_attributes_of_one_name_are_refused() -> None:
    text((176, b"l\0"), code="H5-052", kind=InvalidError)


@pytest.mark.parametrize(
    "change", [(216, b"\3"), (228, b"\3"), (228, b"\0"), (220, u64(0)), (220, u64(5056)), (220, NONE), (220, u64(1 << 63))]
)
def test_h5053_a_string_that_is_not_there_is_refused(change: tuple[int, bytes]) -> None:
    text(change)


def test_h5053_an_empty_string_has_no_place() -> None:
    for place in (NONE, u64(0), u64(1 << 40)):
        assert read_all(patched("text", (216, b"\0"), (220, place)))["@name"] == ""


@pytest.mark.parametrize(
    "change",
    [
        (912, b"gcol"),
        (916, b"\0"),
        (916, b"\2"),
        (920, u64(4145)),
        (920, u64(1 << 63)),
        (936, u64(4096)),
        (936, NONE),
        (920, u64(0)),
    ],
)
def test_h5054_a_global_heap_that_does_not_decode_is_refused(change: tuple[int, bytes]) -> None:
    text(change)


def test_h5054_two_objects_of_one_number_are_refused() -> None:
    text((952, b"\1"), code="H5-054", kind=InvalidError)


def test_h5054_objects_of_size_0_end() -> None:
    objects = b"".join(struct.pack("<HHIQ", 3 + n, 0, 0, 0) for n in range(200))
    with cheap():
        assert read_all(patched("text", (976, objects)))["@name"] == "é"
    text((976, struct.pack("<HHIQ", 3, 0, 0, 0) * 200), code="H5-054", kind=InvalidError)


def test_h5055_an_attribute_info_message_without_a_heap_changes_nothing() -> None:
    data = patched("text", (136, b"\x15"), (138, b"\x10"), (144, b"\0\0" + NONE[:6] + NONE))
    with pytest.raises(MalformedError):  # 18 bytes are needed
        read_all(data)
    text((232, b"\x15"), (240, b"\0\0"), code="H5-027", kind=UnsupportedError)


# --- files of other tools


def tree_of_both(data: bytes) -> dict[str, Any]:
    """What the pure reader finds, which is what libhdf5 finds."""
    found = read_all(data)
    assert found == shown(_libhdf5.read_tree(MemorySource(data, "bytes"), limits=Limits()))
    return found


def fill(file: h5py.File) -> None:
    file.attrs["name"], file.attrs["list"], file.attrs["n"] = "größe", ["a", "", "b"], np.int64(-3)
    file["layers/dense/vars/0"] = KERNEL
    file["layers/dense/vars/1"] = np.arange(3, dtype=">f8")
    file["scalar"], file["empty"] = np.float16(1), np.zeros((0, 4), "i1")
    file["flags"], file["complex"] = np.array([True, False]), np.array([1 + 2j], "c8")
    file["strings"] = np.array([b"ab", b"c"], "S2")
    file.create_dataset("late", (3,), "u2")


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "v114", "latest"])
def test_h5019_h5030_h5033_files_of_every_version_are_read_without_libhdf5(libver: str, userblock: int) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver, userblock_size=userblock) as file:
        fill(file)
    data = stream.getvalue()
    assert data[userblock + 8] == {"earliest": 0, "v108": 2}.get(libver, 3)
    found = tree_of_both(data)
    assert found["layers"]["dense"]["vars"]["0"]["hex"] == KERNEL.tobytes().hex()
    assert found["@name"] == "größe"


@pytest.mark.skipif(shutil.which("h5repack") is None, reason="no h5repack here")
def test_h5030_files_of_h5repack_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(h5_bytes(fill, vars_group=False))
    want = read_all((tmp_path / "a.h5").read_bytes())
    for options, pure in (([], True), (["--latest"], False)):  # the latter puts the links into a fractal heap
        subprocess.run(["h5repack", *options, str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], check=True)
        data = (tmp_path / "b.h5").read_bytes()
        assert (tree_of_both(data) if pure else read_all(data, allow_libhdf5=True)) == want


def test_h5036_libhdf5_finds_no_elements_behind_a_user_block_either() -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file.create_dataset("x", (3,), "u2")
        file.create_dataset("chunks", data=KERNEL, chunks=(1, 1))
    assert read_all(stream.getvalue(), allow_libhdf5=True)["x"]["hex"] == "00" * 6


def test_h5032_headers_in_many_blocks_are_read() -> None:
    def grow(file: h5py.File) -> None:
        for number in range(40):  # each does not fit any more, and goes into a block of its own
            file.create_group(f"{number}")
            file.attrs[f"{number}"] = "x" * 50

    assert len(tree_of_both(h5_bytes(grow, vars_group=False))) == 80


OUTSIDE: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "chunked": (lambda f: f.create_dataset("x", data=KERNEL, chunks=(1, 1)), "earliest"),
    "filtered": (lambda f: f.create_dataset("x", data=KERNEL, compression="gzip", shuffle=True), "earliest"),
    "chunked, latest": (lambda f: f.create_dataset("x", data=KERNEL, chunks=(1, 1)), "latest"),
    "dense links": (lambda f: [f.create_dataset(f"{n}", data=KERNEL) for n in range(30)], "latest"),
    "dense attributes": (lambda f: [f.attrs.__setitem__(f"{n}", n) for n in range(30)], "latest"),
    "variable-length strings": (lambda f: f.create_dataset("x", data=["a", "bc"], dtype=h5py.string_dtype()), "earliest"),
    "other fill value": (lambda f: f.create_dataset("x", (3,), "f4", fillvalue=2), "earliest"),
    "shared datatype": (lambda f: shared_type(f), "earliest"),
    "attribute of a shared datatype": (lambda f: shared_attribute(f), "latest"),
}


def shared_type(file: h5py.File) -> None:
    file["t"] = np.dtype("<f4")
    file.create_dataset("x", data=KERNEL, dtype=file["t"])
    del file["t"]


def shared_attribute(file: h5py.File) -> None:
    file["t"] = np.dtype("<i4")
    file.attrs.create("n", np.array([1, 2], "<i4"), dtype=file["t"])
    del file["t"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_h5027_a_file_outside_the_profile_is_read_by_libhdf5_or_refused(name: str) -> None:
    make, libver = OUTSIDE[name]
    data = h5_bytes(make, vars_group=False, libver=libver)
    with refused("H5-027", UnsupportedError) as caught:
        read_all(data)
    assert caught.value.problem.message
    found = read_all(data, allow_libhdf5=True)
    assert found
    if "x" in found and name not in ("variable-length strings", "other fill value"):
        assert found["x"]["hex"] == KERNEL.tobytes().hex()


# --- hostile files: they end soon, in little memory


def group(at: int, links: list[tuple[bytes, int]] | list[tuple[int, int]], names: bytes = b"", per_leaf: int = 65535) -> bytes:
    """A group at an address: header, node, heap, names, leaves.  Links by name, or by an offset into `names`."""
    offsets = []
    for name, _ in links:
        if isinstance(name, bytes):
            offsets.append(len(names))
            names += name + b"\0"
        else:
            offsets.append(name)
    count = -(-len(links) // per_leaf)
    tree, heap = at + 40, at + 40 + 32 + 16 * count
    first = heap + 32 + len(names)
    leaves, places = b"", []
    for start in range(0, len(links), per_leaf):
        cells = [(offsets[n], links[n][1]) for n in range(start, min(start + per_leaf, len(links)))]
        places.append(first + len(leaves))
        leaves += b"SNOD" + struct.pack("<BxH", 1, len(cells)) + b"".join(struct.pack("<QQ24x", *cell) for cell in cells)
    header = struct.pack("<BxHII4x", 1, 1, 1, 24) + struct.pack("<HHB3xQQ", 0x11, 16, 0, tree, heap)
    node = b"TREE" + struct.pack("<BBH", 0, 0, count) + NONE + NONE + u64(0) + b"".join(u64(place, 0) for place in places)
    return header + node + b"HEAP" + bytes(4) + u64(len(names), 1, heap + 32) + names + leaves


def whole(*parts: bytes) -> bytes:
    """A file whose root group is the first part, at 96."""
    body = b"".join(parts)
    head = bases()["one-array"][:40] + u64(96 + len(body)) + NONE + u64(0, 96, 0, 0, 0)
    return head + body


def dataset_header(kind: bytes = b"", count: int = 2, layout: bytes = NONE) -> bytes:
    kind = kind or bytes.fromhex("11201f000400000000002000170800177f000000")
    body = b"".join(
        struct.pack("<HHB3x", number, len(data), 0) + data
        for number, data in (
            (1, b"\1\1" + bytes(6) + u64(count)),
            (3, kind),
            (8, b"\3\1" + layout + u64(4 * count % (1 << 64))),
        )
    )
    return struct.pack("<BxHII4x", 1, 3, 1, len(body)) + body


def at_end(make: Callable[[int], bytes]) -> int:
    return 96 + len(make(0))


def test_h5028_headers_that_lie_in_each_other_are_refused() -> None:
    units, links = 4000, 3000
    names = [b"%05d" % n for n in range(links)]
    first = at_end(lambda rest: group(96, [(name, 0) for name in names]))
    table = group(96, [(name, first + 24 * n + 8) for n, name in enumerate(names)])
    end = 24 * units + 32
    chain = b"".join(
        struct.pack("<HHB3x", 0, 16, 0) + struct.pack("<BxHII4x", 1, units - n, 1, end - 24 * (n + 1)) for n in range(units)
    )
    last = struct.pack("<HHB3x", 2, 24, 0) + b"\0\0" + NONE + NONE + bytes(6)
    with cheap(), refused("H5-028", InvalidError):
        read_all(whole(table, chain, last))


def test_h5028_names_that_share_bytes_are_refused() -> None:
    size = 200_000
    offsets = [size - 100 * n for n in range(1, 2000)]
    for per_leaf in (1, 8, 65535):
        first = at_end(lambda rest, per=per_leaf: group(96, [(o, 0) for o in offsets], b"a" * size + b"\0", per))
        table = group(96, [(o, first) for o in offsets], b"a" * size + b"\0", per_leaf)
        with cheap(), refused("H5-028", InvalidError):
            read_all(whole(table, dataset_header()))


def test_h5029_long_names_before_many_links_are_refused() -> None:
    name = b"n" * 200_000
    below = at_end(lambda rest: group(96, [(name, 0)]))
    links = [b"%05d" % n for n in range(5000)]
    data = below + len(group(below, [(link, 0) for link in links]))
    parts = group(96, [(name, below)]), group(below, [(link, data) for link in links]), dataset_header()
    with cheap(), refused("H5-029", InvalidError):
        read_all(whole(*parts))


def test_h5028_strings_that_share_bytes_are_refused() -> None:
    size, cells = 30_000, 1000
    vlen = bytes.fromhex("1901010010000000" + "100000000100000000000800" + "00000000")
    head = struct.pack("<BxHHH", 1, 2, len(vlen), 16) + b"n".ljust(8, b"\0") + vlen + b"\1\1" + bytes(6) + u64(cells)
    length = len(head) + 16 * cells
    start = 96 + 16 + 24 + 8 + length + 32 + 32 + 8
    heap_at = start + (-start % 8)
    attribute = struct.pack("<HHB3x", 0x0C, length, 0) + head + struct.pack("<IQI", size, heap_at, 1) * cells
    messages = struct.pack("<HHB3xQQ", 0x11, 16, 0, 96 + 40 + 8 + length, 96 + 40 + 8 + length + 32) + attribute
    root = struct.pack("<BxHII4x", 1, 2, 1, len(messages)) + messages
    node = b"TREE" + bytes(4) + NONE + NONE + u64(0)
    local = b"HEAP" + bytes(4) + u64(8, 1, 96 + len(root) + 64) + bytes(8)
    body = (root + node + local).ljust(heap_at - 96, b"\0")
    collection = b"GCOL\1\0\0\0" + u64(32 + size) + struct.pack("<HHIQ", 1, 0, 0, size) + b"x" * size
    with cheap(), refused("H5-028", InvalidError):
        read_all(whole(body, collection))


def test_h5028_arrays_that_share_bytes_are_refused_when_they_are_more_than_the_file() -> None:
    names = [b"%05d" % n for n in range(2000)]
    first = at_end(lambda rest: group(96, [(name, 0) for name in names]))
    size = len(dataset_header())
    table = group(96, [(name, first + size * n) for n, name in enumerate(names)])
    headers = dataset_header(count=10_000, layout=u64(96)) * len(names)
    with cheap(), refused("H5-028", InvalidError):
        read_all(whole(table, headers))


def test_h5036_thousands_of_arrays_that_are_not_stored_take_no_memory() -> None:
    names = [b"%05d" % n for n in range(2000)]
    first = at_end(lambda rest: group(96, [(name, 0) for name in names]))
    size = len(dataset_header())
    table = group(96, [(name, first + size * n) for n, name in enumerate(names)])
    data = whole(table, dataset_header(count=1 << 24) * len(names))
    with cheap():
        root = hdf5.read_tree(MemorySource(data, "x"), limits=Limits(allow_libhdf5=False))
    assert len(root.children) == 2000
    child = root.children["00000"]
    assert isinstance(child, hdf5.Dataset)
    assert child.weight("x").nbytes == 1 << 26
    with refused("LI-010", LimitError):
        read_all(whole(group(96, [(b"a", at_end(lambda r: group(96, [(b"a", 0)])))]), dataset_header(count=(1 << 24) + 1)))


def test_h5026_a_dataset_of_datatypes_in_datatypes_is_refused() -> None:
    first = at_end(lambda rest: group(96, [(b"a", 0)]))
    nested = bytes.fromhex("1900000010000000") * 8000
    with cheap(), refused("VA-008", InvalidError):
        read_all(whole(group(96, [(b"a", first)]), dataset_header(nested)))


@pytest.mark.parametrize("cut", range(1, 27))
def test_h5011_a_header_like_another_that_the_file_cuts_short_is_refused(cut: int) -> None:
    first = at_end(lambda rest: group(96, [(b"a", 0), (b"b", 0)]))
    header = dataset_header(layout=u64(96))
    table = group(96, [(b"a", first), (b"b", first + len(header))])
    body = table + header + header
    with refused("H5-011", MalformedError):
        read_all(whole(body[:-cut]))


@pytest.mark.parametrize("at", range(0, 1216, 2))
def test_h5011_every_pair_of_bytes_can_be_anything(at: int) -> None:
    for new in (b"\0\0", b"\xff\xff", b"\1\0", b"\x80\x7f"):
        for base in ("one-array", "text"):
            with cheap(), only_refser_errors():
                read_all(patched(base, (at, new)))


def test_h5025_shapes_of_any_size_are_counted_without_their_elements() -> None:
    first = at_end(lambda rest: group(96, [(b"a", 0)]))
    with cheap(), refused("LI-010", LimitError):
        read_all(whole(group(96, [(b"a", first)]), dataset_header(count=1 << 63)[:-8] + u64(0)))
