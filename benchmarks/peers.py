"""The same work done by refser, by other libraries, and with the bare system."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
from samples import Arrays, npz_name

import refser

# Listing.


def refser_list(path: Path) -> list[str]:
    with refser.open(path) as file:
        return list(file.weights)


def refser_describe(path: Path) -> list[Any]:
    """With every dtype and shape, as h5py's visititems gives them."""
    with refser.open(path) as file:
        return [(name, weight.dtype, weight.shape) for name, weight in file.weights.items()]


def refser_groups(path: Path) -> list[Any]:
    """With the name of every group."""
    with refser.open(path) as file:
        return [(group.path, group.name, group.keys) for group in file.groups]


def h5py_list(path: Path) -> list[Any]:
    found: list[Any] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.append((name, node.shape, node.dtype)) if hasattr(node, "shape") else None)
    return found


def pyfive_list(path: Path) -> list[Any]:
    import pyfive

    found: list[Any] = []
    with pyfive.File(str(path)) as file:
        file.visititems(lambda name, node: found.append((name, node.shape, node.dtype)) if hasattr(node, "shape") else None)
    return found


def safetensors_list(path: Path) -> list[str]:
    file: Any = safetensors.safe_open(path, "np")
    return list(file.keys())


# Reading all arrays.


def refser_views(path: Path) -> list[Any]:
    with refser.open(path) as file:
        return [weight.array() for weight in file.weights.values()]


def h5py_read(path: Path) -> Arrays:
    found: Arrays = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None)
    return found


def pyfive_read(path: Path) -> Arrays:
    import pyfive

    found: Arrays = {}
    with pyfive.File(str(path)) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None)
    return found


def npz_read(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def raw_read(path: Path, values: Arrays) -> list[Any]:
    """As many bytes into fresh arrays, one `preadv` for each."""
    found, here = [], 0
    handle = os.open(path, os.O_RDONLY)
    for array in values.values():
        block = np.empty(array.nbytes, np.uint8)
        os.preadv(handle, [block.data], here)
        found.append(block)
        here += array.nbytes
    os.close(handle)
    return found


def copy_arrays(values: Arrays) -> list[Any]:
    return [array.copy() for array in values.values()]


# Opening a file and reading one array.


def refser_one(path: Path, name: str) -> Any:
    with refser.open(path) as file:
        return file.weights[name].array(copy=True)


def refser_one_view(path: Path, name: str) -> Any:
    with refser.open(path) as file:
        return file.weights[name].array()


def h5py_one(path: Path, name: str) -> Any:
    with h5py.File(path, "r") as file:
        return file[name][()]


def pyfive_one(path: Path, name: str) -> Any:
    import pyfive

    with pyfive.File(str(path)) as file:
        return file[name][()]


def safetensors_one(path: Path, name: str) -> Any:
    file: Any = safetensors.safe_open(path, "np")
    return file.get_tensor(name)


def npz_one(path: Path, name: str) -> Any:
    with np.load(path) as file:
        return file[npz_name(name)]


# Writing.


def crc32() -> Callable[[memoryview, int], int]:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.crc32
    update: Callable[[memoryview, int], int] = isal_zlib.crc32
    return update


def raw_write(path: Path, values: Arrays) -> None:
    """The same bytes with their CRC-32 and an fsync: what an archive cannot do without."""
    update, crc = crc32(), 0
    with open(path, "wb") as file:
        for array in values.values():
            crc = update(array.data, crc)
            file.write(array.data)
        file.flush()
        os.fsync(file.fileno())
