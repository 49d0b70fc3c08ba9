"""The tree of an HDF5 file through h5py's low-level calls, with every door out of the file closed.

Spec: spec/hdf5.md (H5-001 to H5-012).  h5py finds the objects; contiguous bytes are then read from the source itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from refser.errors import InvalidError, LimitError, MalformedError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5._tree import Attribute, Dataset, Group, is_link_name
from refser.limits import Limits
from refser.source import Source, SourceFile
from refser.values import DTYPES

if TYPE_CHECKING:
    from h5py import h5a, h5d, h5g, h5t

# What h5py raises when libhdf5 refuses the bytes; anything else would be a bug of ours.
_BAD_BYTES = (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError, OverflowError, MemoryError)
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32: what libhdf5 itself brings
_NUMBERS = {kind: name for name, (kind, _) in DTYPES.items() if kind[0] in "biufc"}
_OPAQUE = {2: "bfloat16", 1: "float8_e4m3fn"}  # by size, where no attribute says otherwise [VA-003, VA-005]


def read_tree(source: Source, *, limits: Limits) -> Group:
    try:
        file = h5py.File(SourceFile(source), "r")
    except _BAD_BYTES as error:
        raise _malformed(f"HDF5 that cannot be opened: {_short(error)}", source.name) from error
    return _Walk(source, file, limits).run()


class _Walk:
    """One pass over all objects, without recursion."""

    def __init__(self, source: Source, file: h5py.File, limits: Limits) -> None:
        self._source, self._file, self._limits = source, file, limits
        self._objects = 0

    def run(self) -> Group:
        root_id = self._guard("/", h5py.h5g.open, self._file.id, b"/")
        root, children = self._group(root_id, "/")
        seen = {self._address(root_id, "/")}
        todo = [(root_id, children, "/", 0)]  # a group, the mapping to fill, its path with a slash behind, its depth
        while todo:
            group_id, into, path, depth = todo.pop()
            for name in self._names(group_id, path):
                at = f"{path}{name}"
                self._check_link(group_id, name, at)
                self._count(at)
                child_id = self._guard(at, h5py.h5o.open, group_id, name.encode())
                if isinstance(child_id, h5py.h5d.DatasetID):
                    into[name] = self._dataset(child_id, at)
                elif isinstance(child_id, h5py.h5g.GroupID):
                    address = self._address(child_id, at)
                    if address in seen:  # so no cycle, and no path count that outgrows the file
                        message = "a group that is reached by two paths; wanted a tree"
                        raise InvalidError(Problem(code="H5-005", message=message, at=self._at(at)))
                    seen.add(address)
                    if depth >= self._limits.hdf5_depth:
                        message = f"groups nested over {self._limits.hdf5_depth} deep"
                        raise LimitError(Problem(code="LI-006", message=message, at=self._at(at)))
                    into[name], below = self._group(child_id, at)
                    todo.append((child_id, below, f"{at}/", depth + 1))
                else:
                    message = "an object that is neither a group nor a dataset"
                    raise UnsupportedError(Problem(code="H5-006", message=message, at=self._at(at)))
        return root

    def _group(self, group_id: h5g.GroupID, path: str) -> tuple[Group, dict[str, Group | Dataset]]:
        children: dict[str, Group | Dataset] = {}
        return Group(self._source.name, path.lstrip("/"), self._attributes(group_id, path), children), children

    def _count(self, path: str) -> None:
        self._objects += 1
        if self._objects > self._limits.hdf5_objects:
            message = f"over {self._limits.hdf5_objects:,} groups and datasets"
            raise LimitError(Problem(code="LI-005", message=message, at=self._at(path)))

    def _names(self, group_id: h5g.GroupID, path: str) -> list[str]:
        names = []
        for raw in sorted(self._guard(path, list, group_id)):  # whatever order the file tracks [H5-018]
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _malformed(f"the name {raw!r}, which is not UTF-8", self._at(path), "H5-008") from error
            if not is_link_name(name):
                message = f"the name {name!r}, which acts as a path"
                raise UnsafeError(Problem(code="H5-008", message=message, at=self._at(path)))
            names.append(name)
        return names

    def _check_link(self, group_id: h5g.GroupID, name: str, path: str) -> None:
        """Only hard links: any other kind is refused before it is followed [H5-001]."""
        kind = self._guard(path, group_id.links.get_info, name.encode()).type
        if kind != h5py.h5l.TYPE_HARD:
            found = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
            message = f"{found.get(kind, 'a user-defined link')}; Keras writes hard links only"
            raise UnsafeError(Problem(code="H5-001", message=message, at=self._at(path)))

    def _address(self, object_id: Any, path: str) -> int:
        return int(self._guard(path, h5py.h5o.get_info, object_id).addr)

    def _dataset(self, dataset_id: h5d.DatasetID, path: str) -> Dataset:
        self._check_storage(dataset_id, path)
        try:
            kind = self._kind(dataset_id, path)
            shape = self._shape(dataset_id, path)
            return self._place(dataset_id, kind, shape, path)
        except UnsafeError:
            raise
        except RefserError as fault:
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
            declared = self._attributes(dataset_id, path).get("dtype")
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
        cap, code = (self._limits.inflated_bytes, "LI-004") if stored else (self._limits.unstored_bytes, "LI-010")
        if kind.name == "string":
            return self._strings(dataset_id, kind, shape, path, cap, code)
        if nbytes > cap:
            message = f"{nbytes:,} bytes declared, {stored:,} stored; the limit is {cap:,}"
            raise LimitError(Problem(code=code, message=message, at=at))
        decoded = _Decoded(lambda: self._decode(dataset_id, kind, shape, path))
        return Dataset(name, inner, kind.name, shape, False, decoded, 0, nbytes)

    def _decode(self, dataset_id: h5d.DatasetID, kind: _Kind, shape: tuple[int, ...], path: str) -> bytes:
        """The elements through libhdf5, little-endian."""
        array = np.empty(shape, dtype="<" + DTYPES[kind.name][0])
        if array.size:
            target = h5py.h5t.py_create(array.dtype, logical=True) if array.dtype.kind != "V" else kind.type_id
            self._guard(path, dataset_id.read, h5py.h5s.ALL, h5py.h5s.ALL, array, target)
        return array.tobytes()

    def _strings(
        self, dataset_id: h5d.DatasetID, kind: _Kind, shape: tuple[int, ...], path: str, cap: int, code: str
    ) -> Dataset:
        """Strings of any storage as cells of one length; the length of variable ones is known only after reading."""
        count = math.prod(shape)
        if count * max(16, kind.size) > cap:
            message = f"{count:,} strings; the limit is {cap:,} bytes"
            raise LimitError(Problem(code=code, message=message, at=self._at(path)))
        cells = self._guard(path, lambda: np.asarray(h5py.Dataset(dataset_id)[()], dtype=object).reshape(-1).tolist())
        longest = max((len(cell) for cell in cells), default=0) or 1
        if count * longest > cap:
            message = f"{count:,} strings of up to {longest:,} bytes; the limit is {cap:,} bytes"
            raise LimitError(Problem(code="LI-004", message=message, at=self._at(path)))
        data = b"".join(bytes(cell).ljust(longest, b"\0") for cell in cells)
        decoded = _Decoded(lambda: data)
        return Dataset(self._source.name, path.lstrip("/"), "string", shape, False, decoded, 0, len(data))

    def _attributes(self, object_id: Any, path: str) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        for index in range(self._guard(path, h5py.h5a.get_num_attrs, object_id)):
            attribute = self._guard(path, partial(h5py.h5a.open, object_id, index=index))
            name = self._guard(path, attribute.get_name).decode("utf-8", "replace")
            size = self._guard(path, _attribute_size, attribute)
            if size > self._limits.attribute_bytes:
                message = f"attribute {name!r} of {size:,} bytes; the limit is {self._limits.attribute_bytes:,}"
                raise LimitError(Problem(code="LI-007", message=message, at=self._at(path)))
            found[name] = self._guard(f"{path} attribute {name!r}", _attribute_value, attribute, code="H5-009")
        return found

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
    """Bytes that libhdf5 has to produce, each time they are asked for."""

    def __init__(self, decode: Callable[[], bytes]) -> None:
        self._decode = decode

    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(self._decode())[offset : offset + length]


def _attribute_size(attribute: h5a.AttrID) -> int:
    return math.prod(attribute.shape or ()) * int(attribute.get_type().get_size())


def _attribute_value(attribute: h5a.AttrID) -> Attribute:
    """Strings and numbers, scalar or in one dimension; None for the rest [H5-017]."""
    space, type_id = attribute.get_space(), attribute.get_type()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        return None
    shape = space.get_simple_extent_dims()
    is_text = isinstance(type_id, h5py.h5t.TypeStringID)
    if len(shape) > 1 or not (is_text or isinstance(type_id, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID))):
        return None
    array = np.empty(shape, dtype=type_id.dtype)
    attribute.read(array, mtype=h5py.h5t.py_create(array.dtype))
    if not is_text:
        return array.tolist()  # type: ignore[no-any-return]  # int, float or a list of them
    cells = [cell.decode("utf-8") if isinstance(cell, bytes) else str(cell) for cell in array.reshape(-1).tolist()]
    return cells if shape else cells[0]


def _type_name(type_id: h5t.TypeID) -> str:
    return type(type_id).__name__.removeprefix("Type").removesuffix("ID").lower()


def _malformed(message: str, at: str, code: str = "H5-011") -> MalformedError:
    return MalformedError(Problem(code=code, message=message, at=at))


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
