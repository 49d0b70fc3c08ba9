"""What the HDF5 door hands out and takes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Union

from refser.errors import InvalidError, Problem, RefserError
from refser.values import ByteRange, Bytes, Weight

_SHAPE_MAX = 1 << 59  # NumPy multiplies the dimensions that are not 0 with at most 16 bytes, and has 63 bits
# A scalar string or number, a list of them for one dimension, None for an attribute of another kind [H5-009, H5-017].
Attribute = Union[str, int, float, "list[str]", "list[int]", "list[float]", None]


class Dataset:
    """An array in the file.  One that Keras cannot have written keeps its `fault`, raised only when it is asked for."""

    __slots__ = ("big_endian", "dtype", "fault", "file", "length", "offset", "path", "shape", "source")

    def __init__(  # by position, as there are thousands of them
        self,
        file: str,
        path: str,
        dtype: str = "",
        shape: tuple[int, ...] = (),
        big_endian: bool = False,
        source: Bytes | None = None,
        offset: int = 0,
        length: int = 0,
        fault: RefserError | None = None,
    ) -> None:
        self.file, self.path = file, path  # "model.weights.h5", "layers/dense/vars/0"
        self.dtype, self.shape, self.big_endian = dtype, shape, big_endian  # Keras name [VA-001]
        self.source, self.offset, self.length = source, offset, length
        self.fault = fault

    @property
    def at(self) -> str:
        return f"{self.file}:/{self.path}"

    def weight(self, path: str) -> Weight:
        """This array as the weight `path`.  Raises what is wrong with it."""
        if self.fault is not None or self.source is None:
            raise self.fault or AssertionError(f"{self.at} has neither bytes nor a fault")
        if not self.length and math.prod(length or 1 for length in self.shape) >= _SHAPE_MAX:
            message = f"no elements in the shape {self.shape}; wanted one that an array can have"
            raise InvalidError(Problem(code="H5-012", message=message, at=self.at))
        data = ByteRange(self.source, self.offset, self.length)
        return Weight(path=path, dtype=self.dtype, shape=self.shape, big_endian=self.big_endian, source=data)


class Flat(NamedTuple):
    """All groups and datasets of a file in a few plain containers: what listing thousands of arrays needs, and no more."""

    groups: Mapping[str, Mapping[str, int]]  # by path, parents first; a place >= 0 is a dataset, below 0 a group
    mixed: bool  # some group holds datasets and groups
    faults: Mapping[str, RefserError]  # what is wrong with which dataset
    dataset: Callable[[int, str], Dataset]  # of a place and a path
    group: Callable[[str], Group]


class Remark(NamedTuple):
    """Something about the file that stops no reader [H5-086 to H5-093]."""

    code: str  # its ID in spec/
    message: str
    at: str  # "model.weights.h5: byte 1,024"
    severity: Literal["info", "warning", "error"]
    hint: str = ""


class Group:
    """A group: its attributes and what it holds in byte order of the names, both decoded when they are asked for."""

    __slots__ = ("_attributes", "_children", "_remarks", "file", "flat", "path")

    def __init__(
        self,
        file: str,
        path: str,
        attributes: Mapping[str, Attribute] | Callable[[], Mapping[str, Attribute]],
        children: dict[str, Group | Dataset] | Callable[[], dict[str, Group | Dataset]],
        flat: Flat | None = None,
        remarks: Callable[[], Sequence[Remark]] | None = None,
    ) -> None:
        self.file, self.path, self._children = file, path, children  # "model.weights.h5", "layers/dense"
        self._attributes = attributes
        self.flat = flat  # of the root group only, and not of every reader
        self._remarks: Sequence[Remark] | Callable[[], Sequence[Remark]] = remarks or ()

    @property
    def at(self) -> str:
        return f"{self.file}:/{self.path}"

    @property
    def attributes(self) -> Mapping[str, Attribute]:
        """Raises the first H5 requirement that one of them breaks."""
        if callable(self._attributes):
            self._attributes = self._attributes()
        return self._attributes

    @property
    def children(self) -> dict[str, Group | Dataset]:
        if callable(self._children):
            self._children = self._children()
        return self._children

    def remarks(self) -> Sequence[Remark]:
        """What stops no reader and is worth a word about the whole file, looked for when asked; of the root group only."""
        if callable(self._remarks):
            self._remarks = self._remarks()
        return self._remarks

    def get(self, path: str) -> Group | Dataset | None:
        """What `a/b/c` leads to, or None."""
        found: Group | Dataset | None = self
        for part in path.split("/"):
            found = found.children.get(part) if isinstance(found, Group) else None
        return found


class NewDataset(NamedTuple):
    """An array to write: the weight's bytes as they lie, and the attributes beside them."""

    weight: Weight
    attributes: Mapping[str, str] = MappingProxyType({})


class NewGroup:
    """A group to write.

    Attributes: `str` is written as one variable-length UTF-8 string, `bytes` as variable-length ASCII, a list of bytes as
    one dimension of variable-length ASCII strings (an empty list as float64 of shape (0,)), `FixedStrings` as null-padded
    cells of one length [H5-016].
    """

    __slots__ = ("at", "attributes", "children")

    def __init__(
        self,
        at: str = "/",
        attributes: dict[str, str | bytes | list[bytes] | FixedStrings] | None = None,
        children: dict[str, NewGroup | NewDataset] | None = None,
    ) -> None:
        self.at = at
        self.attributes = {} if attributes is None else attributes
        self.children = {} if children is None else children

    def group(self, path: str) -> NewGroup:
        """The group `a/b/c`, made where it is missing.  Raises `InvalidError` for a path that HDF5 cannot hold [H5-008]."""
        here = self
        for part in path.split("/") if path else ():
            _check_name(part, f"{here.at}{path}")
            below = here.children.setdefault(part, NewGroup(f"{here.at}{part}/"))
            if isinstance(below, NewDataset):
                message = "an array stands where a group is needed"
                raise InvalidError(Problem(code="H5-008", message=message, at=f"{here.at}{part}"))
            here = below
        return here

    def put(self, path: str, dataset: NewDataset) -> None:
        """Add an array at `a/b/c`, relative to this group."""
        head, slash, name = path.rpartition("/")
        if slash:
            _check_name(head.partition("/")[0], f"{self.at}{path}")  # "/x" is not "x"
        parent = self.group(head)
        _check_name(name, f"{parent.at}{name}")
        if name in parent.children:
            message = "this place holds something already"
            raise InvalidError(Problem(code="H5-008", message=message, at=f"{parent.at}{name}"))
        parent.children[name] = dataset


class FixedStrings(NamedTuple):
    """Cells of one length, null-padded, as Keras writes a list that is split over several attributes [LH-008]."""

    cells: tuple[bytes, ...]
    length: int


def _check_name(name: str, at: str) -> None:
    if not is_link_name(name):
        message = f"{name!r} as a name in HDF5; wanted one that is not empty, '.', '..', nor has '/' or a NUL"
        raise InvalidError(Problem(code="H5-008", message=message, at=at))


def is_link_name(name: str) -> bool:
    """Whether a link of this name means only itself, in HDF5 and where somebody makes a path of it [H5-008]."""
    return name not in ("", ".", "..") and "/" not in name and is_text(name)


def is_text(value: str) -> bool:
    """Whether HDF5 can hold the string: UTF-8 without NUL."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
