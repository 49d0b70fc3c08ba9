"""Reading that goes on after a fault, and containers that are no archives (KD-007 to KD-010, SH-013 to SH-016)."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import CONFIG, GOLDEN, KERNEL, central, dense, h5_bytes, hostile, keras_members, patched, write, zip_bytes

import refser
from refser.checks.container import check_container
from refser.checks.report import Finding, of_error, of_problem
from refser.checks.subject import Options, Subject
from refser.layouts import ModelFile, open_layout
from refser.limits import UNTRUSTED_LIMITS, Limits

PATH = "layers/dense/vars/0"


class Looked:
    """A file that was opened with `refuse`, and all that was said of it."""

    def __init__(self, path: Path, limits: Limits = UNTRUSTED_LIMITS) -> None:
        self.found: list[Finding] = []
        with open_layout(str(path), limits=limits, refuse=lambda error: self.found.append(of_error(error))) as file:
            self.layout, self.unread, self.left_out = file.layout, set(file.unread), set(file.left_out)
            self.config, self.weights, self.assets = file.config_json, list(file.weights), list(file.assets)
            self.groups = {group.path: group.keys for group in file.groups}
            subject = Subject(file, Options())
            self.found += [*map(of_problem, file.problems), *check_container(subject), *subject.found]

    @property
    def codes(self) -> list[tuple[str, str]]:
        shown = {(it.code, it.severity if it.severity != "error" else it.verdict) for it in self.found}
        return sorted(it for it in shown if it[1] != "info")


# --------------------------------------------------------------------------------------------------------------------- archive


def archive(tmp_path: Path, **changes: bytes | None) -> Path:
    members = {name: data for name, data in keras_members(**changes).items() if data is not None}  # type: ignore[arg-type]
    return write(tmp_path / "m.keras", zip_bytes(members))


def test_kz035_a_sound_archive_is_read_as_ever(tmp_path: Path) -> None:
    looked = Looked(archive(tmp_path))
    assert (looked.codes, looked.unread, looked.left_out) == ([], set(), set())
    assert (looked.config, looked.weights) == (CONFIG.decode(), [PATH])


@pytest.mark.parametrize(
    ("changes", "codes", "unread"),
    [
        ({"config__json": b"\xff"}, [("JS-001", "invalid")], {"config"}),
        ({"model__weights__h5": b"\x89HDF\r\n\x1a\nrest"}, [("H5-028", "unchecked")], {"weights"}),
        ({"model__weights__h5": b"hello"}, [("H5-005", "invalid")], {"weights"}),
        ({"metadata__json": b"[1]"}, [("JS-005", "warning")], {"metadata"}),
        ({"config__json": None}, [("KZ-009", "invalid")], {"config"}),
        ({"model__weights__h5": None}, [("KZ-009", "invalid")], {"weights"}),
        ({"metadata__json": None}, [("KZ-033", "warning")], set()),
        ({"metadata__json": None, "model__weights__h5": None}, [("KZ-009", "invalid"), ("KZ-033", "warning")], {"weights"}),
    ],
)
def test_kz035_a_fault_of_one_part_leaves_the_others(
    tmp_path: Path, changes: dict[str, bytes | None], codes: list[tuple[str, str]], unread: set[str]
) -> None:
    looked = Looked(archive(tmp_path, **changes))
    assert looked.layout == "keras-zip"
    assert looked.unread == unread
    assert [(code if code[:2] != "H5" else "H5") for code, _ in looked.codes] == [
        (code if code[:2] != "H5" else "H5") for code, _ in codes
    ]
    if codes[0][0][:2] != "H5":
        assert looked.codes == codes
    assert (looked.config is None) == ("config" in unread)
    assert (looked.weights == []) == ("weights" in unread)


def test_kz035_what_is_wrong_is_raised_when_nobody_takes_it(tmp_path: Path) -> None:
    with pytest.raises(refser.RefserError):
        open_layout(str(archive(tmp_path, config__json=b"\xff")), limits=UNTRUSTED_LIMITS)
    with pytest.raises(refser.RefserError):
        open_layout(str(archive(tmp_path, config__json=None)), limits=UNTRUSTED_LIMITS)


def test_kz035_npz_weights_are_unsafe_and_the_config_is_read(tmp_path: Path) -> None:
    looked = Looked(GOLDEN / "keras-3.15.1" / "functional.npz.keras")
    assert looked.codes == [("NZ-001", "unsafe")]
    assert looked.config is not None


def test_kz035_every_bad_member_is_told_and_left_out(tmp_path: Path) -> None:
    names = {"../x": b"", "assets/./y": b"", "assets/link": b"/etc/passwd", "assets/good": b"x"}
    data = zip_bytes(keras_members() | names)
    at = central(data, "assets/link")
    data = patched(data, ("<H", at + 4, 3 << 8 | 20), ("<L", at + 38, 0o120777 << 16))
    looked = Looked(write(tmp_path / "m.keras", data))
    assert looked.codes == [("KZ-003", "invalid"), ("KZ-003", "unsafe"), ("KZ-014", "unsafe")]
    assert (looked.assets, looked.weights) == (["good"], [PATH])
    assert looked.unread == {"assets"}


def test_kz035_of_members_of_one_name_the_one_is_read_that_keras_takes(tmp_path: Path) -> None:
    data = keras_members()
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        for name, content in data.items():
            file.writestr(name, b"{}" if name == "config.json" else content)
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("config.json", CONFIG)
    looked = Looked(tmp_path / "m.keras")
    assert ("KZ-004", "invalid") in looked.codes
    assert looked.config == CONFIG.decode()


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_kz035_an_encrypted_part_is_not_called_missing(tmp_path: Path, name: str) -> None:
    data = zip_bytes(keras_members())
    at, here = central(data, name), struct.unpack_from("<L", data, central(data, name) + 42)[0]
    looked = Looked(write(tmp_path / "m.keras", patched(data, ("<H", at + 8, 1), ("<H", here + 6, 1))))
    assert looked.codes == [("KZ-006", "unchecked")]
    assert looked.unread == {name.split(".")[-2 if name != "model.weights.h5" else 1]}


def test_kz010_every_bad_asset_is_told(tmp_path: Path) -> None:
    members = keras_members() | {"assets/a\x07": b"", "assets/b": b"", "assets/b/c": b""}
    looked = Looked(write(tmp_path / "m.keras", zip_bytes(members)))
    assert ("KZ-010", "unsafe") in looked.codes
    assert ("KZ-010", "invalid") in looked.codes


def test_kz010_long_paths_are_compared_in_bounded_time() -> None:
    from refser.layouts._parts import check_asset_names

    names = ["/".join(["a"] * 20_000) + f"/{number}" for number in range(200)]
    check_asset_names(names, "m.keras")
    told: list[refser.RefserError] = []
    check_asset_names([*names, names[7].rpartition("/")[0]], "m.keras", refuse=told.append)
    assert [error.problem.code for error in told] == ["KZ-010"]


def test_what_leaves_nothing_to_look_at_is_raised(tmp_path: Path) -> None:
    for data in (zip_bytes({"notes.txt": b""}), zip_bytes(keras_members())[:-30]):
        with pytest.raises(refser.RefserError):
            Looked(write(tmp_path / "m.keras", data))


# ------------------------------------------------------------------------------------------------------------------- directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    for name, data in keras_members().items():
        write(path / name, data)
    (path / "assets").mkdir()
    write(path / "assets" / "vocabulary.txt", b"a\nb")
    return path


def test_kd010_a_sound_directory_is_clean(folder: Path) -> None:
    looked = Looked(folder)
    assert (looked.codes, looked.unread, looked.assets) == ([], set(), ["vocabulary.txt"])


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
@pytest.mark.parametrize(
    ("name", "part"),
    [("config.json", "config"), ("metadata.json", "metadata"), ("model.weights.h5", "weights"), ("assets/x", "assets")],
)
def test_kd007_a_fifo_is_unsafe_and_a_link_too_and_the_others_are_read(folder: Path, name: str, part: str) -> None:
    (folder / name).unlink(missing_ok=True)
    hostile(folder / name)
    looked = Looked(folder)
    assert looked.codes == [("KD-007", "warning" if part == "metadata" else "unsafe")]
    assert part in looked.unread or part == "assets"
    (folder / name).unlink()
    (folder / name).symlink_to("/etc/hostname")
    looked = Looked(folder)
    assert looked.codes == [("KD-003", "warning" if part == "metadata" else "unsafe")]
    assert looked.assets == ["vocabulary.txt"]
    assert bool(looked.config) == (part != "config")
    assert bool(looked.weights) == (part != "weights")


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_kd010_all_faults_of_a_directory_are_told(folder: Path) -> None:
    write(folder / "config.json", b"\xff")
    hostile(folder / "assets" / "fifo")
    (folder / "assets" / "link").symlink_to("/etc/hostname")
    (folder / "model.weights.h5").unlink()
    write(folder / "notes.txt", b"")
    assert Looked(folder).codes == [
        *(("JS-001", "invalid"), ("KD-003", "unsafe"), ("KD-004", "warning"), ("KD-005", "invalid"), ("KD-007", "unsafe"))
    ]


def test_kd008_a_directory_without_metadata_is_told(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    shutil.rmtree(folder / "assets")
    looked = Looked(folder)
    assert looked.codes == [("KD-008", "warning")]


def test_kd009_assets_that_keras_does_not_load_are_an_error(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    assert Looked(folder).codes == [("KD-009", "invalid")]
    write(folder / "README.md", b"")
    assert Looked(folder).codes == [("KD-004", "warning"), ("KD-008", "warning")]


def test_kd010_a_config_alone_is_looked_at(folder: Path) -> None:
    for name in ("metadata.json", "model.weights.h5", "assets/vocabulary.txt"):
        (folder / name).unlink()
    (folder / "assets").rmdir()
    looked = Looked(folder)
    assert looked.codes == [("KD-005", "invalid"), ("KD-008", "warning")]
    assert looked.config == CONFIG.decode()
    with pytest.raises(refser.InvalidError):
        refser.open(folder)


def test_kd004_of_many_unknown_files_a_hundred_are_named(folder: Path) -> None:
    for number in range(150):
        write(folder / f"{number}.txt", b"")
    looked = Looked(folder)
    assert len([it for it in looked.found if it.code == "KD-004"]) == 101
    assert "50 files more" in looked.found[100].message


# --------------------------------------------------------------------------------------------------------------------- weights


def weights_file(tmp_path: Path, fill: Callable[[h5py.File], Any]) -> Path:
    return write(tmp_path / "m.weights.h5", h5_bytes(fill))


def test_wh001_arrays_that_nobody_loads_are_left_out(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dense(file)
        file["layers/dense/kernel"] = KERNEL
        file["stray"] = KERNEL

    looked = Looked(weights_file(tmp_path, fill))
    assert [it.at for it in looked.found if it.code == "WH-001"] == ["m.weights.h5:/layers/dense/kernel", "m.weights.h5:/stray"]
    assert (looked.weights, looked.left_out) == ([PATH], {"layers/dense/kernel", "stray"})


def test_every_bad_dataset_is_told_and_left_out(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dense(file)
        for number in (1, 2):
            file[f"layers/dense/vars/{number}"] = np.zeros(2, [("a", "<f4"), ("b", "<i4")])
        file["layers/b/vars/0"] = KERNEL

    looked = Looked(weights_file(tmp_path, fill))
    assert {it.at.rpartition("/")[2] for it in looked.found if it.severity == "error"} == {"1", "2"}
    assert looked.left_out == {"layers/dense/vars/1", "layers/dense/vars/2"}
    assert looked.weights == ["layers/b/vars/0", PATH]
    assert looked.groups == {"layers/b/vars": ("0",), "layers/dense/vars": ("0",), "vars": ()}


def test_wh005_a_bad_name_of_a_group_is_told_and_its_weights_are_read(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dense(file)
        file["layers/dense/vars"].attrs["name"] = 7

    looked = Looked(weights_file(tmp_path, fill))
    assert ("WH-005", "invalid") in looked.codes
    assert looked.weights == [PATH]


# ---------------------------------------------------------------------------------------------------------------------- shards


@pytest.fixture
def index(tmp_path: Path) -> Path:
    weights = {f"layers/d{number}/vars/0": np.arange(4, dtype="<f4") for number in range(3)}
    refser.save_weights(weights, tmp_path / "m.weights.json", max_shard_size=16 / (1 << 30))
    return tmp_path / "m.weights.json"


def change(index: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(index.read_text())
    alter(value)
    index.write_text(json.dumps(value))


def shards(index: Path) -> list[Path]:
    return sorted(index.parent.glob("*.h5"))


def test_sh015_a_sound_index_is_clean(index: Path) -> None:
    looked = Looked(index)
    assert (looked.codes, looked.unread, len(looked.weights), len(shards(index))) == ([], set(), 3, 3)


def test_sh004_every_missing_shard_is_told(index: Path) -> None:
    for shard in shards(index)[:2]:
        shard.unlink()
    looked = Looked(index)
    assert looked.codes == [("SH-004", "invalid")]
    assert len(looked.found) == 2
    assert (looked.unread, len(looked.weights)) == ({"weights"}, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_li011_a_shard_that_is_a_link_is_unsafe_and_the_others_are_read(index: Path) -> None:
    shard = shards(index)[0]
    shard.rename(index.parent / "elsewhere")
    shard.symlink_to(index.parent / "elsewhere")
    looked = Looked(index)
    assert (looked.codes, len(looked.weights)) == ([("LI-011", "unsafe")], 2)


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs")
def test_sh016_a_shard_that_is_a_fifo_is_unsafe_and_never_opened(index: Path) -> None:
    shard = shards(index)[0]
    shard.unlink()
    hostile(shard)
    looked = Looked(index)
    assert (looked.codes, looked.unread, len(looked.weights)) == ([("SH-016", "unsafe")], {"weights"}, 2)


def test_sh003_a_shard_elsewhere_is_unsafe_and_the_others_are_read(index: Path) -> None:
    change(index, lambda it: it["weight_map"].update({"/layers/d0/vars": "../x.h5"}))
    looked = Looked(index)
    assert ("SH-003", "unsafe") in looked.codes
    assert len(looked.weights) == 2


@pytest.mark.parametrize("value", [1, [], None, [1], {}, ["a", "a"]])
def test_sh002_every_bad_entry_is_told_and_the_others_are_read(index: Path, value: Any) -> None:
    change(index, lambda it: it["weight_map"].update({"/layers/d0/vars": value, "/other/vars": value}))
    looked = Looked(index)
    assert [it.code for it in looked.found].count("SH-002") == 2
    assert len(looked.weights) == 2


def test_sh005_a_variable_in_two_shards_is_told(index: Path) -> None:
    first, second, _ = shards(index)
    with h5py.File(second, "a") as file:
        file["layers/d0/vars/0"] = np.zeros(4, "<f4")
    change(index, lambda it: it["weight_map"].update({"/layers/d0/vars": [first.name, second.name]}))
    looked = Looked(index)
    assert ("SH-005", "invalid") in looked.codes
    assert len(looked.weights) == 3


def test_sh013_shards_that_the_index_does_not_name_are_told(index: Path) -> None:
    shutil.copy(shards(index)[0], index.parent / "m_00007.weights.h5")
    shutil.copy(shards(index)[0], index.parent / "other_00000.weights.h5")
    (finding,) = Looked(index).found
    assert (finding.code, finding.severity) == ("SH-013", "warning")
    assert "'m_00007.weights.h5'" in finding.message


@pytest.mark.parametrize("total", [47.0, 0, None, "48", True, {}])
def test_sh014_a_total_size_that_is_not_true_is_told(index: Path, total: Any) -> None:
    change(index, lambda it: it["metadata"].update(total_size=total))
    assert Looked(index).codes == [("SH-014", "warning")]
    change(index, lambda it: it["metadata"].update(total_size=48))
    assert Looked(index).codes == []


@pytest.mark.parametrize("metadata", [None, [], 7])
def test_sh014_metadata_of_another_kind_are_told_and_none_are_not(index: Path, metadata: Any) -> None:
    change(index, lambda it: it.update(metadata={}))
    assert Looked(index).codes == []
    change(index, lambda it: it.update(metadata=metadata))
    assert Looked(index).codes == [("SH-014", "warning")]


def test_sh014_where_a_shard_is_missing_there_is_nothing_to_compare(index: Path) -> None:
    shards(index)[0].unlink()
    assert Looked(index).codes == [("SH-004", "invalid")]


# ---------------------------------------------------------------------------------------------------------------------- legacy


def legacy(tmp_path: Path, fill: Callable[[h5py.File], Any], name: str = "m.h5") -> Path:
    path = tmp_path / name
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = CONFIG.decode()
        base = file.create_group("model_weights")
        base.attrs["layer_names"] = [b"a", b"b", b"c"]
        for layer in ("a", "b", "c"):
            group = base.create_group(layer)
            group.attrs["weight_names"] = [b"k:0"]
            group["k:0"] = KERNEL
        fill(file)
    return path


def test_legacy_faults_are_all_told_and_the_other_layers_are_read(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        del file["model_weights/a"]
        del file["model_weights/b/k:0"]
        file.attrs["training_config"] = 7

    looked = Looked(legacy(tmp_path, fill))
    assert looked.codes == [("LH-002", "invalid"), ("LH-013", "invalid")]
    assert len(looked.found) - len([it for it in looked.found if it.severity == "info"]) == 3
    assert (looked.weights, looked.left_out) == (["model_weights/c/k:0"], {"model_weights/a", "model_weights/b/k:0"})
    assert looked.config == CONFIG.decode()


def test_lh004_a_config_without_weights_is_looked_at(tmp_path: Path) -> None:
    looked = Looked(legacy(tmp_path, lambda file: file.__delitem__("model_weights")))
    assert looked.codes == [("LH-004", "invalid")]
    assert (looked.unread, looked.config) == ({"weights"}, CONFIG.decode())


def test_lh002_a_config_that_is_no_string_leaves_the_weights(tmp_path: Path) -> None:
    looked = Looked(legacy(tmp_path, lambda file: file.attrs.__setitem__("model_config", 7)))
    assert looked.codes == [("LH-002", "invalid")]
    assert (looked.unread, len(looked.weights)) == ({"config"}, 3)


def test_lh006_a_bad_list_of_layers_leaves_the_config(tmp_path: Path) -> None:
    looked = Looked(legacy(tmp_path, lambda file: file["model_weights"].attrs.__setitem__("layer_names", 7)))
    assert ("LH-006", "invalid") in looked.codes
    assert looked.config == CONFIG.decode()


def test_ft016_a_store_beside_legacy_layers_is_told(tmp_path: Path) -> None:
    looked = Looked(legacy(tmp_path, lambda file: file.create_group("vars")))
    assert looked.codes == [("FT-016", "warning")]
    assert Looked(legacy(tmp_path, lambda file: None)).codes == []


# ---------------------------------------------------------------------------------------------------------------- golden files


LAYOUTS = [
    path
    for path in sorted(GOLDEN.glob("*/*"))
    if path.suffix in (".keras", ".h5", ".json", ".dir") and "_0000" not in path.name and path.name != "manifest.json"
]


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_keras_saved_gives_no_warning_and_is_read_the_same(path: Path) -> None:
    if ".npz." in path.name or path.name == "sequential.hdf5.keras":
        pytest.skip("weights that are pickles; a name of another layout")
    looked = Looked(path, Limits())
    assert (looked.codes, looked.unread, looked.left_out) == ([], set(), set())
    with refser.open(path) as file:
        assert (file.config_json, list(file.weights), list(file.assets)) == (looked.config, looked.weights, looked.assets)
        assert {group.path: group.keys for group in file.groups} == looked.groups


def test_a_closed_file_lets_go_of_what_it_was_read_from(tmp_path: Path) -> None:
    file: ModelFile = open_layout(str(archive(tmp_path)), limits=UNTRUSTED_LIMITS)
    assert file.archive is not None
    assert len(file.roots) == 1
    file.close()
    assert (file.archive, file.roots) == (None, ())


def test_of_a_million_faults_of_one_kind_a_hundred_are_handed_over(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for number in range(300):
            file[f"stray{number}"] = np.float32(number)

    looked = Looked(weights_file(tmp_path, fill))
    stray = [it for it in looked.found if it.code == "WH-001"]
    assert len(stray) == 101
    assert "more than 100" in stray[-1].message
