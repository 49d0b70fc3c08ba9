"""What runs the examples of bytes in spec/hdf5-*.md, and what its runners share with those of test_spec.py."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import pytest

import refser
from refser import hdf5
from refser.hdf5 import _encode as encode
from refser.hdf5._attribute import Attributes
from refser.hdf5._datatype import read_shape, read_type
from refser.hdf5._filters import fletcher32, read_filters
from refser.hdf5._group import Groups
from refser.hdf5._header import ATTRIBUTE, lookup3, read_messages
from refser.hdf5._image import Image, OutsideProfile
from refser.hdf5._superblock import find_signature, read_superblock
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import ByteRange, MemoryBytes, Weight

Run = Callable[[dict[str, Any], Path, pytest.MonkeyPatch], None]
REFUSED = "code kind"
SPEC = Path(__file__).parent.parent / "spec"
# What a byte that is wrong in any structure can be refused by, whichever requirement describes the structure.
COMMON_CODES = {"H5-005", "H5-011", "H5-012", "H5-014", "H5-027", "H5-028"}


def outcome(example: dict[str, Any], call: Callable[[], Any]) -> Any:
    """What `call` gives; None when the example says that it is refused, and it is, by that ID and in that kind."""
    if "code" not in example:
        return call()
    with pytest.raises(refser.RefserError) as caught:
        call()
    assert caught.value.problem.code == example["code"], caught.value
    assert type(caught.value).__name__ == f"{example['kind'].capitalize()}Error", caught.value
    return None


def described(group: h5py.Group, *, chunks: bool = False) -> dict[str, Any]:
    """What h5py finds in a group, as NODE: the inverse of `build_group`.  Contiguous, or with `chunks` in any storage."""
    node = {f"@{name}": described_attribute(group, name) for name in group.attrs}
    for name, child in group.items():
        if isinstance(child, h5py.Group):
            node[name] = described(child, chunks=chunks)
            continue
        assert chunks or child.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        assert chunks or child.id.get_create_plist().get_nfilters() == 0
        kind = {"V": f"opaque {child.dtype.itemsize}", "S": f"string {child.dtype.itemsize}"}.get(
            child.dtype.kind, child.dtype.name
        )
        node[name] = {"dtype": kind + (" big-endian" if child.dtype.byteorder == ">" else ""), "shape": list(child.shape)}
        node[name] |= {"hex": child[()].tobytes().hex()}
        node[name] |= {f"@{key}": described_attribute(child, key) for key in child.attrs}
    return node


def described_attribute(owner: Any, name: str) -> Any:
    kind, value = owner.attrs.get_id(name).get_type(), owner.attrs[name]
    if not isinstance(kind, h5py.h5t.TypeStringID):
        return value.tolist()
    if not kind.is_variable_str():
        return {"fixed": [cell.decode("utf-8") for cell in value.tolist()]}
    is_ascii = kind.get_cset() == h5py.h5t.CSET_ASCII
    if isinstance(value, str):
        return {"ascii": value} if is_ascii else value
    assert is_ascii
    return value.tolist()


# ---------------------------------------------------------------------------------------------------------- single structures


def image_of(example: dict[str, Any]) -> Image:
    data = bytes.fromhex(example["hex"]).ljust(example.get("size", 0), b"\0")
    return Image(memoryview(data), "bytes", Limits())


def _superblock(image: Image) -> dict[str, Any]:
    root = read_superblock(image, find_signature(image))
    return {"root": root, "base": image.base}


def _header(image: Image) -> dict[str, Any]:
    return {"messages": [[kind, image.buffer[at : at + size].hex()] for kind, at, size in read_messages(image, 0, "")]}


def _datatype(image: Image) -> dict[str, Any]:
    found = read_type(image, 0, image.end, "")
    return {"dtype": found.kind, "size": found.size, "big_endian": found.big_endian}


def _dataspace(image: Image) -> dict[str, Any]:
    shape = read_shape(image, 0, image.end, "")
    return {"shape": None if shape is None else list(shape)}


def _attribute(image: Image) -> dict[str, Any]:
    return dict(Attributes(image).read([(ATTRIBUTE, 0, image.end)], ""))


def _links(image: Image) -> dict[str, Any]:
    return dict(Groups(image).links(read_messages(image, 0, ""), "") or ())


def _filters(image: Image) -> dict[str, Any]:
    return {"filters": [list(one) for one in read_filters(image, 0, image.end, "")]}


STRUCTURES: dict[str, Callable[[Image], dict[str, Any]]] = {
    "superblock": _superblock,
    "object header": _header,
    "datatype": _datatype,
    "dataspace": _dataspace,
    "attribute": _attribute,
    "links": _links,
    "checksum": lambda image: {"lookup3": f"{lookup3(bytes(image.buffer)):08x}"},
    "filters": _filters,
    "fletcher32": lambda image: {"fletcher32": f"{fletcher32(image.buffer):08x}"},
}


def run_structure(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    def decode() -> dict[str, Any]:
        try:
            return STRUCTURES[example["structure"]](image_of(example))
        except OutsideProfile as outside:
            raise outside.refusal() from None

    assert outcome(example, decode) == example.get("fields")


ENCODERS: dict[str, Callable[..., bytes]] = {
    "superblock": encode.superblock,
    "object header": lambda messages: encode.object_header([bytes.fromhex(message) for message in messages]),
    "symbol table node": lambda symbols: encode.leaf([encode.symbol(*symbol) for symbol in symbols]),
    "tree node": encode.tree_node,
    "local heap": lambda size, address: encode.heap(bytes(size), address),
    "datatype": encode.datatype,
    "dataset": lambda **fields: encode.object_header(encode.dataset_messages(**fields)),
    "empty list": encode.empty_list,
    "fixed strings": lambda name, length, cells: encode.fixed_strings(
        name, hdf5.FixedStrings(tuple(cell.encode() for cell in cells), length)
    ),
    "global heap": lambda strings: encode.collection([string.encode() for string in strings]),
}


def run_encode(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    want = bytes.fromhex(example["hex"]).ljust(example.get("size", 0), b"\0")
    assert ENCODERS[example["encode"]](**example["with"]).hex() == want.hex()


# ---------------------------------------------------------------------------------------------------------------- whole files


def bytes_of(example: dict[str, Any]) -> bytes:
    """`size` bytes, zero but for the runs that `bytes` has."""
    return with_patch(bytes(example["size"]), example["bytes"])


def with_patch(data: bytes, patch: list[list[Any]]) -> bytes:
    changed = bytearray(data)
    for at, text in patch:
        new = bytes.fromhex(text)
        assert at + len(new) <= len(data), "a patch changes bytes and adds none"
        changed[at : at + len(new)] = new
    return bytes(changed)


@cache
def bases() -> dict[str, bytes]:
    """The whole files of the chapters on bytes, by the names that they give them."""
    text = "".join(path.read_text("utf-8") for path in sorted(SPEC.glob("hdf5-*.md")))
    blocks = re.findall(r"^```example\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {example["as"]: bytes_of(example) for example in map(json.loads, blocks) if "as" in example}


def run_whole(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    data = bytes_of(example)
    check_holds(data, example["holds"], written=example.get("written", False))
    if example.get("written"):
        stream = io.BytesIO()
        hdf5.plan_tree(new_group(example["holds"])).write(stream)
        assert stream.getvalue().hex() == data.hex()


def run_patched(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    data = with_patch(bases()[example["base"]], example["patch"])
    if "holds" in example:
        check_holds(data, example["holds"])
    else:
        outcome(example, lambda: read_all(data))


def check_holds(data: bytes, node: dict[str, Any], *, written: bool = False) -> None:
    """refser's own reader and h5py find the same."""
    assert read_all(data) == plain(node)
    with h5py.File(io.BytesIO(data), "r") as file:
        assert described(file, chunks=not written) == node


