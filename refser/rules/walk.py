"""The walk: which groups and arrays a model's weights make, in the order in which Keras meets them.

Spec: spec/weight-trees.md (WT).  Keras: keras.src.saving.saving_lib, `_save_state`, `_walk_saveable`, `_save_container_state`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from refser.rules.layer import KERAS_3, Layer, Shape, Unbuilt, Unknown, Version
from refser.rules.rule import Child, Var
from refser.rules.table import rule_for

NESTED_CONTAINERS_SINCE = (3, 15)
LAYERS = "layers"
_NO_WORD, _WORD, _TAIL = re.compile(r"\W+"), re.compile(r"(.)([A-Z][a-z]+)"), re.compile(r"([a-z])([A-Z])")


class Opaque(NamedTuple):
    """A place below which the config cannot tell [WT-015]."""

    path: str  # inner path of the object, "layers/my_layer"
    class_name: str
    reason: str
    at: str  # JSON path in the config


class Owner:
    """One object of the model with its variables, met on the walk at `path`."""

    __slots__ = ("children", "layer", "path", "variables")

    def __init__(self, layer: Layer, path: str) -> None:
        self.layer, self.path = layer, path
        self.variables: list[tuple[Var, Shape]] = []  # in file order
        self.children: list[Owner] = []  # in the order of their making, which is that of `model.variables`

    def __iter__(self) -> Iterator[Owner]:
        """This one and all below it, in the order of their making."""
        todo = [self]
        while todo:
            owner = todo.pop()
            yield owner
            todo.extend(reversed(owner.children))

    @property
    def group(self) -> str:
        return f"{self.path}/vars" if self.path else "vars"


class Walk:
    """Owners in file order, opaque places, and what they hang together by."""

    def __init__(self) -> None:
        self.owners: list[Owner] = []
        self.opaque: list[Opaque] = []
        self._seen: set[int] = set()
        self._named: dict[tuple[str, str | None], list[Layer]] = {}  # those that a later one may be, by class and name

    def visit(self, layer: Layer, path: str) -> Owner | None:
        """Write own variables, then go on with the attributes in Keras's order [WT-001 to WT-009]."""
        if id(layer) in self._seen or self._met(layer):
            return None
        self._seen.add(id(layer))
        owner = Owner(layer, path)
        self.owners.append(owner)
        rule = rule_for(layer.key)
        if rule is None or rule.opaque:
            reason = rule.opaque if rule else "a class that refser does not know"
            self.opaque.append(Opaque(path, layer.class_name, reason, layer.at))
            return owner
        children: list[Child] = []
        try:
            owner.variables = rule.variables_of(layer)
        except Unbuilt:
            pass
        except Unknown as unknown:
            self.opaque.append(Opaque(path, layer.class_name, str(unknown), layer.at))
        try:
            children = list(rule.children(layer)) if rule.children else []
        except Unbuilt:
            pass
        except Unknown as unknown:
            self.opaque.append(Opaque(path, layer.class_name, str(unknown), layer.at))
        made: dict[str, list[Owner]] = {}
        for child in sorted(children, key=lambda child: name_key(child.attribute, layer.version)):
            below = f"{path}/{child.attribute}" if path else child.attribute
            if isinstance(child.value, Layer):
                found = self.visit(child.value, below)
                made[child.attribute] = [found] if found else []
            else:
                made[child.attribute] = list(self._container(child.value, below, layer.version))
        owner.children = [below for child in children for below in made[child.attribute]]
        return owner

    def _met(self, layer: Layer) -> bool:
        """Whether this is a layer met before, serialized a second time [WT-008].

        Only the second of the two is sure to have a `shared_object_id`, so class, name and config tell which is the first.
        """
        known = self._named.setdefault((layer.key, layer.name), [])
        if layer.json.get("shared_object_id") is not None:
            for other in known:
                if without_ids(other.config) == without_ids(layer.config):
                    return True
        known.append(layer)
        return False

    def _container(self, values: Sequence[Any], path: str, version: tuple[int, ...]) -> Iterator[Owner]:
        """Members are named after their class, and counted whether they are met for the first time or not [WT-005, WT-006]."""
        counts: dict[str, int] = {}
        for value in values:
            nested = not isinstance(value, Layer)
            if nested and version < NESTED_CONTAINERS_SINCE:
                continue
            base = "container" if nested else group_name(value)
            number = counts.get(base, -1) + 1
            counts[base] = number
            below = f"{path}/{base}_{number}" if number else f"{path}/{base}"
            if nested:
                yield from self._container(value, below, version)
            elif found := self.visit(value, below):
                yield found


def name_key(attribute: str, version: Version) -> tuple[bool, str]:
    """A model's own layers first; public attributes, then private ones, each in the order of their characters [WT-002, WT-003].

    tf.keras took all by their characters alone.
    """
    if version < KERAS_3:
        return True, attribute
    return attribute != LAYERS, "~" + attribute if attribute.startswith("_") else attribute


def without_ids(value: Any) -> Any:
    """JSON without the numbers that differ between two serializations of one object."""
    if isinstance(value, Mapping):
        members: dict[str, Any] = {}
        for name, item in value.items():  # no comprehensions: each would double the depth that JSON is read to
            if name != "shared_object_id":
                members[name] = without_ids(item)
        return members
    if isinstance(value, list):
        items: list[Any] = []
        for item in value:
            items.append(without_ids(item))
        return items
    return value


def python_name(layer: Layer) -> str:
    rule = rule_for(layer.key)
    return rule.python_name if rule and rule.python_name else layer.class_name


def group_name(layer: Layer) -> str:
    return snake_case(python_name(layer))


_SNAKES: dict[str, str] = {}


def snake_case(name: str) -> str:
    """`Conv2DTranspose` is `conv2d_transpose`, `PReLU` is `p_re_lu` [WT-004]."""
    if (found := _SNAKES.get(name)) is None:
        text = _TAIL.sub(r"\1_\2", _WORD.sub(r"\1_\2", _NO_WORD.sub("", name)))
        found = _SNAKES[name] = text.lower()
        if len(_SNAKES) > 4096:  # names come from files
            _SNAKES.clear()
    return found
