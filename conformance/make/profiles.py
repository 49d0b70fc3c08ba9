"""Lists of cases for each kind of tool: profiles/NAME.json, made from what case.json says of each case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from building import CASES, write_json

Json = dict[str, Any]
CORE_CHAPTERS = {"weights-h5", "keras-zip"}
# Broken so plainly that whoever reads the file finds out: cut short, empty, another kind of file.
PLAINLY_BROKEN = {"FT-003", "FT-004", "FT-005", "FT-006", "H5-011", "H5-012", "H5-014", "KZ-009", "KZ-013", "IO-004"}
PLAIN_CHAPTERS = {"hdf5", "identify", "files"}


def tags(case: Json) -> set[str]:
    return set(case.get("tags", ()))


def chapter(case: Json) -> str:
    return str(case["id"].partition("/")[0])


def for_readers(case: Json) -> bool:
    """A case that a tool which only reads can be asked."""
    if case["kind"] not in ("read", "reject") or "validation" in tags(case) or chapter(case) == "hostile":
        return False
    return not ("unsupported" in tags(case) and chapter(case).startswith("hdf5"))


def core_reader(case: Json) -> bool:
    if not for_readers(case) or "unsupported" in tags(case):
        return False
    if chapter(case) == "real":
        layouts = {"layout:keras-zip", "layout:weights-h5"}
        return bool(layouts & tags(case)) and any(it.startswith("keras:3.") for it in tags(case))
    if "problem" in case:
        return chapter(case) in CORE_CHAPTERS | PLAIN_CHAPTERS and case["problem"]["code"] in PLAINLY_BROKEN
    return chapter(case) in CORE_CHAPTERS


def writer(case: Json) -> bool:
    return bool(case["kind"] == "write" and "canonical" not in tags(case))


PROFILES: dict[str, tuple[str, Callable[[Json], bool]]] = {
    "core-reader": (
        "weights out of .keras and .weights.h5 of Keras 3, sound ones and plainly broken ones",
        core_reader,
    ),
    "full-reader": ("every layout, the bytes of HDF5, files that look odd and are sound", for_readers),
    "weight-trees": ("the weights of a model, told from its config", lambda case: bool(case["kind"] == "tree")),
    "writer": ("every layout, written from a description", writer),
    "canonical-writer": ("written with exactly these members, files and bytes", lambda case: "canonical" in tags(case)),
    "validator": ("a verdict on each file", lambda case: "verdict" in case),
    "hostile": ("files that reach outside, run code, unfold, lie or hide something", lambda case: chapter(case) == "hostile"),
}


def main(cases: Path = CASES) -> None:
    known = [json.loads(path.read_text("utf-8")) for path in sorted(cases.glob("*/*/case.json"))]
    folder = cases.parent / "profiles"
    folder.mkdir(exist_ok=True)
    for name, (title, holds) in PROFILES.items():
        ids = sorted(case["id"] for case in known if holds(case))
        write_json(folder / f"{name}.json", {"profile": name, "title": title, "cases": ids})
        print(f"{name}: {len(ids)} cases")
