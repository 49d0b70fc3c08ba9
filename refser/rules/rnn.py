"""Recurrent layers and their cells.

Keras: keras.layers.rnn.  Spec: spec/layers.md.  Not here: Bidirectional, TimeDistributed (wrappers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from refser.config.objects import invalid
from refser.rules.layer import KERAS_3, Layer, Shape, Unknown
from refser.rules.rule import Child, Dims, Rule, Var
from refser.rules.table import rule_for
from refser.rules.wrappers import output_of, sequence_build

CELLS = frozenset(("LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTMCell", "StackedRNNCells"))

# Cells: the output of a rule is that of `call`, followed by the new states


def _vector(layer: Layer) -> Dims:
    return {"in": layer.given([layer.shape], 2)[-1]}


def _units(states: int) -> Callable[[Layer, list[Shape]], list[Shape]]:
    def output(layer: Layer, shapes: list[Shape]) -> list[Shape]:
        return [(layer.given(shapes, 2)[0], layer.integer("units"))] * (1 + states)

    return output


def _gru(layer: Layer) -> Iterable[Var]:
    yield Var("kernel", "in, units*3")
    yield Var("recurrent_kernel", "units, units*3")
    if layer.flag("use_bias", True):
        # The argument came with Keras 2.1, where it was False by default.
        yield Var("bias", "2, units*3" if layer.flag("reset_after", layer.version >= KERAS_3) else "units*3")


def _conv_rank(layer: Layer, shape: Shape) -> int:
    """The convolved axes; the config of a cell alone does not say how many."""
    rank = len(shape) - 2
    if not 1 <= rank <= 3 or rank != layer.config.get("rank", rank):
        raise invalid("LY-002", f"an input of {rank + 2} axes for {layer.class_name}", f"{layer.at}.build_config")
    return rank


def _conv_dims(layer: Layer) -> Dims:
    return {"kernel_size": layer.ints("kernel_size", _conv_rank(layer, layer.shape)), "in": layer.channels}


def _conv_output(layer: Layer, shapes: list[Shape]) -> list[Shape]:
    shape = layer.given(shapes)
    rank = _conv_rank(layer, shape)
    kernel, strides, dilation = (layer.ints(name, rank, 1) for name in ("kernel_size", "strides", "dilation_rate"))
    same = layer.choice("padding", ("valid", "same"), "valid") == "same"
    found: list[int | None] = []
    for size, k, s, d in zip(shape[2:] if layer.channels_first else shape[1:-1], kernel, strides, dilation):
        left = None if size is None else size - (1 if same else d * (k - 1) + 1)
        if left is not None and left < 0:
            raise invalid("LY-004", f"{layer.class_name} has no place for its kernel in {shape}", layer.at)
        found.append(None if left is None else left // s + 1)
    filters = layer.integer("filters")
    return [(shape[0], filters, *found) if layer.channels_first else (shape[0], *found, filters)] * 3


def _stack(layer: Layer, shape: Shape | None) -> tuple[list[Layer], list[Shape], Unknown | None]:
    """The cells, each built with the output of the one before; the output of the last; the states of all."""
    values = layer.config.get("cells")
    if not isinstance(values, list) or not values:
        raise layer.refuse("cells", "a list of cells")
    cells: list[Layer] = []
    states: list[Shape] = []
    unknown = None
    for number, value in enumerate(values):
        cell = Layer.read(value, f"{layer.at_argument('cells')}[{number}]", version=layer.version)
        _refuse_other(layer, cell, "cells")
        cells.append(cell)
        if shape is None:
            continue
        if cell.build is None:
            cell.build = {"input_shape": shape}
        try:
            output, *new = output_of(cell, [shape])
        except Unknown as reason:
            unknown, output = reason, (None,)
        else:
            states += new
        shape = (*shape[:1], *output[-1:])
    return cells, states if shape is None else [shape, *states], unknown


def _refuse_other(layer: Layer, cell: Layer, argument: str) -> None:
    if cell.key not in CELLS and rule_for(cell.key) is not None and ">" not in cell.key:
        raise layer.refuse(argument, "cells")


def _stacked(layer: Layer) -> Iterable[Child]:
    return (Child("cells", _stack(layer, None if layer.build is None else layer.shape)[0]),)


def _stacked_output(layer: Layer, shapes: list[Shape]) -> list[Shape]:
    _, found, unknown = _stack(layer, layer.given(shapes, 1))
    if unknown:
        raise unknown
    return found


# Layers


def _step(layer: Layer, shape: Shape, axes: int = 0) -> Shape:
    """The shape of one time step."""
    layer.given([shape], axes or 2)
    if axes and len(shape) != axes:
        message = f"an input of {len(shape)} axes for {layer.class_name}; wanted {axes}"
        raise invalid("LY-002", message, f"{layer.at}.build_config")
    return (shape[0], *shape[2:])


def _step_build(layer: Layer, axes: int = 0) -> Mapping[str, Any] | None:
    build = sequence_build(layer)
    return build and {"input_shape": _step(layer, build["sequences_shape"], axes)}


def _cell(layer: Layer) -> Layer:
    """The cell that an RNN was given; a list of them goes into a StackedRNNCells."""
    build = _step_build(layer)
    if isinstance(layer.config.get("cell"), list):
        return layer.sub("StackedRNNCells", {"cells": layer.config["cell"]}, name=None, build=build)
    cell = layer.wrapped("cell", build=build)
    _refuse_other(layer, cell, "cell")
    return cell


def _made(cell: str, name: str, axes: int, given: Mapping[str, Any] | None = None) -> Callable[[Layer], Layer]:
    """The cell that a layer makes of its own arguments."""

    def make(layer: Layer) -> Layer:
        config = layer.config if given is None else {**layer.config, **given}
        return layer.sub(cell, config, name=name, build=_step_build(layer, axes))

    return make


def _recurrent(class_name: str, cell: Callable[[Layer], Layer], axes: int = 0) -> Rule:
    def output(layer: Layer, shapes: list[Shape]) -> Any:
        shape = layer.given(shapes, 2)
        last, *states = output_of(cell(layer), [_step(layer, shape, axes)])
        whole = (shape[0], shape[1], *last[1:]) if layer.flag("return_sequences") else (shape[0], *last[1:])
        return [whole, *states] if layer.flag("return_state") else whole

    return Rule(class_name, children=lambda layer: (Child("cell", cell(layer)),), output=output)


def _conv_lstm(rank: int) -> Rule:
    # `trainable` does not reach the cell.
    cell = _made("ConvLSTMCell", "conv_lstm_cell", rank + 3, {"rank": rank, "trainable": True})
    return _recurrent(f"ConvLSTM{rank}D", cell, rank + 3)


RULES = (
    Rule(
        "SimpleRNNCell",
        (Var("kernel", "in, units"), Var("recurrent_kernel", "units, units"), Var("bias", "units", when="use_bias")),
        dims=_vector,
        output=_units(1),
    ),
    Rule("GRUCell", _gru, dims=_vector, output=_units(1)),
    Rule(
        "LSTMCell",
        (Var("kernel", "in, units*4"), Var("recurrent_kernel", "units, units*4"), Var("bias", "units*4", when="use_bias")),
        dims=_vector,
        output=_units(2),
    ),
    Rule(
        "ConvLSTMCell",
        (
            Var("kernel", "*kernel_size, in, filters*4"),
            Var("recurrent_kernel", "*kernel_size, filters, filters*4"),
            Var("bias", "filters*4", when="use_bias"),
        ),
        dims=_conv_dims,
        output=_conv_output,
    ),
    Rule("StackedRNNCells", children=_stacked, output=_stacked_output),
    _recurrent("RNN", _cell),
    _recurrent("SimpleRNN", _made("SimpleRNNCell", "simple_rnn_cell", 3), 3),
    _recurrent("GRU", _made("GRUCell", "gru_cell", 3), 3),
    _recurrent("LSTM", _made("LSTMCell", "lstm_cell", 3), 3),
    *(_conv_lstm(rank) for rank in (1, 2, 3)),
)
