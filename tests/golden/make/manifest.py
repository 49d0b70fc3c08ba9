"""Write manifest.json: what each golden file holds, read with h5py, zipfile and json alone.

    python manifest.py GOLDEN [ABOUT]

ABOUT is a JSON object, folder -> versions of what saved it, added to what the manifest already says.  Pickled (`npz`) and
TensorFlow (`saved-model`) contents are not opened: such files have no tensors.  Not here: what the keys mean (README.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Entry = dict[str, Any]
OPAQUE = {1: "float8_e4m3fn", 2: "bfloat16"}  # HDF5 has neither; Keras stores their bits


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def number_or_name(name: str) -> tuple[int, int, bytes]:
    return (0, int(name), b"") if name.isdecimal() else (1, 0, name.encode())


def tensor(path: str, dataset: h5py.Dataset) -> Entry:
    array = np.asarray(dataset[()])
    dtype = OPAQUE[array.dtype.itemsize] if array.dtype.kind == "V" and not array.dtype.names else array.dtype.name
    data = array.astype(array.dtype.newbyteorder("<")).tobytes("C")
    return {"path": path, "shape": list(array.shape), "dtype": dtype, "sha256": sha256(data)}


def walk(group: h5py.Group, path: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    """Datasets in file order: links by their bytes, in a `vars` group by number."""
    in_vars = path.split("/")[-1] == "vars"
    for name in sorted(group, key=number_or_name if in_vars else str.encode):
        below = f"{path}/{name}" if path else name
        link = group[name]
        if isinstance(link, h5py.Group):
            yield from walk(link, below)
        else:
            yield below, link


def read_store(data: bytes) -> list[Entry]:
    with h5py.File(io.BytesIO(data), "r") as file:
        return [tensor(path, dataset) for path, dataset in walk(file)]


def order(path: str) -> list[tuple[int, int, bytes]]:
    """Sorts whole paths as `walk` gives them."""
    parts = path.split("/")
    pairs = pairwise(["", *parts])
    return [number_or_name(part) if above == "vars" else (1, 0, part.encode()) for above, part in pairs]


def read_shards(index: Path) -> list[Entry]:
    shards: set[str] = set()
    for value in json.loads(index.read_bytes())["weight_map"].values():
        shards.update([value] if isinstance(value, str) else value)
    tensors = [entry for shard in sorted(shards) for entry in read_store((index.parent / shard).read_bytes())]
    return sorted(tensors, key=lambda entry: order(entry["path"]))


def names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, whole or split into numbered attributes."""
    keys = [attribute]
    if attribute not in group.attrs:
        numbers = sorted(int(key[len(attribute) :]) for key in group.attrs if key.startswith(attribute))
        keys = [f"{attribute}{number}" for number in numbers]
    cells = [cell for key in keys for cell in group.attrs[key]]
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]


def read_named(group: h5py.Group) -> list[Entry]:
    above = group.name.strip("/")
    return [tensor(f"{above}/{name}".strip("/"), group[name]) for name in names(group, "weight_names")]


def read_legacy(path: Path) -> tuple[str, bytes | None, list[Entry]]:
    with h5py.File(path, "r") as file:
        weights = file.get("model_weights", file)
        config = file.attrs.get("model_config")
        groups = [weights[name] for name in names(weights, "layer_names")]
        groups += [group for group in (weights.get("top_level_model_weights"), file.get("optimizer_weights")) if group]
        tensors = [entry for group in groups for entry in read_named(group)]
        layout = "legacy-weights-h5" if weights.name == "/" else "legacy-h5"
    return layout, config.encode() if isinstance(config, str) else config, tensors


def describe(path: Path, keras: str) -> Entry:
    """The entry of one file or one directory layout."""
    config: bytes | None = None
    tensors: list[Entry] = []
    assets: dict[str, str] = {}
    if path.suffix == ".dir":
        layout, config = "keras-dir", (path / "config.json").read_bytes()
        tensors = read_store((path / "model.weights.h5").read_bytes())
        files = sorted(item for item in (path / "assets").rglob("*") if item.is_file())
        assets = {item.relative_to(path / "assets").as_posix(): sha256(item.read_bytes()) for item in files}
    elif path.suffix == ".savedmodel":
        layout = "saved-model"
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            config = archive.read("config.json")
            layout = "keras-zip" if "model.weights.h5" in members else "npz"
            if layout == "keras-zip":
                tensors = read_store(archive.read("model.weights.h5"))
            inner = [member for member in members if member.startswith("assets/") and not member.endswith("/")]
            assets = {member.removeprefix("assets/"): sha256(archive.read(member)) for member in inner}
    elif path.name.endswith(".weights.json"):
        layout, tensors = "weights-sharded", read_shards(path)
    elif path.suffix == ".json":
        layout, config = "config-json", path.read_bytes()
    elif path.name.endswith(".weights.h5"):
        layout, tensors = "weights-h5", read_store(path.read_bytes())
    else:
        layout, config, tensors = read_legacy(path)
    entry: Entry = {"layout": layout, "keras_version": keras}
    return {**entry, "config_sha256": config and sha256(config), "assets": assets, "tensors": tensors}


def render(value: object, depth: int = 0) -> str:
    """JSON with one line for each tensor and each other leaf of the tree."""
    if depth == 4 or not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    if isinstance(value, list):
        inner, ends = [render(item, 4) for item in value], "[]"
    else:
        inner, ends = [f"{json.dumps(key)}: {render(item, depth + 1)}" for key, item in value.items()], "{}"
    pad = "\n" + " " * depth
    return ends[0] + pad + " " + (f",{pad} ").join(inner) + pad + ends[1] + "\n" * (depth == 0)


def main() -> None:
    golden = Path(sys.argv[1])
    target = golden / "manifest.json"
    known = json.loads(target.read_text("utf-8"))["keras"] if target.exists() else {}
    for about in sys.argv[2:]:
        known.update(json.loads(Path(about).read_text("utf-8")))
    files = {}
    for name in sorted(name for name in known if (golden / name).is_dir()):
        for path in sorted((golden / name).iterdir()):
            if ".sharded_" not in path.name:
                files[f"{name}/{path.name}"] = describe(path, known[name]["keras"])
    manifest = {"keras": dict(sorted(known.items())), "files": files}
    target.write_text(render(manifest), "utf-8")


if __name__ == "__main__":
    main()
