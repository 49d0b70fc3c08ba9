"""The few arguments of Keras 1 and 2 of which every version asked the same.

Spec: spec/argument-values.md (AR-017).
"""

from __future__ import annotations

from typing import Any

from refser.checks._domains_kinds import INTS, LISTS, TEXT, Kind, is_number


def _is_size(value: Any) -> bool:
    """tf.keras makes integers of numbers and of text."""
    return (is_number(value) and value >= 1) or (value.__class__ is str and value.isdecimal())


def _is_sizes(value: Any) -> bool:
    if value.__class__ is dict:
        return "class_name" in value  # a tuple, as tf.keras writes some
    return all(map(_is_size, value)) if value.__class__ is list else _is_size(value)


_SIZE = Kind("an integer, at least 1", _is_size, INTS)
_SIZES = Kind("integers, at least 1", _is_sizes, INTS | LISTS)
_FORMAT = Kind(
    "channels_last or channels_first",
    lambda v: v.__class__ is str and v.lower() in ("channels_last", "channels_first", "default"),
    TEXT,
)
_RANKS = (1, 2, 3)
_WINDOW = {"kernel_size": _SIZES, "data_format": _FORMAT}
LEGACY: dict[str, dict[str, Kind]] = {
    **{name: {"units": _SIZE} for name in ("Dense", "SimpleRNN", "LSTM", "GRU")},
    **{f"Conv{n}D{end}": {"filters": _SIZE, **_WINDOW} for n in _RANKS for end in ("", "Transpose")},
    **{f"{kind}Pooling{n}D": {"pool_size": _SIZES, "data_format": _FORMAT} for kind in ("Max", "Average") for n in _RANKS},
}
__all__ = ["LEGACY"]
