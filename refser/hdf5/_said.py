"""The tree of a file as another process tells it, each line held against what a reader could have found.

Spec: spec/hdf5-holes.md (H5-096).  Not here: the process (_apart).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from refser.errors import (
    AccessError,
    InvalidError,
    LimitError,
    MalformedError,
    Problem,
    RefserError,
    UnsafeError,
    UnsupportedError,
)
from refser.hdf5._datatype import RANK_MAX
from refser.hdf5._image import Faults
from refser.hdf5._tree import Attribute, Dataset, Group, Remark, is_link_name
from refser.limits import Limits
from refser.source import Source
from refser.values import DTYPES, Bytes

_KINDS: dict[str, Callable[[Problem], RefserError]] = {
    kind.__name__: kind for kind in (AccessError, InvalidError, LimitError, MalformedError, UnsafeError, UnsupportedError)
}
_CODE = re.compile(r"[A-Z0-9]{2}-[0-9]{3}").fullmatch
_SEVERITIES = ("info", "warning", "error")
_REMARKS_MAX = 1000
_INTEGER_MAX = 1 << 64

Children = dict[str, "Group | Dataset"]


class Nonsense(Exception):
    """Nothing that a reader says."""


class Said:
    """The tree as far as it was told."""

    def __init__(self, source: Source, limits: Limits, faults: Faults) -> None:
        self._source, self._limits, self._faults = source, limits, faults
        self._groups: dict[str, Children] = {}
        self._attributes: dict[str, Attribute] = {}  # of the root group
        self._remarks: list[Remark] = []
        self._objects = 0
        self.apart: list[Dataset] = []  # arrays whose bytes are not in the file as they are
        self.ended = False

    def hear(self, message: list[Any]) -> None:
        """Raises `Nonsense`, or the error that is told."""
        kind, *fields = message
        hears: dict[str, Callable[..., None]] = {
            "group": self._group,
            "array": self._array,
            "faulty": self._faulty,
            "fault": self._fault,
            "remark": self._remark,
            "error": self._error,
            "end": self._end,
        }
        if not isinstance(kind, str) or kind not in hears:
            raise Nonsense(f"{str(kind)[:40]!r}, which is none of {', '.join(hears)}")
        try:
            hears[kind](*fields)
        except (TypeError, ValueError) as error:  # a number of fields, or text, that cannot be
            raise Nonsense(f"{kind}: {str(error)[:80]}") from error

    def root(self, values: Callable[[str, int], Bytes]) -> Group:
        for dataset in self.apart:
            dataset.source = values(dataset.path, dataset.length)
        return Group(self._source.name, "", self._attributes, self._groups[""], None, lambda: self._remarks)

    def _group(self, path: str, attributes: dict[str, Any]) -> None:
        _wants(isinstance(attributes, dict) and (path == "") == (not self._groups), "a group")
        found = {_text(name): _attribute(value) for name, value in attributes.items()}
        children: Children = {}
        if path:
            self._put(path, Group(self._source.name, path, found, children))
        else:
            self._attributes = found
        self._groups[path] = children

    def _array(self, path: str, dtype: str, shape: list[int], big: bool, offset: int | None, length: int) -> None:
        """As long as its dtype and shape say; in the file, or not over what may be decoded."""
        _wants(isinstance(shape, list) and len(shape) <= RANK_MAX and all(_is_count(n) for n in shape), "a shape")
        _wants(isinstance(big, bool) and dtype in DTYPES and _is_count(length), "an array")
        count = math.prod(shape)
        if dtype == "string":
            _wants(length % count == 0 if count else not length, "a length")
        else:
            _wants(length == count * int(DTYPES[dtype][0][1:]), "a length")
        dataset = Dataset(self._source.name, path, dtype, tuple(shape), big, self._source, 0, length)
        if offset is None:
            _wants(length <= max(self._limits.inflated_bytes, self._limits.unstored_bytes), "a size")
            self.apart.append(dataset)
        else:
            _wants(_is_count(offset) and offset + length <= self._source.size, "a place")
            dataset.offset = offset
        self._put(path, dataset)

    def _faulty(self, path: str, *fields: str) -> None:
        self._put(path, Dataset(self._source.name, path, fault=error(list(fields))))

    def _fault(self, *fields: str) -> None:
        _wants(self._faults.keep, "a fault that nobody asked for")
        self._faults.add(error(list(fields)))

    def _error(self, *fields: str) -> None:
        raise error(list(fields))

    def _remark(self, code: str, message: str, at: str, severity: str, hint: str) -> None:
        _wants(severity in _SEVERITIES and bool(_CODE(code)) and len(self._remarks) < _REMARKS_MAX, "a remark")
        self._remarks.append(Remark(code, _text(message), _text(at), severity, _text(hint)))  # type: ignore[arg-type]

    def _end(self) -> None:
        _wants("" in self._groups, "an end without a root group")
        self.ended = True

    def _put(self, path: str, node: Group | Dataset) -> None:
        parent, _, name = _text(path).rpartition("/")
        self._objects += 1
        into = self._groups.get(parent)
        _wants(into is not None and is_link_name(name), "a path")
        assert into is not None
        _wants(name not in into and self._objects <= self._limits.hdf5_objects, "an object too many")
        _wants(path.count("/") <= self._limits.hdf5_depth, "a depth")
        into[name] = node


def error(fields: list[Any]) -> RefserError:
    """The error that was told.  Raises `Nonsense` where it is none."""
    if len(fields) != 5 or not all(isinstance(text, str) for text in fields):
        raise Nonsense("an error that is none")
    kind, code, message, at, hint = fields
    _wants(kind in _KINDS and bool(_CODE(code)), "an error")
    return _KINDS[kind](Problem(code=code, message=_text(message), at=_text(at), hint=_text(hint)))


def _attribute(value: Any) -> Attribute:
    cells = value if isinstance(value, list) else [] if value is None else [value]
    kinds = {type(cell) for cell in cells}
    _wants(len(kinds) <= 1 and kinds <= {str, int, float}, "an attribute")
    for cell in cells:
        if isinstance(cell, str):
            _text(cell)
        elif isinstance(cell, int):
            _wants(abs(cell) < _INTEGER_MAX, "a number")
    return value  # type: ignore[no-any-return]


def _text(value: str) -> str:
    """A string that is UTF-8 elsewhere: raises `ValueError` for a lone surrogate."""
    if not isinstance(value, str):
        raise Nonsense("no text where some was wanted")
    value.encode("utf-8")
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_MAX


def _wants(is_so: bool, what: str) -> None:
    if not is_so:
        raise Nonsense(f"{what} that no reader finds")
