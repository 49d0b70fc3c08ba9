"""Whether a model hangs together: names, the graph of its calls, its ends, and objects that stand in several places.

Spec: spec/config-graph.md (CF-050 to CF-058).  Not here: the shapes that flow over the graph (shapes), one argument alone
(constructors, domains).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from refser.checks.report import Finding, error, of_error, unchecked, warning
from refser.checks.shapes import ShapeJudge, shape_text
from refser.checks.subject import Subject
from refser.config import Graph, GraphLayer, KerasObject, KerasTensor, graph, is_functional, is_model, is_sequential
from refser.config.models import is_input, layers_place, training_of
from refser.config.objects import Place, kind_of, path_of, shown
from refser.errors import InvalidError
from refser.rules.infer import Trace, tracing
from refser.rules.layer import MODELS, is_size, key_of, read_shape
from refser.rules.walk import without_ids
from refser.values import DTYPES

# Where no class of Keras is a layer or an operation.
_NO_LAYERS = (
    *("keras.callbacks", "keras.constraints", "keras.datasets", "keras.distribution", "keras.dtype_policies"),
    *("keras.initializers", "keras.losses", "keras.metrics", "keras.optimizers", "keras.quantizers", "keras.random"),
    *("keras.regularizers", "keras.saving", "keras.tree", "keras.utils", "keras.visualization"),
)
_NO_LAYERS_OF_KERAS = frozenset(
    (
        *("DTypePolicy", "FloatDTypePolicy", "Initializer", "InputSpec", "KerasTensor", "Loss", "Metric", "Optimizer"),
        *("Quantizer", "RematScope", "Regularizer", "StatelessScope", "SymbolicScope", "Variable"),
    )
)
_MORE_DTYPES = frozenset(("string", "complex64", "complex128", "int4", "uint4"))
_MOST, _MOST_CHARACTERS = 100, 1 << 24  # findings of one kind; of their places
_WRAPPED = ("layer", "backward_layer", "cell")


def check_graph(subject: Subject) -> Iterator[Finding]:
    """Everything that is wrong with the structure of the model and of those inside it [CF-050]."""
    if subject.config is None:
        return iter(())
    look = _Look(subject)
    try:
        look.look()
    except _Enough:
        pass
    except RecursionError:
        look.say(unchecked("LI-002", "layers in layers, deeper than this Python can follow", "config"))
    return iter(look.found)


class _Enough(Exception):
    """The places alone are longer than anybody reads.  Never leaves this module."""


class _Look:
    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.objects = [node for node in subject.nodes if isinstance(node, KerasObject)]
        self.models = [found for found in self.objects if is_model(found)]
        _ = subject.tree  # what it refuses is said already
        self._said = {(it.code, it.at) for it in subject.found}
        self.found: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._left = _MOST_CHARACTERS
        self._graphs: dict[int, Graph] = {}
        self._nowhere: set[str] = set()  # places of calls with a tensor that comes from no layer

    def say(self, finding: Finding) -> None:
        self._left -= len(finding.at)
        if (finding.code, finding.at) in self._said or (finding.code == "CF-030" and ("CF-010", finding.at) in self._said):
            return
        self._counts[finding.code] += 1
        if self._counts[finding.code] <= _MOST:
            self._said.add((finding.code, finding.at))
            self.found.append(finding)
        elif self._counts[finding.code] == _MOST + 1:
            message = f"the same in more than {_MOST} places; the others are not listed"
            more = Finding(code=finding.code, message=message, at="config", severity=finding.severity, verdict=finding.verdict)
            self.found.append(more)
        if self._left < 0:
            raise _Enough

    def refuse(self, problem: InvalidError) -> None:
        self.say(of_error(problem))

    def graph_of(self, model: KerasObject) -> Graph:
        key = id(model.json)
        if key not in self._graphs:
            self._graphs[key] = graph(model, self.refuse)
        return self._graphs[key]

    def look(self) -> None:
        self._configs()
        self._tensors()
        for model in self.models:
            calls = self.graph_of(model)
            self._name(model)
            self._members(model, calls)
            if is_functional(model):
                self._functional(model, calls)
            else:
                self._sequential(model)
        if self.subject.file.generation == "v3":
            self._shared_ids()
        self._shapes()

    # Beside the config of an object

    def _configs(self) -> None:
        for found in self.objects:
            for key in ("build_config", "compile_config"):
                value = found.json.get(key)
                if value and not isinstance(value, Mapping):  # Keras passes over what is empty
                    message = f"{kind_of(value)} as {key} of {found.class_name:.60}; wanted an object or null"
                    self.say(error("CF-057", message, path_of(Place(found.place, key))))
            if found.compile_config is not None and key_of(found) in MODELS:
                training_of(found.compile_config, Place(found.place, "compile_config"), self.refuse)
        if self.subject.training is not None:
            training_of(self.subject.training, "training_config", self.refuse)

    def _shared_ids(self) -> None:
        first: dict[int, tuple[KerasObject, Any]] = {}
        for found in self.objects:
            number = found.shared_object_id if self._is_member(found) else None  # Keras drops that of other objects
            if number is None:
                continue
            config = without_ids(found.config)
            other, wanted = first.setdefault(number, (found, config))
            if (other.class_name, other.module) != (found.class_name, found.module) or config != wanted:
                names = [f"{it.class_name:.60} {shown(it.name)}" for it in (found, other)]
                message = f"shared_object_id {number} of {names[0]}, which {names[1]} at {other.at:.200} has"
                self.say(error("CF-056", f"{message}; wanted one object, or two numbers", found.at))

    def _is_member(self, found: KerasObject) -> bool:
        place = found.place
        if not isinstance(place, Place):
            return False
        if isinstance(place.key, int):
            return isinstance(place.above, Place) and place.above.key in ("layers", "cells")
        return place.key in _WRAPPED

    # Models

    def _name(self, found: KerasObject) -> None:
        """Of a model or an operation; that of a layer is an argument like others (constructors)."""
        name = found.config.get("name")
        if name is not None and (not isinstance(name, str) or "/" in name):
            message = f"{shown(name)} as the name of a {found.class_name:.60}; wanted a string without a slash"
            self.say(error("CF-053", message, f"{found.at}.config.name".lstrip(".")))

    def _members(self, model: KerasObject, calls: Graph) -> None:
        for layer in calls.layers:
            found = layer.object
            if layer.is_operation:
                self._name(found)
            module = found.module
            no_layer = module is not None and (
                module in _NO_LAYERS
                or module.startswith(tuple(f"{it}." for it in _NO_LAYERS))
                or (module == "keras" and found.class_name in _NO_LAYERS_OF_KERAS)
            )
            if no_layer or (layer.is_operation and is_sequential(model)):
                wanted = "a layer" if is_sequential(model) else "a layer or an operation"
                message = f"{found.class_name:.60} of {module:.60} among the layers of {shown(model.name)}; wanted {wanted}"
                self.say(error("CF-054", message, found.at))

    def _sequential(self, model: KerasObject) -> None:
        config = model.json.get("config")
        if isinstance(config, Mapping) and "name" not in config:
            self.say(error("CF-055", "a Sequential without a name; wanted one", path_of(Place(model.place, "config"))))
        layers = self.graph_of(model).layers
        for layer in layers[1:]:
            if layer.is_input:
                message = f"the InputLayer {shown(layer.name)} behind other layers of {shown(model.name)}; wanted it in front"
                self.say(error("CF-055", message, layer.at))
        if not layers and model.config.get("layers") == [] and model.config.get("build_input_shape"):
            message = f"the Sequential {shown(model.name)}, built for a shape, without layers; wanted layers"
            self.say(error("CF-055", message, path_of(layers_place(model))))

    def _functional(self, model: KerasObject, calls: Graph) -> None:
        config = Place(model.place, "config")
        for key, ports, what in (("input_layers", calls.inputs, "inputs"), ("output_layers", calls.outputs, "outputs")):
            if not ports and _is_empty(model.config[key]):
                message = f"the model {shown(model.name)} without {what}; wanted one or more"
                self.say(error("CF-051", message, path_of(Place(config, key))))
        reached = self._reached(model, calls)
        used = {calls.nodes[position].layer for position in reached}
        names: dict[str, GraphLayer] = {}
        for number, layer in enumerate(calls.layers):
            if number not in used:
                continue
            name = layer.object.config.get("name")
            if not isinstance(name, str) or layer.name is None:
                continue
            other = names.setdefault(name, layer)
            if other is not layer and other.name != layer.name:
                message = (
                    f"{shown(name)} as the name of {shown(layer.name)} and of {shown(other.name)}; wanted names that differ"
                )
                self.say(error("CF-053", message, f"{layer.at}.config.name"))
        if calls.broken or len(calls.order) < len(calls.nodes) or not calls.outputs:
            return
        used.update(port.tensor.layer for port in calls.inputs)
        for number, layer in enumerate(calls.layers):
            if number not in used:
                message = f"{shown(layer.name)}, which no output of {shown(model.name)} needs and Keras leaves out"
                self.say(warning("CF-058", f"{message}; wanted layers that outputs need", layer.at))

    def _reached(self, model: KerasObject, calls: Graph) -> set[int]:
        """The positions of the calls that the outputs need, up to the inputs [CF-052]."""
        inputs = {port.tensor for port in calls.inputs}
        reached: set[int] = set()
        todo = list(reversed(calls.outputs))
        while todo:
            port = todo.pop()
            layer = calls.layers[port.tensor.layer]
            position = layer.calls[port.tensor.call]
            if port.tensor in inputs and not is_input(layer.object):
                continue
            if position in reached:
                continue
            reached.add(position)
            call = calls.nodes[position]
            todo.extend(reversed(call.inputs))
            if call.inputs or position in calls.broken or port.tensor in inputs:
                continue
            if layer.is_input and calls.inputs:
                message = f"the input {shown(layer.name)}, which an output of {shown(model.name)} needs, is none of its inputs"
                self.say(error("CF-052", f"{message}; wanted it in input_layers", layer.at))
            elif isinstance(_call_in(layer, call.number), Mapping) and call.at not in self._nowhere:
                message = f"a call of {shown(layer.name)} that no tensor goes into; wanted one that comes from the inputs"
                self.say(error("CF-052", message, call.at))
        return reached

    # Tensors and shapes

    def _tensors(self) -> None:
        for node in self.subject.nodes:
            if not isinstance(node, KerasTensor) or (call := _call_of(node.place)) is None:
                continue
            if node.history is None:
                self._nowhere.add(path_of(call))
                message = "a tensor that comes from no layer; wanted one of the graph"
                self.say(error("CF-052", message, node.at))
            if node.shape is None or not all(n is None or is_size(n) for n in node.shape):
                found = kind_of(None) if node.shape is None else f"{node.shape!r:.60}"
                message = f"{found} as the shape of a tensor; wanted a list of lengths and nulls"
                self.say(error("CF-067", message, f"{node.at}.config.shape"))
            if node.dtype not in DTYPES and node.dtype not in _MORE_DTYPES:
                message = f"{shown(node.dtype)} as the dtype of a tensor; wanted one of Keras's"
                self.say(error("CF-067", message, f"{node.at}.config.dtype"))

    def _shapes(self) -> None:
        refused = {it.at.removesuffix(".build_config") for it in self.subject.found if it.code in ("LY-002", "LY-004")}
        judge = ShapeJudge(self.graph_of, self.subject.version, self.say, refused)
        with tracing(judge) as tracer:
            for model in reversed(self.models):  # those inside first: the others ask for them
                trace = None if _is_far(model.place) else tracer.of_itself(judge.read(model))
                if trace is not None:
                    judge.outputs(trace)
                    self._written(trace)

    def _written(self, trace: Trace) -> None:
        """The shapes beside the tensors that go into calls, which Keras writes and does not look at."""
        for call in trace.graph.nodes:
            owner = trace.graph.layers[call.layer]
            if not isinstance(value := _call_in(owner, call.number), Mapping) or "args" not in value:
                continue
            for port in call.inputs:
                tensor = _at(value, port.argument, port.path)
                made = trace.outputs[trace.graph.layers[port.tensor.layer].calls[port.tensor.call]]
                shape = made[port.tensor.output] if port.tensor.output < len(made) else None
                if shape is None or not isinstance(tensor, list) or not all(n is None or is_size(n) for n in tensor):
                    continue
                written = read_shape(tensor, "")
                if len(written) != len(shape) or any(a != b for a, b in zip(written, shape) if None not in (a, b)):
                    name = trace.graph.layers[port.tensor.layer].name
                    message = f"{shape_text(written)} as the shape of a tensor that {shown(name)} gives"
                    self.say(warning("CF-066", f"{message}; wanted {shape_text(shape)}", f"{port.at}.config.shape"))


def _at(call: Mapping[str, Any], argument: int | str | None, path: tuple[int | str, ...]) -> Any:
    """The shape of the tensor at this place among the arguments."""
    value: Any = call["args"] if isinstance(argument, int) else call.get("kwargs")
    try:
        for key in (argument, *path, "config", "shape"):
            value = value[key]
    except (KeyError, IndexError, TypeError):
        return None
    return value


def _call_in(layer: GraphLayer, number: int) -> Any:
    """The call as the JSON has it; None for one that is not in it."""
    calls = layer.object.json.get("inbound_nodes")
    return calls[number] if isinstance(calls, list) and number < len(calls) else None


def _call_of(place: Place | str) -> Place | None:
    """The call that a tensor stands in."""
    while isinstance(place, Place):
        if isinstance(place.above, Place) and place.above.key == "inbound_nodes":
            return place
        place = place.above
    return None


def _is_far(place: Place | str) -> bool:
    """Whether the path to a model is longer than any that Keras makes: each of its layers would have it in front of its own."""
    length = 0
    while isinstance(place, Place):
        length += len(place.key) if isinstance(place.key, str) else 1
        place = place.above
    return length > 1 << 14


def _is_empty(value: Any) -> bool:
    """Whether a structure of tensors has none."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, (list, Mapping)):
            todo.extend(value.values() if isinstance(value, Mapping) else value)
        else:
            return False
    return True
