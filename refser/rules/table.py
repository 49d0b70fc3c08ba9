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
_OTHER = ">"  # in the keys of classes that are not Keras's own
_loaded = False
_others = False  # whether other packages were asked
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
    _load_others()
    if _OTHER not in key:
        raise ValueError(f"{key!r} names a class of Keras; wanted a registered name, 'package>Class'")
    _RULES[key] = rule


def rule_for(key: str) -> Rule | None:
    _load()
    if _OTHER in key and key not in _RULES:
        _load_others()
    return _RULES.get(key)


def all_rules() -> Iterable[Rule]:
    _load_others()
    return _RULES.values()


def _load() -> None:
    """The tables of Keras's own classes."""
    global _loaded
    if _loaded:
        return
    from importlib import import_module

    with _loading:
        if not _RULES:
            for name in _TABLES:
                add(*import_module(f"refser.rules.{name}").RULES)
        _loaded = True


def _load_others() -> None:
    """What the entry points `refser.rules` of other packages register [LY-020]; to look for them takes longer than the tables.

    Each entry point is a function without arguments.  One that fails is warned of: its classes stay opaque.
    """
    global _others
    _load()
    with _loading:
        if _others:  # loaded, or loading in this thread
            return
        _others = True
        from importlib.metadata import entry_points

        for point in entry_points(group="refser.rules"):
            try:
                point.load()()
            except Exception as error:  # another package's code, which is not to break the reading of files
                message = f"no rules from the entry point {point.name} = {point.value}: {type(error).__name__}: {error}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
