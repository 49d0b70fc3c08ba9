"""Whatever the bytes: the pure HDF5 reader gives a right answer or a `RefserError`, soon and in little memory.

Mutants are read in this process: nothing here may hang, crash or grow.  Each is read three times: as one block, through a
stream that fetches what is looked at, and as a model file; the first two have to agree to the letter.

`REFSER_FUZZ_SECONDS` is how long it runs (5 by default), `REFSER_FUZZ_SEED` where it starts.  With `REFSER_FUZZ_PEER=1` another
process reads with h5py what refser read; where both did, the arrays and texts agree.  A failure names the mutant;
`python tests/fuzz/test_hdf5_mutations.py NUMBER` runs that one alone, and keeps it in `mutant.h5`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import refser
from refser import hdf5
from refser.errors import RefserError
from refser.hdf5 import Dataset, FixedStrings, Group, NewDataset, NewGroup
from refser.hdf5._header import lookup3
from refser.limits import Limits
from refser.source import MemorySource, Source
from refser.stream import StreamSource
from refser.values import Weight

GOLDEN = Path(__file__).parents[1] / "golden"
SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "1000"))
PEER = os.environ.get("REFSER_FUZZ_PEER") == "1"
SLOW = 2  # seconds of CPU for one mutant
GROWTH = 100 << 20  # bytes by which one mutant may raise the peak of memory
LIMITS = Limits(unstored_bytes=1 << 22, attribute_bytes=1 << 22, asset_bytes=1 << 22, hdf5_objects=10_000, allow_libhdf5=False)
FILES = [
    *("keras-3.15.1/sequential.weights.h5", "keras-3.6.0/mixed.weights.h5", "tf-keras-2.12.0/sequential.weights.h5"),
    *("keras-1.2.2/sequential.legacy.h5", "keras-2.3.1/sequential.legacy_weights.h5", "keras-3.15.1/sequential.legacy.h5"),
    *("keras-3.15.1/functional.sharded_00001.weights.h5", "keras-3.0.5/mixed.weights.h5"),
]
INTERESTING = [
    *(0, 1, 2, 7, 8, 16, 24, 96, 0x7F, 0xFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40),
    *((1 << 61) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1),
]

OPERATIONS = ["byte", "few", "word", "word", "word", "field", "field", "copy", "block", "zero", "cut", "grow"]

# --- files to change


@cache
def sources() -> list[tuple[str, bytes, list[int]]]:
    """Name, bytes, and where structures start."""
    found = [(name, (GOLDEN / name).read_bytes()) for name in FILES]
    found.append(("refser", b"".join(hdf5.plan_tree(written()).pieces())))
    small = refser.load(GOLDEN / "keras-3.15.1/sequential.keras")
    with tempfile.TemporaryDirectory() as folder:
        refser.save(small, Path(folder, "m.weights.h5"))
        found.append(("refser weights", Path(folder, "m.weights.h5").read_bytes()))
    found.extend((f"h5py {libver}", by_h5py(libver)) for libver in ("earliest", "v108", "latest"))
    return [(name, data, structures(data)) for name, data in found]


def written() -> NewGroup:
    """Every kind of thing that refser writes; a group with two levels of nodes."""
    root = NewGroup(attributes={"s": "größe", "b": b"ascii", "l": [b"a", b"", b"c" * 40], "e": [], "none": ""})
    root.attributes["f"] = FixedStrings((b"a", b"bcd"), 4)
    rng = np.random.default_rng(0)
    for kind in ("f2", "f4", ">f8", "i1", ">i4", "u8", "?", "c8", ">c16", "S5"):
        root.put(f"vars/{kind}", NewDataset(Weight.from_array("w", rng.integers(0, 2, (2, 3)).astype(kind))))
    root.put("vars/scalar", NewDataset(Weight.from_array("w", np.float32(1)), {"dtype": "float32"}))
    root.put("vars/empty", NewDataset(Weight.from_array("w", np.zeros((0, 3), "f4"))))
    for number in range(300):
        root.put(f"wide/vars/{number}", NewDataset(Weight.from_array("w", np.int16(number))))
    return root


def by_h5py(libver: str) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver, userblock_size=512 if libver == "v108" else 0) as file:
        for number in range(5):
            dataset = file.create_dataset(f"vars/{number}", data=np.arange(6, dtype="<f4"))
            dataset.attrs["dtype"] = "float32"
        file["vars"].attrs["name"] = "dense"
        file["vars"].attrs["list"] = np.array(["a", "bc"], dtype=h5py.string_dtype())
        file.create_dataset("vars/narrow", data=np.zeros(4, "V2")).attrs["dtype"] = "bfloat16"
        file.create_dataset("vars/unstored", (5,), "f4")
        file["vars/flag"] = np.array([True, False])
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32BE, space, dcpl=plist)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype=">f4"))
        file["late"] = file["vars/1"]
        for number in range(12):
            file.attrs[f"a{number}" if number < 6 else f"late{number % 2}"] = number
    return stream.getvalue()


def structures(data: bytes) -> list[int]:
    """Signatures, object headers that symbols or other words lead to, and the heap's names."""
    found = {match.start() for match in re.finditer(rb"TREE|SNOD|HEAP|GCOL|OHDR|OCHK|\x89HDF", data)}
    for at in range(0, len(data) - 8, 8):
        (word,) = struct.unpack_from("<Q", data, at)
        if 0 < word < len(data) - 16 and word % 8 == 0 and data[word] in (1, 2) and data[word + 1] == 0:
            found.add(word)
    return sorted(found)


