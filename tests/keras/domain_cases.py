"""Objects of every class that Keras owns, and odd values for each of their arguments.  Imports Keras late."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Use = Callable[[Any], object]


class Sample(NamedTuple):
    """A serialized object that Keras takes, and what is done with it while a model is loaded."""

    class_name: str
    json: dict[str, Any]
    use: Use


class Mutant(NamedTuple):
    """A sample with another value for one argument."""

    sample: Sample
    argument: str
    value: Any
    json: dict[str, Any]


def _object(module: str, class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


ADAM = _object("keras.optimizers", "Adam")
ONES = _object("keras.initializers", "Ones")
DENSE = {**_object("keras.layers", "Dense", units=3), "build_config": None}
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        3,
        7,
        1000,
        1.0,
        2.0,
        2.5,
        0.5,
        -0.5,
        1.5,
        "",
        "sam",
        "same",
        "SAME",
        "valid",
        "1",
        "relu",
    ),
    *("causal", "zeros", "Zeros", "l2", "max_norm", "channels_middle", "channels_first", "float16", "float31", "int8"),
    *("no", "mixed_float16", "int8_from_float16", "one_hot", "bilinear", "mean", "auto", "sum", "adam", "mse", "inherit"),
    *([], [1], [0], [-1], [1, 2], [2, -1], [0, 0], [0.1, 0.2], [0.2, 0.1], [1, 2, 3], [None], [None, 3], [None, -3], ["a"]),
    *([[1, 2], [1, 2]], [[1]], [1.5, 2.5], [True, 2], ["1", "2"], {}, {"a": 1}, {"class_name": "Nothing", "config": {}}),
    *(ADAM, ONES, DENSE, _object("keras.regularizers", "L2"), _object("keras.constraints", "NonNeg")),
    *(_object("keras.losses", "MeanSquaredError"), _object("keras", "DTypePolicy", name="float16")),
    {"module": "keras.activations", "class_name": "function", "config": "relu", "registered_name": "relu"},
)
POLICIES: tuple[Any, ...] = (
    *(
        "half",
        "float",
        "double",
        "int",
        "infer",
        "bool",
        "string",
        "int16",
        "uint8",
        "int4",
        "float8",
        "float8_e4m3fn",
        "Float32",
    ),
    *("mixed_float32", "mixed_bfloat16", "int8_from_x", "int4/32_from_float32", "int4/0_from_float32"),
    *("gptq", "gptq/4/128_from_float32", "gptq/5/128_from_float32", "int4_from_float32", "awq/4/128_from_float32"),
    *(
        "awq/3/128_from_float32",
        "float8_from_float16",
        "int8_from_mixed_float16",
        "int8_from_int8",
        "int8_from_",
        "int8_from_int",
    ),
    *(
        "_from_float32",
        "int8_from_half",
        "float8_from_mixed_float16",
        "int8_from_float32_from_float32",
        "float8/3_from_float32",
    ),
    _object("keras", "DTypePolicy", name="float31"),
    _object("keras", "DTypePolicy", name="int8"),
    _object("keras", "DTypePolicy", name=5),
    _object("keras", "QuantizedDTypePolicy", mode="int8", source_name="float32"),
    _object("keras", "QuantizedDTypePolicy", mode="int9", source_name="float32"),
)


def odd_values(valid: Any) -> Iterator[Any]:
    yield from ODD
    if isinstance(valid, (list, tuple)):
        valid = list(valid)
        yield [*valid, 1]
        yield valid[:-1]
        for item in (-1, 0, 1, 2.0, "a", None):
            yield [item, *valid[1:]]
            yield [*valid[:-1], item]
    elif isinstance(valid, str):
        yield from (valid.upper(), [valid], valid + "x")
    elif isinstance(valid, (int, float)):
        yield from (str(valid), [valid], -valid)


def mutants(sample: Sample) -> Iterator[Mutant]:
    for argument, valid in sample.json["config"].items():
        seen = set()
        for value in [*odd_values(valid), *(POLICIES if argument == "dtype" else ())]:
            text = json.dumps(value)
            if text in seen or text == json.dumps(valid):
                continue
            seen.add(text)
            changed = {**sample.json, "config": {**sample.json["config"], argument: copy.deepcopy(value)}}
            yield Mutant(sample, argument, value, changed)


def load(value: dict[str, Any]) -> Any:
    """What Keras makes of a serialized object."""
    import keras

    return keras.saving.deserialize_keras_object(copy.deepcopy(value))


def serialized(live: Any) -> dict[str, Any]:
    import keras

    found: dict[str, Any] = json.loads(json.dumps(keras.saving.serialize_keras_object(live)))
    found.pop("build_config", None)
    return found


# Layers


def layers() -> Iterator[Sample]:
    import cases_composite
    import keras
    import test_rules_composite as composite
    import test_rules_core as core
    import test_rules_preprocessing as preprocessing
    import test_rules_simple as simple

    def symbolic(shapes: Any, dtype: str = "float32") -> Any:
        found = [keras.KerasTensor(shape, dtype) for shape in shapes]
        return found if len(found) > 1 else found[0]

    for name, cases in simple.CASES.items():
        for case in cases if name != "Lambda" else ():
            inputs = case.inputs
            as_list = name in simple.MERGING
            yield Sample(
                name,
                serialized(simple.layer_of(name, case)),
                lambda it, inputs=inputs, as_list=as_list: it(
                    [symbolic(inputs)] if as_list and len(inputs) == 1 else symbolic(inputs)
                ),
            )
    for name, core_cases in core.CASES.items():
        for core_case in core_cases:
            yield Sample(
                name,
                serialized(core.layer(name, core_case)),
                lambda it, case=core_case: it(symbolic([case.shape], case.dtype)),
            )
    for name, composite_cases in cases_composite.CASES.items():
        for composite_case in composite_cases:
            yield Sample(
                name,
                serialized(composite.make(composite.Spec(name, composite_case.options))),
                lambda it, case=composite_case: composite.apply(
                    it, case.call, [keras.KerasTensor((case.batch, *shape)) for shape in case.inputs]
                ),
            )
    for name, others in preprocessing.CASES.items():
        for other in others:
            works = preprocessing.HAS_TENSORFLOW or not preprocessing.with_tensorflow(name, other)
            if other.adapt is None and works and name != "RandomShear":  # which does not take what it writes
                yield Sample(
                    name,
                    serialized(preprocessing.make(name, other)),
                    lambda it, case=other: it(symbolic(preprocessing.shapes_of(case), case.of)),
                )
    for options in ({"batch_shape": [None, 3]}, {"batch_shape": [2, 3, 4], "dtype": "int32", "optional": True}):
        yield Sample("InputLayer", serialized(keras.layers.InputLayer(**options)), lambda it: it.output)

    def stepped(cell: Any) -> Any:
        return keras.layers.RNN(cell)(symbolic([(None, 5, 4)]))

    for name in ("SimpleRNNCell", "LSTMCell", "GRUCell"):
        yield Sample(name, serialized(getattr(keras.layers, name)(3)), stepped)
    cells = [keras.layers.LSTMCell(2), keras.layers.GRUCell(3)]
    stacked = serialized(keras.layers.StackedRNNCells(cells))
    yield Sample("StackedRNNCells", stacked, stepped)
    yield Sample("Wrapper", serialized(keras.layers.Wrapper(keras.layers.Dense(2))), lambda it: None)


# The rest

_NAMES = (("Precision", "Recall"), ("Sensitivity", "Specificity"))
PAIRS = (*_NAMES, *((other, one) for one, other in _NAMES))


def others() -> Iterator[Sample]:
    import keras
    from keras import constraints, dtype_policies, initializers, losses, metrics, optimizers, quantizers, regularizers

    ones = keras.ops.ones
    for made in (
        *(getattr(initializers, name)() for name in ("Zeros", "Ones", "Identity", "GlorotUniform", "GlorotNormal", "HeNormal")),
        *(getattr(initializers, name)() for name in ("HeUniform", "LecunNormal", "LecunUniform", "Orthogonal")),
        *(getattr(initializers, name)() for name in ("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling")),
        initializers.Constant(0.5),
        initializers.RandomNormal(seed=3),
    ):
        yield Sample(type(made).__name__, serialized(made), lambda it: it((4, 4), "float32"))
    stft = initializers.STFT("real")
    yield Sample("STFT", serialized(stft), lambda it: it((8, 1, 5), "float32"))
    for made in (regularizers.L1(), regularizers.L2(), regularizers.L1L2(0.1, 0.2), regularizers.OrthogonalRegularizer()):
        yield Sample(type(made).__name__, serialized(made), lambda it: it(ones((4, 4))))
    for made in (constraints.MaxNorm(), constraints.MinMaxNorm(), constraints.NonNeg(), constraints.UnitNorm()):
        yield Sample(type(made).__name__, serialized(made), lambda it: it(ones((4, 4))))
    schedules = optimizers.schedules
    for made in (
        schedules.CosineDecay(0.1, 10),
        schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3),
        schedules.CosineDecayRestarts(0.1, 10),
        schedules.ExponentialDecay(0.1, 10, 0.9),
        schedules.InverseTimeDecay(0.1, 10, 0.9),
        schedules.PiecewiseConstantDecay([1, 5], [0.1, 0.2, 0.3]),
        schedules.PolynomialDecay(0.1, 10),
    ):
        yield Sample(type(made).__name__, serialized(made), lambda it: it(1))

    def step(optimizer: Any) -> None:
        variable = keras.Variable(ones((4, 4)), name="v")
        optimizer.build([variable])
        optimizer.apply([ones((4, 4))], [variable])

    names = ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon", "Nadam", "RMSprop")
    for name in (*names, "SGD", "ScheduleFreeAdamW"):
        yield Sample(name, serialized(getattr(optimizers, name)()), step)
    for made in (
        optimizers.SGD(momentum=0.9, clipnorm=1.0, use_ema=True),
        optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.9)),
        optimizers.LossScaleOptimizer(optimizers.SGD()),
    ):
        yield Sample(type(made).__name__, serialized(made), step)
    for name in dir(losses):
        cls = getattr(losses, name)
        if isinstance(cls, type) and issubclass(cls, losses.Loss) and cls is not losses.Loss:
            yield Sample(name, serialized(cls()), lambda it: it(ones((4, 4)), ones((4, 4))))
    needed = {
        "IoU": {"num_classes": 2, "target_class_ids": [0]},
        "OneHotIoU": {"num_classes": 2, "target_class_ids": [0]},
        **{name: {"num_classes": 2} for name in ("MeanIoU", "OneHotMeanIoU")},
        **{f"{one}At{other}": {other.lower(): 0.5} for one, other in (("Precision", "Recall"), ("Recall", "Precision"))},
        **{
            f"S{one}AtS{other}": {f"s{other}": 0.5}
            for one, other in (("ensitivity", "pecificity"), ("pecificity", "ensitivity"))
        },
    }
    for name in dir(metrics):
        cls = getattr(metrics, name)
        if isinstance(cls, type) and issubclass(cls, metrics.Metric) and name not in ("Metric", "MeanMetricWrapper"):
            made = cls(**needed.get(name, {}))
            yield Sample(name, serialized(made), lambda it: None)
    for made in (
        dtype_policies.DTypePolicy("mixed_float16"),
        dtype_policies.QuantizedDTypePolicy("int8", "float32"),
        dtype_policies.QuantizedFloat8DTypePolicy("float8", "float32"),
        dtype_policies.GPTQDTypePolicy("gptq/4/128", "float32"),
        dtype_policies.AWQDTypePolicy("awq/4/128", "float32"),
        dtype_policies.Int4DTypePolicy("int4/128", "float32"),
        dtype_policies.DTypePolicyMap("float32"),
    ):
        yield Sample(type(made).__name__, serialized(made), lambda it: it.compute_dtype)
    for made in (quantizers.AbsMaxQuantizer(axis=-1), quantizers.Int8QuantizationConfig(), quantizers.Int4QuantizationConfig()):
        yield Sample(type(made).__name__, serialized(made), lambda it: None)
    yield Sample("SeedGenerator", serialized(keras.random.SeedGenerator(3)), lambda it: None)
