"""Activations as layers.

Keras: keras.layers.activations.  Spec: spec/layers.md.
"""

from __future__ import annotations

from refser.rules.arguments import ACTIVATION
from refser.rules.layer import Layer, is_integer
from refser.rules.rule import Dims, Rule, Var
from refser.rules.spatial import same


def _shared(layer: Layer) -> Dims:
    """One number for each element of the input, or for all along the axes that are shared."""
    sizes = list(layer.shape[1:])
    axes = layer.config.get("shared_axes")
    for axis in () if axes is None else axes if isinstance(axes, (list, tuple)) else (axes,):
        # Keras takes 1 from the number and lets Python count from the end, so 0 is the last axis
        if not is_integer(axis) or not -len(sizes) < axis <= len(sizes) or not sizes:
            raise layer.refuse("shared_axes", f"numbers of axes, 1 to {len(sizes)}")
        sizes[axis - 1] = 1
    return {"input": tuple(sizes)}


RULES = (
    Rule("Activation", children=ACTIVATION, output=same),
    *(Rule(name, output=same) for name in ("ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU")),
    Rule("PReLU", (Var("alpha", "*input"),), dims=_shared, output=same),
)
