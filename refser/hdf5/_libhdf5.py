"""The tree of an HDF5 file through h5py's low-level calls, with every door out of the file closed.

Spec: spec/hdf5.md (H5-001 to H5-012).  h5py finds the objects; contiguous bytes are then read from the source itself.

libhdf5 caps nothing.  What has an owner is counted before it is kept (H5-028, H5-029).  Strings of variable length can all be
one string of the file: attributes with them are read here where their bytes are plain, and else, as in datasets, only so
many at once as could all be the longest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import find_superblock
from refser.hdf5._attribute import Attributes
from refser.hdf5._group import shorten
from refser.hdf5._header import read_messages
from refser.hdf5._image import Faults, Image, OutsideProfile
from refser.hdf5._libhdf5_values import attribute_value, longest_string, read_strings
from refser.hdf5._remarks import of_aliases, of_objects, whole_file
from refser.hdf5._tree import Attribute, Dataset, Group, Remark, is_link_name
from refser.limits import Limits
from refser.source import Source, SourceFile
from refser.values import DTYPES

if TYPE_CHECKING:
    from h5py import h5a, h5d, h5g, h5t

# What h5py raises when libhdf5 refuses the bytes; anything else would be a bug of ours.
_BAD_BYTES = (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError, OverflowError, MemoryError)
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32: what libhdf5 itself brings
_NUMBERS = {kind: name for name, (kind, _) in DTYPES.items() if kind[0] in "biufc"}
_CELL = 16  # bytes of a string of variable length where it is named: a length, an address, a number
_AT_ONCE = 64 << 20  # bytes of such strings in memory
_PATHS_MIN, _PATHS_PER_BYTE = 16 << 20, 16  # characters that all paths can have [H5-029]
_OPAQUE = {2: "bfloat16", 1: "float8_e4m3fn"}  # by size, where no attribute says otherwise [VA-003, VA-005]


def read_tree(source: Source, *, limits: Limits, refuse: Callable[[RefserError], None] | None = None) -> Group:
    try:
        file = h5py.File(SourceFile(source), "r")
    except _BAD_BYTES as error:
        raise _malformed(f"HDF5 that cannot be opened: {_short(error)}", source.name) from error
    faults = Faults(keep=refuse is not None)
    try:
        root = _Walk(source, file, limits, faults).run()
    finally:
        faults.hand_over(refuse)
    if faults.unsupported is not None:
        raise faults.unsupported
    return root


class _Walk:
    """One pass over all objects, without recursion."""

    def __init__(self, source: Source, file: h5py.File, limits: Limits, faults: Faults) -> None:
        self._source, self._file, self._limits, self._faults = source, file, limits, faults
        self._objects = self._taken = self._paths = 0
        buffer, need = source.image()
        self._image = Image(buffer, source.name, limits, need)
        self._image.base = find_superblock(source) or 0
        self._plain = Attributes(self._image) if file.id.get_create_plist().get_sizes() == (8, 8) else None
        self._of_datasets: dict[int, Mapping[str, Attribute]] = {}  # by address
        self._unstored: list[str] = []  # datasets with elements that the file does not store
        self._arrays: list[tuple[object, str]] = []  # address and path of each dataset
        self._held: dict[_Decoded, bytes] = {}

    def run(self) -> Group:
        root_id = self._guard("/", h5py.h5g.open, self._file.id, b"/")
        root, children = self._group(root_id, "/", self._remarks)
        seen = {self._address(root_id, "/")}
        todo = [(root_id, children, "/", 0)]  # a group, the mapping to fill, its path with a slash behind, its depth
        while todo:
            group_id, into, path, depth = todo.pop()
            for name in self._names(group_id, path):
                at = f"{path}{name}"
                if not self._is_hard(group_id, name, at):
                    continue
                child_id = self._guard(at, h5py.h5o.open, group_id, name.encode())
                if isinstance(child_id, h5py.h5d.DatasetID):
                    into[name] = self._dataset(child_id, at)
                    self._arrays.append((self._address(child_id, at), at.lstrip("/")))
                elif isinstance(child_id, h5py.h5g.GroupID):
                    address = self._address(child_id, at)
                    if address in seen:  # so no cycle, and no path count that outgrows the file
                        message = "a group that is reached by two paths; wanted a tree"
                        self._faults.add(InvalidError(Problem(code="H5-005", message=message, at=self._at(at))))
                        continue
                    seen.add(address)
                    if depth >= self._limits.hdf5_depth:
                        message = f"groups nested over {self._limits.hdf5_depth} deep"
                        raise LimitError(Problem(code="LI-006", message=message, at=self._at(at)))
                    into[name], below = self._group(child_id, at)
                    todo.append((child_id, below, f"{at}/", depth + 1))
                else:
                    message = "an object that is neither a group nor a dataset"
                    fault = UnsupportedError(Problem(code="H5-006", message=message, at=self._at(at)))
                    self._faults.add_other(fault, at.lstrip("/"))
        return root

    def _group(
        self, group_id: h5g.GroupID, path: str, remarks: Callable[[], list[Remark]] | None = None
    ) -> tuple[Group, dict[str, Group | Dataset]]:
        children: dict[str, Group | Dataset] = {}
        attributes = self._attributes(group_id, path)
        return Group(self._source.name, path.lstrip("/"), attributes, children, None, remarks), children

    def _remarks(self) -> list[Remark]:
        """Not which bytes have no owner: what owns them is libhdf5's to know."""
        found = whole_file(self._source, self._limits)
        name = self._source.name
        return [*found, *of_objects(name, self._unstored, self._faults.others), *of_aliases(name, self._arrays)]

    def _take(self, nbytes: int, what: str, path: str) -> None:
        """Bytes that only one object can have: all of them together are no more than the file [H5-028]."""
        self._taken += nbytes
        if self._taken > self._source.size:
            message = f"{what} of {nbytes:,} bytes, some of which another object has too"
            raise InvalidError(Problem(code="H5-028", message=message, at=self._at(path)))

    def _listed(self, path: str, most: int, iterate: Callable[..., Any], *arguments: Any) -> list[bytes]:
        """The names that libhdf5 iterates over; it is stopped behind `most`, and where they are more than the file."""
        names: list[bytes] = []
        left = self._source.size - self._taken

        def visit(name: bytes) -> bool | None:
            nonlocal left
            names.append(name)
            left -= len(name) + 1
            return True if left < 0 or len(names) > most else None

        self._guard(path, iterate, *arguments, visit)
        self._take(sum(map(len, names)) + len(names), "names", path)
        return names

    def _names(self, group_id: h5g.GroupID, path: str) -> list[str]:
        names = []
        listed = self._listed(path, self._limits.hdf5_objects, group_id.links.iterate)
        self._objects += len(listed)
        if self._objects > self._limits.hdf5_objects:
            message = f"over {self._limits.hdf5_objects:,} groups and datasets"
            raise LimitError(Problem(code="LI-005", message=message, at=self._at(path)))
        self._paths += len(path.strip("/")) * len(listed)
        if self._paths > _PATHS_MIN + _PATHS_PER_BYTE * self._source.size:
            message = f"paths of {self._paths:,} characters in a file of {self._source.size:,} bytes"
            raise InvalidError(Problem(code="H5-029", message=message, at=self._at(path)))
        for raw in sorted(listed):  # whatever order the file tracks [H5-018]
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                self._faults.add(_malformed(f"the name {shorten(raw)}, which is not UTF-8", self._at(path), "H5-008"))
                continue
            if is_link_name(name):
                names.append(name)
                continue
            message = f"the name {shorten(name)}, which acts as a path"
            self._faults.add(UnsafeError(Problem(code="H5-008", message=message, at=self._at(path))))
        return names

    def _is_hard(self, group_id: h5g.GroupID, name: str, path: str) -> bool:
        """Any other kind of link is refused before it is followed [H5-001]."""
        kind = self._guard(path, group_id.links.get_info, name.encode()).type
        if kind != h5py.h5l.TYPE_HARD:
            found = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
            message = f"{found.get(kind, 'a user-defined link')}; Keras writes hard links only"
            self._faults.add(UnsafeError(Problem(code="H5-001", message=message, at=self._at(path))))
        return bool(kind == h5py.h5l.TYPE_HARD)

    def _address(self, object_id: Any, path: str) -> int:
        return int(self._guard(path, h5py.h5o.get_info, object_id).addr)

    def _dataset(self, dataset_id: h5d.DatasetID, path: str) -> Dataset:
        try:
            self._check_storage(dataset_id, path)
            kind = self._kind(dataset_id, path)
            shape = self._shape(dataset_id, path)
            return self._place(dataset_id, kind, shape, path)
        except RefserError as fault:
            if isinstance(fault, UnsafeError):
                self._faults.add(fault)
            return Dataset(self._source.name, path.lstrip("/"), fault=fault)

    def _check_storage(self, dataset_id: h5d.DatasetID, path: str) -> None:
        """Bytes in other files are refused, used or not [H5-002, H5-003]."""
        plist = self._guard(path, dataset_id.get_create_plist)
        if self._guard(path, plist.get_layout) == h5py.h5d.VIRTUAL:
            message = "a virtual dataset, which takes its values from other files"
            raise UnsafeError(Problem(code="H5-003", message=message, at=self._at(path)))
        if self._guard(path, plist.get_external_count):
            message = "a dataset that keeps its values in another file"
            raise UnsafeError(Problem(code="H5-002", message=message, at=self._at(path)))

    def _shape(self, dataset_id: h5d.DatasetID, path: str) -> tuple[int, ...]:
        space = self._guard(path, dataset_id.get_space)
        if self._guard(path, space.get_simple_extent_type) == h5py.h5s.NULL:
            message = "a dataset without a dataspace; wanted an array or a scalar"
            raise InvalidError(Problem(code="H5-012", message=message, at=self._at(path)))
        return tuple(int(n) for n in self._guard(path, space.get_simple_extent_dims))

    def _kind(self, dataset_id: h5d.DatasetID, path: str) -> _Kind:
        """The Keras dtype, and whether the stored bytes are NumPy's of that dtype as they are [VA-006, VA-012]."""
        type_id = self._guard(path, dataset_id.get_type)
        if isinstance(type_id, h5py.h5t.TypeOpaqueID):
            address = self._address(dataset_id, path)
            if address not in self._of_datasets:  # two paths can lead to one dataset
                self._of_datasets[address] = self._attributes(dataset_id, path, only=b"dtype")
            declared = self._of_datasets[address].get("dtype")
            size = type_id.get_size()
            name = declared if isinstance(declared, str) else _OPAQUE.get(size, "")
            if DTYPES.get(name, ("",))[0] == f"V{size}":
                return _Kind(name, size, False, type_id, True)
            message = f"opaque elements of {size} bytes with dtype {declared!r}; wanted bfloat16 (2 bytes) or float8 (1)"
            raise InvalidError(Problem(code="VA-002", message=message, at=self._at(path)))
        if isinstance(type_id, h5py.h5t.TypeStringID):
            size = 0 if type_id.is_variable_str() else type_id.get_size()
            return _Kind("string", size, False, type_id, size > 0 and type_id.get_strpad() != h5py.h5t.STR_SPACEPAD)
        dtype = self._guard(path, lambda: type_id.dtype, code="VA-008")
        name = _NUMBERS.get(dtype.str.lstrip("<>|="), "")
        if not name or dtype.metadata:  # metadata: references, enums other than bool
            message = f"elements of HDF5 type {_type_name(type_id)}, {type_id.get_size()} bytes; no Keras dtype is stored so"
            raise InvalidError(Problem(code="VA-008", message=message, at=self._at(path)))
        exact = self._guard(path, lambda: bool(h5py.h5t.py_create(dtype, logical=True).equal(type_id)))
        return _Kind(name, dtype.itemsize, dtype.str.startswith(">"), type_id, exact)

    def _place(self, dataset_id: h5d.DatasetID, kind: _Kind, shape: tuple[int, ...], path: str) -> Dataset:
        """Where the bytes are: a run of the source, or behind libhdf5 for every other storage [H5-007]."""
        at, nbytes = self._at(path), math.prod(shape) * kind.size
        name, inner = self._source.name, path.lstrip("/")
        offset = self._guard(path, dataset_id.get_offset)
        plist = self._guard(path, dataset_id.get_create_plist)
        contiguous = self._guard(path, plist.get_layout) == h5py.h5d.CONTIGUOUS
        stored = self._guard(path, dataset_id.get_storage_size)
        # h5py moves "no address" by the user block and takes it for an offset: nothing is stored there all the same.
        if contiguous and offset is not None and kind.exact and (stored or not nbytes):
            if offset + nbytes > self._source.size:
                message = f"bytes {offset:,} to {offset + nbytes:,} of a file of {self._source.size:,}"
                raise MalformedError(Problem(code="H5-011", message=message, at=at, hint="the file is cut short"))
            return Dataset(name, inner, kind.name, shape, kind.big_endian, self._source, offset, nbytes)
        for index in range(self._guard(path, plist.get_nfilters)):
            number = self._guard(path, plist.get_filter, index)[0]
            if number not in _FILTERS:
                message = f"compressed with HDF5 filter {number}; Keras uses none"
                raise UnsupportedError(Problem(code="H5-004", message=message, at=at, hint="rewrite it with h5repack"))
        if nbytes and not stored:
            self._unstored.append(inner)
        cap, code = (self._limits.inflated_bytes, "LI-004") if stored else (self._limits.unstored_bytes, "LI-010")
        if (
            self._guard(path, plist.get_layout) == h5py.h5d.CHUNKED
        ):  # at least one chunk is decoded, however few are its elements
            nbytes = max(nbytes, math.prod(self._guard(path, plist.get_chunk)) * (kind.size or _CELL) if stored else 0)
        if not kind.size:
            return self._strings(dataset_id, shape, path, cap, code)
        if nbytes > cap:
            message = f"{nbytes:,} bytes declared, {stored:,} stored; the limit is {cap:,}"
            raise LimitError(Problem(code=code, message=message, at=at))
        nbytes = math.prod(shape) * kind.size
        decoded = _Decoded(lambda: self._decode(dataset_id, kind, shape, path), nbytes, self._held)
        return Dataset(name, inner, kind.name, shape, False, decoded, 0, nbytes)

    def _decode(self, dataset_id: h5d.DatasetID, kind: _Kind, shape: tuple[int, ...], path: str) -> bytes:
        """The elements through libhdf5, little-endian."""
        text = kind.name == "string"
        array = np.empty(shape, dtype=f"S{kind.size}" if text else "<" + DTYPES[kind.name][0])
        if array.size:
            target = h5py.h5t.py_create(array.dtype, logical=True) if array.dtype.kind != "V" else kind.type_id
            self._guard(path, dataset_id.read, h5py.h5s.ALL, h5py.h5s.ALL, array, target)
        return array.tobytes()

    def _strings(self, dataset_id: h5d.DatasetID, shape: tuple[int, ...], path: str, cap: int, code: str) -> Dataset:
        """Strings of variable length as cells of one; how long that has to be is known only after reading."""
        count, longest = math.prod(shape), 1
        if count * _CELL > cap:
            message = f"{count:,} strings; the limit is {cap:,} bytes"
            raise LimitError(Problem(code=code, message=message, at=self._at(path)))
        at_once = min(cap, _AT_ONCE) // (self._longest + 64)
        read = partial(read_strings, dataset_id, shape, at_once, partial(self._guard, path))
        for cells in read():
            longest = max(longest, max(map(len, cells)))
            if count * longest > cap:
                message = f"{count:,} strings of up to {longest:,} bytes; the limit is {cap:,} bytes"
                raise LimitError(Problem(code="LI-004", message=message, at=self._at(path)))
        decoded = _Decoded(
            lambda: b"".join(cell[:longest].ljust(longest, b"\0") for cells in read() for cell in cells),
            count * longest,
            self._held,
        )
        return Dataset(self._source.name, path.lstrip("/"), "string", shape, False, decoded, 0, count * longest)

    @cached_property
    def _longest(self) -> int:
        return longest_string(self._source)

    def _attributes(self, object_id: Any, path: str, only: bytes | None = None) -> Mapping[str, Attribute]:
        """All of them, or at least the one named `only`."""
        if self._plain is not None:
            with suppress(OutsideProfile):
                inner = path.strip("/")
                messages = read_messages(self._image, self._address(object_id, path), inner)
                self._plain.check(messages, inner)
                return self._plain.read(messages, inner)
        names = self._listed(path, self._source.size, h5py.h5a.iterate, object_id)
        found: dict[str, Attribute] = {}
        for raw in names if only is None else [name for name in names if name == only]:
            name = self._guard(path, raw.decode, code="H5-009")
            attribute = self._guard(path, h5py.h5a.open, object_id, raw)
            at = f"{path} attribute {name!r}"
            variable = self._check_size(attribute, at)
            value = found[name] = self._guard(at, attribute_value, attribute, code="H5-009")
            if variable and value is not None:
                self._take(len("".join([value] if isinstance(value, str) else value)), "strings", at)
        return found

    def _check_size(self, attribute: h5a.AttrID, path: str) -> bool:
        """Hold all bytes that it can have against the limit [LI-007].  Whether it has strings of variable length."""
        type_id = self._guard(path, attribute.get_type)
        count = math.prod(self._guard(path, lambda: attribute.shape) or ())
        size = stored = self._guard(path, type_id.get_size)
        if variable := isinstance(type_id, h5py.h5t.TypeStringID) and type_id.is_variable_str():
            size, stored = max(_CELL, self._longest), _CELL
        if count * size > self._limits.attribute_bytes:
            message = f"an attribute of up to {count * size:,} bytes; the limit is {self._limits.attribute_bytes:,}"
            raise LimitError(Problem(code="LI-007", message=message, at=self._at(path)))
        self._take(count * stored, "an attribute", path)
        return bool(variable)

    def _guard(self, path: str, call: Callable[..., Any], *args: object, code: str = "H5-011") -> Any:
        """`call(*args)`, with whatever libhdf5 has to say about the bytes as ours."""
        try:
            return call(*args)
        except RefserError:
            raise
        except _BAD_BYTES as error:
            raise _malformed(f"HDF5 that cannot be read here: {_short(error)}", self._at(path), code) from error

    def _at(self, path: str) -> str:
        return f"{self._source.name}:{path}"


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str  # Keras dtype
    size: int  # bytes of one element, 0 for variable-length strings
    big_endian: bool
    type_id: h5t.TypeID
    exact: bool  # the stored bytes are the elements, nothing to convert


class _Decoded:
    """Bytes that libhdf5 has to produce, each time they are asked for; those that are read block by block are held so long."""

    def __init__(self, decode: Callable[[], bytes], nbytes: int, held: dict[_Decoded, bytes]) -> None:
        self._decode, self._nbytes, self._held = decode, nbytes, held

    def view(self, offset: int, length: int) -> memoryview:
        data = self._held.get(self)
        if data is None:
            data = self._decode()
        self._held.clear()  # of one dataset of the file at a time
        if offset + length < self._nbytes:
            self._held[self] = data
        return memoryview(data)[offset : offset + length]


def _type_name(type_id: h5t.TypeID) -> str:
    return type(type_id).__name__.removeprefix("Type").removesuffix("ID").lower()


def _malformed(message: str, at: str, code: str = "H5-011") -> MalformedError:
    return MalformedError(Problem(code=code, message=message, at=at))


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
