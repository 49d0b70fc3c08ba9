"""Writing a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import peers
import safetensors.numpy
from measure import Work, race, race_processes
from samples import MIB, Arrays, arrays, h5py_write, legacy_model, model_of, npz_names
from table import Table

import refser


def writing(table: Table, folder: Path, megabytes: int, rounds: int) -> None:
    """Files of 100 KiB, 100 MiB and the big one, of many tiny arrays, in shards and legacy; every work over its last file."""
    _write(table, "10 arrays, 100 KiB", folder, arrays(10, 100 << 10), rounds)
    for count in (2000, 20000):
        _write(table, f"{count:,} arrays, {count // 500} MiB", folder, arrays(count, count // 500 * MIB), rounds)
    if megabytes > 100:
        _write(table, "100 MiB", folder, arrays(100, 100 * MIB), rounds)
    _write(table, f"{megabytes:,} MiB", folder, arrays(256, megabytes * MIB), rounds)
    _write_process(table, folder, megabytes, rounds)
    _write_others(table, folder, rounds)


def _write(table: Table, title: str, folder: Path, values: Arrays, rounds: int) -> None:
    model = model_of(values)
    works: dict[str, Work] = {
        "refser.save (.keras)": lambda: refser.save(model, folder / "w.keras", overwrite=True),
        "refser.save (.weights.h5)": lambda: refser.save(model, folder / "w.weights.h5", overwrite=True),
        "safetensors save_file": lambda: safetensors.numpy.save_file(values, folder / "w.safetensors"),
        "raw write + CRC-32 + fsync": lambda: peers.raw_write(folder / "w.raw", values),
    }
    if len(values) <= 2000:
        works["np.savez"] = lambda: np.savez(folder / "w.npz", **npz_names(values))  # type: ignore[arg-type]
        works["h5py"] = lambda: h5py_write(folder / "w.h5", values)
    table.show(f"write {title}", race(works, rounds))
    for path in folder.glob("w.*"):
        path.unlink()


def _write_process(table: Table, folder: Path, megabytes: int, rounds: int) -> None:
    """What the memory of the process grows by."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import samples, refser, numpy\n"
    code += f"values = samples.arrays(256, {megabytes} << 20); model = samples.model_of(values)\n"
    save = f"refser.save(model, {str(folder / 'w.keras')!r}, overwrite=True)"
    commands = {"refser.save": ["-c", code + save], "the arrays alone": ["-c", code]}
    table.show(f"whole process, make and write {megabytes:,} MiB", race_processes(commands, rounds))
    (folder / "w.keras").unlink()


def _write_others(table: Table, folder: Path, rounds: int) -> None:
    values = arrays(512, 64 * MIB)
    model, legacy = model_of(values), legacy_model(values)
    works: dict[str, Work] = {
        "refser.save, shards": lambda: refser.save(model, folder / "w.weights.json", max_shard_size=1 / 64, overwrite=True),
        "refser.save, legacy .h5": lambda: refser.save(legacy, folder / "w.h5", overwrite=True),
        "h5py": lambda: h5py_write(folder / "w.weights.h5", values),
    }
    table.show("write 64 MiB in other layouts", race(works, rounds))
