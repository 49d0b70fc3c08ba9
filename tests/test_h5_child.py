"""H5-094 to H5-096, LI-013 to LI-015: libhdf5 in a process of its own, which crashes, hangs and lies."""

from __future__ import annotations

import gc
import io
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5_trees import image
from helpers import refused

import refser
from refser import hdf5
from refser.errors import InvalidError, LimitError, RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import Dataset, Group, _apart, _libhdf5
from refser.limits import Limits
from refser.source import MemorySource
from refser.stream import StreamSource

TEXT = h5py.string_dtype()
APART = Limits(libhdf5_apart=True, libhdf5_seconds=10)
SHORT = Limits(libhdf5_apart=True, libhdf5_seconds=2)
CHUNKS = np.arange(1000, dtype=">i4").reshape(50, 20)


def apart(data: bytes, limits: Limits = APART, refuse: Callable[[RefserError], None] | None = None) -> Group:
    """Through the other process, whatever the profile."""
    return _apart.read_tree(MemorySource(data, "m.h5"), limits=limits, refuse=refuse)


def fill(file: h5py.Group) -> None:
    file.attrs["name"], file.attrs["list"], file.attrs["n"] = "größe", ["a", "", "b"], np.float32(0.1)
    file.attrs["odd"], file.attrs["numbers"] = np.zeros((2, 2)), np.array([1, -2], "i8")
    file.attrs["nan"] = np.array([np.nan, np.inf, -0.0])
    file.create_dataset("a/text", data=["größe", "d"], dtype=TEXT)
    file.create_dataset("a/chunks", data=CHUNKS, chunks=(7, 6), maxshape=(None, None), compression="gzip")
    for kind in ("?", "<c8", ">f2", "S3", "V2", "V1"):
        file.create_dataset(f"kinds/{kind.strip('<>')}", data=np.zeros(3, kind))
    file.create_dataset("a/plain", data=np.arange(5, dtype="f8"))
    file.create_dataset("a/unstored", (4,), "f4", fillvalue=3)
    file.create_dataset("a/bad", (4,), np.dtype([("a", "i4"), ("b", "f8")]))
    file.create_dataset("a/empty", (0, 3), "f4")
    file["a/link"] = file["a/plain"]
    file.create_group("b/c").attrs["name"] = "c"


def described(root: Group) -> dict[str, Any]:
    """Everything, as `repr` of it."""
    found: dict[str, Any] = {}
    todo = [root]
    while todo:
        group = todo.pop()
        found[f"{group.path}@"] = repr(dict(group.attributes))
        for node in group.children.values():
            if isinstance(node, Group):
                todo.append(node)
            elif node.fault is not None:
                found[node.path] = (type(node.fault), node.fault.problem)
            else:
                weight = node.weight(node.path)
                found[node.path] = (node.dtype, node.shape, node.big_endian, weight.tobytes())
    found["remarks"] = list(root.remarks())
    return found


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_li013_the_other_process_finds_what_libhdf5_finds_here(libver: str) -> None:
    data = image(fill, libver=libver)
    here = described(_libhdf5.read_tree(MemorySource(data, "m.h5"), limits=Limits()))
    assert described(apart(data)) == here
    assert described(hdf5.read_tree(MemorySource(data, "m.h5"), limits=APART)) == here
    assert described(hdf5.read_tree(StreamSource(io.BytesIO(data), "m.h5"), limits=APART)) == here
    window = MemorySource(b"x" * 1000 + data + b"y" * 99, "z").window(1000, len(data), "m.h5")
    assert described(hdf5.read_tree(window, limits=APART)) == here


def test_li013_a_file_inside_the_profile_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    root = hdf5.read_tree(MemorySource(image(lambda file: file.create_dataset("x", data=[1])), "m"), limits=APART)
    assert list(root.children) == ["x"]


def test_li013_where_no_process_can_be_started_the_file_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with refused("LI-013", UnsupportedError):
        apart(image(fill))
    monkeypatch.setattr(sys, "executable", sys.executable.replace("/nowhere/python", "/bin/false"))
    with refused("LI-013", UnsupportedError):
        apart(image(fill))


