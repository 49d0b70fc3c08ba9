"""The pass over a file goes quickly over what is ordinary; it has to find the tree and the faults of a thorough look."""

from __future__ import annotations

import random
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import refser
from refser.hdf5 import Group
from refser.hdf5._image import Faults, Image, OutsideProfile
from refser.hdf5._superblock import find_signature
from refser.hdf5._walk import _Walk, read_profile
from refser.source import MemorySource

GOLDEN = Path(__file__).parent / "golden"
LIMITS = refser.Limits(allow_libhdf5=False, unstored_bytes=1 << 20)


def files() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(GOLDEN.glob("*/*.h5"))]
    return [data for data in found if len(data) < 60_000]


def described(root: Group) -> Any:
    found: list[Any] = []
    todo = [root]
    while todo:
        for node in todo.pop().children.values():
            if isinstance(node, Group):
                todo.append(node)
                found.append((node.path,))
            else:
                code = node.fault.problem.code if node.fault else None
                found.append((node.path, node.dtype, node.shape, node.offset, node.length, code))
    return sorted(found, key=str)


def outcome(data: bytes, *, thorough: bool) -> Any:
    """The tree, or "refused"."""
    source = MemorySource(data, "x.h5")
    buffer, need = source.image()
    image = Image(buffer, "x.h5", LIMITS, need)
    faults = Faults(keep=False)
    try:
        if thorough:
            root = _Walk(source, image, find_signature(image), faults, hurry=False).run()
        else:
            root = read_profile(source, image, faults)
        return "refused" if faults.outside else described(root)
    except (refser.RefserError, OutsideProfile):
        return "refused"


def mutated(data: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(data)
    how = rng.randrange(3)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(mutant) // 8) * 8
        if how == 0:
            mutant[at + rng.randrange(8)] = rng.randrange(256)
        elif how == 1:
            mutant[at : at + 8] = struct.pack("<Q", rng.choice((0, at, (1 << 64) - 1, rng.randrange(len(mutant)) // 8 * 8)))
        else:
            start, length = rng.randrange(len(mutant)), rng.randrange(1, 300)
            mutant[at : at + length] = mutant[start : start + length]
    return bytes(mutant)


@pytest.mark.parametrize("seed", range(4))
def test_both_looks_at_mutated_files_agree(seed: int) -> None:
    rng = random.Random(seed)
    known = files()
    refused = 0
    for _ in range(1500):
        data = mutated(rng.choice(known), rng)
        quick = outcome(data, thorough=False)
        refused += quick == "refused"
        assert quick == outcome(data, thorough=True)
    assert 100 < refused < 1400


def test_both_looks_at_golden_files_agree() -> None:
    for data in files():
        found = outcome(data, thorough=False)
        assert found != "refused"
        assert found == outcome(data, thorough=True)


def test_many_threads_read_one_file(tmp_path: Path) -> None:
    """Arrays, and the heaps of strings, are looked at when they are asked for: by all at once, here."""
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("vars")
        for number in range(40):
            for key in range(6):
                file.create_dataset(f"g{number // 6}/d{number}/vars/{key}", data=np.ones(3, "f4"))
            file[f"g{number // 6}/d{number}/vars"].attrs["name"] = f"d{number}"
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            with refser.open(path, limits=LIMITS) as file, ThreadPoolExecutor(4) as pool:
                reads = [pool.submit(lambda: (list(file.weights.values()), file.groups)) for _ in range(4)]
                assert {len(read.result()[0]) for read in reads} == {240}
    finally:
        sys.setswitchinterval(interval)
