"""Datatype and dataspace messages: which Keras dtype the elements have, and the shape.

Spec: spec/hdf5-bytes.md (H5-020 to H5-026).  HDF5 File Format Specification IV.A.2.b and IV.A.2.d.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from refser.hdf5._image import UNDEFINED, Image
from refser.values import DTYPES


class Type(NamedTuple):
    """Elements as they are stored."""

    kind: str  # a Keras dtype; "vlen" (strings on a global heap), "opaque"; "foreign" where only libhdf5 gives values; or ""
    size: int  # bytes of one element
    big_endian: bool = False
    found: str = ""  # what it is, where `kind` is no dtype


_DEPTH = 8  # of datatypes inside each other: complex numbers and booleans need 1
RANK_MAX = 32  # of HDF5
SPACE_PADDED = "strings padded with spaces"
_INTEGERS = {1: "8", 2: "16", 4: "32", 8: "64"}
_OTHER_CLASSES = {2: "time", 4: "bit field", 6: "compound", 7: "reference", 9: "variable-length", 10: "array", 11: "complex"}
# Float: name, exponent position, exponent size, mantissa position, mantissa size, bias.
_FLOATS = {
    2: ("float16", 10, 5, 0, 10, 15),
    4: ("float32", 23, 8, 0, 23, 127),
    8: ("float64", 52, 11, 0, 52, 1023),
}


def _plain_types() -> dict[bytes, Type]:
    """The exact messages of the integers and floats that NumPy has, in both byte orders: 12 or 20 bytes, version 1."""
    found = {}
    for big in (0, 1):
        for size, digits in _INTEGERS.items():
            for signed in (0, 8):
                name = f"{'int' if signed else 'uint'}{digits}"
                message = struct.pack("<BBBBIHH", 0x10, big | signed, 0, 0, size, 0, 8 * size)
                found[message] = Type(name, size, bool(big))
        for size, (name, exponent, exponent_size, mantissa, mantissa_size, bias) in _FLOATS.items():
            sign = 8 * size - 1
            head = struct.pack("<BBBBIHH", 0x11, 0x20 | big, sign, 0, size, 0, 8 * size)
            message = head + struct.pack("<BBBBI", exponent, exponent_size, mantissa, mantissa_size, bias)
            found[message] = Type(name, size, bool(big))
    return found


PLAIN = _plain_types()  # [H5-020]


def read_type(image: Image, start: int, size: int, at: str) -> Type:
    """The datatype in `size` bytes from `start`.  `Type.kind` is empty for a valid type that no Keras dtype is stored as."""
    buffer = image.buffer
    if size >= 12:
        plain = PLAIN.get(bytes(buffer[start : start + 12])) or PLAIN.get(bytes(buffer[start : start + 20]))
        if plain is not None and size >= (20 if plain.kind.startswith("f") else 12):
            return plain
    return _read_type(image, start, start + size, at)[0]


def _read_type(image: Image, start: int, end: int, at: str, depth: int = 0) -> tuple[Type, int]:
    """A datatype and where it ends; one that no Keras dtype is stored as need not be read to its end [H5-026]."""
    buffer = image.buffer
    if start + 8 > end:
        image.malformed("a datatype message that is cut short", at)
    head, bits, size = buffer[start], int.from_bytes(buffer[start + 1 : start + 4], "little"), _u32(buffer, start + 4)
    version, kind = head >> 4, head & 15
    if not 1 <= version <= 5:
        image.malformed(f"a datatype message of version {version}", at)
    if size == 0 and kind != 3:
        image.malformed("a datatype of no size", at)
    after = start + 8
    if kind in (0, 1):
        length = 4 if kind == 0 else 12
        _inside(image, after + length, end, at)
        message = bytes((0x10 | kind, *buffer[start + 1 : after + length]))
        return PLAIN.get(message, Type("foreign", size, found="numbers of another form")), after + length
    if kind == 3:  # [H5-021]
        pad = bits & 15
        if not size or pad > 2:
            return Type("", size, found="a string of no size or unknown padding"), after
        return (Type("string", size) if pad < 2 else Type("foreign", size, found=SPACE_PADDED)), after
    if kind == 5:  # [H5-024]
        length = bits & 0xFF
        _inside(image, after + length, end, at)
        tag = bytes(buffer[after : after + length]).rstrip(b"\0")
        return (Type("opaque", size) if not tag else Type("", size, found=f"opaque {tag!r}")), after + length
    if kind in (6, 8, 9) and depth == _DEPTH:
        return Type("", size, found="datatypes in datatypes"), end
    if kind == 8:
        return _read_enum(image, version, bits & 0xFFFF, after, end, size, at, depth)
    if kind == 6:
        return _read_compound(image, version, bits & 0xFFFF, after, end, size, at, depth)
    if kind == 9:
        _, after = _read_type(image, after, end, at, depth + 1)
        text = bits & 15 == 1 and size == 16
        return (Type("vlen", 16) if text else Type("", size, found="a variable-length list")), after
    return Type("", size, found=f"a {_OTHER_CLASSES.get(kind, 'datatype of class ' + str(kind))}"), end


def _read_enum(
    image: Image, version: int, count: int, start: int, end: int, size: int, at: str, depth: int
) -> tuple[Type, int]:
    """An enum of FALSE 0 and TRUE 1 over one byte is bool [H5-022]."""
    if count != 2:
        return Type("", size, found="an enum"), end
    base, after = _read_type(image, start, end, at, depth + 1)
    names = []
    for _ in range(count):
        name, after = _name(image, after, end, padded=version < 3, at=at)
        names.append(name)
    _inside(image, after + count * base.size, end, at)
    values = [bytes(image.buffer[after + n * base.size : after + (n + 1) * base.size]) for n in range(count)]
    boolean = base.kind in ("int8", "uint8") and dict(zip(names, values)) == {b"FALSE": b"\0", b"TRUE": b"\1"}
    return (Type("bool", 1) if boolean else Type("", size, found="an enum")), after + count * base.size


def _read_compound(
    image: Image, version: int, count: int, start: int, end: int, size: int, at: str, depth: int
) -> tuple[Type, int]:
    """A compound of two floats r and i, side by side, is complex [H5-023]."""
    members, after = [], start
    for _ in range(count):
        name, after = _name(image, after, end, padded=version < 3, at=at)
        width = 4 if version < 3 else (size.bit_length() + 7) // 8
        _inside(image, after + width, end, at)
        offset = int.from_bytes(image.buffer[after : after + width], "little")
        after += width
        if version == 1:
            _inside(image, after + 28, end, at)
            if image.buffer[after]:
                return Type("", size, found="a compound"), end
            after += 28
        member, after = _read_type(image, after, end, at, depth + 1)
        members.append((name, offset, member))
        if len(members) > 2 or not member.kind.startswith("float"):
            return Type("", size, found="a compound"), end
    if len(members) == 2:
        (r, first, real), (i, second, imaginary) = members
        half = real.size
        side_by_side = (r, i, first, second) == (b"r", b"i", 0, half) and real == imaginary and size == 2 * half
        if side_by_side and half in (4, 8) and real.kind == f"float{8 * half}":
            return Type(f"complex{16 * half}", size, real.big_endian), after
    return Type("", size, found="a compound"), after


def _name(image: Image, start: int, end: int, *, padded: bool, at: str) -> tuple[bytes, int]:
    window = bytes(image.buffer[start:end])
    stop = window.find(b"\0")
    if stop < 0:
        image.malformed("a member name without an end", at)
    length = (stop // 8 + 1) * 8 if padded else stop + 1
    _inside(image, start + length, end, at)
    return window[:stop], start + length


def read_shape(image: Image, start: int, size: int, at: str) -> tuple[int, ...] | None:
    """Dimensions, () for a scalar, None for a null dataspace [H5-025]."""
    buffer, end = image.buffer, start + size
    _inside(image, start + 4, end, at)
    version, rank, flags, kind = buffer[start], buffer[start + 1], buffer[start + 2], buffer[start + 3]
    if version == 1:
        after, kind = start + 8, 1 if rank else 0
    elif version == 2:
        after = start + 4
    else:
        image.malformed(f"a dataspace message of version {version}", at)
    if rank > RANK_MAX or kind > 2 or (kind != 1 and rank):
        image.malformed(f"a dataspace of {rank} dimensions and type {kind}", at)
    _inside(image, after + 8 * rank * (2 if flags & 1 else 1), end, at)
    if kind == 2:
        return None
    shape = struct.unpack_from(f"<{rank}Q", buffer, after)
    if UNDEFINED in shape:
        image.malformed("a dimension without a limit", at)
    return shape


def opaque_dtype(size: int, declared: object) -> str:
    """bfloat16 or float8 by the attribute `dtype`, else by size; empty for any other opaque type [VA-002, VA-003]."""
    name = declared if isinstance(declared, str) else {2: "bfloat16", 1: "float8_e4m3fn"}.get(size, "")
    return name if DTYPES.get(name, ("",))[0] == f"V{size}" else ""


def _inside(image: Image, after: int, end: int, at: str) -> None:
    if after > end:
        image.malformed("a message that is cut short", at)


def _u32(buffer: memoryview, start: int) -> int:
    return int.from_bytes(buffer[start : start + 4], "little")
