"""Each check of the pure HDF5 reader on groups and attributes, on bytes changed by hand.

Spec: spec/hdf5-groups.md (H5-040 to H5-055).
"""

from __future__ import annotations

import struct

import pytest
from h5_patches import NONE, array, cheap, jenkins, patched, sealed, text, u64
from helpers import h5_bytes, refused
from spec_examples import read_all

from refser import hdf5
from refser.errors import InvalidError, MalformedError, UnsafeError, UnsupportedError
from refser.limits import Limits
from refser.source import MemorySource

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
