"""Speed against peers, interleaved in one run: `make bench`, or `python benchmarks/run.py --megabytes 1024 --rounds 5`.

Prints medians and the ratio refser / peer, and writes them to RESULTS.md beside this file.  Absolute times are the machine's;
only ratios carry over.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy
from measure import Figure, race, race_processes
from samples import (
    arrays,
    copy_arrays,
    h5py_list,
    h5py_read,
    h5py_write,
    model_of,
    pyfive_list,
    raw_read,
    raw_write,
    refser_describe,
    refser_list,
    safetensors_list,
)

import refser

LINES: list[str] = []


def say(line: str) -> None:
    print(line, flush=True)
    LINES.append(line)


def show(title: str, figures: dict[str, Figure], *, by: str = "wall") -> None:
    """One row per peer, refser first in the mapping."""
    mine = getattr(next(iter(figures.values())), by)
    for name, figure in figures.items():
        ratio = mine / getattr(figure, by)
        peak = f"{figure.peak:,.0f}" if figure.peak else ""
        say(f"| {title} | {name} | {figure.wall * 1e3:,.2f} | {figure.cpu * 1e3:,.2f} | {peak} | {ratio:.2f} |")


def listing(folder: Path, rounds: int) -> None:
    """Many tiny arrays: 2,000 and 20,000, two in a layer, and ten."""
    times = {}
    for count, per_layer in ((2000, 2), (2000, 10), (20000, 2)):
        values = arrays(count, 64 * count, per_layer)
        keras, ours, other = folder / "k.h5", folder / "r.weights.h5", folder / "s.safetensors"
        h5py_write(keras, values)
        refser.save_weights(values, ours, overwrite=True)
        safetensors.numpy.save_file(values, other)
        works = {
            "refser, own file": lambda ours=ours: refser_list(ours),
            "refser, file of h5py": lambda keras=keras: refser_list(keras),
            "refser, with dtypes and shapes": lambda ours=ours: refser_describe(ours),
            "safetensors": lambda other=other: safetensors_list(other),
        }
        if count == 2000:
            works["h5py visititems"] = lambda keras=keras: h5py_list(keras)
            works["pyfive visititems"] = lambda keras=keras: pyfive_list(keras)
        figures = race(works, rounds)
        times[count, per_layer] = figures["refser, own file"].cpu
        show(f"list {count:,} arrays, {per_layer} a layer", figures, by="cpu")
    say(f"| growth 2,000 to 20,000 arrays | refser | | | | {times[20000, 2] / times[2000, 2]:.1f} |")


def processes(folder: Path, rounds: int) -> None:
    """Whole processes: list 320 arrays."""
    values = arrays(320, 64 * 320)
    ours, other = folder / "p.weights.h5", folder / "p.safetensors"
    refser.save_weights(values, ours, overwrite=True)
    safetensors.numpy.save_file(values, other)
    h5py_code = f"import h5py; h5py.File({str(ours)!r}).visititems(lambda n, x: print(n, getattr(x, 'shape', '')))"
    commands = {
        "refser inspect --json": ["-m", "refser", "inspect", "--json", str(ours)],
        "import numpy": ["-c", "import numpy"],
        "safetensors": ["-c", f"import safetensors; print(safetensors.safe_open({str(other)!r}, 'np').keys())"],
        "h5py visititems": ["-c", h5py_code],
    }
    show("whole process, list 320 arrays", race_processes(commands, rounds), by="cpu")


def reading(folder: Path, megabytes: int, rounds: int) -> None:
    values = arrays(256, megabytes << 20)
    keras, other, npz, plain = folder / "b.keras", folder / "b.safetensors", folder / "b.npz", folder / "b.weights.h5"
    refser.save(model_of(values), keras, overwrite=True)
    refser.save_weights(values, plain, overwrite=True)
    safetensors.numpy.save_file(values, other)
    np.savez(npz, **{name.replace("/", "."): array for name, array in values.items()})
    lengths = [array.nbytes for array in values.values()]
    works = {
        "refser.load_weights (.keras)": lambda: refser.load_weights(keras),
        "raw preadv": lambda: raw_read(plain, lengths),
        "safetensors load_file": lambda: safetensors.numpy.load_file(other),
        "np.load": lambda: dict(np.load(npz)),
        "h5py (.weights.h5)": lambda: h5py_read(plain),
        "copy in memory": lambda: copy_arrays(values),
    }
    show(f"read all of {megabytes:,} MiB, owned arrays", race(works, rounds))
    one = next(iter(values))

    def view() -> object:
        with refser.open(keras) as file:
            return file.weights[one].array()

    def safe() -> object:
        return safetensors.safe_open(other, "np").get_tensor(one)

    show(f"open and take one array of {lengths[0] >> 20} MiB", race({"refser": view, "safetensors": safe}, rounds))
    code = f"import numpy, refser; a = refser.open({str(keras)!r}).weights[{one!r}].array(); a.sum()"
    theirs = f"import numpy, safetensors; a = safetensors.safe_open({str(other)!r}, 'np').get_tensor({one!r}); a.sum()"
    commands = {"refser": ["-c", code], "safetensors": ["-c", theirs], "import numpy": ["-c", "import numpy"]}
    show("whole process, sum one array", race_processes(commands, rounds), by="cpu")


def writing(folder: Path, megabytes: int, rounds: int) -> None:
    values = arrays(256, megabytes << 20)
    model, target = model_of(values), folder / "w.keras"
    works = {
        "refser.save (.keras)": lambda: refser.save(model, target, overwrite=True),
        "raw write + CRC-32 + fsync": lambda: raw_write(folder / "w.raw", values),
        "safetensors save_file": lambda: safetensors.numpy.save_file(values, folder / "w.safetensors"),
        "h5py": lambda: h5py_write(folder / "w.h5", values),
    }
    show(f"write {megabytes:,} MiB", race(works, rounds))
    for name in ("w.keras", "w.raw", "w.safetensors", "w.h5"):
        (folder / name).unlink()
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import samples, refser; "
    code += f"v = samples.arrays(256, {megabytes} << 20); m = samples.model_of(v); "
    save = f"refser.save(m, {str(target)!r}, overwrite=True)"
    show("whole process, make and write", race_processes({"refser.save": ["-c", code + save], "arrays alone": ["-c", code]}, 3))


def against_keras(folder: Path, megabytes: int, rounds: int) -> None:
    """Real Keras on the numpy backend: the same model saved and its weights loaded."""
    os.environ["KERAS_BACKEND"] = "numpy"
    import keras

    width = int((megabytes * 2**20 / 4 / 20) ** 0.5)
    model = keras.Sequential([keras.Input((width,)), *(keras.layers.Dense(width, use_bias=False) for _ in range(20))])
    path, ours = folder / "x.keras", folder / "y.keras"
    model.save(path)
    loaded = refser.load(path)
    works = {"refser.load_weights": lambda: refser.load_weights(path), "Keras load_weights": lambda: model.load_weights(path)}
    show(f"load weights of {megabytes} MiB .keras", race(works, min(rounds, 3)))
    writes = {"refser.save": lambda: refser.save(loaded, ours, overwrite=True), "Keras save": lambda: model.save(path)}
    show(f"save {megabytes} MiB .keras", race(writes, min(rounds, 3)))


def other_layouts(folder: Path, rounds: int) -> None:
    values = arrays(512, 64 << 20)
    index = folder / "s.weights.json"
    refser.save_weights(values, index, max_shard_size=1 / 64, overwrite=True)
    parts = sorted(folder.glob("s_*.weights.h5"))
    works = {"refser": lambda: refser.load_weights(index), "h5py": lambda: [h5py_read(part) for part in parts]}
    show("read 64 MiB in shards", race(works, rounds))
    weights = {f"model_weights/d{i}/d{i}/kernel:0": array for i, array in enumerate(values.values())}
    made = {path: refser.Weight.from_array(path, array) for path, array in weights.items()}
    legacy = folder / "l.h5"
    refser.save(refser.Model(generation="legacy", config_json=CONFIG, weights=made), legacy, overwrite=True)
    works = {"refser": lambda: refser.load_weights(legacy), "h5py": lambda: h5py_read(legacy)}
    show("read 64 MiB of legacy .h5", race(works, rounds))


CONFIG = '{"class_name": "Sequential", "config": {"name": "m", "layers": []}}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the big file")
    parser.add_argument(
        "--keras-megabytes", type=int, default=100, help="size of the file that Keras loads; 0 leaves Keras out"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    say(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__},")
    say(f"h5py {h5py.__version__} (HDF5 {h5py.version.hdf5_version}), medians of {options.rounds}\n")
    say("| work | who | wall ms | CPU ms | peak MiB | refser / this |")
    say("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listing(folder, options.rounds)
        processes(folder, options.rounds)
        other_layouts(folder, options.rounds)
        reading(folder, options.megabytes, options.rounds)
        writing(folder, options.megabytes, options.rounds)
        if options.keras_megabytes:
            against_keras(folder, options.keras_megabytes, options.rounds)
    head = "# Results\n\nWritten by `make bench`.  Ratios under 1 are in refser's favour; CPU time decides the listings.\n\n"
    (Path(__file__).parent / "RESULTS.md").write_text(head + "\n".join(LINES) + "\n")


if __name__ == "__main__":
    sys.exit(main())
