"""Identity, Masking, Lambda, and what wraps code of other frameworks.

Keras: keras.layers.core, keras.src.utils, keras.src.export.tfsm_layer.  Spec: spec/layers.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from refser.rules.arguments import layer_in, layers_below
from refser.rules.layer import Layer, Shape, Unknown, is_size
from refser.rules.rule import Child, Rule, Var
from refser.rules.spatial import first, same


def _lambda(layer: Layer) -> Iterable[Child]:
    """Layers that stand in the place of a function or among its arguments; those in a closure do not show."""
    arguments = layer.config.get("arguments")
    if isinstance(arguments, Mapping):
        yield Child("arguments", layers_below(layer, arguments, layer.at_argument("arguments")))
    for name in ("function", "mask"):
        if (found := layer_in(layer, layer.config.get(name), layer.at_argument(name))) is not None:
            yield Child(name, found)


def _lambda_output(layer: Layer, shapes: list[Shape]) -> Any:
    """The shape in the config is that of one sample."""
    found = layer.config.get("output_shape")
    if not isinstance(found, (list, tuple)):
        raise Unknown("what shape a function of Python gives")
    batch = first(layer, shapes)[:1]
    if _is_shape(found):
        return (*batch, *found)
    if all(isinstance(shape, (list, tuple)) and _is_shape(shape) for shape in found):
        return [(*batch, *shape) for shape in found]
    raise Unknown("what shape a function of Python gives")


def _is_shape(values: Sequence[Any]) -> bool:
    return all(n is None or is_size(n) for n in values)


def _identity(layer: Layer, shapes: list[Shape]) -> Any:
    return first(layer, shapes) if len(shapes) < 2 else list(shapes)


def _unknown(layer: Layer, shapes: list[Shape]) -> Any:
    raise Unknown(f"what shape {layer.class_name} gives")


def _layer_scale(layer: Layer) -> Iterable[Var]:
    """Of keras.applications' ConvNeXt; it is no public layer, so others have classes of this name."""
    if layer.module is None:
        raise Unknown("a class that several packages have")
    _ = layer.built
    return (Var(None, "projection_dim"),)


RULES = (
    Rule("LayerScale", _layer_scale, output=same),
    Rule("CustomScaleLayer", output=first),  # of InceptionResNetV2
    Rule("Identity", output=_identity),
    Rule("Masking", output=same),
    Rule("Lambda", children=_lambda, output=_lambda_output),
    Rule("TorchModuleWrapper", opaque="a module of PyTorch, under its own names", output=_unknown),
    Rule("JaxLayer", opaque="functions of JAX", output=_unknown),
    Rule("FlaxLayer", opaque="a module of Flax", output=_unknown),
    Rule("TFSMLayer", opaque="a SavedModel of TensorFlow", output=_unknown),
    # tf.keras made these of TensorFlow's functions in a model
    *(Rule(name, output=_unknown) for name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")),
)
