"""Serialized Keras objects: a view on the JSON that knows its place in it, and changes nothing.

Spec: spec/config-objects.md (CF).  A name is only a name, and nothing is looked up for it [CF-022].
Keras: keras.src.saving.serialization_lib; keras.src.legacy.saving.serialization.
Not here: values that Keras writes in the shape of objects (nodes), the models among them (models, _graph).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from refser.errors import InvalidError, Problem

_PLAIN = re.compile(r'[^.\[\]"]+')


class Place(NamedTuple):
    """A step down from `above`.  Joined to a path only where one is shown: keys in hostile files are long."""

    above: Place | str
    key: str | int


def path_of(place: Place | str) -> str:
    """`config.layers[3].config.units`; a key with `.`, `[`, `]` or `"` is quoted: `config["a.b"]` [CF-018]."""
    keys: list[str | int] = []
    while isinstance(place, Place):
        keys.append(place.key)
        place = place.above
    steps = [place]
    for key in reversed(keys):
        if isinstance(key, int):
            steps.append(f"[{key}]")
        elif not _PLAIN.fullmatch(key):
            steps.append(f"[{json.dumps(key)}]")
        else:
            steps.append(f".{key}" if len(steps) > 1 or place else key)
    return "".join(steps)


class Node:
    """A value of the JSON that stands for something, at its place."""

    __slots__ = ("json", "place")

    kind: ClassVar[str]  # "object", "function", ...
    json: Any
    place: Place | str

    def __init__(self, json: Any, place: Place | str) -> None:
        self.json, self.place = json, place

    @property
    def at(self) -> str:
        """The JSON path; empty for the whole text."""
        return path_of(self.place)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.at!r:.200}>"


class KerasObject(Node):
    """A JSON object with `class_name` and `config`: `{"module", "class_name", "config", "registered_name", ...}` [CF-010]."""

    __slots__ = ("class_name", "config")
    kind = "object"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        class_name, config = json.get("class_name"), json.get("config")
        if not isinstance(class_name, str) or not class_name:
            raise invalid("CF-010", f"{shown(class_name)} as class_name; wanted a string", place)
        if config is None and "config" in json:
            config = {}
        elif isinstance(config, list) and class_name == "Sequential":  # as Keras 1 and the first of Keras 2 have it
            config = {"layers": config}
        if not isinstance(config, Mapping):
            message = f"a config of {class_name:.60} that is {kind_of(config)}; wanted an object"
            raise invalid("CF-010", message, Place(place, "config"))
        self.class_name: str = class_name
        self.config: Mapping[str, Any] = config

    @property
    def module(self) -> str | None:
        """None in the files of Keras 1, 2 and tf.keras 2.12."""
        return self._text("module")

    @property
    def registered_name(self) -> str | None:
        return self._text("registered_name")

    @property
    def build_config(self) -> Mapping[str, Any] | None:
        found = self.json.get("build_config")
        return found if isinstance(found, Mapping) else None

    @property
    def compile_config(self) -> Mapping[str, Any] | None:
        found = self.json.get("compile_config")
        return found if isinstance(found, Mapping) else None

    @property
    def name(self) -> str | None:
        """The object's own name."""
        name = self.config.get("name", self.json.get("name"))
        return name if isinstance(name, str) else None

    @property
    def shared_object_id(self) -> int | None:
        """The same number for the same object, wherever it stands."""
        found = self.json.get("shared_object_id")
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def _text(self, key: str) -> str | None:
        found = self.json.get(key)
        return found if isinstance(found, str) else None


def is_object(value: Any) -> bool:
    """Whether `value` is a serialized object."""
    return isinstance(value, Mapping) and "class_name" in value and "config" in value


def invalid(code: str, message: str, at: Place | str) -> InvalidError:
    where = at if isinstance(at, str) else path_of(at)
    return InvalidError(Problem(code=code, message=message, at=where.removeprefix(".")))  # of the root itself: ".config.units"


def shown(value: Any) -> str:
    """A value in a message: a piece of one that is long, the kind of one that holds others."""
    if isinstance(value, str):
        return repr(value[:60])
    return f"{value!r:.60}" if isinstance(value, (int, float)) else kind_of(value)


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
