"""Legacy HDF5 (LH): whole models and weights alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import KERNEL, h5_bytes, refused, write
from hypothesis import event, given, settings
from hypothesis import strategies as st

import refser
from refser.errors import InvalidError
from refser.hdf5 import FixedStrings, Group, NewGroup
from refser.layouts import legacy_h5
from refser.layouts.legacy_h5 import read_name_list, write_name_list
from refser.values import Model, Weight, WeightGroup

CONFIG = '{"class_name": "Sequential", "config": [], "keras_version": "2.3.1"}'
TRAINING = '{"optimizer_config": {"class_name": "SGD"}, "loss": "mse"}'
NONE = np.array([], "f8")


def names(*texts: str) -> Any:
    return np.array([text.encode() for text in texts], dtype="S") if texts else NONE


def texts(cells: Any) -> list[str]:
    """A list that h5py gives as bytes where the cells have one length, else as strings."""
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]


def layer(base: h5py.Group, name: str, **arrays: Any) -> None:
    """A layer's group.  A key in `arrays` has `__` for `/`."""
    group = base.create_group(name)
    keys = [key.replace("__", "/") for key in arrays]
    group.attrs["weight_names"] = names(*keys)
    for key, value in zip(keys, arrays.values()):
        group[key] = value


def whole(file: h5py.File) -> None:
    file.attrs["keras_version"], file.attrs["backend"] = np.bytes_(b"2.3.1"), np.bytes_(b"tensorflow")
    file.attrs["model_config"], file.attrs["training_config"] = np.bytes_(CONFIG.encode()), np.bytes_(TRAINING.encode())
    base = file.create_group("model_weights")
    base.attrs["layer_names"] = names("z", "a", "drop")
    layer(base, "z", z__kernel=KERNEL, z__bias=np.float32([1]))
    layer(base, "a", a__kernel=KERNEL + 1)
    layer(base, "drop")


def opened(
    tmp_path: Path, fill: Callable[[h5py.File], object], change: Callable[[h5py.File], object] | None = None
) -> refser.ModelFile:
    def both(file: h5py.File) -> None:
        fill(file)
        if change:
            change(file)

    return refser.open(write(tmp_path / "m.h5", h5_bytes(both, vars_group=False)))


def weights_only(file: h5py.File) -> None:
    file.attrs["layer_names"] = names("z", "a")
    layer(file, "z", z__kernel=KERNEL)
    layer(file, "a", a__kernel=KERNEL + 1)


def test_lh001_a_whole_model_is_read_in_the_order_of_its_lists(tmp_path: Path) -> None:
    with opened(tmp_path, whole) as file:
        assert (file.layout, file.generation, file.keras_version) == ("legacy-h5", "legacy", "2.3.1")
        assert (file.config_json, file.training_config) == (CONFIG, TRAINING)
        assert file.config == json.loads(CONFIG)
        assert list(file.weights) == ["model_weights/z/z/kernel", "model_weights/z/z/bias", "model_weights/a/a/kernel"]
        assert [group.name for group in file.groups] == ["z", "a", "drop"]
        assert file.weights["model_weights/a/a/kernel"].array().tobytes() == (KERNEL + 1).tobytes()


@pytest.mark.parametrize(
    "store", [str, np.bytes_, lambda text: np.array(text.encode(), h5py.string_dtype("ascii")), str.encode]
)
def test_lh002_and_lh003_configs_are_read_as_bytes_and_as_strings(tmp_path: Path, store: Callable[[str], Any]) -> None:
    def fill(file: h5py.File) -> None:
        whole(file)
        for name, text in (
            ("model_config", CONFIG),
            ("training_config", TRAINING),
            ("keras_version", "2.9"),
            ("backend", "jax"),
        ):
            file.attrs[name] = store(text)

    with opened(tmp_path, fill) as file:
        assert (file.config_json, file.training_config) == (CONFIG, TRAINING)
        assert file.metadata == {"keras_version": "2.9", "backend": "jax"}


