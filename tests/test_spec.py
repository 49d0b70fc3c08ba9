"""The specification is run: every example, and what binds each requirement to code, tests and cases.

The kinds of example are described in spec/introduction.md; `RUNNERS` below has one function for each.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from spec_config import CONFIG_RUNNERS
from spec_content import data_of, put
from spec_examples import BYTE_RUNNERS, COMMON_CODES, REFUSED, Run, described, outcome
from spec_rules import RULE_RUNNERS
from spec_validate import VALIDATE_RUNNERS

import refser
from refser import hdf5, jsonio
from refser.api import layout_for
from refser.layouts.legacy_h5 import read_name_list, write_name_list
from refser.limits import Limits
from refser.source import MemorySource
from refser.values import DTYPES, ByteRange, MemoryBytes, Model, Weight, WeightGroup, natural, split_legacy_path, split_v3_path

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "spec"
NOT_CHAPTERS = ("README", "introduction", "versions", "changes", "open-questions")
CHAPTERS = sorted(path for path in SPEC.glob("*.md") if path.stem not in NOT_CHAPTERS)
SECTIONS = ["Layout", "Requirements", "Examples", "Left open"]
ID = re.compile(r"\b[A-Z][A-Z0-9]-\d{3}\b")
VERBS = re.compile(r"\b(?:MUST|SHOULD|MAY)\b")

# ---------------------------------------------------------------------------------------------------- parsing the chapters


@dataclass
class Example:
    """One block ```example."""

    where: str  # "values.md:40"
    code: str | None  # the requirement under whose heading it stands
    text: str


@dataclass
class Requirement:
    """One heading `#### VA-001 Title` and the paragraph below it."""

    code: str
    chapter: str
    paragraph: str = ""
    examples: int = 0


@dataclass
class Chapter:
    name: str
    prose: str = ""  # without code blocks
    sections: list[str] = field(default_factory=list)
    requirements: list[Requirement] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


def parse_chapter(path: Path) -> Chapter:
    chapter, fence, below = Chapter(path.name), None, None
    open_paragraph = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if fence is not None:
            if line == "```":
                fence = None
            elif fence == "```example":
                chapter.examples[-1].text += line + "\n"
            continue
        if line.startswith("```"):
            fence, open_paragraph = line, False
            if fence == "```example":
                chapter.examples.append(Example(f"{path.name}:{number}", below and below.code, ""))
                if below:
                    below.examples += 1
            continue
        chapter.prose += line + "\n"
        if line.startswith("## "):
            chapter.sections.append(line[3:])
            below = None
        elif line.startswith("#### "):
            below, open_paragraph = Requirement(line[5:11], path.name), True
            chapter.requirements.append(below)
            assert re.fullmatch(r"#### [A-Z][A-Z0-9]-\d{3} \S.*", line), f"{path.name}:{number}: {line}"
            assert chapter.sections[-1] == "Requirements", f"{path.name}:{number}: outside Requirements"
        elif below and open_paragraph:
            if line and not line.startswith(">"):
                below.paragraph += line + " "
            elif below.paragraph:
                open_paragraph = False
    assert fence is None, f"{path.name}: a code block that does not end"
    return chapter


PARSED = [parse_chapter(path) for path in CHAPTERS]
REQUIREMENTS = [requirement for chapter in PARSED for requirement in chapter.requirements]
DEFINED = {requirement.code for requirement in REQUIREMENTS}
PREFIXES = {code[:2] for code in DEFINED}
EXAMPLES = [example for chapter in PARSED for example in chapter.examples]


def without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", "", text)


def cited_in(*paths: Path) -> dict[str, str]:
    """Every ID with a known prefix -> the file that names it."""
    return {
        code: str(path.relative_to(ROOT))
        for path in paths
        for code in ID.findall(path.read_text("utf-8"))
        if code[:2] in PREFIXES
    }


