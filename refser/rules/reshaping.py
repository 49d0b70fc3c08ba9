"""Axes in another order, number or length.  None has variables.

Keras: keras.layers.reshaping.  Spec: spec/layers.md.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from refser.config.objects import invalid
from refser.rules.layer import Layer, Shape, is_size
from refser.rules.rule import Rule, Size
from refser.rules.spatial import each, first, keras_1, of_rank, pairs, sized, split


def _batched(layer: Layer, shapes: list[Shape]) -> Shape:
    """An input that has a batch axis."""
    shape = first(layer, shapes)
    if not shape:
        raise invalid("LY-002", f"an input without axes; {layer.class_name} wants a batch axis", layer.at)
    return shape


def _flatten(layer: Layer, shapes: list[Shape]) -> Shape:
    batch, *rest = _batched(layer, shapes)
    return batch, _product(layer, rest)


def _product(layer: Layer, sizes: list[Size]) -> Size:
    known = [n for n in sizes if n is not None]
    return None if len(known) < len(sizes) else sized(layer, math.prod(known))


def _reshape(layer: Layer, shapes: list[Shape]) -> Shape:
    batch, *rest = _batched(layer, shapes)
    target = layer.config.get("target_shape")
    if (
        not isinstance(target, (list, tuple))
        or not all(n is None or is_size(n, -1) for n in target)
        or list(target).count(-1) > 1
    ):
        raise layer.refuse("target_shape", "sizes, one of which may be -1")
    total = _product(layer, rest)
    if total is None or None in target:
        return batch, *(None if n == -1 else n for n in target)
    known = math.prod(n for n in target if n != -1)
    if total != known if -1 not in target else not known or total % known:
        raise invalid("LY-004", f"{layer.class_name} would make {target!r:.60} of {total} elements", layer.at)
    return batch, *(total // known if n == -1 else n for n in target)


def _permute(layer: Layer, shapes: list[Shape]) -> Shape:
    dims = layer.config.get("dims")
    if not isinstance(dims, (list, tuple)) or not all(isinstance(n, int) for n in dims):
        raise layer.refuse("dims", "the numbers of the axes in another order")
    if sorted(dims) != list(range(1, len(dims) + 1)):
        raise layer.refuse("dims", f"the numbers 1 to {len(dims)}")
    shape = of_rank(layer, _batched(layer, shapes), len(dims) + 1)
    return shape[0], *(shape[n] for n in dims)


def _repeat(layer: Layer, shapes: list[Shape]) -> Shape:
    batch, features = of_rank(layer, first(layer, shapes), 2)
    return batch, layer.integer("n"), features


def _crop(rank: int, default: Any, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank, format=rank > 1)
    cut = layer_pairs(layer, "cropping", rank, default)
    return axes.shape(axes.channels, each(layer, lambda n, pair: n - sum(pair), axes.spatial, cut, least=1))


def _pad(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    added = layer_pairs(layer, "padding", rank, 1)
    return axes.shape(axes.channels, each(layer, lambda n, pair: n + sum(pair), axes.spatial, added))


def layer_pairs(layer: Layer, argument: str, rank: int, default: Any) -> list[tuple[int, int]]:
    """For one axis Keras takes the pair itself, (1, 2), not ((1, 2),)."""
    if rank > 1:
        return pairs(layer, argument, rank, default)
    before, after = layer.ints(argument, 2, default, least=0)
    return [(before, after)]


def _repeat_steps(layer: Layer, shapes: list[Shape]) -> Shape:
    keras_1(layer)
    axes = split(layer, first(layer, shapes), 1, format=False)
    size = layer.integer("size", 2)
    return axes.shape(axes.channels, each(layer, lambda n: n * size, axes.spatial))


def _upsample(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    return axes.shape(axes.channels, each(layer, lambda n, size: n * size, axes.spatial, layer.ints("size", rank, 2)))


RULES = (
    Rule("Flatten", output=_flatten),
    Rule("Reshape", output=_reshape),
    Rule("Permute", output=_permute),
    Rule("RepeatVector", output=_repeat),
    *(Rule(f"Cropping{n}D", output=partial(_crop, n, 0 if n == 2 else 1)) for n in (1, 2, 3)),
    *(Rule(f"ZeroPadding{n}D", output=partial(_pad, n)) for n in (1, 2, 3)),
    Rule("UpSampling1D", output=_repeat_steps),
    *(Rule(f"UpSampling{n}D", output=partial(_upsample, n)) for n in (2, 3)),
)
