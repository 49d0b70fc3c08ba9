"""What the tests of configs share: those of the golden files, and models written by hand."""

from __future__ import annotations

from typing import Any

from cli_helpers import FILES, GOLDEN

import refser

CONFIGS = sorted(
    name for name, entry in FILES.items() if entry["config_sha256"] and entry["layout"] not in ("npz", "saved-model")
)


def golden_text(name: str) -> str:
    with refser.open(GOLDEN / name) as file:
        assert file.config_json is not None
        return file.config_json


def layer(name: Any, calls: list[Any], class_name: str = "Dense", **more: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {}, "name": name, "inbound_nodes": calls} | more


def tensor(*history: Any) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": list(history)}}


def new_call(*histories: Any) -> dict[str, Any]:
    return {"args": [[tensor(*history) for history in histories]], "kwargs": {}}


def model(layers: list[Any], inputs: Any, outputs: Any, **more: Any) -> dict[str, Any]:
    inner = {"name": "m", "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": inner} | more
