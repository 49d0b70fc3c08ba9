"""What the scripts that make cases share: small models, archives with any member, and the writing of a case.

Run `python conformance/make/run.py` from the top of the repository.  Everything is inert: code is the text "inert" in Base64,
commands are `true`, addresses end in .invalid.
"""

from __future__ import annotations

import copy
import io
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import refser
from refser.values import WeightGroup

CASES = Path(__file__).resolve().parents[1] / "cases"
INERT = "aW5lcnQ="  # "inert"
Json = dict[str, Any]
Files = Mapping[str, "bytes | Link | None"]  # by path below the case's folder; None: an empty folder


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Case(NamedTuple):
    """One case; `code` is the requirement that a refused one breaks."""

    slug: str
    title: str
    files: Files
    input: str
    verdict: str  # empty: none is asked for
    code: str = ""
    at: str | None = None
    advisories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: str = ""  # what the verdict says: "reject" or "read"
    covers: tuple[str, ...] = ()  # with `code`, which need not stand here too
    others: tuple[str, ...] = ()  # codes that may be told instead of `code`
    expect: Json | None = None
    more: tuple[tuple[str, Any], ...] = ()  # other fields of case.json


# Configs


def policy(name: str = "float32") -> Json:
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}


def obj(module: str | None, class_name: str, config: Any, registered_name: str | None = None, **more: Any) -> Json:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered_name, **more}


def initializer(class_name: str, **config: Any) -> Json:
    return obj("keras.initializers", class_name, config)


def input_layer(name: str = "x", shape: tuple[int | None, ...] = (None, 4)) -> Json:
    config = {
        "batch_shape": list(shape),
        "dtype": "float32",
        "sparse": False,
        "ragged": False,
        "name": name,
        "optional": False,
    }
    return obj("keras.layers", "InputLayer", config)


def dense(name: str = "dense", units: int = 3, rows: int = 4, **changes: Any) -> Json:
    config = {
        "name": name,
        "trainable": True,
        "dtype": policy(),
        "units": units,
        "activation": "linear",
        "use_bias": True,
        "kernel_initializer": initializer("GlorotUniform", seed=None),
        "bias_initializer": initializer("Zeros"),
        "kernel_regularizer": None,
        "bias_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
        "quantization_config": None,
    }
    return obj("keras.layers", "Dense", config | changes, build_config={"input_shape": [None, rows]})


def layer(class_name: str, name: str, *, build: list[Any] | None = None, module: str = "keras.layers", **config: Any) -> Json:
    found = obj(module, class_name, {"name": name, "trainable": True, "dtype": policy(), **config})
    return found if build is None else {**found, "build_config": {"input_shape": build}}


def sequential(*layers: Json, name: str = "model", **more: Any) -> Json:
    config = {"name": name, "trainable": True, "dtype": policy(), "layers": list(layers), "build_input_shape": [None, 4]}
    return obj("keras", "Sequential", config, build_config={"input_shape": [None, 4]}, **more)


def plain() -> Json:
    """Input, Dense."""
    return sequential(input_layer(), dense())


def tensor(name: str, shape: list[int | None], call: int = 0, output: int = 0) -> Json:
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, call, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def functional(layers: list[tuple[Json, list[Json]]], inputs: Any, outputs: Any, name: str = "model") -> Json:
    """Layers, each with the tensors of its one call."""
    found = []
    for one, tensors in layers:
        calls = [{"args": tensors if len(tensors) == 1 else [tensors], "kwargs": {}}] if tensors else []
        found.append({**one, "name": one["config"]["name"], "inbound_nodes": calls})
    config = {"name": name, "trainable": True, "layers": found, "input_layers": inputs, "output_layers": outputs}
    return obj("keras.src.models.functional", "Functional", config, registered_name="Functional")


def graph() -> Json:
    """Input, Dense a, Dense b."""
    return functional(
        [
            (input_layer(), []),
            (dense("a"), [tensor("x", [None, 4])]),
            (dense("b", 2, 3), [tensor("a", [None, 3])]),
        ],
        [["x", 0, 0]],
        [["b", 0, 0]],
    )


COMPILE = {
    "optimizer": "sgd",
    "loss": "mse",
    "loss_weights": None,
    "metrics": None,
    "weighted_metrics": None,
    "run_eagerly": False,
    "steps_per_execution": 1,
    "jit_compile": False,
}


def changed(config: Json, path: str, value: Any) -> Json:
    """A copy with the value at `layers.1.config.units` (below the model's config) replaced."""
    found = copy.deepcopy(config)
    here: Any = found["config"]
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in way:
        here = here[key]
    here[last] = value
    return found


# Weights

Arrays = dict[str, Any]


def arrays(config_layers: Mapping[str, tuple[Any, ...]]) -> Arrays:
    """Group -> shapes, as arrays of small numbers by inner path."""
    found: Arrays = {}
    for group, shapes in config_layers.items():
        for number, shape in enumerate(shapes):
            values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) / 8
            found[f"{group}/vars/{number}"] = values
    return found


PLAIN = {"layers/dense": ((4, 3), (3,))}
GRAPH = {"layers/dense": ((4, 3), (3,)), "layers/dense_1": ((3, 2), (2,))}