def table(chapter: str, *, columns: int) -> list[list[str]]:
    """The rows of the first table with so many columns, without its head."""
    rows = [line.strip("|").split("|") for line in (SPEC / chapter).read_text("utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows if len(row) == columns][2:]


# ---------------------------------------------------------------------------------------------- the specification as a whole


def test_every_chapter_has_its_four_sections() -> None:
    assert {chapter.name: chapter.sections for chapter in PARSED} == {chapter.name: SECTIONS for chapter in PARSED}


def test_every_id_is_defined_once_in_the_chapter_of_its_prefix() -> None:
    assert [code for code, times in Counter(r.code for r in REQUIREMENTS).items() if times > 1] == []
    prefixes = {chapter.name: {r.code[:2] for r in chapter.requirements} for chapter in PARSED}
    assert {name: len(found) for name, found in prefixes.items()} == dict.fromkeys(prefixes, 1)
    for chapter in PARSED:
        codes = [r.code for r in chapter.requirements]
        assert codes == sorted(codes), chapter.name


def test_every_id_that_code_cites_is_defined() -> None:
    cited = cited_in(*(ROOT / "refser").rglob("*.py"))
    assert {code: path for code, path in cited.items() if code not in DEFINED} == {}


def test_every_id_that_a_test_or_a_case_cites_is_defined() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    cited = cited_in(*tests, *(ROOT / "conformance").rglob("case.json"))
    assert {code: path for code, path in cited.items() if code not in DEFINED} == {}


def test_every_requirement_has_a_test_a_case_or_an_example() -> None:
    covered = {r.code for r in REQUIREMENTS if r.examples}
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            text = path.read_text("utf-8")
            covered |= set(ID.findall(text))
            covered |= {f"{name[:2].upper()}-{name[2:]}" for name in re.findall(r"def test_([a-z][a-z0-9]\d{3})_", text)}
    for path in (ROOT / "conformance").rglob("case.json"):
        covered |= set(json.loads(path.read_text("utf-8")).get("covers", ()))
    assert sorted(DEFINED - covered) == []


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.code)
def test_every_requirement_is_one_sentence_that_binds(requirement: Requirement) -> None:
    text = without_code(requirement.paragraph)
    assert len(VERBS.findall(text)) == 1, text
    assert re.search(r"\(Since \d+\.\d+\.(?: Observed: [^()]+\.)?\)\s*$", text), text


@pytest.mark.parametrize("path", sorted(SPEC.glob("*.md")), ids=lambda path: path.name)
def test_requirement_words_are_nowhere_in_lower_case(path: Path) -> None:
    assert re.findall(r"\b(?:must|should|may|Must|Should|May)\b", without_code(parse_chapter(path).prose)) == []


def test_index_lists_every_chapter_with_its_prefix_and_module() -> None:
    rows = {re.sub(r"\[.*?\]\((.*?)\)", r"\1", row[0]): row[1:] for row in table("README.md", columns=3)}
    assert {name: prefix for name, (prefix, _) in rows.items()} == {c.name: c.requirements[0].code[:2] for c in PARSED}
    for name, (_, modules) in rows.items():
        for module in modules.replace("`", "").split(", "):
            assert (ROOT / module).exists(), f"{name}: {module}"


def test_changes_list_exactly_the_defined_ids() -> None:
    text, found = (SPEC / "changes.md").read_text("utf-8"), []
    for prefix, first, last in re.findall(r"\b([A-Z][A-Z0-9])-(\d{3})(?: to [A-Z][A-Z0-9]-(\d{3}))?", text):
        found += [f"{prefix}-{number:03}" for number in range(int(first), int(last or first) + 1)]
    assert sorted(found) == sorted(DEFINED)


def test_table_of_limits_is_the_code_s() -> None:
    want = {code: (name, default) for code, name, default in (row[:3] for row in table("limits.md", columns=4))}
    source = (ROOT / "refser/limits.py").read_text("utf-8")
    codes = dict(re.findall(r"^    (\w+): .*\[(LI-\d{3})\]$", source, re.MULTILINE))
    found = {
        codes[f.name]: (f.name, f"{f.default:,}" if type(f.default) is int else str(f.default).lower()) for f in fields(Limits)
    }
    assert found == want


def test_table_of_dtypes_is_the_code_s() -> None:
    rows = [(name, int(size), int(bits)) for name, _, size, bits in table("values.md", columns=4)]
    sizes = {name: (0 if kind == "S" else int(kind[1:])) for name, (kind, _) in DTYPES.items()}
    assert rows == [(name, sizes[name], bits) for name, (_, bits) in DTYPES.items()]


# ------------------------------------------------------------------------------------------------------ running the examples
def run_file(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    path = folder / example.get("name", "model")
    put(path, example["file"])
    check_read(path, example)


def run_folder(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    put(folder / "model", {"folder": example["folder"]})
    check_read(folder / "model" / example["open"] if "open" in example else folder / "model", example)


def check_read(path: Path, example: dict[str, Any]) -> None:
    limits = Limits(**example.get("limits", {}))

    def read() -> dict[str, Any]:
        with refser.open(path, limits=limits) as file:
            if "code" in example:
                assert file.load() is not None
                return {"config": file.config}
            full = isinstance(example.get("weights"), dict)
            return {
                "layout": file.layout,
                "generation": file.generation,
                "weights": {p: weight_shown(w) for p, w in file.weights.items()} if full else list(file.weights),
                "names": {group.path: group.name for group in file.groups},
                "config": file.config_json,
                "training_config": file.training_config,
                "metadata": dict(file.metadata),
                "assets": {name: data.decode("utf-8") for name, data in file.assets.items()},
                "warns": [problem.code for problem in file.problems],
            }

    found = outcome(example, read)
    if found is not None:
        assert {key: found[key] for key in found if key in example} == {key: example[key] for key in found if key in example}
        for key in ("weights", "names"):
            assert list(found[key]) == list(example.get(key, found[key])), key


def weight_shown(weight: Weight) -> dict[str, Any]:
    return {"dtype": weight.dtype, "shape": list(weight.shape), "hex": weight.tobytes().hex()}


def run_write(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    put(folder, {"folder": example.get("present", {})})
    model = model_of(example["model"])
    options = {key: example[key] for key in ("layout", "overwrite") if key in example}
    if "max_shard_bytes" in example:
        options["max_shard_size"] = example["max_shard_bytes"] / 2**30
    path = folder / example["write"]

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with patch.context() as inner:
        if example.get("disk") == "full":
            inner.setattr(os, "fsync", no_space)
        outcome(example, lambda: refser.save(model, path, **options))
    if "files" in example:
        found = sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if not entry.is_dir())
        assert found == sorted(example["files"])
        for name, text in example["files"].items():
            assert text is None or (folder / name).read_text("utf-8") == text
    if "folders" in example:
        assert (
            sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_dir()) == example["folders"]
        )
    if "index" in example:
        assert list(json.loads(path.read_bytes())["weight_map"].items()) == list(example["index"]["weight_map"].items())
        assert path.read_text("utf-8") == json.dumps(example["index"], indent=4)
    if "members" in example:
        with zipfile.ZipFile(path) as archive:
            assert [member_shown(archive, info) for info in archive.infolist()] == example["members"]
    if "starts" in example:
        assert path.read_bytes().hex().startswith(example["starts"])
    if "tree" in example:
        with h5py.File(path / "model.weights.h5" if path.is_dir() else path, "r") as file:
            assert described(file) == example["tree"]
    for name, tree in example.get("trees", {}).items():
        with h5py.File(folder / name, "r") as file:
            assert described(file) == tree
    if "again_after" in example:
        time.sleep(example["again_after"])
        first = path.read_bytes()
        refser.save(model, path, **options | {"overwrite": True})
        assert path.read_bytes() == first


def member_shown(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    mode, date = f"{info.external_attr >> 16:o}", "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*info.date_time)
    assert (info.flag_bits & ~0x800, info.extra, info.comment, info.create_system) == (0, b"", b"", 3)
    return {"name": info.filename, "method": info.compress_type, "date": date, "mode": mode}


def model_of(node: dict[str, Any]) -> Model:
    return Model(
        generation=node.get("generation", "v3"),
        config_json=node.get("config"),
        training_config=node.get("training_config"),
        metadata=node.get("metadata", {}),
        weights={path: weight_of(path, inner) for path, inner in node.get("weights", {}).items()},
        assets={name: data_of(text) for name, text in node.get("assets", {}).items()},
        groups=tuple(
            WeightGroup(path=g["path"], name=g.get("name"), keys=tuple(g.get("keys", ()))) for g in node.get("groups", ())
        ),
    )


def weight_of(path: str, node: dict[str, Any]) -> Weight:
    shape, dtype = tuple(node.get("shape", ())), node["dtype"]
    size = 1 if dtype == "string" else np.dtype(DTYPES[dtype][0]).itemsize
    data = bytes.fromhex(node["hex"]) if "hex" in node else bytes(math.prod(shape) * size)
    big = node.get("byte_order") == "big"
    return Weight(path=path, dtype=dtype, shape=shape, big_endian=big, source=ByteRange(MemoryBytes(data), 0, len(data)))


def run_values(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    """With the library that has bfloat16 and float8, and without it."""
    weight = weight_of("vars/0", {"shape": [len(example["values"])]} | example)
    want = [math.nan if value == "nan" else math.inf if value == "inf" else value for value in example["values"]]
    for module in ("no such module", "ml_dtypes"):
        patch.setitem(sys.modules, module, None)
        np.testing.assert_array_equal(weight.array().astype(np.complex128), np.array(want, dtype=np.complex128))
    if "widened" in example:
        assert weight.array().dtype == example["widened"]


def run_equal(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    first, second = (weight_of("vars/0", {"dtype": example["dtype"], "hex": example[key]}) for key in ("first", "second"))
    assert (first == second) is example["equal"]


def run_json(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    limits = Limits(**example.get("limits", {}))

    def read() -> Any:
        text = jsonio.decode_text(data_of(example["json"]), limits=limits, at="text")
        return (jsonio.parse_object if example.get("wanted") == "object" else jsonio.parse)(text, limits=limits, at="text")

    assert outcome(example, read) == example.get("value")


def run_json_written(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    value = math.nan if example["value"] == "nan" else example["value"]
    assert outcome(example, lambda: jsonio.dump(value, at="text", indent=example.get("indent"))) == example.get("written")


def run_keys(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    assert natural(example["keys"]) == example["order"]


def run_path(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    split = split_legacy_path if example.get("generation") == "legacy" else split_v3_path
    found = outcome(example, lambda: split(example["path"]))
    assert found is None or found == (example["group"], example["key"])


def run_name_list(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    data = data_of({"tree": {f"@{name}": value for name, value in example["attributes"].items()}})
    root = hdf5.read_tree(MemorySource(data, "list.h5"), limits=Limits())
    assert outcome(example, lambda: read_name_list(root, "layer_names")) == example.get("layer_names")


def run_name_list_written(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    root = hdf5.NewGroup()
    outcome(example, lambda: write_name_list(root, "layer_names", example["names"], limit=example["limit"]))
    if "code" in example:
        return
    hdf5.write_tree(str(folder / "list.h5"), root)
    with h5py.File(folder / "list.h5", "r") as file:
        assert described(file) == {f"@{name}": value for name, value in example["attributes"].items()}


def run_limit(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    assert getattr(Limits(), example["limit"]) == example["default"]


def run_named(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    assert outcome(example, lambda: layout_for(example["named"], model_of(example["of"]))) == example.get("layout")


READ = f"layout generation weights names config training_config metadata assets warns limits {REFUSED}"
WRITE = f"layout overwrite max_shard_bytes present disk files folders index members starts tree trees again_after {REFUSED}"
# Keys an example has, keys it can have -> what runs it.
RUNNERS: dict[tuple[str, str], Run] = {
    ("file", f"name {READ}"): run_file,
    ("folder", f"open {READ}"): run_folder,
    ("model write", WRITE): run_write,
    ("dtype hex values", "byte_order widened"): run_values,
    ("dtype first second equal", ""): run_equal,
    ("json", f"value wanted limits {REFUSED}"): run_json,
    ("value", f"written indent {REFUSED}"): run_json_written,
    ("keys order", ""): run_keys,
    ("path", f"generation group key {REFUSED}"): run_path,
    ("attributes", f"layer_names {REFUSED}"): run_name_list,
    ("names limit", f"attributes {REFUSED}"): run_name_list_written,
    ("limit default", ""): run_limit,
    ("named of", f"layout {REFUSED}"): run_named,
    **BYTE_RUNNERS,
    **CONFIG_RUNNERS,
    **RULE_RUNNERS,
    **VALIDATE_RUNNERS,
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.code or 'example'}@{example.where}")
def test_example_runs(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(example.text)
    keys = set(value)
    runners = [run for (has, can), run in RUNNERS.items() if set(has.split()) <= keys <= set(f"{has} {can}".split())]
    assert len(runners) == 1, f"{len(runners)} kinds of example have the keys {sorted(keys)}"
    if example.code and "disk" not in value:  # a full disk is IO-003, whatever else it shows
        common = COMMON_CODES if {"base", "structure"} & set(value) else set()
        assert value.get("code", example.code) in {example.code, *common}, "an example of another requirement"
    told = [*value.get("codes", ()), *value.get("infos", ())]
    if example.code and told and value["verdict"] != "valid" and not example.code.startswith("VR"):
        assert example.code in told, "an example of another requirement"
    runners[0](value, tmp_path, monkeypatch)
