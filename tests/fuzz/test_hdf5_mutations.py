"""Whatever the bytes: the pure HDF5 reader gives a right answer or a `RefserError`, soon and in little memory.

Mutants are read in a child process with little memory to spare: nothing may hang, crash or grow.  Each is read three times: as
one block, through a stream that fetches what is looked at, and as a model file; the first two have to agree.

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
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bounds import bounded, last_line, watched
from mutants import mutant, sources
from peer import SHORT

import refser
from refser import hdf5
from refser.errors import RefserError
from refser.hdf5 import Dataset, Group
from refser.limits import Limits
from refser.source import MemorySource, Source
from refser.stream import StreamSource

SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "1000"))
PEER = os.environ.get("REFSER_FUZZ_PEER") == "1"
LIMITS = Limits(
    inflated_bytes=1 << 22,
    unstored_bytes=1 << 22,
    attribute_bytes=1 << 22,
    asset_bytes=1 << 22,
    hdf5_objects=10_000,
    allow_libhdf5=False,
)


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
    return [kind, list(weight.shape), data.hex() if len(data) <= SHORT else hashlib.sha1(data).hexdigest()]


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
    if "ok" in (code, streamed[0]):  # which of several faults is named may differ
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


def hidden(mine: list[Any], other: list[Any], chunked: bool) -> bool:
    """Chunks that libhdf5 does not find: the keys of a B-tree lead it past them, and zeros are what it gives."""
    if not chunked or mine[:2] != other[:2] or len(mine[2]) != len(other[2]):
        return False
    return all(theirs in (ours, "0") for ours, theirs in zip(mine[2], other[2]))


def disagreements(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Paths where both give an array, or both an attribute of one kind, and not the same."""
    wrong, chunked = [], theirs.pop("in chunks", ())
    for path, other in theirs.items():
        mine = ours.get(path)
        if isinstance(mine, list) and isinstance(other, list) and mine != other and not hidden(mine, other, path in chunked):
            wrong.append(f"{path}: {mine} and {other}")
        if isinstance(mine, dict) and isinstance(other, dict):
            both = ((name, mine.get(name), value) for name, value in other.items())
            wrong.extend(f"{path}{name}: {a!r} and {b!r}" for name, a, b in both if a is not None and repr(a) != repr(b))
    return wrong


def child(seconds: float, number: int) -> None:
    """Read mutants for so long; on stdout the number of each before it is read, in the end what became of them."""
    run(number)  # imports are neither timed nor counted
    bounded()
    peer = Peer()
    end, codes, compared = time.monotonic() + seconds, Counter[str](), Counter[str]()
    while time.monotonic() < end:
        print(number, flush=True)
        _, code, data, found = run(number)
        codes[code] += 1
        if PEER and code == "ok":
            theirs = peer.ask(data)
            compared["h5py hangs or crashes" if theirs is None else "compared"] += 1
            assert not (wrong := disagreements(found, theirs or {})), "\n".join(wrong)
        number += 1
    peer.close()
    print(json.dumps([codes, compared]))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_any_mutant_is_read_right_or_refused() -> None:
    codes, compared = json.loads(last_line(__file__, SECONDS, SEED))
    print(f"hdf5: {sum(codes.values())} mutants, {codes}, {compared}")
    assert codes["ok"]
    assert len(codes) > 4  # refused for several reasons


def test_every_source_is_read_whole_before_it_is_changed() -> None:
    for name, data, starts in sources():
        code, found = look(MemorySource(data, "m"))
        assert (code, name) == ("ok", name)
        assert len(starts) > 3
        assert [path for path, value in found.items() if isinstance(value, str)] == []


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(float(sys.argv[2]), int(sys.argv[3]))
    else:
        Path("mutant.h5").write_bytes(mutant(int(sys.argv[1]))[1])
        print(mutant(int(sys.argv[1]))[0], *run(int(sys.argv[1]))[1::2])
