"""The bytes of single messages and blocks, as libhdf5 1.8 and later write them for h5py.

Spec: spec/hdf5-canonical.md (H5-060 to H5-068).  HDF5 File Format Specification III and IV.
"""

from __future__ import annotations

import struct

from refser.errors import InvalidError, Problem
from refser.hdf5._datatype import PLAIN
from refser.hdf5._header import ATTRIBUTE, DATASPACE, DATATYPE, FILL, LAYOUT, METADATA_MARK, NIL, SYMBOL_TABLE
from refser.hdf5._image import UNDEFINED
from refser.hdf5._tree import FixedStrings

LEAF_K, NODE_K = 4, 16  # what libhdf5 takes where nobody asks for another
LEAF_LINKS, NODE_CHILDREN = 2 * LEAF_K, 2 * NODE_K
NODE_SIZE = 24 + 16 * NODE_CHILDREN + 8
LEAF_SIZE = 8 + 40 * LEAF_LINKS
HEAP_SIZE = 32
COLLECTION_MIN = 4096
MESSAGE_MAX = 0xFFF8  # bytes of an attribute message with its head
SUPERBLOCK_SIZE = 96
_NONE = 1  # of a local heap's free list
_TYPES = {(stored.kind, stored.big_endian): message for message, stored in PLAIN.items()}
_VLEN_BASE = bytes.fromhex("10000000010000000000080000000000")
_FILL_BODY = bytes.fromhex("0202020100000000")  # version 2: late allocation, written when set, default value of no bytes


def padded(data: bytes) -> bytes:
    """Up to the next multiple of 8."""
    return data + bytes(-len(data) % 8)


def superblock(end: int, root: int, tree: int, heap: int) -> bytes:
    """Version 0, base address 0 [H5-060]."""
    head = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8, 0)) + struct.pack("<HHI", LEAF_K, NODE_K, 0)
    return head + struct.pack("<4Q", 0, UNDEFINED, end, UNDEFINED) + symbol(0, root, (tree, heap))


def symbol(name_offset: int, header: int, table: tuple[int, int] | None) -> bytes:
    """A symbol table entry; one of a group repeats where its table is [H5-062]."""
    if table is None:
        return struct.pack("<QQ24x", name_offset, header)
    return struct.pack("<QQI4xQQ", name_offset, header, 1, *table)


def object_header(messages: list[bytes]) -> bytes:
    """Version 1, one block, no room to spare [H5-061]."""
    body = b"".join(messages)
    if len(messages) > 0xFFFF:
        message = f"{len(messages):,} messages in an object header, one for each attribute; wanted at most {0xFFFF:,}"
        raise InvalidError(Problem(code="H5-061", message=message))
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def message(kind: int, body: bytes, *, constant: bool = False) -> bytes:
    data = padded(body)
    return struct.pack("<HHB3x", kind, len(data), constant) + data


def symbol_table(tree: int, heap: int) -> bytes:
    return message(SYMBOL_TABLE, struct.pack("<QQ", tree, heap))


def metadata_hint(size: int) -> bytes:
    """A nil message, which every reader passes over, that tells how many bytes from the start are metadata [H5-070]."""
    return message(NIL, METADATA_MARK + struct.pack("<Q", size))


def tree_node(level: int, keys: list[int], children: list[int], left: int = UNDEFINED, right: int = UNDEFINED) -> bytes:
    """A v1 B-tree node of a group: key, child, key, ..., key; the rest of its fixed size is zero [H5-063]."""
    body = b"".join(struct.pack("<QQ", key, child) for key, child in zip(keys, children))
    last = struct.pack("<Q", keys[len(children)]) if children else b""
    head = struct.pack("<4sBBHQQ", b"TREE", 0, level, len(children), left, right)
    return (head + body + last).ljust(NODE_SIZE, b"\0")


def leaf(symbols: list[bytes]) -> bytes:
    return (struct.pack("<4sBxH", b"SNOD", 1, len(symbols)) + b"".join(symbols)).ljust(LEAF_SIZE, b"\0")


