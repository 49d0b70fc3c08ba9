"""What the arguments of Keras's layers may be, by class; those of preprocessing layers are beside it.

Spec: spec/argument-values.md (AR).  Observed: Keras 3.15.1.  An argument that is not here is not looked at: Keras takes
anything for it, or asks for its truth alone, as for use_bias.
"""

from __future__ import annotations

from typing import Any

from refser.checks._domains_kinds import (
    ACTIVATION,
    AXES,
    BOOLEAN,
    DTYPE,
    FLOATABLE,
    INPUT,
    INTS,
    LISTS,
    NUMBER,
    RATE,
    STRING,
    TENSOR,
    TEXT,
    Kind,
    either,
    ends,
    integer,
    is_int,
    items,
    layer_in,
    number,
    object_named,
    object_of,
    one_of,
    or_empty,
    or_null,
    per_axis,
)
from refser.checks._domains_names import CONSTRAINTS, INITIALIZERS, REGULARIZERS

Table = dict[str, dict[str, Kind]]

SIZE = integer(1)
_COUNT = integer(1, bools=False)
NOT_NEGATIVE = number(0)
INITIALIZER = object_of("initializers", INITIALIZERS)
REGULARIZER = object_of("regularizers", REGULARIZERS)
CONSTRAINT = object_of("constraints", CONSTRAINTS)
DATA_FORMAT = or_null(one_of("channels_last", "channels_first", caseless=True))
_GENERATOR = object_named("a SeedGenerator", "SeedGenerator")
SEED = or_null(either(integer(0), _GENERATOR))
LAYER = layer_in("a layer")
CELL = layer_in("a cell", ("ConvLSTMCell", "GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"))
RECURRENT = layer_in(
    "a recurrent layer", ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN", "Bidirectional")
)

_KERNELS = ("bias", "depthwise", "embeddings", "kernel", "pointwise", "recurrent")
_VARIABLES = (*_KERNELS, "alpha", "beta", "gamma", "moving_mean", "moving_variance")
# Of every layer that has an argument of this name.  `dtype` is a policy, which has a check of its own
SHARED: dict[str, Kind] = {
    "name": or_null(Kind("a string without /", lambda v: v.__class__ is str and "/" not in v, TEXT)),
    "trainable": BOOLEAN,
    "activation": ACTIVATION,
    "recurrent_activation": ACTIVATION,
    "activity_regularizer": REGULARIZER,
    "data_format": DATA_FORMAT,
    **{f"{of}_initializer": INITIALIZER for of in _VARIABLES},
    **{f"{of}_regularizer": REGULARIZER for of in _VARIABLES},
    **{f"{of}_constraint": CONSTRAINT for of in _VARIABLES},
}

_LISTED = Kind("padding", lambda v: v.__class__ is list, LISTS)  # of which Keras asks nothing while it loads
_LORA = {"lora_rank": or_empty(integer(0))}
_PADDING = one_of("valid", "same", caseless=True)
PADDING = _PADDING._replace(accepts=either(_PADDING, _LISTED).accepts)
_CAUSAL = one_of("valid", "same", "causal", caseless=True)
_SHORT = or_null(one_of("valid", "same"))


def _window(rank: int) -> dict[str, Kind]:
    return {
        "kernel_size": per_axis(rank),
        "strides": per_axis(rank, floats=True),
        "dilation_rate": per_axis(rank, floats=True),
        "padding": PADDING,
    }


def _convolution(rank: int) -> dict[str, Kind]:
    padding = _CAUSAL._replace(accepts=either(_CAUSAL, _LISTED).accepts) if rank == 1 else PADDING
    return {**_window(rank), "filters": SIZE, "groups": SIZE, "padding": padding, **_LORA}


def _transposed(rank: int) -> dict[str, Kind]:
    return {**_window(rank), "filters": SIZE, "output_padding": or_null(per_axis(rank, 0, floats=True))}


def _depthwise(rank: int) -> dict[str, Kind]:
    return {**_window(rank), "depth_multiplier": SIZE}


def _pooling(rank: int) -> dict[str, Kind]:
    return {
        "pool_size": per_axis(rank, floats=True),
        "strides": or_null(per_axis(rank, floats=True)),
        "padding": one_of("valid", "same"),
    }


def _adaptive(rank: int) -> dict[str, Kind]:
    size = or_null(integer(0))
    each = items(size, least=rank, most=rank, wanted=f"a list of {rank} integers or null")
    return {
        "output_size": either(integer(0), each),
        "data_format": or_empty(one_of("channels_last", "channels_first")),
    }


_RECURRENT: dict[str, Kind] = {"dropout": NUMBER, "recurrent_dropout": NUMBER, "seed": SEED}
_ATTENTION: dict[str, Kind] = {
    "dropout": RATE,
    "sliding_window": or_null(SIZE),
}
_DROPOUT = {"rate": RATE, "seed": SEED}

_POLICY = object_named("a dtype policy", "DTypePolicy", "FloatDTypePolicy")


def _is_target(value: Any) -> bool:
    if value.__class__ is list:
        return value.count(-1) <= 1 and not any(is_int(n) and n < -1 for n in value)
    return value.__class__ in (str, dict)


_TARGET = Kind("a shape: a list of integers, of which one may be -1", _is_target, LISTS, "AR-014")

_NOISE = items(or_null(integer(1)), wanted="a shape: a list of sizes, at least 1, null where one is unknown")
_NOISE = _NOISE._replace(code="AR-014")

