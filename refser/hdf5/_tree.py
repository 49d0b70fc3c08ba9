"""What the HDF5 door hands out and takes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Union

from refser.errors import InvalidError, Problem, RefserError
from refser.values import ByteRange, Weight

# A scalar string or number, a list of them for one dimension, None for an attribute of another kind [H5-009, H5-017].
Attribute = Union[str, int, float, "list[str]", "list[int]", "list[float]", None]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """An array in the file.  One that Keras cannot have written keeps its `fault`, raised only when it is asked for."""

    _: KW_ONLY
    at: str  # "model.weights.h5:/layers/dense/vars/0"
    dtype: str = ""  # Keras name [VA-001]
    shape: tuple[int, ...] = ()
    big_endian: bool = False
    data: ByteRange | None = None
    fault: RefserError | None = None

    def weight(self, path: str) -> Weight:
        """This array as the weight `path`.  Raises what is wrong with it."""
        if self.fault is not None:
            raise self.fault
        assert self.data is not None  # a dataset has bytes or a fault
        return Weight(path=path, dtype=self.dtype, shape=self.shape, big_endian=self.big_endian, source=self.data)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group with its attributes and, in the file's own order, what it holds."""

    _: KW_ONLY
    at: str  # "model.weights.h5:/layers/dense"
    attributes: Mapping[str, Attribute]
    children: Mapping[str, Group | Dataset]

    def get(self, path: str) -> Group | Dataset | None:
        """What `a/b/c` leads to, or None."""
        found: Group | Dataset | None = self
        for part in path.split("/"):
            found = found.children.get(part) if isinstance(found, Group) else None
        return found


@dataclass(frozen=True, slots=True, eq=False)
class NewDataset:
    """An array to write: the weight's bytes as they lie, and the attributes beside them."""

    weight: Weight
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NewGroup:
    """A group to write.

    Attributes: `str` is written as one variable-length UTF-8 string, `bytes` as variable-length ASCII, a list of bytes as
    one dimension of variable-length ASCII strings (an empty list as float64 of shape (0,)), `FixedStrings` as null-padded
    cells of one length [H5-016].
    """

    at: str = "/"
    attributes: dict[str, str | bytes | list[bytes] | FixedStrings] = field(default_factory=dict)
    children: dict[str, NewGroup | NewDataset] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class FixedStrings:
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
