"""Many arrays: what is in the file.  CPU time decides."""

from __future__ import annotations

from pathlib import Path

import peers
import safetensors.numpy
from measure import Work, race
from samples import arrays, h5py_write, model_of
from table import Table

import refser


def listing(table: Table, folder: Path, rounds: int) -> None:
    """10, 2,000 and 20,000 arrays, two in a layer and ten."""
    samples = ((10, 2), (2000, 2), (2000, 10), (20000, 2))
    times = {sample: _list(table, folder, *sample, rounds) for sample in samples}
    growth = times[20000, 2] / times[2000, 2]
    table.say(f"| 20,000 arrays for 2,000: CPU time | refser | | | | {growth:.1f} |")


def _list(table: Table, folder: Path, count: int, per_layer: int, rounds: int) -> float:
    """Seconds of refser."""
    values = arrays(count, 64 * count, per_layer)
    ours, theirs, bare = folder / "r.weights.h5", folder / "k.weights.h5", folder / "bare.weights.h5"
    other = folder / "s.safetensors"
    refser.save(model_of(values), ours, overwrite=True)
    refser.save(model_of(values, named=False), bare, overwrite=True)
    h5py_write(theirs, values)
    safetensors.numpy.save_file(values, other)
    works: dict[str, Work] = {
        "refser": lambda: peers.refser_list(ours),
        "refser, file of h5py": lambda: peers.refser_list(theirs),
        "refser, file without names": lambda: peers.refser_list(bare),
        "refser, with dtypes and shapes": lambda: peers.refser_describe(ours),
        "refser, with names of groups": lambda: peers.refser_groups(ours),
        "safetensors": lambda: peers.safetensors_list(other),
    }
    if count <= 2000:  # more would take them minutes
        works["h5py visititems"] = lambda: peers.h5py_list(theirs)
        works["pyfive visititems"] = lambda: peers.pyfive_list(theirs)
    figures = race(works, rounds, times=max(1, 200 // count))
    table.show(f"list {count:,} arrays, {per_layer} a layer", figures, by="cpu")
    return figures["refser"].cpu
