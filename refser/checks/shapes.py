"""Whether each layer can take the tensors that its calls give it, as Keras would find out while loading.

Spec: spec/config-graph.md (CF-059 to CF-067).  Not here: the shapes themselves (rules), the graph that they flow over (graph).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from refser.checks.report import Finding, error, warning
from refser.config import Call, Graph, KerasObject, Port
from refser.config.objects import shown
from refser.errors import InvalidError
from refser.rules.infer import Inputs, Shapes, Trace, build_for
from refser.rules.layer import MODELS, Layer, Shape, Unbuilt, Unknown, Version, is_integer
from refser.rules.operations import shape_of_operation
from refser.rules.table import rule_for

Say = Callable[[Finding], None]

# How many axes the one input of a class has, as Keras's InputSpec of it says; the smallest number, for the classes below.
_AXES: Mapping[str, int] = {
    **{f"{kind}{name}Pooling{n}D": n + 2 for kind in ("", "Global") for name in ("Average", "Max") for n in (1, 2, 3)},
    **{f"{name}{n}D": n + 2 for name in ("SpatialDropout", "UpSampling", "Cropping", "ZeroPadding") for n in (1, 2, 3)},
    **{f"ConvLSTM{n}D": n + 3 for n in (1, 2, 3)},
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "STFTSpectrogram"), 3),
    "RepeatVector": 2,
}
_CONVOLUTIONS: Mapping[str, int] = {
    **{f"Conv{n}D{more}": n + 2 for n in (1, 2, 3) for more in ("", "Transpose")},
    **{f"{kind}Conv{n}D": n + 2 for kind in ("Separable", "Depthwise") for n in (1, 2)},
}
_LEAST: Mapping[str, int] = {**_CONVOLUTIONS, "Dense": 2, "Flatten": 1, "SpectralNormalization": 1}
# Built for as many axes as come in later, of the same length along those that have weights.
_BUILT_FOR_AXES = frozenset(("BatchNormalization", "GroupNormalization", "EinsumDense", "PReLU"))
_ONE_INPUT = frozenset((*_AXES, *_LEAST, *_BUILT_FOR_AXES, "Permute"))
_ONE_OUTPUT = frozenset(
    (
        *_AXES.keys() - {"GRU", "LSTM", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"},
        *(_LEAST.keys() | _BUILT_FOR_AXES) - {"SpectralNormalization"},
        *("Activation", "Add", "Average", "Concatenate", "Dot", "Dropout", "Embedding", "LayerNormalization", "LeakyReLU"),
        *("Maximum", "Minimum", "Multiply", "PReLU", "Permute", "ReLU", "Reshape", "Softmax", "Subtract", "UnitNormalization"),
    )
)
# Their variables are of the input's size, and Keras makes none of a size that is not known.
_SIZED = frozenset(
    (
        *_CONVOLUTIONS,
        *("BatchNormalization", "Dense", "EinsumDense", "GroupNormalization", "LayerNormalization", "Normalization", "PReLU"),
        "RMSNormalization",
    )
)
# Keras loads them with an input of any number of axes, which they then cannot compute.
_UNASKED = frozenset(("RNN", "Resizing", *(f"Adaptive{name}Pooling{n}D" for name in ("Average", "Max") for n in (1, 2, 3))))
_MERGING = frozenset(("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"))
_RECURRENT = frozenset(("GRU", "LSTM", "SimpleRNN"))


def shape_text(shape: Shape | None) -> str:
    return "an unknown shape" if shape is None else f"{shape!r:.80}"


class ShapeJudge:
    """Follows the calls of the models of one config, and says what does not fit."""

    def __init__(
        self, graph_of: Callable[[KerasObject], Graph], version: Version, say: Say, refused: Collection[str] = ()
    ) -> None:
        self.graph_of, self.version, self.say = graph_of, version, say
        self._refused = refused  # places of layers whose input somebody else has refused
        self._layers: dict[int, list[Layer | None]] = {}

    def graph(self, model: KerasObject) -> Graph:
        return self.graph_of(model)

    def layers(self, model: KerasObject, calls: Graph) -> list[Layer | None]:
        key = id(model.json)
        if key not in self._layers:
            self._layers[key] = [None if it.is_operation else self.read(it.object) for it in calls.layers]
        return self._layers[key]

    def read(self, found: KerasObject) -> Layer:
        try:
            return Layer.of(found, version=self.version)
        except InvalidError as bad:
            if bad.problem.code == "LY-002":
                problem = bad.problem
                self.say(error(problem.code, problem.message, problem.at))
            return Layer("unreadable", {}, at=found.at, version=self.version, name=found.name, key="?")

    # What the tracer asks

    def call(self, model: Layer, calls: Graph, call: Call, layer: Layer | None, inputs: Inputs, trace: Trace) -> bool:
        if not self._outputs_are_there(call.inputs, trace):
            return False
        if layer is None:
            return self._operation(calls, call, inputs)
        if layer.key == "InputLayer" or not inputs:
            return True
        if not self._number_fits(calls, call, layer):
            return False
        if layer.key in MODELS:
            return True
        shape = inputs[0][1]
        built = _shape_of(layer.build)
        same_axes = shape is not None and built is not None and len(shape) == len(built)
        fits = shape is None or self._fits(calls, call, layer, shape, built)
        if layer.build is None and None not in [shape for _, shape in inputs]:
            layer.build = build_for(layer, inputs)
            built = _shape_of(layer.build)
        elif fits and built is not None and shape is not None and _differ(built, shape):
            self._made_for(calls, call, layer, built, inputs)
        if built is not None and (None in built[1:] or len(built) == 1) and call.number == 0:
            self._size_is_known(layer, built)
        return fits or same_axes  # whose output has the length that the layer makes

    def model(self, model: Layer, given: Shapes, own: Trace) -> bool:
        """Keras compares the axes that both have, but for the first and a last one of 1."""
        for number, (shape, wanted) in enumerate(zip(given, own.starts)):
            if shape is None or wanted is None:
                return False
            if not all(map(_like, _squeezed((None, *wanted[1:])), _squeezed(shape))):
                found = f"{shape_text(shape)} as input {number} of the model {shown(model.name)}"
                self.say(error("CF-064", f"{found}; wanted {shape_text(wanted)}, which it was made for", model.at))
                return False
            if len(shape) != len(wanted):  # which Keras follows further than anybody would want to
                return False
        return True

    def refused(self, layer: Layer, call: Call, inputs: Inputs, bad: InvalidError) -> None:
        problem = bad.problem
        if not inputs:  # the shape that stands in the config
            self.say(error(problem.code, problem.message, problem.at))
            return
        if problem.code not in ("LY-002", "LY-004") or any(argument != inputs[0][0] for argument, _ in inputs):
            return  # of a mask, perhaps
        if layer.key in _UNASKED or _inner_class(layer) in _UNASKED:
            return
        given = ", ".join(shape_text(shape) for _, shape in inputs[:4])
        self._about(layer, "CF-062", f"{_named(layer)} cannot take {given}: {problem.message}", call)

    def _about(self, layer: Layer, code: str, message: str, call: Call) -> None:
        if layer.at not in self._refused:
            self.say(error(code, message, call.at))

    def outputs(self, trace: Trace) -> None:
        """Whether the model's own outputs are there."""
        self._outputs_are_there(trace.graph.outputs, trace)

    # The questions

    def _number_fits(self, calls: Graph, call: Call, layer: Layer) -> bool:
        """How many tensors the first argument has.  tf.keras wrote other arguments behind the first."""
        if not call.inputs or not _as_keras_3(calls, call):
            return True
        ports = [port for port in call.inputs if port.argument == call.inputs[0].argument]
        wanted = ""
        if layer.key in _MERGING:
            wanted = "" if ports[0].path else "a list of tensors"
        elif layer.key in _ONE_INPUT:
            wanted = "one" if len(ports) > 1 else ""
        elif layer.key in MODELS and not any(isinstance(key, str) for port in ports for key in port.path):
            count = len(self.graph_of(KerasObject(layer.json, layer.at)).inputs)
            wanted = f"{count}" if 0 < count < len(ports) else ""  # fewer: others may be optional
        if wanted:
            found = "a tensor alone" if len(ports) == 1 else f"{len(ports)} tensors"
            self._about(layer, "CF-061", f"{found} for {_named(layer)}, {_from(calls, call)}; wanted {wanted}", call)
        return not wanted

    def _outputs_are_there(self, ports: Any, trace: Trace) -> bool:
        fine = True
        for port in ports:
            count = _count(port, trace) if port.tensor.output else None
            if count is not None and port.tensor.output >= count:
                name = trace.graph.layers[port.tensor.layer].name
                self.say(error("CF-059", f"output {port.tensor.output} of {shown(name)}, which has {count}", port.at))
                fine = False
        return fine

    def _operation(self, calls: Graph, call: Call, inputs: Inputs) -> bool:
        """Of two tensors that the operation cannot stretch to one shape."""
        found, shapes = calls.layers[call.layer].object, [shape for _, shape in inputs if shape is not None]
        if len(shapes) != 2 or len(inputs) != 2 or shape_of_operation(found, call.number, shapes) is not None:
            return True
        if shape_of_operation(found, call.number, [shapes[0], shapes[0]]) is None:  # nothing is known of it
            return True
        message = f"{shape_text(shapes[0])} and {shape_text(shapes[1])} for {shown(found.name)} ({found.class_name:.60})"
        self.say(error("CF-062", f"{message}, {_from(calls, call)}; wanted shapes that stretch to one", call.at))
        return False

    def _fits(self, calls: Graph, call: Call, layer: Layer, shape: Shape, built: Shape | None) -> bool:
        wanted = _wanted(layer, shape, built)
        if wanted:
            message = f"{shape_text(shape)} for {_named(layer)}, {_from(calls, call)}; wanted {wanted}"
            self._about(layer, "CF-060", message, call)
        return not wanted

    def _made_for(self, calls: Graph, call: Call, layer: Layer, built: Shape, inputs: Inputs) -> None:
        """Keras loads such a layer, whose variables are of other shapes than the call needs."""
        now = build_for(layer, inputs)
        if None in [shape for _, shape in inputs]:
            return
        shapes = [_variables(layer, build) or [] for build in (layer.build, now)]
        if all(shapes) and not _alike(*shapes):
            message = (
                f"{_named(layer)} was built for {shape_text(built)} and gets {shape_text(inputs[0][1])}, {_from(calls, call)}"
            )
            self.say(warning("CF-065", f"{message}; wanted the shape that it was built for", call.at))

    def _size_is_known(self, layer: Layer, built: Shape) -> None:
        if layer.key in _RECURRENT:
            unknown = built[-1] is None
        elif layer.key in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
            unknown = None in built[2:]
        elif layer.key in _SIZED:
            unknown = any(None in shape for shape in _variables(layer, layer.build) or ())
        else:
            return
        if unknown:
            message = f"{_named(layer)} is built for {shape_text(built)}; wanted a known length of the axes its variables have"
            self.say(error("CF-063", message, layer.at))


