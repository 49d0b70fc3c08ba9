"""The weights that a config lets one expect in an HDF5 file of Keras 1 and 2: files of every Keras, and recorded models.

Live models of Keras 3 are in keras/test_rules_legacy.py.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from helpers import GOLDEN, refused
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refser.errors import InvalidError, RefserError
from refser.rules.legacy import expected_legacy_weights, names_by_order
from refser.rules.tree import WeightTree, expected_weights

DATA = Path(__file__).parent / "data" / "legacy"
FILES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*.legacy.h5"))
RECORDED: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(DATA.glob("*.json"))}
CASES = [(keras, name) for keras, entries in RECORDED.items() for name in entries]
FRESH = [(keras, name) for keras, name in CASES if not name.endswith(", loaded")]
LOADED = [(keras, name) for keras, name in CASES if name.endswith(", loaded")]
BASE = "model_weights"
# What the config of a recorded model does not tell: groups by case
OPAQUE = {
    "activation": {"dense"},  # a layer in an argument, before tf.keras 2.13 without its shape
    "dotted": {"merge_4", "dense_2"},
    "local": {"locally_connected1d", "locally_connected1d_1", "dense", "dense_1"},
    "models_at_head": {""},
    "chain_at_head": {""},  # Keras 1: a Sequential in another has no name
    "operations": {"dense"},
    "unknown": {"highway_1", "maxoutdense_1", "dense_2"},
}
Arrays = list[tuple[str, tuple[int, ...], str]]


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def names(group: h5py.Group, attribute: str) -> list[str]:
    keys = [attribute] if attribute in group.attrs else [f"{attribute}{n}" for n in range(len(group.attrs))]
    return [text(name) for key in keys if key in group.attrs for name in group.attrs[key]]


def arrays_of(file: h5py.File) -> dict[str, Arrays]:
    """By group, in the order of the lists."""
    base = file[BASE]
    groups = names(base, "layer_names") + [name for name in base if name == "top_level_model_weights"]
    return {
        f"{BASE}/{name}": [
            (f"{BASE}/{name}/{key}", base[name][key].shape, str(base[name][key].dtype))
            for key in names(base[name], "weight_names")
        ]
        for name in groups
    }


def recorded(keras: str, name: str) -> tuple[WeightTree, dict[str, Arrays]]:
    entry = RECORDED[keras][name]
    tree = expected_weights(entry["config"], keras_version=entry["keras_version"], generation="legacy")
    found = {
        f"{BASE}/{layer}": [(f"{BASE}/{layer}/{key}", tuple(shape), dtype) for key, shape, dtype in weights]
        for layer, weights in entry["layers"]
    }
    return tree, found


def expected(tree: WeightTree, group: str) -> Iterator[tuple[str, tuple[int | None, ...], str | None]]:
    return ((spec.path, spec.shape, spec.dtype) for spec in tree if spec.path.startswith(f"{group}/"))


def opaque(tree: WeightTree) -> set[str]:
    return {place.path.removeprefix(BASE).lstrip("/") for place in tree.opaque}


@pytest.mark.parametrize("name", FILES)
def test_the_arrays_of_golden_files_are_as_expected(name: str) -> None:
    """LH-010, LH-011, LH-012, WT-021."""
    with h5py.File(GOLDEN / name) as file:
        config, version = text(file.attrs["model_config"]), text(file.attrs["keras_version"])
        real = arrays_of(file)
    tree = expected_weights(config, keras_version=version, generation="legacy")
    assert tree.opaque == ()
    assert list(tree.groups) == list(real)
    assert [(spec.path, spec.shape, spec.dtype) for spec in tree] == [array for arrays in real.values() for array in arrays]


@pytest.mark.parametrize(("keras", "name"), FRESH)
def test_the_arrays_of_recorded_models_are_as_expected(keras: str, name: str) -> None:
    tree, real = recorded(keras, name)
    wanted = OPAQUE.get(name, set())
    assert opaque(tree) <= wanted
    for group, arrays in real.items():
        if "" in wanted or group.removeprefix(f"{BASE}/") in wanted:
            continue
        found = list(expected(tree, group))
        assert [array[:2] for array in found] == [array[:2] for array in arrays]
        assert [dtype for *_, dtype in found if dtype] == [dtype for (*_, dtype), it in zip(arrays, found) if it[2]]
        assert group in tree.groups


def test_what_is_opaque_is_so_somewhere() -> None:
    seen = {name: set[str]() for name in OPAQUE}
    for keras, name in FRESH:
        if name in OPAQUE:
            seen[name] |= opaque(recorded(keras, name)[0])
    assert seen == OPAQUE


@pytest.mark.parametrize(("keras", "name"), LOADED)
def test_a_model_that_was_loaded_has_other_names_for_the_same(keras: str, name: str) -> None:
    tree, real = recorded(keras, name)
    assert opaque(tree) == set()
    groups = [(group, [path.removeprefix(f"{group}/") for path, *_ in arrays]) for group, arrays in real.items()]
    shapes = {path: shape for arrays in real.values() for path, shape, _ in arrays}
    found = names_by_order(groups, tree, shapes)
    assert set(found) == set(shapes)
    assert any(found[path].path != path for path in found)
    for arrays in real.values():
        assert len({found[path].path for path, *_ in arrays}) == len(arrays)
        for path, shape, _ in arrays:
            assert found[path].shape == shape
            assert found[path].name == path.rpartition("/")[2].removesuffix(":0")


# What the tree says besides


def tree_of(keras: str, name: str) -> WeightTree:
    return recorded(keras, name)[0]


@pytest.mark.parametrize("keras", ["keras-2.2.4", "tf-keras-2.15.0"])
def test_names_around_variables_are_those_of_the_newer_files(keras: str) -> None:
    """WT-014."""
    for name, entry in RECORDED[keras].items():
        if name in OPAQUE or name == "weighted_words":
            continue
        newer = expected_weights(entry["config"], keras_version=entry["keras_version"], optimizer=False)
        assert {spec.variable_path for spec in recorded(keras, name)[0]} == {spec.variable_path for spec in newer}


def test_what_keras_1_calls_a_variable_ends_its_path() -> None:
    paths = [spec.variable_path for spec in tree_of("keras-1.2.2", "nested_chain")]
    assert paths[:3] == ["s/dense_1/W", "s/dense_1/b", "s/batchnormalization_1/gamma"]


def test_variables_in_a_frozen_model_are_not_trained() -> None:
    """WT-020."""
    found = {spec.variable_path: spec.trainable for spec in tree_of("tf-keras-2.15.0", "frozen_model")}
    inside = [trained for path, trained in found.items() if path and path.startswith("model")]
    assert inside == [False] * 8
    assert [trained for path, trained in found.items() if path and path.startswith("dense")] == [True, True]


def test_before_keras_2_3_variables_are_not_of_the_type_of_the_input() -> None:
    config = {"class_name": "Embedding", "config": {"name": "e", "input_dim": 3, "output_dim": 2, "dtype": "int32"}}
    config["config"]["batch_input_shape"] = [None, 4]
    tree = expected_legacy_weights({"class_name": "Sequential", "config": [config]}, keras_version="2.1.5")
    assert [(spec.path, spec.dtype) for spec in tree] == [("model_weights/e/e/embeddings:0", "float32")]


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("2.1.6-tf", "r/kernel:0"),
        ("2.2.4-tf", "r/kernel:0"),
        ("2.3.0-tf", "r/lstm_cell/kernel:0"),
        ("2.3.1", "r/kernel:0"),
        ("2.4.0", "r/lstm_cell/kernel:0"),
        ("3.2.1", "kernel"),
        ("3.3.0", "m/r/lstm_cell/kernel"),
        (None, "m/r/lstm_cell/kernel"),
    ],
)
def test_names_go_by_the_version(version: str | None, path: str) -> None:
    layer = {"class_name": "LSTM", "config": {"name": "r", "units": 2, "batch_input_shape": [None, 4, 3]}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}
    assert expected_legacy_weights(model, keras_version=version)[0].path == f"model_weights/r/{path}"


def chain(*layers: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers), **config}}


def dense(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": 2, **config}}


def test_a_class_that_is_not_known_and_what_comes_after_it_are_opaque() -> None:
    """WT-015."""
    mine = {"class_name": "Mine", "module": "my.layers", "registered_name": "my>Mine", "config": {"name": "x"}}
    for version in ("2.15.0", "3.15.1"):
        tree = expected_legacy_weights(chain(dense("a", batch_input_shape=[None, 3]), mine, dense("b")), keras_version=version)
        assert [spec.shape for spec in tree] == [(3, 2), (2,)]
        assert {place.path: place.reason for place in tree.opaque} == {
            "model_weights/x": "a class that refser does not know",
            "model_weights/b": "the shape of what goes into it",
        }
    assert [place.path for place in expected_legacy_weights({**mine, "config": {}}).opaque] == [BASE]


def test_a_chain_of_keras_3_that_was_not_built_has_no_weights() -> None:
    """WT-013."""
    tree = expected_legacy_weights(chain(dense("a"), dense("b")), keras_version="3.15.1")
    assert (list(tree), tree.opaque, list(tree.groups)) == (
        [],
        (),
        ["model_weights/a", "model_weights/b", "model_weights/top_level_model_weights"],
    )
    older = expected_legacy_weights(chain(dense("a"), dense("b")), keras_version="2.2.4")
    assert opaque(older) == {"a", "b"}


def test_low_ranks_and_eight_bit_floats_are_opaque() -> None:
    for more in ({"lora_rank": 2}, {"dtype": "float8_from_float32"}, {"dtype": "gptq/4/128_from_float32"}):
        tree = expected_legacy_weights(chain(dense("a", **more), build_input_shape=[None, 4]))
        assert opaque(tree) == {"a"}, more


def test_the_place_of_an_error_is_in_the_file() -> None:
    layer = {"class_name": "Dense", "config": {"name": "d", "output_dim": "x", "batch_input_shape": [None, 3]}}
    with refused("LY-003", InvalidError) as caught:
        expected_legacy_weights({"class_name": "Sequential", "config": [layer]}, keras_version="1.2.2")
    assert caught.value.problem.at == "config[0].config"


# Finding what has another name


def found_in(tree: WeightTree, keys: list[str], shapes: dict[str, tuple[int, ...]] | None = None) -> list[str | None]:
    found = names_by_order([("model_weights/a", keys)], tree, shapes)
    return [spec.path.rpartition("/")[2] if (spec := found.get(f"model_weights/a/{key}")) else None for key in keys]


TREE = expected_legacy_weights(chain(dense("a"), build_input_shape=[None, 4]))


def test_arrays_are_found_by_what_their_names_end_with() -> None:
    assert found_in(TREE, ["m/a/kernel", "m/a/bias"]) == ["kernel", "bias"]
    assert found_in(TREE, ["a/bias", "a/kernel"]) == ["bias", "kernel"]
    assert found_in(TREE, ["a_1/kernel:0", "a_1/bias:0"]) == ["kernel", "bias"]
    assert found_in(TREE, ["kernel_7", "bias_7"]) == ["kernel", "bias"]


def test_nothing_is_said_of_a_layer_whose_arrays_are_others() -> None:
    assert found_in(TREE, ["a/kernel"]) == [None]
    assert found_in(TREE, ["a/kernel", "a/bias", "a/more"]) == [None] * 3
    assert found_in(TREE, ["x", "y"]) == [None, None]
    assert found_in(TREE, ["m/a/kernel", "x"]) == ["kernel", None]
    shapes = {"model_weights/a/a/kernel": (4, 2), "model_weights/a/a/bias": (3,)}
    assert found_in(TREE, ["a/kernel", "a/bias"], shapes) == [None, None]
    assert found_in(TREE, ["a/kernel", "a/bias"], {**shapes, "model_weights/a/a/bias": (2,)}) == ["kernel", "bias"]
    assert names_by_order([("model_weights/z", ["z/kernel"])], TREE) == {}


def test_a_file_of_weights_only_has_its_layers_on_the_root() -> None:
    found = names_by_order([("a", ["a/kernel:0", "a/bias:0"])], TREE)
    assert {path: spec.variable_path for path, spec in found.items()} == {"a/a/kernel:0": "a/kernel", "a/a/bias:0": "a/bias"}


def test_arrays_with_names_alike_are_found_by_their_places() -> None:
    tree = tree_of("keras-2.2.4", "stacks")
    keys = [f"x/{name}:0" for name in ("kernel_7", "recurrent_kernel_7", "bias_7", "kernel_9", "recurrent_kernel_9", "bias_9")]
    found = names_by_order([("stack", keys)], tree)
    assert [spec.variable_path for spec in found.values()] == [
        spec.variable_path for spec in tree if spec.path.startswith("model_weights/stack/")
    ]
    swapped = [keys[1], keys[0], *keys[2:]]
    assert names_by_order([("stack", swapped)], tree) == {}


# Hostile configs


def spots(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        it = todo.pop()
        keys = list(it) if isinstance(it, dict) else range(len(it)) if isinstance(it, list) else ()
        for key in keys:
            found.append((it, key))
            todo.append(it[key])
    return found


NUMBERS = st.integers(-3, 9) | st.sampled_from([1 << 61, 1 << 70, 0.5])
HOSTILE = st.one_of(
    *(st.none(), st.booleans(), NUMBERS, st.text(max_size=2), st.lists(st.none() | NUMBERS, max_size=4)),
    st.sampled_from(
        [{}, [[]], {"class_name": "Dense", "config": {}}, {"class_name": "Sequential", "config": []}, [["a", 0, 0]]]
    ),
)
VERSIONS = st.sampled_from(["1.2.2", "2.0.0", "2.2.4-tf", "2.3.0-tf", "2.12.0", "2.15.0", "3.0.5", "3.15.1", "x", None])


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_whatever_a_config_says_is_refused_or_answered(data: st.DataObject) -> None:
    entry = copy.deepcopy(RECORDED[(case := data.draw(st.sampled_from(CASES)))[0]][case[1]])
    for _ in range(data.draw(st.integers(1, 3))):
        places = spots(entry["config"])
        within, key = places[data.draw(st.integers(0, len(places) - 1))]
        if data.draw(st.booleans()):
            within[key] = copy.deepcopy(data.draw(HOSTILE))  # or it grows from example to example
        else:
            other, where = places[data.draw(st.integers(0, len(places) - 1))]
            within[key] = copy.deepcopy(other[where])
    version = data.draw(st.just(entry["keras_version"]) | VERSIONS)
    try:
        tree = expected_weights(entry["config"], keras_version=version, generation="legacy")
    except RefserError as error:
        event(error.problem.code)
    else:
        event("opaque" if tree.opaque else "answered")
        names_by_order([(layer, [key for key, *_ in weights]) for layer, weights in entry["layers"]], tree)


@pytest.mark.parametrize("version", ["1.2.2", "2.2.4", "2.12.0", "3.15.1"])
def test_models_in_models_take_no_more_time_than_their_number(version: str) -> None:
    config = dense("d", batch_input_shape=[None, 3]) | ({} if version != "1.2.2" else {"class_name": "Flatten"})
    for number in range(60):
        config = {"class_name": "Sequential", "config": {"name": f"s{number}", "layers": [config]}}
    start = time.process_time()
    expected_weights(json.dumps(config), keras_version=version, generation="legacy")
    expected_weights(json.dumps(config), keras_version=version)
    assert time.process_time() - start < 20  # some tenths of a second, and years where each model doubles the work


def test_objects_nested_too_deep_are_refused() -> None:
    config = dense("d", batch_input_shape=[None, 3])
    for number in range(2000):
        config = {"class_name": "Sequential", "config": {"name": f"s{number}", "layers": [config]}}
    for version in ("1.2.2", "2.15.0", "3.15.1"):
        for generation in ("v3", "legacy"):
            with refused("LI-002"):
                expected_weights(config, keras_version=version, generation=generation)
