"""Datasets in chunks (spec/hdf5-chunks.md): what h5py reads in them is what refser reads, and hostile ones are refused."""

from __future__ import annotations

import contextlib
import gc
import io
import random
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5_trees import KINDS, LIMITS, compare, few, image
from helpers import patched as packed
from helpers import refused
from hypothesis import event, given
from hypothesis import strategies as st
from spec_examples import bases, read_all, with_patch

from refser import hdf5
from refser.errors import InvalidError, LimitError, MalformedError, RefserError, UnsupportedError
from refser.hdf5 import Dataset
from refser.hdf5._filters import fletcher32
from refser.limits import Limits
from refser.source import MemorySource, Source
from refser.stream import StreamSource

NODE, ENTRY = 24, 32  # bytes of a node's head, and of a key and a child of one dimension
TABLE = np.arange(35, dtype="<f4").reshape(5, 7)
Fill = Callable[[h5py.File], object]


def node_of(data: bytes, name: str = "x", **limits: Any) -> Dataset:
    source = MemorySource(data, "m")
    found = hdf5.read_tree(source, limits=Limits(**{"allow_libhdf5": False, **limits})).get(name)
    assert isinstance(found, Dataset)
    return found


def elements(data: bytes, name: str = "x", **limits: Any) -> bytes:
    return node_of(data, name, **limits).weight(name).tobytes()


# --- what h5py reads, whatever the shape, the chunks, the filters and the version of the format


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Fill, dict[str, bool]]:
    """A dataset of which some part is written, and what could put it outside the profile."""
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    shape = tuple(draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)))
    chunks = tuple(draw(st.integers(1, max(1, length))) for length in shape)
    grows = draw(st.sampled_from(["no", "no", "fixed", "one", "all"]))
    most: Any = None
    if grows == "fixed":
        most = tuple(length + draw(st.integers(0, 5)) for length in shape)
    elif grows != "no":
        most = tuple(None if grows == "all" or axis == 0 else length for axis, length in enumerate(shape))
    options: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {}, optional={"compression": st.just("gzip"), "shuffle": st.just(True), "fletcher32": st.just(True)}
        )
    )
    if "compression" in options:
        options["compression_opts"] = draw(st.sampled_from([0, 1, 9]))
    filled = kind.kind in "iuf" and draw(st.sampled_from([None, None, 0, 3]))
    seed, part = draw(st.integers(0, 1 << 20)), [draw(st.integers(0, length)) for length in shape]
    if any(limit is not None and limit < part for limit, part in zip(most or shape, chunks)):
        most = (None,) * len(shape)  # h5py wants chunks inside the largest shape

    def fill(file: h5py.File) -> None:
        rng = random.Random(seed)
        dataset = file.create_dataset("x", shape, kind, chunks=chunks, maxshape=most, fillvalue=filled or None, **options)
        where = tuple(slice(length) for length in part)
        count = int(np.prod(part)) * kind.itemsize
        data = bytes(byte & 1 for byte in rng.randbytes(count)) if kind.kind == "b" else rng.randbytes(count)
        if kind.kind == "S":
            data = bytes(byte & 127 or 1 for byte in data)
        if count:
            dataset.write_direct(np.frombuffer(data, kind).reshape(part), dest_sel=where)

    return fill, {"grows": bool(most) and None in most, "filled": bool(filled)}


@few(250)
@given(
    made=datasets(),
    libver=st.sampled_from(["earliest", "v108", ("v108", "v108"), "v110", "v112", "latest"]),
    userblock=st.sampled_from([0, 0, 512]),
)
def test_h5071_the_elements_are_those_that_h5py_reads(made: Any, libver: Any, userblock: int) -> None:
    fill, outside = made
    data = image(fill, libver=libver, userblock_size=userblock)
    try:
        assert compare(data) == 1
        event("read")
    except UnsupportedError as error:
        event(f"outside the profile: {error.problem.message}")
        newest = libver in ("v110", "v112", "latest")
        if not (outside["filled"] or (newest and outside["grows"])):
            raise
    with contextlib.suppress(UnsupportedError):  # and a stream of the same bytes gives the same
        whole = node_of(data).weight("x").tobytes()
        found = hdf5.read_tree(StreamSource(io.BytesIO(data), "m"), limits=LIMITS).get("x")
        assert isinstance(found, Dataset)
        assert found.weight("x").tobytes() == whole


