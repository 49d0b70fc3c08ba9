"""The graph of a model: its layers, every call of one, and which tensors go into which call.

Spec: spec/config-objects.md (CF-030 to CF-044).  Keras: keras.src.models.functional; tf.keras `reconstruct_from_config`.
Not here: how a call is written (_calls), what shapes the tensors have (rules).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from refser.config._calls import Link, RawCall, Reference, read_calls, references
from refser.config.models import Refuse, is_functional, is_input, is_model, is_operation, is_sequential, layers_of, stop
from refser.config.objects import KerasObject, Node, Place, invalid, path_of, shown
from refser.errors import InvalidError


class Tensor(NamedTuple):
    """An output of a call, by numbers: of the layer in `Graph.layers`, of the call among the layer's, of the output."""

    layer: int
    call: int
    output: int


class Port:
    """Where a tensor goes in: an argument of a call, or an end of the model."""

    __slots__ = ("argument", "link", "place", "tensor")

    def __init__(self, argument: int | str | None, link: Link, tensor: Tensor, place: Place | str) -> None:
        self.argument = argument  # position or keyword; None at the ends of the model
        self.link, self.tensor, self.place = link, tensor, place

    @property
    def at(self) -> str:
        return path_of(self.place)

    @property
    def path(self) -> tuple[int | str, ...]:
        """Where in the argument, when that is a structure of tensors: (0, "mask")."""
        keys: list[int | str] = []
        link = self.link
        while link is not None:
            keys.append(link[1])
            link = link[0]
        return tuple(reversed(keys))

    def __repr__(self) -> str:
        return f"Port({self.argument!r}, {self.path!r}, {self.tensor!r})"


class Call:
    """A call of a layer: a node of the graph."""

    __slots__ = ("inputs", "layer", "number", "place")

    def __init__(self, layer: int, number: int, inputs: tuple[Port, ...], place: Place | str) -> None:
        self.layer, self.number, self.inputs, self.place = layer, number, inputs, place

    @property
    def at(self) -> str:
        return path_of(self.place)


class GraphLayer:
    """A layer, or an operation, of the model."""

    __slots__ = ("calls", "name", "object")

    def __init__(self, found: KerasObject, name: str | None, calls: range) -> None:
        self.object, self.name = found, name
        self.calls = calls  # positions in `Graph.nodes`; an input layer has one, which nothing goes into

    @property
    def at(self) -> str:
        return self.object.at

    @property
    def is_input(self) -> bool:
        return is_input(self.object)

    @property
    def is_model(self) -> bool:
        return is_model(self.object)

    @property
    def is_operation(self) -> bool:
        return is_operation(self.object)


class Graph:
    """Layers in the order of the file, calls in the order of the layers, and the order in which the calls can be made."""

    def __init__(
        self,
        layers: list[GraphLayer],
        nodes: list[Call],
        inputs: list[Port],
        outputs: list[Port],
        order: list[int],
        doubtful: frozenset[str] = frozenset(),
        broken: frozenset[int] = frozenset(),
    ) -> None:
        self.layers, self.nodes, self.inputs, self.outputs = layers, nodes, inputs, outputs
        self.doubtful = (
            doubtful  # layers whose calls may count from 1 at the ends: the tensors there are one call too high then
        )
        self.order = order  # positions in `nodes`, without those that wait for themselves
        self.broken = broken  # positions of the calls of which a part was refused
        self._by_name: dict[str, GraphLayer] | None = None

    def layer(self, name: str) -> GraphLayer | None:
        if self._by_name is None:
            self._by_name = {layer.name: layer for layer in self.layers if layer.name is not None}
        return self._by_name.get(name)

    def node_of(self, tensor: Tensor) -> Call:
        """The call that a tensor comes from."""
        return self.nodes[self.layers[tensor.layer].calls[tensor.call]]

    @property
    def models(self) -> list[GraphLayer]:
        """The models among the layers; `graph(layer.object)` gives the graph of one."""
        return [layer for layer in self.layers if layer.is_model]

    @property
    def shared(self) -> list[GraphLayer]:
        """The layers called more than once."""
        return [layer for layer in self.layers if len(layer.calls) > 1]

    @property
    def operations(self) -> list[GraphLayer]:
        return [layer for layer in self.layers if layer.is_operation]


