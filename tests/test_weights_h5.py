"""The weights file of Keras 3 (WH)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import KERNEL, dense, h5_bytes, refused, write
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser.errors import InvalidError
from refser.values import Model, Weight, WeightGroup

PATH = "layers/dense/vars/0"


def opened(tmp_path: Path, fill: Any, **options: Any) -> refser.ModelFile:
    return refser.open(write(tmp_path / "m.weights.h5", h5_bytes(fill, **options)))


def of(*paths: str) -> dict[str, Weight]:
    return {path: Weight.from_array(path, np.full(2, number, "<f4")) for number, path in enumerate(paths)}


def test_wh001_weights_are_what_lies_below_groups_named_vars(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dense(file)
        file["vars/0"] = np.float64(1.5)
        file.create_group("layers/dropout/vars")
        file["_layer_checkpoint_dependencies/dense/vars/0"] = KERNEL

    with opened(tmp_path, fill) as file:
        assert file.layout == "weights-h5"
        assert list(file.weights) == ["_layer_checkpoint_dependencies/dense/vars/0", PATH, "vars/0"]
        assert [group.path for group in file.groups] == [
            *("_layer_checkpoint_dependencies/dense/vars", "layers/dense/vars", "layers/dropout/vars", "vars")
        ]
        assert (file.config_json, file.config, dict(file.metadata), file.generation) == (None, None, {}, "v3")


@pytest.mark.parametrize("path", ["kernel", "layers/dense/kernel", "layers/0", "var/0"])
def test_wh001_an_array_outside_every_vars_group_is_refused(tmp_path: Path, path: str) -> None:
    with refused("WH-001", InvalidError) as caught:
        opened(tmp_path, lambda file: file.create_dataset(path, data=KERNEL))
    assert caught.value.problem.at == f"m.weights.h5:/{path}"


def test_wh001_a_dataset_named_vars_is_an_array_outside(tmp_path: Path) -> None:
    with refused("WH-001", InvalidError):
        opened(tmp_path, lambda file: file.create_dataset("layers/vars", data=KERNEL))


def test_wh011_keys_may_nest_and_may_be_named_vars(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["a/vars/x/y"] = KERNEL
        file["b/vars/vars"] = KERNEL
        file["c/vars/vars/0"] = KERNEL

    with opened(tmp_path, fill) as file:
        found = {group.path: group.keys for group in file.groups}
    assert found == {"a/vars": ("x/y",), "b/vars": ("vars",), "c/vars": (), "c/vars/vars": ("0",), "vars": ()}


def test_wh002_the_root_vars_group_is_written_even_when_it_is_empty(tmp_path: Path) -> None:
    refser.save(Model(weights=of(PATH)), tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert sorted(file) == ["layers", "vars"]
        assert list(file["vars"]) == []
    refser.save(Model(), tmp_path / "empty.weights.h5")
    assert refser.open(tmp_path / "empty.weights.h5").layout == "weights-h5"


def test_wh007_older_folders_are_kept_in_the_path(tmp_path: Path) -> None:
    with opened(tmp_path, lambda file: file.create_dataset("_layer_checkpoint_dependencies/dense/vars/0", data=KERNEL)) as file:
        assert list(file.weights) == ["_layer_checkpoint_dependencies/dense/vars/0"]


def test_wh008_a_group_without_a_name_gets_none(tmp_path: Path) -> None:
    refser.save(Model(weights=of(PATH)), tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert [dict(file[path].attrs) for path in ("vars", "layers/dense/vars", "layers/dense")] == [{}, {}, {}]


def test_wh009_groups_without_weights_are_listed_and_written(tmp_path: Path) -> None:
    with opened(tmp_path, lambda file: file.create_group("layers/dropout/vars").attrs.__setitem__("name", "drop")) as file:
        assert file.groups == (WeightGroup(path="layers/dropout/vars", name="drop"), WeightGroup(path="vars"))
        refser.save(file.load(), tmp_path / "copy.weights.h5")
    with h5py.File(tmp_path / "copy.weights.h5") as file:
        assert (file["layers/dropout/vars"].attrs["name"], list(file["layers/dropout/vars"])) == ("drop", [])


def test_wh003_paths_have_no_leading_slash(tmp_path: Path) -> None:
    with opened(tmp_path, dense) as file:
        assert [(path, weight.path) for path, weight in file.weights.items()] == [(PATH, PATH)]


def test_wh004_variables_come_by_number_and_everything_else_by_its_bytes(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for number in (10, 9, 2, 1, 0, 11):
            file[f"a/vars/{number}"] = np.float32(number)
        for name in ("b10", "b9", "Z", "é", "_b"):
            file[f"{name}/vars/0"] = np.float32(0)
        file["a/vars/beta"] = np.float32(0)

    with opened(tmp_path, fill) as file:
        assert list(file.weights) == [
            *("Z/vars/0", "_b/vars/0"),
            *(f"a/vars/{key}" for key in ("0", "1", "2", "9", "10", "11", "beta")),
            *("b10/vars/0", "b9/vars/0", "é/vars/0"),
        ]


def test_wh005_wh008_the_name_of_a_group_is_read_and_written(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dense(file)
        file["layers/dense/vars"].attrs["name"] = "größe"
        file["vars"].attrs["name"] = np.bytes_(b"fixed")

    with opened(tmp_path, fill) as file:
        assert {group.path: group.name for group in file.groups} == {"layers/dense/vars": "größe", "vars": "fixed"}
        refser.save(file.load(), tmp_path / "copy.weights.h5")
    with h5py.File(tmp_path / "copy.weights.h5") as file:
        attribute = h5py.h5a.open(file["layers/dense/vars"].id, b"name")
        assert attribute.get_type().is_variable_str()
        assert attribute.get_type().get_cset() == h5py.h5t.CSET_UTF8
        assert file["layers/dense/vars"].attrs["name"] == "größe"


@pytest.mark.parametrize("name", [1, 1.5, ["a", "b"]])
def test_wh005_a_name_that_is_no_string_is_refused(tmp_path: Path, name: object) -> None:
    def fill(file: h5py.File) -> None:
        file["vars"].attrs["name"] = name

    with opened(tmp_path, fill) as file:  # names are looked at when the groups are asked for
        for ask in (lambda: file.groups, file.load):
            with refused("WH-005", InvalidError):
                ask()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_wh005_a_name_that_hdf5_cannot_hold_is_not_written(tmp_path: Path, name: str) -> None:
    with refused("WH-005", InvalidError):
        refser.save(Model(groups=(WeightGroup(path="vars", name=name),)), tmp_path / "m.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_wh006_bfloat16_is_written_with_its_attribute(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    refser.save_weights({PATH: np.ones(2, ml_dtypes.bfloat16)}, tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        attribute = h5py.h5a.open(file[PATH].id, b"dtype")
        assert (file[PATH].attrs["dtype"], attribute.get_type().is_variable_str()) == ("bfloat16", True)
        assert file[PATH][()].tobytes() == b"\x80\x3f\x80\x3f"


@pytest.mark.parametrize(
    ("groups", "paths"),
    [
        ((), ()),  # control: nothing is fine
        ((WeightGroup(path="vars", keys=("0",)), WeightGroup(path="vars", keys=("0",))), ("vars/0",)),
        ((WeightGroup(path="vars", keys=("0", "1")),), ("vars/0",)),
        ((WeightGroup(path="vars", keys=("0",)),), ("vars/0", "a/vars/0")),
        ((WeightGroup(path="dense", keys=("kernel",)),), ("dense/kernel",)),
    ],
)
def test_wh010_groups_that_do_not_match_the_weights_are_not_written(
    tmp_path: Path, groups: tuple[WeightGroup, ...], paths: tuple[str, ...]
) -> None:
    target = tmp_path / "m.weights.h5"
    if not groups:
        refser.save(Model(groups=groups, weights={}), target)
        return
    with refused("WH-010", InvalidError):
        refser.save(Model(groups=groups, weights=of(*paths)), target)
    assert list(tmp_path.iterdir()) == []


def test_wh010_a_weight_under_another_path_is_not_written(tmp_path: Path) -> None:
    with refused("WH-010", InvalidError):
        refser.save(Model(weights={"vars/0": of("vars/1")["vars/1"]}), tmp_path / "m.weights.h5")


@pytest.mark.parametrize("paths", [("a/vars/0", "a/vars/0/1"), ("vars", "vars/vars/0")])
def test_h5008_an_array_that_is_a_group_of_another_is_not_written(tmp_path: Path, paths: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError) as caught:
        refser.save(Model(weights=of(*paths)), tmp_path / "m.weights.h5")
    assert caught.value.problem.code in ("H5-008", "WH-001")


@pytest.mark.parametrize("part", ["..", ".", "", "a\0b", "\ud800"])
def test_h5008_a_path_with_a_part_that_acts_as_a_path_is_not_written(tmp_path: Path, part: str) -> None:
    with refused("H5-008", InvalidError):
        refser.save_weights({f"layers/{part}/vars/0": KERNEL}, tmp_path / "m.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_wh010_the_file_has_the_profile_of_keras(tmp_path: Path) -> None:
    refser.save_weights({PATH: KERNEL, "vars/0": np.float32(1), "e/vars/0": np.zeros((0, 2))}, tmp_path / "m.weights.h5")
    data = (tmp_path / "m.weights.h5").read_bytes()
    assert data[:9] == b"\x89HDF\r\n\x1a\n\0"  # superblock 0
    assert b"OHDR" not in data
    assert b"SNOD" in data
    with h5py.File(tmp_path / "m.weights.h5") as file:
        for path in (PATH, "vars/0", "e/vars/0"):
            plist = file[path].id.get_create_plist()
            assert plist.get_layout() == h5py.h5d.CONTIGUOUS
            assert plist.get_nfilters() == 0
        assert file[PATH].id.get_offset() is not None
        assert file["e/vars/0"].id.get_offset() is None


def test_wh_a_model_whose_attribute_is_named_as_a_legacy_group_is_read(tmp_path: Path) -> None:
    """LH-001: only a group with a list of layer names makes a legacy file."""
    for name in ("model_weights", "optimizer_weights", "top_level_model_weights"):
        with opened(tmp_path, lambda file, name=name: file.create_dataset(f"{name}/vars/0", data=KERNEL)) as file:
            assert (file.layout, list(file.weights)) == ("weights-h5", [f"{name}/vars/0"])


def test_load_weights_gives_arrays_that_are_owned_and_writable(tmp_path: Path) -> None:
    path = write(tmp_path / "m.weights.h5", h5_bytes(dense))
    arrays = refser.load_weights(path)
    arrays[PATH][:] = 0
    assert refser.load_weights(path)[PATH].tobytes() == KERNEL.tobytes()


# WH-004: the keys of one `vars` group, any order in, the same order out.
@given(numbers=st.sets(st.integers(0, 10**7), max_size=12), names=st.sets(st.sampled_from(["a", "B", "z9", "10x", "é"])))
def test_wh004_order_does_not_depend_on_the_links(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], names: set[str]
) -> None:
    event("digits of several lengths" if len({len(str(number)) for number in numbers}) > 1 else "one length")
    path = tmp_path_factory.mktemp("wh") / "m.weights.h5"
    keys = [*(str(number) for number in sorted(numbers, reverse=True)), *names]
    write(path, h5_bytes(lambda file: [file.create_dataset(f"vars/{key}", data=np.float32(0)) for key in keys]))
    with refser.open(path) as file:
        assert list(file.weights) == [f"vars/{key}" for key in [*map(str, sorted(numbers)), *sorted(names)]]
