"""Configs that real Keras writes: what stands in them, and the graph that Keras itself keeps.  NumPy backend."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from builders import examples
from hypothesis import event, given
from hypothesis import strategies as st

from refser import config
from refser.config.objects import KerasObject

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


def test_everything_that_keras_can_serialize_is_told() -> None:
    """CF-010 to CF-014, CF-016."""
    import keras
    import numpy as np

    values = {
        "object": keras.initializers.Zeros(),
        "function": keras.activations.relu,
        "class": int,
        "array": np.ones((2, 1), "float16"),
        "tensor": keras.ops.convert_to_tensor([1, 2]),
        "bytes": b"ab",
        "slice": slice(0, None, 2),
        "ellipsis": ...,
        "tuple": (1, (2, "x")),
        "lambda": lambda x: x,
        "keras tensor": keras.Input((3,), name="a"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = {name: keras.saving.serialize_keras_object(value) for name, value in values.items()}
    found = {node.at: node for node in config.parse(json.dumps(written)).walk()}
    assert {at: node.kind for at, node in found.items()} == {
        "object": "object",
        "function": "function",
        "class": "function",
        "array": "array",
        "tensor": "array",
        "bytes": "bytes",
        "slice": "slice",
        "ellipsis": "ellipsis",
        "lambda": "lambda",
        "keras tensor": "tensor",
    }
    assert getattr(found["keras tensor"], "history", None) == ["a", 0, 0]
    for refused in ({1}, frozenset([1]), 1j):
        with pytest.raises(TypeError):
            keras.saving.serialize_keras_object(refused)


def test_lambda_layers_and_shared_objects() -> None:
    """CF-014, CF-010."""
    import keras

    shared = keras.initializers.GlorotUniform(seed=1)
    layers = [keras.layers.Dense(2, kernel_initializer=shared) for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2), *layers])
    with keras.src.saving.serialization_lib.ObjectSharingScope():
        written = keras.saving.serialize_keras_object(model)
    found = list(config.parse(json.dumps(written)).walk())
    assert [node.at for node in found if node.kind == "lambda"] == ["config.layers[1].config.function"]
    ids = [node.shared_object_id for node in found if isinstance(node, KerasObject) and node.class_name == "GlorotUniform"]
    assert ids[0] is None  # Keras copies the config before it finds that the object comes again
    assert isinstance(ids[1], int)


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    kinds = [
        "dense",
        "shared",
        "nested",
        "sequential",
        "add",
        "concatenate",
        "operation",
        "split",
        "attention",
        "custom",
        "slice",
    ]
    steps = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=10))
    return [(kind, [draw(st.integers(0, 99)) for _ in range(3)]) for kind in steps]


def build(plan: list[tuple[str, list[int]]], outputs: int, as_dict: bool) -> Any:
    import keras
    from keras import layers, ops

    start = keras.Input((4,), name="start")
    inside = keras.Input((4,), name="inside")
    nested = keras.Model(inside, [layers.Dense(4, name="d")(inside), inside * 2], name="nested")
    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(4)], name="sequential")
    shared = layers.Dense(4, name="shared")

    @keras.saving.register_keras_serializable("refser")
    class Hidden(keras.Model):
        def __init__(self, **more: Any) -> None:
            end = keras.Input((4,))
            super().__init__(inputs=end, outputs=layers.Dense(4)(end), **more)

        def get_config(self) -> dict[str, Any]:
            return {"name": self.name}

    hidden, tensors = Hidden(name="hidden"), [start]
    for kind, picks in plan:
        a, b, c = (tensors[pick % len(tensors)] for pick in picks)
        if kind == "dense":
            tensors.append(layers.Dense(4)(a))
        elif kind == "shared":
            tensors.append(shared(a))
        elif kind == "nested":
            tensors.extend(nested(a))
        elif kind == "sequential":
            tensors.append(sequential(a))
        elif kind == "custom":
            tensors.append(hidden(a))
        elif kind == "add":
            tensors.append(layers.Add()([a, b, c]))
        elif kind == "concatenate":
            tensors.append(ops.concatenate([a, b], axis=-1)[:, 2:6])
        elif kind == "operation":
            tensors.append(ops.where(a > 0, b, c + 1))
        elif kind == "split":
            tensors.extend(layers.Dense(4)(part) for part in ops.split(a, 2, axis=-1))
        elif kind == "attention":
            query, value = layers.Reshape((1, 4))(a), layers.Reshape((1, 4))(b)
            tensors.append(layers.Reshape((4,))(layers.MultiHeadAttention(1, 2)(query, value=value)))
        else:
            tensors.append(a[..., ::-1])
    ends = tensors[-outputs:]
    return keras.Model({"start": start} if as_dict else start, {"x": ends[0], "y": ends[1:]} if as_dict and ends[1:] else ends)


def kept_by_keras(model: Any) -> tuple[dict[str, list[str]], list[str]]:
    """Every call of the model's graph with the tensors that go in, and the outputs, from Keras's own nodes."""
    from keras.src.ops.function import make_node_key

    numbers = {}
    for operation in model.operations:
        kept = [n for n, _ in enumerate(operation._inbound_nodes) if make_node_key(operation, n) in model._nodes]
        numbers.update({(operation.name, n): number for number, n in enumerate(kept)})

    def shown(tensor: Any) -> str:
        operation, call, output = tensor._keras_history
        return f"{operation.name}[{numbers[operation.name, call]}].{output}"

    calls = {
        f"{operation.name}[{numbers[operation.name, n]}]": sorted(map(shown, node.input_tensors))
        for operation in model.operations
        for n, node in enumerate(operation._inbound_nodes)
        if (operation.name, n) in numbers
    }
    return calls, list(map(shown, model.outputs))


@examples(ci=60, deep=3000)
@given(plan=plans(), outputs=st.integers(1, 3), as_dict=st.booleans())
def test_the_graph_of_a_live_model_is_the_one_that_keras_keeps(plan: Any, outputs: int, as_dict: bool) -> None:
    """CF-032, CF-033, CF-035, CF-037, CF-040, CF-043."""
    model = build(plan, outputs, as_dict)
    graph = config.graph(config.parse(model.to_json()).root)

    def shown(tensor: config.Tensor) -> str:
        return f"{graph.layers[tensor.layer].name}[{tensor.call}].{tensor.output}"

    found = {}
    for node in graph.nodes:
        layer = graph.layers[node.layer]
        found[f"{layer.name}[{graph.nodes.index(node) - layer.calls[0]}]"] = sorted(shown(port.tensor) for port in node.inputs)
    calls, ends = kept_by_keras(model)
    assert found == calls
    assert len(graph.outputs) == len(ends)
    for port, end in zip(graph.outputs, ends):
        assert shown(port.tensor) == end or graph.layers[port.tensor.layer].name in graph.doubtful
    assert graph.doubtful <= {"hidden"}
    assert {layer.name for layer in graph.operations} == {op.name for op in model.operations if not hasattr(op, "weights")}
    event(f"{len(graph.shared)} layers called twice")
    event("in doubt" if graph.doubtful else "sure")
