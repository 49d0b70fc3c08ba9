"""`refser validate`: which files it looks at, what it says of them, how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import CONFIG, FUNCTIONAL, GOLDEN, HOSTILE, LEGACY, SHARDED, UNPRINTABLE, WEIGHTS, cli, new_h5, process

import refser
from refser.checks.report import Report, error, info, unsafe, warning
from refser.cli import _parser
from refser.cli import validate as command
from refser.cli._files import gather
from refser.cli._screen import Paint

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
OUTSIDE = '{"weight_map": {"/vars": "../outside.h5"}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An invalid, an unsafe and a valid file, the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lfs.keras").write_text(LFS)
    (tmp_path / "out.weights.json").write_text(OUTSIDE)
    shutil.copy(FUNCTIONAL, tmp_path / "model.keras")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["model.keras"], 0),
        (["lfs.keras"], 1),
        (["out.weights.json"], 1),
        (["missing.keras"], 2),
        (["model.keras", "missing.keras"], 2),
        (["missing.keras", "lfs.keras", "model.keras"], 1),
        (["."], 1),
    ],
)
def test_cl041_exit_code_is_that_of_the_worst_file(files: list[str], code: int, folder: Path) -> None:
    for form in ([], ["--json"], ["--sarif"], ["--quiet"]):
        assert cli("validate", *files, *form).code == code


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--json"],
        ["a", "--json", "--sarif"],
        ["a", "--explain", "WT-001"],
        ["--explain", "WT-001", "--json"],
        ["a", "--suppress", "wt-999"],
        ["a", "--suppress", ""],
        ["a", "--limit", "allow_libhdf5=1"],
        ["a", "--no-libhdf5"],
        ["a", "--dee"],
    ],
)
def test_cl041_usage_ends_with_2_in_one_line(args: list[str]) -> None:
    """CL-002, CL-046."""
    told = cli("validate", *args)
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert re.search(r"; see refser (validate )?--help\n$", told.err)


def test_cl042_folders_are_searched_and_models_are_one(folder: Path) -> None:
    for name in ("b/sub", "a", ".hidden", "b/.git"):
        (folder / name).mkdir(parents=True)
    for name in ("b/sub/z.H5", "b/x.hdf5", "a/legacy.h5", ".hidden/no.keras", "b/.git/no.keras", ".no.keras"):
        shutil.copy(LEGACY, folder / name)
    refser.save(refser.load(FUNCTIONAL), folder / "b/dir")
    shutil.copy(FUNCTIONAL, folder / "b/dir/other.keras")
    shutil.copy(CONFIG, folder / "b/config.json")
    (folder / "b/package.json").write_text('{"name": "x", "config": {}}')
    (folder / "b/broken.json").write_text('{"class_name": "Sequential", "config": ')
    (folder / "b/readme.txt").write_text("x")
    (folder / "saved").mkdir()
    (folder / "saved/saved_model.pb").write_bytes(b"")
    found = gather(["model.keras", ".", "model.keras", "a"], refser.Limits())
    assert found.files == [
        "model.keras",
        "lfs.keras",
        "out.weights.json",
        "a/legacy.h5",
        "b/broken.json",
        "b/config.json",
        "b/x.hdf5",
        "b/dir",
        "b/dir/other.keras",
        "b/sub/z.H5",
        "saved",
    ]
    assert (found.skipped, found.links) == (3, 0)  # package.json, readme.txt, .no.keras
    shown = cli("validate", "b")
    assert "b/dir: valid (model folder, Keras 3.15.1, 1 warning)" in shown.lines  # KD-004: other.keras
    assert shown.err == "refser: note: 2 files in folders skipped, no Keras model by name\n"
    assert gather(["b/dir"], refser.Limits()).files == ["b/dir", "b/dir/other.keras"]


def test_cl042_a_shard_belongs_to_its_index_unless_it_is_a_model(tmp_path: Path) -> None:
    for part in Path(SHARDED).parent.glob("functional.sharded*"):
        shutil.copy(part, tmp_path)
    shutil.copy(WEIGHTS, tmp_path / "alone.weights.h5")
    shutil.copy(LEGACY, tmp_path / "hidden_00000.weights.h5")
    (tmp_path / "hidden.weights.json").write_text('{"weight_map": {"/vars": ["hidden_00000.weights.h5", "no.h5"], "/x": 1}}')
    (tmp_path / "empty.weights.json").write_text('{"weight_map": {}}')
    shutil.copy(WEIGHTS, tmp_path / "empty_00000.weights.h5")
    (tmp_path / "broken.weights.json").write_text("{")
    names = [os.path.basename(path) for path in gather([str(tmp_path)], refser.Limits()).files]
    assert names == [
        "alone.weights.h5",
        "broken.weights.json",
        "empty.weights.json",
        "functional.sharded.weights.json",
        "hidden.weights.json",
        "hidden_00000.weights.h5",
    ]


def test_cl042_a_folder_without_models_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for path in ("empty", "."):
        assert gather([path], refser.Limits()).files == [path]
        assert cli("validate", path).code == 1


def test_cl043_links_are_not_followed_unless_asked(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "link.keras").symlink_to(FUNCTIONAL)
    (models / "loop").symlink_to(models)
    (models / "dangling.keras").symlink_to("nowhere")
    found = gather([str(models)], refser.Limits())
    assert (found.files, found.links) == ([str(models)], 3)
    assert cli("validate", models).err == "refser: note: 3 symbolic links not followed (--follow-symlinks)\n"
    found = gather([str(models)], refser.Limits(follow_symlinks=True))
    assert [os.path.basename(path) for path in found.files] == ["dangling.keras", "link.keras"]
    assert cli("validate", models / "link.keras").code == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_cl043_a_folder_that_cannot_be_read_is_unchecked(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert gather([str(tmp_path)], refser.Limits()).files == [str(closed)]
    assert cli("validate", tmp_path).code == 2


def test_cl044_the_report_names_verdict_layout_and_version(folder: Path) -> None:
    shown = cli("validate", "model.keras", "lfs.keras", "missing.keras")
    assert shown.lines[0] == "model.keras: valid (.keras archive, Keras 3.15.1)"
    assert shown.lines[1] == "lfs.keras: invalid (1 error)"
    assert shown.lines[2].startswith("  error FT-004 a git-LFS pointer for a file of 9 bytes")
    assert "    hint: run `git lfs pull`" in shown.lines
    assert shown.lines[-1] == "3 files: 1 invalid, 1 unchecked, 1 valid"
    assert cli("validate", "model.keras").lines == shown.lines[:1]


def test_cl044_problems_are_grouped_wrapped_and_counted() -> None:
    long = [error("WT-001", "word " * 60, f"config.layers[{number}]", "do it") for number in range(23)]
    problems = (unsafe("SF-001", "bad", "config"), *long, warning("KZ-010", "odd"), info("KZ-011", "so"))
    report = Report(path="m.keras", layout="keras-zip", problems=problems, suppressed=2)
    lines = list(command.report_lines(report, 80, Paint(False)))
    assert lines[0] == "m.keras: unsafe (.keras archive, 24 errors, 1 warning, 2 suppressed)"
    assert lines[1] == "  error SF-001 config: bad"
    assert lines[-2:] == ["  warning KZ-010 odd", "  and 3 more problems of WT-001; --json has all"]
    assert max(map(len, lines)) <= 80
    assert sum(line == "    hint: do it" for line in lines) == 20
    assert "  info KZ-011 so" in command.report_lines(report, 80, Paint(False), everything=True)
    coloured = "\n".join(command.report_lines(report, 80, Paint(True)))
    assert "\x1b[31munsafe\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == "\n".join(lines)


def test_cl044_hostile_names_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-006."""
    monkeypatch.chdir(tmp_path)
    new_h5(tmp_path / f"{HOSTILE}.weights.h5", HOSTILE)
    (tmp_path / f"{HOSTILE}.keras").write_text("x")
    for form in ([], ["--json"], ["--sarif"]):
        shown = cli("validate", ".", f"missing{HOSTILE}\udcff", *form)
        assert shown.code == 1
        assert not UNPRINTABLE.search(shown.out + shown.err)


