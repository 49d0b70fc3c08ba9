"""The files that the benchmarks read, and what the peers do with them."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy

import refser

Arrays = dict[str, np.ndarray[Any, Any]]
CONFIG = '{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": []}, "registered_name": null}'


def arrays(count: int, nbytes: int, per_layer: int = 2) -> Arrays:
    """`count` float32 arrays of `nbytes` in all, `per_layer` in a layer."""
    length = max(1, nbytes // 4 // count)
    block = np.random.default_rng(0).standard_normal(length, dtype=np.float32)
    return {f"layers/dense_{i // per_layer}/vars/{i % per_layer}": block + np.float32(i) for i in range(count)}


def model_of(values: Arrays) -> refser.Model:
    weights = {path: refser.Weight.from_array(path, array) for path, array in values.items()}
    return refser.Model(config_json=CONFIG, metadata={"keras_version": "3.15.1"}, weights=weights)


def h5py_write(path: Path, values: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            file[name] = array


def h5py_list(path: Path) -> list[Any]:
    found: list[Any] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.append((name, node.shape, node.dtype)) if hasattr(node, "shape") else None)
    return found


def h5py_read(path: Path) -> Arrays:
    found: Arrays = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None)
    return found


def pyfive_list(path: Path) -> list[Any]:
    import pyfive

    found: list[Any] = []
    with pyfive.File(str(path)) as file:
        file.visititems(lambda name, node: found.append((name, node.shape)) if hasattr(node, "shape") else None)
    return found


def refser_list(path: Path) -> list[str]:
    with refser.open(path) as file:
        return list(file.weights)


def refser_describe(path: Path) -> list[Any]:
    """With every dtype and shape, as h5py's visititems gives them."""
    with refser.open(path) as file:
        return [(name, weight.dtype, weight.shape) for name, weight in file.weights.items()]


def safetensors_list(path: Path) -> list[str]:
    return list(safetensors.safe_open(path, "np").keys())


def raw_read(path: Path, lengths: list[int]) -> list[Any]:
    """The same bytes into fresh arrays, one `preadv` for each."""
    found, here = [], 0
    handle = os.open(path, os.O_RDONLY)
    for length in lengths:
        block = np.empty(length, np.uint8)
        os.preadv(handle, [block.data], here)
        found.append(block)
        here += length
    os.close(handle)
    return found


def crc32() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.crc32
    return isal_zlib.crc32


def raw_write(path: Path, values: Arrays) -> None:
    """The same bytes with their CRC-32 and an fsync: what an archive cannot do without."""
    update, crc = crc32(), 0
    with open(path, "wb") as file:
        for array in values.values():
            crc = update(array.data, crc)
            file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def copy_arrays(values: Arrays) -> list[Any]:
    return [array.copy() for array in values.values()]