@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108"), "v110", "latest"])
@pytest.mark.parametrize("written", [0, 1, 700, 3000])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True}])
def test_h5079_many_chunks_are_found_in_trees_and_in_pages(libver: Any, written: int, options: dict[str, Any]) -> None:
    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("x", (3000,), "<i2", chunks=(1,), maxshape=(5000,), **options)
        for start in (2000, 0):  # some pages stay without an entry
            end = min(3000, start + written)
            dataset[start:end] = np.arange(start, end)

    assert compare(image(fill, libver=libver)) == 1


@pytest.mark.parametrize("most", [(5, 7), (9, 8)])
@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
def test_h5078_chunks_that_are_allocated_early_are_read(most: tuple[int, ...], libver: str) -> None:
    def fill(file: h5py.File) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 3))
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space = h5py.h5s.create_simple((5, 7), most)
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, plist))
        dataset[1:, 2:] = TABLE[1:, 2:]

    data = image(fill, libver=libver)
    assert compare(data) == 1
    assert (b"FAHD" in data, b"TREE" in data) == (False, libver == "earliest")


@pytest.mark.parametrize("chunks", [(5, 7), (2, 3)])
@pytest.mark.parametrize("mask", range(8))
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5081_filters_that_a_mask_leaves_out_are_not_undone(chunks: tuple[int, int], mask: int, libver: str) -> None:
    def fill(file: h5py.File) -> None:
        options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        dataset = file.create_dataset("x", TABLE.shape, "<f4", chunks=chunks, **options)
        dataset[...] = TABLE
        data = bytes(range(4 * chunks[0] * chunks[1]))
        if not mask & 2:
            data = zlib.compress(data)
        if not mask & 4:
            data += struct.pack("<I", slow_fletcher32(data))
        dataset.id.write_direct_chunk((0, 0), data, mask)

    assert compare(image(fill, libver=libver)) == 1


@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108")])
def test_h5074_a_dataset_that_grew_and_shrank_is_read(libver: Any) -> None:
    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("x", data=np.arange(900).reshape(30, 30), maxshape=(None, None), chunks=(2, 3))
        for shape in ((5, 40), (33, 7), (0, 7), (3, 9), (12, 12)):
            dataset.resize(shape)
            if shape[1] > 9:
                dataset[:, 5:] = np.arange(shape[0] * (shape[1] - 5)).reshape(shape[0], -1)

    assert compare(image(fill, libver=libver)) == 1


def test_h5027_indexes_that_grow_are_outside_the_profile() -> None:
    for most, found in (((None, 7), "extensible array"), ((None, None), "version 2 B-tree")):
        data = image(lambda f, m=most: f.create_dataset("x", data=TABLE, chunks=(2, 3), maxshape=m), libver="latest")
        with refused("H5-027", UnsupportedError) as caught:
            read_all(data)
        assert found in caught.value.problem.message
        assert read_all(data, allow_libhdf5=True)["x"]["hex"] == TABLE.tobytes().hex()


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5004_another_filter_is_refused_and_the_other_arrays_are_read(libver: str) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("lzf", data=TABLE, compression="lzf")
        file.create_dataset("x", data=TABLE, compression="gzip")

    data = image(fill, libver=libver)
    assert elements(data) == TABLE.tobytes()
    with refused("H5-004", UnsupportedError):
        elements(data, "lzf")


