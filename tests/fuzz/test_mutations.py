"""Whatever the bytes: opening a file and reading all of it succeeds or raises a `RefserError`; what loads also saves and loads.

Golden files are mutated and read in a child process with a timeout.  Whatever Python raises that is no `RefserError` is a
failure, and so is any hang or crash; libhdf5, which does both on damaged bytes, is not asked.  test_hdf5_mutations looks
closer at HDF5.

`REFSER_FUZZ_SECONDS` is how long each family runs (5 by default), `REFSER_FUZZ_SEED` where it starts.  A failure names the
mutant (`family number`); `python tests/fuzz/test_mutations.py family number` runs that one alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bounds import bounded

import refser
from refser.limits import Limits
from refser.values import WeightGroup

GOLDEN = Path(__file__).parents[1] / "golden"
SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "1000"))
HANG = 6  # seconds
LIMITS = Limits(
    inflated_bytes=1 << 26,
    unstored_bytes=1 << 24,
    attribute_bytes=1 << 22,
    asset_bytes=1 << 22,
    hdf5_objects=10_000,
    allow_libhdf5=False,
)

ZIPS = ["keras-3.15.1/sequential.keras", "keras-3.9.2/text.keras", "tf-keras-2.12.0/mixed.keras"]
HDF5 = [
    *("keras-3.15.1/sequential.weights.h5", "keras-3.6.0/mixed.weights.h5", "tf-keras-2.12.0/sequential.weights.h5"),
    *("keras-1.2.2/sequential.legacy.h5", "keras-2.3.1/sequential.legacy_weights.h5", "keras-3.15.1/sequential.legacy.h5"),
]
JSON = ["keras-2.2.4/sequential.json", "keras-3.15.1/sequential.json"]
FOLDER, INDEX = "keras-3.9.2/text.dir", "keras-3.15.1/functional.sharded.weights.json"

# --- mutants: a family and a number are one mutant, always the same

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
TOKENS = [
    *(
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"[" * 600,
        b'{"a":' * 600,
        b"9" * 5000,
        b'"\\ud800"',
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"null",
    ),
    *(
        b"[]",
        b"{}",
        b"-1",
        b"true",
        b'""',
        b'"../x"',
        b'"a\\u0000"',
        b"1.5",
        b'"\\u202e"',
        b'"/"',
        b',"config":1',
        b'"' + b"\\\\" * 999,
    ),
]


def mutated(data: bytes, rng: random.Random, allowed: list[range], text: bool) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = min(rng.choice(rng.choice(allowed)), len(out))
        size = rng.choice((1, 1, 2, 4, 8, 16, 100))
        match rng.randrange(9 if text else 8):
            case 0:
                out[at : at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in out[at : at + 1])
            case 1:
                out[at : at + size] = rng.randbytes(len(out[at : at + size]))
            case 2:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) if rng.random() < 0.7 else len(data) + rng.randrange(-9, 9)
                out[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")[: len(out) - at]
            case 3:
                source = rng.choice(rng.choice(allowed))
                out[at : at + size] = data[source : source + size]
            case 4:
                del out[at : at + size]
            case 5:
                out[at:at] = rng.choice((bytes(size), rng.randbytes(size), data[at : at + size]))
            case 6 if rng.random() < 0.3:
                del out[at:]
            case 7:
                out[at : at + 1] = rng.choice((b"\0", b"\xff", b"/", b".", b"9", b"-"))
            case 8:
                out[at : at + rng.choice((0, 1, 5))] = rng.choice(TOKENS)
    return bytes(out)


def outside_hdf5(path: Path) -> list[range]:
    """The bytes of an archive around its weights: headers, JSON, assets, the directory."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("model.weights.h5")
    start = info.header_offset + 30 + len(info.filename)
    end = start + info.file_size
    return [range(start), range(end, path.stat().st_size), range(path.stat().st_size - 200, path.stat().st_size)]


