"""Which files and folders `validate` looks at.

Spec: spec/command-line.md (CL-042, CL-043).  Not here: what a file is (layouts), which goes by its content; in a folder it is
its name that makes it worth a look.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from refser import jsonio
from refser.errors import RefserError
from refser.limits import Limits

_SUFFIXES = (".keras", ".h5", ".hdf5", ".weights.json")
_INDEX = ".weights.json"
# Files of a model folder, and the one of them that tells it -> what is no file of its own there.
_MODEL = frozenset({"config.json", "metadata.json", "model.weights.h5", "model.weights.npz", "assets"})
_SAVED_MODEL = frozenset({"saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb", "fingerprint.pb", "variables"})


class Found:
    """What there is to look at, in order, and how much was passed over."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.skipped = 0  # files in folders that are no models
        self.links = 0  # symbolic links in folders


def gather(paths: Iterable[str], limits: Limits) -> Found:
    """Every path that is no folder, and the models in those that are; a folder without any stands for itself."""
    found = Found()
    for path in dict.fromkeys(paths):
        before = len(found.files)
        if os.path.isdir(path):
            _walk("" if path == "." else path, found, limits)
        if len(found.files) == before:
            found.files.append(path)
    found.files = list(dict.fromkeys(found.files))
    return found


def _walk(top: str, found: Found, limits: Limits) -> None:
    todo, seen = [top], set[tuple[int, int]]()
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(folder or ".") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
            status = os.stat(folder or ".")
        except OSError:
            found.files.append(folder or ".")  # the report on it says why
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        names = {entry.name for entry in listed}
        own = _own(names)
        if own:
            found.files.append(folder or ".")
        shards = _shards(folder, names - own, limits)
        below = []
        for entry in listed:
            if entry.name in own or entry.name in shards:
                continue
            if entry.is_symlink() and not limits.follow_symlinks:
                found.links += 1
            elif _is_folder(entry):
                if not entry.name.startswith("."):
                    below.append(os.path.join(folder, entry.name))
            elif not entry.name.startswith(".") and _is_model(entry, limits):
                found.files.append(os.path.join(folder, entry.name))
            else:
                found.skipped += 1
        todo.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _own(names: set[str]) -> frozenset[str]:
    """The names that belong to the model that a folder with these names is; none where it is no model."""
    if "config.json" in names and names & {"metadata.json", "model.weights.h5", "model.weights.npz"}:
        return _MODEL
    return _SAVED_MODEL if names & {"saved_model.pb", "saved_model.pbtxt"} else frozenset()


def _is_model(entry: os.DirEntry[str], limits: Limits) -> bool:
    name = entry.name.lower()
    return name.endswith(_SUFFIXES) or (name.endswith(".json") and _is_config(entry, limits))


def _is_config(entry: os.DirEntry[str], limits: Limits) -> bool:
    """Whether a JSON file has what a config has; one that is broken counts by its words."""
    data = _content(entry, limits)
    worded = b'"class_name"' in data and b'"config"' in data
    if not worded and b"\\u00" not in data:
        return False
    try:
        value = jsonio.parse(jsonio.decode_text(data, limits=limits, at=entry.name), limits=limits, at=entry.name)
    except RefserError:
        return worded
    return isinstance(value, dict) and "class_name" in value and "config" in value


def _shards(folder: str, names: set[str], limits: Limits) -> set[str]:
    """The files that the indexes in a folder name: looked at with their index, unless they are models of their own."""
    if not any(name.endswith(_INDEX) for name in names):
        return set()
    found = set[str]()
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith(_INDEX):
                found |= _named(entry, limits)
    return {name for name in found & names if not _is_legacy(os.path.join(folder, name), limits)}


def _named(entry: os.DirEntry[str], limits: Limits) -> set[str]:
    data = _content(entry, limits)
    try:
        index = jsonio.parse(jsonio.decode_text(data, limits=limits, at=entry.name), limits=limits, at=entry.name)
    except RefserError:
        return set()
    places = index.get("weight_map") if isinstance(index, dict) else None
    found = set[str]()
    for value in places.values() if isinstance(places, dict) else ():
        found.update(name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))
    return found or {entry.name.removesuffix(_INDEX) + "_00000.weights.h5"}  # of an index that maps nothing [SH-011]


def _is_legacy(path: str, limits: Limits) -> bool:
    from refser.layouts import open_layout

    try:
        with open_layout(path, limits=limits) as file:
            return file.layout.startswith("legacy")
    except RefserError:
        return False


def _content(entry: os.DirEntry[str], limits: Limits) -> bytes:
    """As much of a regular file as a JSON text may have, and one byte more."""
    try:
        if not entry.is_file():
            return b""
        with open(entry.path, "rb") as file:
            return file.read(limits.json_bytes + 1)
    except OSError:
        return b""
