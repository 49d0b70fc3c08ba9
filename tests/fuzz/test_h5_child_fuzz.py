"""Whatever the bytes: every door of a file is named, remarks are made, and libhdf5 in its own process says something.

Mutants are those of test_hdf5_mutations.  `REFSER_FUZZ_SECONDS` is how long it runs (5 by default), `REFSER_FUZZ_SEED` where it
starts; `python tests/fuzz/test_h5_child_fuzz.py NUMBER` runs one mutant alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter

import pytest
from bounds import bounded, last_line, watched
from mutants import mutant

from refser import hdf5
from refser.errors import RefserError, UnsafeError
from refser.hdf5 import Group, _apart
from refser.limits import Limits
from refser.source import MemorySource

SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "1000"))
CAPS = {"inflated_bytes": 1 << 22, "unstored_bytes": 1 << 22, "attribute_bytes": 1 << 22, "hdf5_objects": 10_000}
PURE = Limits(**CAPS, allow_libhdf5=False)
APART = Limits(**CAPS, libhdf5_apart=True, libhdf5_seconds=3)


def look(data: bytes, found: Counter[str]) -> None:
    """All of it, as a validator does."""
    faults: list[RefserError] = []
    with watched():
        try:
            root = hdf5.read_tree(MemorySource(data, "m"), limits=PURE, refuse=faults.append)
        except RefserError as error:
            found[error.problem.code] += 1
        else:
            found["ok"] += 1
            for remark in root.remarks():
                found[f"{remark.code} {remark.severity}"] += 1
                assert remark.at.startswith("m:")
            read_all(root)
        found.update(fault.problem.code for fault in faults)
    first = first_refusal(data)
    if any(isinstance(fault, UnsafeError) for fault in faults):
        assert first is not None  # what is handed over is refused where nobody collects


def first_refusal(data: bytes) -> RefserError | None:
    try:
        hdf5.read_tree(MemorySource(data, "m"), limits=PURE)
    except RefserError as error:
        return error
    return None


def read_all(root: Group) -> None:
    todo = [root]
    while todo:
        group = todo.pop()
        with contextlib.suppress(RefserError):
            _ = group.attributes
        for node in group.children.values():
            if isinstance(node, Group):
                todo.append(node)
            else:
                with contextlib.suppress(RefserError):
                    node.weight(node.path).tobytes()


def child(seconds: float, number: int) -> None:
    """Mutants for so long; on stdout the number of each before it is looked at, in the end what was found."""
    look(mutant(number)[1], Counter())  # imports are neither timed nor counted
    bounded()
    end, found = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        print(number, flush=True)
        look(mutant(number)[1], found)
        number += 1
    print(json.dumps(found))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_every_mutant_is_looked_at_whole() -> None:
    found = json.loads(last_line(__file__, SECONDS, SEED))
    print(f"hdf5: {found}")
    assert found["ok"]
    assert found["H5-086 info"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_h5094_libhdf5_in_its_own_process_ends_no_other() -> None:
    end, number, found = time.monotonic() + SECONDS, SEED, Counter[str]()
    while time.monotonic() < end:
        try:
            read_all(_apart.read_tree(MemorySource(mutant(number)[1], "m"), limits=APART, refuse=lambda error: None))
            found["ok"] += 1
        except RefserError as error:
            found[error.problem.code] += 1
            if error.problem.code == "H5-096":
                pytest.fail(f"mutant {number}: {error}")
        number += 1
    print(f"apart: {found}")
    assert found


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(float(sys.argv[2]), int(sys.argv[3]))
    else:
        everything = Counter[str]()
        look(mutant(int(sys.argv[1]))[1], everything)
        print(everything)
