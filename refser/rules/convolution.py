"""Convolutions: plain, transposed, depthwise and separable.

Keras: keras.layers.convolutional.  Spec: spec/layers.md.
"""

from __future__ import annotations

from functools import partial

from refser.config.objects import invalid
from refser.rules.arguments import ACTIVATION
from refser.rules.layer import KERAS_3, Layer, Shape
from refser.rules.rule import Dims, Rule, Size, Var
from refser.rules.spatial import aliases, each, first, keras_1, padding_of, sized, split, window

RANKS = (1, 2, 3)
BIAS = Var("bias", "filters", when="use_bias")
PLAIN = (
    Var("kernel", "*kernel_size, in//groups, filters", when="!lora_rank"),
    # The kernel and its low-rank change are saved as one array, whose type is that of the product
    Var("kernel", "*kernel_size, in//groups, filters", when="lora_rank", trainable=False, dtype="compute"),
    BIAS,
)
TRANSPOSED = (Var("kernel", "*kernel_size, filters, in"), BIAS)
DEPTHWISE = (
    Var("kernel", "*kernel_size, in, depth_multiplier"),
    Var("bias", "in*depth_multiplier", when="use_bias"),
)
SEPARABLE = (
    Var("depthwise_kernel", "*kernel_size, in, depth_multiplier"),
    Var("pointwise_kernel", "*ones, in*depth_multiplier, filters"),
    BIAS,
)


def _depthwise(layer: Layer) -> tuple[Var, ...]:
    """tf.keras calls the kernel of the depthwise layers as it does that of the separable ones."""
    return DEPTHWISE if layer.version >= KERAS_3 else (DEPTHWISE[0]._replace(name="depthwise_kernel"), DEPTHWISE[1])


def _dims(rank: int, layer: Layer) -> Dims:
    channels = split(layer, layer.shape, rank).channels
    return {"kernel_size": layer.ints("kernel_size", rank), "in": channels, "depth_multiplier": _multiplier(layer)}


def _grouped(rank: int, layer: Layer) -> Dims:
    dims, groups, filters = _dims(rank, layer), layer.integer("groups", 1), layer.integer("filters")
    channels = dims["in"]
    if filters % groups or (isinstance(channels, int) and channels % groups):
        sizes = f"{channels} channels and {filters} filters"
        raise invalid("LY-004", f"{layer.class_name} would divide {sizes} into {groups} groups", layer.at)
    return {**dims, "groups": groups}


def _separable(rank: int, layer: Layer) -> Dims:
    return {**_dims(rank, layer), "ones": (1,) * rank}


def _multiplier(layer: Layer) -> int:
    return layer.integer("depth_multiplier", 1)


def _plain_output(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    keras_1(layer)
    return _convolved(rank, layer, shapes, layer.integer("filters"))


def _depthwise_output(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    channels = split(layer, first(layer, shapes), rank).channels
    return _convolved(rank, layer, shapes, None if channels is None else sized(layer, channels * _multiplier(layer)))


def _convolved(rank: int, layer: Layer, shapes: list[Shape], channels: Size) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    padding = padding_of(layer, ("valid", "same", "causal") if rank == 1 else ("valid", "same"))
    sizes, strides, dilations = (layer.ints("kernel_size", rank), *_steps(rank, layer))
    least = 1 if padding == "valid" else 0
    return axes.shape(channels, each(layer, window(padding), axes.spatial, sizes, strides, dilations, least=least))


def _steps(rank: int, layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return layer.ints("strides", rank, 1), layer.ints("dilation_rate", rank, 1)


def _transposed_output(rank: int, layer: Layer, shapes: list[Shape]) -> Shape:
    axes = split(layer, first(layer, shapes), rank)
    valid = padding_of(layer) == "valid"
    strides, dilations = _steps(rank, layer)
    sizes = [(size - 1) * dilation + 1 for size, dilation in zip(layer.ints("kernel_size", rank), dilations)]
    if layer.has("output_padding"):
        added = layer.ints("output_padding", rank, least=0)
        if any(more >= stride for more, stride in zip(added, strides)):
            raise layer.refuse("output_padding", "numbers below those of strides")
    else:  # as much as makes n * stride of n
        added = tuple(max(0, stride - (size if valid else size % 2)) for size, stride in zip(sizes, strides))

    def length(n: int, size: int, stride: int, more: int) -> int:
        return (n - 1) * stride + (size if valid else size % 2) + more

    return axes.shape(layer.integer("filters"), each(layer, length, axes.spatial, sizes, strides, added))


_RULES = (
    *(Rule(f"Conv{n}D", PLAIN, partial(_grouped, n), ACTIVATION, partial(_plain_output, n), own_order=True) for n in RANKS),
    *(Rule(f"Conv{n}DTranspose", TRANSPOSED, partial(_dims, n), ACTIVATION, partial(_transposed_output, n)) for n in RANKS),
    *(Rule(f"DepthwiseConv{n}D", _depthwise, partial(_dims, n), ACTIVATION, partial(_depthwise_output, n)) for n in (1, 2)),
    *(Rule(f"SeparableConv{n}D", SEPARABLE, partial(_separable, n), ACTIVATION, partial(_plain_output, n)) for n in (1, 2)),
)

RULES = (
    *_RULES,
    *(rule for rule in aliases(_RULES, ("Conv", "Convolution")) if not rule.class_name.startswith("Depthwise")),
)