def mutant(family: str, number: int, folder: Path) -> Path:
    rng = random.Random(f"{family} {number}")
    if family == "hdf5":
        source = GOLDEN / rng.choice(HDF5)
    elif family == "zip":
        source = GOLDEN / rng.choice(ZIPS)
    else:
        source = GOLDEN / rng.choice([*JSON, FOLDER, INDEX])
    target = folder / f"m{''.join(source.suffixes[-2:])}"
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        changed = target / rng.choice(("config.json", "metadata.json"))
    elif source.name.endswith(".weights.json"):
        for shard in source.parent.glob(f"{source.name.split('.weights')[0]}_*.h5"):
            shutil.copy(shard, folder)
        changed = target
        shutil.copy(source, target)
    else:
        changed = target
        shutil.copy(source, target)
    data = changed.read_bytes()
    allowed = outside_hdf5(source) if family == "zip" else [range(len(data)), range(min(len(data), 800))]
    changed.write_bytes(mutated(data, rng, allowed, text=family == "json"))
    return target


ROOT = WeightGroup(path="vars")  # always written, whether or not it was there

# --- the child: reads mutants, says for each "ok", the code of the refusal, or the traceback of what is neither


def read_all(path: Path) -> None:
    with refser.open(path, limits=LIMITS) as file:
        _ = [str(problem) for problem in file.problems], file.keras_version, file.metadata
        for call in [*(weight.array for weight in file.weights.values()), *(lambda n=n: file.assets[n] for n in file.assets)]:
            with contextlib.suppress(refser.RefserError):
                call()
        with contextlib.suppress(refser.RefserError):
            _ = file.config
        model, layout = file.load(), file.layout
    copy = path.parent / "copy.weights.json"
    try:
        refser.save(model, copy, layout=layout)
    except refser.RefserError as error:
        str(error)
        return
    back = refser.load(copy)
    first, second = (tuple(group for group in one.groups if group != ROOT) for one in (model, back))
    if (back.weights, back.config_json, back.assets, second) != (model.weights, model.config_json, model.assets, first):
        raise AssertionError(f"{layout}: what was read is not what was written")


def run(family: str, number: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = mutant(family, number, Path(folder))
        try:
            read_all(path)
        except refser.RefserError as error:
            str(error).encode("utf-8")
            return error.problem.code
        except BaseException:  # said aloud: the parent fails on it
            return "FAIL " + traceback.format_exc().replace("\n", "\\n")
    return "ok"


def child() -> None:
    warnings.simplefilter("ignore")
    run("hdf5", SEED)  # imports are not counted
    bounded()
    for line in sys.stdin:
        family, number = line.split()
        print(run(family, int(number)), flush=True)


class Child:
    """The process that reads mutants; a new one after a hang or a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, family: str, number: int) -> str:
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, __file__, "child"]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{family} {number}\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            ready = selector.select(HANG)
        answer = self.process.stdout.readline().strip() if ready else ""
        if not answer:
            self.close()
            return "crash" if ready else "hang"
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def reader() -> Iterator[Callable[[str, int], str]]:
    one = Child()
    yield one.ask
    one.close()


@pytest.mark.skipif(sys.platform == "win32", reason="selects on a pipe")
@pytest.mark.parametrize("family", ["json", "zip", "hdf5"])
def test_any_mutant_is_read_or_refused(reader: Callable[[str, int], str], family: str) -> None:
    reader(family, SEED)  # the start of the child is not timed
    end, number, counts = time.monotonic() + SECONDS, SEED, Counter[str]()
    while time.monotonic() < end:
        answer = reader(family, number)
        assert not answer.startswith("FAIL"), f"{family} {number}: " + answer.replace("\\n", "\n")
        assert answer not in ("hang", "crash"), f"{family} {number}: {answer}"
        counts[answer] += 1
        number += 1
    print(f"{family}: {counts.total()} mutants, {dict(counts.most_common())}")
    assert counts["ok"]
    assert len(counts) > 4  # refused for several reasons


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child()
    else:
        print(run(sys.argv[1], int(sys.argv[2])).replace("\\n", "\n"))
