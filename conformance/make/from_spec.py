"""Cases from the examples of the specification: what spec/introduction.md says of an example, as files that any tool can read.

An id ends in a hash of the example: another example is another case.  Left out is what no file can say (limits, options, a full
disk), what a checkout does not keep (links, empty folders) and what is no file (single structures, names).
Not here: what stands in the files (tests/spec_content.py), writing and trees (from_spec_models.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from building import Case, Json, write
from expected import by_hand, describe, sha256
from from_spec_models import LeftOut, tree_case, write_case
from graft import graft, shifted, touches_superblock

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec"
sys.path.insert(0, str(ROOT / "tests"))
from spec_content import data_of, put  # noqa: E402
from spec_examples import bases, bytes_of, with_patch  # noqa: E402

VALIDATION = "validation"  # the tag of a case that asks for a verdict, and whose fault no reader has to find
# What a reader refuses and a validator takes for a warning, or finds only when it reads every byte or has a library.
NO_VERDICT = {"H5-006", "H5-082", "H5-083", "JS-006", "KZ-008", "LH-002"}
NO_VERDICT_EXAMPLES = {"h5-011-d49b7e2a", "js-005-fcb131de", "kz-005-17d81efc"}
SEVERAL_FAULTS = {"cf-030-5dc808a3", "cf-042-91cb69ab", "cf-044-0730d0e7"}
RUNS_CODE = ("__lambda__", '"lambda"', "__typespec__")
SAFE_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._ -]*(?:/[A-Za-z0-9._][A-Za-z0-9._ -]*)*")
MODEL = '{"class_name": "Sequential", "config": {}}'


class Example(NamedTuple):
    """A block, and the requirement under whose heading it stands."""

    chapter: str
    code: str  # empty in the section Examples
    title: str
    ordered: bool  # the requirement speaks of an order
    value: Json

    @property
    def slug(self) -> str:
        text = json.dumps(self.value, sort_keys=True, separators=(",", ":"))
        return f"{self.code.lower() or 'example'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def examples() -> Iterator[Example]:
    for path in sorted(SPEC.glob("*.md")):
        if path.stem in ("README", "introduction", "changes"):
            continue
        code = title = paragraph = ""
        parts = re.split(r"^(#{1,4} .*|```\w*)$", path.read_text("utf-8"), flags=re.MULTILINE)
        inside = False
        for mark, body in zip(parts[1::2], parts[2::2]):
            if mark.startswith("```"):
                inside = not inside
                if mark == "```example":
                    yield Example(path.stem, code, title or path.stem, "order" in paragraph, json.loads(body))
            elif not inside:
                code, title = (mark[5:11], mark[12:]) if mark.startswith("#### ") else ("", "")
                paragraph = body.partition("\n```")[0].partition("\n>")[0]


@cache
def warned_of() -> frozenset[str]:
    """The requirements with SHOULD: to break one is a warning."""
    text = "".join(path.read_text("utf-8") for path in sorted(SPEC.glob("*.md")))
    return frozenset(re.findall(r"^#### ([A-Z][A-Z0-9]-\d{3}) .*\n(?:(?![#`>]).*\n)*?.*\bSHOULD\b", text, re.MULTILINE))


# Reading


def content(value: Any) -> bytes | dict[str, bytes]:
    """The bytes of a file, or the files of a folder."""
    if isinstance(value, dict) and ("link" in value or "fifo" in value):
        raise LeftOut("links and pipes")
    if not (isinstance(value, dict) and "folder" in value):
        return data_of(value)
    if not value["folder"]:
        raise LeftOut("empty folders")
    found = {}
    for name, inner in value["folder"].items():
        if not SAFE_NAME.fullmatch(name):
            raise LeftOut("names that not every file system has")
        below = content(inner)
        found |= {name: below} if isinstance(below, bytes) else {f"{name}/{key}": data for key, data in below.items()}
    return found


def files_of(example: Json, value: Any, name: str) -> tuple[dict[str, bytes], str]:
    """The files of a case, and which of them is its input."""
    found = content(value)
    if isinstance(found, bytes):
        if not SAFE_NAME.fullmatch(name):
            raise LeftOut("names that not every file system has")
        return {name: found}, name
    return {f"{name}/{key}": data for key, data in found.items()}, f"{name}/{example['open']}" if "open" in example else name


def verdict_of(example: Example, kind: str, code: str) -> str:
    """spec/validate.md, VR-003; empty where other faults of the file, or what the validator has, decide."""
    if code in NO_VERDICT or example.slug in NO_VERDICT_EXAMPLES:
        return ""
    if kind in ("unsafe", "malformed", "invalid"):
        return "unsafe" if kind == "unsafe" else "invalid"
    return {"NZ-001": "unsafe", "FT-011": "unchecked"}.get(code, "")


def read_case(example: Example) -> Case:
    value = example.value
    if "limits" in value:
        raise LeftOut("limits")
    wanted = {"folder": value["folder"]} if "folder" in value else value["file"]
    files, name = files_of(value, wanted, value.get("name", "model"))
    if "code" in value:
        return refused(example, files, name, value["code"], value["kind"])
    return found_case(example, files, name)


def refused(example: Example, files: dict[str, bytes], name: str, code: str, kind: str, *others: str) -> Case:
    if kind == "access":
        raise LeftOut("what the file system refuses")
    return Case(
        slug=example.slug,
        title=f"{example.title}: refused, {kind}",
        files=files,
        input=name,
        verdict=verdict_of(example, kind, code),
        code=code,
        covers=(example.code or code,),
        others=others,
        tags=(kind,) if kind in ("limit", "unsupported") else (),
    )


def found_case(example: Example, files: dict[str, bytes], name: str) -> Case:
    value = example.value
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            put(Path(folder) / path, {"hex": data.hex()})
        expect = describe(Path(folder) / name)
    weights = value.get("weights", [])
    if list(weights) and list(weights) != list(expect["weights"]):
        raise ValueError(f"{example.slug}: h5py finds {list(expect['weights'])}, the example has {list(weights)}")
    expect |= {key: value[key] for key in ("layout", "names", "metadata") if key in value}
    if isinstance(weights, dict):
        written = {path: by_hand(weight) for path, weight in weights.items()}
        if expect["weights"] != written:
            raise ValueError(f"{example.slug}: h5py finds {expect['weights']}, the example has {written}")
    if value.get("config") is not None:
        expect["config_sha256"] = sha256(value["config"].encode())
    if "assets" in value:
        expect["assets"] = {path: sha256(text.encode()) for path, text in value["assets"].items()}
    dtypes = {f"dtype:{weight['dtype']}" for weight in expect["weights"].values()} - {"dtype:float32"}
    return Case(
        slug=example.slug,
        title=f"{example.title}: read",
        files=files,
        input=name,
        verdict="",
        covers=(example.code,) if example.code else (),
        expect=expect,
        tags=(f"layout:{expect['layout']}", *sorted(dtypes)),
        more=(("ordered", True),) if example.ordered else (),
    )


# Bytes of HDF5


def bytes_case(example: Example) -> Case:
    """An example of HDF5 alone: what is its root becomes the group `vars` of a weights file."""
    value = example.value
    if value.get("kind") == "unsupported":
        raise LeftOut("what a library for HDF5 reads")
    plain, patch = (bases()[value["base"]], value["patch"]) if "base" in value else (bytes_of(value), [])
    if touches_superblock(plain, patch):
        raise LeftOut("patches of the superblock")
    whole = graft(plain)
    if "code" in value:
        data = with_patch(whole, shifted(patch, len(plain), len(whole)))
        return refused(example, {"model.weights.h5": data}, "model.weights.h5", value["code"], value["kind"])
    data = with_patch(whole, patch)
    weights = {f"vars/{name}": node for name, node in value["holds"].items() if "dtype" in node}
    names = {"vars": value["holds"].get("@name")}
    new = example._replace(value={"weights": weights, "names": names, "layout": "weights-h5"})
    return found_case(new, {"model.weights.h5": data}, "model.weights.h5")._replace(slug=example.slug)


# Texts, lists, configs


def json_case(example: Example) -> Case:
    """A text that is refused, as config.json."""
    value = example.value
    if "code" not in value or "limits" in value:
        raise LeftOut("texts that are no model")
    text = data_of(value["json"])
    names = ("metadata.json", b"{}"), ("config.json", text), ("model.weights.h5", data_of({"tree": {"vars": {}}}))
    members = [{"name": name, "content": {"hex": data.hex()}} for name, data in names]
    others = [] if text[:1] == b"{" else ["JS-005"]
    data = data_of({"zip": members})
    return refused(example, {"model.keras": data}, "model.keras", value["code"], value["kind"], *others)


def list_case(example: Example) -> Case:
    """A list `layer_names`, as that of a whole model; each layer has one weight."""
    value = example.value
    listed = value.get("layer_names", [])
    node: Json = {f"@{name}": cells for name, cells in value["attributes"].items()}
    node |= {name: {"@weight_names": ["w"], "w": {"dtype": "float32", "hex": "0000803f"}} for name in listed}
    if not listed:
        node["a"] = {"@weight_names": []}
    files = {"model.h5": data_of({"tree": {"@model_config": MODEL, "model_weights": node}})}
    if "code" in value:
        return refused(example, files, "model.h5", value["code"], value["kind"])
    weights = {f"model_weights/{name}/w": {"dtype": "float32", "shape": [], "hex": "0000803f"} for name in listed}
    names = {f"model_weights/{name}": name for name in listed}
    new = example._replace(value={"weights": weights, "names": names, "layout": "legacy-h5", "config": MODEL})
    return found_case(new, files, "model.h5")._replace(slug=example.slug)


def object_case(example: Example) -> Case:
    """A value of a config that is refused, as model.json."""
    value = example.value
    found = value["object"]
    if "code" not in value or "path" in value or "training" in value:
        raise LeftOut("parts of configs")
    if not isinstance(found, dict) or not isinstance(found.get("class_name"), str) or "config" not in found:
        raise LeftOut("parts of configs")
    text = json.dumps(found)
    if example.slug in SEVERAL_FAULTS or any(word in text for word in RUNS_CODE):  # which is unsafe before it is malformed
        raise LeftOut("several faults")
    files = {"model.json": text.encode()}
    case = refused(example, files, "model.json", value["code"], value["kind"])
    return case._replace(tags=(*case.tags, VALIDATION))


def validate_case(example: Example) -> Case:
    value = example.value
    if value.get("options"):
        raise LeftOut("options")
    wanted = value["validate"]
    is_config = isinstance(wanted, dict) and "config" in wanted
    if is_config:
        wanted = json.dumps(wanted["config"])
    files, name = files_of(value, wanted, value.get("name", "model.json" if is_config else "model"))
    verdict, warnings = value["verdict"], {*value.get("warnings", ()), *warned_of()}
    codes = [it for it in value["codes"] if it not in warnings]
    case = Case(
        slug=example.slug,
        title=f"{example.title}: {verdict}",
        files=files,
        input=name,
        verdict=verdict,
        covers=(example.code,) if example.code else (),
        tags=(VALIDATION,),
    )
    if verdict == "valid":
        return case
    code = example.code if example.code in codes else codes[0]
    others = tuple(it for it in codes if it != code)
    return case._replace(code=code, others=others, covers=case.covers or (code,))


KINDS: dict[str, Callable[[Example], Case]] = {
    "file": read_case,
    "folder": read_case,
    "base": bytes_case,
    "holds": bytes_case,
    "json": json_case,
    "attributes": list_case,
    "object": object_case,
    "validate": validate_case,
    "weights_of": lambda example: tree_case(example.slug, example.title, example.code, example.value),
    "model": lambda example: write_case(example.slug, example.title, example.code, example.value),
}


def cases() -> tuple[dict[str, list[Case]], dict[str, int]]:
    """Chapter -> cases, and how many examples were left out for which reason."""
    found: dict[str, dict[str, Case]] = {}
    left: dict[str, int] = {}
    for example in examples():
        kind = next((kind for kind in KINDS if kind in example.value and "names" not in list(example.value)[:1]), None)
        try:
            if kind is None:
                raise LeftOut("no files")
            case = KINDS[kind](example)
            found.setdefault(example.chapter, {})[case.slug] = case
        except LeftOut as reason:
            left[str(reason)] = left.get(str(reason), 0) + 1
    return {chapter: list(them.values()) for chapter, them in found.items()}, left


def main(folder: Path) -> None:
    found, left = cases()
    for chapter, them in found.items():
        write(chapter, them, "from_spec.py", folder)
    print(f"from_spec: {sum(map(len, found.values()))} cases; left out: {left}")
