"""Dtypes, byte ranges, weights and models: data, no I/O.

Spec: spec/values.md (VA).  Not here: where bytes come from (source), what a file looks like (layouts).
NumPy is imported inside functions, so that listing a file never loads it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from refser._record import field, record
from refser.errors import InvalidError, Problem, UnsupportedError
from refser.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

# Keras dtype name -> NumPy typestr without byte order, bits that Keras counts for one element [VA-001].
# "V" is HDF5's opaque type: NumPy alone has no such number.
DTYPES: Mapping[str, tuple[str, int]] = {
    "bool": ("b1", 1),
    "int8": ("i1", 8),
    "int16": ("i2", 16),
    "int32": ("i4", 32),
    "int64": ("i8", 64),
    "uint8": ("u1", 8),
    "uint16": ("u2", 16),
    "uint32": ("u4", 32),
    "uint64": ("u8", 64),
    "float16": ("f2", 16),
    "float32": ("f4", 32),
    "float64": ("f8", 64),
    "bfloat16": ("V2", 16),
    "float8_e4m3fn": ("V1", 8),
    "float8_e5m2": ("V1", 8),
    "complex64": ("c8", 64),
    "complex128": ("c16", 128),
    "string": ("S", 0),
}
Generation = Literal["v3", "legacy"]


def fits(wanted: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Whether a shape is the one that is wanted, None for any length of an axis."""
    return len(wanted) == len(shape) and all(want in (None, have) for want, have in zip(wanted, shape))


