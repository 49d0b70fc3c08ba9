"""An instance or two of any class of Keras, in any version.  Imported by dump.py inside an install of Keras."""

from __future__ import annotations

import contextlib
import inspect
import io

# Keys that files of some version have somewhere, tried on every class.
GENERAL = [
    "activity_regularizer",
    "autocast",
    "batch_input_shape",
    "batch_shape",
    "batch_size",
    "build_input_shape",
    "dtype",
    "dynamic",
    "experimental_autocast",
    "input_axes",
    "input_dim",
    "input_length",
    "input_shape",
    "input_tensor",
    "input_spec",
    "is_legacy_optimizer",
    "jit_compile",
    "lora_alpha",
    "lora_rank",
    "name",
    "optional",
    "output_axes",
    "quantization_config",
    "quantization_mode",
    "ragged",
    "registered_name",
    "seed",
    "shape",
    "shared_object_id",
    "sparse",
    "trainable",
    "type_spec",
    "weights",
    "auto_track_sublayers",
    "build_config",
    "compile_config",
    "decay",
    "lr",
    "reduction",
    "fn",
    "module",
]

_VALUES = {
    "input_shape": (2,),
    "batch_input_shape": (None, 2),
    "batch_shape": (None, 2),
    "shape": (2,),
    "dtype": "float32",
    "name": "some_name",
    "trainable": True,
    "sparse": False,
    "ragged": False,
    "optional": False,
}


def argument(word, default):
    if word in _VALUES:
        return _VALUES[word]
    return None if default is inspect.Parameter.empty else default


# The arguments that a class cannot do without, by their name.
_BY_NAME = {
    "units": 4,
    "filters": 4,
    "kernel_size": 1,
    "input_dim": 4,
    "output_dim": 4,
    "rate": 0.1,
    "stddev": 0.1,
    "dims": (1,),
    "n": 2,
    "size": 2,
    "target_shape": (-1,),
    "height": 4,
    "width": 4,
    "factor": 0.1,
    "height_factor": 0.1,
    "scale": 1.0,
    "num_bins": 3,
    "bin_boundaries": [0.0, 1.0],
    "num_tokens": 3,
    "head_dim": 2,
    "key_dim": 2,
    "num_heads": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 2,
    "mask_value": 0.0,
    "equation": "ab,bc->ac",
    "output_shape": (4,),
    "axes": 1,
    "cropping": 0,
    "alpha": 0.5,
    "value": 0.5,
    "gain": 1.0,
    "initial_learning_rate": 0.1,
    "decay_steps": 10,
    "decay_rate": 0.9,
    "first_decay_steps": 10,
    "boundaries": [1],
    "values": [0.1, 0.01],
    "learning_rate": 0.1,
    "num_classes": 2,
    "target_class_ids": [0],
    "sensitivity": 0.5,
    "specificity": 0.5,
    "precision": 0.5,
    "recall": 0.5,
    "thresholds": None,
    "mode": "fan_in",
    "lower": 0.0,
    "upper": 1.0,
    "factors": 0.1,
    "sequence_length": 4,
    "sequence_stride": 1,
    "filterbank": 4,
    "l1": 0.1,
    "l2": 0.1,
    "factor_range": 0.1,
    "threshold": 0.5,
    "seed": 1,
    "pool_size": 2,
    "min_value": 0,
    "max_value": 1,
    "max_tokens": 5,
    "value_range": (0, 255),
    "name": "some_name",
    "initializer": "zeros",
    "shape": (2,),
    "bits": 8,
    "fft_length": 4,
    "sampling_rate": 8,
    "output_size": 2,
    "max_number": 2,
    "width_factor": 0.1,
    "loss": "mse",
}


def instances(cls, keras):
    """As many as can be made."""
    found = []
    for arguments in _recipes(cls, keras):
        with (
            contextlib.suppress(Exception),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            found.append(cls(**arguments) if isinstance(arguments, dict) else arguments())
    return found[:2]


def _recipes(cls, keras):
    name = cls.__name__
    layers = keras.layers
    special = {
        "Bidirectional": lambda: cls(layers.LSTM(2)),
        "TimeDistributed": lambda: cls(layers.Dense(2)),
        "SpectralNormalization": lambda: cls(layers.Dense(2)),
        "Wrapper": lambda: cls(layers.Dense(2)),
        "RNN": lambda: cls(layers.LSTMCell(2)),
        "StackedRNNCells": lambda: cls([layers.LSTMCell(2)]),
        "Sequential": lambda: keras.Sequential([layers.Dense(2)]),
        "Functional": lambda: _functional(keras),
        "Model": lambda: _functional(keras),
        "InputLayer": lambda: layers.InputLayer(
            **({"batch_input_shape": (None, 2)} if keras.__version__[0] == "2" else {"batch_shape": (None, 2)})
        ),
        "Lambda": lambda: cls(keras.activations.relu),
        "Activation": lambda: cls("relu"),
        "LossScaleOptimizer": lambda: cls(keras.optimizers.SGD()),
        "MultiOptimizer": lambda: cls([keras.optimizers.SGD()]),
        "Muon": lambda: cls(),
        "MeanMetricWrapper": lambda: cls(keras.losses.mean_squared_error),
        "LossFunctionWrapper": lambda: cls(keras.losses.mean_squared_error),
        "SumOverBatchSizeMetricWrapper": lambda: cls(keras.losses.mean_squared_error),
        "MeanRelativeError": lambda: cls([1.0]),
        "ConvLSTMCell": lambda: cls(1, 4, 1),
        "DTypePolicy": lambda: cls("mixed_bfloat16"),
        "DTypePolicyMap": lambda: cls("float32"),
        "QuantizedDTypePolicy": lambda: cls("int8", "float32"),
        "QuantizedFloat8DTypePolicy": lambda: cls("float8", "float32"),
        "GPTQDTypePolicy": lambda: cls("gptq/4/128", "float32"),
        "AWQDTypePolicy": lambda: cls("awq/4/128", "float32"),
        "Policy": lambda: cls("float32"),
        "Pipeline": lambda: cls([layers.Rescaling(0.5)]),
        "FeatureSpace": lambda: cls({"a": "float_normalized"}, output_mode="concat"),
        "RandomApply": lambda: cls(layers.Rescaling(0.5)),
        "AugMix": lambda: cls(value_range=(0, 255)),
        "StringLookup": lambda: cls(vocabulary=["a", "b"]),
        "IntegerLookup": lambda: cls(vocabulary=[1, 2]),
        "Resizing": lambda: cls(4, 4),
        "CategoryEncoding": lambda: cls(num_tokens=3),
        "Discretization": lambda: cls(bin_boundaries=[0.0, 1.0]),
        "Int4DTypePolicy": lambda: cls("int4/128", "float32"),
        "RandomPosterization": lambda: cls(4),
        "EinsumDense": lambda: cls("ab,bc->ac", output_shape=4),
    }
    if name in special:
        yield special[name]
    yield {}
    try:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        return
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if needed and all(word in _BY_NAME for word in needed):
        yield {word: _BY_NAME[word] for word in needed}
        yield {**{word: _BY_NAME[word] for word in needed}, **({"axis": 0} if "axis" in needed else {})}


def _functional(keras):
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))