def store(found: Arrays, names: Mapping[str, str] | None = None, groups: tuple[str, ...] = ()) -> bytes:
    """A `.weights.h5` in refser's canonical form."""
    keys: dict[str, list[str]] = {"vars": [], **{f"{group}/vars": [] for group in groups}}
    for path in found:
        group, _, key = path.rpartition("/")
        keys.setdefault(group, []).append(key)
    weights = {path: refser.Weight.from_array(path, array) for path, array in found.items()}
    listed = tuple(WeightGroup(path=group, name=(names or {}).get(group), keys=tuple(keys[group])) for group in sorted(keys))
    out = io.BytesIO()
    refser.save(refser.Model(weights=weights, groups=listed), out, layout="weights-h5")
    return out.getvalue()


def hdf5(fill: Callable[[h5py.File], object], *, empty: bool = False, **options: Any) -> bytes:
    """An HDF5 file that h5py writes; with the arrays of `plain` unless `empty`."""
    out = io.BytesIO()
    with h5py.File(out, "w", track_order=False, **options) as file:
        if not empty:
            file.create_group("vars")
            for path, array in arrays(PLAIN).items():
                file.create_dataset(path, data=array, track_times=False)
        fill(file)
    return out.getvalue()


# Archives

METADATA = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}


class Member(NamedTuple):
    """A member, and what its headers say, true or not."""

    name: str
    data: bytes
    mode: int = 0o644
    method: int = zipfile.ZIP_STORED
    flags: int = 0
    local_name: str | None = None
    size: int | None = None  # in both headers
    crc: int | None = None
    extra: bytes = b""
    local_only: bool = False
    local_size: int | None = None


def archive(members: list[Member], *, before: bytes = b"", after: bytes = b"", comment: bytes = b"", gap: bytes = b"") -> bytes:
    """A zip, record by record: times fixed, nothing taken from the machine."""
    out, directory = bytearray(before), bytearray()
    count = 0
    for member in members:
        name, local = member.name.encode("utf-8"), (member.local_name or member.name).encode("utf-8")
        flags = member.flags | (0 if name.isascii() else 0x800)
        body = member.data
        if member.method == zipfile.ZIP_DEFLATED:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            body = packer.compress(member.data) + packer.flush()
        size = len(member.data) if member.size is None else member.size
        stored = len(body) if member.method or member.size is None else member.size
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        start = len(out)
        common = (flags, member.method, 0, 33, crc, stored, size)
        here = (*common[:6], size if member.local_size is None else member.local_size)
        out += struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, *here, len(local), len(member.extra))
        out += local + member.extra + body + gap
        if member.local_only:
            continue
        count += 1
        directory += struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            *(b"PK\x01\x02", 0x0314, 20, *common, len(name), len(member.extra), 0, 0, 0),
            (member.mode if member.mode > 0o7777 else 0o100000 | member.mode) << 16,
            start,
        )
        directory += name + member.extra
    start = len(out)
    out += directory
    out += struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, len(comment)) + comment
    return bytes(out) + after


def members(
    config: Json | bytes | None = None, weights: bytes | None = None, metadata: Json | bytes = METADATA
) -> list[Member]:
    """The three members of a model."""
    text = config if isinstance(config, bytes) else json.dumps(plain() if config is None else config).encode()
    about = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    return [
        Member("metadata.json", about),
        Member("config.json", text),
        Member("model.weights.h5", store(arrays(PLAIN)) if weights is None else weights),
    ]


def keras(config: Json | bytes | None = None, weights: bytes | None = None, *more: Member, **options: Any) -> bytes:
    return archive([*members(config, weights), *more], **options)


# Writing


def write(chapter: str, cases: list[Case], script: str, folder: Path = CASES) -> None:
    """The folder of a chapter, made anew."""
    if (folder / chapter).exists():
        shutil.rmtree(folder / chapter)
    slugs = [case.slug for case in cases]
    if twice := {slug for slug in slugs if slugs.count(slug) > 1}:
        raise ValueError(f"two cases named {twice}")
    for case in cases:
        here = folder / chapter / case.slug
        here.mkdir(parents=True)
        put_files(here, case.files)
        write_json(here / "case.json", described(case, chapter, script))
        if case.expect is not None:
            write_json(here / "expect.json", case.expect)


def put_files(folder: Path, files: Files) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.mkdir()
        elif isinstance(data, Link):
            path.symlink_to(data.target)
        else:
            path.write_bytes(data)


def described(case: Case, chapter: str, script: str) -> Json:
    """What case.json says."""
    refused = bool(case.code)
    about: Json = {
        "id": f"{chapter}/{case.slug}",
        "title": case.title,
        "kind": case.kind or ("reject" if refused else "read"),
        "covers": list(dict.fromkeys([*case.covers, *([case.code] if case.code and not case.covers else [])])),
        "spec": ">=0.1",
        "input": case.input,
    }
    if case.verdict:
        about["verdict"] = case.verdict
    if refused:
        about["problem"] = {"code": case.code} | ({"or": list(case.others)} if case.others else {})
        about["problem"] |= {"at": case.at} if case.at is not None else {}
    if case.expect is not None:
        about["expect"] = "expect.json"
    about |= dict(case.more)
    if case.advisories:
        about["advisories"] = list(case.advisories)
    if case.tags:
        about["tags"] = list(case.tags)
    return {**about, "made_by": {"script": f"make/{script}"}}


def write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
