"""HDF5 files made to take time or memory: reading them ends soon, in little memory."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from h5_patches import NONE, cheap, only_refser_errors, patched, u64
from helpers import refused
from spec_examples import bases, read_all

from refser import hdf5
from refser.errors import InvalidError, LimitError, MalformedError
from refser.limits import Limits
from refser.source import MemorySource


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
