"""Weights against the config.  What real Keras does with such files: tests/keras/test_check_weights_keras.py."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from helpers import GOLDEN, h5_bytes
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from weights_checked import AT, Arrays, archive, codes, dense, found_in, looked_at, sequential, zeros

from refser.checks._fitting import judged_dtype
from refser.values import DTYPES

ONE = sequential(dense())
FITTING: Arrays = {"layers/dense/vars/0": zeros(3, 2), "layers/dense/vars/1": zeros(2)}
SGD = {"module": "keras.optimizers", "class_name": "SGD", "registered_name": None}
TRAINED = {"compile_config": {"optimizer": {**SGD, "config": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}}}}
STATE: Arrays = {
    "optimizer/vars/0": np.int64(1),
    "optimizer/vars/1": np.float32(0.01),
    "optimizer/vars/2": zeros(3, 2),
    "optimizer/vars/3": zeros(2),
}
FILES = sorted(path for path in GOLDEN.glob("*keras-*/*") if path.suffix != ".savedmodel" and ".npz." not in path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_wt040_golden_files_fit(path: object) -> None:
    """WT-040 to WT-048, LH-030 to LH-036, VA-020: a shard alone, too."""
    assert [str(it) for it in looked_at(path, values=True) if it.severity != "info"] == []  # type: ignore[arg-type]


def without(*paths: str) -> Arrays:
    return {path: value for path, value in FITTING.items() if path not in paths}


def test_wt040_a_weight_is_named_with_its_shape() -> None:
    (found,) = found_in(archive(ONE, without("layers/dense/vars/1")))
    assert (found.code, found.severity, found.at) == ("WT-040", "error", f"{AT}layers/dense/vars/1")
    assert found.message == "1 array of 2; the config calls for d/bias (2,)"


def test_wt040_a_part_that_is_gone_is_one_finding() -> None:
    inner = {"class_name": "Sequential", "config": {"name": "i", "layers": [dense("a"), dense("b", 2, 2), dense("c", 2, 2)]}}
    (found,) = found_in(
        archive(sequential(inner, dense("d", 2, 2)), {"layers/dense/vars/0": zeros(2, 2), "layers/dense/vars/1": zeros(2)})
    )
    assert (found.code, found.at) == ("WT-040", f"{AT}layers/sequential")
    assert "i/a/kernel (3, 2), i/a/bias (2,), i/b/kernel (2, 2) and 3 more" in found.message


@pytest.mark.parametrize("other", ["layers/dense_1", "layers/linear"])
def test_wt040_weights_of_the_same_shapes_elsewhere_are_named(other: str) -> None:
    (found,) = found_in(archive(ONE, {f"{other}/vars/0": zeros(3, 2), f"{other}/vars/1": zeros(2)}))
    assert (found.code, found.at) == ("WT-040", f"{AT}layers/dense")
    assert found.message.endswith(f"and the file has the like at {other}")


def test_wt040_weights_of_the_same_name_elsewhere_are_named() -> None:
    (found,) = found_in(archive(ONE, {"layers/linear/vars/0": zeros(7)}, {"layers/linear/vars": "d"}))
    assert found.message.endswith("and the file has the like at layers/linear")


def test_wt040_what_stands_elsewhere_is_found_once() -> None:
    two = sequential(dense("a"), dense("b", 2, 2), dense("c", 2, 2))
    moved = {
        "layers/dense/vars/0": zeros(3, 2),
        "layers/dense/vars/1": zeros(2),
        "layers/x/vars/0": zeros(2, 2),
        "layers/x/vars/1": zeros(2),
    }
    found = found_in(archive(two, moved))
    assert [("like" in it.message, it.at) for it in found] == [(True, f"{AT}layers/dense_1"), (False, f"{AT}layers/dense_2")]


def test_wt040_the_version_that_fits_counts() -> None:
    """Keras asks for no version: a file of Keras 3 is one, whatever its metadata say."""
    assert found_in(archive(ONE, FITTING, keras_version="2.12.0")) == []
    old = {path.replace("layers", "_layer_checkpoint_dependencies"): value for path, value in FITTING.items()}
    assert found_in(archive(ONE, old, keras_version="2.14.0")) == []
    assert found_in(archive(ONE, old)) == []


def test_wt041_what_nobody_calls_for_is_an_error_in_a_group_that_is_counted() -> None:
    (found,) = found_in(archive(ONE, {**FITTING, "layers/dense/vars/2": zeros(1)}))
    assert (found.code, found.severity, found.at) == ("WT-041", "error", f"{AT}layers/dense/vars/2")
    (found,) = found_in(archive(ONE, {**FITTING, "layers/dense/vars/x": None}))  # an empty group counts as well
    assert (found.code, found.severity, found.at) == ("WT-041", "error", f"{AT}layers/dense/vars/x")


def test_wt041_groups_that_nobody_calls_for_are_a_warning_and_empty_ones_an_info() -> None:
    more = {f"layers/functional/layers/dense_{n}/vars/0": zeros(1) for n in range(9)}
    (found,) = found_in(archive(ONE, {**FITTING, **more}))
    assert (found.code, found.severity, found.at) == ("WT-041", "warning", f"{AT}layers/functional")
    assert found.message.startswith("9 arrays below layers/functional")
    assert codes(found_in(archive(ONE, {**FITTING, "layers/re_lu/vars": None}))) == [("WT-041", "info")]


def test_wt041_a_lookup_takes_what_it_looks_for() -> None:
    lookup = {"class_name": "StringLookup", "config": {"name": "w", "vocabulary": ["a"]}}
    (found,) = found_in(archive(sequential(lookup), {"layers/string_lookup/vars/0": zeros(1)}))
    assert (found.code, found.severity) == ("WT-041", "warning")


def test_wt042_shapes_of_one_group_are_one_finding() -> None:
    (found,) = found_in(archive(ONE, {"layers/dense/vars/0": zeros(3, 4), "layers/dense/vars/1": zeros(4)}))
    assert (found.code, found.severity, found.at) == ("WT-042", "error", f"{AT}layers/dense/vars/0")
    assert found.message == "the config calls for d/kernel (3, 2), d/bias (2,) and the file has (3, 4), (4,)"


def test_wt042_the_state_of_a_wrong_weight_is_no_second_fault() -> None:
    wide = {
        "layers/dense/vars/0": zeros(3, 4),
        "layers/dense/vars/1": zeros(4),
        "optimizer/vars/2": zeros(3, 4),
        "optimizer/vars/3": zeros(4),
    }
    assert codes(found_in(archive({**ONE, **TRAINED}, {**STATE, **wide}))) == [("WT-042", "error")]
    (found,) = found_in(archive({**ONE, **TRAINED}, {**FITTING, **STATE, "optimizer/vars/2": zeros(3, 4)}))
    assert (found.code, found.at) == ("WT-042", f"{AT}optimizer/vars/2")


def test_wt042_an_axis_that_the_config_does_not_tell_is_free() -> None:
    lookup = {"class_name": "StringLookup", "config": {"name": "w", "output_mode": "tf_idf"}}
    asset = ("layers/string_lookup/vocabulary.txt",)
    assert found_in(archive(sequential(lookup), {"layers/string_lookup/vars/idf_weights": zeros(9)}, assets=asset)) == []
    wrong = {"layers/string_lookup/vars/idf_weights": zeros(9, 1)}
    assert codes(found_in(archive(sequential(lookup), wrong, assets=asset))) == [("WT-042", "error")]


FAITHFUL = {("float16", "float32"), ("int8", "int32"), ("uint8", "int16"), ("float32", "complex64"), ("bfloat16", "float16")}


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("wanted", DTYPES)
def test_wt043_a_cast_that_can_change_the_kind_of_value_is_an_error(wanted: str, stored: str) -> None:
    kinds = [DTYPES[it][0][0].replace("V", "f") for it in (wanted, stored)]
    found = judged_dtype(wanted, stored)
    if "S" in kinds[1]:
        assert found == "error"
    elif wanted == stored:
        assert found is None
    elif kinds in (["f", "f"], ["c", "c"], ["c", "f"]):
        assert found == "warning"
    elif kinds[0] in "iu" and kinds[1] in "iu":
        assert found == ("warning" if np.can_cast(stored, wanted) else "error")
    else:
        assert found == "error"
    assert (stored, wanted) not in FAITHFUL or found == "warning"
    assert judged_dtype(None, stored) == ("error" if stored == "string" else None)


def test_wt043_one_precision_is_one_finding() -> None:
    two = sequential(dense("a"), dense("b", 2, 2))
    half = {
        f"layers/{layer}/vars/{n}": value
        for layer, width in (("dense", 3), ("dense_1", 2))
        for n, value in enumerate((zeros(width, 2, dtype="f2"), zeros(2, dtype="f2")))
    }
    (found,) = found_in(archive(two, half))
    assert (found.code, found.severity, found.at) == ("WT-043", "warning", f"{AT}layers/dense/vars/0")
    assert (
        found.message
        == "float16 in the place of a/kernel, a/bias, b/kernel, b/bias; the config calls for float32, to which Keras casts it"
    )


def test_wt043_text_is_no_weight_of_any_config() -> None:
    data = h5_bytes(lambda file: file.__setitem__("layers/dense/vars/0", np.array([b"1.0"])))
    assert codes(found_in(data, "m.weights.h5")) == [("WT-043", "error")]


@pytest.mark.parametrize("keys", [("0", "2"), ("1", "2"), ("00", "1"), ("kernel", "bias")])
def test_wt044_arrays_under_other_keys(keys: tuple[str, str]) -> None:
    arrays = {f"layers/dense/vars/{key}": value for key, value in zip(keys, FITTING.values())}
    (found,) = found_in(archive(ONE, arrays))
    assert (found.code, found.severity, found.at) == ("WT-044", "error", f"{AT}layers/dense/vars")


@pytest.mark.parametrize(
    ("keys", "name", "wrong"),
    [
        ("0 1 2", "d", False),
        ("0 2", "d", True),
        ("1 2", "d", True),
        ("1 2", None, False),  # of a shard
        ("1 3", None, True),
        ("00 1", None, True),
        ("a 7", None, False),  # a layer that saves for itself
        ("9 10 11", None, False),
    ],
)
def test_wt044_numbers_without_a_config(keys: str, name: str | None, wrong: bool) -> None:
    def fill(file: h5py.File) -> None:
        for key in keys.split():
            file[f"layers/x/vars/{key}"] = zeros(1)
        if name is not None:
            file["layers/x/vars"].attrs["name"] = name

    found = found_in(h5_bytes(fill), "m.weights.h5")
    assert codes(found) == ([("WT-044", "error")] if wrong else [])
    assert not wrong or found[0].at == "m.weights.h5:/layers/x/vars"


@pytest.mark.parametrize("inside", [{"layers/dense/vars/0/0": zeros(3, 2)}, {"layers/dense/vars/0": None}])
def test_wt045_a_group_in_the_place_of_an_array(inside: Arrays) -> None:
    (found,) = found_in(archive(ONE, {**without("layers/dense/vars/0"), **inside}))
    assert (found.code, found.severity, found.at) == ("WT-045", "error", f"{AT}layers/dense/vars/0")


@pytest.mark.parametrize("path", ["layers/dense", "layers", "layers/dense/vars"])
def test_wt045_an_array_in_the_place_of_a_group_is_outside_of_all(path: str) -> None:
    assert codes(found_in(archive(ONE, {path: zeros(1)}))) == [("WH-001", "error")]


def test_wt046_another_name() -> None:
    (found,) = found_in(archive(ONE, FITTING, {"layers/dense/vars": "other"}))
    assert (found.code, found.severity, found.at) == ("WT-046", "warning", f"{AT}layers/dense/vars")
    assert found_in(archive(ONE, FITTING, {"layers/dense/vars": "d", "vars": "m"})) == []


def test_wt046_is_not_said_of_a_group_with_a_fault() -> None:
    found = found_in(archive(ONE, {"layers/dense/vars/0": zeros(3, 2)}, {"layers/dense/vars": "other"}))
    assert codes(found) == [("WT-040", "error")]


LOOKUP = sequential({"class_name": "TextVectorization", "config": {"name": "t"}})
WORDS = ("layers/text_vectorization/vocabulary.txt", "layers/text_vectorization/_lookup_layer/vocabulary.txt")


def test_wt047_assets() -> None:
    assert found_in(archive(LOOKUP, {}, assets=WORDS)) == []
    assert codes(found_in(archive(LOOKUP, {}))) == [("WT-047", "error")]  # both are one layer's
    (found,) = found_in(archive(LOOKUP, {}, assets=WORDS[:1]))
    assert (found.code, found.severity, found.at) == ("WT-047", "error", f"m.keras:assets/{WORDS[1]}")
    (found,) = found_in(archive(ONE, FITTING, assets=WORDS))
    assert (found.code, found.severity, found.at) == ("WT-047", "warning", f"m.keras:assets/{WORDS[0]}")


def state(count: int) -> Arrays:
    return {f"optimizer/vars/{n}": STATE.get(f"optimizer/vars/{n}", zeros(1)) for n in range(count)}


@pytest.mark.parametrize("count", range(7))
def test_wt048_a_state_is_whole_or_that_of_an_untrained_model(count: int) -> None:
    found = found_in(archive({**ONE, **TRAINED}, {**FITTING, **state(count)}))
    assert codes(found) == ([] if count in (2, 4) else [("WT-048", "warning")])


def test_wt048_a_gap_in_a_state_is_one_that_keras_refuses() -> None:
    gap = {("optimizer/vars/9" if path == "optimizer/vars/3" else path): value for path, value in STATE.items()}
    assert codes(found_in(archive({**ONE, **TRAINED}, {**FITTING, **gap}))) == [("WT-044", "error")]


def test_wt041_a_state_of_a_model_that_is_not_compiled_is_left_alone() -> None:
    (found,) = found_in(archive(ONE, {**FITTING, **STATE}))
    assert (found.code, found.severity, found.at) == ("WT-041", "warning", f"{AT}optimizer")


def test_wt049_nothing_is_said_of_what_nobody_can_tell() -> None:
    mine = {"module": "my.layers", "class_name": "Mine", "registered_name": "my>Mine", "config": {"name": "x"}}
    odd = {"layers/mine/vars/7": zeros(1), "layers/mine/inner/vars/a/b": zeros(1), **FITTING}
    (found,) = found_in(archive(sequential(mine, dense()), odd))
    assert (found.code, found.severity, found.at) == ("WT-049", "info", "config.layers[0]")
    assert "layers/mine (Mine: " in found.message


def test_wt040_a_broken_config_leaves_the_numbers() -> None:
    found = found_in(
        archive(
            {"class_name": "Sequential", "config": {"layers": 7}},
            {"layers/dense/vars/1": zeros(1), "layers/dense/vars/3": zeros(1)},
        )
    )
    assert ("WT-044", "error") in codes(found)


# Whatever the tree is

KEYS = st.sampled_from(["0", "1", "2", "vars", "layers", "dense", "dense_1", "optimizer", "x", "metrics", "string_lookup"])
PATHS = st.lists(KEYS, min_size=1, max_size=6).map("/".join)
VALUES = st.one_of(
    st.none(),
    st.lists(st.integers(0, 3), max_size=3).map(lambda shape: zeros(*shape)),
    st.sampled_from([zeros(3, 2), zeros(2), zeros(2, dtype="i4"), np.array(b"a"), np.zeros(1, "V2"), np.zeros(1, "f4,i4")]),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrays=st.dictionaries(PATHS, VALUES, max_size=6),
    fitting=st.booleans(),
    compiled=st.booleans(),
    gone=st.sets(st.sampled_from(sorted(FITTING))),
)
def test_wt040_any_tree_is_judged(arrays: Arrays, fitting: bool, compiled: bool, gone: set[str]) -> None:
    whole = {**(FITTING if fitting else {}), **(STATE if fitting and compiled else {})}
    paths: dict[str, object] = {path: value for path, value in whole.items() if path not in gone}
    for path, value in arrays.items():
        if path != "vars" and not any(
            path.startswith(f"{other}/") or other.startswith(f"{path}/") or other == path for other in paths
        ):
            paths[path] = value
    found = found_in(archive({**ONE, **(TRAINED if compiled else {})}, paths), values=True)
    event(", ".join(sorted({it.code for it in found})))
    assert all(it.message and it.at and "\n" not in str(it) for it in found)
    if not FITTING.keys() <= paths.keys():
        assert any(it.severity == "error" for it in found)


def test_wt040_time_is_that_of_the_tree() -> None:
    """Thousands of layers that are missing, and as many elsewhere, are gone through once."""
    count = 3000
    layers = [dense(f"d{n}", 1, 1) for n in range(count)]
    arrays = {f"layers/linear_{n}/vars/{key}": zeros(*shape) for n in range(count) for key, shape in ((0, (1, 1)), (1, (1,)))}
    found = found_in(archive(sequential(*layers), arrays))
    assert len(found) == count
    assert all(it.code == "WT-040" for it in found)
