"""HDF5 files with faults: a number is one mutant, always the same.

Changed are single bytes, words that may be addresses, sizes or counts, whole structures, the length; pieces of other files are
put in.  The checksums and the declared end are mended most of the time, so that a mutant is not refused for those alone.
"""

from __future__ import annotations

import io
import random
import re
import struct
import tempfile
from functools import cache
from pathlib import Path

import h5py
import numpy as np

import refser
from refser import hdf5
from refser.hdf5 import FixedStrings, NewDataset, NewGroup
from refser.hdf5._header import lookup3
from refser.values import Weight

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = [
    *("keras-3.15.1/sequential.weights.h5", "keras-3.6.0/mixed.weights.h5", "tf-keras-2.12.0/sequential.weights.h5"),
    *("keras-1.2.2/sequential.legacy.h5", "keras-2.3.1/sequential.legacy_weights.h5", "keras-3.15.1/sequential.legacy.h5"),
    *("keras-3.15.1/functional.sharded_00001.weights.h5", "keras-3.0.5/mixed.weights.h5"),
]
INTERESTING = [
    *(0, 1, 2, 7, 8, 16, 24, 96, 0x7F, 0xFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40),
    *((1 << 61) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1),
]

OPERATIONS = [
    "byte",
    "few",
    "word",
    "word",
    "word",
    "field",
    "field",
    "copy",
    "splice",
    "block",
    "shift",
    "zero",
    "cut",
    "grow",
]

# --- files to change


@cache
def sources() -> list[tuple[str, bytes, list[int]]]:
    """Name, bytes, and where structures start."""
    found = [(name, (GOLDEN / name).read_bytes()) for name in FILES]
    found.append(("refser", b"".join(hdf5.plan_tree(written()).pieces())))
    small = refser.load(GOLDEN / "keras-3.15.1/sequential.keras")
    with tempfile.TemporaryDirectory() as folder:
        refser.save(small, Path(folder, "m.weights.h5"))
        found.append(("refser weights", Path(folder, "m.weights.h5").read_bytes()))
    found.extend((f"h5py {libver}", by_h5py(libver)) for libver in ("earliest", "v108", "latest"))
    found.extend((f"chunks {libver}", in_chunks(libver)) for libver in ("earliest", "latest"))
    return [(name, data, structures(data)) for name, data in found]


def written() -> NewGroup:
    """Every kind of thing that refser writes; a group with two levels of nodes."""
    root = NewGroup(attributes={"s": "größe", "b": b"ascii", "l": [b"a", b"", b"c" * 40], "e": [], "none": ""})
    root.attributes["f"] = FixedStrings((b"a", b"bcd"), 4)
    rng = np.random.default_rng(0)
    for kind in ("f2", "f4", ">f8", "i1", ">i4", "u8", "?", "c8", ">c16", "S5"):
        root.put(f"vars/{kind}", NewDataset(Weight.from_array("w", rng.integers(0, 2, (2, 3)).astype(kind))))
    root.put("vars/scalar", NewDataset(Weight.from_array("w", np.float32(1)), {"dtype": "float32"}))
    root.put("vars/empty", NewDataset(Weight.from_array("w", np.zeros((0, 3), "f4"))))
    for number in range(300):
        root.put(f"wide/vars/{number}", NewDataset(Weight.from_array("w", np.int16(number))))
    return root


def by_h5py(libver: str) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver, userblock_size=512 if libver == "v108" else 0) as file:
        for number in range(5):
            dataset = file.create_dataset(f"vars/{number}", data=np.arange(6, dtype="<f4"))
            dataset.attrs["dtype"] = "float32"
        file["vars"].attrs["name"] = "dense"
        file["vars"].attrs["list"] = np.array(["a", "bc"], dtype=h5py.string_dtype())
        file.create_dataset("vars/narrow", data=np.zeros(4, "V2")).attrs["dtype"] = "bfloat16"
        file.create_dataset("vars/unstored", (5,), "f4")
        file["vars/flag"] = np.array([True, False])
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32BE, space, dcpl=plist)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype=">f4"))
        file["late"] = file["vars/1"]
        for number in range(12):
            file.attrs[f"a{number}" if number < 6 else f"late{number % 2}"] = number
    return stream.getvalue()


