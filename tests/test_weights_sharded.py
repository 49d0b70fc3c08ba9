"""Sharded weights (SH): an index beside its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import h5_bytes, hostile, refused, write
from hypothesis import event, given, settings
from hypothesis import strategies as st

import refser
from refser.errors import AccessError, InvalidError, LimitError, UnsafeError, UnsupportedError
from refser.limits import GIB, Limits
from refser.values import Model, Weight, WeightGroup

A, B = "m_00000.weights.h5", "m_00001.weights.h5"


def f4(number: float) -> Any:
    return np.full((2, 2), number, "<f4")


def shard(**arrays: float) -> bytes:
    """A shard.  A path in `arrays` has `__` for `/`."""
    return h5_bytes(lambda file: [file.create_dataset(path.replace("__", "/"), data=f4(n)) for path, n in arrays.items()])


def index(tmp_path: Path, weight_map: object, **more: Any) -> Path:
    return write(
        tmp_path / "m.weights.json", json.dumps({"metadata": {"total_size": 1.0}, "weight_map": weight_map} | more).encode()
    )


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """`dense` in one shard, `lstm` split over both, as Keras writes it."""
    write(tmp_path / A, shard(layers__dense__vars__0=0, layers__lstm__vars__0=1, layers__lstm__vars__2=3))
    write(tmp_path / B, shard(layers__lstm__vars__1=2, layers__lstm__vars__10=4))
    return index(tmp_path, {"/layers/dense/vars": A, "/layers/lstm/vars": [A, B]})


def test_sh002_sh006_strings_and_lists_are_read_and_split_groups_are_joined_by_number(sound: Path) -> None:
    with refser.open(sound) as file:
        assert file.layout == "weights-sharded"
        assert {path: weight.array()[0, 0] for path, weight in file.weights.items()} == {
            "layers/dense/vars/0": 0,
            **{f"layers/lstm/vars/{key}": n for n, key in enumerate(("0", "1", "2", "10"), 1)},
        }
        assert list(file.weights) == ["layers/dense/vars/0", *(f"layers/lstm/vars/{key}" for key in (0, 1, 2, 10))]
        assert {group.path: group.keys for group in file.groups} == {
            "layers/dense/vars": ("0",),
            "layers/lstm/vars": ("0", "1", "2", "10"),
            "vars": (),
        }


def test_sh002_a_list_of_one_and_a_key_without_slash_are_read(tmp_path: Path) -> None:
    write(tmp_path / A, shard(vars__0=1))
    assert list(refser.open(index(tmp_path, {"vars": [A]})).weights) == ["vars/0"]


@pytest.mark.parametrize("weight_map", [None, [], "x", 1, True])
def test_sh001_a_weight_map_that_is_no_object_is_refused(tmp_path: Path, weight_map: object) -> None:
    with refused("SH-001", InvalidError):
        refser.open(index(tmp_path, weight_map))


@pytest.mark.parametrize("value", [None, 1, [], [1], [A, None], {"a": A}, [A, A], [[A]]])
def test_sh002_a_place_that_is_no_file_name_or_list_of_them_is_refused(sound: Path, value: object) -> None:
    with refused("SH-002", InvalidError):
        refser.open(index(sound.parent, {"/layers/dense/vars": value, "/layers/lstm/vars": [A, B]}))


@pytest.mark.parametrize("key", ["", "/", "/layers/dense", "layers/dense/vars", "/layers/dense/vars/0", "/layers/dense/vars/"])
def test_sh002_a_key_that_is_no_group_once_is_refused(sound: Path, key: str) -> None:
    weight_map = {"/layers/dense/vars": A, "/layers/lstm/vars": [A, B], key: A}
    with refused("SH-002", InvalidError):
        refser.open(index(sound.parent, weight_map))


@pytest.mark.parametrize(
    "name", ["../" + A, "/etc/passwd", "sub/" + A, "a\\b", "..", ".", "", "a\0b", "C:a.h5", "https://x/" + A]
)
def test_sh003_a_shard_that_is_not_beside_the_index_is_unsafe(sound: Path, name: str) -> None:
    with refused("SH-003", UnsafeError):
        refser.open(index(sound.parent, {"/layers/dense/vars": name}))


def test_sh004_a_missing_shard_is_refused_by_name(sound: Path) -> None:
    (sound.parent / B).unlink()
    with refused("SH-004", InvalidError) as caught:
        refser.open(sound)
    assert repr(B) in caught.value.problem.message


def test_sh004_an_odd_name_that_cannot_exist_is_an_error_of_ours(sound: Path) -> None:
    for name in ("\ud800.h5", "x" * 5000):
        with pytest.raises((InvalidError, AccessError)):
            refser.open(index(sound.parent, {"/layers/dense/vars": name}))


def test_li011_a_shard_that_is_a_link_is_unsafe_and_can_be_allowed(sound: Path, tmp_path: Path) -> None:
    (tmp_path / B).rename(tmp_path / "elsewhere")
    (tmp_path / B).symlink_to(tmp_path / "elsewhere")
    with refused("LI-011", UnsafeError):
        refser.open(sound)
    assert len(refser.open(sound, limits=Limits(follow_symlinks=True)).weights) == 5


def test_io002_a_shard_that_is_a_fifo_is_refused_and_never_opened(sound: Path) -> None:
    (sound.parent / B).unlink()
    hostile(sound.parent / B)
    with refused("IO-002", AccessError):
        refser.open(sound)


def test_li009_the_number_of_shards_is_capped_before_any_is_opened(tmp_path: Path) -> None:
    weight_map = {f"/{number}/vars": f"{number}.weights.h5" for number in range(11)}
    with refused("LI-009", LimitError):
        refser.open(index(tmp_path, weight_map), limits=Limits(shards=10))
    with refused("SH-004"):
        refser.open(index(tmp_path, weight_map), limits=Limits(shards=11))


def test_sh005_a_place_without_the_weights_is_refused(sound: Path) -> None:
    with refused("SH-005", InvalidError):
        refser.open(index(sound.parent, {"/layers/dense/vars": [A, B], "/layers/lstm/vars": [A, B]}))
    with refused("SH-005", InvalidError):
        refser.open(index(sound.parent, {"/layers/dense/vars": A, "/layers/lstm/vars": [A, B], "/layers/gone/vars": A}))


def test_sh005_weights_that_the_index_does_not_list_are_refused(sound: Path) -> None:
    with refused("SH-005", InvalidError):
        refser.open(index(sound.parent, {"/layers/lstm/vars": [A, B]}))
    with refused("SH-005", InvalidError):
        refser.open(index(sound.parent, {"/layers/dense/vars": A, "/layers/lstm/vars": B}))


def test_sh005_a_weight_in_two_shards_is_refused(sound: Path) -> None:
    write(sound.parent / B, shard(layers__lstm__vars__1=2, layers__lstm__vars__0=1))
    with refused("SH-005", InvalidError) as caught:
        refser.open(sound)
    assert "/layers/lstm/vars/0" in caught.value.problem.message


def test_sh005_an_empty_group_in_an_unlisted_shard_is_no_fault(sound: Path) -> None:
    data = h5_bytes(
        lambda file: (
            [file.create_dataset(f"layers/lstm/vars/{n}", data=f4(n)) for n in (1, 10)]
            and file.create_group("layers/dense/vars")
        )
    )
    write(sound.parent / B, data)
    assert len(refser.open(sound).weights) == 5


def test_sh_a_broken_shard_is_refused_by_its_own_requirement(sound: Path) -> None:
    write(sound.parent / B, b"hello")
    with refused("H5-011") as caught:
        refser.open(sound)
    assert caught.value.problem.at == f"{B}:/"


def test_sh011_an_empty_index_is_read_with_and_without_its_shard(tmp_path: Path) -> None:
    path = index(tmp_path, {})
    assert (dict(refser.open(path).weights), refser.open(path).groups) == ({}, ())

    def fill(file: h5py.File) -> None:
        file.create_group("layers/dropout/vars").attrs["name"] = "dropout"

    write(tmp_path / A, h5_bytes(fill))
    assert refser.open(path).groups == (WeightGroup(path="layers/dropout/vars", name="dropout"), WeightGroup(path="vars"))


def test_sh001_an_empty_index_beside_a_shard_with_weights_is_refused(tmp_path: Path) -> None:
    write(tmp_path / A, shard(vars__0=1))
    with refused("SH-005"):
        refser.open(index(tmp_path, {}))


def model_of(*sizes: int, group: str = "layers/dense/vars") -> Model:
    weights = {f"{group}/{n}": Weight.from_array(f"{group}/{n}", np.full(size, n, "u1")) for n, size in enumerate(sizes)}
    return Model(weights=weights)


def read_index(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_sh001_sh012_the_index_is_written_as_keras_writes_it(tmp_path: Path) -> None:
    weights = {
        f"{p}/vars/{n}": Weight.from_array(f"{p}/vars/{n}", f4(n))
        for p, n in (("layers/a", 0), ("layers/a", 1), ("layers/b", 0))
    }
    refser.save(Model(weights=weights), tmp_path / "x.weights.json", max_shard_size=32 / GIB)
    text = (tmp_path / "x.weights.json").read_text("utf-8")
    assert text == json.dumps(
        {
            "metadata": {"total_size": 48.0},
            "weight_map": {"/layers/a/vars": ["x_00000.weights.h5"], "/layers/b/vars": "x_00001.weights.h5"},
        },
        indent=4,
    )


def test_sh007_sizes_are_counted_in_bits_as_keras_counts_them(tmp_path: Path) -> None:
    weights = {
        f"vars/{n}": Weight.from_array(f"vars/{n}", np.ones(12, kind)) for n, kind in enumerate(("?", "f2", "c16", "i8"))
    }
    refser.save(Model(weights=weights), tmp_path / "x.weights.json")
    assert read_index(tmp_path / "x.weights.json")["metadata"] == {"total_size": 12 * (1 + 16 + 128 + 64) / 8}


def test_sh007_an_empty_set_has_the_integer_zero(tmp_path: Path) -> None:
    refser.save(Model(), tmp_path / "x.weights.json")
    assert (tmp_path / "x.weights.json").read_text() == json.dumps({"metadata": {"total_size": 0}, "weight_map": {}}, indent=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.weights.json", "x_00000.weights.h5"]


def test_sh007_strings_have_no_size_and_are_not_written(tmp_path: Path) -> None:
    with refused("SH-007", UnsupportedError):
        refser.save_weights({"vars/0": np.array([b"a"])}, tmp_path / "x.weights.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sizes", "cap", "want"),
    [
        ((10, 10, 10), 30, [[0, 1, 2]]),
        ((10, 10, 10), 29, [[0, 1], [2]]),
        ((10, 10, 10), 20, [[0, 1], [2]]),
        ((10, 10, 10), 10, [[0], [1], [2]]),
        ((1, 20, 1, 1), 20, [[0], [1], [2, 3]]),
        ((0, 0, 5, 0), 5, [[0, 1, 2, 3]]),
    ],
)
def test_sh008_shards_are_filled_in_order(tmp_path: Path, sizes: tuple[int, ...], cap: int, want: list[list[int]]) -> None:
    refser.save(model_of(*sizes), tmp_path / "x.weights.json", max_shard_size=cap / GIB)
    found = []
    for number in range(len(want)):
        with h5py.File(tmp_path / f"x_{number:05}.weights.h5") as file:
            found.append([int(key) for key in file["layers/dense/vars"]])
    assert found == want
    assert not (tmp_path / f"x_{len(want):05}.weights.h5").exists()
    places = read_index(tmp_path / "x.weights.json")["weight_map"]["/layers/dense/vars"]
    assert places == [f"x_{n:05}.weights.h5" for n in range(len(want))]  # a list, since the group has several variables
    assert refser.load(tmp_path / "x.weights.json").weights == model_of(*sizes).weights


def test_sh009_the_name_of_a_split_group_stands_on_the_first_part_alone(tmp_path: Path) -> None:
    model = Model(weights=model_of(4, 4).weights, groups=(WeightGroup(path="layers/dense/vars", name="d", keys=("0", "1")),))
    refser.save(model, tmp_path / "x.weights.json", max_shard_size=4 / GIB)
    for number in range(2):
        with h5py.File(tmp_path / f"x_{number:05}.weights.h5") as file:
            assert dict(file["layers/dense/vars"].attrs) == ({} if number else {"name": "d"})
    assert refser.load(tmp_path / "x.weights.json").groups[0].name == "d"


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_sh010_a_shard_size_that_is_not_positive_is_refused(tmp_path: Path, size: float) -> None:
    with refused("SH-010", InvalidError):
        refser.save(model_of(1), tmp_path / "x.weights.json", max_shard_size=size)


def test_sh010_a_weight_larger_than_a_shard_is_refused(tmp_path: Path) -> None:
    with refused("SH-010", InvalidError):
        refser.save(model_of(10, 11), tmp_path / "x.weights.json", max_shard_size=10 / GIB)
    assert list(tmp_path.iterdir()) == []


def test_sh008_a_shard_size_for_another_layout_is_refused(tmp_path: Path) -> None:
    with refused("SH-008", InvalidError):
        refser.save(model_of(1), tmp_path / "x.weights.h5", max_shard_size=1)


def test_sh001_an_index_of_another_name_is_not_written(tmp_path: Path) -> None:
    with refused("SH-001", InvalidError):
        refser.save(model_of(1), tmp_path / "x.json", layout="weights-sharded")


def test_wh010_groups_that_do_not_match_are_not_written(tmp_path: Path) -> None:
    with refused("WH-010", InvalidError):
        refser.save(Model(groups=(WeightGroup(path="vars", keys=("0",)),)), tmp_path / "x.weights.json")


def test_io008_a_smaller_set_removes_the_shards_of_the_larger_one(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.json"
    refser.save(model_of(4, 4, 4), path, max_shard_size=4 / GIB)
    write(tmp_path / "x_00009.weights.h5", b"not named by the index")
    refser.save(model_of(4, 4), path, max_shard_size=4 / GIB, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("x.weights.json", "x_00000.weights.h5", "x_00001.weights.h5", "x_00009.weights.h5")
    ]
    assert refser.load(path).weights == model_of(4, 4).weights


def test_io008_files_of_an_old_index_that_no_writer_made_stay(tmp_path: Path) -> None:
    keep = write(tmp_path / "mine.h5", shard(vars__0=1))
    path = index(tmp_path, {"/vars": "mine.h5"})
    refser.save(model_of(4), path, overwrite=True)
    assert keep.exists()
    assert refser.load(path).weights == model_of(4).weights


def test_io005_a_shard_in_the_way_is_not_replaced_unasked(tmp_path: Path) -> None:
    write(tmp_path / A, b"mine")
    with refused("IO-005", AccessError):
        refser.save(model_of(4), tmp_path / "m.weights.json")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {A: b"mine"}


# SH-008: any sizes, any cap that holds the largest.
@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 9), max_size=8), slack=st.integers(0, 12))
def test_sh008_any_split_reads_back_and_no_shard_is_over_the_cap(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], slack: int
) -> None:
    folder = tmp_path_factory.mktemp("sh")
    cap = max([1, *sizes]) + slack
    refser.save(model_of(*sizes), folder / "x.weights.json", max_shard_size=cap / GIB)
    held = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            group = file.get("layers/dense/vars")
            held.append(sum(dataset.nbytes for dataset in group.values()) if group is not None else 0)
    event("one shard" if len(held) == 1 else "several shards")
    assert max(held) <= cap
    assert refser.load(folder / "x.weights.json").weights == model_of(*sizes).weights
