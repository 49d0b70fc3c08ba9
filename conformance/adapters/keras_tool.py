"""Real Keras, 3 or tf.keras 2, through its public functions; one script for every version.

    python keras_tool.py load --serve       load_model, model_from_json; tree and write: build, then save
    python keras_tool.py editor --serve     KerasFileEditor: the weights of `.keras` and `.weights.h5` without a model

Keras gives no inner paths, so a model that it loaded is saved by it again, and the answer is what that new file holds (h5py
reads it).  Weights of legacy files Keras takes by position, so the answer has them by position under the names of the input.
Keras goes by the ending of a name; an input without one is handed to it under the name that its content asks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-home-")

import h5py

with contextlib.suppress(ImportError):
    import tensorflow  # noqa: F401  # before the first fork; text layers want it

import keras
import numpy as np
from common import Answer, Question, Unsupported, is_json, main, shown
from keras.src.saving import saving_lib  # only for the order of a tree

VERSION = tuple(int(it) for it in keras.__version__.split(".")[:2])
LEGACY, ARCHIVE, STORE, FOLDER, CONFIG, SHARDS = ".h5", ".keras", ".weights.h5", "", ".json", ".weights.json"
OLD_LAYERS = "_layer_checkpoint_dependencies"
# What Keras says when this installation lacks a package, not when the file is wrong.
NOT_INSTALLED = re.compile(
    r"requires TensorFlow|requires `?tensorflow|No module named 'tensorflow'|install tensorflow", re.IGNORECASE
)


# What the input is


def named(path: Path) -> Path:
    """The input under a name that Keras goes by."""
    if path.is_dir() or path.suffix in (".keras", ".h5", ".hdf5", ".json"):
        return path
    if is_json(path):
        ending = CONFIG
    elif h5py.is_hdf5(path):
        ending = LEGACY if has_layers(path) else STORE
    else:
        ending = ARCHIVE
    copy = Path(tempfile.mkdtemp()) / f"{path.name}{ending}"
    shutil.copyfile(path, copy)
    return copy


def has_layers(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            return "model_config" in file.attrs or "layer_names" in root.attrs or "layer_names0" in root.attrs
    except Exception:  # which Keras has to find out
        return False


def layout(path: Path) -> str:
    if path.is_dir():
        return FOLDER
    for ending in (STORE, SHARDS, CONFIG):
        if path.name.endswith(ending):
            return ending
    return ARCHIVE if path.suffix == ".keras" and not h5py.is_hdf5(path) else LEGACY


# Reading with load_model


def load(question: Question) -> Answer:
    path = named(question.input)
    kind = layout(path)
    if kind in (STORE, SHARDS):
        raise Unsupported("load_weights wants a model")
    if kind == FOLDER and VERSION < (3, 9):
        raise Unsupported("directories came later")
    if not of_keras(path):
        raise Unsupported("a config that is no model's: load_model makes models")
    if kind == CONFIG:
        keras.models.model_from_json(path.read_text("utf-8"))
        return {"result": "read", "weights": {}}
    if kind == LEGACY and weights_only(path):
        raise Unsupported("load_weights wants a model")
    model = loaded(path)
    if kind == LEGACY:
        return {"result": "read", "weights": by_position(path, model)}
    saved = Path(tempfile.mkdtemp()) / "again.keras"
    model.save(saved)
    weights = in_archive(saved)
    groups = in_file(path)
    if "optimizer" not in groups:  # made by compiling, not read
        weights = {it: value for it, value in weights.items() if not it.startswith("optimizer/")}
    if OLD_LAYERS in groups:  # what saves it now has another name for them
        weights = {re.sub(r"(?<![^/])layers(?=/)", OLD_LAYERS, it): value for it, value in weights.items()}
    return {"result": "read", "weights": weights}


def loaded(path: Path) -> Any:
    try:
        return keras.models.load_model(str(path))
    except ImportError as error:
        raise Unsupported(f"not installed here: {error}") from error
    except Exception as error:
        if NOT_INSTALLED.search(str(error)):
            raise Unsupported(f"not installed here: {error}") from error
        raise


def of_keras(path: Path) -> bool:
    """Whether Keras is to be asked.  Many cases about files have a bare `{}` as their config, at which every Keras stops."""
    try:
        if path.is_dir():
            about = json.loads((path / "config.json").read_bytes())
        elif layout(path) == CONFIG:
            about = json.loads(path.read_bytes())
        elif layout(path) == ARCHIVE:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path, "r") as file:
                about = json.loads(file.attrs["model_config"])
    except Exception:  # which Keras has to find out
        return True
    if not isinstance(about, dict) or set(about) <= {"a", "class_name", "keras_version", "backend"}:
        return False
    config = about.get("config")
    return not (about.get("class_name") in (None, "A", "Sequential", "Functional", "Model") and config in ({}, [], None))


def weights_only(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "model_config" not in file.attrs and has_layers(path)
    except Exception:  # which Keras has to find out
        return False


def in_archive(path: Path) -> Answer:
    """What Keras saved."""
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member, h5py.File(member, "r") as file:
        return dict(arrays(file, ""))


def in_file(path: Path) -> list[str]:
    """The groups at the top of the input: whether it has an optimizer, and what it calls the layers."""
    try:
        if path.is_dir():
            with h5py.File(path / "model.weights.h5", "r") as file:
                return list(file)
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member, h5py.File(member, "r") as file:
            return list(file)
    except Exception:  # Keras took it all the same
        return []


def arrays(group: h5py.Group, path: str) -> Iterator[tuple[str, Answer]]:
    """In the order of numbers: the file is Keras's, its names are sorted as text."""
    for name in sorted(group, key=lambda it: (not it.isdigit(), int(it) if it.isdigit() else 0, it)):
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield path + name, array(item)
        else:
            yield from arrays(item, f"{path}{name}/")


