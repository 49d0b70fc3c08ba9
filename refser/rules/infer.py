"""Shapes over the graph of a model, from its inputs on: what each layer is built for where the config does not say it.

Spec: spec/weight-trees.md (WT-021).  Keras 3 and tf.keras 2.13 write a `build_config` for each layer; before, nothing tells but
the graph.  Not here: what a class makes of its input (the tables).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from refser.config import Call, Graph, KerasObject, KerasTensor, Tensor, graph, input_shape_of, is_model, walk
from refser.config.models import INPUT_SHAPES, is_operation
from refser.rules.layer import MODELS, Layer, Shape, Unbuilt, Unknown, read_shape
from refser.rules.operations import shape_of_operation
from refser.rules.table import rule_for

_BY_ARGUMENT = {"MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"}  # built for the shape of each argument
# A model inside may be called twice, and the one inside that: so many layers are looked at for them, and no more.
_MOST_LAYERS, _OF_MODEL = 1 << 16, 8  # what a model costs beside its layers

Shapes = list["Shape | None"]


class Trace(NamedTuple):
    """The calls of a model, and the shapes of what each gives; nothing where they cannot be told."""

    graph: Graph
    layers: list[Layer | None]  # by position in `graph.layers`; None: an operation
    outputs: list[Shapes]  # by position in `graph.nodes`

    @property
    def results(self) -> Shapes:
        return [_taken(self.outputs[_position(self.graph, port.tensor)], port.tensor.output) for port in self.graph.outputs]


def infer(model: Layer, members: Sequence[Layer]) -> None:
    """Give `build` to each layer of `members`, those of `model`, that has none, and set the shapes of their calls.

    What comes after a class that refser does not know stays unknown, unless the config says it.
    """
    with tracing() as tracer:
        tracer.trace(model, members, build=True)


def trace(model: Layer, members: Sequence[Layer]) -> Trace | None:
    """The shapes of all calls of a model, whether the config says what its layers are built for or not; None: no model."""
    with tracing() as tracer:
        return tracer.trace(model, members)


def output_of_model(model: Layer, members: Sequence[Layer], shapes: Sequence[Shape]) -> list[Shape]:
    """What a model gives for inputs of these shapes.  Raises `Unknown`."""
    with tracing() as tracer:
        found = tracer.results(model, members, list(shapes))
    known = [shape for shape in found if shape is not None]
    if not known or len(known) < len(found):
        raise Unknown(f"the output of the model {model.name}")
    return known


class _Tracer:
    def __init__(self) -> None:
        self.left = _MOST_LAYERS
        self.known: dict[tuple[int, tuple[Shape | None, ...] | None], tuple[Any, Shapes]] = {}  # with the JSON that `id` is of

    def trace(
        self, model: Layer, members: Sequence[Layer], *, given: Shapes | None = None, build: bool = False
    ) -> Trace | None:
        """`given`: the shapes of the inputs of this call of the model, for those of its InputLayers."""
        found = KerasObject(model.json, model.at)
        if not is_model(found):
            return None
        calls = graph(found)
        layers: list[Layer | None] = []
        rest = iter(members)
        for entry in calls.layers:
            layers.append(None if is_operation(entry.object) else next(rest))
        starts = {} if given is None else {_position(calls, p.tensor): shape for p, shape in zip(calls.inputs, given)}
        outputs: list[Shapes] = [[] for _ in calls.nodes]
        said: Mapping[tuple[str | None, int, int], Shape] | None = None
        for position in calls.order:
            call = calls.nodes[position]
            layer = layers[call.layer]
            inputs = _inputs(calls, call, outputs)
            if layer is None:
                shape = _of_operation(calls, call, [shape for _, shape in inputs])
                outputs[position] = [] if shape is None else [shape]
            else:
                if not call.inputs:
                    first = given[0] if given and not calls.inputs else _first_shape(model, found, layer)
                    inputs = [(0, starts.get(position) or first)]
                if build and layer.build is None and call.number == 0 and inputs and None not in [shape for _, shape in inputs]:
                    layer.build = _build(layer, inputs)
                outputs[position] = self.output_shapes(layer, call, [shape for _, shape in inputs])
            if not outputs[position] or None in outputs[position]:
                said = _said(calls) if said is None else said
                outputs[position] = _with_said(outputs[position], said, calls.layers[call.layer].name, call.number)
        return Trace(calls, layers, outputs)

    def output_shapes(self, layer: Layer, call: Call, inputs: Shapes) -> Shapes:
        """The shapes of the outputs of one call; nothing where they cannot be told."""
        if layer.key == "InputLayer":
            return list(inputs)
        rule = rule_for(layer.key)
        if rule is None:
            return []
        try:
            if rule.children and layer.key in MODELS:
                list(rule.children(layer))  # which reads the layers inside, and may infer their shapes
                return self._of_model(layer, call, inputs)
            known = [shape for shape in inputs if shape is not None]
            if rule.output is None or len(known) < len(inputs) or not known:
                return []
            found = rule.output(layer, known)
        except (Unknown, Unbuilt):
            return []
        return list(found) if isinstance(found, list) else [found]

    def _of_model(self, layer: Layer, call: Call, inputs: Shapes) -> Shapes:
        """Of a model in this one: for the shapes of this call, else for those that the model has of itself."""
        by_name = any(isinstance(key, str) for port in call.inputs for key in port.path)
        return self.results(layer, layer.members or [], None if by_name or None in inputs or not inputs else inputs)

    def results(self, model: Layer, members: Sequence[Layer], given: Shapes | None) -> Shapes:
        key = (id(model.json), None if given is None else tuple(given))
        if key not in self.known:
            self.left -= _OF_MODEL + len(members)
            if self.left < 0:
                return []
            if given is not None and len(given) != _input_count(model):
                given = None
            found = self.trace(model, members, given=given)
            self.known[key] = model.json, found.results if found is not None else []
        return self.known[key][1]


_CURRENT: ContextVar[_Tracer | None] = ContextVar("_CURRENT", default=None)


@contextmanager
def tracing() -> Iterator[_Tracer]:
    """The tracer at work, which a rule may be called by that asks for another model: what is known is not found anew."""
    if (current := _CURRENT.get()) is not None:
        yield current
        return
    made = _Tracer()
    token = _CURRENT.set(made)
    try:
        yield made
    finally:
        _CURRENT.reset(token)


def _of_operation(calls: Graph, call: Call, inputs: Shapes) -> Shape | None:
    known = [shape for shape in inputs if shape is not None]
    found = calls.layers[call.layer].object
    return shape_of_operation(found, call.number, known) if len(known) == len(inputs) else None


def _input_count(layer: Layer) -> int:
    """How many tensors go into a model; a Sequential without an InputLayer takes one."""
    return len(graph(KerasObject(layer.json, layer.at)).inputs) or 1


def _position(calls: Graph, tensor: Tensor) -> int:
    return calls.layers[tensor.layer].calls[tensor.call]


def _inputs(calls: Graph, call: Call, outputs: list[Shapes]) -> list[tuple[Any, Shape | None]]:
    return [(port.argument, _taken(outputs[_position(calls, port.tensor)], port.tensor.output)) for port in call.inputs]


def _taken(shapes: Shapes, number: int) -> Shape | None:
    return shapes[number] if number < len(shapes) else None


def _said(calls: Graph) -> Mapping[tuple[str | None, int, int], Shape]:
    """The shapes that Keras 3 writes beside each tensor that goes into a call: by layer, call and output."""
    found: dict[tuple[str | None, int, int], Shape] = {}
    for tensor in _tensors(calls):
        if tensor.history is not None and tensor.shape is not None:
            shape = read_shape(tensor.shape, f"{tensor.at}.config.shape")
            if isinstance(shape, tuple):
                found[tensor.history[0], tensor.history[1], tensor.history[2]] = shape
    return found


def _tensors(calls: Graph) -> Iterator[KerasTensor]:
    for layer in calls.layers:
        nodes = layer.object.json.get("inbound_nodes")
        if isinstance(nodes, list) and any(isinstance(node, Mapping) and "args" in node for node in nodes):
            yield from (node for node in walk(nodes, f"{layer.at}.inbound_nodes") if isinstance(node, KerasTensor))


def _with_said(shapes: Shapes, said: Mapping[tuple[str | None, int, int], Shape], name: str | None, call: int) -> Shapes:
    """`shapes`, where they are not known as the config says."""
    found = list(shapes)
    while (shape := said.get((name, call, len(found)))) is not None:
        found.append(shape)
    return [said.get((name, call, number)) if shape is None else shape for number, shape in enumerate(found)]


def _first_shape(model: Layer, found: KerasObject, layer: Layer) -> Shape | None:
    """What goes into a layer that no tensor of the model goes into."""
    for key in INPUT_SHAPES:
        if layer.config.get(key) is not None:
            shape = read_shape(layer.config[key], layer.at_argument(key))
            return shape if isinstance(shape, tuple) else None
    given = next(iter(model.build.values()), None) if model.build else None
    if given is None:
        given = read_shape(input_shape_of(found), f"{model.at}.config.build_input_shape")
    return given if isinstance(given, tuple) else None


def _build(layer: Layer, inputs: Sequence[tuple[Any, Shape | None]]) -> Mapping[str, Any]:
    """The arguments with which Keras calls `build`."""
    if layer.key in _BY_ARGUMENT:
        names = ("query", "value", "key")
        return {f"{names[name] if isinstance(name, int) and name < 3 else name}_shape": shape for name, shape in inputs}
    first = [shape for argument, shape in inputs if argument == inputs[0][0]]
    return {"input_shape": first[0] if len(first) == 1 else first}
