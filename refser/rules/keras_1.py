"""Keras 1: its classes and arguments in the words of Keras 2, by which the tables know them, and its variables.

Keras: keras.layers of 1.2.2.  Spec: spec/legacy-h5.md.  Not here: which of its variables a file has, and where (legacy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from refser.rules.layer import Layer, Shape, Unknown
from refser.rules.rule import Var
from refser.rules.walk import Owner

Variables = list[tuple[Var, Shape]]

# Arguments: the same value under another name

_DENSE = {"output_dim": "units", "bias": "use_bias"}
_WINDOW = {"border_mode": "padding", "dim_ordering": "data_format"}
_FILTERS = {**_WINDOW, "nb_filter": "filters", "subsample": "strides", "bias": "use_bias", "atrous_rate": "dilation_rate"}
_CONV_1 = {**_FILTERS, "filter_length": "kernel_size", "subsample_length": "strides"}
_POOL_1 = {**_WINDOW, "pool_length": "pool_size", "stride": "strides"}
_CELL = {"output_dim": "units"}
# Class: its name in Keras 2, the arguments with other names, those that together are `kernel_size`
_CLASSES: dict[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    "AtrousConvolution1D": ("Conv1D", _CONV_1, ()),
    "AtrousConvolution2D": ("Conv2D", _FILTERS, ("nb_row", "nb_col")),
    "AveragePooling1D": ("AveragePooling1D", _POOL_1, ()),
    "AveragePooling2D": ("AveragePooling2D", _WINDOW, ()),
    "AveragePooling3D": ("AveragePooling3D", _WINDOW, ()),
    "ConvLSTM2D": ("ConvLSTM2D", _FILTERS, ("nb_row", "nb_col")),
    "Convolution1D": ("Conv1D", _CONV_1, ()),
    "Convolution2D": ("Conv2D", _FILTERS, ("nb_row", "nb_col")),
    "Convolution3D": ("Conv3D", _FILTERS, ("kernel_dim1", "kernel_dim2", "kernel_dim3")),
    "Cropping2D": ("Cropping2D", _WINDOW, ()),
    "Cropping3D": ("Cropping3D", _WINDOW, ()),
    "Dense": ("Dense", _DENSE, ()),
    "GRU": ("GRU", _CELL, ()),
    "GlobalAveragePooling2D": ("GlobalAveragePooling2D", _WINDOW, ()),
    "GlobalAveragePooling3D": ("GlobalAveragePooling3D", _WINDOW, ()),
    "GlobalMaxPooling2D": ("GlobalMaxPooling2D", _WINDOW, ()),
    "GlobalMaxPooling3D": ("GlobalMaxPooling3D", _WINDOW, ()),
    "LSTM": ("LSTM", _CELL, ()),
    "MaxPooling1D": ("MaxPooling1D", _POOL_1, ()),
    "MaxPooling2D": ("MaxPooling2D", _WINDOW, ()),
    "MaxPooling3D": ("MaxPooling3D", _WINDOW, ()),
    "SeparableConvolution2D": ("SeparableConv2D", _FILTERS, ("nb_row", "nb_col")),
    "SimpleRNN": ("SimpleRNN", _CELL, ()),
    "TimeDistributedDense": ("Dense", _DENSE, ()),
    "UpSampling1D": ("UpSampling1D", {"length": "size"}, ()),
    "UpSampling2D": ("UpSampling2D", _WINDOW, ()),
    "UpSampling3D": ("UpSampling3D", _WINDOW, ()),
    "ZeroPadding2D": ("ZeroPadding2D", _WINDOW, ()),
    "ZeroPadding3D": ("ZeroPadding3D", _WINDOW, ()),
}
_SAME = frozenset(  # what is in both as it was
    (
        *("Activation", "ActivityRegularization", "BatchNormalization", "Bidirectional", "Cropping1D", "Dropout", "ELU"),
        *("Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalMaxPooling1D"),
        *("InputLayer", "Lambda", "LeakyReLU", "Masking", "Model", "PReLU", "Permute", "RepeatVector", "Reshape", "Sequential"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ThresholdedReLU", "TimeDistributed", "ZeroPadding1D"),
    )
)
_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_MERGES = {"ave": "Average", "concat": "Concatenate", "max": "Maximum", "mul": "Multiply", "sum": "Add"}
_KNOWN = _SAME | {name for name, _, _ in _CLASSES.values()} | set(_MERGES.values())


def translated(value: Any) -> Any:
    """A serialized object in the words of Keras 2, and so all below it; what is no object is as it was.

    A class that is not known here gets a registered name that no table has.
    """
    if not isinstance(value, Mapping) or not isinstance(class_name := value.get("class_name"), str):
        return value
    config = value.get("config")
    if isinstance(config, list):
        return {**value, "config": [translated(item) for item in config]}
    if not isinstance(config, Mapping):
        return value
    found = dict(config)
    if isinstance(found.get("layers"), list) and class_name != "Merge":
        found["layers"] = [translated(item) for item in found["layers"]]
    if isinstance(found.get("layer"), Mapping):
        found["layer"] = translated(found["layer"])
    if class_name == "Merge":
        class_name = _merge(found)
    elif class_name in _CLASSES:
        class_name, names, sizes = _CLASSES[class_name]
        _rename(found, names, sizes)
    if class_name not in _KNOWN:
        return {**value, "registered_name": f"Keras 1>{class_name}", "config": found}
    return {**value, "class_name": class_name, "config": found}


def _rename(config: dict[str, Any], names: Mapping[str, str], sizes: tuple[str, ...]) -> None:
    for old, new in names.items():
        if old in config:
            value = config.pop(old)
            config[new] = _FORMATS.get(value, value) if old == "dim_ordering" and isinstance(value, str) else value
    if sizes and all(name in config for name in sizes):
        config["kernel_size"] = [config.pop(name) for name in sizes]
    padding = config.get("padding")
    if isinstance(padding, list) and len(padding) == 4:  # of ZeroPadding2D
        config["padding"] = [padding[:2], padding[2:]]


def _merge(config: dict[str, Any]) -> str:
    """Its class in Keras 2; its own where there is none."""
    mode = config.get("mode")
    if "layers" in config or not isinstance(mode, str) or mode not in _MERGES:
        return "Merge"
    if "concat_axis" in config:
        config["axis"] = config.pop("concat_axis")
    return _MERGES[mode]


def holds_models(layer: Layer) -> bool:
    """Whether it is a Merge with models in it, at the head of a Sequential: the file has their layers in its place."""
    return layer.class_name == "Merge" and "layers" in layer.config


_NEW = {name for _, names, _ in _CLASSES.values() for name in names.values()} | {"axis", "kernel_size"}


def place_in_file(at: str) -> str:
    """A JSON path that the file has: that of the object, where an argument is called otherwise in it."""
    above, _, name = at.rpartition(".")
    return above if name in _NEW else at


# Variables

_NAMES = {
    "alpha": "alphas",
    "bias": "b",
    "embeddings": "W",
    "kernel": "W",
    "moving_mean": "running_mean",
    "moving_variance": "running_std",
    "recurrent_kernel": "U",
}
_GATES = {"LSTMCell": "icfo", "ConvLSTMCell": "icfo", "GRUCell": "zrh"}


def variables(owner: Owner) -> Variables:
    """What Keras 1 has in the place of the variables that Keras 2 has.  Raises `Unknown`."""
    layer = owner.layer
    found = [(var._replace(name=_NAMES.get(var.name or "", var.name)), shape) for var, shape in owner.variables]
    if not found:
        return found
    if layer.key in _GATES:
        return _cell(layer, found)
    if (change := _CHANGES.get(layer.key)) is not None:
        return list(change(layer, found))
    return found


def _cell(layer: Layer, found: Variables) -> Variables:
    """One array for each gate, unless the layer was made for a GPU."""
    if layer.key == "ConvLSTMCell":
        _channels_last(layer)
    elif layer.config.get("consume_less") == "gpu":
        return found
    gates = _GATES[layer.key]
    return [
        (var._replace(name=f"{var.name}_{gate}"), (*shape[:-1], None if shape[-1] is None else shape[-1] // len(gates)))
        for gate in gates
        for var, shape in found
    ]


def _convolution_1(layer: Layer, found: Variables) -> Iterable[tuple[Var, Shape]]:
    """A convolution of two axes, one of them of length 1."""
    for var, shape in found:
        yield var, (shape[0], 1, *shape[1:]) if var.name == "W" else shape


def _convolution(layer: Layer, found: Variables) -> Iterable[tuple[Var, Shape]]:
    """In the order of Theano, the kernel has its filters first."""
    for var, shape in found:
        yield var, (shape[-1], shape[-2], *shape[:-2]) if var.name == "W" and layer.channels_first else shape


def _channels_last(layer: Layer, found: Variables | None = None) -> Variables:
    if layer.channels_first:
        raise Unknown(f"the kernels of a {layer.class_name} of Keras 1 with channels first")
    return found or []


_CHANGES: Mapping[str, Callable[[Layer, Variables], Iterable[tuple[Var, Shape]]]] = {
    "Conv1D": _convolution_1,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "SeparableConv2D": _channels_last,
}
