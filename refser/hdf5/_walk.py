"""One pass over all objects of an HDF5 file in the profile that Keras writes, straight from the bytes: no libhdf5, no NumPy.

Spec: spec/hdf5.md (H5), spec/hdf5-bytes.md (H5-027 to H5-029).  Files outside the profile leave through `OutsideProfile`.

Files have thousands of groups with one leaf and thousands of datasets alike.  Those are looked at here, in one loop and with
few steps each; whatever is not exactly so goes to the modules that know one structure each, and say what is wrong with it.
"""

from __future__ import annotations

import struct
from _thread import allocate_lock  # what threading.Lock is, without the module
from collections.abc import Callable, Mapping
from functools import partial
from math import prod

from refser.errors import InvalidError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5._alike import Pattern, Patterns, learn
from refser.hdf5._attribute import Attributes
from refser.hdf5._dataset import Datasets, is_unstored
from refser.hdf5._group import SYMBOL, Groups
from refser.hdf5._header import ATTRIBUTE, METADATA_MARK, Message, read_messages
from refser.hdf5._image import Faults, Image, OutsideProfile, SharedBytes
from refser.hdf5._superblock import find_signature, read_superblock
from refser.hdf5._tree import Attribute, Dataset, Flat, Group, Remark
from refser.source import Source

_METADATA_MAX = 64 << 20  # bytes that a hint can make us fetch
_PATHS_MIN, _PATHS_PER_BYTE = 16 << 20, 16  # what the paths of all objects can take together [H5-029]
_NAMES_MAX = 4096  # short names that are remembered
_CELL = 8  # bytes of a short name with its NUL
_SOFT = 2  # cache type of a symbol that is a soft link

# Groups: the prefix and first message of a header; a message behind it; a block of messages elsewhere.
_GROUP = struct.Struct("<HHIQQQQ").unpack_from
_NEXT = struct.Struct("<HHB3xB").unpack_from
_BLOCK = struct.Struct("<QQQHHB3xB").unpack_from
_TABLE_MESSAGE, _BLOCK_MESSAGE, _ATTRIBUTE = 0x100011, 0x100010, 0x0C  # type, size 16, no flags
# Their symbol tables: a node of the B-tree with one leaf, or none; the leaf; the heap of names.
_TREE = struct.Struct("<8s24xQ").unpack_from
_LEAF = struct.Struct("<6sH").unpack_from
_HEAP = struct.Struct("<8sQ8xQ").unpack_from
_ONE_LEAF, _NO_LEAF, _LEAF_HEAD, _HEAP_HEAD = b"TREE\0\0\1\0", b"TREE\0\0\0\0", b"SNOD\1\0", b"HEAP\0\0\0\0"

Links = dict[str, int]  # name, where the object's header starts


def read_profile(source: Source, image: Image, faults: Faults) -> Group:
    """Raises the first broken H5 requirement, or `OutsideProfile` for a file of which nothing can be read.

    What is outside the profile in one object is in `faults`, and everything else looked at all the same [H5-085].
    """
    signature = find_signature(image)
    try:
        return _Walk(source, image, signature, faults, hurry=image.need is None).run()
    except SharedBytes:  # which bytes, and of whom, is for a slower look
        faults.clear()
        again = Image(image.buffer, image.name, image.limits)
        return _Walk(source, again, signature, faults, hurry=False).run()


