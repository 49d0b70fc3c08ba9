"""What `refser weights` lists and extracts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import (
    CONFIG,
    FUNCTIONAL,
    GOLDEN,
    HOSTILE,
    LEGACY,
    MIXED,
    SHARDED,
    TEXT,
    Outcome,
    cli,
    new_h5,
)
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser.cli import _extract
from refser.cli.__main__ import main


def test_cl021_list_is_in_columns_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["weights", TEXT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "layers/dense/vars/0      float32  [3,2]  24"
    assert len({line.index("float32") for line in lines}) == 1


def test_cl021_file_without_weights_lists_nothing() -> None:
    assert cli("weights", CONFIG) == Outcome(0, "", "")


def test_cl022_patterns_choose_weights() -> None:
    paths = [line.partition("\t")[0] for line in cli("weights", TEXT, "--match", "*/1", "--match", "*embed*").lines]
    assert paths == ["layers/dense/vars/1", "layers/embedding/vars/0"]
    none = cli("weights", TEXT, "--match", "dense")
    assert (none.code, none.out) == (2, "")
    assert none.err.endswith("[CL-022]\n")


@pytest.mark.parametrize("source", [FUNCTIONAL, LEGACY, SHARDED, TEXT])
def test_cl023_archive_has_every_array_under_its_path(source: str, tmp_path: Path) -> None:
    told = cli("weights", source, "--out", tmp_path / "a.npz", "--json").json
    assert told["out"] == {"path": str(tmp_path / "a.npz"), "kind": "npz"}
    want = refser.load_weights(source)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == list(want)
        for path, array in want.items():
            assert (archive[path].dtype, archive[path].shape) == (array.dtype, array.shape)
            assert archive[path].tobytes() == array.tobytes()
    assert sorted(os.listdir(tmp_path)) == ["a.npz"]


@pytest.mark.parametrize("source", [FUNCTIONAL, LEGACY, GOLDEN / "keras-2.2.4/sequential.legacy.h5"])
def test_cl024_folder_has_every_array_in_a_file(source: str, tmp_path: Path) -> None:
    told = cli("weights", source, "--out", tmp_path / "a", "--json").json
    want = refser.load_weights(source)
    assert [entry["path"] for entry in told["weights"]] == list(want)
    for entry in told["weights"]:
        array = np.load(tmp_path / "a" / entry["file"])
        assert (array.dtype.name, array.shape) == (entry["saved_dtype"], tuple(entry["shape"]))
        assert array.tobytes() == want[entry["path"]].tobytes()
    assert len([path for path in (tmp_path / "a").rglob("*") if path.is_file()]) == len(want)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("layers/dense/vars/0", "layers/dense/vars/0.npy"),
        ("dense_1/kernel:0", "dense_1/kernel%3A0.npy"),
        ("größe/0", "größe/0.npy"),
        ("a.b/c d", "a.b/c d.npy"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd.npy"),
        (".ssh/x.", "%2Essh/x%2E.npy"),
        ("a /b\\c", "a%20/b%5Cc.npy"),
        ("nul/com1.x", "%6Eul/%63om1.x.npy"),
        ("a.npy/b", "a%2Enpy/b.npy"),
        ("100%", "100%25.npy"),
        ("\x1b\u202e", "%1B%E2%80%AE.npy"),
    ],
)
def test_cl024_names_are_made_safe(path: str, want: str) -> None:
    assert _extract.file_names([path]) == [want]


def test_cl024_names_that_differ_in_case_or_form_alone_stay_apart() -> None:
    assert _extract.file_names(["A/x", "a/x", "a/X", "é", "e\u0301"]) == [
        "A/x.npy",
        "a/x~2.npy",
        "a/X~3.npy",
        "é.npy",
        "e\u0301~2.npy",
    ]


component = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
component |= st.sampled_from(["a.npy", "A", "a", "..", ".", "CON", "x" * 255, "x" * 254 + "y", "%", "a~2"])


@given(paths=st.lists(st.lists(component, min_size=1, max_size=3).map("/".join), max_size=12, unique=True))
def test_cl024_no_name_leaves_the_folder_or_meets_another(paths: list[str]) -> None:
    files = _extract.file_names(paths)
    assert len({_extract._folded(file) for file in files}) == len(paths)
    folders = {_extract._folded(parent.as_posix()) for file in files for parent in list(Path(file).parents)[:-1]}
    assert not folders & {_extract._folded(file) for file in files}
    for file in files:
        event("as it is" if file[:-4] in paths else "made safe")
        for part in file.split("/"):
            assert part not in ("", ".", "..")
            assert part.isprintable()
            assert len(part.encode()) < 256
            assert not set(part) & set('<>:"\\|?*')
            assert part[0] != "."


def test_cl024_hostile_file_stays_below_the_folder(tmp_path: Path) -> None:
    path = new_h5(tmp_path / "a.weights.h5", HOSTILE, "..\\..\\up", "C:", "-rf", "a.npy", "A.npy")
    assert cli("weights", path, "--out", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path)) == ["a.weights.h5", "out"]
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 6


def test_cl025_nothing_is_replaced_unasked_nor_anything_but_arrays(tmp_path: Path) -> None:
    for out in (tmp_path / "a.npz", tmp_path / "a"):
        assert cli("weights", FUNCTIONAL, "--out", out).code == 0
        again = cli("weights", TEXT, "--out", out)
        assert (again.code, again.out) == (2, "")
        assert again.err.endswith("[IO-005]\n")
        assert cli("weights", TEXT, "--out", out, "--overwrite").code == 0
    assert len(list((tmp_path / "a").rglob("*.npy"))) == 3
    (tmp_path / "a" / "layers" / "mine.txt").write_text("mine")
    refused = cli("weights", TEXT, "--out", tmp_path / "a", "--force")
    assert refused.code == 2
    assert refused.err.endswith("[CL-025]\n")
    (tmp_path / "free").mkdir()
    assert cli("weights", TEXT, "--out", tmp_path / "free").code == 0
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "layers").symlink_to(tmp_path / "free")
    assert cli("weights", TEXT, "--out", tmp_path / "linked", "--overwrite").code == 2
    assert sorted(os.listdir(tmp_path)) == ["a", "a.npz", "free", "linked"]


@pytest.mark.parametrize("out", ["a", "a.npz"])
def test_cl025_extraction_that_fails_leaves_nothing(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = refser.MalformedError(refser.Problem(code="H5-011", message="odd"))
    whole, calls = refser.Weight.array, []

    def array(self: refser.Weight) -> Any:
        calls.append(self.path)
        if len(calls) > 2:
            raise fault
        return whole(self)

    monkeypatch.setattr(refser.Weight, "array", array)
    failed = cli("weights", TEXT, "--out", tmp_path / out)
    assert (failed.code, failed.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("with_ml_dtypes", [True, False])
def test_cl026_narrow_floats_are_widened_and_it_is_said(
    with_ml_dtypes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_ml_dtypes:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    told = cli("weights", MIXED, "--out", tmp_path / "a.npz", "--json")
    assert told.err == "refser: note: bfloat16 arrays are written as float32, which holds them exactly\n"
    kinds = {(weight["dtype"], weight["saved_dtype"]) for weight in told.json["weights"]}
    assert kinds == {("float32", "float32"), ("bfloat16", "float32")}
    with refser.open(MIXED) as file, np.load(tmp_path / "a.npz") as archive:
        for path, weight in file.weights.items():
            assert archive[path].dtype == np.float32
            if weight.dtype == "bfloat16":
                assert archive[path].view("<u4").reshape(-1).tolist() == [
                    bits << 16 for bits in np.frombuffer(weight.tobytes(), "<u2").tolist()
                ]


def test_cl026_no_word_where_nothing_is_widened(tmp_path: Path) -> None:
    assert cli("weights", TEXT, "--out", tmp_path / "a") == Outcome(0, f"wrote 3 arrays, 116 B, to {tmp_path / 'a'}\n", "")
