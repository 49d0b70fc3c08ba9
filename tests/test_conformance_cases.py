"""The cases of conformance/: their form, what they cover, that they can be made again, and that refser passes all of them."""

from __future__ import annotations

import filecmp
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import pytest

ROOT = Path(__file__).parents[1]
CONFORMANCE = ROOT / "conformance"
CASES = {path.parent: json.loads(path.read_text("utf-8")) for path in sorted(CONFORMANCE.glob("cases/*/*/case.json"))}
SCHEMA: dict[str, Any] = json.loads((CONFORMANCE / "case.schema.json").read_text("utf-8"))
PROFILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(CONFORMANCE.glob("profiles/*.json"))}
MEGABYTES_MAX = 20
# Files that hold a time, or what was in the memory of libhdf5 when it wrote them.
CHANGING = re.compile(r"unusual/dated/|hostile/hdf5-virtual|hdf5/h5-003-")


def definition(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


def test_every_case_has_the_form_of_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    of_case = jsonschema.Draft202012Validator(SCHEMA)
    wrong = {folder.name: error.message for folder, case in CASES.items() for error in of_case.iter_errors(case)}
    assert wrong == {}


def test_expectations_and_descriptions_have_the_form_of_the_schema() -> None:
    reading, tree, description = definition("reading"), definition("tree"), definition("description")
    for folder, case in CASES.items():
        if "expect" in case:
            (tree if case["kind"] == "tree" else reading).validate(json.loads((folder / case["expect"]).read_text("utf-8")))
        if case["kind"] == "write":
            about = json.loads((folder / case["input"]).read_text("utf-8"))
            description.validate(about)
            assert about["output"] == case["output"]


def test_the_schema_refuses_what_is_no_case() -> None:
    of_case = jsonschema.Draft202012Validator(SCHEMA)
    case = next(case for case in CASES.values() if case["kind"] == "reject" and case.get("verdict") == "invalid")
    assert of_case.is_valid(case)
    for change in (
        {"id": "Upper/case"},
        {"kind": "look"},
        {"verdict": "valid"},
        {"covers": ["X"]},
        {"more": 1},
        {"kind": "read"},
    ):
        assert not of_case.is_valid({**case, **change}), change


def test_every_id_is_its_place_and_every_file_is_there() -> None:
    assert [case["id"] for case in CASES.values()] == [f"{folder.parent.name}/{folder.name}" for folder in CASES]
    assert [case["id"] for folder, case in CASES.items() if not (folder / case["input"]).exists()] == []
    with_answer = {folder for folder, case in CASES.items() if "expect" in case}
    assert {path.parent for path in CONFORMANCE.glob("cases/*/*/expect.json")} == with_answer


def test_ids_are_one_to_a_file_system_that_knows_no_case() -> None:
    names = Counter(path.relative_to(CONFORMANCE).as_posix().lower() for path in CONFORMANCE.glob("cases/**/*"))
    assert [name for name, times in names.items() if times > 1] == []


def test_every_requirement_that_a_case_covers_is_defined() -> None:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "spec").glob("*.md"))
    defined = set(re.findall(r"^#### ([A-Z][A-Z0-9]-\d{3}) ", text, re.MULTILINE))
    cited = {code for case in CASES.values() for code in case["covers"]}
    cited |= {
        code
        for case in CASES.values()
        if "problem" in case
        for code in [case["problem"]["code"], *case["problem"].get("or", [])]
    }
    assert sorted(cited - defined) == []


def test_there_are_enough_of_every_kind_and_of_every_chapter() -> None:
    kinds = Counter(case["kind"] for case in CASES.values())
    chapters = {folder.parent.name for folder in CASES}
    assert len(CASES) >= 700
    assert sum(folder.parent.name not in ("hostile", "unusual") for folder in CASES) >= 400
    assert all(kinds[kind] >= least for kind, least in (("read", 250), ("reject", 450), ("tree", 40), ("write", 40))), kinds
    with_examples = {path.stem for path in (ROOT / "spec").glob("*.md") if "```example\n" in path.read_text("utf-8")}
    assert with_examples - {"introduction", "command-line", "targets"} - chapters == set()  # whose examples are no files


def test_the_suite_is_small() -> None:
    size = sum(path.stat().st_size for path in CONFORMANCE.glob("cases/**/*") if path.is_file())
    assert size < MEGABYTES_MAX << 20


# Profiles


def test_profiles_have_the_form_of_the_schema_and_name_cases() -> None:
    ids = {case["id"] for case in CASES.values()}
    for name, profile in PROFILES.items():
        definition("profile").validate(profile)
        assert profile["profile"] == name
        assert set(profile["cases"]) <= ids
        assert profile["cases"] == sorted(profile["cases"])