@pytest.mark.skipif(shutil.which("h5repack") is None, reason="no h5repack here")
@pytest.mark.parametrize("options", ["-f GZIP=6", "-f SHUF -f GZIP=1 -l CHUNK=2x3", "-f FLET -l CHUNK=5x7", "-l CHUNK=1x1"])
@pytest.mark.parametrize("latest", [False, True])
def test_h5007_files_of_h5repack_are_read(tmp_path: Path, options: str, latest: bool) -> None:
    old, new = tmp_path / "a.h5", tmp_path / "b.h5"
    old.write_bytes(image(lambda file: file.create_dataset("layers/dense/vars/0", data=TABLE)))
    subprocess.run(["h5repack", *options.split(), *["--latest", "-c", "8", "-d", "6"] * latest, str(old), str(new)], check=True)
    assert compare(new.read_bytes()) == 4
    assert elements(new.read_bytes(), "layers/dense/vars/0") == TABLE.tobytes()


# --- filters


def slow_fletcher32(data: bytes) -> int:
    first = second = 0
    for word in struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)):
        first += word
        second += first
        first, second = (first & 0xFFFF) + (first >> 16), (second & 0xFFFF) + (second >> 16)
    return second << 16 | first


@pytest.mark.parametrize("length", [1, 2, 3, 65535, 65536, 65537, 131072, 200001])
@pytest.mark.parametrize("byte", [None, 0, 255])
def test_h5083_the_checksum_is_that_of_its_definition(length: int, byte: int | None) -> None:
    data = random.Random(length).randbytes(length) if byte is None else bytes([byte]) * length
    assert fletcher32(memoryview(data)) == slow_fletcher32(data)


