"""Shapes of images, sequences and volumes: batch, channels and spatial axes, and how a window that slides over them counts.

Spec: spec/layers.md (LY).  Not here: the classes (convolution, pooling, reshaping).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from refser.config.objects import invalid
from refser.rules.layer import MAX_SIZE, Layer, Shape, Unknown, is_size
from refser.rules.rule import Rule, Size

SINGLE_BATCH_AXIS_SINCE = (3,)
# Arguments that only Keras 1 had.  Its kernels and its defaults are others, so nothing is said of a layer that has one.
_KERAS_1 = ("border_mode", "dim_ordering", "filter_length", "length", "nb_filter", "pool_length", "stride", "subsample")


class Axes(NamedTuple):
    """A shape taken apart; `batch` is one axis, in tf.keras's convolutions perhaps several."""

    batch: Shape
    channels: Size
    spatial: Shape
    channels_first: bool

    def shape(self, channels: Size, spatial: Iterable[Size]) -> Shape:
        return (*self.batch, channels, *spatial) if self.channels_first else (*self.batch, *spatial, channels)


def first(layer: Layer, shapes: list[Shape]) -> Shape:
    """The shape of the one input; a mask may be a second.  Raises `InvalidError` for no input [LY-002]."""
    if not shapes or not isinstance(shapes[0], tuple):
        raise invalid("LY-002", f"no input shape for {layer.class_name}; wanted one", layer.at)
    return shapes[0]


def same(layer: Layer, shapes: list[Shape]) -> Shape:
    """The output shape of what changes values alone."""
    return first(layer, shapes)


def of_rank(layer: Layer, shape: Shape, axes: int) -> Shape:
    """`shape`, which must have that many axes [LY-002]."""
    if len(shape) != axes:
        raise invalid("LY-002", f"an input of {len(shape)} axes; {layer.class_name} wants {axes}", layer.at)
    return shape


def split(layer: Layer, shape: Shape, rank: int, *, format: bool = True) -> Axes:
    """The axes of an input with `rank` spatial ones.  `format`: whether the class has the argument data_format."""
    keras_1(layer)
    if len(shape) < rank + 2 or layer.version >= SINGLE_BATCH_AXIS_SINCE:
        of_rank(layer, shape, rank + 2)
    batch, rest = shape[: -rank - 1], shape[-rank - 1 :]
    if format and layer.channels_first:
        return Axes(batch, rest[0], rest[1:], True)
    return Axes(batch, rest[-1], rest[:-1], False)


def keras_1(layer: Layer) -> None:
    """Raises `Unknown` for the arguments of Keras 1."""
    for argument in _KERAS_1:
        if argument in layer.config:
            raise Unknown(f"{argument} is an argument of Keras 1")


def each(layer: Layer, count: Callable[..., int], spatial: Shape, *numbers: Iterable[Any], least: int = 0) -> list[Size]:
    """`count` for each spatial axis with its numbers; None stays None."""
    return [None if n is None else sized(layer, count(n, *its), least) for n, *its in zip(spatial, *numbers)]


def sized(layer: Layer, size: int, least: int = 0) -> int:
    """`size`, the length of an axis of the output.  Raises `InvalidError` for one that no array can have [LY-004]."""
    if not least <= size < MAX_SIZE:
        length = f"{size}" if size.bit_length() < 128 else f"over 2**{size.bit_length() - 1}"
        raise invalid("LY-004", f"{layer.class_name} would have an output axis of length {length}", layer.at)
    return size


def padding_of(layer: Layer, wanted: tuple[str, ...] = ("valid", "same")) -> str:
    """The argument `padding`, of which Keras takes capitals too."""
    value = layer.config.get("padding", "valid")
    if not isinstance(value, str) or value.lower() not in wanted:
        raise layer.refuse("padding", f"one of {', '.join(wanted)}")
    return value.lower()


def window(padding: str) -> Callable[..., int]:
    """How many places a window of `size`, its elements `dilation` apart, has on an axis of length `n`."""
    if padding == "valid":
        return lambda n, size, stride, dilation=1: (n - dilation * (size - 1) - 1) // stride + 1
    return lambda n, size, stride, dilation=1: (n - 1) // stride + 1


def pairs(layer: Layer, argument: str, rank: int, default: Any) -> list[tuple[int, int]]:
    """Numbers before and after each axis: one for all, one for each axis, or two for each axis [LY-003]."""
    value = layer.config.get(argument, default)
    values = [value] * rank if isinstance(value, int) else value
    if not isinstance(values, (list, tuple)) or len(values) != rank:
        raise layer.refuse(argument, f"an integer, or {rank} integers or pairs of them")
    found = []
    for item in values:
        pair = [item, item] if isinstance(item, int) else item
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise layer.refuse(argument, f"an integer, or {rank} integers or pairs of them")
        if not all(map(is_size, pair)):
            raise layer.refuse(argument, "integers, at least 0")
        found.append((pair[0], pair[1]))
    return found


def aliases(rules: Iterable[Rule], *names: tuple[str, str]) -> tuple[Rule, ...]:
    """The same rules under other names: ("Conv", "Convolution") makes Convolution2D of Conv2D, which Python calls Conv2D."""
    return tuple(
        rule._replace(class_name=rule.class_name.replace(ours, other), python_name=rule.class_name)
        for rule in rules
        for ours, other in names
        if ours in rule.class_name
    )
