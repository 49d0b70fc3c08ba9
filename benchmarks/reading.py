"""Reading all arrays of a file, and one of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peers
import safetensors.numpy
from measure import Work, race, race_processes
from samples import MIB, Arrays, Files, arrays, legacy_model, model_of, write_files
from table import Table

import refser

MANY = 2_000  # arrays for which h5py, pyfive and NumPy would take minutes


def reading(table: Table, folder: Path, megabytes: int, rounds: int) -> None:
    """Files of 100 KiB, 100 MiB and the big one, and of many tiny arrays."""
    small = {"10 arrays, 100 KiB": arrays(10, 100 << 10), "2,000 arrays, 4 MiB": arrays(2000, 4 * MIB)}
    for title, values in (*small.items(), ("20,000 arrays, 40 MiB", arrays(20000, 40 * MIB))):
        _read(table, title, write_files(folder, values), rounds)
    if megabytes > 100:
        _read(table, "100 MiB", write_files(folder, arrays(100, 100 * MIB)), rounds)
    files = write_files(folder, arrays(256, megabytes * MIB))
    _read(table, f"{megabytes:,} MiB", files, rounds)
    _read_one_process(table, f"{megabytes:,} MiB", files, rounds)


def _read(table: Table, title: str, files: Files, rounds: int) -> None:
    few, one, times = len(files.values) <= MANY, files.paths[-1], 20 if len(files.values) < 20 else 1
    works: dict[str, Work] = {
        "refser.load_weights (.keras)": lambda: refser.load_weights(files.keras),
        "refser.load_weights (.weights.h5)": lambda: refser.load_weights(files.weights),
        "refser, views (.keras)": lambda: peers.refser_views(files.keras),
        "safetensors load_file": lambda: safetensors.numpy.load_file(files.safetensors),
        "raw preadv": lambda: peers.raw_read(files.weights, files.values),
        "copy in memory": lambda: peers.copy_arrays(files.values),
    }
    if few:
        works["np.load (.npz)"] = lambda: peers.npz_read(files.npz)
        works["h5py (.weights.h5)"] = lambda: peers.h5py_read(files.weights)
        works["pyfive (.weights.h5)"] = lambda: peers.pyfive_read(files.weights)
    table.show(f"read all, {title}", race(works, rounds, times=times))
    works = {
        "refser (.keras)": lambda: peers.refser_one(files.keras, one),
        "refser (.weights.h5)": lambda: peers.refser_one(files.weights, one),
        "refser, view (.keras)": lambda: peers.refser_one_view(files.keras, one),
        "safetensors": lambda: peers.safetensors_one(files.safetensors, one),
        "h5py (.weights.h5)": lambda: peers.h5py_one(files.weights, one),
        "pyfive (.weights.h5)": lambda: peers.pyfive_one(files.weights, one),
    }
    if few:
        works["np.load (.npz)"] = lambda: peers.npz_one(files.npz, one)
    table.show(f"open and read one, {title}", race(works, rounds, times=times))


def _read_one_process(table: Table, title: str, files: Files, rounds: int) -> None:
    """A process that reads one array and looks at all of it: time from open to view, and the peak of its memory."""
    one, tiny = files.paths[len(files.paths) // 2], files.keras.with_name("tiny.keras")
    refser.save(model_of(arrays(2, 8)), tiny, overwrite=True)
    view = "with refser.open({!r}) as file: array = file.weights[{!r}].array()"
    ready = "import time, numpy, refser\n" + view.format(str(tiny), "layers/dense_0/vars/0")  # what is imported on the way
    clock = "time.perf_counter(), time.process_time()"
    code = f"{ready}\nstart = {clock}\n{view.format(str(files.keras), one)}\nend = {clock}\n"
    code += "TOOK = end[0] - start[0], end[1] - start[1]\narray.sum()"
    theirs = "import numpy, safetensors, time\n"
    theirs += f"start = {clock}\narray = safetensors.safe_open({str(files.safetensors)!r}, 'np').get_tensor({one!r})\n"
    theirs += f"end = {clock}\nTOOK = end[0] - start[0], end[1] - start[1]\narray.sum()"
    commands = {"refser": ["-c", code], "safetensors": ["-c", theirs]}
    figures = race_processes(commands, rounds)
    table.show(f"open and view one, {title}, new process, imports apart", figures, by="cpu")
    code = f"import numpy, refser\n{view.format(str(files.keras), one)}\narray.sum()"
    theirs = f"import numpy, safetensors\nsafetensors.safe_open({str(files.safetensors)!r}, 'np').get_tensor({one!r}).sum()"
    h5py_code = f"import numpy, h5py\nh5py.File({str(files.weights)!r})[{one!r}][()].sum()"
    commands = {
        "refser": ["-c", code],
        "safetensors": ["-c", theirs],
        "h5py": ["-c", h5py_code],
        "import numpy": ["-c", "import numpy"],
    }
    whole = race_processes(commands, rounds)
    table.show(f"whole process, sum of one, {title}", whole, by="cpu")
    size = files.values[one].nbytes / MIB
    what = f"open and view an array of {size:g} MiB in a .keras of {title}"
    table.target(f"{what}, CPU time without imports", figures["refser"].cpu * 1e3, at_most=5, unit="ms")
    more = whole["refser"].peak - whole["import numpy"].peak
    table.target(f"{what} and sum it, peak memory above `import numpy`", more, at_most=size + 8, unit="MiB")


def other_layouts(table: Table, folder: Path, rounds: int) -> None:
    """Shards and legacy files, 64 MiB in 512 arrays."""
    values = arrays(512, 64 * MIB)
    index, legacy = folder / "s.weights.json", folder / "l.h5"
    refser.save(model_of(values), index, max_shard_size=1 / 64, overwrite=True)
    parts = sorted(folder.glob("s_*.weights.h5"))
    table.show("read all, 64 MiB in shards", race(_both(index, parts), rounds))
    one = next(iter(values))
    works: dict[str, Work] = {
        "refser": lambda: peers.refser_one(index, one),
        "h5py, its shard": lambda: peers.h5py_one(parts[0], one),
    }
    table.show("open and read one, 64 MiB in shards", race(works, rounds))
    model = legacy_model(values)
    refser.save(model, legacy, overwrite=True)
    table.show("read all, 64 MiB of legacy .h5", race(_both(legacy, [legacy]), rounds))
    one = next(iter(model.weights))
    works = {"refser": partial(peers.refser_one, legacy, one), "h5py": partial(peers.h5py_one, legacy, one)}
    table.show("open and read one, 64 MiB of legacy .h5", race(works, rounds))


def _both(path: Path, parts: list[Path]) -> dict[str, Work]:
    def h5py_all() -> list[Arrays]:
        return [peers.h5py_read(part) for part in parts]

    return {
        "refser.load_weights": lambda: refser.load_weights(path),
        "refser, views": lambda: peers.refser_views(path),
        "h5py": h5py_all,
    }
