"""Layers that stand in the arguments of another, as in `Conv2D(8, 3, activation=PReLU())`: Keras saves them below it.

Spec: spec/weight-trees.md (WT-002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from refser.config.objects import KerasObject
from refser.rules.layer import Layer, Unknown, key_of
from refser.rules.rule import Child
from refser.rules.table import rule_for

_NO_LAYERS = ("function", "builtin_function_or_method", "type", "TypeSpec")
_NOT_SAVED = ("activations", "constraints", "dtype_policies", "initializers", "quantizers", "random", "regularizers")


def layers_in(*arguments: str) -> Callable[[Layer], Iterable[Child]]:
    """For a rule's `children`: the layers in these arguments, which are attributes of the same names."""

    def children(layer: Layer) -> Iterable[Child]:
        for argument in arguments:
            found = layer_in(layer, layer.config.get(argument), layer.at_argument(argument))
            if found is not None:
                yield Child(argument, found)

    return children


ACTIVATION = layers_in("activation")


def layer_in(layer: Layer, value: Any, at: str) -> Layer | None:
    """The layer that `value` is; None for a name, a function or another object.  Raises `Unknown` if that cannot be told."""
    if not isinstance(value, Mapping) or not isinstance(class_name := value.get("class_name"), str):
        return None
    if class_name in _NO_LAYERS or class_name.startswith("__") or not isinstance(value.get("config"), Mapping):
        return None
    module = value.get("module")
    parts = module.split(".") if isinstance(module, str) else []
    if parts[:1] == ["keras"] and any(part in _NOT_SAVED for part in parts[1:3]):
        return None
    if "ops" in parts or rule_for(key_of(KerasObject(value, at))) is None:
        raise Unknown(f"whether {class_name}, in {at}, is a layer")
    return Layer.read(value, at, version=layer.version)  # its own `trainable` counts alone


def layers_below(layer: Layer, value: Any, at: str) -> list[Any]:
    """A container of Keras's walk: the layers among the items of a list or an object, and the lists and objects as more."""
    items = [(f"{at}.{name}", item) for name, item in value.items()] if isinstance(value, Mapping) else _numbered(value, at)
    found: list[Any] = []
    for place, item in items:
        if (inner := layer_in(layer, item, place)) is not None:
            found.append(inner)
        elif isinstance(item, list) or (isinstance(item, Mapping) and "class_name" not in item):
            found.append(layers_below(layer, item, place))
    return found


def _numbered(values: Any, at: str) -> list[tuple[str, Any]]:
    return [(f"{at}[{number}]", item) for number, item in enumerate(values)] if isinstance(values, list) else []
