"""The table of rules by class, and how others add to it.

Spec: spec/layers.md (LY-020).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable

from refser.rules.rule import Rule

_TABLES = (
    *("activation", "attention", "augmentation", "convolution", "core", "merging", "misc", "models", "normalization"),
    *("pooling", "preprocessing", "regularization", "reshaping", "rnn", "wrappers"),
)
_RULES: dict[str, Rule] = {}
_loaded = False
_loading = threading.RLock()  # one that the same thread may take again: what is loaded registers rules


def add(*rules: Rule) -> None:
    for rule in rules:
        if rule.class_name in _RULES:
            raise ValueError(f"a second rule for {rule.class_name}")
        _RULES[rule.class_name] = rule


def register(key: str, rule: Rule) -> None:
    """Teach refser a class that is not Keras's own: `key` is its registered name, "package>Class", or "module>Class".

    Replaces an earlier one; raises `ValueError` for the name of a class of Keras.  An example is in `refser.rules`.
    """
    _load()
    if ">" not in key:
        raise ValueError(f"{key!r} names a class of Keras; wanted a registered name, 'package>Class'")
    _RULES[key] = rule


def rule_for(key: str) -> Rule | None:
    _load()
    return _RULES.get(key)


def all_rules() -> Iterable[Rule]:
    _load()
    return _RULES.values()


def _load() -> None:
    """The tables of Keras's own classes, then what the entry points `refser.rules` of other packages register [LY-020].

    Each entry point is a function without arguments.  One that fails is warned of: its classes stay opaque.
    """
    global _loaded
    if _loaded:
        return
    with _loading:
        if _RULES:  # loaded meanwhile, or loading in this thread
            return
        from importlib import import_module
        from importlib.metadata import entry_points

        for name in _TABLES:
            add(*import_module(f"refser.rules.{name}").RULES)
        for point in entry_points(group="refser.rules"):
            try:
                point.load()()
            except Exception as error:  # another package's code, which is not to break the reading of files
                message = f"no rules from the entry point {point.name} = {point.value}: {type(error).__name__}: {error}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
        _loaded = True
