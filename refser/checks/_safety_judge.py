"""What a name in a config would make Keras import or call, held against the modelling symbols of Keras.

Spec: spec/safety.md (SF-001 to SF-006, SF-014 to SF-018).  Keras: _retrieve_class_or_fn in keras.src.saving.serialization_lib.
Not here: where the names stand (_safety_scan).  Judged for every version of Keras at once: a file can claim to be of any.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from refser.checks._safety_names import danger_of, private_tf_is_harmless, tf_is_harmless, words
from refser.checks.symbols import Symbol, find, names
from refser.config.objects import shown

OP_LAYERS = frozenset(
    {"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"}
)
_KERAS = ("keras", "tf_keras", "keras_core")
# In no module of modelling classes, and nothing but that.
_BASES = words(
    """AbsMaxQuantizer Constraint DTypePolicy DTypePolicyMap FeatureSpace FloatDTypePolicy Initializer InputSpec KerasTensor
    Layer Loss Metric Model Operation Optimizer Policy QuantizedDTypePolicy QuantizedFloat8DTypePolicy Quantizer Regularizer
    Sequential"""
)
# Of Keras 1 and 2, which had no modules in their files, those that no later version has; and of tf.keras.
_OLD = words(
    """AlphaDropout AtrousConv1D AtrousConv2D AtrousConvolution1D AtrousConvolution2D BatchNormalizationV1 BatchNormalizationV2
    ConvLSTM2DCell ConvRNN2D ConvRecurrent2D CuDNNGRU CuDNNLSTM Deconvolution2D Deconvolution3D GRUCellV1 GRUV1 Highway
    L1L2Regularizer LSTMV1 LSTMCellV1 MaxoutDense Merge ParametricSoftplus PreprocessingLayer RandomFourierFeatures Recurrent
    SReLU SyncBatchNormalization TFOptimizer ThresholdedLinear TimeDistributedDense WeightRegularizer ActivityRegularizer
    OptimizerV2 DenseFeatures SequenceFeatures LinearModel WideDeepModel NormalizationV1 ModuleWrapper AddLoss
    AddMetric Container DefaultInitializer"""
)
# Layers that architectures of `keras.applications` have for themselves; all else in those modules fetches weights.
_OF_ARCHITECTURES = words("LayerScale StochasticDepth CustomScaleLayer")
_ARCHITECTURE = re.compile(r"keras(?:\.src)?\.applications\.(?:convnext|inception_resnet_v2)\Z")
_NAME = re.compile(r"(?:[^\x00-\x1f\x7f>]{1,200}>)?[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_MODULE = re.compile(r"[^\W\d]\w*(?:[.-]\w+)*\Z")
_PUBLIC = re.compile(r"(?:keras|tf_keras)(?:\.[a-z]\w*){0,3}\Z")
# Where the modules of Keras keep what is not public; `keras.layers` and the like are both.
_PRIVATE_PARTS = ("src", "engine", "_tf_keras", "legacy_tf_layers", "python", "integration_test", "testing_infra")
_MAKES_OBJECTS = frozenset({"deserialize", "serialize", "get", "from_config", "deserialize_keras_object", "model_from_json"})


class Judgement(NamedTuple):
    """`key` is what the loader has to supply, for what is not of Keras; those have one finding for all places."""

    verdict: str  # "unsafe", "error", "custom"
    code: str
    message: str
    key: str = ""


def judge(module: str | None, name: str, registered: str | None, *, function: bool) -> Judgement | None:
    """None for a modelling symbol of Keras."""
    written = f"{module}.{name}" if module else name
    if module and "." in name and _root(module) in _KERAS:  # Keras joins the two before it looks
        module, _, name = written.rpartition(".")
    if not module and not function and name in _OLD:
        return None
    if module and name in _OF_ARCHITECTURES and _ARCHITECTURE.match(module):
        return _contradiction(written, name, registered, function)
    symbol = _find(module, name, function)
    if symbol is not None:
        return _judge_symbol(symbol, written, name, registered, function)
    if _NAME.match(name) is None or len(name) > 300 or (module and (_MODULE.match(module) is None or len(module) > 500)):
        return Judgement("error", "SF-018", f"{shown(written)} as the name of a class; wanted a name of Python")
    if not module:
        return _judge_bare(name, function)
    for called in (name, registered):  # before 3.9 Keras looked for the one, then for the other
        if called and (danger := danger_of(module, called)) is not None:
            return Judgement("unsafe", "SF-003", f"{shown(f'{module}.{called}')} {danger}; wanted a layer or function of Keras")
    root = _root(module)
    if root in _KERAS:
        return _judge_keras(module, name, written)
    if root in ("tensorflow", "tf"):
        return _judge_tensorflow(module, name, registered, function, written)
    return _custom(module, name, registered, function)


def _find(module: str | None, name: str, function: bool) -> Symbol | None:
    if module == "builtins":  # a function that Keras finds among its own by the name alone
        return find(module, name) if function else None
    if module and module.startswith(("tf_keras", "keras_core")):
        module = f"keras{module.removeprefix('tf_keras').removeprefix('keras_core')}"
    elif module and module.startswith("tensorflow.keras"):
        module = module.removeprefix("tensorflow.")
    found = find(module, name)
    if found is None and not module and name.startswith("Custom>"):  # tf.keras 2.12 registers its own optimizers so
        found = find(None, name.removeprefix("Custom>"))
        found = found if found is not None and found.family == "optimizers" else None
    return found


def _judge_symbol(symbol: Symbol, written: str, name: str, registered: str | None, function: bool) -> Judgement | None:
    is_model_function = symbol.family == "models" and symbol.kind == "function"
    is_part = symbol.family != "other" or name in _BASES
    if not is_part or name in _MAKES_OBJECTS or is_model_function:
        message = f"{shown(written)} is no part of a model: Keras would call it; wanted a layer or function on tensors"
        return Judgement("unsafe", "SF-004", message)
    return _contradiction(written, name, registered, function)


def _contradiction(written: str, name: str, registered: str | None, function: bool) -> Judgement | None:
    if registered and registered not in (name, "function" if function else name) and not _agrees(registered, name):
        message = f"{shown(written)} with the registered name {shown(registered)}, which Keras looks up first; wanted null"
        return Judgement("unsafe", "SF-006", message)
    return None


def _agrees(registered: str, name: str) -> bool:
    """tf.keras registers its own optimizers as "Custom>Adam"."""
    return registered == f"Custom>{name}" and name in names("optimizers")


def _judge_bare(name: str, function: bool) -> Judgement:
    """A name without a module, which Keras 1 and 2 look up among their own and among what the loader supplies."""
    if "." in name and ">" not in name:
        module, _, last = name.rpartition(".")
        if (danger := danger_of(module, last)) is not None:
            return Judgement("unsafe", "SF-003", f"{shown(name)} {danger}; wanted a layer or function of Keras")
    elif name in _MAKES_OBJECTS:
        message = f"{shown(name)} is no part of a model: Keras would call it; wanted a layer or function on tensors"
        return Judgement("unsafe", "SF-004", message)
    return _custom(None, name, None, function)


def _judge_keras(module: str, name: str, written: str) -> Judgement:
    if _PUBLIC.match(module) is None or any(part in _PRIVATE_PARTS or part[:1] == "_" for part in module.split(".")[1:]):
        message = (
            f"{shown(written)} is private to Keras, and none that models are saved with; wanted a public class or function"
        )
        return Judgement("unsafe", "SF-005", message)
    if not _is_public(module):
        message = f"{shown(written)} is in a module of Keras that holds no part of a model, and would be imported"
        return Judgement("unsafe", "SF-004", message)
    message = f"{shown(written)} is in no known version of Keras; wanted one of its classes or functions"
    return Judgement("error", "SF-001", message)


_HOLDS_PARTS = words(
    """activations constraints dtype_policies initializers layers losses metrics mixed_precision models ops optimizers
    quantizers random regularizers backend"""
)


def _is_public(module: str) -> bool:
    parts = module.split(".")
    return len(parts) == 1 or parts[1] in _HOLDS_PARTS


def _judge_tensorflow(module: str, name: str, registered: str | None, function: bool, written: str) -> Judgement | None:
    if module.startswith("tensorflow.python"):
        if function and private_tf_is_harmless(module, name):
            return _custom(module, name, registered, function)
        message = f"{shown(written)} is private to TensorFlow; wanted a class or function of Keras"
        return Judgement("unsafe", "SF-005", message)
    _, _, path = written.partition(".")
    if function and tf_is_harmless(path):
        return _custom(module, name, registered, function)
    message = f"{shown(written)} is none of TensorFlow's functions on tensors; wanted a class or function of Keras"
    return Judgement("unsafe", "SF-003", message)


def _custom(module: str | None, name: str, registered: str | None, function: bool) -> Judgement:
    full = f"{module}.{name}" if module and module != "builtins" else name
    what = "function" if function else "class"
    listed = registered if registered and registered not in (name, "function") else ""
    also = f", registered as {shown(listed)}" if listed else ""
    message = f"{what} {shown(full)}{also} is not of Keras: nobody can tell what it does, and who loads the file has to have it"
    return Judgement("custom", "SF-016" if function else "SF-014", message, listed or full)


def _root(module: str) -> str:
    return module.partition(".")[0]
