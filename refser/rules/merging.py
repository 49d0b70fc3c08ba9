"""Several inputs made one.  None has variables.

Keras: keras.layers.merging.  Spec: spec/layers.md.
"""

from __future__ import annotations

from functools import partial

from refser.config.objects import invalid
from refser.rules.layer import Layer, Shape, is_integer
from refser.rules.rule import Rule, Size
from refser.rules.spatial import sized


def _inputs(layer: Layer, shapes: list[Shape], wanted: int | None = None) -> list[Shape]:
    """The shapes of the inputs, each with a batch axis."""
    if not shapes or (wanted is not None and len(shapes) != wanted) or not all(shapes):
        number = "inputs" if wanted is None else f"{wanted} inputs"
        raise invalid("LY-002", f"inputs {shapes!r:.80}; {layer.class_name} wants {number} with a batch axis", layer.at)
    return shapes


def _refuse(layer: Layer, shapes: list[Shape]) -> Exception:
    return invalid("LY-002", f"inputs {shapes!r:.80}, which do not fit together, for {layer.class_name}", layer.at)


def _elementwise(wanted: int | None, layer: Layer, shapes: list[Shape]) -> Shape:
    """Aligned at the end; 1 gives way to the others, an unknown length makes an unknown one."""
    inputs = _inputs(layer, shapes, wanted)
    batches = {shape[0] for shape in inputs} - {None}
    if len(batches) > 1:
        raise _refuse(layer, inputs)
    found = list(inputs[0][1:])
    for shape in inputs[1:]:
        other = list(shape[1:])
        longer, shorter = (found, other) if len(found) >= len(other) else (other, found)
        start = len(longer) - len(shorter)
        found = longer[:start] + [_one(layer, inputs, a, b) for a, b in zip(longer[start:], shorter)]
    return batches.pop() if batches else None, *found


def _one(layer: Layer, shapes: list[Shape], a: Size, b: Size) -> Size:
    if a is None or b is None:
        return None
    if a != b and 1 not in (a, b):
        raise _refuse(layer, shapes)
    return b if a == 1 else a


def _concatenate(layer: Layer, shapes: list[Shape]) -> Shape:
    """All but the one axis is that of the first input."""
    inputs = _inputs(layer, shapes)
    axis = _number(layer, "axis", layer.config.get("axis", -1), inputs[0])
    if any(len(shape) != len(inputs[0]) for shape in inputs):
        raise _refuse(layer, inputs)
    for lengths in [{shape[n] for shape in inputs} - {None} for n in range(len(inputs[0])) if n != axis]:
        if len(lengths) > 1:
            raise _refuse(layer, inputs)
    parts = [shape[axis] for shape in inputs]
    known = [n for n in parts if n is not None]
    total = sized(layer, sum(known)) if len(known) == len(parts) else None
    return (*inputs[0][:axis], total, *inputs[0][axis + 1 :])


def _dot(layer: Layer, shapes: list[Shape]) -> Shape:
    a, b = _inputs(layer, shapes, 2)
    axes = layer.config.get("axes")
    pair = axes if isinstance(axes, (list, tuple)) else [axes, axes]
    if len(pair) != 2:
        raise layer.refuse("axes", "an axis, or one for each input")
    i, j = _number(layer, "axes", pair[0], a), _number(layer, "axes", pair[1], b)
    if not i or not j:
        raise layer.refuse("axes", "axes other than the batch")
    if a[i] != b[j] and None not in (a[i], b[j]):
        raise _refuse(layer, shapes)
    found = (*a[:i], *a[i + 1 :], *b[1:j], *b[j + 1 :])
    return found if len(found) > 1 else (*found, 1)


def _number(layer: Layer, argument: str, value: object, shape: Shape) -> int:
    """The number of an axis of `shape`, counted from the start [LY-003]."""
    if not is_integer(value):
        raise layer.refuse(argument, "the number of an axis")
    layer.axis(value, shape)
    return value % len(shape)


RULES = (
    *(Rule(name, output=partial(_elementwise, None)) for name in ("Add", "Average", "Maximum", "Minimum", "Multiply")),
    Rule("Subtract", output=partial(_elementwise, 2)),
    Rule("Concatenate", output=_concatenate),
    Rule("Dot", output=_dot),
)