def read_all(data: bytes, **limits: Any) -> dict[str, Any]:
    """Everything that refser finds without libhdf5, every attribute and element of it."""
    return shown(hdf5.read_tree(MemorySource(data, "bytes"), limits=Limits(**{"allow_libhdf5": False, **limits})))


def shown(group: hdf5.Group) -> dict[str, Any]:
    node: dict[str, Any] = {f"@{name}": value for name, value in group.attributes.items()}
    for name, child in group.children.items():
        if isinstance(child, hdf5.Group):
            node[name] = shown(child)
        else:
            weight = child.weight(name)
            node[name] = {"dtype": weight.dtype, "shape": list(weight.shape), "hex": weight.tobytes().hex()}
    return node


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """NODE without what only h5py tells: how text is stored."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        if name.startswith("@"):
            found[name] = next(iter(value.values())) if isinstance(value, dict) else value
        else:
            found[name] = dict(value) if "dtype" in value else plain(value)
    return found


def new_group(node: dict[str, Any], at: str = "/") -> hdf5.NewGroup:
    group = hdf5.NewGroup(at)
    for name, value in node.items():
        if name.startswith("@"):
            if isinstance(value, dict) and "ascii" in value:
                value = value["ascii"].encode()
            group.attributes[name[1:]] = [cell.encode() for cell in value] if isinstance(value, list) else value
        elif "dtype" in value:
            data = bytes.fromhex(value["hex"])
            weight = Weight(
                path=name, dtype=value["dtype"], shape=tuple(value["shape"]), source=ByteRange(MemoryBytes(data), 0, len(data))
            )
            group.put(name, hdf5.NewDataset(weight))
        else:
            group.children[name] = new_group(value, f"{at}{name}/")
    return group


# Keys an example has, keys it can have -> what runs it.
BYTE_RUNNERS: dict[tuple[str, str], Run] = {
    ("structure hex", f"size fields {REFUSED}"): run_structure,
    ("encode with hex", "size"): run_encode,
    ("size bytes holds", "as written"): run_whole,
    ("base patch", f"holds {REFUSED}"): run_patched,
}