def array(item: h5py.Dataset) -> Answer:
    dtype = item.attrs.get("dtype", "")
    return shown(item[()], dtype if isinstance(dtype, str) else dtype.decode())


# Legacy files


def names_of(owner: h5py.Group, attribute: str) -> list[str]:
    if attribute in owner.attrs:
        keys = [attribute]
    else:
        keys = []
        while f"{attribute}{len(keys)}" in owner.attrs:
            keys.append(f"{attribute}{len(keys)}")
    return [it.decode() if isinstance(it, bytes) else str(it) for key in keys for it in owner.attrs[key]]


def groups_of(file: h5py.File) -> dict[str, h5py.Group]:
    root = file.get("model_weights", file)
    groups = {name: root[name] for name in names_of(root, "layer_names")}
    if "top_level_model_weights" in root:
        groups["top_level_model_weights"] = root["top_level_model_weights"]
    if "optimizer_weights" in file:
        groups["optimizer_weights"] = file["optimizer_weights"]
    return groups


def by_position(path: Path, model: Any) -> Answer:
    again = Path(tempfile.mkdtemp()) / "again.h5"
    model.save(str(again))
    weights: Answer = {}
    with h5py.File(path, "r") as old, h5py.File(again, "r") as new:
        after = groups_of(new)
        for layer, group in groups_of(old).items():
            if layer not in after:
                continue
            values = [array(after[layer][name]) for name in names_of(after[layer], "weight_names")]
            for name, value in zip(names_of(group, "weight_names"), values):
                weights[f"{group.name}/{name}".lstrip("/")] = value
    return weights


# Reading with KerasFileEditor


def edit(question: Question) -> Answer:
    path = named(question.input)
    if layout(path) not in (ARCHIVE, STORE):
        raise Unsupported("the editor takes .keras and .weights.h5")
    editor = keras.saving.KerasFileEditor(str(path))
    return {"result": "read", "weights": dict(edited(editor.weights_dict, ""))}