def test_the_profiles_are_there_and_hold_what_they_say() -> None:
    sets = {name: set(profile["cases"]) for name, profile in PROFILES.items()}
    assert {"core-reader", "full-reader", "weight-trees", "writer", "validator", "hostile"} <= set(sets)
    assert sets["core-reader"] < sets["full-reader"]
    assert sets["hostile"] <= sets["validator"]
    assert not sets["full-reader"] & sets["hostile"]
    by_id = {case["id"]: case for case in CASES.values()}
    assert {by_id[it]["kind"] for it in sets["core-reader"]} == {"read", "reject"}
    assert {by_id[it]["kind"] for it in sets["writer"]} == {"write"}


# Made again


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "cases"
    folder.mkdir()
    script = [sys.executable, str(CONFORMANCE / "make/run.py"), str(folder)]
    subprocess.run(script, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return folder


@pytest.mark.xdist_group("conformance-made")
def test_the_scripts_make_the_same_cases(made: Path) -> None:
    """The ids and what is said of each; a case that is not made by any script stays as it is."""
    here = {case["id"]: case for case in CASES.values()}
    again = {case["id"]: case for path in made.glob("*/*/case.json") for case in [json.loads(path.read_text("utf-8"))]}
    assert sorted(set(here) ^ set(again)) == []
    assert [name for name in here if here[name] != again[name]] == []
    for path in sorted(made.parent.glob("profiles/*.json")):
        assert json.loads(path.read_text("utf-8")) == PROFILES[path.stem]


@pytest.mark.xdist_group("conformance-made")
def test_the_scripts_make_the_same_bytes(made: Path) -> None:
    libhdf5 = made_with()
    files = {path.relative_to(made).as_posix(): path for path in sorted(made.glob("*/*/**/*")) if path.is_file()}
    here = {path.relative_to(CONFORMANCE / "cases").as_posix() for path in CONFORMANCE.glob("cases/*/*/**/*") if path.is_file()}
    assert sorted(set(files) ^ here) == []
    other = [
        name
        for name, path in files.items()
        if not CHANGING.match(name)
        and (libhdf5 or path.suffix == ".json")
        and not filecmp.cmp(path, CONFORMANCE / "cases" / name, shallow=False)
    ]
    assert other == []


def made_with() -> bool:
    """Whether this is the library that wrote the HDF5 files of the suite; another lays out the same arrays otherwise."""
    about = json.loads((CONFORMANCE / "make/made_with.json").read_text("utf-8"))
    return bool(about == {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version})


# refser


TOOL = f"{sys.executable} {CONFORMANCE / 'adapters/refser_tool.py'}"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CONFORMANCE / "run.py"), *words]
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONWARNINGS": ""})


def test_refser_passes_every_case() -> None:
    done = run("--server", f"{TOOL} --serve", "--reader-server", f"{TOOL} --serve")
    assert (done.returncode, done.stdout) == (0, f"{len(CASES)} cases: {len(CASES)} pass\n"), done.stdout + done.stderr


def test_refser_passes_as_one_process_for_each_case_too() -> None:
    command = f"{TOOL} {{kind}} {{input}} {{output}} {{keras}}"
    few = [
        word for name in ("keras-zip/kz-00*", "weight-trees/wt-017*", "weights-sharded/sh-00*") for word in ("--filter", name)
    ]
    done = run("--tool", command, "--reader", f"{TOOL} {{kind}} {{input}}", *few)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"(\d+) cases: \1 pass\n", done.stdout)


WRITTEN = [folder for folder, case in CASES.items() if case["kind"] == "write" and "problem" not in case]


@pytest.mark.parametrize("folder", WRITTEN, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_h5py_finds_in_what_refser_writes_what_the_case_expects(folder: Path, tmp_path: Path) -> None:
    """A reader that shares nothing with the writer."""
    sys.path[:0] = [str(CONFORMANCE / "make"), str(CONFORMANCE / "adapters")]
    try:
        from expected import describe
        from refser_tool import write
    finally:
        del sys.path[:2]
    case = CASES[folder]
    assert write(str(folder / case["input"]), str(tmp_path / case["output"])) == {"result": "written"}
    expect, found = json.loads((folder / "expect.json").read_text("utf-8")), describe(tmp_path / case["output"])
    same = ("layout", "weights", "names", "config_sha256", "assets", "metadata")
    assert {key: found[key] for key in same if key in expect and key in found} == {
        key: expect[key] for key in same if key in found and key in expect
    }


def test_the_real_files_hold_as_many_weights_as_ever() -> None:
    """A suite that lost its expectations would pass as well."""
    real = [folder for folder, case in CASES.items() if folder.parent.name == "real" and case["kind"] == "read"]
    weights = [len(json.loads((folder / "expect.json").read_text("utf-8"))["weights"]) for folder in real]
    assert (len(real) >= 140, sum(weights) >= 2000) == (True, True), (len(real), sum(weights))
