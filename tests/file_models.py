"""One small model for each layout, and what the tests of writing ask of a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refser.limits import GIB
from refser.values import Model, Weight

PATH = "layers/dense/vars/0"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


OLD, NEW = ({f"layers/d{i}/vars/0": np.full((3, 3), i + add, "<f4") for i in range(count)} for add, count in ((0, 3), (10, 2)))


def config(count: int) -> str:
    return json.dumps({"class_name": "Functional", "config": {"layers": count}})


def v3(arrays: dict[str, Any]) -> Model:
    weights = {path: Weight.from_array(path, array) for path, array in arrays.items()}
    return Model(
        config_json=config(len(weights)), metadata={"a": "b"}, weights=weights, assets={"a/b.txt": b"x" * len(weights)}
    )


def legacy(arrays: dict[str, Any]) -> Model:
    weights = {f"model_weights/{path}": Weight.from_array(f"model_weights/{path}", array) for path, array in arrays.items()}
    return Model(generation="legacy", config_json=config(len(weights)), weights=weights)


def only_weights(model: Model) -> Model:
    return Model(generation=model.generation, weights=model.weights, groups=model.groups)


LAYOUTS: dict[str, Callable[[dict[str, Any]], Model]] = {
    "m.keras": v3,
    "m": v3,
    "m.weights.h5": lambda arrays: only_weights(v3(arrays)),
    "m.weights.json": lambda arrays: only_weights(v3(arrays)),
    "m.json": lambda arrays: Model(config_json=v3(arrays).config_json),
    "m.h5": legacy,
    "w.h5": lambda arrays: Model(generation="legacy", weights={p: Weight.from_array(p, a) for p, a in arrays.items()}),
}


def options(name: str) -> dict[str, Any]:
    return {"max_shard_size": 40 / GIB} if name == "m.weights.json" else {}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(found: Model, want: Model) -> bool:
    return (found.weights, found.config_json, found.assets) == (want.weights, want.config_json, want.assets)


@pytest.fixture(autouse=True)
def _no_open_files_are_left() -> Iterator[None]:
    """Each test gives its file descriptors back."""
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir())) if folder.exists() else 0
    yield
    after = len(list(folder.iterdir())) if folder.exists() else 0
    assert after <= before + 2
