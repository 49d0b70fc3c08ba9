"""What the arguments of Keras's other objects may be: initializers, regularizers, optimizers, losses, metrics, ...

Spec: spec/argument-values.md (AR).  Observed: Keras 3.15.1.  Not here: layers.
"""

from __future__ import annotations

from typing import Any

from refser.checks._domains_kinds import (
    AXES,
    BOOLEAN,
    INTS,
    LISTS,
    NUMBER,
    NUMBERS,
    SCALAR,
    STRING,
    TENSOR,
    TEXT,
    Kind,
    either,
    integer,
    is_int,
    is_number,
    items,
    number,
    object_in,
    one_of,
    or_empty,
    or_null,
    real,
    schedule_or,
)
from refser.checks._domains_layers import NOT_NEGATIVE, SEED, SIZE, Table

_ANY_LENGTH = or_null(SCALAR)
_GIVEN = TENSOR._replace(accepts=lambda v: v is not None and TENSOR.accepts(v))
_STEPS = number(above=0)
_AXIS = or_empty(AXES)


def _is_words(value: Any) -> bool:
    if value.__class__ is list:
        return all(item.__class__ is str for item in value)
    return value.__class__ in (str, dict)


INITIALIZERS: Table = {
    "Constant": {"value": TENSOR},
    **{name: {"mean": SCALAR, "stddev": SCALAR, "seed": SEED} for name in ("RandomNormal", "TruncatedNormal")},
    "RandomUniform": {"minval": SCALAR, "maxval": SCALAR, "seed": SEED},
    **{f"{of}{how}": {"seed": SEED} for of in ("Glorot", "He", "Lecun") for how in ("Normal", "Uniform")},
    "VarianceScaling": {
        "scale": number(above=0),
        "mode": one_of("fan_in", "fan_out", "fan_avg"),
        "distribution": one_of("normal", "truncated_normal", "untruncated_normal", "uniform", caseless=True),
        "seed": SEED,
    },
    "Orthogonal": {"gain": SCALAR, "seed": SEED},
    "STFT": {
        "side": one_of("real", "imag"),
        "scaling": or_null(one_of("density", "spectrum")),
        "periodic": BOOLEAN,
    },
}
REGULARIZERS: Table = {
    "L1": {"l1": or_null(NOT_NEGATIVE)},
    "L2": {"l2": or_null(NOT_NEGATIVE)},
    "L1L2": {"l1": or_null(NOT_NEGATIVE), "l2": or_null(NOT_NEGATIVE)},
    "OrthogonalRegularizer": {"factor": NOT_NEGATIVE, "mode": one_of("rows", "columns")},
}
CONSTRAINTS: Table = {
    "MaxNorm": {"max_value": _ANY_LENGTH, "axis": _AXIS},
    "MinMaxNorm": {"min_value": _ANY_LENGTH, "max_value": _ANY_LENGTH, "rate": SCALAR, "axis": _AXIS},
    "UnitNorm": {"axis": _AXIS},
}

# Optimizers and schedules

_OF_ALL: dict[str, Kind] = {
    "name": or_null(STRING),
    "learning_rate": schedule_or(real()),
    "weight_decay": TENSOR,
    **{name: or_empty(SCALAR) for name in ("clipnorm", "clipvalue", "global_clipnorm")},
    "loss_scale_factor": or_null(SCALAR),
    "gradient_accumulation_steps": or_empty(number(2)),
}
_BETAS: dict[str, Kind] = {"beta_1": TENSOR, "beta_2": TENSOR, "epsilon": TENSOR}
_OWN: Table = {
    "SGD": {"momentum": real(0, 1)},
    "RMSprop": {"rho": SCALAR, "momentum": SCALAR, "epsilon": TENSOR},
    "Adadelta": {"rho": SCALAR, "epsilon": TENSOR},
    "Adafactor": dict.fromkeys(("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold"), TENSOR),
    "Adagrad": {"initial_accumulator_value": TENSOR, "epsilon": TENSOR},
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "Lamb", "Nadam"), _BETAS),
    "Ftrl": {
        "initial_accumulator_value": NOT_NEGATIVE,
        "learning_rate_power": number(most=0),
        "beta": SCALAR,
        **{f"{which}_regularization_strength": NOT_NEGATIVE for which in ("l1", "l2", "l2_shrinkage")},
    },
    "Lion": {"beta_1": number(above=0, most=1), "beta_2": TENSOR},
    "Muon": {
        **dict.fromkeys(("muon_a", "muon_b", "muon_c", "momentum"), SCALAR),
        "ns_steps": Kind("an integer", lambda v: is_int(v), INTS),
        "rms_rate": _ANY_LENGTH,
        "exclude_layers": or_empty(Kind("a list of strings", _is_words, LISTS)),
    },
    "ScheduleFreeAdamW": {**_BETAS, "warmup_steps": SCALAR},
}
_RATE: dict[str, Kind] = {"initial_learning_rate": TENSOR}
OPTIMIZERS: Table = {
    **{name: {**_OF_ALL, **own} for name, own in _OWN.items()},
    "AdamW": {**_OF_ALL, **_BETAS, "weight_decay": _GIVEN},
    "LossScaleOptimizer": {"name": or_null(STRING), "inner_optimizer": object_in("an optimizer", "optimizers")},
    "CosineDecay": {**_RATE, "decay_steps": _STEPS, "alpha": SCALAR},
    "CosineDecayRestarts": {**_RATE, "first_decay_steps": _STEPS, "t_mul": TENSOR, "m_mul": TENSOR, "alpha": TENSOR},
    "ExponentialDecay": {**_RATE, "decay_steps": _STEPS, "decay_rate": TENSOR},
    "InverseTimeDecay": {**_RATE, "decay_steps": _STEPS, "decay_rate": TENSOR},
    "PolynomialDecay": {**_RATE, "decay_steps": _STEPS, "end_learning_rate": TENSOR, "power": TENSOR},
    "PiecewiseConstantDecay": {"boundaries": items(TENSOR, least=1), "values": items(TENSOR, least=1)},
}

