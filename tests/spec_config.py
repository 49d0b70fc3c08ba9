"""What runs the examples of spec/config-objects.md, and shows a graph the way that they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spec_examples import REFUSED, Run, outcome

from refser import config
from refser.config.policy import read_policy


def tensor_shown(graph: config.Graph, tensor: config.Tensor) -> str:
    return f"{graph.layers[tensor.layer].name}[{tensor.call}].{tensor.output}"


def port_shown(port: config.Port) -> str:
    return "".join([str("" if port.argument is None else port.argument), *(f"[{key}]" for key in port.path)])


def graph_shown(graph: config.Graph) -> dict[str, Any]:
    def call(node: config.Call) -> str:
        return f"{graph.layers[node.layer].name}[{graph.nodes.index(node) - graph.layers[node.layer].calls[0]}]"

    def ports(found: Any) -> dict[str, str]:
        return {port_shown(port): tensor_shown(graph, port.tensor) for port in found}

    return {
        "calls": {call(node): ports(node.inputs) for node in graph.nodes},
        "inputs": ports(graph.inputs),
        "outputs": ports(graph.outputs),
        "order": [call(graph.nodes[position]) for position in graph.order],
        "models": [layer.name for layer in graph.models],
        "shared": [layer.name for layer in graph.shared],
        "operations": [layer.name for layer in graph.operations],
    }


def run_object(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    text = example["object"] if isinstance(example["object"], str) else json.dumps(example["object"])

    def read() -> dict[str, Any]:
        read = config.parse(text)
        assert read.emit() == text
        found: dict[str, Any] = {"nodes": {node.at: node.kind for node in read.walk()}}
        if "training" in example:
            found["training"] = config.training_of(read.json)._asdict()
            return found
        root = read.root
        if "graph" in example:
            found["graph"] = graph_shown(config.graph(root))
        if "input_shape" in example:
            assert isinstance(root, config.KerasObject)
            found["input_shape"] = config.input_shape_of(root)
        return found

    found = outcome(example, read)
    if found is not None:
        for key in ("graph", "training"):
            if key in example:
                assert {name: found[key][name] for name in example[key]} == example[key]
        assert all(list(found[key].items()) == list(example[key].items()) for key in ("nodes",) if key in example)
        assert found.get("input_shape") == example.get("input_shape")


def run_replace(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    text = example["object"] if isinstance(example["object"], str) else json.dumps(example["object"])
    changed = outcome(example, lambda: config.parse(text).replace(example["path"], example["with"]))
    assert changed is None or changed.emit() == example["emit"]


def run_policy(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    found = outcome(example, lambda: read_policy(example["policy"], "config.dtype"))
    assert found is None or example["is"].items() <= found._asdict().items()


CONFIG_RUNNERS: dict[tuple[str, str], Run] = {
    ("object", f"nodes graph training input_shape {REFUSED}"): run_object,
    ("object path with", f"emit {REFUSED}"): run_replace,
    ("policy", f"is {REFUSED}"): run_policy,
}
