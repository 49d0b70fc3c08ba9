"""hls4ml's KerasFileReader, which its converter asks for a layer's arrays by name: "kernel" of the layer "dense".

It has no way to list what a file holds, so the adapter takes layers and names from the lists of the file, with h5py, and asks
for each as the converter would.  Only legacy HDF5; two arrays of a layer with the same last name it cannot tell apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
from common import Answer, Question, Unsupported, main, shown
from hls4ml.converters.keras_v2_to_hls import KerasFileReader


def read(path: Path) -> Answer:
    reader = KerasFileReader({"KerasH5": str(path)})
    weights: Answer = {}
    for inner, layer, name in listed(reader.h5file):
        found = reader.get_weights_data(layer, name)
        if found is not None:
            weights[inner] = shown(found)
    return {"result": "read", "weights": weights}


def listed(file: h5py.File) -> Iterator[tuple[str, str, str]]:
    """Inner path, layer, and the name that the converter would ask for."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs and "layer_names0" not in root.attrs:
        raise Unsupported("no legacy file")
    for layer in root:
        names = [text(it) for key in root[layer].attrs if key.startswith("weight_names") for it in root[layer].attrs[key]]
        last = [re.sub(r":\d+$", "", name.rpartition("/")[2]) for name in names]
        if names and layer == "top_level_model_weights":
            raise Unsupported("weights of the model itself")
        if len(set(last)) < len(last):
            raise Unsupported("a layer in a layer")
        for name, asked in zip(names, last):
            yield f"{root[layer].name}/{name}".lstrip("/"), layer, asked
    if "optimizer_weights" in file:
        raise Unsupported("weights of an optimizer")


def text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def handle(question: Question) -> Answer:
    if question.kind not in ("read", "reject"):
        raise Unsupported(f"the kind {question.kind}")
    if question.input.is_dir() or not h5py.is_hdf5(question.input):
        raise Unsupported("no HDF5 file")
    return read(question.input)


if __name__ == "__main__":
    main(handle, sys.argv[1:])
