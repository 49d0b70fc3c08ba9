"""pyfive, HDF5 in pure Python: the arrays of weights files and legacy files, by walking over `items()`.

Not here: archives, directories and configs, which pyfive has nothing to do with.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyfive
from common import Answer, Question, Unsupported, is_json, main, shown


def read(path: Path) -> Answer:
    if path.is_dir() or path.suffix == ".keras" or path.read_bytes()[:2] == b"PK":
        raise Unsupported("archives and directories")
    if is_json(path):
        index = json.loads(path.read_text("utf-8"))
        if "weight_map" not in index:
            raise Unsupported("a file without HDF5")
        return shards(path, index["weight_map"])
    file = opened(path.read_bytes())
    if "model_config" in file.attrs or "layer_names" in file.attrs:
        return answer(legacy(file))
    return answer(arrays(file, ""))


def answer(found: Iterator[tuple[str, Answer]]) -> Answer:
    return {"result": "read", "weights": dict(found)}


def opened(data: bytes) -> Any:
    return pyfive.File(io.BytesIO(data))


def shards(path: Path, weight_map: Answer) -> Answer:
    names = {it for value in weight_map.values() for it in ([value] if isinstance(value, str) else value)}
    weights: Answer = {}
    for name in sorted(names):
        weights |= dict(arrays(opened((path.parent / name).read_bytes()), ""))
    return {"result": "read", "weights": weights}


def legacy(file: Any) -> Iterator[tuple[str, Answer]]:
    root = file.get("model_weights", file)
    groups = [root[text(name)] for name in root.attrs["layer_names"]]
    groups += [root["top_level_model_weights"]] if "top_level_model_weights" in root else []
    groups += [file["optimizer_weights"]] if "optimizer_weights" in file else []
    for group in groups:
        for name in group.attrs["weight_names"]:
            yield f"{group.name}/{text(name)}".lstrip("/"), array(group[text(name)])


def arrays(group: Any, path: str) -> Iterator[tuple[str, Answer]]:
    dict(group.attrs)
    for name, item in group.items():
        if isinstance(item, pyfive.Dataset):
            yield path + name, array(item)
        else:
            yield from arrays(item, f"{path}{name}/")


def text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def array(dataset: Any) -> Answer:
    dict(dataset.attrs)
    return shown(dataset[()])


def handle(question: Question) -> Answer:
    if question.kind in ("read", "reject"):
        return read(question.input)
    raise Unsupported(f"the kind {question.kind}")


if __name__ == "__main__":
    main(handle, sys.argv[1:])
