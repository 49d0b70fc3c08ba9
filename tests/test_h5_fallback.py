"""What libhdf5 decodes is held against limits before: files that make it read one string many times, and the like."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from h5_trees import image
from helpers import refused

from refser import hdf5
from refser.errors import InvalidError, LimitError, RefserError
from refser.hdf5 import Dataset, Group, NewDataset, NewGroup, _libhdf5
from refser.hdf5._header import lookup3
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import Weight

TEXT = h5py.string_dtype()
LONG = "x" * 1_000_000
COUNT = 5000  # times LONG: more than any limit that a machine has the memory for
CELL = struct.Struct("<IQI")


def outside(file: h5py.Group) -> None:
    """What only libhdf5 reads."""
    file.create_dataset("outside", (1,), "f4", fillvalue=3)


def read(data: bytes, **limits: Any) -> Group:
    with pytest.raises(RefserError) as caught:
        hdf5.read_tree(MemorySource(data, "m"), limits=Limits(allow_libhdf5=False))
    assert caught.value.problem.code == "H5-027"
    return hdf5.read_tree(MemorySource(data, "m"), limits=Limits(**limits))


def all_long(data: bytes, cells: list[str]) -> bytes:
    """Every string of variable length that is in `cells` becomes the one that is `LONG`; checksums are mended."""
    out = bytearray(data)
    found: dict[bytes, bytes] = {}  # the bytes of a string, and of the cell that names it
    at = out.find(b"GCOL")
    while at >= 0:
        end = at + struct.unpack_from("<Q", out, at + 8)[0]
        here = at + 16
        while here + 16 <= end:
            number, size = struct.unpack_from("<HxxxxxxQ", out, here)
            if not number:
                break
            found[bytes(out[here + 16 : here + 16 + size])] = CELL.pack(size, at, number)
            here += 16 + -(-size // 8) * 8
        at = out.find(b"GCOL", at + 4)
    place = 0
    for cell in cells:
        old = found[cell.encode()]
        place = place + 16 if out.startswith(old, place + 16) else out.find(old)
        assert place > 0
        out[place : place + 16] = found[LONG.encode()]
    return seal(out, data)


def seal(out: bytearray, old: bytes) -> bytes:
    """New checksums of the direct blocks of fractal heaps: a block is as long as its old checksum says."""
    at = old.find(b"FHDB")
    while at >= 0:
        for size in (1 << power for power in range(9, 17)):
            block = bytearray(old[at : at + size])
            block[18:22] = bytes(4)
            if lookup3(bytes(block)) == int.from_bytes(old[at + 18 : at + 22], "little"):
                out[at + 18 : at + 22] = bytes(4)
                out[at + 18 : at + 22] = lookup3(bytes(out[at : at + size])).to_bytes(4, "little")
                break
        else:
            raise AssertionError("a block without end")
        at = old.find(b"FHDB", at + 4)
    return bytes(out)


# --- attributes


def list_of(
    count: int, also: Callable[[h5py.Group], object] = lambda file: None, long: str = LONG
) -> Callable[[h5py.Group], None]:
    def fill(file: h5py.Group) -> None:
        file.attrs["long"] = long
        file.attrs["list"] = np.array([f"{number:05}" for number in range(count)], TEXT)
        outside(file)
        also(file)

    return fill


def dense(file: h5py.Group) -> None:
    """So many attributes that a newer file keeps them in a fractal heap."""
    for number in range(10):
        file.attrs[f"a{number}"] = f"text {number}"


def test_h5028_a_list_of_one_string_in_a_header_is_refused() -> None:
    data = image(list_of(4000, long="y" + LONG[1:]))  # a longer list does not fit in a header
    assert read(data).attributes["list"] == [f"{number:05}" for number in range(4000)]
    shared = all_long(image(list_of(4000)), [f"{number:05}" for number in range(4000)])
    with refused("H5-028", InvalidError):
        read(shared)
    with refused("LI-007", LimitError):
        read(shared, attribute_bytes=len(LONG) - 1)


def test_li007_a_list_of_one_string_in_a_fractal_heap_is_refused_before_it_is_read() -> None:
    data = image(list_of(2000, dense), libver="latest")
    shared = all_long(data, [f"{number:05}" for number in range(2000)])
    with h5py.File(io.BytesIO(shared)) as file:  # sound for libhdf5: one of its strings can be read
        assert file.attrs["a1"] == "text 1"
    with refused("LI-007", LimitError):
        read(shared)


def test_li007_an_honest_list_in_a_fractal_heap_is_read_when_the_limit_lets_it() -> None:
    data = image(list_of(2000, dense, long="short"), libver="latest")
    found = read(data).attributes
    assert found["list"] == [f"{number:05}" for number in range(2000)]
    assert (found["a9"], found["long"]) == ("text 9", "short")
    with refused("LI-007", LimitError):  # for all that can be known, each is as long as the longest
        read(data, attribute_bytes=2000 * 5)


def test_h5028_many_attributes_that_share_one_string_are_refused() -> None:
    """None of them is too large; together they are more than the file."""

    def fill(file: h5py.Group) -> None:
        dense(file)
        file.attrs["long"] = LONG
        outside(file)

    data = image(fill, libver="latest")
    assert read(data).attributes["a3"] == "text 3"
    with refused("H5-028", InvalidError):
        read(all_long(data, [f"text {number}" for number in range(10)]))


def test_li007_a_fixed_attribute_in_a_fractal_heap_is_refused_over_the_limit() -> None:
    def fill(file: h5py.Group) -> None:
        dense(file)
        file.attrs["fixed"] = np.array([b"x" * 1000] * 200)
        outside(file)

    data = image(fill, libver="latest")
    assert read(data).attributes["fixed"] == ["x" * 1000] * 200
    with refused("LI-007", LimitError):
        read(data, attribute_bytes=199_999)


def test_h5009_an_attribute_name_that_is_not_utf8_is_refused() -> None:
    def fill(file: h5py.Group) -> None:
        dense(file)
        file.attrs[b"name\xff"] = 1
        outside(file)

    with refused("H5-009"):
        read(image(fill, libver="latest"))


def test_va005_one_dataset_by_many_paths_counts_once() -> None:
    def fill(file: h5py.Group) -> None:
        dense(file)
        outside(file)
        dataset = file.create_dataset("narrow", data=np.zeros(3, "V1"))
        dataset.attrs["dtype"] = "float8_e5m2"
        for number in range(8):
            dataset.attrs[f"much{number}"] = "m" * 4000
        for number in range(30):
            file[f"link{number}"] = dataset

    for libver in ("earliest", "latest"):
        root = read(image(fill, libver=libver))
        assert {node.dtype for name, node in root.children.items() if name != "outside"} == {"float8_e5m2"}  # type: ignore[union-attr]


# --- datasets


def strings(values: list[str], **options: Any) -> Callable[[h5py.Group], None]:
    def fill(file: h5py.Group) -> None:
        file.attrs["long"] = LONG
        file.create_dataset("x", data=np.array(values, dtype=object), dtype=TEXT, **options)

    return fill


def dataset(root: Group) -> Dataset:
    node = root.get("x")
    assert isinstance(node, Dataset)
    return node


@pytest.mark.parametrize("options", [{}, {"chunks": (100,)}], ids=["contiguous", "chunked"])
def test_li004_a_dataset_of_one_string_is_refused_before_it_is_read(options: dict[str, Any]) -> None:
    values = [f"{number:05}" for number in range(COUNT)]
    data = image(strings(values, **options))
    weight = dataset(read(data)).weight("x")
    assert (weight.shape, weight.tobytes()) == ((COUNT,), "".join(values).encode())
    with refused("LI-004", LimitError):
        dataset(read(all_long(data, values))).weight("x")


def test_li004_strings_are_read_a_few_at_a_time() -> None:
    """Each of them could be the longest, and two of those are more than the limit."""
    values = [f"{number:03}" for number in range(100)]
    weight = dataset(read(image(strings(values)), inflated_bytes=1_500_000)).weight("x")
    assert weight.tobytes() == "".join(values).encode()


def test_li004_a_chunk_larger_than_the_limit_is_refused_however_few_its_elements() -> None:
    def fill(file: h5py.Group) -> None:
        file.create_dataset("x", (1,), "u1", maxshape=(None,), chunks=(1 << 20,), data=[7])

    source = MemorySource(image(fill), "m")
    assert dataset(_libhdf5.read_tree(source, limits=Limits())).weight("x").tobytes() == b"\7"
    with refused("LI-004", LimitError):
        dataset(_libhdf5.read_tree(source, limits=Limits(inflated_bytes=1 << 19))).weight("x")


def test_h5007_strings_of_every_shape_are_read() -> None:
    def fill(file: h5py.Group) -> None:
        for name, values in {"scalar": "größe", "none": [], "square": [["a", ""], ["bc", "d" * 50]]}.items():
            file.create_dataset(name, data=np.array(values, dtype=object), dtype=TEXT)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2,))
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(4)
        kind.set_strpad(h5py.h5t.STR_SPACEPAD)
        padded = h5py.h5d.create(file.id, b"padded", kind, h5py.h5s.create_simple((3,)), plist)
        padded.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([b"a", b"bcde", b""]), mtype=h5py.h5t.py_create(np.dtype("S4")))

    root = read(image(fill))
    found = {name: node.weight(name).tobytes() for name, node in root.children.items() if isinstance(node, Dataset)}
    assert found["scalar"] == "größe".encode()
    assert found["none"] == b""
    assert found["square"] == b"".join(cell.ljust(50, b"\0") for cell in (b"a", b"", b"bc", b"d" * 50))
    assert found["padded"] == b"a\0\0\0bcde\0\0\0\0"


# --- names


def test_h5028_names_that_are_ends_of_one_long_name_are_refused() -> None:
    one = NewDataset(Weight.from_array("w", np.float32(1)))
    data = bytearray(b"".join(hdf5.plan_tree(NewGroup(children={f"{number:0100}": one for number in range(2000)})).pieces()))
    heap = data.find(b"HEAP")
    size, address = struct.unpack_from("<Q8xQ", data, heap + 8)
    data[address : address + size] = b"\1" * (size - 2) + b"\2\0"
    number, leaf = 0, data.find(b"SNOD")
    while leaf >= 0:
        for place in range(data[leaf + 6]):
            struct.pack_into("<Q", data, leaf + 8 + 40 * place, 8 + number)
            number += 1
        leaf = data.find(b"SNOD", leaf + 8)
    assert number == 2000
    with refused("H5-028", InvalidError):
        _libhdf5.read_tree(MemorySource(bytes(data), "m"), limits=Limits())


def test_h5029_long_names_before_many_links_are_refused() -> None:
    def fill(file: h5py.Group) -> None:
        group = file.create_group("n" * 60_000)
        for number in range(500):
            group.create_group(f"{number}")

    with refused("H5-029", InvalidError):
        _libhdf5.read_tree(MemorySource(image(fill), "m"), limits=Limits())


def test_li005_links_are_counted_before_any_is_followed() -> None:
    data = image(lambda file: [file.create_group(f"{number}") for number in range(20)], libver="latest")
    assert len(read(data, hdf5_objects=20).children) == 20
    with refused("LI-005", LimitError):
        read(data, hdf5_objects=19)