@pytest.mark.parametrize("length", [1, 30, 70_000])
@pytest.mark.parametrize("kind", ["u1", "<u2", ">f8"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_h5083_a_wrong_byte_is_found(length: int, kind: str, place: float) -> None:
    values = np.frombuffer(random.Random(1).randbytes(8 * length), kind)[:length]
    data = image(lambda file: file.create_dataset("x", data=values, chunks=(length,), fletcher32=True))
    at = data.find(values.tobytes()) + int(values.nbytes * place)
    with refused("H5-083", MalformedError):
        elements(packed(data, ("<B", at, data[at] ^ 0x10)))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5082_a_damaged_stream_is_refused_and_no_other_array_with_it(libver: str) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("x", data=TABLE, chunks=(5, 7), compression="gzip")
        file.create_dataset("y", data=TABLE, chunks=(5, 7))

    data = image(fill, libver=libver)
    at = data.find(b"\x78\x5e")
    data = with_patch(data, [[at + 9, "00" * 9]])
    with refused("H5-082", MalformedError) as caught:
        elements(data)
    assert caught.value.problem.at == "m:/x"
    assert elements(data, "y") == TABLE.tobytes()


# --- hostile files: each names its fault, soon and in little memory


def chunk_file(shape: tuple[int, ...], chunks: tuple[int, ...], stream: bytes, *more: bytes) -> bytes:
    """A float32 dataset with chunks along its first dimension, of these streams."""

    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("x", shape, "<f4", chunks=chunks, maxshape=(None,) * len(shape), compression=1)
        for number, data in enumerate((stream, *more)):
            dataset.id.write_direct_chunk((number * chunks[0], *(0,) * (len(shape) - 1)), data)

    return image(fill, libver="earliest")


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_h5082_a_stream_that_gives_more_than_its_chunk_is_stopped() -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)
    data = chunk_file((16,), (16,), bomb)

    def call() -> None:
        with refused("H5-082", MalformedError):
            elements(data)

    assert peak(call) < 1 << 20


def test_h5082_a_stream_that_gives_less_takes_no_memory_for_the_rest() -> None:
    data = chunk_file((1 << 28,), (1 << 28,), zlib.compress(b"abcd"))
    with refused("H5-082", MalformedError):  # 1 GiB of zeros that nobody touches
        elements(data)


@pytest.mark.parametrize(
    ("shape", "chunks", "enough"), [((10,), (10,), 40), ((10,), (4,), 48), ((1,), (1 << 20,), 4 << 20), ((1, 1), (7, 9), 252)]
)
def test_li004_whole_chunks_count_as_decoded_bytes(shape: tuple[int, ...], chunks: tuple[int, ...], enough: int) -> None:
    count = -(-shape[0] // chunks[0])
    stream = zlib.compress(bytes(4 * int(np.prod(chunks))))
    data = chunk_file(shape, chunks, *[stream] * count)
    assert elements(data, inflated_bytes=enough) == bytes(4 * int(np.prod(shape)))
    with refused("LI-004", LimitError):
        elements(data, inflated_bytes=enough - 1)


def test_li010_elements_of_missing_chunks_count_as_not_stored() -> None:
    data = image(lambda f: f.create_dataset("x", (100,), "u1", chunks=(10,)).__setitem__(slice(0, 20), 7))
    assert elements(data, unstored_bytes=80) == b"\7" * 20 + bytes(80)
    with refused("LI-010", LimitError):
        elements(data, unstored_bytes=79)
    huge = image(lambda f: f.create_dataset("x", (1 << 29,), "u1", chunks=(1 << 10,)).__setitem__(0, 7))
    with refused("LI-010", LimitError):
        elements(huge)


def test_li004_more_than_there_is_memory_for_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: Any) -> None:
        raise MemoryError

    found = node_of(bases()["chunks"], "a").weight("a")
    monkeypatch.setattr(np, "zeros", zeros)
    with refused("LI-004", LimitError):
        found.array()


def node(level: int, children: list[tuple[int, int]]) -> bytes:
    """A B-tree node of one dimension, of the offsets and addresses of its children."""
    entries = b"".join(struct.pack("<IIQQQ", 8, 0, offset, 0, address) for offset, address in children)
    return b"TREE" + struct.pack("<BBH", 1, level, len(children)) + b"\xff" * 16 + entries + bytes(ENTRY - 8)


def tree_file(*nodes: bytes, count: int = 3) -> bytes:
    """The file "chunks" with another tree at the same place, and zeros behind it for the chunks."""
    data = bases()["chunks"][:1280] + b"".join(nodes)
    data += bytes(max(0, 3392 - len(data)))
    return packed(data, ("<Q", 40, len(data)), ("<Q", 1112, count), ("<Q", 1120, count))


def test_h5074_the_file_of_these_tests_is_read() -> None:
    data = tree_file(node(1, [(0, 1280 + NODE + 2 * ENTRY + 24)] * 1 + [(2, 1280 + 200)]).ljust(112), node(0, [(0, 3376)]))
    data = with_patch(data, [[1480, node(0, [(2, 3384)]).hex()]])
    assert read_all(data)["a"]["hex"] == "00" * 12


@pytest.mark.parametrize("level", [0, 1, 7, 255])
def test_h5074_a_tree_that_leads_back_to_itself_ends(level: int) -> None:
    code, kind = ("H5-028", InvalidError) if level == 0 else ("H5-011", MalformedError)
    with refused(code, kind):  # as chunks, a node is no run of bytes of its own
        read_all(tree_file(node(level, [(0, 1280)])))


def test_h5028_a_tree_of_shared_nodes_is_no_work_without_end() -> None:
    size = NODE + 20 * ENTRY + 24
    levels = [node(9 - depth, [(2 * n, 1280 + (depth + 1) * size) for n in range(20)]) for depth in range(9)] + [node(0, [])]
    start = time.process_time()
    with refused("H5-028", InvalidError):
        read_all(tree_file(*levels, count=1 << 20))
    assert time.process_time() - start < 2


@pytest.mark.parametrize("count", [2, 500])
def test_h5028_chunks_that_share_their_bytes_are_refused(count: int) -> None:
    places = [(2 * n, 1280 + NODE + (count + 1) * ENTRY) for n in range(count)]
    with refused("H5-028", InvalidError):
        read_all(tree_file(node(0, places), bytes(3000), count=2 * count))


@pytest.mark.parametrize("address", [0, 1080, 1180, 1280, 3380])
def test_h5028_a_chunk_is_no_part_of_anything_else(address: int) -> None:
    with refused("H5-028", InvalidError):
        read_all(tree_file(node(0, [(0, address), (2, 3376)])))


def test_h5028_two_datasets_cannot_share_an_index() -> None:
    def fill(file: h5py.File) -> None:
        for name in "xy":
            file.create_dataset(name, data=TABLE, chunks=(2, 3), compression="gzip")

    data = image(fill, libver="earliest")
    first = data.find(b"\3\2\3")
    second = data.find(b"\3\2\3", first + 1)
    with refused("H5-028", InvalidError):
        read_all(with_patch(data, [[second + 3, data[first + 3 : first + 11].hex()]]))


@pytest.mark.parametrize("place", [1, (1 << 63) + 1, (1 << 64) - 1, 4, 1 << 40])
def test_h5075_a_chunk_at_no_place_of_a_chunk_is_refused(place: int) -> None:
    with refused("H5-075", InvalidError):
        read_all(tree_file(node(0, [(place, 3376)])))


@pytest.mark.parametrize("size", [0, 7, 9, (1 << 32) - 1])
def test_h5076_a_plain_chunk_of_another_size_is_refused(size: int) -> None:
    with refused("H5-076", InvalidError):
        read_all(packed(bases()["chunks"], ("<I", 1304, size)))


@pytest.mark.parametrize("address", [3385, 3392, 1 << 40, (1 << 64) - 2, (1 << 64) - 1])
def test_h5011_a_chunk_beyond_the_end_is_refused(address: int) -> None:
    with refused("H5-011", MalformedError):
        read_all(packed(bases()["chunks"], ("<Q", 1328, address)))


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0), (2, 3), (2, 8), (0, 0)])
def test_h5072_other_sizes_than_the_dataspace_and_datatype_have_are_refused(sizes: tuple[int, int]) -> None:
    with refused("H5-072", InvalidError):
        read_all(packed(bases()["chunks"], ("<I", 1195, sizes[0]), ("<I", 1199, sizes[1])))