def in_chunks(libver: str) -> bytes:
    """Chunks that reach over the edge, that are not there, in one or two levels of nodes, with every filter."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver) as file:
        for number, options in enumerate(
            ({}, {"compression": "gzip"}, {"shuffle": True, "fletcher32": True, "compression": 1})
        ):
            dataset = file.create_dataset(f"vars/{number}", (7, 5), ">i4", chunks=(3, 2), **options)
            dataset[:4] = np.arange(20).reshape(4, 5)
        file.create_dataset("vars/many", data=np.arange(200, dtype="<i2"), chunks=(2,))
        file.create_dataset("vars/one", data=np.arange(6.0), chunks=(6,), compression="gzip")
        file.create_dataset("vars/none", (4, 4), "f4", chunks=(2, 2))
    return stream.getvalue()


def structures(data: bytes) -> list[int]:
    """Signatures, object headers that symbols or other words lead to, and the heap's names."""
    found = {match.start() for match in re.finditer(rb"TREE|SNOD|HEAP|GCOL|OHDR|OCHK|FAHD|FADB|\x89HDF", data)}
    for at in range(0, len(data) - 8, 8):
        (word,) = struct.unpack_from("<Q", data, at)
        if 0 < word < len(data) - 16 and word % 8 == 0 and data[word] in (1, 2) and data[word + 1] == 0:
            found.add(word)
    return sorted(found)


# --- mutants: a number is one mutant, always the same


def mutant(number: int) -> tuple[str, bytes]:
    rng = random.Random(f"hdf5 {number}")
    name, data, starts = rng.choice(sources())
    out = bytearray(data)
    metadata = starts[-1] + 1000
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 6))):
        at = rng.randrange(min(len(out), metadata) - 8) if rng.random() < 0.6 else rng.choice(starts) + rng.randrange(100)
        at = max(0, min(at, len(out) - 8))
        match rng.choice(OPERATIONS):
            case "byte":
                out[at] ^= 1 << rng.randrange(8)
            case "few":
                size = rng.randint(1, 16)
                out[at : at + size] = rng.randbytes(size)
            case "word":
                struct.pack_into("<Q", out, at & ~7 if rng.random() < 0.8 else at, word(rng, out, at & ~7, starts))
            case "field":
                width = rng.choice((1, 2, 4))
                value = (
                    rng.choice(INTERESTING)
                    if rng.random() < 0.5
                    else int.from_bytes(out[at : at + width], "little") + rng.choice((-9, -8, -1, 1, 8))
                )
                out[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            case "copy":
                size = rng.choice((4, 8, 16, 40, 100))
                source = rng.randrange(len(out) - 8)
                out[at : at + size] = out[source : source + size]
            case "splice":  # a piece of another file
                _, other, places = rng.choice(sources())
                source, size = rng.choice(places), rng.choice((8, 24, 40, 100, 328, 544))
                out[at : at + size] = other[source : source + size]
            case "shift":  # all that follows, by a few bytes
                if rng.random() < 0.5:
                    out[at:at] = rng.randbytes(rng.choice((1, 8, 16)))
                else:
                    del out[at : at + rng.choice((1, 8, 16))]
            case "block":  # one structure over another
                source, target, size = rng.choice(starts), rng.choice(starts), rng.choice((8, 24, 40, 328, 544))
                out[target : target + size] = out[source : source + size]
            case "zero":
                out[at : at + rng.choice((2, 8, 40))] = bytes(8)
            case "cut":
                del out[rng.randrange(len(out) // 2, len(out)) :]
            case "grow":
                out += rng.randbytes(rng.choice((1, 8, 600)))
        if len(out) < 300:
            break
    if rng.random() < 0.8:
        mend(out, starts)
    return name, bytes(out)


def word(rng: random.Random, out: bytearray, at: int, starts: list[int]) -> int:
    """An address or a size that could matter there."""
    (old,) = struct.unpack_from("<Q", out, at)
    match rng.randrange(7):
        case 0:
            return rng.choice(INTERESTING)
        case 1:
            return at
        case 2:
            return len(out) - rng.choice((0, 1, 8, 16, 40))
        case 3:
            return (old + rng.choice((-8, -1, 1, 8, 40, 1 << 32))) % (1 << 64)
        case 4:
            other = rng.randrange(0, len(out) - 8) & ~7
            return int(struct.unpack_from("<Q", out, other)[0])
        case _:
            return rng.choice(starts)


def mend(out: bytearray, starts: list[int]) -> None:
    """The end that the superblock declares and the checksums, so that a mutant is not refused for those alone."""
    for start in starts:
        if start + 48 > len(out):
            continue
        if out[start : start + 4] == b"\x89HDF" and out[start + 8] in (0, 1):
            at = start + (40 if out[start + 8] == 0 else 44)
            (end,) = struct.unpack_from("<Q", out, at)
            struct.pack_into("<Q", out, at, min(len(out), end))
        elif out[start : start + 4] == b"\x89HDF" and out[start + 8] in (2, 3):
            struct.pack_into("<Q", out, start + 28, len(out))
            struct.pack_into("<I", out, start + 44, lookup3(bytes(out[start : start + 44])))
        elif out[start : start + 4] == b"OHDR":
            flags = out[start + 5]
            here = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            end = here + width + int.from_bytes(out[here : here + width], "little")
            if end + 4 <= len(out) and end - start < 5000:
                struct.pack_into("<I", out, end, lookup3(bytes(out[start:end])))
