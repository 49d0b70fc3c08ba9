"""Files made to take time or memory that grows faster than they do: each is refused, or read, as soon as an honest one."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from bounds import watched
from test_hdf5_mutations import look

from refser import hdf5
from refser.hdf5 import FixedStrings, NewDataset, NewGroup
from refser.source import MemorySource
from refser.values import Weight

pytest.importorskip("resource")
ONE = NewDataset(Weight.from_array("w", np.float32(1)))


def image(root: NewGroup) -> bytearray:
    return bytearray(b"".join(hdf5.plan_tree(root).pieces()))


def codes(data: bytearray) -> set[str]:
    """The refusals of the file or of something in it."""
    with watched():
        code, found = look(MemorySource(bytes(data), "m"))
    return {code, *(value for value in found.values() if isinstance(value, str))} - {"ok"}


def each(data: bytearray, signature: bytes) -> list[int]:
    found, at = [], data.find(signature)
    while at >= 0:
        found.append(at)
        at = data.find(signature, at + 8)
    return found


def root_header(data: bytearray) -> int:
    return int(struct.unpack_from("<Q", data, 64)[0])


@pytest.mark.parametrize("count", [8, 9, 10_000])
def test_h5028_names_that_are_ends_of_one_long_name(count: int) -> None:
    data = image(NewGroup(children={f"{number:0100}": ONE for number in range(count)}))
    heap = each(data, b"HEAP")[0]
    size, address = struct.unpack_from("<Q8xQ", data, heap + 8)
    data[address : address + size] = b"\1" * (size - 2) + b"\2\0"
    links = (leaf + 8 + 40 * place for leaf in each(data, b"SNOD") for place in range(data[leaf + 6]))
    for number, symbol in enumerate(links):
        struct.pack_into("<Q", data, symbol, 8 + number)
    assert codes(data) == {"H5-028"}


def test_h5028_cells_that_share_one_long_string() -> None:
    cells = [b"%04d" % number for number in range(2000)]
    root = NewGroup(attributes={"a": b"x" * 400_000, **{f"l{number}": cells for number in range(8)}})
    data = image(root)
    heap = each(data, b"GCOL")[0]
    for number in range(2, 2 + 8 * len(cells)):
        at = data.find(struct.pack("<IQI", 4, heap, number))
        struct.pack_into("<IQI", data, at, 400_000, heap, 1)
    assert codes(data) in ({"H5-028"}, {"LI-007"})


@pytest.mark.parametrize("kind", [0x19, 0x18, 0x16, 0x1A])
def test_h5026_datatypes_in_datatypes(kind: int) -> None:
    data = image(NewGroup(attributes={"a": FixedStrings((b"x" * 60_000,), 60_000)}))
    at = data.find(struct.pack("<BBBBI", 0x13, 1, 0, 0, 60_000))
    struct.pack_into("<H", data, at - 12, 56_000)  # the size of the type in the attribute message
    step = struct.pack("<BBBBI", kind, 2, 0, 0, 16)
    data[at : at + 56_000] = step * 7_000
    codes(data)  # whatever it says, it says it soon


@pytest.mark.parametrize("kind", [0x18, 0x38, 0x16, 0x36])
def test_h5026_many_short_members(kind: int) -> None:
    root = NewGroup(attributes={f"a{number}": FixedStrings((b"x" * 60_000,), 60_000) for number in range(30)})
    data = image(root)
    base = struct.pack("<BBBBIHH", 0x10, 8, 0, 0, 1, 0, 8) if kind & 15 == 8 else b""
    members = (b"n" + bytes(7 if kind < 0x30 else 1)) * 6000
    for at in each(data, struct.pack("<BBBBI", 0x13, 1, 0, 0, 60_000)):
        struct.pack_into("<H", data, at - 12, 56_000)
        stored = struct.pack("<BHBI", kind, 0xFFFF, 0, 1) + base + members
        data[at : at + len(stored)] = stored
    codes(data)


def test_h5032_a_header_that_goes_on_in_itself() -> None:
    data = image(NewGroup())
    header = root_header(data)
    struct.pack_into("<H", data, header + 2, 0xFFFF)
    data[header + 16 : header + 24] = struct.pack("<HHB3x", 0x10, 16, 0)
    data[header + 24 : header + 40] = struct.pack("<QQ", header + 16, 24)
    assert codes(data) & {"H5-028", "H5-011"}


def test_h5005_a_node_that_is_its_own_child() -> None:
    data = image(NewGroup(children={f"{number:04}": ONE for number in range(300)}))
    for node in each(data, b"TREE"):
        for child in range(data[node + 6]):
            struct.pack_into("<Q", data, node + 32 + 16 * child, node)
    assert codes(data) & {"H5-005", "H5-011"}


@pytest.mark.parametrize("size", [0, 1, 8, 16, (1 << 64) - 16, (1 << 64) - 1])
def test_h5054_a_heap_object_of_any_size(size: int) -> None:
    data = image(NewGroup(attributes={"a": "text", "b": "more"}))
    heap = each(data, b"GCOL")[0]
    struct.pack_into("<Q", data, heap + 16 + 8, size)
    struct.pack_into("<Q", data, data.find(struct.pack("<HHI", 0, 0, 0), heap + 16 + 48) + 8, size)
    codes(data)


def test_h5029_long_paths_in_every_place() -> None:
    root = here = NewGroup()
    for _ in range(60):
        name = "n" * 5000
        here.children[name] = NewGroup()
        for number in range(100):
            here.children[f"{number}"] = ONE
        here = here.children[name]  # type: ignore[assignment]
    codes(image(root))
