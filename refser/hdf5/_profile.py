"""The tree of an HDF5 file in the profile that Keras writes, straight from the bytes: no libhdf5, no NumPy.

Spec: spec/hdf5.md (H5).  Files outside the profile leave through `OutsideProfile`, and are named.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NoReturn

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5._alike import Alike
from refser.hdf5._attribute import Attributes
from refser.hdf5._datatype import opaque_dtype, read_shape, read_type
from refser.hdf5._group import Entry, Groups
from refser.hdf5._header import (
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    FILL,
    FILL_OLD,
    FILTERS,
    LAYOUT,
    METADATA_MARK,
    Message,
    compare_checksum,
    read_messages,
)
from refser.hdf5._image import UNDEFINED, Image
from refser.hdf5._tree import Dataset, Group
from refser.source import Source
from refser.values import Bytes

_SUPERBLOCK_SIZES = {0: 96, 1: 100, 2: 48, 3: 48}  # by version, with the root group's symbol table entry
_METADATA_MAX = 64 << 20  # bytes that a hint can make us fetch
Place = tuple[Bytes, int, int]  # source, offset, length
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PATHS_MIN, _PATHS_PER_BYTE = 16 << 20, 16  # what the paths of all objects can take together [H5-029]
_ADDRESS_AND_SIZE = struct.Struct("<QQ")


def read_profile(source: Source, image: Image) -> Group:
    """Raises the first broken H5 requirement, or `OutsideProfile`."""
    return _Walk(source, image).run()


def read_superblock(image: Image, start: int) -> int:
    """The address of the root group's header, from the superblock at `start`, where addresses count from [H5-019]."""
    buffer = image.buffer
    version = buffer[start + 8] if start + 8 < image.end else 0
    size = _SUPERBLOCK_SIZES.get(version)
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
    image.base = start
    return int(root)


def _cut_short(image: Image, message: str) -> NoReturn:
    raise MalformedError(Problem(code="H5-014", message=message, at=image.name, hint="fetch it again"))


def find_signature(image: Image) -> int:
    """Where the file signature stands: at 0, 512, 1024, 2048 and so on [H5-013]."""
    at = 0
    while at + 8 <= image.end:
        if image.need is not None:
            image.need(at, 512)
        if image.buffer[at : at + 8] == SIGNATURE:
            break
        at = at * 2 or 512
    else:
        if image.buffer[:24].tobytes() == b"version https://git-lfs.":  # a part of a model that was not fetched [FT-004]
            problem = Problem(
                code="FT-004", message="a git-LFS pointer, not the file itself", at=image.name, hint="run `git lfs pull`"
            )
            raise InvalidError(problem)
        image.malformed(f"no HDF5 signature in {image.end:,} bytes", "")
    return at


