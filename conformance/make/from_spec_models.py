"""Cases from the examples of the specification in which a model is written, or its weights are told from its config.

Spec: spec/introduction.md (Examples), conformance/PROTOCOL.md (descriptions).  Not here: reading (from_spec.py).
"""

from __future__ import annotations

import json
import math
from typing import Any

from building import Case, Json
from expected import by_hand, sha256

SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "bool": 1, "int64": 8, "float8_e5m2": 1}
CANONICAL = "canonical"  # the tag of a case that asks for exact bytes, members or files
SIGNED = ("members", "starts", "index", "again_after")


class LeftOut(Exception):
    """No case comes of this example; the message is the reason."""


# Writing


def layout_of(name: str, model: Json) -> str:
    """spec/files.md, IO-010."""
    ends = {".weights.json": "weights-sharded", ".json": "config-json", ".keras": "keras-zip", ".weights.h5": "weights-h5"}
    for end, layout in ends.items():
        if name.endswith(end):
            return layout
    if name.endswith((".h5", ".hdf5")):
        whole = model.get("config") is not None or model.get("generation", "v3") != "legacy"
        return "legacy-h5" if whole else "legacy-weights-h5"
    return "keras-dir"


def write_case(slug: str, title: str, code: str, value: Json) -> Case:
    if "present" in value or "disk" in value or "overwrite" in value:
        raise LeftOut("what was there before")
    if "/" in value["write"]:
        raise LeftOut("folders that are not there")
    model = value["model"]
    if any("byte_order" in weight for weight in model.get("weights", {}).values()):
        raise LeftOut("the order of bytes in memory")
    description: Json = {"output": value["write"], "layout": value.get("layout", layout_of(value["write"], model))}
    description |= {key: model[key] for key in ("generation", "config", "training_config", "metadata") if key in model}
    description["weights"] = {path: with_bytes(weight) for path, weight in model.get("weights", {}).items()}
    description |= {key: model[key] for key in ("groups", "assets") if key in model}
    description |= {"max_shard_bytes": value["max_shard_bytes"]} if "max_shard_bytes" in value else {}
    refused = value.get("code", "")
    canonical = any(key in value for key in SIGNED)
    return Case(
        slug=slug,
        title=f"{title}: {'refused' if refused else 'written'}",
        files={"description.json": (json.dumps(description, indent=1) + "\n").encode()},
        input="description.json",
        verdict="",
        code=refused,
        kind="write",
        covers=(code or refused,) if code or refused else (),
        expect=None if refused else expected(description, value),
        tags=(f"layout:{description['layout']}", *((CANONICAL,) if canonical else ())),
        more=(("output", value["write"]),),
    )


def with_bytes(weight: Json) -> Json:
    shape, dtype = weight.get("shape", []), weight["dtype"]
    zeros = "00" * (math.prod(shape) * SIZES.get(dtype, 1))
    return {"dtype": dtype, "shape": shape, "hex": weight.get("hex", zeros)}


def expected(description: Json, value: Json) -> Json:
    """What a reader finds in the output, and what is to be seen without one."""
    layout, weights = description["layout"], description["weights"]
    if layout == "config-json":
        weights = {}
    if layout == "legacy-weights-h5":  # which has no optimizer, and no group around the layers
        weights = {path: it for path, it in weights.items() if not path.startswith("optimizer_weights/")}
        weights = {path.removeprefix("model_weights/"): it for path, it in weights.items()}
    expect: Json = {"layout": layout, "weights": {path: by_hand(weight) for path, weight in weights.items()}}
    has_config = layout in ("keras-zip", "keras-dir", "legacy-h5", "config-json")
    if has_config:
        expect["config_sha256"] = sha256(description["config"].encode())
    if layout in ("keras-zip", "keras-dir"):
        expect["assets"] = {path: sha256(text.encode()) for path, text in description.get("assets", {}).items()}
    if layout in ("keras-zip", "keras-dir", "legacy-h5") and "metadata" in description:
        expect["metadata"] = description["metadata"]
    if description.get("generation", "v3") == "v3" and layout != "config-json":
        names: Json = {"vars": None} | {path.rpartition("/")[0]: None for path in weights}
        expect["names"] = names | {group["path"]: group.get("name") for group in description.get("groups", ())}
    expect |= {key: value[key] for key in ("members", "starts", "files", "folders", "again_after") if key in value}
    if "index" in value:
        expect["json"] = {description["output"]: value["index"]}
    return expect


# Trees


def tree_case(slug: str, title: str, code: str, value: Json) -> Case:
    refused = value.get("code", "")
    return Case(
        slug=slug,
        title=f"{title}: {'refused' if refused else 'the weights of a config'}",
        files={"config.json": json.dumps(value["weights_of"]).encode()},
        input="config.json",
        verdict="",
        code=refused,
        kind="tree",
        covers=(code or refused,) if code or refused else (),
        expect=None if refused else tree(value),
        more=(*((("keras", value["keras"]),) if "keras" in value else ()), ("ordered", True)),
    )


def tree(value: Json) -> Json:
    """The variables as far as the example tells of them, in the order of the walk."""
    columns: dict[str, list[Any]] = {}
    if "arrays" in value:
        columns |= {"path": list(value["arrays"]), "shape": list(value["arrays"].values())}
    for field, key in (("name", "names"), ("variable_path", "paths"), ("dtype", "dtypes"), ("trainable", "trainable")):
        columns |= {field: value[key]} if key in value else {}
    found: Json = {key: value[key] for key in ("groups", "opaque") if key in value}
    if columns:
        found["variables"] = [dict(zip(columns, cells)) for cells in zip(*columns.values(), strict=True)]
    return found
