"""An HDF5 file of the chapters on bytes made a weights file: its root becomes the group `vars` of a new root at its end.

Offsets stay as they are, so that what an example patches is the same bytes.  Spec: spec/hdf5-bytes.md, spec/hdf5-groups.md.
"""

from __future__ import annotations

import struct

from refser.hdf5._header import lookup3

Patch = list[list[object]]
UNDEFINED = b"\xff" * 8
NEAR = 16  # bytes to the end
OWN = 96  # bytes of the superblock, which the new root changes


def _message(kind: int, body: bytes) -> bytes:
    body = body.ljust(-(-len(body) // 8) * 8, b"\0")
    return struct.pack("<HHB3x", kind, len(body), 0) + body


def _new_root(address: int) -> bytes:
    """An object header of version 1 with one link, `vars`, in a message of its own."""
    messages = [
        _message(0x02, b"\0\0" + UNDEFINED * 2),  # link info: nothing outside the header
        _message(0x0A, b"\0\0"),  # group info
        _message(0x06, b"\1\0\4vars" + struct.pack("<Q", address)),
    ]
    body = b"".join(messages)
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def graft(data: bytes) -> bytes:
    """`vars/a` where there was `a`."""
    out = bytearray(data)
    version = data[8]
    root = 64 if version < 2 else 36
    out += bytes(-len(out) % 8)
    at = len(out)
    out += _new_root(struct.unpack_from("<Q", data, root)[0])
    struct.pack_into("<Q", out, root, at)
    struct.pack_into("<Q", out, 40 if version < 2 else 28, len(out))
    if version < 2:
        out[72:96] = bytes(24)  # nothing of the new root is repeated here
    else:
        struct.pack_into("<I", out, 44, lookup3(bytes(out[:44])))
    return bytes(out)


def shifted(patch: Patch, old: int, new: int) -> Patch:
    """With addresses that lead to the end of the file or across it, and sizes that do, made to lead to the new end."""
    found: Patch = []
    for at, text in patch:
        assert isinstance(at, int)
        changed = bytearray.fromhex(str(text))
        for here in range(len(changed) - 7):
            (value,) = struct.unpack_from("<Q", changed, here)
            size_from_here = at + here - 8 + value  # of a structure whose signature stands in front of its size
            if old - NEAR < value <= old or old < size_from_here <= old + NEAR:
                struct.pack_into("<Q", changed, here, value + new - old)
        found.append([at, changed.hex()])
    return found


def touches_superblock(data: bytes, patch: Patch) -> bool:
    checksum = data[8] >= 2 and [at for at, _ in patch] == [44]  # of what is before it, and so of the new root too
    return not checksum and any(isinstance(at, int) and at < (OWN if data[8] < 2 else 48) for at, _ in patch)
