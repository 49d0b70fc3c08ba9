"""Validation: a folder of small models in one process, and one big file."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from measure import race, race_processes
from samples import MIB
from table import Table

import refser

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "keras-3.15.1"
UNITS = 1024  # of a layer, and so 4 MiB


def validating(table: Table, folder: Path, count: int, megabytes: int, rounds: int) -> None:
    many = write_small(folder / "small", count)
    _small(table, many, count, rounds)
    shutil.rmtree(many)
    _big(table, folder, megabytes, rounds)


def write_small(folder: Path, count: int) -> Path:
    """`count` archives, the models of the golden files in turn."""
    folder.mkdir()
    names = sorted(path for path in GOLDEN.glob("*.keras") if ".npz." not in path.name)
    models = [refser.load(path) for path in names]
    for number, model in enumerate(islice(cycle(models), count)):
        refser.save(model, folder / f"model_{number:04}.keras")
    return folder


def _small(table: Table, folder: Path, count: int, rounds: int) -> None:
    """Whole processes, each for all the files."""
    commands = {"refser validate --json": ["-m", "refser", "validate", "--json", str(folder)]}
    scanner = os.environ.get("MODELSCAN") or shutil.which("modelscan")
    if scanner is None:
        print("no modelscan: install modelscan[tensorflow,h5py] in an environment of its own, and set MODELSCAN to its program")
    else:
        other = folder.with_name("other.py")  # whole processes are `python ...` here
        other.write_text("import os, sys\nos.execv(sys.argv[1], sys.argv[1:])\n")
        commands["modelscan"] = [str(other), scanner, "scan", "-p", str(folder)]
    figures = race_processes(commands, rounds)
    table.show(f"whole process, validate {count:,} small .keras files", figures, by="cpu")
    rate = count / figures["refser validate --json"].cpu
    table.target(f"refser validate, {count:,} small .keras files in one process", rate, at_least=300, unit="files a second")


def _big(table: Table, folder: Path, megabytes: int, rounds: int) -> None:
    """A sound model: what is looked at does not grow with the arrays."""
    path = folder / "big.keras"
    refser.save(_model(megabytes // 4), path)
    assert refser.validate(path).verdict == "valid"
    works = {
        "refser.validate": partial(refser.validate, path),
        "refser.open, every dtype and shape": partial(_list, path),
    }
    figures = race(works, rounds, times=5)
    table.show(f"validate {megabytes:,} MiB", figures)
    deep = {
        "refser.validate, deep": partial(refser.validate, path, deep=True),
        "refser.load": partial(refser.load, path),
        "bare read": partial(_read, path),
    }
    table.show(f"validate {megabytes:,} MiB, every byte", race(deep, rounds))


def _model(count: int) -> refser.Model:
    """`count` dense layers, all of them with the same values."""
    names = [f"dense_{number}" for number in range(count)]
    layers = [_layer("InputLayer", {"name": "input", "batch_shape": [None, UNITS], "dtype": "float32"})]
    layers += [_layer("Dense", {"name": name, "units": UNITS}) for name in names]
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "big", "layers": layers},
        "registered_name": None,
    }
    kernel = np.random.default_rng(0).standard_normal((UNITS, UNITS), dtype=np.float32)
    bias = np.zeros(UNITS, np.float32)
    arrays = {f"{name}/{part}": array for name in names for part, array in (("kernel", kernel), ("bias", bias))}
    return refser.build(json.dumps(config), arrays)


def _layer(name: str, config: dict[str, object]) -> dict[str, object]:
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": config,
        "registered_name": None,
        "build_config": {"input_shape": [None, UNITS]},
    }


def _list(path: Path) -> list[object]:
    with refser.open(path) as file:
        return [(name, weight.dtype, weight.shape) for name, weight in file.weights.items()]


def _read(path: Path) -> int:
    """Every byte into one buffer of a mebibyte."""
    block, total = bytearray(MIB), 0
    with open(path, "rb", buffering=0) as file:
        while read := file.readinto(block):
            total += read
    return total
