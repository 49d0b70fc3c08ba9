"""Shapes over the graph of a model, from its inputs on: what each layer is built for where the config does not say it.

Spec: spec/weight-trees.md (WT-021).  Keras 3 and tf.keras 2.13 write a `build_config` for each layer; before, nothing tells but
the graph.  Not here: what a class makes of its input (the tables).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from refser.config import Call, Graph, KerasObject, KerasTensor, Tensor, graph, input_shape_of, is_model, walk
from refser.config.models import INPUT_SHAPES, is_operation
from refser.errors import InvalidError
from refser.rules.layer import MODELS, RANK_MAX, Layer, Shape, Unbuilt, Unknown, read_shape
from refser.rules.operations import shape_of_operation
from refser.rules.table import rule_for

_BY_ARGUMENT = {"MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"}  # built for the shape of each argument
# A model inside may be called twice, and the one inside that: so many layers are looked at for them, and no more.
_MOST_LAYERS, _OF_MODEL = 1 << 16, 8  # what a model costs beside its layers
# So much is spent on layers that are called again: what their arguments hold has to be read anew.
_MOST_WORK, _OF_LAYER = 1 << 20, 16
# Of other tensors, masks, these do not take the shapes.
_FIRST_ALONE = frozenset(
    (
        *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
        *("AdditiveAttention", "Attention"),
    )
)

Shapes = list["Shape | None"]
Inputs = list["tuple[Any, Shape | None]"]  # by argument


class Judge(Protocol):
    """Who hears of all that does not fit; what does not is unknown then, and the rest goes on."""

    def graph(self, model: KerasObject) -> Graph:
        """That of a model, as far as it has one."""

    def layers(self, model: KerasObject, calls: Graph) -> list[Layer | None]:
        """Those of the graph, in its order."""

    def call(self, model: Layer, calls: Graph, call: Call, layer: Layer | None, inputs: Inputs, trace: Trace) -> bool:
        """Whether the layer can be called so."""

    def model(self, model: Layer, given: Shapes, own: Trace) -> bool:
        """Whether a model can be called for other shapes than its own."""

    def refused(self, layer: Layer, call: Call, inputs: Inputs, error: InvalidError) -> None:
        """What came of a rule."""


class Trace(NamedTuple):
    """The calls of a model, and the shapes of what each gives; nothing where they cannot be told."""

    graph: Graph
    layers: list[Layer | None]  # by position in `graph.layers`; None: an operation
    outputs: list[Shapes]  # by position in `graph.nodes`

    @property
    def starts(self) -> Shapes:
        return [_taken(self.outputs[_position(self.graph, port.tensor)], port.tensor.output) for port in self.graph.inputs]

    @property
    def results(self) -> Shapes:
        return [_taken(self.outputs[_position(self.graph, port.tensor)], port.tensor.output) for port in self.graph.outputs]


def infer(model: Layer, members: Sequence[Layer]) -> None:
    """Give `build` to each layer of `members`, those of `model`, that has none, and set the shapes of their calls.

    What comes after a class that refser does not know stays unknown, unless the config says it.
    """
    with tracing() as tracer:
        if tracer.judge is None:  # a judge has layers of its own
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
    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge
        self.left = _MOST_LAYERS
        self.work = _MOST_WORK
        self._costs: dict[int, tuple[Any, int]] = {}  # with the JSON that `id` is of
        self.own: dict[int, Trace] = {}  # of models as they stand, which a judge looks at once
        self.known: dict[tuple[int, tuple[Shape | None, ...] | None], tuple[Any, Shapes]] = {}  # with the JSON that `id` is of

    def trace(
        self, model: Layer, members: Sequence[Layer], *, given: Shapes | None = None, build: bool = False
    ) -> Trace | None:
        """`given`: the shapes of the inputs of this call of the model, for those of its InputLayers."""
        found = KerasObject(model.json, model.at)
        if not is_model(found):
            return None
        judge = self.judge
        if judge is None:
            calls, layers = graph(found), list[Layer | None]()
            rest = iter(members)
            for entry in calls.layers:
                layers.append(None if is_operation(entry.object) else next(rest))
        else:
            calls = judge.graph(found)
            layers = judge.layers(found, calls)
        starts = {} if given is None else {_position(calls, p.tensor): shape for p, shape in zip(calls.inputs, given)}
        outputs: list[Shapes] = [[] for _ in calls.nodes]
        traced = Trace(calls, layers, outputs)
        looks = judge is not None and (given is None or not calls.inputs)  # Keras does not look at the layers a second time
        said: Mapping[tuple[str | None, int, int], Shape] | None = None
        for position in calls.order:
            call = calls.nodes[position]
            layer = layers[call.layer]
            inputs = _inputs(calls, call, outputs)
            if layer is not None and not call.inputs:
                inputs = [(0, starts.get(position) or self._first(model, found, layer, given, calls, call))]
            if judge is not None and (
                position in calls.broken or (looks and not judge.call(model, calls, call, layer, inputs, traced))
            ):
                continue
            if layer is None:
                shape = _of_operation(calls, call, [shape for _, shape in inputs])
                outputs[position] = [] if shape is None else [shape]
            else:
                if build and layer.build is None and call.number == 0 and inputs and None not in [shape for _, shape in inputs]:
                    layer.build = build_for(layer, inputs)
                outputs[position] = self.output_shapes(layer, call, inputs)
            if judge is None and (not outputs[position] or None in outputs[position]):
                said = _said(calls) if said is None else said
                outputs[position] = _with_said(outputs[position], said, calls.layers[call.layer].name, call.number)
        return traced

    def _first(
        self, model: Layer, found: KerasObject, layer: Layer, given: Shapes | None, calls: Graph, call: Call
    ) -> Shape | None:
        if given and not calls.inputs:
            return given[0]
        try:
            return _first_shape(model, found, layer, built_last=self.judge is not None)
        except InvalidError as error:
            if self.judge is None:
                raise
            self.judge.refused(layer, call, [], error)
            return None

    def output_shapes(self, layer: Layer, call: Call, inputs: Inputs) -> Shapes:
        """The shapes of the outputs of one call; nothing where they cannot be told."""
        shapes = [shape for argument, shape in inputs if layer.key not in _FIRST_ALONE or argument == inputs[0][0]]
        if layer.key == "InputLayer":
            return shapes
        rule = rule_for(layer.key)
        if rule is None or not self._is_affordable(layer):
            return []
        try:
            if rule.children and layer.key in MODELS:
                if self.judge is None:
                    list(rule.children(layer))  # which reads the layers inside, and may infer their shapes
                return self._of_model(layer, call, shapes)
            known = [shape for shape in shapes if shape is not None]
            if rule.output is None or len(known) < len(shapes) or not known:
                return []
            found = rule.output(layer, known)
        except (Unknown, Unbuilt):
            return []
        except InvalidError as error:
            if self.judge is None:
                raise
            self.judge.refused(layer, call, inputs, error)
            return []
        results = list(found) if isinstance(found, list) else [found]
        return results if all(len(shape) <= RANK_MAX for shape in results) else []

    def _is_affordable(self, layer: Layer) -> bool:
        """The first time always: the file is as long as that."""
        key = id(layer.json)
        if key not in self._costs:
            self._costs[key] = layer.json, _cost(layer)
            return True
        self.work -= self._costs[key][1]
        return self.work >= 0

    def _of_model(self, layer: Layer, call: Call, inputs: Shapes) -> Shapes:
        """Of a model in this one: for the shapes of this call, else for those that the model has of itself."""
        by_name = any(isinstance(key, str) for port in call.inputs for key in port.path)
        return self.results(layer, layer.members or [], None if by_name or None in inputs or not inputs else inputs)

    def results(self, model: Layer, members: Sequence[Layer], given: Shapes | None) -> Shapes:
        if self.judge is not None:
            return self._judged(model, given)
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

    def of_itself(self, model: Layer) -> Trace | None:
        """The trace of a model as it stands."""
        if (key := id(model.json)) not in self.own:
            found = self.trace(model, ())
            if found is None:
                return None
            self.own[key] = found
        return self.own[key]

    def _judged(self, model: Layer, given: Shapes | None) -> Shapes:
        """As Keras has it: a model called for its own shapes is not gone through again."""
        own = self.of_itself(model)
        if own is None:
            return []
        starts = own.starts
        if given is None or given == starts or (not starts and not own.graph.layers):
            return own.results
        if starts and (len(given) != len(starts) or self.judge is None or not self.judge.model(model, given, own)):
            return []
        key = (id(model.json), tuple(given))
        if key not in self.known:
            self.left -= _OF_MODEL + len(own.layers)
            if self.left < 0:
                return []
            found = self.trace(model, (), given=given)
            self.known[key] = model.json, found.results if found is not None else []
        return self.known[key][1]


def _cost(layer: Layer) -> int:
    """How much is in the arguments of a layer and of those that it wraps."""
    cost, config = 0, layer.config
    while True:
        for value in config.values():
            if isinstance(value, list):
                cost += len(value) * (_OF_LAYER if value and isinstance(value[0], Mapping) else 1)
        cost += _OF_LAYER
        inner = config.get("layer", config.get("cell"))
        below = inner.get("config") if isinstance(inner, Mapping) else None
        if not isinstance(below, Mapping):
            return cost
        config = below


_CURRENT: ContextVar[_Tracer | None] = ContextVar("_CURRENT", default=None)


@contextmanager
def tracing(judge: Judge | None = None) -> Iterator[_Tracer]:
    """The tracer at work, which a rule may be called by that asks for another model: what is known is not found anew."""
    if (current := _CURRENT.get()) is not None and judge is None:
        yield current
        return
    made = _Tracer(judge)
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


def _inputs(calls: Graph, call: Call, outputs: list[Shapes]) -> Inputs:
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


def _first_shape(model: Layer, found: KerasObject, layer: Layer, *, built_last: bool) -> Shape | None:
    """What goes into a layer that no tensor of the model goes into."""
    for key in INPUT_SHAPES:
        if layer.config.get(key) is not None:
            shape = read_shape(layer.config[key], layer.at_argument(key))
            return shape if isinstance(shape, tuple) else None
    built = next(iter(model.build.values()), None) if model.build else None
    given = None if built_last else built
    if given is None:
        given = read_shape(input_shape_of(found), f"{model.at}.config.build_input_shape")
    if given is None:
        given = built
    return given if isinstance(given, tuple) else None


def build_for(layer: Layer, inputs: Sequence[tuple[Any, Shape | None]]) -> Mapping[str, Any]:
    """The arguments with which Keras calls `build`."""
    if layer.key in _BY_ARGUMENT:
        names = ("query", "value", "key")
        return {f"{names[name] if isinstance(name, int) and name < 3 else name}_shape": shape for name, shape in inputs}
    first = [shape for argument, shape in inputs if argument == inputs[0][0]]
    return {"input_shape": first[0] if len(first) == 1 else first}
