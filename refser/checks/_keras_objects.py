"""The objects of a file that are Keras's own, with what the table of symbols knows of them, and the strings that name others.

Spec: spec/arguments.md (AR), spec/targets.md (TG).  Not here: what is wrong with them in a version (constructors, target).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from refser._record import record
from refser.checks import symbols
from refser.checks.subject import Subject
from refser.checks.symbols import Symbol
from refser.config.nodes import Function
from refser.config.objects import KerasObject, Place

_SUFFIXES = {
    "activation": "activations",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
}
_COMPILED = {
    "optimizer": "optimizers",
    "optimizer_config": "optimizers",
    "loss": "losses",
    "metrics": "metrics",
    "weighted_metrics": "metrics",
}
# The functions that choose by the shapes of the data, under names that no `get` knows.
_BY_SHAPE = {"losses": frozenset({"crossentropy", "ce"}), "metrics": frozenset({"accuracy", "acc", "crossentropy", "ce"})}
_HINTS = 20  # a hint costs far more than the finding


@record(frozen=True, slots=True, kw_only=True)
class Named:
    """A string in a place where Keras looks up a name."""

    string: str
    family: str  # "activations", "losses", ...
    place: Place | str

    def is_known(self, index: int) -> bool:
        """Whether `versions()[index]` knows it."""
        taken = symbols.names_in(self.family, index)
        if self.string in taken or self.string.lower() in _BY_SHAPE.get(self.family, ()):
            return True
        return self.family == "optimizers" and self.string.removeprefix("Custom>").lower() in taken


def is_keras(module: str | None) -> bool:
    return module is not None and (module == "keras" or module.startswith("keras."))


def objects(subject: Subject) -> Iterator[tuple[KerasObject, Symbol | None]]:
    """Objects whose class is Keras's by their module, or by their class alone in files that name no module."""
    for node in subject.nodes:
        if isinstance(node, KerasObject):
            module = node.module
            if is_keras(module):
                yield node, symbols.find(module, node.class_name, node.registered_name)
            elif module is None and node.registered_name is None and not node.json.get("registered_name"):
                symbol = symbols.find(None, node.class_name.removeprefix("Custom>"))
                if symbol is not None:
                    yield node, symbol


def functions(subject: Subject) -> Iterator[tuple[Function, Symbol | None]]:
    """Functions of Keras's modules; of those that name `builtins`, the ones that Keras knows."""
    for node in subject.nodes:
        if isinstance(node, Function):
            symbol = symbols.find(node.module, node.name) if node.module else None
            if symbol is not None or is_keras(node.module):
                yield node, symbol


def strings(subject: Subject, owned: Iterable[tuple[KerasObject, Symbol | None]]) -> Iterator[Named]:
    """The strings that name a function or a class: in configs of Keras's own `objects`, and in what it was compiled with."""
    for node, symbol in owned:
        if symbol is not None:
            for key, family in _roles(symbol):
                value = node.config.get(key)
                if value.__class__ is str:
                    yield Named(string=value, family=family, place=Place(Place(node.place, "config"), key))
            if symbol.family == "models" and node.compile_config is not None:
                yield from _compiled(node.compile_config, Place(node.place, "compile_config"))
    if subject.training is not None:
        yield from _compiled(subject.training, "training_config")


_found_roles: dict[str, tuple[tuple[str, str], ...]] = {}


def _roles(symbol: Symbol) -> tuple[tuple[str, str], ...]:
    """The keys of a class whose strings a `get` takes, and the family of each."""
    found = _found_roles.get(symbol.name)
    if found is None:
        found = tuple((key, family) for key in symbol.parameters if (family := _SUFFIXES.get(key.rpartition("_")[2])))
        _found_roles[symbol.name] = found
    return found


def _compiled(config: Mapping[str, Any], place: Place | str) -> Iterator[Named]:
    for key, family in _COMPILED.items():
        stack: list[tuple[Any, Place | str]] = [(config.get(key), Place(place, key))]
        while stack:
            value, at = stack.pop()
            if value.__class__ is str:
                yield Named(string=value, family=family, place=at)
            elif value.__class__ is list:
                stack.extend((child, Place(at, number)) for number, child in reversed(list(enumerate(value))))
            elif value.__class__ is dict and "class_name" not in value and family in ("losses", "metrics"):
                stack.extend((child, Place(at, name)) for name, child in reversed(list(value.items())))


class Hints:
    """The nearest name, for the first few findings."""

    def __init__(self) -> None:
        self._left = _HINTS

    def near(self, name: str, known: frozenset[str] | tuple[str, ...]) -> str:
        if self._left <= 0:
            return ""
        self._left -= 1
        from difflib import get_close_matches  # slow to import

        found = get_close_matches(name[:60], sorted(known), n=1, cutoff=0.75)
        return f"did you mean {found[0]!r}?" if found else ""
