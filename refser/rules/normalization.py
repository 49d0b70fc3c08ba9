"""Normalization layers.

Keras: keras.layers.normalization.  Spec: spec/layers.md.  Not here: Normalization, which adapts to data (preprocessing).
"""

from __future__ import annotations

from collections.abc import Iterable

from refser.rules.layer import Layer, Shape, Unknown, is_integer
from refser.rules.rule import Child, Rule, Var
from refser.rules.table import rule_for
from refser.rules.wrappers import child_layer, output_of

_FAR = -(1 << 62)
# What SpectralNormalization takes the norm of, by the name of the attribute.
_NORMED = ("kernel", "embeddings")


def _axis(layer: Layer, shape: Shape | None = None) -> int | None:
    """The length of the one axis, which tf.keras writes as a list of one."""
    value = layer.config.get("axis", -1)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return _axes(layer, shape)[0]
    return layer.axis(layer.integer("axis", -1, least=_FAR), shape)


def _axes(layer: Layer, shape: Shape | None = None) -> Shape:
    """The lengths of several axes, by their sorted numbers as they are written: -1 before 1."""
    value = layer.config.get("axis", -1)
    if not isinstance(value, (list, tuple)):
        return (_axis(layer, shape),)
    if not all(is_integer(number) for number in value):
        raise layer.refuse("axis", "an integer or a list of them")
    return tuple(layer.axis(number, shape) for number in sorted(value))


def _same(layer: Layer, shapes: list[Shape]) -> Shape:
    shape = layer.given(shapes)
    _axes(layer, shape)  # refuses what the input does not have
    return shape


def _layer_normalization(layer: Layer) -> Iterable[Var]:
    rms = layer.flag("rms_scaling")
    if layer.flag("scale", True) or rms:
        yield Var("gamma", "*axes")
    if layer.flag("center", True) and not rms:
        yield Var("beta", "*axes")


def _groups_axis(layer: Layer) -> int | None:
    groups, size = layer.integer("groups", 32, least=-1), _axis(layer)
    if groups == 0 or (groups > 0 and size is not None and (size < groups or size % groups)):
        raise layer.refuse("groups", f"-1 or a divisor of the {size} channels")
    return size


def _spectral(layer: Layer) -> Iterable[Var]:
    """The kernel of the layer inside, a second time, and the vector that goes with it."""
    layer.given([layer.shape], 1)
    inside = child_layer(layer)
    if inside.has("lora_rank"):
        raise Unknown(f"whether {layer.class_name} keeps the kernel or the sum of it and LoRA's product")
    of = "layer"
    if inside.policy.mode not in ("", "float8"):  # only one quantized later can be: what was its kernel stays here
        inside.policy, of = inside.policy._replace(mode=""), ""
    rule = rule_for(inside.key)
    if rule is None or rule.opaque:
        raise Unknown(f"the kernel of {inside.class_name}, a class that refser does not know")
    for var, shape in rule.variables_of(inside):
        if var.name in _NORMED:
            trainable = var.trainable and inside.trainable is not False
            dtype = var.dtype or inside.policy.variable_dtype
            yield Var(var.name, shape, trainable=trainable, dtype=dtype, of=of)
            yield Var("vector_u", (1, *shape[-1:]), trainable=False, dtype=dtype)
            return
    raise layer.refuse("layer", "a layer with a kernel or embeddings")


_MOVING = tuple(Var(name, "C", trainable=False) for name in ("moving_mean", "moving_variance"))
_RENORM = tuple(Var(name, "C", when="renorm", trainable=False) for name in ("moving_stddev", "renorm_mean", "renorm_stddev"))
_GAMMA, _BETA = Var("gamma", "C", when="scale"), Var("beta", "C", when="center")

RULES = (
    Rule("BatchNormalization", (_GAMMA, _BETA, *_MOVING, *_RENORM), dims=lambda layer: {"C": _axis(layer)}, output=_same),
    Rule("LayerNormalization", _layer_normalization, dims=lambda layer: {"axes": _axes(layer)}, output=_same),
    Rule("RMSNormalization", (Var("scale", "*axes"),), dims=lambda layer: {"axes": _axes(layer)}, output=_same),
    Rule("GroupNormalization", (_GAMMA, _BETA), dims=lambda layer: {"C": _groups_axis(layer)}, output=_same),
    Rule("UnitNormalization", output=_same),
    Rule(
        "SpectralNormalization",
        _spectral,
        children=lambda layer: (Child("layer", child_layer(layer)),),
        output=lambda layer, shapes: output_of(layer.wrapped("layer"), shapes),
    ),
)
