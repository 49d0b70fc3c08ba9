"""The files that the benchmarks read: models whose groups have names, as Keras writes them since 3.6."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy

import refser

Arrays = dict[str, np.ndarray[Any, Any]]
CONFIG = '{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": []}, "registered_name": null}'
MIB = 1 << 20


def arrays(count: int, nbytes: int, per_layer: int = 2) -> Arrays:
    """`count` float32 arrays of `nbytes` in all, `per_layer` in a layer."""
    length = max(1, nbytes // 4 // count)
    block = np.random.default_rng(0).standard_normal(length, dtype=np.float32)
    return {f"layers/dense_{i // per_layer}/vars/{i % per_layer}": block + np.float32(i) for i in range(count)}


def model_of(values: Arrays, *, named: bool = True) -> refser.Model:
    """A model of these arrays; the attribute `name` of a group says what its layer is called."""
    weights = {path: refser.Weight.from_array(path, array) for path, array in values.items()}
    model = refser.Model(config_json=CONFIG, metadata={"keras_version": "3.15.1"}, weights=weights)
    groups = [replace(group, name=_name(group.path) if named else None) for group in model.groups]
    return replace(model, groups=tuple(groups))


def _name(path: str) -> str:
    """`dense_1` of `layers/dense_1/vars`; the model itself has a name too."""
    return path.split("/")[-2] if "/" in path else "sequential"


def legacy_model(values: Arrays) -> refser.Model:
    """The same arrays as a whole model of Keras 2, a layer for each."""
    paths = [f"model_weights/dense_{i}/dense_{i}/kernel:0" for i in range(len(values))]
    weights = {path: refser.Weight.from_array(path, array) for path, array in zip(paths, values.values())}
    return refser.Model(generation="legacy", config_json=CONFIG, weights=weights)


def h5py_write(path: Path, values: Arrays) -> None:
    """What Keras makes h5py do."""
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "sequential"
        for name, array in values.items():
            group, _, key = name.rpartition("/")
            place = file.get(group)
            if place is None:
                place = file.create_group(group)
                place.attrs["name"] = _name(group)
            place[key] = array


@dataclass(frozen=True)
class Files:
    """The same arrays for everybody."""

    values: Arrays
    keras: Path
    weights: Path  # .weights.h5, by refser
    safetensors: Path
    npz: Path

    @property
    def paths(self) -> list[str]:
        return list(self.values)


def write_files(folder: Path, values: Arrays) -> Files:
    """In `folder`, over those of the last sample."""
    files = Files(values, folder / "m.keras", folder / "m.weights.h5", folder / "m.safetensors", folder / "m.npz")
    model = model_of(values)
    refser.save(model, files.keras, overwrite=True)
    refser.save(model, files.weights, overwrite=True)
    safetensors.numpy.save_file(values, files.safetensors)
    np.savez(files.npz, **npz_names(values))  # type: ignore[arg-type]
    return files


def npz_names(values: Arrays) -> Arrays:
    return {npz_name(path): array for path, array in values.items()}


def npz_name(path: str) -> str:
    return path.replace("/", ".")