def test_li013_the_whole_library_reads_through_it(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(image(lambda file: file.create_dataset("vars/0", data=["a", "bc"], dtype=TEXT)))
    with refser.open(path, limits=APART) as file:
        assert file.weights["vars/0"].array().tolist() == [b"a", b"bc"]
    assert list(refser.load(path, limits=APART).weights) == ["vars/0"]


def test_li013_the_process_ends_with_the_file() -> None:
    root: Group | None = apart(image(fill))
    node = root.get("a/chunks") if root else None
    assert isinstance(node, Dataset)
    process = node.source._process._process  # type: ignore[union-attr]
    assert process.poll() is None
    del node, root
    gc.collect()
    assert process.poll() is not None


def test_li013_a_tree_that_is_all_in_the_file_needs_no_process_any_more() -> None:
    root = apart(image(lambda file: file.create_dataset("x", data=CHUNKS)))
    node = root.get("x")
    assert isinstance(node, Dataset)
    assert isinstance(node.source, MemorySource)
    assert node.weight("x").tobytes() == CHUNKS.astype("<i4").tobytes()


def test_li013_errors_come_through_as_they_are() -> None:
    def soft(file: h5py.Group) -> None:
        fill(file)
        file["z"] = h5py.SoftLink("/a")
        file["y"] = h5py.ExternalLink("other.h5", "/a")

    with refused("H5-001", UnsafeError):
        apart(image(soft))
    with refused("LI-005", LimitError):
        apart(image(fill), Limits(libhdf5_apart=True, hdf5_objects=3))
    with refused("H5-011"):
        apart(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    faults: list[RefserError] = []
    root = apart(image(soft), refuse=faults.append)
    assert sorted((type(fault), fault.problem.code, fault.problem.at) for fault in faults) == [
        (UnsafeError, "H5-001", "m.h5:/y"),
        (UnsafeError, "H5-001", "m.h5:/z"),
    ]
    assert pickle.loads(pickle.dumps(faults[0])).problem == faults[0].problem
    node = root.get("a/bad")
    assert isinstance(node, Dataset)
    with refused("VA-008", InvalidError):
        node.weight("x")


def test_li013_an_array_is_read_in_blocks_at_one_price() -> None:
    data = image(lambda file: file.create_dataset("x", data=CHUNKS, chunks=(3, 3), maxshape=(None, None)))
    want = CHUNKS.astype("<i4").tobytes()
    for root in (apart(data), _libhdf5.read_tree(MemorySource(data, "m"), limits=Limits())):
        node = root.get("x")
        assert isinstance(node, Dataset)
        assert node.source is not None
        blocks = [bytes(node.source.view(at, min(700, len(want) - at))) for at in range(0, len(want), 700)]
        assert b"".join(blocks) == want


def test_li013_a_block_of_chunks_does_not_decode_them_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from refser.hdf5 import _chunks

    count = 0
    undo = _chunks.undo

    def counting(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return undo(*arguments)

    monkeypatch.setattr(_chunks, "undo", counting)
    data = image(lambda file: file.create_dataset("x", data=CHUNKS, chunks=(25, 20), compression="gzip"))
    node = hdf5.read_tree(MemorySource(data, "m"), limits=Limits(allow_libhdf5=False)).get("x")
    assert isinstance(node, Dataset)
    assert node.source is not None
    blocks = [bytes(node.source.view(at, 400)) for at in range(0, 4000, 400)]
    assert b"".join(blocks) == CHUNKS.tobytes()
    assert count == 2


# --- files that libhdf5 crashes of, or goes round in for ever


def heap_without_end(data: bytes) -> bytes:
    """The free space of a global heap has the size 0."""
    out = bytearray(data)
    at = out.index(b"GCOL")
    end, here = at + struct.unpack_from("<Q", out, at + 8)[0], at + 16
    while here + 16 <= end:
        number, size = struct.unpack_from("<H6xQ", out, here)
        if not number:
            out[here + 8 : here + 16] = bytes(8)
            return bytes(out)
        here += 16 + -(-size // 8) * 8
    raise AssertionError("no free space")


def own_child(data: bytes, kind: int, key: int) -> bytes:
    """A node of a version 1 B-tree leads to itself."""
    out = bytearray(data)
    at = out.index(bytes((*b"TREE", kind)))
    out[at + 5] = 1
    (count,) = struct.unpack_from("<H", out, at + 6)
    for number in range(count):
        struct.pack_into("<Q", out, at + 24 + number * (key + 8) + key, at)
    return bytes(out)


def short_chunk(data: bytes) -> bytes:
    """A chunk with a checksum has fewer bytes than that."""
    out = bytearray(data)
    struct.pack_into("<I", out, out.index(b"TREE\1") + 24, 2)
    return bytes(out)


def chunks(file: h5py.Group) -> None:
    file.create_dataset("x", data=np.arange(64.0), chunks=(4,), maxshape=(None,))


def checked(file: h5py.Group) -> None:
    file.create_dataset("x", data=np.arange(64, dtype="f4"), chunks=(64,), fletcher32=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there but the clock")
def test_h5095_a_heap_that_libhdf5_goes_round_in_is_unsafe() -> None:
    data = heap_without_end(image(lambda file: file.create_dataset("x", data=["a"], dtype=TEXT)))
    with refused("H5-095", UnsafeError):
        hdf5.read_tree(MemorySource(data, "m.h5"), limits=SHORT)


def outcome(data: bytes) -> str:
    """What became of a file and of its array, by requirement."""
    try:
        node = apart(data, SHORT).get("x")
        assert isinstance(node, Dataset)
        node.weight("x").tobytes()
    except RefserError as error:
        return error.problem.code
    return "ok"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "data",
    [
        own_child(image(chunks), 1, 24),
        own_child(image(chunks), 0, 8),
        short_chunk(image(checked)),
    ],
    ids=["chunks", "links", "fletcher32"],
)
def test_h5094_what_crashes_libhdf5_is_unsafe_and_crashes_nobody_here(data: bytes) -> None:
    assert outcome(data) in {"H5-094", "H5-011", "ok"}  # as this libhdf5 has it
    if h5py.version.hdf5_version.startswith("2.0."):
        assert outcome(data) == "H5-094"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="where addresses can be bounded")
def test_li015_what_takes_too_much_memory_is_over_a_limit() -> None:
    data = image(lambda file: file.create_dataset("x", (1 << 27,), "f8", chunks=(1 << 20,), compression="gzip", fillvalue=1))
    limits = Limits(libhdf5_apart=True, libhdf5_bytes=700 << 20, unstored_bytes=1 << 31)
    node = apart(data, limits).get("x")
    assert isinstance(node, Dataset)
    with refused("LI-015", LimitError):
        node.weight("x").tobytes()


# --- a process that lies


GOOD = ["group", "", {}]
ARRAY = ["array", "x", "float32", [2], False, 0, 8]
LIES: list[list[object]] = [
    [["nothing"]],
    [["end"]],
    [[]],
    [{"a": 1}],
    ["end"],
    [["group", "a", {}]],
    [GOOD, GOOD],
    [["group", "", {"a": True}]],
    [["group", "", {"a": [1, "x"]}]],
    [["group", "", {"a": [[1]]}]],
    [["group", "", {"a": 1 << 70}]],
    [["group", "", {"a": "\ud800"}]],
    [["group", "", {}, 1]],
    [GOOD, ["group", "a/b", {}]],
    [GOOD, ["group", "..", {}]],
    [GOOD, ["group", "a/", {}]],
    [GOOD, ["group", 3, {}]],
    [GOOD, ARRAY, ARRAY],
    [GOOD, ["array", "x", "float32", [2], False, 0, 12]],
    [GOOD, ["array", "x", "float33", [2], False, 0, 8]],
    [GOOD, ["array", "x", ["float32"], [2], False, 0, 8]],
    [GOOD, ["array", "x", "float32", [2], 0, 0, 8]],
    [GOOD, ["array", "x", "float32", [2.0], False, 0, 8]],
    [GOOD, ["array", "x", "float32", [-2], False, 0, -8]],
    [GOOD, ["array", "x", "float32", [True, 2], False, 0, 8]],
    [GOOD, ["array", "x", "float32", [1] * 33, False, 0, 4]],
    [GOOD, ["array", "x", "float32", [2], False, 1 << 40, 8]],
    [GOOD, ["array", "x", "float32", [2], False, -8, 8]],
    [GOOD, ["array", "x", "float32", [1 << 40], False, None, 1 << 42]],
    [GOOD, ["array", "x", "string", [3], False, None, 8]],
    [GOOD, ["array", "x", "string", [0], False, None, 8]],
    [GOOD, ["faulty", "x", "MalformedError", "H5-011", "m", "at"]],
    [GOOD, ["faulty", "x", "SystemExit", "H5-011", "m", "at", ""]],
    [GOOD, ["faulty", "x", "MalformedError", "nonsense", "m", "at", ""]],
    [GOOD, ["fault", "MalformedError", "H5-011", "m", "at", ""]],
    [GOOD, ["remark", "H5-086", "m", "at", "fatal", ""]],
    [GOOD, ["remark", "H5-086", "m", "at", [], ""]],
    [["error", "UnsafeError", "H5-001", "m", "at", 1]],
    [["read", -1, 4]],
    [["read", 0, 1 << 40]],
    [["read", 0, True]],
    [["read", 0]],
    [["values", 3]],
]


def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    path = tmp_path / "liar.py"
    path.write_text(program)
    monkeypatch.setattr(_apart, "_PROGRAM", str(path))


SAYS = "import json, os, sys\nsys.stdin.readline()\nprint('[\"ready\"]', flush=True)\n"


def test_h5096_every_lie_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lies").write_text("".join(json.dumps(lie) + "\n" for lie in LIES))
    program = f"lie = open({str(tmp_path / 'lies')!r}).readlines()[int(os.environ['LIE'])]\n"
    liar(tmp_path, monkeypatch, SAYS + program + "for line in json.loads(lie): print(json.dumps(line), flush=True)\n")
    for number, lie in enumerate(LIES):
        monkeypatch.setenv("LIE", str(number))
        with pytest.raises(UnsafeError) as caught:
            apart(bytes(100))
        assert caught.value.problem.code == "H5-096", lie


def test_h5096_a_truth_is_not_a_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [GOOD, ["group", "a", {"n": [1.5]}], ["array", "a/x", "float32", [2], True, 4, 8], ["end"]]
    liar(tmp_path, monkeypatch, SAYS + "".join(f"print({json.dumps(line)!r}, flush=True)\n" for line in lines))
    root = apart(bytes(100))
    node = root.get("a/x")
    assert isinstance(node, Dataset)
    assert (node.offset, node.big_endian, root.children["a"].attributes) == (4, True, {"n": [1.5]})  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("program", "code", "kind"),
    [
        ("print('x' * 1000000)", "H5-096", UnsafeError),
        ("print('[' * 1000000)", "H5-096", UnsafeError),
        ("print('[1e', '9' * 10000, ']')", "H5-096", UnsafeError),
        ("os.write(1, bytes(1000))", "H5-096", UnsafeError),
        ("pass", "H5-096", UnsafeError),
        ("sys.exit(7)", "H5-096", UnsafeError),
        ("print('[\"memory\"]')", "LI-015", LimitError),
        ("os.kill(os.getpid(), 11)", "H5-094", UnsafeError),
        ("os.kill(os.getpid(), 6)", "H5-094", UnsafeError),
        ("os.kill(os.getpid(), 9)", "LI-015", LimitError),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_h5096_no_end_of_a_process_leaves_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: str, kind: type[RefserError]
) -> None:
    liar(tmp_path, monkeypatch, SAYS + program + "\n")
    with refused(code, kind):
        apart(bytes(100))


def test_h5096_text_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apart, "_TEXT_MIN", 1 << 20)
    monkeypatch.setattr(_apart, "_TEXT_PER_BYTE", 0)
    liar(tmp_path, monkeypatch, SAYS + 'while True: print(\'["group", "", {"a": "\', \'x\' * 1000000)\n')
    with refused("H5-096", UnsafeError):
        apart(bytes(100))


def test_h5095_the_clock_stops_who_only_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apart, "_WAITING", (0, 2))
    liar(tmp_path, monkeypatch, SAYS + "import time\ntime.sleep(600)\n")
    with refused("H5-095", UnsafeError):
        apart(bytes(100))


def test_h5094_it_is_not_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [GOOD, *(["array", f"x{number}", "float32", [2], False, None, 8] for number in range(40)), ["end"]]
    says = "".join(f"print({json.dumps(line)!r}, flush=True)\n" for line in lines)
    liar(tmp_path, monkeypatch, SAYS + says + "sys.stdin.readline()\nos.abort()\n")
    starts = 0
    start = subprocess.Popen

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal starts
        starts += 1
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", counting)
    root = apart(bytes(100))
    for node in root.children.values():
        assert isinstance(node, Dataset)
        with refused("H5-094", UnsafeError):
            node.weight("x").tobytes()
    assert (len(root.children), starts) == (40, 16)


# --- what the process can do


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
def test_li013_the_process_opens_neither_a_file_nor_a_socket() -> None:
    script = """
import socket, sys
sys.path[:] = {path!r}
from refser.hdf5 import _child
_child._bound(20, 1 << 33)
_child._warm()
_child._close_doors()
for call in (lambda: open({file!r}), socket.socket, lambda: open('/tmp/refser-child', 'w')):
    try:
        call()
    except OSError as error:
        print(error.errno)
    else:
        print('open')
"""
    text = script.format(path=[entry for entry in sys.path if entry], file=__file__)
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["24", "24", "24"], run.stderr  # EMFILE
    assert not os.path.exists("/tmp/refser-child")


def test_li013_an_external_file_is_not_opened_by_it(tmp_path: Path) -> None:
    """Nobody gets so far: the profile says no before."""

    def door(file: h5py.Group) -> None:
        fill(file)
        file.create_dataset("z", (2,), "f4", external=[(str(tmp_path / "x"), 0, 8)])

    with refused("H5-002", UnsafeError):
        hdf5.read_tree(MemorySource(image(door), "m.h5"), limits=APART)
    with refused("H5-002", UnsafeError):
        apart(image(door))