def test_cl045_quiet_leaves_out_what_is_valid(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")
    quiet = cli("validate", ".", "--quiet")
    assert [line.split(":")[0] for line in quiet.lines if not line.startswith(" ")] == ["lfs.keras", "out.weights.json"]
    assert quiet.err == ""
    assert cli("validate", "model.keras", "--quiet").out == ""
    told = [json.loads(line)["file"] for line in cli("validate", ".", "--quiet", "--json").lines]
    assert told == ["lfs.keras", "out.weights.json"]


def test_cl046_suppressed_codes_are_left_out(folder: Path) -> None:
    shown = cli("validate", "lfs.keras", "out.weights.json", "--suppress", "ft-004, WT-001", "--suppress", "SH-003", "--json")
    assert shown.code == 0
    assert [(it["verdict"], it["suppressed"]) for it in map(json.loads, shown.lines)] == [("valid", 1), ("valid", 1)]
    told = cli("validate", "lfs.keras", "--suppress", "ft-994")
    assert told.err.startswith("refser: argument --suppress: no requirement has the ID 'FT-" + "994'; there is FT-0")


def test_cl047_every_file_has_an_object_by_the_schema(folder: Path) -> None:
    """CL-010, CL-011."""
    files = ["lfs.keras", "missing.keras", "model.keras", "out.weights.json"]
    found = [cli("validate", name, "--json").json for name in files]
    assert [it["file"] for it in found] == files
    assert [it["verdict"] for it in found] == ["invalid", "unchecked", "valid", "unsafe"]
    assert [it["layout"] for it in found] == [None, None, "keras-zip", "weights-sharded"]
    assert found[2]["statistics"] == {**found[2]["statistics"], "keras_version": "3.15.1", "weights": 55, "assets": 0}
    assert [json.loads(line) for line in cli("validate", *files, "--json").lines] == found


def test_cl047_objects_come_as_soon_as_they_are_known(folder: Path) -> None:
    slow = (
        "import time, refser.api as a, refser.cli.__main__ as m\n"
        "real = a.validate\n"
        "a.validate = lambda path, **o: real(path, **o) if path == 'model.keras' else time.sleep(60)\n"
        "m.run()"
    )
    run = process("validate", "--json", "model.keras", "lfs.keras", code=slow)
    assert run.stdout
    assert json.loads(run.stdout.readline())["file"] == "model.keras"
    run.terminate()
    assert (run.communicate(timeout=20), run.returncode) == ((b"", b""), 143)


def test_vr007_not_enough_memory_for_a_file_stops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = refser.validate

    def validate(path: str, **options: Any) -> Report:
        if path == "model.keras":
            raise MemoryError
        return real(path, **options)

    monkeypatch.setattr("refser.api.validate", validate)
    found = [json.loads(line) for line in cli("validate", "model.keras", "lfs.keras", "--json").lines]
    assert [it["verdict"] for it in found] == ["unchecked", "invalid"]


def test_cl047_warnings_count_for_strict(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    shutil.copy(FUNCTIONAL, path)
    found = cli("validate", path, "--json").json
    assert [it["code"] for it in found["problems"] if it["severity"] != "info"] == ["FT-002"]
    assert cli("validate", path).code == 0
    assert cli("validate", path, "--strict").code == 1


def test_cl048_a_target_is_a_version_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    from refser.checks import target

    def read_target(text: str) -> str:
        if text != "keras==3.12":
            raise ValueError(f"{text!r} is no version of Keras; wanted keras==3.12")
        return text

    monkeypatch.setattr(target, "read_target", read_target, raising=False)
    told = cli("validate", "x", "--target", "torch")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("refser: argument --target: 'torch' is no version of Keras")
    args = _parser.parser().parse_args(["validate", "x", "--target", "keras==3.12"])
    assert args.target == "keras==3.12"


def test_options_reach_the_validator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def validate(path: str, **options: object) -> Report:
        seen.update(options, path=path)
        return Report(path=path)

    monkeypatch.setattr("refser.api.validate", validate)
    words = "--strict --values --deep --also-allow my>A --also-allow b.C --suppress WT-001 --limit shards=3"
    assert cli("validate", "model.keras", *words.split()).code == 0
    limits = seen.pop("limits")
    assert (limits.shards, limits.allow_libhdf5, limits.follow_symlinks) == (3, False, False)
    assert seen == {
        "path": "model.keras",
        "strict": True,
        "values": True,
        "deep": True,
        "target": None,
        "also_allow": ["my>A", "b.C"],
        "suppress": {"WT-001"},
    }


def test_cl049_libhdf5_is_asked_for() -> None:
    for words, allowed in (([], False), (["--allow-libhdf5"], True)):
        args = _parser.parser().parse_args(["validate", "x", *words])
        assert _parser.limits_of(args).allow_libhdf5 is allowed


@pytest.mark.parametrize("code", ["WT-014", "wt-014"])
def test_cl050_explanation_is_the_text_of_the_specification(code: str) -> None:
    shown = cli("validate", "--explain", code)
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0].startswith("WT-014 ")
    assert "MUST" in shown.out or "SHOULD" in shown.out
    assert "spec/weight-trees.md" in shown.lines
    assert max(map(len, shown.lines)) <= 80


def test_cl050_every_requirement_is_known() -> None:
    from test_spec import REQUIREMENTS

    from refser.cli._explain import requirements

    known = requirements()
    assert set(known) == {it.code for it in REQUIREMENTS}
    for it in REQUIREMENTS:
        assert known[it.code].text.split() == re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", it.paragraph).split(), it.code
        assert len(known[it.code].examples) == it.examples


def test_cl051_an_unknown_code_has_neighbours() -> None:
    told = cli("validate", "--explain", "wt-999")
    assert (told.code, told.out) == (2, "")
    assert re.fullmatch(r"refser: no requirement has the ID 'WT-9{3}'; there is WT-\d{3}, WT-\d{3} and WT-\d{3}\n", told.err)


def test_cl051_without_the_specification_any_code_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from refser.cli import _explain

    monkeypatch.setattr(_explain, "requirements", dict)
    assert _explain.unknown("WT-001") is None
    assert _explain.unknown("nonsense")
    assert cli("validate", "--explain", "WT-001").err == "refser: the text of the specification is not installed\n"


SLOW = {"numpy", "h5py", "dataclasses", "inspect", "fsspec", "refser.atomic", "difflib"}


@pytest.mark.parametrize("name", ["functional.keras", "functional.weights.h5", "functional.legacy.h5"])
def test_validate_loads_nothing_slow(name: str) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "refser", "validate", "--json", str(GOLDEN / "keras-3.15.1" / name)]
    run = subprocess.run(words, capture_output=True, check=True)
    out, err = run.stdout, run.stderr
    assert b"valid" in out
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in err.splitlines()}
    assert "refser.checks" in loaded
    assert SLOW & loaded == set()


def test_cl005_a_closed_pipe_ends_without_a_word(folder: Path) -> None:
    run = process("validate", *[f"missing{number}" for number in range(3000)], "--json")
    assert run.stdout
    run.stdout.read(10)
    run.stdout.close()
    assert run.stderr
    assert (run.stderr.read(), run.wait()) == (b"", 141)