# Losses and metrics

_REDUCTION = or_null(one_of("none", "sum", "sum_over_batch_size", "mean", "mean_with_sample_weight"))
_LABELS: dict[str, Kind] = {"label_smoothing": or_empty(SCALAR), "axis": _AXIS}
LOSSES: Table = {
    "BinaryCrossentropy": _LABELS,
    "CategoricalCrossentropy": _LABELS,
    "BinaryFocalCrossentropy": {**_LABELS, "gamma": TENSOR},
    "CategoricalFocalCrossentropy": {**_LABELS, "alpha": TENSOR, "gamma": TENSOR},
    "CategoricalGeneralizedCrossEntropy": {
        "q": Kind("a number between 0 and 1", lambda v: is_number(v) and 0 < v < 1, NUMBERS)
    },
    "Tversky": {"alpha": SCALAR, "beta": SCALAR, "axis": _AXIS},
    "Dice": {"axis": _AXIS},
}
LOSS: dict[str, Kind] = {"reduction": _REDUCTION}  # of every loss

_PART = number(0, 1)
_THRESHOLDS = or_null(either(_PART, items(_PART)))
_ANY = Kind("anything", lambda v: True, frozenset())
_SUMS = ("interpolation", "majoring", "minoring")
_COUNT = {"num_thresholds": Kind("an integer, at least 1", lambda v: v == 1 or (is_int(v) and v > 0), INTS)}
_CLASSES = {"num_classes": SIZE, "target_class_ids": items(NUMBER, least=1)}
METRICS: Table = {
    "AUC": {
        "num_thresholds": integer(2),
        "curve": one_of("ROC", "PR", "PRGAIN", "roc", "pr", "prgain"),
        "summation_method": one_of(*_SUMS, *(name.capitalize() for name in _SUMS)),
        "num_labels": or_empty(integer(0)),
    },
    **{
        name: {"thresholds": _THRESHOLDS}
        for name in ("FalseNegatives", "FalsePositives", "Precision", "Recall", "TrueNegatives", "TruePositives")
    },
    "PrecisionAtRecall": {"recall": _PART, **_COUNT},
    "RecallAtPrecision": {"precision": _PART, **_COUNT},
    "SensitivityAtSpecificity": {"specificity": _PART, **_COUNT},
    "SpecificityAtSensitivity": {"sensitivity": _PART, **_COUNT},
    "FBetaScore": {
        "name": _ANY,
        "average": or_null(one_of("micro", "macro", "weighted")),
        "beta": real(above=0),
        "threshold": or_null(real(0, 1)),
    },
    "F1Score": {"name": _ANY, "average": or_null(one_of("micro", "macro", "weighted")), "threshold": or_null(real(0, 1))},
    "R2Score": {
        "class_aggregation": or_null(one_of("uniform_average", "variance_weighted_average")),
        "num_regressors": NOT_NEGATIVE,
    },
    **{name: {"num_classes": SIZE} for name in ("MeanIoU", "OneHotMeanIoU")},
    **dict.fromkeys(("IoU", "OneHotIoU", "BinaryIoU"), _CLASSES),
}
METRIC: dict[str, Kind] = {"name": or_empty(STRING)}  # of every metric

_QUANTIZER = or_null(object_in("a quantizer", "quantizers"))
_QUANTIZERS = {"weight_quantizer": _QUANTIZER}
QUANTIZERS: Table = {
    "AbsMaxQuantizer": {
        "value_range": Kind("two numbers", lambda v: v.__class__ is list and len(v) > 1, LISTS),
        "axis": Kind("an integer or a list of them", lambda v: v.__class__ is not float, NUMBERS | LISTS | TEXT),
    },
    "Int8QuantizationConfig": _QUANTIZERS,
    "Int4QuantizationConfig": {
        **_QUANTIZERS,
        "block_size": or_null(Kind("a number above 0, or -1", lambda v: is_number(v) and (v > 0 or v == -1), NUMBERS)),
    },
}
RANDOM: Table = {"SeedGenerator": {"seed": or_null(integer(0)), "name": or_null(STRING)}}
# By the module of Keras that they stand in
TABLES: dict[str, Table] = {
    "initializers": INITIALIZERS,
    "regularizers": REGULARIZERS,
    "constraints": CONSTRAINTS,
    "optimizers": OPTIMIZERS,
    "losses": LOSSES,
    "metrics": METRICS,
    "quantizers": QUANTIZERS,
    "random": RANDOM,
}