def test_lh003_versions_come_from_model_weights_too_and_the_root_wins(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        whole(file)
        file["model_weights"].attrs["keras_version"] = "1.0"
        file["model_weights"].attrs["backend"] = "theano"
        del file.attrs["backend"]

    assert opened(tmp_path, fill).metadata == {"keras_version": "2.3.1", "backend": "theano"}


@pytest.mark.parametrize("name", ["model_config", "training_config", "keras_version", "backend"])
@pytest.mark.parametrize("value", [1, NONE, ["a", "b"], h5py.Empty("f4"), 1.5])
def test_lh002_a_text_that_is_no_string_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with refused("LH-002", InvalidError):
        opened(tmp_path, whole, lambda file: file.attrs.__setitem__(name, value))


def test_lh002_a_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with refused("H5-009"):
        opened(tmp_path, whole, lambda file: file.attrs.__setitem__("model_config", np.bytes_(b'{"a": "\xff"}')))


def test_lh018_a_model_without_config_but_with_layers_is_a_whole_model(tmp_path: Path) -> None:
    with opened(tmp_path, whole, lambda file: file.attrs.__delitem__("model_config")) as file:
        assert (file.layout, file.config_json, len(file.weights)) == ("legacy-h5", None, 3)


@pytest.mark.parametrize("put", [lambda file: None, lambda file: file.create_dataset("model_weights", data=KERNEL)])
def test_lh004_a_config_without_the_group_of_weights_is_refused(tmp_path: Path, put: Callable[[h5py.File], object]) -> None:
    def change(file: h5py.File) -> None:
        del file["model_weights"]
        put(file)

    with refused("LH-004", InvalidError):
        opened(tmp_path, whole, change)


@pytest.mark.parametrize("where", [("model_weights", "layer_names"), ("model_weights/z", "weight_names")])
def test_lh005_missing_name_list_is_refused(tmp_path: Path, where: tuple[str, str]) -> None:
    with refused("LH-005", InvalidError) as caught:
        opened(tmp_path, whole, lambda file: file[where[0]].attrs.__delitem__(where[1]))
    assert caught.value.problem.at == f"m.h5:/{where[0]}"


@pytest.mark.parametrize("value", [1, "z", [1, 2], [1.5], np.array([[b"z"]]), h5py.Empty("S1")])
@pytest.mark.parametrize("where", [("model_weights", "layer_names"), ("model_weights/z", "weight_names")])
def test_lh006_a_name_list_that_is_no_list_of_strings_is_refused(tmp_path: Path, where: tuple[str, str], value: object) -> None:
    with refused("LH-006", InvalidError):
        opened(tmp_path, whole, lambda file: file[where[0]].attrs.__setitem__(where[1], value))


def group_with(**attributes: Any) -> Group:
    return Group("m.h5", "", attributes, {})


def test_lh007_split_lists_are_joined_up_to_the_first_gap() -> None:
    group = group_with(layer_names0=["a"], layer_names1=["b", "c"], layer_names2=[], layer_names4=["never"])
    assert read_name_list(group, "layer_names") == ["a", "b", "c"]


def test_lh007_a_whole_list_wins_over_its_parts() -> None:
    assert read_name_list(group_with(layer_names=["a"], layer_names0=["b"]), "layer_names") == ["a"]


def test_lh007_numbers_join_by_value() -> None:
    parts = {f"weight_names{number}": [str(number)] for number in reversed(range(12))}
    assert read_name_list(group_with(**parts), "weight_names") == [str(number) for number in range(12)]


def test_lh005_a_list_that_starts_at_one_is_missing() -> None:
    with refused("LH-005"):
        read_name_list(group_with(layer_names1=["a"]), "layer_names")


def test_lh007_split_lists_are_read_from_a_file(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        attributes = file["model_weights"].attrs
        del attributes["layer_names"]
        attributes["layer_names0"], attributes["layer_names1"], attributes["layer_names3"] = (
            names("z"),
            names("a"),
            names("gone"),
        )

    with opened(tmp_path, whole, change) as file:
        assert [group.name for group in file.groups] == ["z", "a"]


def keras_split(texts: list[str], limit: int = 64_512) -> dict[str, Any]:
    """What Keras does with a list: `save_attributes_to_hdf5_group`, written anew on numpy.array_split."""
    cells = np.array([text.encode() for text in texts])
    parts = 1
    while any(part.nbytes > limit for part in np.array_split(cells, parts)):
        parts += 1
    return {str(n) if parts > 1 else "": part.tolist() for n, part in enumerate(np.array_split(cells, parts))}


def written(texts: list[str], limit: int = 64_512) -> dict[str, list[bytes]]:
    target = NewGroup()
    write_name_list(target, "N", texts, limit=limit)
    cells = {
        key[1:]: list(value.cells) if isinstance(value, FixedStrings) else value for key, value in target.attributes.items()
    }
    assert all(isinstance(value, list) for value in cells.values())
    return cells  # type: ignore[return-value]


@settings(deadline=None)
@given(texts=st.lists(st.text("aé日", min_size=1, max_size=6), min_size=1, max_size=60), limit=st.integers(24, 200))
def test_lh008_lists_are_split_as_keras_splits_them(texts: list[str], limit: int) -> None:
    want = keras_split(texts, limit)
    event("whole" if "" in want else "split")
    assert written(texts, limit) == want


@pytest.mark.parametrize("count", [1007, 1008, 1009, 2016, 2017, 5000])
def test_lh008_a_list_over_64512_bytes_is_split_in_the_file_as_keras_splits_it(tmp_path: Path, count: int) -> None:
    texts = [f"layer_{number:058}" for number in range(count)]  # 64 bytes each: 1008 fill one attribute
    model = Model(generation="legacy", config_json=CONFIG, groups=tuple(WeightGroup(path=f"model_weights/{t}") for t in texts))
    refser.save(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        attributes = file["model_weights"].attrs
        found = {
            key.removeprefix("layer_names"): [c.encode() if isinstance(c, str) else bytes(c) for c in attributes[key]]
            for key in attributes
        }
        assert found == keras_split(texts)
        if count > 1008:
            kind = h5py.h5a.open(file["model_weights"].id, b"layer_names0").get_type()
            assert (kind.is_variable_str(), kind.get_size(), kind.get_strpad()) == (False, 64, h5py.h5t.STR_NULLPAD)
    assert [group.name for group in refser.open(tmp_path / "m.h5").groups] == texts


def test_lh021_five_thousand_short_names_are_written(tmp_path: Path) -> None:
    """Keras itself fails here: as variable-length strings they do not fit, as bytes they do."""
    texts = [f"d{number}" for number in range(5000)]
    model = Model(generation="legacy", config_json=CONFIG, groups=tuple(WeightGroup(path=f"model_weights/{t}") for t in texts))
    refser.save(model, tmp_path / "m.h5")
    assert [group.name for group in refser.open(tmp_path / "m.h5").groups] == texts


@pytest.mark.parametrize("text", ["x" * 64_513, "a\0b", "", "\ud800"])
def test_lh009_a_name_that_no_list_holds_is_not_written(text: str) -> None:
    with refused("LH-009", InvalidError):
        write_name_list(NewGroup(), "layer_names", ["fine", text])


def test_lh009_a_name_of_the_largest_size_is_written() -> None:
    assert written(["x" * 64_512]) == {"": [b"x" * 64_512]}


def test_lh021_an_empty_list_is_written_as_keras_writes_it(tmp_path: Path) -> None:
    refser.save(Model(generation="legacy", config_json=CONFIG), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        value = file["model_weights"].attrs["layer_names"]
        assert (value.shape, value.dtype) == ((0,), np.dtype("f8"))


def test_lh010_layer_names_with_slashes_are_read_and_written(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["layer_names"] = names("block/conv", "a")
        layer(file, "block/conv", block__conv__kernel=KERNEL)
        layer(file, "a", a__b__c=KERNEL)

    with opened(tmp_path, fill) as file:
        assert file.layout == "legacy-weights-h5"
        assert list(file.weights) == ["block/conv/block/conv/kernel", "a/a/b/c"]
        assert [group.path for group in file.groups] == ["block/conv", "a"]
        model = file.load()
    refser.save(model, tmp_path / "copy.h5")
    assert refser.load(tmp_path / "copy.h5") == model


def test_lh011_lh020_top_level_weights_come_last_and_stay_out_of_the_list(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        layer(file["model_weights"], "top_level_model_weights", scale=KERNEL)

    with opened(tmp_path, whole, change) as file:
        assert [group.name for group in file.groups] == ["z", "a", "drop", "top_level_model_weights"]
        assert list(file.weights)[-1] == "model_weights/top_level_model_weights/scale"
        model = file.load()
    refser.save(model, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5") as file:
        assert texts(file["model_weights"].attrs["layer_names"]) == ["z", "a", "drop"]
        assert texts(file["model_weights/top_level_model_weights"].attrs["weight_names"]) == ["scale"]
    assert refser.load(tmp_path / "copy.h5") == model


def test_lh011_empty_top_level_weights_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path, whole, lambda file: layer(file["model_weights"], "top_level_model_weights")) as file:
        assert file.groups[-1] == WeightGroup(path="model_weights/top_level_model_weights", name="top_level_model_weights")


def test_lh012_optimizer_weights_come_in_the_order_of_their_list(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        layer(file, "optimizer_weights", Adam__iter=np.int64(3), Adam__z__m=KERNEL, Adam__a__m=KERNEL)

    with opened(tmp_path, whole, change) as file:
        assert list(file.weights)[3:] == [f"optimizer_weights/Adam/{key}" for key in ("iter", "z/m", "a/m")]
        model = file.load()
    refser.save(model, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5") as file:
        assert texts(file["optimizer_weights"].attrs["weight_names"]) == ["Adam/iter", "Adam/z/m", "Adam/a/m"]
    assert refser.load(tmp_path / "copy.h5") == model


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.__delitem__("model_weights/a"),
        lambda file: (file.__delitem__("model_weights/a"), file.create_dataset("model_weights/a", data=KERNEL)),
        lambda file: file.__delitem__("model_weights/a/a/kernel"),
        lambda file: (file.__delitem__("model_weights/a/a/kernel"), file.create_group("model_weights/a/a/kernel")),
        lambda file: file["model_weights/a"].attrs.__setitem__("weight_names", names("a//kernel")),
        lambda file: file["model_weights/a"].attrs.__setitem__("weight_names", names("../z/z/kernel")),
        lambda file: file["model_weights/a"].attrs.__setitem__("weight_names", names("/model_weights/z/z/kernel")),
        lambda file: file["model_weights"].attrs.__setitem__("layer_names", np.array([b"z", b""], "S1")),
    ],
)
def test_lh013_a_name_without_its_array_is_refused(tmp_path: Path, change: Callable[[h5py.File], object]) -> None:
    with refused("LH-013", InvalidError):
        opened(tmp_path, whole, change)


def test_lh014_weights_alone_are_read_and_written(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file.attrs["keras_version"] = "2.15.0"

    with opened(tmp_path, weights_only, change) as file:
        assert (file.layout, file.generation, file.config_json, file.config) == ("legacy-weights-h5", "legacy", None, None)
        assert list(file.weights) == ["z/z/kernel", "a/a/kernel"]
        assert file.metadata == {"keras_version": "2.15.0"}
        model = file.load()
    refser.save(model, tmp_path / "copy.h5")
    assert refser.load(tmp_path / "copy.h5") == model


def test_lh014_a_split_list_makes_weights_alone_too(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        weights_only(file)
        file.attrs["layer_names0"] = file.attrs["layer_names"]
        del file.attrs["layer_names"]

    assert opened(tmp_path, fill).layout == "legacy-weights-h5"


def test_lh019_a_whole_model_gives_its_weights_alone(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        layer(file, "optimizer_weights", it=np.int64(3))

    refser.save(opened(tmp_path, whole, change).load(), tmp_path / "w.h5", layout="legacy-weights-h5")
    back = refser.load(tmp_path / "w.h5")
    assert list(back.weights) == ["z/z/kernel", "z/z/bias", "a/a/kernel"]
    assert (back.config_json, back.training_config) == (None, None)
    assert [group.path for group in back.groups] == ["z", "a", "drop"]


@pytest.mark.parametrize(
    "groups",
    [
        (WeightGroup(path="model_weights/z", keys=("z/k", "gone")),),
        (WeightGroup(path="model_weights/z", keys=("z/k",)), WeightGroup(path="model_weights/z", keys=("z/k",))),
        (WeightGroup(path="model_weights/z"),),
    ],
)
def test_lh015_groups_that_do_not_match_the_weights_are_not_written(tmp_path: Path, groups: tuple[WeightGroup, ...]) -> None:
    weights = {"model_weights/z/z/k": Weight.from_array("model_weights/z/z/k", KERNEL)}
    model = Model(generation="legacy", config_json=CONFIG, weights=weights, groups=groups)
    for name in ("m.h5", "w.h5"):
        with refused("LH-015", InvalidError):
            refser.save(model, tmp_path / name, layout="legacy-weights-h5" if name == "w.h5" else None)
    assert list(tmp_path.iterdir()) == []


def test_lh016_a_layer_named_twice_is_refused(tmp_path: Path) -> None:
    with refused("LH-016", InvalidError):
        opened(tmp_path, whole, lambda file: file["model_weights"].attrs.__setitem__("layer_names", names("z", "a", "z")))


def test_lh016_a_weight_named_twice_is_refused(tmp_path: Path) -> None:
    with refused("LH-016", InvalidError):
        opened(
            tmp_path, whole, lambda file: file["model_weights/z"].attrs.__setitem__("weight_names", names("z/bias", "z/bias"))
        )


def test_lh001_a_whole_model_without_config_is_not_written(tmp_path: Path) -> None:
    with refused("LH-001", InvalidError):
        refser.save(Model(generation="legacy"), tmp_path / "m.h5", layout="legacy-h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [1, None, "a\0b", "\ud800"])
def test_lh001_a_version_that_is_no_text_is_not_written(tmp_path: Path, version: Any) -> None:
    with refused("LH-001", InvalidError):
        refser.save(Model(generation="legacy", config_json=CONFIG, metadata={"keras_version": version}), tmp_path / "m.h5")


@pytest.mark.parametrize("field", ["config_json", "training_config"])
def test_lh002_a_text_that_no_reader_takes_is_not_written(tmp_path: Path, field: str) -> None:
    for text, code in (("{", "JS-002"), ('{"\ud800": 1}', "JS-001"), ("[]", "JS-005")):
        model = Model(generation="legacy", **({"config_json": CONFIG} | {field: text}))
        with refused(code):
            refser.save(model, tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_lh_the_root_is_written_as_keras_writes_it(tmp_path: Path) -> None:
    metadata = {"keras_version": "3.15.1", "backend": "jax"}
    refser.save(Model(generation="legacy", config_json=CONFIG, training_config=TRAINING, metadata=metadata), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert dict(file.attrs) == {"model_config": CONFIG, "training_config": TRAINING, **metadata}
        for name, cset in (("model_config", h5py.h5t.CSET_ASCII), ("keras_version", h5py.h5t.CSET_UTF8)):
            kind = h5py.h5a.open(file.id, name.encode()).get_type()
            assert (kind.is_variable_str(), kind.get_cset()) == (True, cset)
        assert dict(file["model_weights"].attrs)["backend"] == "jax"
        assert h5py.h5a.open(file["model_weights"].id, b"backend").get_type().get_cset() == h5py.h5t.CSET_ASCII


def test_lh_a_config_over_64_kib_is_written_and_read(tmp_path: Path) -> None:
    config = json.dumps({"class_name": "Sequential", "config": {"x": "é" * 100_000}}, ensure_ascii=False)
    model = Model(generation="legacy", config_json=config, training_config=TRAINING)
    refser.save(model, tmp_path / "m.h5")
    assert refser.load(tmp_path / "m.h5") == model


def test_lh022_arrays_that_no_list_names_are_left_alone(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["model_weights/z/unlisted"] = KERNEL
        file["model_weights/z/odd"] = np.zeros(2, "i4,f4")  # of a type that no weight has
        file["other"] = KERNEL

    assert len(opened(tmp_path, whole, change).weights) == 3


def test_lh017_names_are_kept_as_they_stand(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["model_weights"].attrs["layer_names"] = names("z", "a", "drop", "Größe_1")
        layer(file["model_weights"], "Größe_1", **{"Größe_1__kernel:0": KERNEL, "W:0:0": KERNEL})

    with opened(tmp_path, whole, change) as file:
        assert file.groups[-1].keys == ("Größe_1/kernel:0", "W:0:0")
        model = file.load()
    refser.save(model, tmp_path / "copy.h5")
    assert refser.load(tmp_path / "copy.h5") == model


def test_lh_bfloat16_has_no_attribute_in_files_of_keras(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["model_weights/a/a/kernel"]
        file["model_weights/a/a/kernel"] = np.frombuffer(b"\x80\x3f", "V2")

    assert opened(tmp_path, whole, change).weights["model_weights/a/a/kernel"].dtype == "bfloat16"


def test_lh_the_module_has_keras_own_bound() -> None:
    assert legacy_h5.ATTRIBUTE_BYTES_MAX == 64_512