def graph(model: Node, refuse: Refuse = stop) -> Graph:
    """The graph of a Functional or Sequential model.  Raises `InvalidError` with the JSON path [CF-030 to CF-044].

    With a `refuse` that returns, what is wrong is left out: a layer that is none, a tensor that does not exist.
    """
    if isinstance(model, KerasObject):
        if is_functional(model):
            return _functional(model, refuse)
        if is_sequential(model):
            return _sequential(model, refuse)
    raise invalid("CF-044", "no graph of layers; wanted a Functional or Sequential model", model.place)


def _sequential(model: KerasObject, refuse: Refuse) -> Graph:
    """A chain.  Where the first layer is no InputLayer, what goes into it stands nowhere [CF-041]."""
    found = layers_of(model, refuse)
    _check_names(((layer, layer.name) for layer in found), refuse)
    layers = [GraphLayer(layer, layer.name, range(number, number + 1)) for number, layer in enumerate(found)]
    nodes = []
    for number, layer in enumerate(found):
        inputs = (Port(0, None, Tensor(number - 1, 0, 0), layer.place),) if number else ()
        nodes.append(Call(number, 0, inputs, layer.place))
    starts = [Port(None, None, Tensor(0, 0, 0), found[0].place)] if found and is_input(found[0]) else []
    ends = [Port(None, None, Tensor(len(found) - 1, 0, 0), found[-1].place)] if found else []
    return Graph(layers, nodes, starts, ends, list(range(len(found))))


def _functional(model: KerasObject, refuse: Refuse) -> Graph:
    found = layers_of(model, refuse)
    names: dict[str, int] = {}
    for number, layer in enumerate(found):
        name = layer.json.get("name")
        if not isinstance(name, str):
            message = f"{shown(name)} as the name of a layer of a graph; wanted a string"
            refuse(invalid("CF-031", message, Place(layer.place, "name")))
            continue
        names[name] = number
    if len(names) < len(found):
        _check_names(((layer, layer.json.get("name")) for layer in found), refuse)
    config = Place(model.place, "config")
    ends = [references(model.config[key], Place(config, key), refuse) for key in ("input_layers", "output_layers")]
    fed = {reference.name for reference in ends[0]}
    layers: list[GraphLayer] = []
    calls: list[RawCall] = []
    broken: set[int] = set()

    def mark(error: InvalidError) -> None:
        refuse(error)
        broken.add(len(calls))  # the call that is being read

    for number, layer in enumerate(found):
        first = len(calls)
        name = layer.json.get("name")
        for call in read_calls(layer, number, source=name in fed if isinstance(name, str) else False, refuse=mark):
            calls.append(call)
        broken.discard(len(calls))  # no call at all was read
        layers.append(GraphLayer(layer, name if isinstance(name, str) else None, range(first, len(calls))))
    resolver = _Resolver(layers, names, calls, ends)
    nodes = []
    for position, call in enumerate(calls):
        ports = resolver.ports(call.references, resolver.in_lists if call.is_list else None, refuse)
        if len(ports) < len(call.references):
            broken.add(position)
        nodes.append(Call(call.layer, call.number, tuple(ports), call.place))
    starts, stops = (resolver.ports(group, resolver.at_ends, refuse) for group in ends)
    order = _order(layers, nodes, refuse)
    return Graph(layers, nodes, starts, stops, order, frozenset(resolver.doubtful), frozenset(broken))


def _check_names(layers: Iterable[tuple[KerasObject, object]], refuse: Refuse) -> None:
    seen: set[str] = set()
    for layer, name in layers:
        if not isinstance(name, str):
            continue
        if name in seen:
            refuse(invalid("CF-031", f"a second layer named {shown(name)}; wanted names that differ", layer.place))
        seen.add(name)


