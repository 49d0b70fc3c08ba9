"""refser as a tool under test, through the same protocol as any other (conformance/PROTOCOL.md).

python run.py --tool "python adapters/refser_tool.py {kind} {input} {output} {keras}" --reader "python adapters/..."
python run.py --server "python adapters/refser_tool.py --serve" --reader-server "python adapters/refser_tool.py --serve"
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import refser
from refser.rules.tree import expected_weights
from refser.values import ByteRange, MemoryBytes

Answer = dict[str, Any]
LIMITS = refser.Limits()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refused(error: refser.RefserError) -> Answer:
    problem = error.problem
    return {"result": "refused", "code": problem.code, "message": f"{problem.at}: {problem.message}"}


def read(path: str) -> Answer:
    """What is in the file, and the verdict of `refser.validate` on it."""
    report = refser.validate(path)
    codes = sorted({it.code for it in report.problems if it.severity == "error"})
    judged: Answer = {"verdict": report.verdict}
    try:
        with refser.open(path, limits=LIMITS) as file:
            found: Answer = {
                "result": "read",
                "layout": file.layout,
                "weights": {inner: weight_shown(weight) for inner, weight in file.weights.items()},
                "names": {group.path: group.name for group in file.groups},
                "metadata": dict(file.metadata),
                "assets": {name: sha256(data) for name, data in file.assets.items()},
            }
            if file.config is not None:
                found["config_sha256"] = sha256(file.config_json.encode("utf-8"))
    except refser.RefserError as error:
        told = [error.problem.code, *codes]
        return refused(error) | judged | {"codes": list(dict.fromkeys(told))}
    return found | judged | ({"codes": codes} if codes else {})


def weight_shown(weight: refser.Weight) -> Answer:
    return {"dtype": weight.dtype, "shape": list(weight.shape), "sha256": sha256(weight.tobytes())}


def tree(path: str, keras: str) -> Answer:
    try:
        found = expected_weights(Path(path).read_text("utf-8"), keras_version=keras or None)
    except refser.RefserError as error:
        return refused(error)
    variables = [
        {
            "path": it.path,
            "name": it.name,
            "variable_path": it.variable_path,
            "shape": list(it.shape),
            "dtype": it.dtype,
            "trainable": it.trainable,
        }
        for it in found
    ]
    return {
        "result": "tree",
        "variables": variables,
        "groups": list(found.groups),
        "opaque": [place.path for place in found.opaque],
    }


def write(path: str, output: str) -> Answer:
    about = json.loads(Path(path).read_text("utf-8"))
    options = {"layout": about["layout"]}
    if "max_shard_bytes" in about:
        options["max_shard_size"] = about["max_shard_bytes"] / 2**30
    try:
        refser.save(model_of(about), output, **options)
    except refser.RefserError as error:
        return refused(error)
    return {"result": "written"}


def model_of(about: Answer) -> refser.Model:
    groups = about.get("groups", [])
    return refser.Model(
        generation=about.get("generation", "v3"),
        config_json=about.get("config"),
        training_config=about.get("training_config"),
        metadata=about.get("metadata", {}),
        weights={inner: weight_of(inner, it) for inner, it in about["weights"].items()},
        assets={name: text.encode("utf-8") for name, text in about.get("assets", {}).items()},
        groups=tuple(refser.WeightGroup(path=it["path"], name=it.get("name"), keys=tuple(it.get("keys", ()))) for it in groups),
    )


def weight_of(path: str, it: Answer) -> refser.Weight:
    data = bytes.fromhex(it["hex"])
    source = ByteRange(MemoryBytes(data), 0, len(data))
    return refser.Weight(path=path, dtype=it["dtype"], shape=tuple(it["shape"]), source=source)


def answer(kind: str, path: str, output: str = "", keras: str = "") -> Answer:
    kinds: dict[str, Callable[[], Answer]] = {
        "read": lambda: read(path),
        "tree": lambda: tree(path, keras),
        "write": lambda: write(path, output),
    }
    return kinds[kind]() if kind in kinds else {"result": "unsupported", "reason": f"the kind {kind}"}


def main() -> None:
    if sys.argv[1:] != ["--serve"]:
        print(json.dumps(answer(*sys.argv[1:])))
        return
    for line in sys.stdin:
        asked = json.loads(line)
        found = answer(asked["kind"], asked["input"], asked["output"], asked.get("keras", ""))
        print(json.dumps({"id": asked["id"], **found}), flush=True)


if __name__ == "__main__":
    main()