# --- mutants: a number is one mutant, always the same


def mutant(number: int) -> tuple[str, bytes]:
    rng = random.Random(f"hdf5 {number}")
    name, data, starts = rng.choice(sources())
    out = bytearray(data)
    metadata = starts[-1] + 1000
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 6))):
        at = rng.randrange(min(len(out), metadata) - 8) if rng.random() < 0.6 else rng.choice(starts) + rng.randrange(100)
        at = max(0, min(at, len(out) - 8))
        match rng.choice(OPERATIONS):
            case "byte":
                out[at] ^= 1 << rng.randrange(8)
            case "few":
                size = rng.randint(1, 16)
                out[at : at + size] = rng.randbytes(size)
            case "word":
                struct.pack_into("<Q", out, at & ~7 if rng.random() < 0.8 else at, word(rng, out, at & ~7, starts))
            case "field":
                width = rng.choice((1, 2, 4))
                value = (
                    rng.choice(INTERESTING)
                    if rng.random() < 0.5
                    else int.from_bytes(out[at : at + width], "little") + rng.choice((-9, -8, -1, 1, 8))
                )
                out[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            case "copy":
                size = rng.choice((4, 8, 16, 40, 100))
                source = rng.randrange(len(out) - 8)
                out[at : at + size] = out[source : source + size]
            case "block":  # one structure over another
                source, target, size = rng.choice(starts), rng.choice(starts), rng.choice((8, 24, 40, 328, 544))
                out[target : target + size] = out[source : source + size]
            case "zero":
                out[at : at + rng.choice((2, 8, 40))] = bytes(8)
            case "cut":
                del out[rng.randrange(len(out) // 2, len(out)) :]
            case "grow":
                out += rng.randbytes(rng.choice((1, 8, 600)))
        if len(out) < 300:
            break
    if rng.random() < 0.8:
        mend(out, starts)
    return name, bytes(out)


def word(rng: random.Random, out: bytearray, at: int, starts: list[int]) -> int:
    """An address or a size that could matter there."""
    (old,) = struct.unpack_from("<Q", out, at)
    match rng.randrange(7):
        case 0:
            return rng.choice(INTERESTING)
        case 1:
            return at
        case 2:
            return len(out) - rng.choice((0, 1, 8, 16, 40))
        case 3:
            return (old + rng.choice((-8, -1, 1, 8, 40, 1 << 32))) % (1 << 64)
        case 4:
            other = rng.randrange(0, len(out) - 8) & ~7
            return int(struct.unpack_from("<Q", out, other)[0])
        case _:
            return rng.choice(starts)


def mend(out: bytearray, starts: list[int]) -> None:
    """The end that the superblock declares and the checksums, so that a mutant is not refused for those alone."""
    for start in starts:
        if start + 48 > len(out):
            continue
        if out[start : start + 4] == b"\x89HDF" and out[start + 8] in (0, 1):
            at = start + (40 if out[start + 8] == 0 else 44)
            (end,) = struct.unpack_from("<Q", out, at)
            struct.pack_into("<Q", out, at, min(len(out), end))
        elif out[start : start + 4] == b"\x89HDF" and out[start + 8] in (2, 3):
            struct.pack_into("<Q", out, start + 28, len(out))
            struct.pack_into("<I", out, start + 44, lookup3(bytes(out[start : start + 44])))
        elif out[start : start + 4] == b"OHDR":
            flags = out[start + 5]
            here = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            end = here + width + int.from_bytes(out[here : here + width], "little")
            if end + 4 <= len(out) and end - start < 5000:
                struct.pack_into("<I", out, end, lookup3(bytes(out[start:end])))


# --- reading


class Slow(BaseException):
    """Not an `Exception`, so that nobody takes it for a bad file."""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Bounded CPU time and memory."""
    import resource

    def ring(*_: object) -> None:
        raise Slow(f"over {SLOW} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < GROWTH, f"{grown:,} bytes more memory"


def look(source: Source) -> tuple[str, dict[str, Any]]:
    """ "ok" or the code of the refusal; by path what is there, as text: arrays, attributes, or the code of their refusal."""
    found: dict[str, Any] = {}
    try:
        root = hdf5.read_tree(source, limits=LIMITS)
    except RefserError as error:
        str(error).encode()
        return error.problem.code, found
    todo: list[tuple[str, Group]] = [("", root)]
    while todo:
        prefix, group = todo.pop()
        try:
            found[f"{prefix}@"] = dict(group.attributes)
        except RefserError as error:
            found[f"{prefix}@"] = error.problem.code
        for name, node in group.children.items():
            if isinstance(node, Group):
                todo.append((f"{prefix}{name}/", node))
                continue
            try:
                found[prefix + name] = values(node)
            except RefserError as error:
                found[prefix + name] = error.problem.code
    return "ok", found


def values(node: Dataset) -> list[Any]:
    weight = node.weight(node.path)
    array, data = weight.array(), weight.tobytes()
    assert array.shape == weight.shape
    assert len(data) == weight.nbytes
    kind = "V" if weight.dtype.startswith(("bf", "float8")) else array.dtype.kind
    return [kind, list(weight.shape), hashlib.sha1(data).hexdigest()]


def read_model(data: bytes) -> None:
    """As a model file: weights, assets, config, problems."""
    with contextlib.suppress(RefserError), refser.open(io.BytesIO(data), limits=LIMITS) as file:
        for weight in file.weights.values():
            with contextlib.suppress(RefserError):
                weight.array()
        for attribute in ("config", "metadata", "problems", "groups", "keras_version"):
            with contextlib.suppress(RefserError):
                getattr(file, attribute)
        with contextlib.suppress(RefserError):
            file.load()


def run(number: int) -> tuple[str, str, bytes, dict[str, Any]]:
    name, data = mutant(number)
    with watched():
        code, found = look(MemorySource(data, "m"))
    with watched():
        streamed = look(StreamSource(io.BytesIO(data), "m"))
    assert repr(streamed) == repr((code, found)), "a stream of the same bytes reads otherwise"
    with watched():
        read_model(data)
    return name, code, data, found


class Peer:
    """h5py in another process; a new one after a hang or a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.folder = tempfile.TemporaryDirectory()

    def ask(self, data: bytes) -> dict[str, Any] | None:
        if self.process is None:
            command = [sys.executable, str(Path(__file__).with_name("peer.py"))]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        path = Path(self.folder.name, "m.h5")
        path.write_bytes(data)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(5) else ""
        if not line:
            self.close()
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def disagreements(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Paths where both give an array, or both a text, and not the same."""
    wrong = []
    for path, other in theirs.items():
        mine = ours.get(path)
        if isinstance(mine, list) and isinstance(other, list) and mine != other:
            wrong.append(f"{path}: {mine} and {other}")
        if isinstance(mine, dict) and isinstance(other, dict):
            texts = ((name, mine.get(name), text) for name, text in other.items())
            wrong.extend(f"{path}{name}: {a!r} and {b!r}" for name, a, b in texts if isinstance(a, str) and a != b)
    return wrong


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_any_mutant_is_read_right_or_refused() -> None:
    run(SEED)  # imports are not timed
    peer = Peer()
    end, number, codes, compared = time.monotonic() + SECONDS, SEED, Counter[str](), Counter[str]()
    while time.monotonic() < end:
        try:
            _, code, data, found = run(number)
        except BaseException:
            print(f"mutant {number}")
            raise
        codes[code] += 1
        if PEER and code == "ok":
            theirs = peer.ask(data)
            compared["h5py hangs or crashes" if theirs is None else "compared"] += 1
            assert not (wrong := disagreements(found, theirs or {})), f"mutant {number}: " + "\n".join(wrong)
        number += 1
    peer.close()
    print(f"hdf5: {codes.total()} mutants, {dict(codes.most_common())}, {dict(compared)}")
    assert codes["ok"]
    assert len(codes) > 4  # refused for several reasons


def test_every_source_is_read_whole_before_it_is_changed() -> None:
    for name, data, starts in sources():
        code, found = look(MemorySource(data, "m"))
        assert (code, name) == ("ok", name)
        assert len(starts) > 3
        assert [path for path, value in found.items() if isinstance(value, str)] == []


if __name__ == "__main__":
    Path("mutant.h5").write_bytes(mutant(int(sys.argv[1]))[1])
    print(mutant(int(sys.argv[1]))[0], *run(int(sys.argv[1]))[1::2])
