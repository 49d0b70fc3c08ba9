"""What stands in the arguments of Keras's own objects: values of the right types, within their domains.

Spec: spec/argument-values.md (AR-010 to AR-017).  Not here: which arguments there are (constructors), shapes that depend on
the inputs (rules), what a file would make Keras import, open or allocate (safety).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from refser.checks._domains_kinds import INPUT, Kind, code_of, family_of
from refser.checks._domains_legacy import LEGACY
from refser.checks._domains_names import DTYPES
from refser.checks._domains_together import Together
from refser.checks.report import Finding, error
from refser.checks.subject import Subject
from refser.config.objects import KerasObject, Place, path_of, shown
from refser.config.policy import read_policy
from refser.errors import InvalidError

_KERAS_3 = (3,)
_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy")
_MORE_POLICIES = ("AWQDTypePolicy", "GPTQDTypePolicy", "Int4DTypePolicy", "DTypePolicyMap")
_POLICY_CLASSES = frozenset((*_POLICIES, *_MORE_POLICIES))
_QUANTIZED = ("int8", "int4", "float8", "gptq", "awq")
# Keras gives these to a layer of its own, or to nobody
_WITH_ANY_POLICY = frozenset({"StackedRNNCells", "TextVectorization", "Wrapper"})
# Made with the whole policy, since the class has a `from_config` of its own
_KEEPS_POLICY = frozenset(
    (
        *("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Discretization", "GRU", "LSTM", "RNN", "Rescaling"),
        *("SimpleRNN", "SpectralNormalization", "StackedRNNCells", "TimeDistributed", "Wrapper"),
    )
)
_WITHOUT_POLICY = frozenset({"InputLayer", "IntegerLookup", "StringLookup"})
_PLAIN = frozenset(name for name in DTYPES if not name.startswith(_QUANTIZED)) | {"mixed_float16", "mixed_bfloat16"}


def check_domains(subject: Subject) -> Iterator[Finding]:
    """AR-010 to AR-017, for each object of a class that Keras owns."""
    old = subject.version < _KERAS_3
    for node in subject.nodes:
        if not isinstance(node, KerasObject):
            continue
        family = None if old else family_of(node.json)
        if family is None:
            if old or node.module is None:
                yield from _of_legacy(node)
            continue
        if family == "" and node.class_name in _POLICY_CLASSES:
            family = "dtype_policies"
        if family:
            yield from _of_object(node, family)
        elif node.class_name == "Sequential":
            yield from _of_first_layer(node)


def _of_object(node: KerasObject, family: str) -> Iterator[Finding]:
    if family == "dtype_policies":
        yield from _of_policy(node)
        return
    kinds, together, policy = _known(family, node.class_name)
    wrong = False
    config = node.config
    for name, value in config.items():
        kind = kinds.get(name)
        if kind is not None and not kind.accepts(value):
            wrong = True
            yield _finding(node, name, value, kind)
    if together is not None and not wrong:
        for name, message in together(config):
            yield error("AR-016", f"{node.class_name:.60} with {message}", _at(node, name))
    if policy and config.get("dtype") is not None:
        yield from _of_dtype(node, config["dtype"], family)


def _of_first_layer(node: KerasObject) -> Iterator[Finding]:
    """`input_shape`, of which Keras asks the first layer of a Sequential alone, before anything has a shape."""
    layers = node.config.get("layers")
    config = layers[0].get("config") if isinstance(layers, list) and layers and isinstance(layers[0], Mapping) else None
    if isinstance(config, Mapping) and not INPUT.accepts(value := config.get("input_shape")):
        at = path_of(Place(Place(Place(Place(Place(node.place, "config"), "layers"), 0), "config"), "input_shape"))
        yield error("AR-014", f"{_shown(value)} as input_shape; wanted {INPUT.wanted}", at)


class _Class(NamedTuple):
    """What is known of a class: its arguments one by one, some of them together, whether its `dtype` is a policy."""

    kinds: Mapping[str, Kind]
    together: Together | None = None
    policy: bool = False


def _known(family: str, class_name: str) -> _Class:
    families, classes = _tables()
    return classes.get((family, class_name)) or families.get(family, _NOTHING)


_NOTHING = _Class({})


@cache
def _tables() -> tuple[Mapping[str, _Class], Mapping[tuple[str, str], _Class]]:
    """By family, and by family and class.  Imported when the first object is looked at: most commands never do."""
    from refser.checks import _domains_others as others
    from refser.checks._domains_layers import LAYERS, SHARED
    from refser.checks._domains_preprocessing import PREPROCESSING
    from refser.checks._domains_together import OPTIMIZER, TOGETHER

    families = {
        "layers": _Class(SHARED, policy=True),
        "losses": _Class(others.LOSS, policy=True),
        "metrics": _Class(others.METRIC, policy=True),
    }
    tables = {"layers": {**LAYERS, **PREPROCESSING}, **others.TABLES}
    names = {(family, name) for family, table in tables.items() for name in table} | set(TOGETHER)
    classes = {}
    for family, name in names:
        shared = families.get(family, _NOTHING)
        kinds = {**shared.kinds, **tables[family].get(name, {})}
        together = TOGETHER.get((family, name)) or (OPTIMIZER if "clipnorm" in kinds else None)
        found = _Class(kinds, together, shared.policy and name not in _WITHOUT_POLICY)
        for other in (name, *_aliases(name)):
            classes[family, other] = found
    return families, classes


def _aliases(name: str) -> Iterator[str]:
    """Keras exports some layers under two or three names."""
    if name.startswith(("Conv", "SeparableConv")) and "LSTM" not in name:
        yield name.replace("Conv", "Convolution")
    if "Pooling" in name and "Adaptive" not in name:
        yield name.replace("Pooling", "Pool").replace("Average", "Avg")


def _at(node: KerasObject, name: str) -> str:
    return path_of(Place(Place(node.place, "config"), name))


def _finding(node: KerasObject, name: str, value: Any, kind: Kind) -> Finding:
    message = f"{_shown(value)} as {name} of {node.class_name:.60}; wanted {kind.wanted}"
    return error(code_of(kind, value), message, _at(node, name))


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) <= 4 and all(item is None or isinstance(item, (int, float)) for item in value):
        return f"[{', '.join('null' if item is None else shown(item) for item in value)}]"
    if isinstance(value, Mapping) and isinstance(value.get("class_name"), str):
        return f"an object of class {value['class_name']:.60}"
    return "null" if value is None else shown(value)


# Dtypes and policies


def _of_dtype(node: KerasObject, value: Any, family: str) -> Iterator[Finding]:
    """A policy in an argument; one that is an object is looked at by itself."""
    if isinstance(value, Mapping) and "class_name" in value:
        other = family_of(value) not in (None, "", "dtype_policies") or value["class_name"] == "function"
        if other and node.class_name not in _WITH_ANY_POLICY:
            message = f"{_shown(value)} as dtype of {node.class_name:.60}; wanted a dtype policy"
            yield error("AR-015", message, _at(node, "dtype"))
        elif family == "layers" and value["class_name"] in ("DTypePolicy", "FloatDTypePolicy"):
            yield from _of_name_alone(node, value)
    elif value.__class__ is str and value in _PLAIN:
        return
    elif value or family == "layers":  # elsewhere Keras holds what is empty for not given
        yield from _policy_named(value, _at(node, "dtype"), dtypes=False)


def _of_name_alone(node: KerasObject, value: Mapping[str, Any]) -> Iterator[Finding]:
    """A layer keeps no more of such a policy than its name, and what begins as a way to quantize does is none then."""
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    if isinstance(name, str) and name in DTYPES and name.startswith(_QUANTIZED) and node.class_name not in _KEEPS_POLICY:
        yield from _policy_named(name, _at(node, "dtype"), dtypes=False)


def _of_policy(node: KerasObject) -> Iterator[Finding]:
    if node.class_name == "DTypePolicyMap":
        yield from _of_map(node)
        return
    name = node.config.get("name")
    if node.class_name in ("DTypePolicy", "FloatDTypePolicy"):
        if isinstance(name, str):
            if name not in _PLAIN:
                yield from _policy_named(name, _at(node, "name"))
        elif name is not None:
            yield error("AR-013", f"{_shown(name)} as the name of a dtype policy; wanted a string", _at(node, "name"))
        return
    config = dict(node.config)
    length = config.pop("amax_history_length", 1)  # Keras takes any integer, here
    if not isinstance(length, int) and node.class_name == "QuantizedFloat8DTypePolicy":
        at = _at(node, "amax_history_length")
        yield error("AR-013", f"{_shown(length)} as amax_history_length; wanted an integer", at)
    try:
        read_policy({**node.json, "config": config}, node.at)
    except InvalidError as found:
        yield error("AR-013", found.problem.message, found.problem.at)


def _of_map(node: KerasObject) -> Iterator[Finding]:
    """The policies in it are objects themselves, or names."""
    default, policies = node.config.get("default_policy"), node.config.get("policy_map")
    if policies is not None and not isinstance(policies, Mapping):
        yield error("AR-013", f"{_shown(policies)} as policy_map; wanted an object of policies", _at(node, "policy_map"))
    if default is not None and not (isinstance(default, Mapping) and "class_name" in default):
        yield from _policy_named(default, _at(node, "default_policy"), dtypes=False)


def _policy_named(value: Any, at: str, *, dtypes: bool = True) -> Iterator[Finding]:
    """A policy by its name.  `dtypes`: whether those that begin as a way to quantize does, "int8", may be one."""
    try:
        read_policy(value, at)
    except InvalidError as found:
        plain = isinstance(value, str) and "_from_" not in value and not value.startswith(_QUANTIZED)
        code = "AR-012" if plain else "AR-013"
        yield error(code, found.problem.message, at)
        return
    if not isinstance(value, str):
        return
    source = value.rpartition("_from_")[2]
    if source not in DTYPES and not source.startswith("mixed_"):
        yield error("AR-012", f"{_shown(value)} as a dtype policy; Keras 3 has no {source!r:.40}", at)
    elif not dtypes and value == source and value.startswith(_QUANTIZED):
        yield error("AR-013", f"{_shown(value)} as a dtype policy; wanted the dtype it is from, as in 'int8_from_float32'", at)


# Keras 1 and 2


def _of_legacy(node: KerasObject) -> Iterator[Finding]:
    kinds = LEGACY.get(node.class_name)
    if kinds is None or node.module not in (None, "keras.layers"):
        return
    for name, kind in kinds.items():
        value = node.config.get(name)
        if value is not None and not kind.accepts(value):
            yield _finding(node, name, value, kind)
