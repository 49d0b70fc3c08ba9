"""The content of the files that examples of the specification need, from what spec/introduction.md calls content and NODE."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

STORE: dict[str, Any] = {"tree": {"vars": {}}}
MINIMAL: list[dict[str, Any]] = [
    {"name": "metadata.json", "content": "{}"},
    {"name": "config.json", "content": "{}"},
    {"name": "model.weights.h5", "content": STORE},
]


def put(path: Path, content: Any) -> None:
    """CONTENT at a path."""
    if isinstance(content, dict) and "folder" in content:
        path.mkdir(exist_ok=True)
        for name, inner in content["folder"].items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            put(path / name, inner)
    elif isinstance(content, dict) and "link" in content:
        path.symlink_to(content["link"])
    elif isinstance(content, dict) and "fifo" in content:
        os.mkfifo(path)
    else:
        path.write_bytes(data_of(content))


def data_of(content: Any) -> bytes:
    if isinstance(content, str):
        return content.encode("utf-8")
    if "hex" in content:
        data = bytes.fromhex(content["hex"])
    elif "repeat" in content:
        data = content["repeat"].encode("utf-8") * content["times"]
    elif "tree" in content:
        stream = io.BytesIO()
        with h5py.File(stream, "w", userblock_size=content.get("before", 0)) as file:
            build_group(file, content["tree"])
        data = stream.getvalue()
    else:
        data = bytes(content.get("before", 0)) + build_zip(
            content["zip"] if "zip" in content else MINIMAL + content["zip_with"]
        )
    return data[: len(data) - content.get("cut", 0)]


def build_zip(members: list[dict[str, Any]]) -> bytes:
    """An archive whose directory then says what the member's other keys want it to say."""
    stream = io.BytesIO()
    with (
        pytest.warns(UserWarning, match="Duplicate") if _repeats(members) else _nothing(),
        zipfile.ZipFile(stream, "w") as archive,
    ):
        for member in members:
            info = zipfile.ZipInfo(member["name"])
            info.create_system = 3
            info.external_attr = int(member.get("mode", "100600"), 8) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if member.get("method") == 8 else zipfile.ZIP_STORED
            archive.writestr(info, data_of(member.get("content", "")))
            info.compress_type = member.get("method", info.compress_type)
            info.flag_bits |= member.get("flags", 0)
            info.file_size = member.get("size", info.file_size)
            info.compress_size = member.get("stored_size", info.compress_size)
            info.CRC = member.get("crc", info.CRC)
    return stream.getvalue()


def _repeats(members: list[dict[str, Any]]) -> bool:
    return len({member["name"] for member in members}) < len(members)


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


def build_group(group: h5py.Group, node: dict[str, Any]) -> None:
    """NODE in a group."""
    for name, child in node.items():
        if name.startswith("@"):
            group.attrs[name[1:]] = attribute_of(child)
        elif "dtype" in child:
            build_dataset(group, name, child)
        elif "soft" in child:
            group[name] = h5py.SoftLink(child["soft"])
        elif "external_link" in child:
            group[name] = h5py.ExternalLink(child["external_link"], "/")
        elif "hard" in child:
            group[name] = group.file[child["hard"]]
        elif "type" in child:
            group[name] = np.dtype(child["type"])
        else:
            build_group(group.create_group(name), child)


def build_dataset(group: h5py.Group, name: str, node: dict[str, Any]) -> None:
    kind, shape = dtype_of(node["dtype"]), tuple(node.get("shape", ()))
    if node.get("storage") == "null":
        group[name] = h5py.Empty(kind)
        return
    if node.get("storage") == "virtual":
        layout = h5py.VirtualLayout(shape=shape, dtype=kind)
        layout[...] = h5py.VirtualSource("elsewhere.h5", "x", shape=shape)
        group.create_virtual_dataset(name, layout)
        return
    options: dict[str, Any] = {"chunks": shape} if node.get("storage") == "chunked" else {}
    if "filter" in node:
        options |= {"compression": node["filter"], "shuffle": node["filter"] == "gzip"}
    if node.get("storage") == "external":
        options |= {"external": "elsewhere.bin"}
    dataset = group.create_dataset(name, shape=shape, dtype=kind, **options)
    if "strings" in node:
        dataset[...] = node["strings"]
    elif node.get("storage") not in ("external", "unstored") and dataset.size:
        count = math.prod(shape) * kind.itemsize
        array = np.frombuffer(bytes.fromhex(node["hex"]) if "hex" in node else bytes(count), kind).reshape(shape)
        dataset.write_direct(array) if shape else dataset.__setitem__((), array[()])
    for key, value in node.items():
        if key.startswith("@"):
            dataset.attrs[key[1:]] = attribute_of(value)


def dtype_of(name: str) -> Any:
    base, _, rest = name.partition(" ")
    if base == "opaque":
        return np.dtype(f"V{rest}")
    if base == "string":
        return np.dtype(f"S{rest}") if rest else h5py.string_dtype()
    if base == "compound":
        return np.dtype([("a", "<f4"), ("b", "<i4")])
    if base == "enum":
        return h5py.enum_dtype({"RED": 0, "GREEN": 1}, basetype="i1")
    return np.dtype(base).newbyteorder(">" if rest == "big-endian" else "<")


def attribute_of(value: Any) -> Any:
    if isinstance(value, dict) and "fixed" in value:
        return np.array([cell.encode("utf-8") for cell in value["fixed"]])
    if isinstance(value, dict) and "hex" in value:
        return np.bytes_(bytes.fromhex(value["hex"]))
    if isinstance(value, dict):
        return value["ascii"].encode("ascii")
    if isinstance(value, list) and all(isinstance(cell, str) for cell in value):
        return [cell.encode("utf-8") for cell in value]
    return value
