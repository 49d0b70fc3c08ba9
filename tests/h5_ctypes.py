"""What another libhdf5 finds in a file: the HDF5 1.14 that the wheel of PyTables brings, called through ctypes.

A process of its own, since two versions of HDF5 in one process do not get along; so neither h5py nor PyTables is imported.
`python tests/h5_ctypes.py` answers requests, one JSON list a line: ["describe", path] or ["change", path, seed], with what the
functions of these names in h5_judge give.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import random
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

HARD, NAME_INDEX, INCREASING = 0, 0, 0  # H5L_TYPE_HARD, H5_INDEX_NAME, H5_ITER_INC
GROUP, DATASET = 2, 5  # H5I_GROUP, H5I_DATASET
INTEGER, FLOAT, STRING, OPAQUE, COMPOUND, ENUM = 0, 1, 3, 5, 6, 8  # H5T_class_t
CONTIGUOUS, NULL_PADDED, BIG_ENDIAN, UTF8, ANY_SIZE = 1, 1, 1, 1, (1 << 64) - 1
NOWHERE = (1 << 64) - 1  # HADDR_UNDEF
Visit = ctypes.CFUNCTYPE(c_int, c_int64, c_char_p, c_void_p, c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {  # result, arguments
    "H5Aclose": (c_int, c_int64),
    "H5Acreate2": (c_int64, c_int64, c_char_p, c_int64, c_int64, c_int64, c_int64),
    "H5Adelete": (c_int, c_int64, c_char_p),
    "H5Aget_space": (c_int64, c_int64),
    "H5Aget_type": (c_int64, c_int64),
    "H5Aiterate2": (c_int, c_int64, c_int, c_int, POINTER(c_uint64), Visit, c_void_p),
    "H5Aopen": (c_int64, c_int64, c_char_p, c_int64),
    "H5Aread": (c_int, c_int64, c_int64, c_void_p),
    "H5Awrite": (c_int, c_int64, c_int64, c_void_p),
    "H5Dcreate2": (c_int64, c_int64, c_char_p, c_int64, c_int64, c_int64, c_int64, c_int64),
    "H5Dget_create_plist": (c_int64, c_int64),
    "H5Dget_offset": (c_uint64, c_int64),
    "H5Dget_space": (c_int64, c_int64),
    "H5Dget_storage_size": (c_uint64, c_int64),
    "H5Dget_type": (c_int64, c_int64),
    "H5Dread": (c_int, c_int64, c_int64, c_int64, c_int64, c_int64, c_void_p),
    "H5Dvlen_reclaim": (c_int, c_int64, c_int64, c_int64, c_void_p),
    "H5Dwrite": (c_int, c_int64, c_int64, c_int64, c_int64, c_int64, c_void_p),
    "H5Eset_auto2": (c_int, c_int64, c_void_p, c_void_p),
    "H5Fopen": (c_int64, c_char_p, c_uint, c_int64),
    "H5Gcreate2": (c_int64, c_int64, c_char_p, c_int64, c_int64, c_int64),
    "H5Idec_ref": (c_int, c_int64),
    "H5Iget_type": (c_int, c_int64),
    "H5Ldelete": (c_int, c_int64, c_char_p, c_int64),
    "H5Lexists": (c_int, c_int64, c_char_p, c_int64),
    "H5Lget_info2": (c_int, c_int64, c_char_p, c_void_p, c_int64),
    "H5Literate2": (c_int, c_int64, c_int, c_int, POINTER(c_uint64), Visit, c_void_p),
    "H5Oopen": (c_int64, c_int64, c_char_p, c_int64),
    "H5Pcreate": (c_int64, c_int64),
    "H5Pget_layout": (c_int, c_int64),
    "H5Pget_nfilters": (c_int, c_int64),
    "H5Pset_char_encoding": (c_int, c_int64, c_int),
    "H5Screate": (c_int64, c_int),
    "H5Screate_simple": (c_int64, c_int, POINTER(c_uint64), c_void_p),
    "H5Sget_simple_extent_dims": (c_int, c_int64, POINTER(c_uint64), c_void_p),
    "H5Sget_simple_extent_ndims": (c_int, c_int64),
    "H5Tcopy": (c_int64, c_int64),
    "H5Tcreate": (c_int64, c_int, ctypes.c_size_t),
    "H5Tenum_create": (c_int64, c_int64),
    "H5Tenum_insert": (c_int, c_int64, c_char_p, c_void_p),
    "H5Tequal": (c_int, c_int64, c_int64),
    "H5Tget_class": (c_int, c_int64),
    "H5Tget_cset": (c_int, c_int64),
    "H5Tget_nmembers": (c_int, c_int64),
    "H5Tget_order": (c_int, c_int64),
    "H5Tget_sign": (c_int, c_int64),
    "H5Tget_size": (ctypes.c_size_t, c_int64),
    "H5Tget_strpad": (c_int, c_int64),
    "H5Tinsert": (c_int, c_int64, c_char_p, ctypes.c_size_t, c_int64),
    "H5Tis_variable_str": (c_int, c_int64),
    "H5Tset_cset": (c_int, c_int64, c_int),
    "H5Tset_ebias": (c_int, c_int64, ctypes.c_size_t),
    "H5Tset_fields": (c_int, c_int64, *[ctypes.c_size_t] * 5),
    "H5Tset_size": (c_int, c_int64, ctypes.c_size_t),
    "H5Tset_strpad": (c_int, c_int64, c_int),
    "H5get_libversion": (c_int, POINTER(c_uint), POINTER(c_uint), POINTER(c_uint)),
    "H5open": (c_int,),
}


# --- the library


def find_library() -> Path | None:
    """The libhdf5 beside PyTables, wherever its wheel for this system has it."""
    found = importlib.util.find_spec("tables")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    patterns = ("../tables.libs/libhdf5[-.]*so*", ".dylibs/libhdf5.*dylib", "../tables.libs/hdf5-*.dll")
    return next((path.resolve() for pattern in patterns for path in sorted(package.glob(pattern))), None)


@cache
def library() -> ctypes.CDLL:
    path = find_library()
    assert path is not None
    if hasattr(os, "add_dll_directory"):
        os.add_dll_directory(str(path.parent))
    lib = ctypes.CDLL(str(path))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.H5open()
    lib.H5Eset_auto2(0, None, None)  # says nothing on stderr
    return lib


def version() -> str:
    numbers = [c_uint() for _ in range(3)]
    library().H5get_libversion(*map(byref, numbers))
    return ".".join(str(number.value) for number in numbers)


def call(name: str, *arguments: Any) -> int:
    """One function of the library; what it refuses is an error."""
    result = int(getattr(library(), name)(*arguments))
    if result < 0:
        raise OSError(f"{name} refuses {arguments}")
    return result


@contextmanager
def held(name: str, *arguments: Any) -> Iterator[int]:
    """What a function opened or made, closed at the end."""
    identifier = call(name, *arguments)
    try:
        yield identifier
    finally:
        call("H5Idec_ref", identifier)


def constant(name: str) -> int:
    return c_int64.in_dll(library(), f"{name}_g").value


def names(function: str, identifier: int) -> list[bytes]:
    found: list[bytes] = []

    @Visit
    def visit(_: int, name: bytes, *__: Any) -> int:
        found.append(name)
        return 0

    call(function, identifier, NAME_INDEX, INCREASING, byref(c_uint64()), visit, None)
    return found


# --- what is in a file


def describe(path: str) -> dict[str, Any]:
    """Every object by path, looked up by name link by link."""
    found: dict[str, Any] = {}
    with held("H5Fopen", os.fsencode(path), 0, 0) as file:
        todo = [""]
        while todo:
            path = todo.pop()
            with held("H5Oopen", file, path.encode() or b"/", 0) as node:
                kind = call("H5Iget_type", node)
                assert kind in (GROUP, DATASET), path
                found[path] = _group(node) if kind == GROUP else _dataset(node)
            todo.extend(f"{path}/{name}".lstrip("/") if not path else f"{path}/{name}" for name in found[path].get("links", ()))
    return found


def _group(group: int) -> dict[str, Any]:
    found = names("H5Literate2", group)
    present = set(found)
    info = ctypes.create_string_buffer(64)  # H5L_info2_t, whose first field is the type
    for name in found:
        assert call("H5Lexists", group, name, 0) == 1, name
        call("H5Lget_info2", group, name, info, 0)
        assert c_int.from_buffer(info).value == HARD, name
        for absent in (name + b"\x01", name + b"z", b"\x01" + name, name[:-1]):
            with suppress(UnicodeDecodeError):
                assert absent.decode() in ("", ".", "/") or call("H5Lexists", group, absent, 0) == (absent in present), absent
    for absent in (b"\x01", "\U0010ffff".encode(), b"absent", b"m"):
        assert call("H5Lexists", group, absent, 0) == (absent in present), absent
    return {"links": [name.decode() for name in found], "attributes": _attributes(group)}


def _dataset(dataset: int) -> dict[str, Any]:
    with held("H5Dget_type", dataset) as kind, held("H5Dget_create_plist", dataset) as plist:
        text = type_name(kind)
        with held("H5Dget_space", dataset) as space:
            shape, count = _shape(space)
        data = ctypes.create_string_buffer(count * call("H5Tget_size", kind))
        if count:
            call("H5Dread", dataset, kind, 0, 0, 0, data)
        offset = int(library().H5Dget_offset(dataset))
        with standard_type(text) as standard:
            exact = call("H5Tequal", kind, standard) == 1
        return {
            "dtype": text,
            "exact": exact,
            "shape": shape,
            "contiguous": call("H5Pget_layout", plist) == CONTIGUOUS and not call("H5Pget_nfilters", plist),
            "stored": int(library().H5Dget_storage_size(dataset)),
            "offset": offset if offset != NOWHERE and count else None,
            "bytes": data.raw.hex(),
            "attributes": _attributes(dataset),
        }


def _attributes(node: int) -> dict[str, Any]:
    """Name -> class, details of the type, shape, the bytes of each cell."""
    found = {}
    for name in names("H5Aiterate2", node):
        with (
            held("H5Aopen", node, name, 0) as attribute,
            held("H5Aget_type", attribute) as kind,
            held("H5Aget_space", attribute) as space,
        ):
            found[name.decode()] = _attribute(attribute, kind, space)
    return found


def _attribute(attribute: int, kind: int, space: int) -> list[Any]:
    shape, count = _shape(space)
    text = call("H5Tget_class", kind) == STRING
    if text and call("H5Tis_variable_str", kind):
        cells = (c_char_p * count)()
        if count:
            call("H5Aread", attribute, kind, cells)
        values = [(cell or b"").hex() for cell in cells]
        if count:
            call("H5Dvlen_reclaim", kind, space, 0, cells)
        return [["vlen", call("H5Tget_cset", kind)], shape, values]
    data = ctypes.create_string_buffer(count * call("H5Tget_size", kind))
    if count:
        call("H5Aread", attribute, kind, data)
    if text:
        details = ["fixed", *(call(f"H5Tget_{what}", kind) for what in ("cset", "strpad", "size"))]
        return [details, shape, [data.raw.hex()]]
    return [[type_name(kind)], shape, [data.raw.hex()] if count else []]


def _shape(space: int) -> tuple[list[int], int]:
    lengths = (c_uint64 * call("H5Sget_simple_extent_ndims", space))()
    call("H5Sget_simple_extent_dims", space, lengths, None)
    count = 1
    for length in lengths:
        count *= length
    return list(lengths), count


# --- datatypes, by what NumPy calls them


def type_name(kind: int) -> str:
    number, size = call("H5Tget_class", kind), call("H5Tget_size", kind)
    letter = {STRING: "S", OPAQUE: "V", FLOAT: "f", COMPOUND: "c", ENUM: "b"}.get(number, "")
    if number == INTEGER:
        letter = "i" if call("H5Tget_sign", kind) else "u"
    assert letter, number
    order = "|"
    if size > 1 and letter in "iufc":
        order = ">" if call("H5Tget_order", kind) == BIG_ENDIAN else "<"
    return f"{order}{letter}{size}"


@contextmanager
def standard_type(text: str) -> Iterator[int]:
    """The datatype that everybody writes for it."""
    letter, size, order = text[1], int(text[2:]), "BE" if text[0] == ">" else "LE"
    if letter in "iu":
        with held("H5Tcopy", constant(f"H5T_STD_{letter.upper()}{8 * size}{order}")) as made:
            yield made
    elif letter == "f":
        with held("H5Tcopy", constant(f"H5T_IEEE_F{8 * max(size, 4)}{order}")) as made:
            if size == 2:
                call("H5Tset_fields", made, 15, 10, 5, 0, 10)
                call("H5Tset_size", made, 2)
                call("H5Tset_ebias", made, 15)
            yield made
    elif letter == "S":
        with held("H5Tcopy", constant("H5T_C_S1")) as made:
            call("H5Tset_size", made, size)
            call("H5Tset_strpad", made, NULL_PADDED)
            yield made
    elif letter == "V":
        with held("H5Tcreate", OPAQUE, size) as made:
            yield made
    elif letter == "c":
        with standard_type(f"{text[0]}f{size // 2}") as part, held("H5Tcreate", COMPOUND, size) as made:
            call("H5Tinsert", made, b"r", 0, part)
            call("H5Tinsert", made, b"i", size // 2, part)
            yield made
    else:
        with held("H5Tenum_create", constant("H5T_STD_I8LE")) as made:
            for value, name in enumerate((b"FALSE", b"TRUE")):
                call("H5Tenum_insert", made, name, bytes([value]))
            yield made


# --- changing a file


def change(path: str, seed: int) -> None:
    """Add and remove links, datasets and attributes in every group."""
    rng = random.Random(seed)
    groups = [name for name, node in describe(path).items() if "links" in node]
    with held("H5Fopen", os.fsencode(path), 1, 0) as file:
        gone: list[str] = []
        for name in groups:
            if not any(f"{name}/".startswith(f"{above}/") for above in gone):
                with held("H5Oopen", file, name.encode() or b"/", 0) as group:
                    removed = _change_group(group, rng, "!Mz" if seed % 4 else "!Mz¡")
                    gone.extend(f"{name}/{child}".lstrip("/") if not name else f"{name}/{child}" for child in removed)


def _change_group(group: int, rng: random.Random, starts: str) -> list[str]:
    """The names that are no longer there."""
    for name in names("H5Aiterate2", group):
        chance = rng.random()
        if chance < 0.6:
            call("H5Adelete", group, name)
        if 0.4 < chance < 0.6:
            _set_text(group, name, "changed ü" * rng.randrange(30))
    removed = [name for name in names("H5Literate2", group) if rng.random() < 0.3]
    for name in removed:
        call("H5Ldelete", group, name, 0)
    for number in range(rng.choice((0, 1, 3, 20, 80))):
        name = f"{rng.choice(starts)}{number}new{'x' * rng.randrange(60)}".encode()
        if call("H5Lexists", group, name, 0) == 1:
            continue
        with held("H5Pcreate", constant("H5P_CLS_LINK_CREATE_ID")) as plist:
            call("H5Pset_char_encoding", plist, 0 if name.isascii() else UTF8)
            if rng.random() < 0.3:
                with held("H5Gcreate2", group, name, plist, 0, 0) as below:
                    _set_text(below, b"name", f"n{number}")
            else:
                _put_numbers(group, name, plist, list(range(rng.randrange(9))))
    for number in range(rng.randrange(4)):
        with suppress(OSError):
            call("H5Adelete", group, f"added{number}".encode())
        _set_text(group, f"added{number}".encode(), "added")
    return [name.decode() for name in removed]


def _set_text(node: int, name: bytes, text: str) -> None:
    with held("H5Tcopy", constant("H5T_C_S1")) as kind, held("H5Screate", 0) as space:
        call("H5Tset_size", kind, ANY_SIZE)
        call("H5Tset_cset", kind, UTF8)
        with held("H5Acreate2", node, name, kind, space, 0, 0) as attribute:
            call("H5Awrite", attribute, kind, (c_char_p * 1)(text.encode()))


def _put_numbers(group: int, name: bytes, plist: int, numbers: list[int]) -> None:
    kind = constant("H5T_STD_I32LE")
    with (
        held("H5Screate_simple", 1, (c_uint64 * 1)(len(numbers)), None) as space,
        held("H5Dcreate2", group, name, kind, space, plist, 0, 0) as dataset,
    ):
        if numbers:
            call("H5Dwrite", dataset, kind, 0, 0, 0, struct.pack(f"<{len(numbers)}i", *numbers))


def main() -> None:
    calls: dict[str, Callable[..., Any]] = {"version": version, "describe": describe, "change": change}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer: Any = calls[name](*arguments)
        except Exception as error:  # the other side fails on it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
