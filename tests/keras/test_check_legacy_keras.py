"""What real Keras does with an HDF5 file of the older kind that was tampered with, and what the check of weights says of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from checked import found_in
from keras import layers
from test_check_weights_keras import OTHER, REFUSED, SAME, Change, all_of, as_type, gone, moved, put, recurrent, swapped

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]
BASE = "model_weights"


def chain() -> Any:
    """Two layers that could stand for each other, a third that could not, and one without weights."""
    inside = [layers.Dense(3, name="a"), layers.Dropout(0.1, name="drop"), layers.Dense(3, name="b"), layers.Dense(2, name="c")]
    return keras.Sequential([keras.Input((3,)), *inside])


def normed() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="norm")])


def nest() -> Any:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="one"), layers.Dense(3, name="two")], name="inner")
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(2, name="out")(inner(inputs)))


def compiled() -> Any:
    model = chain()
    model.compile("adam", "mean_squared_error")
    model.optimizer.build(model.trainable_variables)
    return model


@cache
def saved(make: Callable[[], Any], folder: str) -> bytes:
    keras.utils.set_random_seed(1)
    path = Path(folder, f"{make.__name__}.h5")
    model = make()
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path.read_bytes()


def loaded(path: Path) -> tuple[str, list[bytes]]:
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}", []
    return "", [keras.ops.convert_to_numpy(it).tobytes() for it in model.weights]


# Changes


def names_in(group: h5py.Group, attribute: str) -> list[str]:
    return [cell if isinstance(cell, str) else cell.decode() for cell in group.attrs[attribute]]


def listed(*names: str, of: str = BASE, attribute: str = "layer_names") -> Change:
    return lambda file: file[of].attrs.__setitem__(attribute, [name.encode() for name in names])


def weights_of(layer: str, *names: str) -> Change:
    return listed(*names, of=f"{BASE}/{layer}", attribute="weight_names")


def without(group: str, attribute: str, name: str) -> Change:
    def change(file: h5py.File) -> None:
        listed(*(cell for cell in names_in(file[group], attribute) if cell != name), of=group, attribute=attribute)(file)

    return change


def renamed(old: str, new: str) -> Change:
    def change(file: h5py.File) -> None:
        file.move(f"{BASE}/{old}", f"{BASE}/{new}")
        names = [new if cell == old else cell for cell in names_in(file[BASE], "layer_names")]
        listed(*names)(file)

    return change


def added(name: str, shape: tuple[int, ...], place: int) -> Change:
    def change(file: h5py.File) -> None:
        file[f"{BASE}/{name}/{name}/kernel"] = np.zeros(shape, "f4")
        weights_of(name, f"{name}/kernel")(file)
        names = names_in(file[BASE], "layer_names")
        listed(*names[:place], name, *names[place:])(file)

    return change


def key(file: h5py.File, layer: str, number: int) -> str:
    return f"{BASE}/{layer}/{names_in(file[f'{BASE}/{layer}'], 'weight_names')[number]}"


def at(layer: str, number: int, change: Callable[[str], Change]) -> Change:
    return lambda file: change(key(file, layer, number))(file)


def reversed_weights(layer: str) -> Change:
    def change(file: h5py.File) -> None:
        weights_of(layer, *reversed(names_in(file[f"{BASE}/{layer}"], "weight_names")))(file)

    return change


def names_reversed(layer: str) -> Change:
    """The arrays stay in their order; each has the name of another."""

    def change(file: h5py.File) -> None:
        group = file[f"{BASE}/{layer}"]
        names = names_in(group, "weight_names")
        values = [group[name][()] for name in names]
        for name in names:
            del group[name]
        for name, value in zip(reversed(names), values):
            group[name] = value
        weights_of(layer, *reversed(names))(file)

    return change


def first_weight_gone(layer: str) -> Change:
    def change(file: h5py.File) -> None:
        weights_of(layer, *names_in(file[f"{BASE}/{layer}"], "weight_names")[1:])(file)

    return change


def extra_weight(layer: str) -> Change:
    def change(file: h5py.File) -> None:
        names = names_in(file[f"{BASE}/{layer}"], "weight_names")
        file[f"{BASE}/{layer}/more"] = np.zeros(1, "f4")
        weights_of(layer, *names, "more")(file)

    return change


MUTANTS: list[tuple[str, Callable[[], Any], Change, str, list[str]]] = [
    ("nothing changes", chain, lambda file: None, SAME, []),
    ("nothing changes in a nest", nest, lambda file: None, SAME, []),
    ("nothing changes in a cell", recurrent, lambda file: None, SAME, []),
    ("nothing changes in an optimizer", compiled, lambda file: None, SAME, []),
    ("a layer is not listed", chain, without(BASE, "layer_names", "b"), REFUSED, ["LH-030"]),
    ("two layers are not listed", chain, listed("a", "drop"), REFUSED, ["LH-030"]),
    ("no layer is listed", chain, listed(), REFUSED, ["LH-030"]),
    ("a layer without weights is not listed", chain, without(BASE, "layer_names", "drop"), SAME, []),
    ("a listed layer is gone", chain, gone(f"{BASE}/b"), REFUSED, ["LH-013"]),
    ("a layer has no weights", chain, weights_of("b"), REFUSED, ["LH-030"]),
    ("a layer too many", chain, added("d", (3, 3), 2), REFUSED, ["LH-031"]),
    ("a group that is not listed", chain, put(f"{BASE}/d/kernel", np.zeros(3, "f4")), SAME, []),
    ("the model's own weights", chain, all_of(put(f"{BASE}/top_level_model_weights/x", np.zeros(3, "f4")),
     weights_of("top_level_model_weights", "x")), REFUSED, ["LH-031"]),
    ("two layers in another order", chain, listed("b", "drop", "a", "c"), OTHER, ["LH-032"]),
    ("all layers in another order", chain, listed("c", "b", "a"), REFUSED, ["LH-032"]),
    ("a layer without weights in another place", chain, listed("a", "b", "c", "drop"), SAME, []),
    ("a layer by another name", chain, renamed("b", "z"), SAME, ["LH-036"]),
    ("two layers that have each other's names", chain, all_of(swapped(f"{BASE}/a", f"{BASE}/b")), OTHER, []),
    ("a layer by another name and a weight less", chain, all_of(renamed("b", "z"), first_weight_gone("z")), REFUSED,
     ["LH-033"]),
    ("a weight less", chain, first_weight_gone("b"), REFUSED, ["LH-033"]),
    ("a weight less in a nest", nest, first_weight_gone("inner"), REFUSED, ["LH-033"]),
    ("a weight too many", chain, extra_weight("b"), REFUSED, ["LH-033"]),
    ("a listed weight is gone", chain, at("b", 0, gone), REFUSED, ["LH-013"]),
    ("a kernel of another shape", chain, at("b", 0, lambda path: put(path, np.zeros((3, 4), "f4"))), REFUSED, ["LH-034"]),
    ("a layer of another width", chain, all_of(at("c", 0, lambda path: put(path, np.zeros((3, 4), "f4"))),
     at("c", 1, lambda path: put(path, np.zeros(4, "f4")))), REFUSED, ["LH-034"]),
    ("kernel and bias in another order", chain, reversed_weights("b"), REFUSED, ["LH-035"]),
    ("four vectors in another order", normed, reversed_weights("norm"), OTHER, ["LH-035"]),
    ("four vectors with each other's names", normed, names_reversed("norm"), SAME, ["LH-035"]),
    ("another name for a weight", chain, lambda file: all_of(moved(key(file, "b", 0), f"{BASE}/b/x"), weights_of("b", "x",
     key(file, "b", 1).removeprefix(f"{BASE}/b/")))(file), SAME, []),
    ("a kernel of float16", chain, at("b", 0, lambda path: as_type(path, "f2")), OTHER, ["WT-043"]),
    ("a kernel of int32", chain, at("b", 0, lambda path: as_type(path, "i4")), OTHER, ["WT-043"]),
    ("a kernel of complex numbers", chain, at("b", 0, lambda path: as_type(path, "c8")), SAME, ["WT-043"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("legacy"))


@pytest.mark.parametrize(("make", "change", "outcome", "codes"), [it[1:] for it in MUTANTS], ids=[it[0] for it in MUTANTS])
def test_what_keras_refuses_of_a_legacy_file_is_an_error(
    make: Callable[[], Any], change: Change, outcome: str, codes: list[str], folder: str, tmp_path: Path
) -> None:
    """LH-030 to LH-036."""
    data = saved(make, folder)
    plain, path = tmp_path / "plain.h5", tmp_path / "m.h5"
    plain.write_bytes(data)
    path.write_bytes(data)
    with h5py.File(path, "r+") as file:
        change(file)
    refused, values = loaded(path)
    assert (REFUSED if refused else SAME if values == loaded(plain)[1] else OTHER) == outcome, refused
    found = found_in(path)
    assert sorted(it.code for it in found) == codes, list(map(str, found))
    assert all(it.at.startswith(f"m.h5:/{BASE}") for it in found)
    if outcome == REFUSED:
        assert any(it.severity == "error" for it in found)
