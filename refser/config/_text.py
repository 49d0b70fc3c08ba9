"""The text of a config beside what it means: nothing but a changed value is written anew.

Spec: spec/config-objects.md (CF-018, CF-019).  Not here: what the values stand for (nodes).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from refser import jsonio
from refser.config.nodes import read_node, walk
from refser.config.objects import Node, invalid
from refser.errors import LimitError, Problem
from refser.limits import DEFAULT_LIMITS, Limits

_STEP = re.compile(r'(?:^|\.)(?P<key>[^.\[\]"]+)|\[(?P<index>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')
_SPACE = re.compile(r"[ \t\n\r]*")


class Config:
    """A JSON object in which Keras describes objects: `config.json`, `model_config` or `training_config`."""

    __slots__ = ("_limits", "_name", "json", "text")

    def __init__(self, text: str, *, limits: Limits = DEFAULT_LIMITS, name: str = "config") -> None:
        self.json: Mapping[str, Any] = jsonio.parse_object(text, limits=limits, at=name)
        self.text, self._limits, self._name = text, limits, name

    @property
    def root(self) -> Node:
        """The object that the text is.  Raises `InvalidError` where it is none [CF-010]."""
        found = read_node(self.json, "")
        if found is None:
            missing = "config" if "class_name" in self.json else "class_name"
            raise invalid("CF-010", f"an object without {missing}; wanted class_name and config", "")
        return found

    def emit(self) -> str:
        return self.text

    def walk(self) -> Iterator[Node]:
        """Everything in the text that stands for something, in the order of the text, each with its path `at`."""
        return walk(self.json)

    def value(self, path: str) -> Any:
        """The value at a path.  Raises `InvalidError` where there is none [CF-018]."""
        found: Any = self.json
        for key in parse_path(path):
            if isinstance(key, int):
                inside = isinstance(found, list) and key < len(found)
            else:
                inside = isinstance(found, Mapping) and key in found
            if not inside:
                raise invalid("CF-018", f"no {key!r:.60} there; wanted a path of this config", path)
            found = found[key]
        return found

    def replace(self, path: str, value: Any) -> Config:
        """The config with another value at `path`; every other character of the text stays [CF-019]."""
        self.value(path)
        try:
            start, end = _span(self.text, parse_path(path))
        except RecursionError as error:
            raise LimitError(Problem(code="LI-002", message="JSON nested deeper than this Python can read", at=path)) from error
        written = jsonio.dump(value, at=path)
        return Config(f"{self.text[:start]}{written}{self.text[end:]}", limits=self._limits, name=self._name)


def parse(text: str, *, limits: Limits = DEFAULT_LIMITS) -> Config:
    """Raises the `RefserError` of the first requirement of spec/json.md that the text breaks."""
    return Config(text, limits=limits)


def parse_path(path: str) -> list[str | int]:
    """The keys of a path [CF-018]."""
    keys: list[str | int] = []
    end = 0
    while end < len(path):
        step = _STEP.match(path, end)
        if step is None:
            raise invalid("CF-018", f"{path!r:.120} as a path; wanted one such as config.layers[0].config", "")
        if step["key"]:
            keys.append(step["key"])
        elif step["index"]:
            keys.append(int(step["index"]))
        else:
            keys.append(jsonio.parse(step["quoted"], limits=DEFAULT_LIMITS, at="path"))
        end = step.end()
    return keys


def _span(text: str, keys: list[str | int]) -> tuple[int, int]:
    """From where to where the value at `keys`, which is there, stands in `text`, which is sound JSON."""
    read = json.JSONDecoder(strict=True).raw_decode
    at = _skip(text, 0)
    for wanted in keys:
        at = _skip(text, at + 1)  # behind the bracket
        number = 0
        while True:
            key: Any = number
            if isinstance(wanted, str):
                key, at = read(text, at)
                at = _skip(text, _skip(text, at) + 1)  # behind the colon
            if key == wanted:
                break
            at = _skip(text, _skip(text, read(text, at)[1]) + 1)  # behind the comma
            number += 1
    return at, read(text, at)[1]


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
