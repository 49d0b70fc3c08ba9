"""The only door to JSON: strict, capped.

Spec: spec/json.md (JS), spec/limits.md (LI).  Not here: what the objects mean (config, layouts).
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from refser.errors import InvalidError, LimitError, MalformedError, Problem
from refser.limits import RAISE, Limits

_BRACKET = re.compile(r"[\[\]{}]")
_PIECE = 1 << 16  # characters whose brackets are counted together
_DIGITS_MAX = 4_300  # what Python converts in one go


def decode_text(data: bytes | memoryview, *, limits: Limits, at: str) -> str:
    """The text of a JSON file, exactly [JS-001, LI-001]."""
    if len(data) > limits.json_bytes:
        message = f"{len(data):,} bytes of JSON; the limit is {limits.json_bytes:,}"
        raise LimitError(Problem(code="LI-001", message=message, at=at, hint=RAISE.format("json_bytes")))
    raw = bytes(data)
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        message = "JSON that starts with a byte order mark; wanted plain UTF-8"
        raise MalformedError(Problem(code="JS-001", message=message, at=at))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8"
        raise MalformedError(Problem(code="JS-001", message=message, at=at)) from error


def parse(text: str, *, limits: Limits, at: str) -> Any:
    """`text` as Python objects.  Raises the `RefserError` of the first JS or LI requirement that it breaks."""
    if len(text) > limits.json_bytes:
        message = f"{len(text):,} characters of JSON; the limit is {limits.json_bytes:,}"
        raise LimitError(Problem(code="LI-001", message=message, at=at, hint=RAISE.format("json_bytes")))
    _check_depth(text, limits, at)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            twice = Counter(name for name, _ in items).most_common(1)[0][0]
            raise InvalidError(Problem(code="JS-003", message=f"the key {twice!r} occurs twice in one object", at=at))
        return found

    def constant(name: str) -> NoReturn:
        raise InvalidError(Problem(code="JS-004", message=f"{name}, which is no JSON number", at=at))

    def integer(digits: str) -> int:
        if len(digits) > _DIGITS_MAX:
            message = f"a number of {len(digits):,} digits; the limit is {_DIGITS_MAX:,}"
            raise LimitError(Problem(code="JS-006", message=message, at=at))
        return int(digits)

    def real(digits: str) -> float:
        value = float(digits) if len(digits) <= _DIGITS_MAX else math.inf
        if math.isinf(value):
            message = f"a number that no 64-bit float holds ({digits[:20]}...)"
            raise InvalidError(Problem(code="JS-006", message=message, at=at))
        return value

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer, parse_float=real)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg.lower().removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        raise MalformedError(Problem(code="JS-002", message=message, at=at)) from error
    except RecursionError as error:  # a limit above what this Python can nest
        raise LimitError(Problem(code="LI-002", message="JSON nested deeper than this Python can read", at=at)) from error


def encode_text(text: str, *, at: str) -> bytes:
    """The bytes of a JSON file that is `text`, exactly; the inverse of `decode_text` [JS-001]."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"character {error.start} is a lone surrogate, which UTF-8 cannot hold"
        raise InvalidError(Problem(code="JS-001", message=message, at=at)) from error


def dump(value: Any, *, at: str, indent: int | None = None) -> str:
    """JSON text as Keras writes it: `json.dumps` with its default separators, ASCII only [JS-007]."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"not storable as JSON: {error}"
        raise InvalidError(Problem(code="JS-007", message=message, at=at)) from error


def parse_object(text: str, *, limits: Limits, at: str) -> Mapping[str, Any]:
    """`parse` for a text that has to be an object [JS-005]."""
    value = parse(text, limits=limits, at=at)
    if not isinstance(value, dict):
        message = f"a JSON {_kind(value)}; wanted an object"
        raise InvalidError(Problem(code="JS-005", message=message, at=at))
    return value


def check_object(text: str, *, at: str) -> Mapping[str, Any]:
    """`parse_object` before writing, without the caps that only a reader has."""
    return parse_object(text, limits=Limits(json_bytes=sys.maxsize, json_depth=sys.maxsize), at=at)


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "object")


def _check_depth(text: str, limits: Limits, at: str) -> None:
    """Count brackets outside strings: the parser recurses on them, so the cap comes first [LI-002]."""
    # Without escaped quotes every second piece between quotes is outside the strings.  A text that is no JSON may be cut
    # elsewhere; the parser stops at its first fault.
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    depth = 0
    for start in range(0, len(outside), _PIECE):
        for bracket in _BRACKET.findall(outside, start, start + _PIECE):
            if bracket in "[{":
                depth += 1
                if depth > limits.json_depth:
                    message, hint = f"JSON nested over {limits.json_depth} deep", RAISE.format("json_depth")
                    raise LimitError(Problem(code="LI-002", message=message, at=at, hint=hint))
            else:
                depth -= 1
