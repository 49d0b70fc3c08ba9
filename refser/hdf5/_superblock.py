"""Where the file starts, where its root group is, and whether its end is there.

Spec: spec/hdf5.md (H5-013, H5-014), spec/hdf5-bytes.md (H5-019).  HDF5 File Format Specification II.A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NoReturn

from refser.errors import InvalidError, MalformedError, Problem
from refser.hdf5._header import compare_checksum
from refser.hdf5._image import Image

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SIZES = {0: 96, 1: 100, 2: 48, 3: 48}  # by version, with the root group's symbol table entry


def read_superblock(image: Image, start: int) -> int:
    """The address of the root group's header, from the superblock at `start`, where addresses count from [H5-019]."""
    buffer = image.buffer
    version = buffer[start + 8] if start + 8 < image.end else 0
    size = _SIZES.get(version)
    if size is None:
        image.outside(f"a superblock of version {version}", "")
    if start + size > image.end:
        known = version < 2 and start + 48 <= image.end  # its end stands before the root group
        length = f" of {int.from_bytes(buffer[start + 40 : start + 48], 'little'):,} bytes" if known else ""
        _cut_short(image, f"an HDF5 file{length} that is cut short at {image.end:,}")
    widths = tuple(buffer[start + 13 : start + 15]) if version < 2 else tuple(buffer[start + 9 : start + 11])
    if widths != (8, 8):
        image.outside(f"addresses and lengths of {widths[0]} and {widths[1]} bytes; Keras files have 8", "")
    if version < 2:
        here = start + (24 if version == 0 else 28)
        base, _, end, _ = struct.unpack_from("<4Q", buffer, here)
        (root,) = struct.unpack_from("<Q", buffer, here + 40)
    else:
        base, _, end, root = struct.unpack_from("<4Q", buffer, start + 12)
        compare_checksum(image, start, start + 44, "a superblock", "")
    end += start - base  # where the file was moved, as one in an archive is, its own place counts, as for libhdf5
    if end > image.end:
        _cut_short(image, f"an HDF5 file of {end:,} bytes that is cut short at {image.end:,}")
    image.base, image.declared_end = start, end
    image.own(start, size, "the superblock", "")
    return int(root)


def _cut_short(image: Image, message: str) -> NoReturn:
    raise MalformedError(Problem(code="H5-014", message=message, at=image.name, hint="fetch it again"))


def signature_places(size: int) -> Iterator[int]:
    """Where the file signature can stand: at 0, 512, 1024, 2048 and so on [H5-013]."""
    at = 0
    while at + len(SIGNATURE) <= size:
        yield at
        at = at * 2 or 512


def find_signature(image: Image) -> int:
    """Where the file signature stands.  Raises `MalformedError` where there is none."""
    for at in signature_places(image.end):
        if image.need is not None:
            image.need(at, 512)
        if image.buffer[at : at + 8] == SIGNATURE:
            break
    else:
        if image.buffer[:24].tobytes() == b"version https://git-lfs.":  # a part of a model that was not fetched [FT-004]
            message, hint = "a git-LFS pointer, not the file itself", "run `git lfs pull`"
            raise InvalidError(Problem(code="FT-004", message=message, at=image.name, hint=hint))
        image.malformed(f"no HDF5 signature in {image.end:,} bytes", "")
    return at