class Bytes(Protocol):
    """Something that holds bytes: a file, a piece of one, a block of memory."""

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`, read-only."""


class Described(Protocol):
    """What a config tells of an array."""

    @property
    def name(self) -> str | None: ...
    @property
    def variable_path(self) -> str | None: ...
    @property
    def shape(self) -> tuple[int | None, ...]: ...
    @property
    def trainable(self) -> bool | None: ...


@record(frozen=True, slots=True)
class MemoryBytes:
    """Bytes that are in memory already."""

    data: bytes | memoryview

    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(self.data).cast("B").toreadonly()[offset : offset + length]


@record(frozen=True, slots=True)
class ByteRange:
    """A run of bytes that stays where it is until `read()`."""

    source: Bytes = field(repr=False)
    offset: int
    length: int

    def read(self) -> memoryview:
        return self.source.view(self.offset, self.length)


@record(frozen=True, slots=True, kw_only=True, eq=False)
class Weight:
    """One array of a model: where the file keeps it and what Keras calls it."""

    path: str  # inner path in the file, "layers/dense/vars/0", no leading slash [WH-003]
    dtype: str  # Keras name, since NumPy has no bfloat16 [VA-002]
    shape: tuple[int, ...]
    source: ByteRange = field(repr=False)  # the bytes stay where they are until `array()` is called
    big_endian: bool = False  # how the numbers lie in `source` [VA-007]
    described: Callable[[str], Described | None] | None = field(default=None, repr=False)  # asked for by inner path

    def altered(self, **changes: Any) -> Weight:
        """This weight with other values in some of its fields."""
        kept = {"path": self.path, "dtype": self.dtype, "shape": self.shape, "source": self.source}
        return Weight(**{**kept, "big_endian": self.big_endian, "described": self.described, **changes})

    def moved(self, path: str) -> Weight:
        """The same array under another path; what it is called stays."""
        found, here = self.described, self.path
        return self.altered(path=path, described=None if found is None else lambda _: found(here))

    @property
    def name(self) -> str | None:
        """Keras `Variable.name`, "kernel", where the config of the file tells it [WT-014]."""
        found = self._description
        return found.name if found else None

    @property
    def variable_path(self) -> str | None:
        """The names of the layers around the variable and its own, "dense/kernel", where the config tells them [WT-014]."""
        found = self._description
        return found.variable_path if found else None

    @property
    def trainable(self) -> bool | None:
        """Whether Keras would train it, where the config tells [WT-020]."""
        found = self._description
        return found.trainable if found else None

    @property
    def _description(self) -> Described | None:
        """What the config says of this place, if it says so of an array of this shape."""
        found = self.described(self.path) if self.described else None
        return found if found is not None and fits(found.shape, self.shape) else None

    @property
    def nbytes(self) -> int:
        return self.source.length

    @property
    def itemsize(self) -> int:
        """Bytes of one element as it is stored; of the longest one where they are strings."""
        if self.dtype == "string":
            return max(1, self.nbytes // max(1, self.size))
        return int(DTYPES[self.dtype][0][1:])

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def array(self, *, copy: bool = False) -> Array:
        """The values, shape `self.shape`.

        A read-only view of the file where the bytes allow it, good as long as somebody holds it, the file closed or not;
        with `copy` an array of its own that can be written to, in the machine's byte order.

        The dtype is NumPy's of the same name; bytes (`S`) for "string".  bfloat16 and float8 have their own dtype when
        ml_dtypes is installed (`pip install refser[bfloat16]`); without it they come widened, exactly, to float32
        [VA-009].  Raises the `RefserError` of the door that reads the bytes when they cannot be read.
        """
        import numpy as np

        dtype = self._numpy_dtype()
        raw = np.frombuffer(self.source.read(), dtype=dtype) if self.nbytes else np.empty(0, dtype=dtype)
        raw.flags.writeable = False
        array = raw.reshape(self.shape)
        if DTYPES[self.dtype][0].startswith("V"):
            from refser._narrow_floats import decode

            array = decode(array, self.dtype)
            array.flags.writeable = False
        return array.astype(array.dtype.newbyteorder("=")) if copy else array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        import numpy as np

        array = self.array()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"{self.path}: a {dtype} array of {self.dtype} values needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def tobytes(self) -> bytes:
        """The elements in C order, little-endian, as they are stored: what two equal weights share."""
        data = self.source.read()
        if not self.big_endian:
            return bytes(data)
        import numpy as np

        return np.frombuffer(data, dtype=self._numpy_dtype()).astype(self._numpy_dtype().newbyteorder("<")).tobytes()

    def _numpy_dtype(self) -> np.dtype[Any]:
        import numpy as np

        kind = DTYPES[self.dtype][0]
        if self.dtype == "string":
            kind = f"S{self.itemsize}"
        return np.dtype((">" if self.big_endian else "<") + kind)

    def __eq__(self, other: object) -> bool:
        """Same path, dtype, shape and bits: NaN equals itself, 0.0 is not -0.0 [VA-011]."""
        if not isinstance(other, Weight):
            return NotImplemented
        if (self.path, self.dtype, self.shape) != (other.path, other.dtype, other.shape):
            return False
        if self.dtype == "string":  # padding is no part of the value
            return bool((self.array() == other.array()).all())
        return self.tobytes() == other.tobytes()

    __hash__ = None  # type: ignore[assignment]  # equal by bytes that may be gigabytes

    @classmethod
    def from_array(cls, path: str, array: npt.ArrayLike) -> Weight:
        """A weight over a copy-free view of `array` (copied only when it is not C-contiguous).

        Raises `InvalidError` for a dtype that Keras does not have [VA-008].
        """
        import numpy as np

        try:
            values = np.asarray(array)
        except ValueError as error:  # lists of different lengths
            raise InvalidError(Problem(code="VA-008", message=f"no array: {error}", at=path)) from error
        name = {"S": "string"}.get(values.dtype.kind, values.dtype.name)
        if name not in DTYPES:
            message = f"an array of dtype {values.dtype}; wanted one of {', '.join(DTYPES)}"
            raise InvalidError(Problem(code="VA-008", message=message, at=path))
        values = values if values.flags.c_contiguous else values.copy(order="C")  # ascontiguousarray adds an axis
        big = values.dtype.byteorder == ">" or (values.dtype.byteorder == "=" and sys.byteorder == "big")
        data = memoryview(values.reshape(-1).view(np.uint8).data) if values.size else memoryview(b"")
        return cls(path=path, dtype=name, shape=values.shape, big_endian=big, source=ByteRange(MemoryBytes(data), 0, len(data)))


@record(frozen=True, slots=True, kw_only=True)
class WeightGroup:
    """The weights that one object of a model owns, as one HDF5 group holds them.

    In a v3 file `path` is the object's inner path and `vars` (`layers/dense/vars`, of the model itself `vars`), `name` the
    group's attribute `name` and `keys` are what follows `path/` in each weight's path, in order.  In a legacy file `path` is
    `model_weights/dense` and the keys are `dense/kernel:0`.
    """

    path: str
    name: str | None = None
    keys: tuple[str, ...] = ()

    @property
    def weight_paths(self) -> Iterable[str]:
        return (f"{self.path}/{key}" if self.path else key for key in self.keys)


@record(frozen=True, slots=True, kw_only=True)
class Model:
    """A whole model in memory: what `refser.load` returns and `refser.save` takes.  Equal when every part is, by bits."""

    generation: Generation = "v3"  # "v3": zip, directory, weights, shards; "legacy": the HDF5 files of Keras 1 and 2
    config_json: str | None = None  # exactly as stored [CF-001]
    metadata: Mapping[str, Any] = field(default_factory=dict)  # metadata.json, or keras_version and backend of a legacy file
    weights: Mapping[str, Weight] = field(default_factory=dict)  # by inner path
    assets: Mapping[str, bytes] = field(default_factory=dict)  # "layers/text_vectorization/vocabulary.txt": bytes
    groups: tuple[WeightGroup, ...] = ()  # empty ones and their names too; made from `weights` when not given
    training_config: str | None = None  # legacy files only, as stored

    def __post_init__(self) -> None:
        if not self.groups and self.weights:
            object.__setattr__(self, "groups", groups_of(self.weights, self.generation))

    @property
    def config(self) -> Any:
        """The config as parsed JSON, or None.  Raises the first JS requirement that the text breaks."""
        if self.config_json is None:
            return None
        from refser import jsonio

        return jsonio.parse_object(self.config_json, limits=DEFAULT_LIMITS, at="config")

    @property
    def arrays(self) -> dict[str, Array]:
        """Every weight's `array()`, by inner path."""
        return {path: weight.array() for path, weight in self.weights.items()}


def groups_of(weights: Iterable[str], generation: Generation) -> tuple[WeightGroup, ...]:
    """The groups that hold `weights` (inner paths), in the order of first use; names are not known.

    A v3 model's own group `vars` is always there, and first [WH-002].  Raises `InvalidError` for a path
    that fits no group [WH-001, LH-010].
    """
    found: dict[str, list[str]] = {"vars": []} if generation == "v3" else {}
    for path in weights:
        head, key = split_v3_path(path) if generation == "v3" else split_legacy_path(path)
        found.setdefault(head, []).append(key)
    return tuple(WeightGroup(path=head, keys=tuple(keys)) for head, keys in found.items())


def split_v3_path(path: str) -> tuple[str, str]:
    """`layers/dense/vars`, `0` of `layers/dense/vars/0`: the last component `vars` ends the group's path [WH-001]."""
    parts = path.split("/")
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "vars":
            return "/".join(parts[: at + 1]), "/".join(parts[at + 1 :])
    message = "a weight outside every group named vars; wanted <object path>/vars/<number>"
    raise InvalidError(Problem(code="WH-001", message=message, at=f"/{path}"))


def split_legacy_path(path: str) -> tuple[str, str]:
    """`model_weights/dense`, `dense/kernel:0` of `model_weights/dense/dense/kernel:0` [LH-010]."""
    top, _, rest = path.partition("/")
    layer, _, name = rest.partition("/")
    if top == "model_weights" and layer and name:
        return f"{top}/{layer}", name
    if top and rest and top != "model_weights":  # optimizer_weights, or a layer of a weights-only file
        return top, rest
    message = "a weight outside every layer; wanted model_weights/<layer>/<name>, <layer>/<name> or optimizer_weights/<name>"
    raise InvalidError(Problem(code="LH-010", message=message, at=f"/{path}"))


def dtype_bits(dtype: str) -> int:
    """Bits that Keras counts for one element when it fills shards [SH-007].  Raises `UnsupportedError` for strings."""
    if bits := DTYPES[dtype][1]:
        return bits
    raise UnsupportedError(Problem(code="SH-007", message=f"a {dtype} array in a sharded file; wanted numbers"))


def natural(keys: Sequence[str]) -> list[str]:
    """Keys of one `vars` group, name by name: decimal numbers by value, then the others by code point [WH-004]."""

    def rank(name: str) -> tuple[int, int, str]:
        numbered = name.isascii() and name.isdigit() and len(name) < 10
        return (0, int(name), name) if numbered else (1, 0, name)

    return sorted(keys, key=lambda key: [rank(name) for name in key.split("/")])
