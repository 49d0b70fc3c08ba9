"""Whatever is done to a model, `validate` answers with a report: no exception, in bounded time and memory.

Configs are changed as trees, whole files as bytes.  `REFSER_FUZZ_SECONDS` is how long each kind runs (5 by default),
`REFSER_FUZZ_SEED` where it starts.  `python tests/fuzz/test_validate_any.py kind number` shows what is said of one mutant.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from bounds import bounded, watched

import refser
from refser.checks.report import VERDICTS

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("REFSER_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REFSER_FUZZ_SEED", "7000"))
KINDS = ("config", "legacy", "bytes")
TARGETS = (None, None, None, "keras==3.6", "keras==3.15.1", "tf.keras==2.15")
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        7,
        64,
        1 << 31,
        1 << 62,
        1 << 64,
        10**30,
        -0.5,
        0.5,
        1e308,
        "",
        "a",
        "..",
        "/x",
        "relu",
        "same",
    ),
    *(
        "float16",
        "Dense",
        "keras.layers",
        "keras.src.models.functional",
        "x" * 5000,
        "\0",
        "\ud800",
        "é",
        [],
        {},
        [[]],
        [None],
        [[None]],
    ),
    *([None, 4], [1, [2, [3]]], {"class_name": "Dense"}, {"class_name": "Dense", "config": {}}, {"config": {}}, ["x", 0, 0]),
    {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "dtype": "float32", "keras_history": ["x", 0, 0]}},
    {"class_name": "__lambda__", "config": {"code": "aW5lcnQ="}},
    {"module": "keras", "class_name": "DTypePolicyMap", "config": {"default_policy": "float32", "policy_map": {"a": None}}},
    {
        "module": "keras.layers",
        "class_name": "TimeDistributed",
        "config": {"layer": {"class_name": "LSTM", "config": {"units": 3}}},
    },
)


@cache
def models() -> list[tuple[Any, bytes]]:
    """Configs with their weights."""
    found = []
    for path in sorted((ROOT / "tests" / "golden").glob("*/*.keras")) + sorted(
        (ROOT / "conformance" / "cases").glob("*/*/*.keras")
    ):
        try:
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                if isinstance(config, dict) and config:
                    found.append((config, archive.read("model.weights.h5")))
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, NotImplementedError, RuntimeError, RecursionError):
            continue
    return found


@cache
def legacy() -> list[tuple[bytes, Any]]:
    """Legacy files with their configs, whose text can be changed for one that is not longer."""
    found = []
    for path in sorted((ROOT / "tests" / "golden").glob("*/*.h5")):
        with refser.open(path) as file:
            if (
                file.layout == "legacy-h5"
                and file.config_json is not None
                and file.config_json.encode() in (data := path.read_bytes())
            ):
                found.append((data, json.loads(file.config_json)))
    return found


@cache
def files() -> list[bytes]:
    paths = [*sorted((ROOT / "tests" / "golden").glob("*/*.*")), *sorted((ROOT / "conformance" / "cases").glob("*/*/*.*"))]
    return [path.read_bytes() for path in paths if path.is_file() and path.stat().st_size < 200_000]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every value in it, as its owner and key."""
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        owner = todo.pop()
        for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
            found.append((owner, key))
            if isinstance(owner[key], (dict, list)):
                todo.append(owner[key])
    return found


