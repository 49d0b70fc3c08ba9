"""Speed against peers, interleaved in one run: `make bench`, or `python benchmarks/run.py --megabytes 100 --rounds 5`.

Prints the median of the rounds and the ratio refser / peer.  Absolute times are the machine's; only ratios carry over.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy

import refser

Work = Callable[[], object]


def sample(count: int, nbytes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    length = max(1, nbytes // 4 // count)
    return {f"layers/dense_{i}/vars/0": rng.standard_normal(length, dtype=np.float32) for i in range(count)}


def h5py_list(path: Path) -> list[tuple[str, tuple[int, ...], object]]:
    found = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.append((name, node.shape, node.dtype)) if hasattr(node, "shape") else None)
    return found


def h5py_read(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None)
    return found


def h5py_write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def refser_list(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    with refser.open(path) as file:
        return [(name, weight.shape, weight.dtype) for name, weight in file.weights.items()]


def race(title: str, ours: Work, peers: dict[str, Work], rounds: int) -> None:
    """Run everybody in turn, `rounds` times, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ("refser", *peers)}
    for number in range(rounds + 1):
        for name, work in (("refser", ours), *peers.items()):
            start = time.perf_counter()
            work()
            if number:
                times[name].append(time.perf_counter() - start)
    mine = statistics.median(times["refser"])
    for name in peers:
        theirs = statistics.median(times[name])
        print(f"{title:<34} {mine * 1e3:10.1f} ms  {name:<12} {theirs * 1e3:10.1f} ms  ratio {mine / theirs:6.2f}")


def compare(count: int, megabytes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arrays = sample(count, megabytes << 20)
        path, other, target = Path(folder, "a.weights.h5"), Path(folder, "a.safetensors"), Path(folder, "w.weights.h5")
        refser.save_weights(arrays, path)
        safetensors.numpy.save_file(arrays, other)
        print(f"{count} float32 arrays, {megabytes} MiB")
        listing = {"h5py": lambda: h5py_list(path), "safetensors": lambda: safetensors.safe_open(other, "np").keys()}
        race("list every weight", lambda: refser_list(path), listing, rounds)
        reading = {"h5py": lambda: h5py_read(path), "safetensors": lambda: safetensors.numpy.load_file(other)}
        race("read all into fresh arrays", lambda: refser.load_weights(path), reading, rounds)
        writing = {
            "h5py": lambda: h5py_write(Path(folder, "x.h5"), arrays),
            "safetensors": lambda: safetensors.numpy.save_file(arrays, Path(folder, "x.safetensors")),
        }
        race("write", lambda: refser.save_weights(arrays, target, overwrite=True), writing, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the big sample")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for count, megabytes in ((2000, 1), (100, options.megabytes)):
        compare(count, megabytes, options.rounds)


if __name__ == "__main__":
    main()