# What a class wants


def _wanted(layer: Layer, shape: Shape, built: Shape | None) -> str:
    """What Keras's InputSpec of the class says, where `shape` is something else; `built`: what the layer was built for."""
    key, axes = layer.key, len(shape)
    if key in _AXES or key == "Permute":
        wanted = _AXES.get(key) or _permuted(layer)
        return f"{wanted} axes" if wanted and axes != wanted else ""
    if key == "Bidirectional":  # has that of the layer inside
        wanted = _AXES.get(_inner_class(layer), 0)
        return f"{wanted} axes" if wanted and axes != wanted else ""
    if axes < (least := _LEAST.get(key, 0)):
        return f"{least} axes or more"
    if built is None:
        return ""
    if key in _BUILT_FOR_AXES and axes != len(built):
        return f"{len(built)} axes, as in {shape_text(built)}, which it was built for"
    for axis in _axes_with_weights(layer, built):
        if -axes <= axis < axes and -len(built) <= axis < len(built) and not _like(shape[axis], built[axis]):
            return f"{built[axis]} on axis {axis}, as in {shape_text(built)}, which it was built for"
    return ""


def _like(a: int | None, b: int | None) -> bool:
    """An axis that is not known is like any other."""
    return a == b or a is None or b is None


def _inner_class(layer: Layer) -> str:
    inner = layer.config.get("layer")
    name = inner.get("class_name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else ""


def _permuted(layer: Layer) -> int:
    dims = layer.config.get("dims")
    return len(dims) + 1 if isinstance(dims, list) else 0


def _axes_with_weights(layer: Layer, built: Shape) -> list[int]:
    key = layer.key
    if key in ("Dense", "SpectralNormalization"):
        return [-1]
    if key in _CONVOLUTIONS:
        return [1 if layer.config.get("data_format") == "channels_first" else -1]
    if key in ("BatchNormalization", "GroupNormalization"):
        axis = layer.config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        return [axis] if is_integer(axis) else []
    if key == "PReLU":
        shared = layer.config.get("shared_axes")
        return [axis for axis in range(1, len(built)) if axis not in shared] if isinstance(shared, list) and shared else []
    return []


def _variables(layer: Layer, build: Mapping[str, Any] | None) -> list[Shape] | None:
    """The shapes of the variables that the layer itself, or the cell in it, would have; None where they cannot be told."""
    kept, layer.build = layer.build, build
    try:
        rule = rule_for(layer.key)
        if rule is None or rule.opaque:
            return None
        found = [shape for _, shape in rule.variables_of(layer)]
        if layer.key in _RECURRENT and rule.children:
            for child in rule.children(layer):
                inner = rule_for(child.value.key) if isinstance(child.value, Layer) else None
                if inner is not None and isinstance(child.value, Layer):
                    found.extend(shape for _, shape in inner.variables_of(child.value))
        return found
    except (InvalidError, Unbuilt, Unknown):
        return None
    finally:
        layer.build = kept


def _count(port: Port, trace: Trace) -> int | None:
    """How many outputs the call has that the tensor comes from; None where that cannot be told."""
    layer = trace.layers[port.tensor.layer]
    if layer is None or layer.key in MODELS:
        return None
    if layer.key in _ONE_OUTPUT:
        return 1
    shapes = trace.outputs[trace.graph.layers[port.tensor.layer].calls[port.tensor.call]]
    return len(shapes) if layer.key in _RECURRENT and shapes else None


def _shape_of(build: Mapping[str, Any] | None) -> Shape | None:
    found = next(iter(build.values()), None) if build else None
    return found if isinstance(found, tuple) else None


def _differ(a: Shape, b: Shape) -> bool:
    """Whether no tensor has both shapes; any batch is like another."""
    return len(a) != len(b) or not all(map(_like, a[1:], b[1:]))


def _alike(a: list[Shape], b: list[Shape]) -> bool:
    return len(a) == len(b) and all(len(m) == len(n) and all(map(_like, m, n)) for m, n in zip(a, b))


def _squeezed(shape: Shape) -> Shape:
    return shape[:-1] if shape and shape[-1] == 1 else shape


def _as_keras_3(calls: Graph, call: Call) -> bool:
    owner = calls.layers[call.layer].object.json.get("inbound_nodes")
    return isinstance(owner, list) and call.number < len(owner) and isinstance(owner[call.number], Mapping)


def _named(layer: Layer) -> str:
    return f"{shown(layer.name)} ({layer.class_name:.60})"


def _from(calls: Graph, call: Call) -> str:
    names = list(dict.fromkeys(shown(calls.layers[port.tensor.layer].name) for port in call.inputs))
    return f"from {' and '.join(names[:4])}" if names else "the input of the model"