def changed(config: Any, rng: random.Random) -> Any:
    """A few values replaced, taken away, doubled, exchanged, moved inside or taken from another model."""
    config = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        found = places(config)
        if not found:
            break
        owner, key = rng.choice(found)
        action = rng.randrange(7)
        if action == 0:
            owner[key] = copy.deepcopy(rng.choice(ODD))
        elif action == 1 and isinstance(owner, dict):
            del owner[key]
        elif action == 1 or (action == 2 and isinstance(owner, list)):
            owner.append(copy.deepcopy(owner[key])) if isinstance(owner, list) else owner.update({f"{key}_": owner[key]})
        elif action == 3:
            other, place = rng.choice(found)
            owner[key] = copy.deepcopy(other[place])
        elif action == 4:
            other, place = rng.choice(places(rng.choice(models())[0]))
            owner[key] = copy.deepcopy(other[place])
        elif action == 5:
            owner[key] = rng.choice(([owner[key]], {"a": owner[key]}, {"class_name": "Dense", "config": owner[key]}))
        elif isinstance(owner, dict):
            owner[rng.choice(("name", "layers", "dtype", "units", "inbound_nodes", "build_config"))] = owner[key]
    return config


def mutant(kind: str, number: int) -> tuple[bytes, dict[str, Any]]:
    """A file and how to look at it, always the same for one number."""
    rng = random.Random(f"{kind} {number}")
    options = {"target": rng.choice(TARGETS), "deep": rng.random() < 0.2, "strict": rng.random() < 0.2}
    if kind == "config":
        config, weights = rng.choice(models())
        if rng.random() < 0.1:
            weights = rng.choice(models())[1]
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("config.json", json.dumps(changed(config, rng)))
            archive.writestr("metadata.json", json.dumps({"keras_version": rng.choice(("3.15.1", "3.0.5", "2.13.1", "x"))}))
            archive.writestr("model.weights.h5", weights)
        return out.getvalue(), options
    if kind == "legacy":
        data, config = rng.choice(legacy())
        room = len(json.dumps(config))
        for _ in range(20):
            text = json.dumps(changed(config, rng)).encode()
            if len(text) <= room and (at := data.find(json.dumps(config).encode())) >= 0:
                return data[:at] + text.ljust(room) + data[at + room :], options
        return data, options
    data = bytearray(rng.choice(files()))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) or 1)
        action = rng.randrange(5)
        if action == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif action == 1:
            size = rng.choice((1, 2, 4, 8))
            data[at : at + size] = rng.choice((0, 1, 255, (1 << (8 * size)) - 1, rng.getrandbits(8 * size))).to_bytes(
                size, "little"
            )
        elif action == 2:
            del data[at : at + rng.choice((1, 8, 64, 4096))]
        elif action == 3:
            data[at:at] = data[at : at + rng.choice((1, 8, 64, 512))]
        else:
            other = rng.choice(files())
            there = rng.randrange(len(other) or 1)
            data[at : at + 64] = other[there : there + 64]
    return bytes(data), options


def run(kind: str, number: int) -> str:
    data, options = mutant(kind, number)
    with watched():
        report = refser.validate(io.BytesIO(data), **options)
        told = [str(problem) for problem in report.problems]
    assert report.verdict in VERDICTS
    assert all(line.isprintable() and len(line) < 20_000 for line in told)
    assert (report.verdict == "valid") == all(problem.severity != "error" for problem in report.problems)
    return report.verdict


def child(kind: str, seconds: float, number: int) -> None:
    for source in (models, legacy, files):
        source()
    refser.validate(ROOT / "tests" / "golden" / "keras-3.15.1" / "text.keras", deep=True, target="keras==3.15.1")  # imports
    bounded()
    counts, end, first = Counter[str](), time.monotonic() + seconds, number
    while time.monotonic() < end:
        print(f"{kind} {number}", end="\r", file=sys.stderr, flush=True)  # the last word, if this one ends it all
        counts[run(kind, number)] += 1
        number += 1
    print(f"{number - first:,} mutants: {dict(counts)}")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize("kind", KINDS)
def test_any_mutant_has_a_report(kind: str) -> None:
    command = [sys.executable, __file__, "child", kind, str(SECONDS), str(SEED)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS * 3 + 300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    print(kind, ended.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
    else:
        data, options = mutant(sys.argv[1], int(sys.argv[2]))
        print(options)
        for problem in refser.validate(io.BytesIO(data), **options).problems:
            print(problem.severity, problem)