def test_li004_a_chunk_of_more_elements_than_memory_is_refused_before_it_is_made() -> None:
    data = packed(bases()["filtered"], ("<I", 1283, 0xFFFFFFFF), ("<Q", 1120, 0xFFFFFFFFFFFFFFFF))
    with refused("LI-004", LimitError):
        read_all(data)


@pytest.mark.parametrize("cut", range(1, 24))
def test_h5011_a_layout_message_that_is_cut_short_is_refused(cut: int) -> None:
    """The message behind it begins so much earlier."""
    for name, start in (("chunks", 1184), ("fixed-array", 1184)):
        data = bytearray(bases()[name])
        needed = 19 if name == "chunks" else 17
        data[1178:1180] = struct.pack("<H", 24 - cut)
        data[start + 24 - cut : start + 24] = b"\xff" * cut
        if 24 - cut >= needed:
            assert read_all(bytes(data))["a"]["dtype"] == "float32"
        else:
            with pytest.raises(RefserError):
                read_all(bytes(data))


def test_h5079_a_fixed_array_of_more_entries_than_the_file_is_refused() -> None:
    data = bytearray(bases()["fixed-array"])
    data[1112:1128] = struct.pack("<QQ", 1 << 60, 1 << 60)
    with pytest.raises(RefserError):
        read_all(bytes(data))


def test_h5078_implicit_chunks_without_end_are_refused() -> None:
    data = with_patch(bases()["fixed-array"], [[1191, "02480500000000000000"]])
    for most in (1 << 40, 1 << 63, (1 << 64) - 1):
        with refused("H5-011", MalformedError):
            read_all(packed(data, ("<Q", 1120, most)))
        with pytest.raises(RefserError):
            read_all(packed(data, ("<Q", 1112, min(most, (1 << 64) - 2)), ("<Q", 1120, most)))


# --- when things are read


