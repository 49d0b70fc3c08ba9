"""Pooling: windows, the whole, and windows for an output of a given size.  None has variables.

Keras: keras.layers.pooling.  Spec: spec/layers.md.
"""

from __future__ import annotations

from functools import partial

from refser.rules.layer import Layer, Shape
from refser.rules.rule import Rule
from refser.rules.spatial import aliases, each, first, padding_of, split, window

RANKS = (1, 2, 3)


def _windows(rank: int, default: int | None, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    sizes = layer.ints("pool_size", rank, default)
    strides = layer.ints("strides", rank) if layer.has("strides") else sizes
    padding = padding_of(layer)
    return axes.shape(axes.channels, each(layer, window(padding), axes.spatial, sizes, strides, least=padding == "valid"))


def _whole(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    return axes.shape(axes.channels, (1,) * rank if layer.flag("keepdims") else ())


def _adaptive(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    return axes.shape(axes.channels, layer.ints("output_size", rank))


_RULES = (
    *(Rule(f"AveragePooling{n}D", output=partial(_windows, n, None)) for n in RANKS),
    *(Rule(f"MaxPooling{n}D", output=partial(_windows, n, 2)) for n in RANKS),
    *(Rule(f"GlobalAveragePooling{n}D", output=partial(_whole, n)) for n in RANKS),
    *(Rule(f"GlobalMaxPooling{n}D", output=partial(_whole, n)) for n in RANKS),
)

RULES = (
    *_RULES,
    *aliases(_RULES, ("AveragePooling", "AvgPool"), ("MaxPooling", "MaxPool")),
    *(Rule(f"AdaptiveAveragePooling{n}D", output=partial(_adaptive, n)) for n in RANKS),
    *(Rule(f"AdaptiveMaxPooling{n}D", output=partial(_adaptive, n)) for n in RANKS),
)
