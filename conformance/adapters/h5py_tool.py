"""Plain h5py, zipfile and json, as scripts use them: open, walk over `items()`, take `[()]` and `attrs`.

Reads the config as JSON and every array; writes arrays and members.  Knows nothing of Keras: no order of weights, no bfloat16,
no limits, nothing that is refused but what the three libraries refuse.  With `--told-dtypes` it takes the dtype of opaque
elements from the attribute `dtype`: for a second opinion on what another tool wrote.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from common import Answer, Question, Unsupported, is_json, main, sha256, shown

TOLD = "--told-dtypes"


def read(path: Path) -> Answer:
    if path.is_dir():
        files = {it.relative_to(path).as_posix(): it.read_bytes() for it in path.rglob("*") if it.is_file()}
        return model(files)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return model({name: archive.read(name) for name in archive.namelist() if not name.endswith("/")})
    if is_json(path):
        found = json.loads(path.read_text("utf-8"))
        return shards(path, found) if "weight_map" in found else answer({}, path.read_bytes())
    with h5py.File(path, "r") as file:
        if "model_config" in file.attrs:
            config = file.attrs["model_config"]
            data = config if isinstance(config, bytes) else config.encode()
            json.loads(data)
            return answer(legacy(file), data)
        return answer(legacy(file) if "layer_names" in file.attrs else dict(arrays(file, "")))


def answer(weights: Answer, config: bytes | None = None) -> Answer:
    return {"result": "read", "weights": weights} | ({"config_sha256": sha256(config)} if config is not None else {})


def model(files: dict[str, bytes]) -> Answer:
    json.loads(files["config.json"])
    with h5py.File(io.BytesIO(files["model.weights.h5"]), "r") as file:
        found = answer(dict(arrays(file, "")), files["config.json"])
    assets = {name.removeprefix("assets/"): sha256(data) for name, data in files.items() if name.startswith("assets/")}
    return found | {"assets": assets}


def shards(path: Path, index: Answer) -> Answer:
    names = {it for value in index["weight_map"].values() for it in ([value] if isinstance(value, str) else value)}
    weights: Answer = {}
    for name in sorted(names):
        with h5py.File(path.parent / name, "r") as file:
            weights |= dict(arrays(file, ""))
    return answer(weights)


def legacy(file: h5py.File) -> Answer:
    root = file.get("model_weights", file)
    groups = [root[name] for name in root.attrs["layer_names"]]
    groups += [root["top_level_model_weights"]] if "top_level_model_weights" in root else []
    groups += [file["optimizer_weights"]] if "optimizer_weights" in file else []
    found = {}
    for group in groups:
        for name in group.attrs["weight_names"]:
            text = name.decode() if isinstance(name, bytes) else name
            found[f"{group.name}/{text}".lstrip("/")] = array(group[name])
    return found


def arrays(group: h5py.Group, path: str) -> Iterator[tuple[str, Answer]]:
    dict(group.attrs)
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            yield path + name, array(item)
        else:
            yield from arrays(item, f"{path}{name}/")


def array(dataset: h5py.Dataset) -> Answer:
    dict(dataset.attrs)
    return shown(dataset[()], str(dataset.attrs.get("dtype", "")) if TOLD in sys.argv else "")


def write(about: Answer, output: Path) -> Answer:
    weights = {path: values(it) for path, it in about["weights"].items()}
    layout = about["layout"]
    if layout == "weights-h5":
        output.write_bytes(store(weights))
    elif layout == "config-json":
        output.write_text(about["config"], "utf-8")
    elif layout in ("keras-zip", "keras-dir"):
        members = {
            "metadata.json": json.dumps(about.get("metadata", {})).encode(),
            "config.json": about["config"].encode(),
            "model.weights.h5": store(weights),
            **{f"assets/{name}": text.encode() for name, text in about.get("assets", {}).items()},
        }
        if layout == "keras-zip":
            with zipfile.ZipFile(output, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        else:
            for name, data in members.items():
                (output / name).parent.mkdir(parents=True, exist_ok=True)
                (output / name).write_bytes(data)
    else:
        raise Unsupported(f"nobody writes {layout} by hand")
    return {"result": "written"}


def values(it: Answer) -> np.ndarray[Any, Any]:
    try:
        dtype = np.dtype(it["dtype"])
    except TypeError:
        raise Unsupported(f"NumPy has no {it['dtype']}") from None
    return np.frombuffer(bytes.fromhex(it["hex"]), dtype).reshape(it["shape"])


def store(weights: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for path, value in weights.items():
            file.create_dataset(path, data=value)
    return out.getvalue()


def handle(question: Question) -> Answer:
    if question.kind in ("read", "reject"):
        return read(question.input)
    if question.kind == "write" and question.output is not None:
        return write(json.loads(question.input.read_text("utf-8")), question.output)
    raise Unsupported(f"the kind {question.kind}")


if __name__ == "__main__":
    main(handle, [word for word in sys.argv[1:] if word != TOLD])
