"""What record.py and record_1.py share: what a saved HDF5 file of a legacy model holds, and the JSON of many of them.

Under the Python of that Keras, which may be 3.7.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def kept(value):
    if isinstance(value, dict):
        ends = ("initializer", "regularizer", "constraint", "init")
        return {key: kept(item) for key, item in value.items() if not key.endswith(ends)}
    return [kept(item) for item in value] if isinstance(value, list) else value


def read(path):
    with h5py.File(path, "r") as file:
        base = file["model_weights"]
        layers = []
        for name in map(text, base.attrs["layer_names"]):
            keys = [text(key) for key in base[name].attrs["weight_names"]]
            layers.append([name, [[key, list(base[name][key].shape), str(base[name][key].dtype)] for key in keys]])
        config = kept(json.loads(text(file.attrs["model_config"])))
        return {"keras_version": text(file.attrs["keras_version"]), "config": config, "layers": layers}


def write(path, found):
    lines = [f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in found.items()]
    Path(path).write_text("{{\n{}\n}}\n".format(",\n".join(lines)), "utf-8")
