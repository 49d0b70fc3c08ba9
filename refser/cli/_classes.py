"""Names and classes from a config, as far as they can be told by looking; whatever the config holds, nothing here raises.

Spec: spec/command-line.md (CL-017, CL-018).  Not here: what a config means (config).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # the second: tf.keras 2.12 to 2.14
_TEXT_MAX = 200
_NUMBERED = r"(.+)_([0-9]{1,9})"

Object = Mapping[str, Any]  # {"class_name": ..., "config": {...}}


class Layer(NamedTuple):
    """A layer of a config: how many models it is inside of, its name and its class."""

    depth: int
    name: str | None
    class_name: str | None


class Training(NamedTuple):
    """What a model was compiled with, in a word each."""

    optimizer: str | None
    loss: str | None
    metrics: str | None


def name_of(thing: object) -> str | None:
    """The `name` of a serialized object."""
    return _text(_inner(thing).get("name")) or _text(_mapping(thing).get("name"))


def class_of(thing: object) -> str | None:
    return _text(_mapping(thing).get("class_name"))


def outline(config: object) -> Iterator[Layer]:
    """Every layer of the config in its own order, those of models inside models behind them [CL-018]."""
    todo = [(layer, 0) for layer in reversed(_layers(config))]
    while todo:
        layer, depth = todo.pop()
        yield Layer(depth=depth, name=name_of(layer), class_name=class_of(layer))
        wrapped = _inner(layer).get("layer")  # TimeDistributed, Bidirectional
        below = [wrapped] if class_of(wrapped) else _layers(layer)
        todo.extend((inner, depth + 1) for inner in reversed(below))


def match(names: Mapping[str, str | None], config: object) -> dict[str, Object]:
    """Which object of the config is at which inner path [CL-017].

    `names` has every object's path and, where the file has it, its name.  A container's children are matched by that name;
    without it by class and number, when there are as many of the class in the file as in the config.
    """
    below = _children(names)
    found: dict[str, Object] = {}
    todo = [("", config)]
    while todo:
        path, thing = todo.pop()
        if not class_of(thing):
            continue
        found[path] = _mapping(thing)
        for child in below.get(path, ()):
            here = f"{path}/{child}" if path else child
            if child in CONTAINERS:
                inside = {name: names.get(f"{here}/{name}") for name in below.get(here, ())}
                todo.extend((f"{here}/{name}", layer) for name, layer in _pair(inside, _layers(thing)))
            elif here == "optimizer":
                todo.append((here, _mapping(_mapping(thing).get("compile_config")).get("optimizer")))
            else:
                todo.append((here, _inner(thing).get(child)))
    return found


def match_by_name(config: object) -> dict[str, Object]:
    """The layers of a config by name, those whose name occurs once: what a legacy file's groups are called."""
    layers = [(name_of(layer), layer) for layer in _layers(config)]
    times = Counter(name for name, _ in layers)
    return {name: _mapping(layer) for name, layer in layers if name is not None and times[name] == 1}


def training(config: object, training_config: object) -> Training | None:
    """The compile settings of a v3 config or of a legacy training config."""
    settings = _mapping(training_config) or _mapping(_mapping(config).get("compile_config"))
    optimizer = _word(settings.get("optimizer_config") or settings.get("optimizer"))
    loss, metrics = _word(settings.get("loss")), _word(settings.get("metrics"))
    if optimizer is None and loss is None and metrics is None:
        return None
    return Training(optimizer=optimizer, loss=loss, metrics=metrics)


def _word(value: object, depth: int = 0) -> str | None:
    """A setting in words: a string, an object's class, or those of a list or mapping joined."""
    if isinstance(value, str):
        return value[:_TEXT_MAX] or None
    if isinstance(value, Mapping) and class_of(value):
        function = _text(value.get("config")) if class_of(value) == "function" else None
        return function or class_of(value)
    if depth > 3:
        return None
    if isinstance(value, Mapping):
        named = ((str(key), _word(item, depth + 1)) for key, item in value.items())
        return _joined(f"{key}: {word}" for key, word in named if word)
    if isinstance(value, list):
        return _joined(word for word in (_word(item, depth + 1) for item in value[:32]) if word)
    return None


def _joined(words: Iterable[str]) -> str | None:
    return ", ".join(words)[:_TEXT_MAX] or None


def _children(names: Iterable[str]) -> dict[str, list[str]]:
    """Path -> the components that stand directly below it, in order of first use."""
    below: dict[str, dict[str, None]] = {}
    for path in names:
        head = ""
        for part in path.split("/") if path else ():
            below.setdefault(head, {})[part] = None
            head = f"{head}/{part}" if head else part
    return {path: list(parts) for path, parts in below.items()}


def _pair(names: Mapping[str, str | None], layers: Sequence[object]) -> Iterator[tuple[str, object]]:
    """The children of a container, each with its layer of the config where that can be told."""
    from refser.rules.walk import snake_case

    by_name = match_by_name({"config": layers})
    yield from ((child, by_name[name]) for child, name in names.items() if name is not None and name in by_name)
    by_stem: dict[str, list[object]] = {}
    for layer in layers:
        by_stem.setdefault(snake_case((class_of(layer) or "").rpartition(">")[2]), []).append(layer)
    found: dict[str, list[tuple[int, str]]] = {}
    for child in (child for child, name in names.items() if name is None):
        numbered = re.fullmatch(_NUMBERED, child, re.DOTALL)
        if child in by_stem:
            found.setdefault(child, []).append((0, child))
        elif numbered and numbered[1] in by_stem:
            found.setdefault(numbered[1], []).append((int(numbered[2]), child))
    for stem, children in found.items():
        if len(children) == len(by_stem[stem]):
            yield from zip((child for _, child in sorted(children)), by_stem[stem])


def _layers(thing: object) -> list[object]:
    """The layers of a serialized model; Keras 1 and 2.1 keep those of a Sequential directly in `config`."""
    config = _mapping(thing).get("config")
    layers = config if isinstance(config, list) else _mapping(config).get("layers")
    return [layer for layer in layers if isinstance(layer, Mapping)] if isinstance(layers, list) else []


def _inner(thing: object) -> Object:
    return _mapping(_mapping(thing).get("config"))


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