LAYERS: Table = {
    # Core
    "Dense": {"units": SIZE, **_LORA},
    "EinsumDense": {
        "equation": STRING,
        "output_shape": either(items(or_null(integer(0))), integer(0))._replace(code="AR-014"),
        "bias_axes": or_null(either(STRING, items(STRING))),
        **_LORA,
    },
    "Embedding": {"input_dim": _COUNT, "output_dim": _COUNT, **_LORA},
    "ReversibleEmbedding": {"input_dim": _COUNT, "output_dim": _COUNT, **_LORA},
    "InputLayer": {"batch_shape": INPUT, "shape": INPUT, "dtype": or_null(either(DTYPE, _POLICY))},
    "Wrapper": {"layer": LAYER},
    # Convolutions and poolings
    **{f"Conv{n}D": _convolution(n) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _transposed(n) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": _depthwise(n) for n in (1, 2)},
    **{f"SeparableConv{n}D": {**_depthwise(n), "filters": SIZE} for n in (1, 2)},
    **{f"{kind}Pooling{n}D": _pooling(n) for kind in ("Average", "Max") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pooling{n}D": _adaptive(n) for kind in ("Average", "Max") for n in (1, 2, 3)},
    # Recurrent layers
    **{name: {"units": SIZE, **_RECURRENT} for name in ("LSTM", "GRU", "SimpleRNNCell", "LSTMCell", "GRUCell")},
    "SimpleRNN": {"units": SIZE, **_RECURRENT, "activity_regularizer": Kind("anything", lambda v: True, INTS)},
    **{f"ConvLSTM{n}D": {**_window(n), "filters": integer(0), **_RECURRENT} for n in (1, 2, 3)},
    "RNN": {"cell": either(CELL, items(CELL, least=1))},
    "StackedRNNCells": {"cells": items(CELL, least=1)._replace(code="AR-015")},
    "Bidirectional": {
        "layer": RECURRENT,
        "backward_layer": or_null(RECURRENT),
        "merge_mode": or_null(one_of("sum", "mul", "ave", "concat")),
    },
    "TimeDistributed": {"layer": LAYER},
    # Attention
    "Attention": {"score_mode": one_of("dot", "concat"), "dropout": NUMBER},
    "AdditiveAttention": {"dropout": NUMBER},
    "MultiHeadAttention": {
        "num_heads": SIZE,
        "key_dim": SIZE,
        "value_dim": or_null(SIZE),
        "output_shape": or_empty(either(items(integer(0)), integer(0)))._replace(code="AR-014"),
        "attention_axes": or_empty(AXES),
        **_ATTENTION,
    },
    "GroupQueryAttention": {
        "head_dim": SIZE,
        "num_query_heads": integer(0),
        "num_key_value_heads": SIZE,
        **_ATTENTION,
    },
    # Normalization
    "BatchNormalization": {"axis": FLOATABLE, "momentum": FLOATABLE, "epsilon": FLOATABLE},
    "LayerNormalization": {"axis": AXES},
    "RMSNormalization": {"axis": AXES},
    "UnitNormalization": {"axis": AXES},
    "GroupNormalization": {
        "groups": Kind("an integer, at least 1, or -1", lambda v: is_int(v) and (v > 0 or v == -1), INTS),
        "axis": Kind("an integer", lambda v: is_int(v), INTS),
    },
    "SpectralNormalization": {"layer": LAYER, "power_iterations": number(above=0)},
    # Regularization
    **dict.fromkeys(("AlphaDropout", "GaussianDropout", *(f"SpatialDropout{n}D" for n in (1, 2, 3))), _DROPOUT),
    "Dropout": {
        **_DROPOUT,
        "noise_shape": or_empty(_NOISE),
    },
    "GaussianNoise": {"stddev": RATE, "seed": SEED},
    "ActivityRegularization": {"l1": or_null(NOT_NEGATIVE), "l2": or_null(NOT_NEGATIVE)},
    # Activations
    "LeakyReLU": {"negative_slope": NOT_NEGATIVE},
    "ReLU": {"max_value": or_null(NOT_NEGATIVE), "negative_slope": NOT_NEGATIVE, "threshold": NOT_NEGATIVE},
    "PReLU": {"shared_axes": or_null(AXES)},
    # Shapes
    "Reshape": {"target_shape": _TARGET},
    "Permute": {
        "dims": Kind(
            "the numbers from 1 up to the number of axes, each once",
            lambda v: v.__class__ is list and bool(v) and _is_order(v),
            LISTS,
        )
    },
    "RepeatVector": {"n": _COUNT},
    "Cropping1D": {"cropping": either(integer(0), items(integer(0), least=2, most=2))},
    "Cropping2D": {"cropping": ends(2, 0)},
    "Cropping3D": {"cropping": ends(3, 0)},
    "ZeroPadding1D": {"padding": either(integer(0), items(integer(0), least=2, most=2))},
    "ZeroPadding2D": {"padding": ends(2, None)},
    "ZeroPadding3D": {"padding": ends(3, None)},
    "UpSampling1D": {"size": _COUNT},
    "UpSampling2D": {"size": per_axis(2, floats=True), "interpolation": STRING},
    "UpSampling3D": {"size": per_axis(3, floats=True)},
    # Merges
    "Concatenate": {"axis": Kind("an integer", lambda v: is_int(v), INTS)},
    "Dot": {
        "axes": Kind(
            "an integer, or two of them",
            lambda v: is_int(v) or (v.__class__ is list and len(v) == 2 and all(is_int(n) for n in v)),
            INTS | LISTS,
        )
    },
}
__all__ = ["DATA_FORMAT", "LAYERS", "NOT_NEGATIVE", "SEED", "SHARED", "SIZE", "TENSOR"]


def _is_order(values: list[object]) -> bool:
    numbers = [n for n in values if isinstance(n, (int, float))]
    return len(numbers) == len(values) and sorted(numbers) == list(range(1, len(values) + 1))