class _Resolver:
    """From `[name, call, output]` to tensors.

    Keras counts the calls of some models from 1, since it keeps a call 0 for them that is in no file [CF-037].
    """

    def __init__(
        self, layers: list[GraphLayer], names: dict[str, int], calls: list[RawCall], ends: list[list[Reference]]
    ) -> None:
        self.layers, self.names = layers, names
        self.doubtful: set[str] = set()
        self._outputs: dict[int, int] = {}  # how many a model has
        in_lists: dict[str, set[int]] = {}
        in_objects: dict[str, set[int]] = {}
        at_ends: dict[str, set[int]] = {}
        for call in calls:
            _gather(call.references, in_lists if call.is_list else in_objects)
        for group in ends:
            _gather(group, at_ends)
        if not in_objects:  # Keras 1 or 2, or no calls at all: the ends count as the calls do
            _gather((reference for group in ends for reference in group), in_lists)
        self.in_lists = {name for name, numbers in in_lists.items() if self._from_1(name, numbers, set(), lists=True)}
        self.at_ends = self.in_lists
        if in_objects:
            self.at_ends = {
                name for name, found in at_ends.items() if self._from_1(name, found, in_objects.get(name, set()), lists=False)
            }

    def _from_1(self, name: str, numbers: set[int], others: set[int], *, lists: bool) -> bool:
        """Whether `numbers`, by which calls of the layer are named, count from 1; `others` count from 0."""
        if name not in self.names:
            return False
        layer = self.layers[self.names[name]]
        if is_functional(layer.object):
            return True
        if layer.is_input:
            return False
        module = layer.object.module or ""
        if (module == "keras" or module.startswith("keras.")) and not (lists and is_sequential(layer.object)):
            return False
        # A subclass of a model, perhaps.  Every call that Keras stores is there, and used by something.
        count = len(layer.calls)
        if min(numbers) < 1 or max(numbers) > count:
            return False
        if max(numbers) == count:
            return True
        from_0, from_1 = (len(others | {number - first for number in numbers}) == count for first in (0, 1))
        if from_0 == from_1:
            self.doubtful.add(name)
        return from_1 and not from_0

    def ports(self, references: Iterable[Reference], from_1: set[str] | None, refuse: Refuse) -> list[Port]:
        """The tensors that there are."""
        found = []
        for reference in references:
            try:
                found.append(self.port(reference, from_1))
            except InvalidError as error:
                refuse(error)
        return found

    def port(self, reference: Reference, from_1: set[str] | None) -> Port:
        """The tensor that a reference means.  Raises `InvalidError` [CF-036, CF-037, CF-038]."""
        name, call, output = reference[:3]
        number = self.names.get(name)
        if number is None:
            raise invalid("CF-036", f"{shown(name)}, which is no layer of this model", reference.place)
        layer = self.layers[number]
        index = call - 1 if from_1 is not None and name in from_1 else call
        if not 0 <= index < len(layer.calls):
            message = f"call {call} of {shown(name)}, which is called {len(layer.calls)} times"
            raise invalid("CF-037", message, reference.place)
        if output and (layer.is_input or is_functional(layer.object)):
            count = self._outputs.get(number)
            if count is None:
                count = self._outputs[number] = _output_count(layer.object)
            if output >= count:
                raise invalid("CF-038", f"output {output} of {shown(name)}, which has {count}", reference.place)
        return Port(reference.argument, reference.link, Tensor(number, index, output), reference.place)


def _gather(references: Iterable[Reference], found: dict[str, set[int]]) -> None:
    for reference in references:
        found.setdefault(reference.name, set()).add(reference.call)


def _output_count(layer: KerasObject) -> int:
    if is_input(layer):
        return 1
    place = Place(Place(layer.place, "config"), "output_layers")
    return len(references(layer.config["output_layers"], place))


def _order(layers: list[GraphLayer], nodes: list[Call], refuse: Refuse) -> list[int]:
    """Every call after those that it takes tensors from, else in the order of the file [CF-039]."""
    waits = [len(node.inputs) for node in nodes]
    after: list[list[int]] = [[] for _ in nodes]
    for position, node in enumerate(nodes):
        for port in node.inputs:
            layer, call, _ = port.tensor
            after[layers[layer].calls[call]].append(position)
    ready = [position for position, count in enumerate(waits) if not count]
    heapify(ready)
    order = []
    while ready:
        position = heappop(ready)
        order.append(position)
        for later in after[position]:
            waits[later] -= 1
            if not waits[later]:
                heappush(ready, later)
    if len(order) < len(nodes):
        for error in _cycles(layers, nodes, waits):
            refuse(error)
    return order


def _cycles(layers: list[GraphLayer], nodes: list[Call], waits: list[int]) -> Iterable[InvalidError]:
    """Whoever waits, waits for one that waits: going back ends in a circle, one that is known or another."""
    seen: set[int] = set()
    for start, count in enumerate(waits):
        position, way = start, set[int]()
        while count and position not in seen:
            seen.add(position)
            way.add(position)
            sources = (layers[port.tensor.layer].calls[port.tensor.call] for port in nodes[position].inputs)
            position = next(source for source in sources if waits[source])
        if position in way:
            name = layers[nodes[position].layer].name
            message = f"a call of {shown(name)} that needs its own output; wanted a graph without circles"
            yield invalid("CF-039", message, nodes[position].place)
