"""Cases from files that real Keras saved: tests/golden, with what its manifest says of each, taken without refser.

Of every file with a config and a store there is a second case: the config, and the weights that are really in the store.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
from building import Case, Json, write
from expected import describe, weight

GOLDEN = Path(__file__).resolve().parents[2] / "tests/golden"
COVERS = {
    "keras-zip": ("KZ-001", "WH-001", "WH-003", "CF-001", "VA-001"),
    "keras-dir": ("KD-001", "WH-001", "WH-003", "CF-001", "VA-001"),
    "weights-h5": ("WH-001", "WH-003", "VA-001"),
    "weights-sharded": ("SH-002", "SH-006", "WH-003"),
    "legacy-h5": ("LH-001", "LH-004", "LH-005", "LH-012", "VA-001"),
    "legacy-weights-h5": ("LH-005", "LH-012", "VA-001"),
    "config-json": ("CF-001", "CF-002", "CF-003"),
}
REFUSED = {"npz": ("NZ-001", "unsafe"), "saved-model": ("FT-011", "unchecked")}


def manifest() -> dict[str, Json]:
    found: dict[str, Json] = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))["files"]
    return found


def files_of(path: Path) -> dict[str, bytes]:
    """The files of a case by name: the file, the directory, or the index with its shards."""
    if path.is_dir():
        return {it.relative_to(path.parent).as_posix(): it.read_bytes() for it in sorted(path.rglob("*")) if it.is_file()}
    shards = path.parent.glob(f"{path.name.removesuffix('.weights.json')}_0*.weights.h5")
    more = sorted(shards) if path.name.endswith(".weights.json") else []
    return {it.name: it.read_bytes() for it in [path, *more]}


def slug_of(name: str) -> str:
    """`keras-3.15.1/functional.legacy_weights.h5` -> `keras-3.15.1-functional-legacy-weights-h5`."""
    folder, _, file = name.partition("/")
    return f"{folder}-{file.replace('.', '-').replace('_', '-')}"


def read_case(name: str, entry: Json) -> Case:
    folder, _, file = name.partition("/")
    layout = entry["layout"]
    case = Case(
        slug=slug_of(name),
        title=f"{file}, saved by {folder.rpartition('-')[0]} {entry['keras_version']}",
        files=files_of(GOLDEN / name),
        input=file,
        verdict="",
        tags=("real", f"keras:{entry['keras_version']}", f"layout:{layout}"),
    )
    if layout in REFUSED:
        code, verdict = REFUSED[layout]
        return case._replace(code=code, verdict=verdict, tags=(*case.tags, "unsupported"))
    expect: Json = {"layout": layout}
    expect["weights"] = {it["path"]: {key: it[key] for key in ("dtype", "shape", "sha256")} for it in entry["tensors"]}
    if entry["config_sha256"] is not None:
        expect["config_sha256"] = entry["config_sha256"]
    if layout in ("keras-zip", "keras-dir"):
        expect["assets"] = entry["assets"]
    if layout in ("keras-zip", "keras-dir", "weights-h5"):
        expect["names"] = describe(GOLDEN / name)["names"]
    sound = entry["keras_version"].startswith("3.")  # Keras 1 and 2 saved what no version loads again
    covers = (*COVERS[layout], *(("VR-009",) if sound else ()))
    return case._replace(expect=expect, covers=covers, verdict="valid" if sound else "")


def stored(path: Path) -> tuple[bytes, bytes]:
    """The config and the store."""
    if path.is_dir():
        return (path / "config.json").read_bytes(), (path / "model.weights.h5").read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json"), archive.read("model.weights.h5")


def variables(store: bytes) -> list[dict[str, Any]]:
    """Every array of a store, by inner path: shape and dtype as h5py has them."""
    found: list[dict[str, Any]] = []

    def visit(path: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            about = weight(node)
            found.append({"path": path, "shape": about["shape"], "dtype": about["dtype"]})

    with h5py.File(io.BytesIO(store), "r") as file:
        file.visititems(visit)
    return found


def tree_case(name: str, entry: Json) -> Case:
    folder, _, file = name.partition("/")
    config, store = stored(GOLDEN / name)
    return Case(
        slug=f"{slug_of(name)}-tree",
        title=f"the weights of {file}, saved by {folder.rpartition('-')[0]} {entry['keras_version']}, from its config",
        files={"config.json": config},
        input="config.json",
        verdict="",
        kind="tree",
        covers=("WT-001", "WT-016", "WT-017") if entry["keras_version"].startswith("2.") else ("WT-001", "WT-005", "WT-016"),
        expect={"variables": variables(store)},
        tags=("real", f"keras:{entry['keras_version']}"),
        more=(("keras", entry["keras_version"]),),
    )


def cases() -> list[Case]:
    entries = manifest()
    found = [read_case(name, entry) for name, entry in entries.items()]
    for name, entry in entries.items():
        twin = name.replace(".dir", ".keras")
        if entry["layout"] == "keras-zip" or (entry["layout"] == "keras-dir" and twin not in entries):
            found.append(tree_case(name, entry))
    return found


def main(folder: Path) -> None:
    found = cases()
    write("real", found, "real.py", folder)
    print(f"real: {len(found)} cases")
