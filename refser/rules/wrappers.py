"""Layers that wrap a layer: Wrapper, TimeDistributed, Bidirectional.

Keras: keras.layers.Wrapper, keras.layers.rnn.  Spec: spec/layers.md.  Not here: SpectralNormalization (normalization).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from refser.rules.layer import KERAS_3, Layer, Shape, Unknown
from refser.rules.rule import Child, Rule
from refser.rules.table import rule_for

BIDIRECTIONAL_WITHOUT_COPY_SINCE = (3, 3, 3)
RECURRENT = frozenset(("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"))


def output_of(layer: Layer, shapes: list[Shape]) -> list[Shape]:
    """The shapes of the outputs of a layer inside.  Raises `Unknown` for a class whose rule does not tell."""
    rule = rule_for(layer.key)
    if rule is None or rule.output is None:
        raise Unknown(f"the output of {layer.class_name}")
    found = rule.output(layer, shapes)
    return [found] if isinstance(found, tuple) else list(found)


def child_layer(layer: Layer, argument: str = "layer") -> Layer:
    """The layer inside, built with the same shape."""
    return layer.wrapped(argument, build=layer.build)


# TimeDistributed


def _without_time(layer: Layer, shape: Shape) -> Shape:
    layer.given([shape], 3)
    return (shape[0], *shape[2:])


def _time_distributed(layer: Layer) -> Iterable[Child]:
    build = None if layer.build is None else {"input_shape": _without_time(layer, layer.shape)}
    return (Child("layer", layer.wrapped("layer", build=build)),)


def _time_distributed_output(layer: Layer, shapes: list[Shape]) -> Shape:
    shape = layer.given(shapes, 3)
    found = output_of(layer.wrapped("layer"), [_without_time(layer, shape)])
    if len(found) != 1 or not found[0]:
        raise Unknown(f"the output of {layer.class_name} around a layer without just one output")
    return (found[0][0], shape[1], *found[0][1:])


# Bidirectional


def sequence_build(layer: Layer) -> Mapping[str, Any] | None:
    """What a recurrent layer was built with, without its initial state; None: not built."""
    if layer.build is None:
        return None
    found = layer.shape_of("sequences_shape")
    return {"sequences_shape": layer.given(layer.shapes) if found is None else found}


def _recurrent(layer: Layer, argument: str, build: Mapping[str, Any] | None) -> Layer:
    """One direction.  A class of Keras has to be recurrent; this keeps a nest of them from doubling at each level, too."""
    found = layer.wrapped(argument, build=build)
    if found.key not in RECURRENT and rule_for(found.key) is not None and ">" not in found.key:
        raise layer.refuse(argument, "a recurrent layer")
    return found


def _directions(layer: Layer) -> tuple[Layer, Layer]:
    build = sequence_build(layer)
    forward = _recurrent(layer, "layer", build)
    backward = _recurrent(layer, "backward_layer" if layer.has("backward_layer") else "layer", build)
    if layer.version < KERAS_3:
        forward.name, backward.name = (_prefixed(it.name, at) for it, at in ((forward, "forward_"), (backward, "backward_")))
        return forward, backward
    if not layer.has("backward_layer"):
        backward.name = _renamed(backward.name, "backward_")
    forward.name = _renamed(forward.name, "forward_")
    return forward, backward


def _prefixed(name: str | None, prefix: str) -> str | None:
    return None if name is None else prefix + name


def _renamed(name: str | None, prefix: str) -> str | None:
    return None if name is None else prefix + name.removeprefix(prefix)


def _bidirectional(layer: Layer) -> Iterable[Child]:
    forward, backward = _directions(layer)
    if layer.version < BIDIRECTIONAL_WITHOUT_COPY_SINCE:
        given = layer.wrapped("layer")  # what the constructor got: kept, never used; the build_config is that of `forward`
        given.build = given.name = None
        yield Child("layer", given)
    yield Child("forward_layer", forward)
    yield Child("backward_layer", backward)


def _bidirectional_output(layer: Layer, shapes: list[Shape]) -> Any:
    """As Keras computes it: from the forward layer alone, though the other may have another number of units."""
    modes = ("concat", "sum", "mul", "ave")
    merge = layer.choice("merge_mode", modes, "concat") if layer.config.get("merge_mode", "") is not None else None
    output, *states = output_of(_directions(layer)[0], [layer.given(shapes, 2)])
    if merge == "concat" and (size := output[-1]) is not None:
        output = (*output[:-1], 2 * size)
    found = ([output] if merge else [output, output]) + 2 * states
    return found[0] if len(found) == 1 else found


RULES = (
    Rule("Wrapper", children=lambda layer: (Child("layer", child_layer(layer)),)),  # no output: it cannot be called
    Rule("TimeDistributed", children=_time_distributed, output=_time_distributed_output),
    Rule("Bidirectional", children=_bidirectional, output=_bidirectional_output),
)
