"""bfloat16 and float8 from their stored bytes, with or without ml_dtypes.

Spec: spec/values.md (VA-002, VA-003, VA-009).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_FLOAT8 = {"float8_e4m3fn": (4, 3, False), "float8_e5m2": (5, 2, True)}  # exponent bits, fraction bits, has infinities


def decode(raw: Array, dtype: str) -> Array:
    """`raw`, void elements of 1 or 2 bytes, as `dtype`: a view with ml_dtypes, else widened exactly to float32 [VA-009]."""
    import numpy as np

    try:
        import ml_dtypes
    except ImportError:
        pass
    else:
        narrow: Array = raw.view(np.dtype(getattr(ml_dtypes, dtype)))
        return narrow
    if dtype == "bfloat16":
        bits = raw.view("<u2").astype("<u4")
        widened: Array = np.asarray(bits << np.uint32(16)).view("<f4")  # of a 0-d array << makes a scalar
        return widened
    table = np.array([_float8(code, *_FLOAT8[dtype]) for code in range(256)], dtype="<f4")
    return np.asarray(table[raw.view("u1")])


def _float8(code: int, exponent_bits: int, fraction_bits: int, infinities: bool) -> float:
    sign = -1.0 if code & 0x80 else 1.0
    exponent = (code >> fraction_bits) & ((1 << exponent_bits) - 1)
    fraction = code & ((1 << fraction_bits) - 1)
    top = exponent == (1 << exponent_bits) - 1
    if top and infinities:
        return sign * math.inf if fraction == 0 else math.copysign(math.nan, sign)
    if top and fraction == (1 << fraction_bits) - 1:
        return math.copysign(math.nan, sign)
    bias = (1 << (exponent_bits - 1)) - 1
    if exponent == 0:
        return sign * fraction * 2.0 ** (1 - bias - fraction_bits)
    return sign * (1 + fraction / (1 << fraction_bits)) * 2.0 ** (exponent - bias)
