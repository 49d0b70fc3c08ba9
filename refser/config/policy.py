"""Dtype policies in all their spellings: what type variables have, what type a layer computes in, how it is quantized.

Spec: spec/config-objects.md (CF).  Keras: keras.dtype_policies; keras.mixed_precision of tf.keras.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from refser.errors import InvalidError, Problem
from refser.values import DTYPES

_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_ALIASES = {"half": "float16", "float": "float32", "double": "float64"}  # tf.keras keeps them
_UNTOLD = ("int", "infer", "_infer", "infer_with_float32_vars")  # as the backend has it, or as the first input has it
# mode: how many numbers may follow, as in "gptq/4/128"
_MODES = {"int8": (0,), "int4": (0, 1), "float8": (0,), "gptq": (0, 2), "awq": (0, 2)}
_NAMED = ("DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1")
_QUANTIZED = ("QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "Int4DTypePolicy", "GPTQDTypePolicy", "AWQDTypePolicy")
_MAP, _HISTORY = "DTypePolicyMap", 1024
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_LITERAL = re.compile(r"[\w/-]*")
Match = Callable[[str, str], "bool | None"]  # whether a pattern matches all of a text; None: that cannot be told


class Policy(NamedTuple):
    """A layer's dtype policy.  `mode` is empty where nothing is quantized."""

    variable_dtype: str = "float32"
    compute_dtype: str = "float32"
    mode: str = ""  # "int8", "int4", "float8", "gptq", "awq"
    bits: int = 0  # of gptq and awq; 0: not said
    block: int = -1  # group or block size; -1: one for all
    amax_history_length: int = _HISTORY  # of float8
    known: bool = True  # False where the types cannot be told: Keras erased the name
    doubt: str = ""  # why it cannot be told how the layer is quantized


FLOAT32 = Policy()
_UNKNOWN = FLOAT32._replace(known=False)


def read_policy(value: Any, at: str, *, paths: Sequence[str] | None = None, match: Match | None = None) -> Policy:
    """The policy that `value`, the `dtype` of a layer's config, stands for.  Raises `InvalidError` [CF-020].

    A map of policies looks the layer up by its `Layer.path` in Keras: `paths` are those that it may have, None: any.
    """
    if value is None:
        return FLOAT32
    if isinstance(value, str):
        return _by_name(value, at)
    if not isinstance(value, Mapping) or not isinstance(config := value.get("config"), Mapping):
        raise _bad(value, at)
    class_name = value.get("class_name")
    if class_name == _MAP:
        return _of_map(config, at, paths, match)
    if class_name in _QUANTIZED:
        return _of_mode(config, at)
    if class_name in _NAMED:
        name = config.get("name")
        return _UNKNOWN if name is None and "name" in config else _by_name(name, f"{at}.config.name")
    if not isinstance(class_name, str):
        raise _bad(class_name, f"{at}.class_name")
    return _UNKNOWN._replace(doubt=f"a dtype policy of the class {class_name[:60]}, which refser does not know")


def is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == _MAP


def _of_mode(config: Mapping[str, Any], at: str) -> Policy:
    mode, source, length = config.get("mode"), config.get("source_name"), config.get("amax_history_length", _HISTORY)
    if not isinstance(mode, str):
        raise _bad(mode, f"{at}.config.mode")
    if type(length) is not int or not 1 <= length < 1 << 62:
        raise _bad(length, f"{at}.config.amax_history_length")
    base = _UNKNOWN if source is None else _plain(source, f"{at}.config.source_name")
    return _quantized(mode, base, f"{at}.config.mode")._replace(amax_history_length=length)


def _by_name(name: Any, at: str) -> Policy:
    if isinstance(name, str) and "_from_" in name:
        mode, _, source = name.partition("_from_")
        return _quantized(mode, _plain(source, at), at)
    return _plain(name, at)


def _plain(name: Any, at: str) -> Policy:
    if isinstance(name, str):
        if name in _MIXED:
            return Policy("float32", _MIXED[name])
        if name in _UNTOLD:
            return _UNKNOWN
        dtype = _ALIASES.get(name, name)
        if dtype in DTYPES:
            return Policy(dtype, dtype)
    raise _bad(name, at)


def _quantized(mode: str, base: Policy, at: str) -> Policy:
    head, *numbers = mode.split("/", 3)
    if len(numbers) not in _MODES.get(head, ()) or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise _bad(mode, at)
    sizes = [int(number) for number in numbers]
    if (sizes and not (sizes[-1] == -1 or sizes[-1] > 0)) or (head == "int8" and base.compute_dtype == "float16"):
        raise _bad(mode, at)
    if len(sizes) == 2:
        if sizes[0] not in ((2, 3, 4, 8) if head == "gptq" else (4,)):
            raise _bad(mode, at)
        return base._replace(mode=head, bits=sizes[0], block=sizes[1])
    return base._replace(mode=head, block=sizes[0] if sizes else -1)


# Maps


def _of_map(config: Mapping[str, Any], at: str, paths: Sequence[str] | None, match: Match | None) -> Policy:
    entries, default = config.get("policy_map"), config.get("default_policy")
    if entries is not None and not isinstance(entries, Mapping):
        raise _bad(entries, f"{at}.config.policy_map")
    if is_map(default):
        raise _bad(default, f"{at}.config.default_policy")
    base = _UNKNOWN if default is None else read_policy(default, f"{at}.config.default_policy")
    found: dict[str | None, Policy] = {None: base}
    for key, value in (entries or {}).items():
        if is_map(value):
            raise _bad(value, f"{at}.config.policy_map")
        found[key] = read_policy(value, f"{at}.config.policy_map.{key:.120}")
    if paths is None:
        chosen: set[Policy | None] = set(found.values())
    else:
        chosen = {_look_up(found, path, match) for path in paths}
    first = next(iter(chosen - {None}), None)
    if first is None:
        return _UNKNOWN._replace(doubt="the entry of the DTypePolicyMap for the layer cannot be told")
    first = first._replace(amax_history_length=_HISTORY)  # Keras asks the map for it, which has none
    if len(chosen) == 1:
        return first
    if None in chosen or len({other[2:5] for other in chosen if other is not None}) > 1:
        return _UNKNOWN._replace(doubt="which entry of the DTypePolicyMap counts: the layer's path depends on how it was built")
    return first._replace(known=False)


def _look_up(entries: Mapping[str | None, Policy], path: str, match: Match | None) -> Policy | None:
    """The policy for a path; None where it cannot be told, or where Keras refuses to choose."""
    if path in entries:
        return entries[path]
    patterns = [key for key in entries if key is not None and not _LITERAL.fullmatch(key)]
    matches = [match(pattern, path) if match else None for pattern in patterns]
    if None in matches or sum(map(bool, matches)) > 1:
        return None
    return entries[patterns[matches.index(True)]] if True in matches else entries[None]


def _bad(value: Any, at: str) -> InvalidError:
    message = f"{value!r:.80} as a dtype policy; wanted a Keras dtype, mixed_float16, mixed_bfloat16 or a policy object"
    return InvalidError(Problem(code="CF-020", message=message, at=at.removeprefix(".")))
