"""Whether a value fits a variable, and the weight that it makes.

Spec: spec/weight-trees.md (WT-030).  Not here: which value goes where (author).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refser.errors import InvalidError
from refser.rules.tree import WeightSpec
from refser.values import DTYPES, ByteRange, MemoryBytes, Weight

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_KINDS = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats", "V": "floats", "c": "complex numbers"}


class Misfit(Exception):
    """What was found; never leaves the package."""


def fitted(spec: WeightSpec, value: Any, *, integer: bool | None, cast: bool = False) -> Weight:
    """`value` in the dtype of the variable, which is that of the same kind.  Raises `Misfit`.

    `integer`: what is wanted where the dtype is not known; None: either.  With `cast` any number is taken.
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except Exception as error:  # of any class's `__array__`
        raise Misfit(f"no array, but {type(value).__name__} ({type(error).__name__}: {error})") from error
    found = _kind(array)
    if found is None:
        raise Misfit(f"an array of {array.dtype}")
    if len(array.shape) != len(spec.shape) or any(n not in (None, m) for n, m in zip(spec.shape, array.shape)):
        raise Misfit(f"shape {array.shape}")
    typed = hasattr(value, "dtype") and not cast
    dtype = spec.dtype
    if dtype is None:
        dtype = array.dtype.name if typed and array.dtype.name in DTYPES else "float32"
        if dtype == "float32" and (integer or (integer is None and found == "integers")) and not typed:
            dtype = "int32"
        if integer is not None and integer != (_KINDS[DTYPES[dtype][0][0]] == "integers"):
            raise Misfit(f"{found}, of {array.dtype}")
    wanted = _KINDS.get(DTYPES[dtype][0][0])
    if found != wanted and not (array.size == 0 and not typed):
        widened = (wanted == "floats" and found in ("integers", "booleans")) or (wanted == "integers" and found == "booleans")
        if not (widened and not typed) and not (wanted == "complex numbers" and found == "floats") and not cast:
            raise Misfit(f"{found}, of {array.dtype}")
    return _weight(spec.path, array, dtype)


def _kind(array: Array) -> str | None:
    if array.dtype.name in DTYPES:
        return _KINDS.get(DTYPES[array.dtype.name][0][0])
    return None


def _weight(path: str, array: Array, dtype: str) -> Weight:
    import numpy as np

    if array.dtype.name == dtype:
        return Weight.from_array(path, array)
    kind = DTYPES[dtype][0]
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            narrow = _as_bfloat16(array.astype(np.float32))
            data = memoryview(narrow.tobytes())
            _check_range(array, (narrow.astype("<u4") << np.uint32(16)).view("<f4"))
            return Weight(path=path, dtype=dtype, shape=array.shape, source=ByteRange(MemoryBytes(data), 0, len(data)))
        if kind.startswith("V") or kind == "S":
            raise Misfit(f"{array.dtype}, which refser does not turn into {dtype}")
        cast = array.astype(np.dtype(kind))
        _check_range(array, cast)
    try:
        return Weight.from_array(path, cast)
    except InvalidError as error:
        raise Misfit(error.problem.message) from error


def _check_range(array: Array, cast: Array) -> None:
    """Numbers too large for the dtype are no rounding."""
    import numpy as np

    if cast.dtype.kind in "iu":
        same = bool((cast.astype(np.float64) == array.astype(np.float64)).all())
    elif array.dtype.kind == "c" or cast.dtype.kind == "c":
        same = True
    else:
        wide = array.astype(np.float64)
        same = bool((np.isfinite(cast.astype(np.float64)) == np.isfinite(wide)).all())
    if not same:
        raise Misfit(f"{array.dtype} numbers beyond the range of the variable")


def _as_bfloat16(array: Array) -> Array:
    """The upper halves of float32, rounded to the nearest, of two to the even."""
    import numpy as np

    bits = np.ascontiguousarray(array, "<f4").reshape(array.shape).view("<u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)  # rounding must not make a NaN an infinity
    found: Array = np.where(np.isnan(array), quiet, rounded).astype("<u2")
    return found