class _Walk:
    """One pass over all objects, without recursion."""

    def __init__(self, source: Source, image: Image) -> None:
        self._source, self._image = source, image
        self._groups, self._attributes = Groups(image), Attributes(image)
        self._alike = Alike(image, source)
        self._nodes: dict[int, Group | Dataset] = {}  # by the address of the header
        self._objects = 0
        self._prefixes = 0  # characters of the paths of groups, once for each link in them

    def run(self) -> Group:
        image = self._image
        root = read_superblock(image, find_signature(image))
        if image.need is not None:
            self._fetch_metadata(root)
        messages = read_messages(image, root, "")
        links = self._groups.links(messages, "")
        if links is None:
            image.malformed("a root object that is no group", "")
        top = self._nodes[root] = self._group(messages, "")
        todo = [(top, links, 0)]
        while todo:
            group, links, depth = todo.pop()
            self._objects += len(links)
            if self._objects > image.limits.hdf5_objects:
                self._limit("LI-005", f"over {image.limits.hdf5_objects:,} groups and datasets", group.path)
            self._prefixes += len(group.path) * len(links)
            if self._prefixes > _PATHS_MIN + _PATHS_PER_BYTE * image.end:
                image.invalid(f"paths of {self._prefixes:,} characters in a file of {image.end:,} bytes", "", "H5-029")
            for child, below in self._children(group, links):
                if depth >= image.limits.hdf5_depth:
                    self._limit("LI-006", f"groups nested over {image.limits.hdf5_depth} deep", child.path)
                if below:
                    todo.append((child, below, depth + 1))
            image.claim(0, "an object", group.path)
        return top

    def _fetch_metadata(self, root: int) -> None:
        """All metadata at once, where the root group's header says how much there is [H5-070]; a hint, never refused."""
        image = self._image
        start = image.check(root, 16, "an object header", "")
        header = bytes(image.buffer[start : start + 256])
        at = header.find(METADATA_MARK)
        size = int.from_bytes(header[at + 8 : at + 16], "little") if at >= 0 else 0
        if image.need is not None and 0 < size <= min(image.end, _METADATA_MAX):
            image.need(image.base, size)

    def _children(self, group: Group, links: list[Entry]) -> Iterator[tuple[Group, list[Entry]]]:
        """Fill the group; give each group in it with its links."""
        nodes, children, alike = self._nodes, group.children, self._alike.read
        prefix = f"{group.path}/" if group.path else ""
        for name, address in links:
            path = prefix + name
            node = nodes.get(address)
            if node is not None:
                if isinstance(node, Group):
                    self._image.invalid("a group that is reached by two paths; wanted a tree", path, "H5-005")
                children[name] = node.under(path)
                continue
            dataset = alike(address, path)
            if dataset is None:
                messages = read_messages(self._image, address, path)
                below = self._groups.links(messages, path)
                if below is not None:
                    child = children[name] = nodes[address] = self._group(messages, path)
                    yield child, below
                    continue
                dataset = self._dataset(messages, path)
                self._alike.learn(address, messages, dataset)
            children[name] = nodes[address] = dataset
        if len(children) < len(links):
            self._image.invalid("two links of one name", group.path, "H5-047")

    def _group(self, messages: list[Message], path: str) -> Group:
        return Group(self._image.name, path, self._attributes.later(messages, path), {})

    def _dataset(self, messages: list[Message], at: str) -> Dataset:
        space = kind = layout = filters = None
        for message in messages:
            number = message[0]
            if number == DATASPACE:
                space = message
            elif number == DATATYPE:
                kind = message
            elif number == LAYOUT:
                layout = message
            elif number == FILTERS:
                filters = message
            elif number == EXTERNAL:
                found = "a dataset that keeps its values in another file"
                raise UnsafeError(Problem(code="H5-002", message=found, at=self._image.at(at)))
        image, name = self._image, self._image.at(at)
        if layout is None and space is None and kind is not None:
            raise UnsupportedError(Problem(code="H5-006", message="an object that is neither a group nor a dataset", at=name))
        if space is None or kind is None or layout is None:
            image.malformed("an object header without datatype, dataspace or layout", at)
        try:
            stored = read_type(image, kind[1], kind[2], at)
            shape = read_shape(image, space[1], space[2], at)
            if shape is None:
                image.invalid("a dataset without a dataspace; wanted an array or a scalar", at, "H5-012")
            if 0 in shape and math.prod(n for n in shape if n) * stored.size >= 1 << 63:
                image.invalid(f"dimensions {shape}, which no array can have", at, "H5-012")
            dtype = stored.kind
            if dtype == "opaque":
                dtype = opaque_dtype(stored.size, self._attributes.later(messages, at)().get("dtype"))
                if not dtype:
                    found = f"opaque elements of {stored.size} bytes; wanted bfloat16 (2 bytes) or float8 (1)"
                    image.invalid(found, at, "VA-002")
            elif dtype in ("vlen", "foreign"):
                image.outside(stored.found or "variable-length strings in a dataset", at)
            elif not dtype:
                found = f"elements that are {stored.found}, {stored.size} bytes; no Keras dtype is stored so"
                image.invalid(found, at, "VA-008")
            data = self._storage(layout, filters, messages, math.prod(shape) * stored.size, at)
        except UnsafeError:
            raise
        except RefserError as fault:
            return Dataset(image.name, at, fault=fault)
        return Dataset(image.name, at, dtype, shape, stored.big_endian, *data)

    def _storage(self, layout: Message, filters: Message | None, messages: list[Message], nbytes: int, at: str) -> Place:
        """Where the elements are [H5-007, H5-035].  Layout message version 3, or the same classes in version 4."""
        image, buffer, body = self._image, self._image.buffer, layout[1]
        if layout[2] < 2:
            image.malformed("a layout message that is cut short", at)
        version, kind = buffer[body], buffer[body + 1]
        if kind == 3 and version == 4:
            found = "a virtual dataset, which takes its values from other files"
            raise UnsafeError(Problem(code="H5-003", message=found, at=image.at(at)))
        if version not in (3, 4) or kind > 1 or filters is not None:
            found = f"a data layout of version {version}, class {kind}"
            image.outside("a chunked dataset" if kind == 2 and version in (3, 4) else found, at)
        if kind == 0:
            size = int.from_bytes(buffer[body + 2 : body + 4], "little")
            if 4 + size > layout[2]:
                image.malformed("compact data that leave their message", at)
            address = body + 4
        else:
            if layout[2] < 18:
                image.malformed("a layout message that is cut short", at)
            address, size = _ADDRESS_AND_SIZE.unpack_from(buffer, body + 2)
            if address == UNDEFINED:
                return self._unstored(messages, nbytes, at)
            address = image.inside(address, size, "the values of a dataset", at)
            image.claim(size, "the values of a dataset", at)
        if size != nbytes:
            image.invalid(f"{size:,} bytes stored for a dtype and shape of {nbytes:,}", at, "H5-012")
        return self._source, address, nbytes

    def _unstored(self, messages: list[Message], nbytes: int, at: str) -> Place:
        """A dataset that nobody wrote to reads as zeros, where it declares no other fill value [H5-036]."""
        if nbytes > self._image.limits.unstored_bytes:
            self._limit("LI-010", f"{nbytes:,} bytes declared, none stored", at)
        for number, body, size in messages:
            if number == FILL and not _is_zero_fill(bytes(self._image.buffer[body : body + size])):
                self._image.outside("a fill value that is not zero", at)
            if number == FILL_OLD and any(self._image.buffer[body + 4 : body + size]):
                self._image.outside("a fill value that is not zero", at)
        return _ZEROS, 0, nbytes

    def _limit(self, code: str, message: str, at: str) -> NoReturn:
        raise LimitError(Problem(code=code, message=message, at=self._image.at(at)))


class _Zeros:
    """Elements that the file does not store, made when they are asked for."""

    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(bytes(length))


_ZEROS = _Zeros()


def _is_zero_fill(body: bytes) -> bool:
    """Fill value messages of version 2 and 3."""
    if len(body) >= 4 and body[0] == 2:
        return body[3] == 0 or not any(body[8:])
    if len(body) >= 2 and body[0] == 3:
        return not body[1] & 0x20 or not any(body[6:])
    return False