class _Walk:
    def __init__(self, source: Source, image: Image, signature: int, faults: Faults, *, hurry: bool) -> None:
        self._source, self._image, self._hurry, self._kept = source, image, hurry, faults
        image.hurried = hurry
        self._root = read_superblock(image, signature) + image.base
        self._groups, self._attributes = Groups(image, faults), Attributes(image)
        self._datasets = Datasets(image, source, self._attributes)
        self._patterns: Patterns = {}
        self._names: dict[bytes, str] = {}  # the 8 bytes of a short name
        self._seen = {self._root: True}  # headers met so far, whether a group's; only kept without hurry
        self._known: dict[int, list[tuple[str, int]]] = {}  # links of headers that were read before their turn
        self._found: dict[str, Links] = {}
        self._places: dict[str, int] = {}  # of the groups
        self._faults: dict[str, RefserError] = {}  # of datasets
        self._unread: dict[str, RefserError] = {}  # why the attributes of a group cannot be read
        self._described: list[int] = []  # datasets with attributes
        self._unstored: list[str] = []  # datasets with elements that the file does not store
        self._aliased = False  # some dataset has two paths
        self._lock = allocate_lock()

    def run(self) -> Group:
        image, limits, found, places = self._image, self._image.limits, self._found, self._places
        if image.need is not None:
            self._fetch_metadata()
        objects = prefixes = 0
        mixed = False
        todo = [("", self._root, 0)]
        while todo:
            path, start, depth = todo.pop()
            if depth > limits.hdf5_depth:
                image.limit("LI-006", f"groups nested over {limits.hdf5_depth} deep", path)
            links = self._plain_links(start, path) if self._hurry else None
            count = 0
            if links is None:
                before = self._groups.refused
                links = self._links(start, path)
                count = self._groups.refused - before
            found[path], places[path] = links, start
            count += len(links)
            if not count:
                continue
            objects += count
            if objects > limits.hdf5_objects:
                image.limit("LI-005", f"over {limits.hdf5_objects:,} groups and datasets", path)
            prefixes += len(path) * count
            if prefixes > _PATHS_MIN + _PATHS_PER_BYTE * image.end:
                image.invalid(f"paths of {prefixes:,} characters in a file of {image.end:,} bytes", "", "H5-029")
            below = self._objects(links, f"{path}/" if path else "", depth + 1)
            if below:
                mixed |= len(below) < len(links)
                below.reverse()
                todo += below
        image.settle()
        self._known.clear()
        self._again = image.again()
        self._datasets_again = Datasets(self._again, self._source, Attributes(self._again))
        return self._group("", Flat(found, mixed, self._faults, self._dataset_at, self._group), self._remarks)

    def _plain_links(self, start: int, at: str) -> Links | None:
        """The links of a group as Keras's files have them [H5-040 to H5-047]; None for any other, or when it has none."""
        image = self._image
        buffer, base, end, names_of = image.buffer, image.base, image.end, self._names
        block, extent = start, 0
        try:
            version, count, _, size, kind, tree, heap = _GROUP(buffer, start)
            if version != 1 or size < 24:
                return None
            if kind == _BLOCK_MESSAGE:
                block, extent = tree + base, heap
                kind, tree, heap, following, length, flags, form = _BLOCK(buffer, block)
                if count != 3 or size >= 32 or 32 + length > extent or block + extent > end:
                    return None
                count = 2
            elif count == 2:
                following, length, flags, form = _NEXT(buffer, start + 40)
                if 32 + length > size:
                    return None
            if count == 2:
                if following != _ATTRIBUTE or flags & 2 or form != 1:
                    return None
            elif count != 1:
                return None
            tree, heap = tree + base, heap + base
            head, leaf = _TREE(buffer, tree)
            heap_head, names_size, names_at = _HEAP(buffer, heap)
            if kind != _TABLE_MESSAGE or heap_head != _HEAP_HEAD or start + 16 + size > end:
                return None
            names_at += base
            names_end = names_at + names_size
            if head == _NO_LEAF and names_end <= end:
                image.claim(88 + size + extent + names_size, "a group", at)
                image.spans += (start, start + 16 + size, tree, tree + 32, heap, heap + 32, names_at, names_end)
                image.spans += (block, block + extent)
                return {}
            leaf += base
            leaf_head, number = _LEAF(buffer, leaf)
        except (struct.error, OverflowError):
            return None
        leaf_end = leaf + 8 + 40 * number
        if head != _ONE_LEAF or leaf_head != _LEAF_HEAD or leaf_end > end or names_end > end:
            return None
        names = buffer[names_at:names_end].tobytes()
        entries = SYMBOL.iter_unpack(buffer[leaf + 8 : leaf_end].tobytes())
        try:
            links = {
                names_of[names[at : at + _CELL]]: header + base
                for at, header, cache in entries
                if cache != _SOFT and not at % _CELL
            }
        except KeyError:
            return None
        if len(links) != number or (number > 1 and list(links) != sorted(links)):
            return None
        image.claim(104 + size + extent + names_size + 40 * number, "a group", at)
        spans = image.spans
        spans += (start, start + 16 + size, tree, tree + 48, heap, heap + 32, leaf, leaf_end, names_at, names_end)
        if extent:
            spans += (block, block + extent)
        return links

    def _links(self, start: int, at: str) -> Links:
        """The same, each structure looked at by its own module; short names are remembered."""
        image = self._image
        entries = self._known.pop(start, None)
        if entries is None:
            _, entries, outside = self._entries(start, at)
            if entries is None:
                if outside is not None:
                    raise outside
                image.malformed("a root object that is no group", at)
        links = {name: address + image.base for name, address in entries}
        if len(links) < len(entries):
            image.invalid("two links of one name", at, "H5-047")
        for name in links:
            if len(name) < _CELL and len(self._names) < _NAMES_MAX and name.isascii():
                self._names[name.encode("ascii").ljust(_CELL, b"\0")] = name
        return links

    def _objects(self, links: Links, prefix: str, depth: int) -> list[tuple[str, int, int]]:
        """Look at what a group holds; the groups in it, with path and depth.  Their places in `links` become negative."""
        image, patterns = self._image, self._patterns
        buffer, base, end, spans, data = image.buffer, image.base, image.end, image.spans, image.data
        below: list[tuple[str, int, int]] = []
        left_out: list[str] = []
        hurry, claimed = self._hurry, image.claimed
        for name, start in links.items():
            if hurry:
                try:
                    first = buffer[start + 16]  # type of the first message
                    if first == 1:
                        for unpack, head, at, middle, tail, rank, itemsize, size, _, _ in patterns.get(buffer[start + 25], ()):
                            values = unpack(buffer, start)
                            if values[0] != head or values[at] != middle or values[-1] != tail:
                                continue
                            offset, nbytes = values[at + 1] + base, values[at + 2]
                            if prod(values[1 : 1 + rank], start=itemsize) != nbytes or not nbytes or offset + nbytes > end:
                                continue
                            spans += (start, start + size)
                            data += (offset, offset + nbytes)
                            claimed += size + nbytes
                            break
                        else:
                            first = 0
                        if first:
                            continue
                    elif first == 0x11 or (first == 0x10 and buffer[_GROUP(buffer, start)[5] + base] == 0x11):
                        links[name] = ~start
                        below.append((prefix + name, start, depth))
                        continue
                except (struct.error, IndexError, OverflowError):
                    pass
            image.claimed = claimed
            is_group = self._is_group(start, prefix + name)
            if is_group:
                links[name] = ~start
                below.append((prefix + name, start, depth))
            elif is_group is None:
                left_out.append(name)
            claimed = image.claimed
        image.claimed = claimed
        for name in left_out:
            del links[name]
        image.claim(0, "an object", prefix[:-1])
        return below

    def _is_group(self, start: int, at: str) -> bool | None:
        """Look at an object thoroughly; None leaves it out.  One array may have several paths, a group has one [H5-005]."""
        if not self._hurry and start in self._seen:
            if self._seen[start]:
                message = "a group that is reached by two paths; wanted a tree"
                self._kept.add(InvalidError(Problem(code="H5-005", message=message, at=self._image.at(at))))
                return None
            self._aliased = True
            return False
        messages, entries, outside = self._entries(start, at)
        self._seen[start] = entries is not None
        if entries is not None:
            self._known[start] = entries
            return True
        try:
            if outside is not None:
                self._datasets.check_place(messages, at)
                raise outside
            dataset = self._datasets.read(messages, at)
        except OutsideProfile as found:
            self._kept.add_outside(found)
            dataset = Dataset(self._image.name, at, fault=found.refusal())
        except UnsafeError as fault:
            self._kept.add(fault)
            dataset = Dataset(self._image.name, at, fault=fault)
        except UnsupportedError as fault:
            self._kept.add_other(fault, at)
            return None
        if dataset.fault is not None:
            self._faults[at] = dataset.fault
            return False
        if dataset.source is self._source:
            learn(self._patterns, self._image, start, messages, dataset)
        elif is_unstored(dataset):
            self._unstored.append(at)
        if ATTRIBUTE in [message[0] for message in messages]:
            self._described.append(start)
        return False

    def _entries(self, start: int, at: str) -> tuple[list[Message], list[tuple[str, int]] | None, OutsideProfile | None]:
        """The messages of an object, its links when it is a group, and what of a header is outside the profile."""
        outside = None
        try:
            messages = read_messages(self._image, start - self._image.base, at)
        except OutsideProfile as found:
            messages, outside = found.messages, found
        try:
            entries = self._groups.links(messages, at)
            if entries is None:
                return messages, None, outside
        except OutsideProfile as found:  # links that nobody has seen
            self._kept.add_outside(found)
            self._kept.lost = True
            entries = []
        try:
            if outside is not None:
                raise outside
            self._attributes.check(messages, at)
        except OutsideProfile as found:
            self._kept.add_outside(found)
            self._unread[at] = found.refusal()
        return messages, entries, outside

    def _fetch_metadata(self) -> None:
        """All metadata at once, where the root group's header says how much there is [H5-070]; a hint, never refused."""
        image = self._image
        start = image.check(self._root - image.base, 16, "an object header", "")
        header = bytes(image.buffer[start : start + 256])
        at = header.find(METADATA_MARK)
        size = int.from_bytes(header[at + 8 : at + 16], "little") if at >= 0 else 0
        if image.need is not None and 0 < size <= min(image.end, _METADATA_MAX):
            image.need(image.base, size)

    def _remarks(self) -> list[Remark]:
        from refser.hdf5 import _remarks as remarks

        image, name, signature = self._image, self._image.name, self._image.base
        found = [*remarks.of_file(image, signature), *remarks.of_objects(name, self._unstored, self._kept.others)]
        if self._aliased:
            places = ((f"{path}/" if path else "", links) for path, links in self._found.items())
            arrays = ((place, before + link) for before, links in places for link, place in links.items() if place >= 0)
            found += remarks.of_aliases(name, arrays)
        if not self._kept.outside:  # else some owners are not known
            found += remarks.of_holes(image, signature, (*self._places.values(), *self._described))
        return found

    # What follows is asked for later, one object at a time; its bytes have an owner already.

    def _group(self, path: str, flat: Flat | None = None, remarks: Callable[[], list[Remark]] | None = None) -> Group:
        return Group(self._image.name, path, partial(self._attributes_of, path), partial(self._children, path), flat, remarks)

    def _children(self, path: str) -> dict[str, Group | Dataset]:
        prefix = f"{path}/" if path else ""
        return {
            name: self._group(prefix + name) if place < 0 else self._dataset_at(place, prefix + name)
            for name, place in self._found[path].items()
        }

    def _attributes_of(self, path: str) -> Mapping[str, Attribute]:
        if path in self._unread:
            raise self._unread[path]
        try:
            messages = self._messages(self._places[path], path)
            with self._lock:  # heaps of strings are looked at, and owned, for the first time
                return self._attributes.read(messages, path)
        except OutsideProfile as outside:  # too late for libhdf5
            raise outside.refusal() from None

    def _dataset_at(self, start: int, path: str) -> Dataset:
        image = self._image
        for pattern in self._patterns.get(image.buffer[start + 25], ()):
            if (dataset := self._by_pattern(pattern, start, path)) is not None:
                return dataset
        try:
            return self._datasets_again.read(self._messages(start, path), path)
        except OutsideProfile as outside:
            return Dataset(image.name, path, fault=outside.refusal())
        except UnsafeError as fault:
            return Dataset(image.name, path, fault=fault)

    def _by_pattern(self, pattern: Pattern, start: int, path: str) -> Dataset | None:
        image = self._image
        if start + pattern.size > image.end:
            return None
        values = pattern.unpack(image.buffer, start)
        at = pattern.middle_at
        if (values[0], values[at], values[-1]) != (pattern.head, pattern.middle, pattern.tail):
            return None
        shape, offset, nbytes = values[1 : 1 + pattern.rank], values[at + 1] + image.base, values[at + 2]
        if prod(shape, start=pattern.itemsize) != nbytes or offset + nbytes > image.end:
            return None
        return Dataset(image.name, path, pattern.dtype, shape, pattern.big_endian, self._source, offset, nbytes)

    def _messages(self, start: int, at: str) -> list[Message]:
        return read_messages(self._again, start - self._again.base, at)
