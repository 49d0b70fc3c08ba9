"""Each check of the pure HDF5 reader on the file as a whole, object headers and arrays, on bytes changed by hand.

Spec: spec/hdf5-bytes.md (H5-019 to H5-036).
"""

from __future__ import annotations

import struct

import pytest
from h5_patches import NONE, ONE, array, cheap, jenkins, only_refser_errors, patched, sealed, u64
from helpers import refused
from spec_examples import bases, read_all, with_patch

from refser.errors import InvalidError, MalformedError, RefserError, UnsafeError, UnsupportedError
from refser.hdf5._datatype import read_type
from refser.hdf5._header import lookup3
from refser.hdf5._image import Image
from refser.limits import Limits

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


def test_h5035_an_address_is_no_layout_of_chunks_and_a_virtual_dataset_is_unsafe() -> None:
    array((1185, b"\2"))
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