def heap(names: bytes, address: int) -> bytes:
    """The header of a local heap whose names stand at `address`, no free block [H5-064]."""
    return struct.pack("<4sB3xQQQ", b"HEAP", 0, len(names), _NONE, address)


def dataset_messages(dtype: str, big_endian: bool, size: int, shape: tuple[int, ...], address: int, nbytes: int) -> list[bytes]:
    """Dataspace, datatype, fill value, layout [H5-065]."""
    return [
        message(DATASPACE, dataspace(shape, fixed=True)),
        message(DATATYPE, datatype(dtype, big_endian, size), constant=True),
        message(FILL, _FILL_BODY, constant=True),
        message(LAYOUT, struct.pack("<BBQQ", 3, 1, address, nbytes)),
    ]


def dataspace(shape: tuple[int, ...], *, fixed: bool = False) -> bytes:
    """Version 1; a dataset's has its maximum dimensions, which are the same."""
    maximum = fixed and bool(shape)
    dims = struct.pack(f"<{len(shape)}Q", *shape)
    return struct.pack("<BBB5x", 1, len(shape), maximum) + dims * (2 if maximum else 1)


def datatype(dtype: str, big_endian: bool = False, size: int = 0) -> bytes:  # in the byte order it was given in [VA-010]
    """A Keras dtype as h5py stores it [H5-020 to H5-024]; `size` bytes for strings and opaque elements."""
    if (plain := _TYPES.get((dtype, big_endian and size > 1))) is not None:
        return plain
    if dtype == "bool":
        names = padded(b"FALSE\0") + padded(b"TRUE\0")
        return struct.pack("<BHxI", 0x18, 2, 1) + _TYPES["int8", False] + names + b"\0\1"
    if dtype.startswith("complex"):
        half = size // 2
        base = _TYPES[f"float{8 * half}", big_endian]
        parts = [padded(name) + struct.pack("<I28x", offset) + base for name, offset in ((b"r\0", 0), (b"i\0", half))]
        return struct.pack("<BHxI", 0x16, 2, size) + b"".join(parts)
    if dtype == "string":
        return struct.pack("<BBBBI", 0x13, 1, 0, 0, size)
    return struct.pack("<BBBBI", 0x15, 0, 0, 0, size)


def attribute(name: str, type_bytes: bytes, shape: tuple[int, ...], data: bytes) -> bytes:
    """An attribute message of version 1: name, datatype, dataspace, each padded, then the data [H5-066]."""
    text, space = name.encode("utf-8") + b"\0", dataspace(shape)
    parts = padded(text) + padded(type_bytes) + padded(space) + data
    if (size := 16 + len(padded(parts))) > MESSAGE_MAX:
        found = f"attribute {name[:80]!r} of {size:,} bytes; wanted at most {MESSAGE_MAX:,}"
        raise InvalidError(Problem(code="H5-066", message=found))
    return message(ATTRIBUTE, struct.pack("<BxHHH", 1, len(text), len(type_bytes), len(space)) + parts)


def vlen_type(utf8: bool) -> bytes:
    return struct.pack("<BBBBI", 0x19, 1, utf8, 0, 16) + _VLEN_BASE


def fixed_strings(name: str, value: FixedStrings) -> bytes:
    data = b"".join(cell.ljust(value.length, b"\0") for cell in value.cells)
    return attribute(name, datatype("string", size=value.length), (len(value.cells),), data)


def empty_list(name: str) -> bytes:
    """What NumPy makes of an empty list: float64 of shape (0,) [LH-017]."""
    return attribute(name, datatype("float64", size=8), (0,), b"")


def collection(cells: list[bytes]) -> bytes:
    """A global heap of these objects, numbered from 1; free space, if any, is object 0 at the end [H5-067]."""
    body = b"".join(struct.pack("<HHIQ", number, 0, 0, len(cell)) + padded(cell) for number, cell in enumerate(cells, 1))
    size = max(COLLECTION_MIN, 16 + len(body))
    free = size - 16 - len(body)
    rest = struct.pack("<HHIQ", 0, 0, 0, free).ljust(free, b"\0") if free >= 16 else bytes(free)
    return struct.pack("<4sB3xQ", b"GCOL", 1, size) + body + rest