def edited(found: dict[str, Any], path: str) -> Iterator[tuple[str, Answer]]:
    """Its dictionary has a level for each group but `vars`; at the top it has that too."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from edited(value, "" if (path, key) == ("", "vars") else f"{path}{key}/")
        else:
            yield f"{path}vars/{key}", array(value) if isinstance(value, h5py.Dataset) else shown(value)


# Building


def built(config: str) -> Any:
    """A model of the config, with variables."""
    about = json.loads(config)
    if not isinstance(about, dict) or "class_name" not in about:
        raise Unsupported("no config of a model")
    if "module" not in about:
        raise Unsupported("a config in the form of old HDF5 files")
    model = keras.saving.deserialize_keras_object(about)
    if not isinstance(model, keras.Model):
        raise Unsupported(f"{about['class_name']} is no model")
    if not model.built:
        shape = (about.get("build_config") or {}).get("input_shape")
        if shape:
            model.build(shape)
        else:
            raise Unsupported("a model without an input shape")
    if about.get("compile_config"):
        model.compile_from_config(about["compile_config"])
    return model


def tree(question: Question) -> Answer:
    generation = int(question.keras.split(".")[0]) if question.keras else 3
    if (generation >= 3) != (VERSION[0] >= 3):
        raise Unsupported(f"the tree of Keras {question.keras or 3}")
    if generation < 3 and not question.keras.startswith("{}.{}".format(*VERSION)):
        raise Unsupported(f"the tree of Keras {question.keras}")
    config = question.input.read_text("utf-8")
    try:
        model = built(config)
    except Exception as error:
        if isinstance(error, ImportError) or NOT_INSTALLED.search(str(error)):
            raise Unsupported(f"not installed here: {error}") from error
        raise
    walk = Walk()
    saving_lib._save_state(model, walk, None, "", set())
    groups = [f"{path}/vars".lstrip("/") for path in walk.entries]
    return {"result": "tree", "variables": list(walk.variables()), "groups": groups}


class Walk(saving_lib.H5IOStore):  # type: ignore[misc]
    """In the place of the file that Keras saves to: what it is given, in Keras's order, which a file does not keep."""

    def __init__(self) -> None:  # not that of the class, which opens a file
        self.entries: dict[str, dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        return self.entries.setdefault(path, {})

    get = make

    def variables(self) -> Iterator[Answer]:
        for group, values in self.entries.items():
            for key, value in values.items():
                if value is not None:
                    dtype = getattr(value.dtype, "name", str(value.dtype))
                    path = f"{group}/vars/{key}".strip("/").replace("\\", "/")
                    yield {"path": path, "shape": [int(it) for it in value.shape], "dtype": dtype}


# Writing


def write(question: Question) -> Answer:
    about = json.loads(question.input.read_text("utf-8"))
    output = question.output
    if output is None or about["layout"] not in ("keras-zip", "legacy-h5", "weights-h5") or not about.get("config"):
        raise Unsupported(f"the layout {about['layout']} of what is no model")
    model = built(about["config"])
    blank = Path(tempfile.mkdtemp()) / "blank.keras"
    model.save(blank)
    with zipfile.ZipFile(blank) as archive:
        data = archive.read("model.weights.h5")
    store = blank.with_name("filled.weights.h5")
    store.write_bytes(data)
    with h5py.File(store, "r+") as file:  # the weights of the description, for Keras to load
        for path, it in about["weights"].items():
            if path not in file:
                raise Unsupported(f"the model has no {path}")
            values = np.frombuffer(bytes.fromhex(it["hex"]), file[path].dtype).reshape(it["shape"])
            file[path][...] = values
    model.load_weights(store)
    model.save_weights(output) if about["layout"] == "weights-h5" else model.save(output)
    return {"result": "written"}


def handle(question: Question) -> Answer:
    if mode == "editor":
        if question.kind in ("read", "reject"):
            return edit(question)
        raise Unsupported(f"the kind {question.kind}")
    kinds = {"read": load, "reject": load, "tree": tree, "write": write}
    if question.kind in kinds:
        return kinds[question.kind](question)
    raise Unsupported(f"the kind {question.kind}")


if __name__ == "__main__":
    mode, *words = sys.argv[1:]
    main(handle, words)