def test_h5071_listing_loads_no_numpy(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(image(lambda f: f.create_dataset("vars/0", data=TABLE, chunks=(2, 3), compression="gzip")))
    code = (
        "import sys, refser; f = refser.open(sys.argv[1]); print([w.shape for w in f.weights.values()], 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "[(5, 7)] False"


class Counted(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5071_neighbours_are_fetched_together(libver: str) -> None:
    values = np.frombuffer(random.Random(2).randbytes(1 << 22), "<f4").reshape(1024, 1024)
    data = image(lambda file: file.create_dataset("x", data=values, chunks=(64, 64), compression="gzip"), libver=libver)
    stream = Counted(data)
    root = hdf5.read_tree(StreamSource(stream, "m"), limits=LIMITS)
    found = root.get("x")
    assert isinstance(found, Dataset)
    listed, stream.reads = stream.reads, 0
    assert found.weight("x").tobytes() == values.tobytes()
    assert listed < 8
    assert stream.reads < 12


def test_h5071_elements_are_made_once_while_somebody_holds_them() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("x", data=TABLE, chunks=(2, 3), compression="gzip")
        for number in range(20):
            file[f"{number}"] = file["x"]

    root = hdf5.read_tree(MemorySource(image(fill), "m"), limits=LIMITS)
    weights = [node.weight(name) for name, node in root.children.items() if isinstance(node, Dataset)]
    arrays = [weight.array() for weight in weights]
    assert len(arrays) == 21
    assert len({array.ctypes.data for array in arrays}) == 1
    assert not any(array.flags.writeable for array in arrays)
    assert {array.tobytes() for array in arrays} == {TABLE.tobytes()}
    del arrays
    gc.collect()
    assert weights[0].array(copy=True).flags.writeable
    assert weights[0].array().tobytes() == TABLE.tobytes()


def test_h5071_threads_read_at_the_same_time() -> None:
    def fill(file: h5py.File) -> None:
        for number in range(8):
            file.create_dataset(f"{number}", data=TABLE + number, chunks=(2, 3), compression="gzip")

    data = image(fill)
    for source in (MemorySource(data, "m"), StreamSource(io.BytesIO(data), "m")):
        root = hdf5.read_tree(source, limits=LIMITS)
        nodes = [node for node in root.children.values() if isinstance(node, Dataset)] * 5
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda node: node.weight("x").tobytes(), nodes))
        assert found == [(TABLE + number).tobytes() for number in range(8)] * 5


# --- whatever the bytes


def seeds() -> list[bytes]:
    def fill(file: h5py.File) -> None:
        for name, options in {
            "a": {},
            "b": {"compression": 1, "shuffle": True},
            "c": {"fletcher32": True, "compression": 9},
        }.items():
            file.create_dataset(name, data=TABLE, chunks=(2, 3), **options)
        file.create_dataset("d", data=TABLE, chunks=(5, 7), compression=1)
        file.create_dataset("e", (2000,), "u1", chunks=(1,), maxshape=(2100,))[:30] = 1

    return [
        *(bases()[name] for name in ("chunks", "filtered", "fixed-array")),
        *(image(fill, libver=libver) for libver in ("earliest", "v110", "latest")),
    ]


def mutant(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    used = [at for at in range(0, len(data), 8) if any(data[at : at + 8])]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.choice(used) + rng.randrange(8)
        size = rng.choice((1, 1, 2, 4, 8))
        value = rng.choice((rng.randbytes(8), bytes(8), b"\xff" * 8, struct.pack("<Q", rng.randrange(len(data)))))[:size]
        out[at : at + size] = value
    return bytes(out[: len(data) if rng.random() < 0.9 else rng.randrange(len(data))])


def read_everything(source: Source) -> list[object]:
    """Every array, or the code of its refusal."""
    limits = Limits(allow_libhdf5=False, unstored_bytes=1 << 20, inflated_bytes=1 << 22)
    found: list[object] = []
    try:
        for name, child in hdf5.read_tree(source, limits=limits).children.items():
            try:
                found.append(child.weight(name).tobytes() if isinstance(child, Dataset) else name)
            except RefserError as error:
                found.append(error.problem.code)
    except RefserError as error:
        found.append(error.problem.code)
    return found


def test_h5011_a_mutant_is_read_or_refused() -> None:
    rng, files = random.Random(71), seeds()
    codes: set[object] = set()
    for _ in range(700):
        data = mutant(rng.choice(files), rng)
        start = time.process_time()
        found = read_everything(MemorySource(data, "m"))
        assert time.process_time() - start < 2
        codes.update(code for code in found if isinstance(code, str))
    assert {"H5-011", "H5-028", "H5-072", "H5-075", "H5-082", "H5-083"} <= codes
