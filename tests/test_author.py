"""Models made of a config and values: what does not fit is told, all at once, by name."""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import numpy as np
import pytest
from helpers import refused
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from test_summary import SMALL, broken

import refser
from refser.errors import InvalidError, RefserError
from refser.rules.author import BuildError, build
from refser.rules.fit import Misfit, fitted
from refser.rules.tree import WeightSpec, expected_weights
from refser.values import Weight


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def sequential(*layers: dict[str, Any], shape: Any = (None, 4)) -> dict[str, Any]:
    first = layer("InputLayer", batch_shape=list(shape), name="in")
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [first, *layers]}}


DENSE = sequential(layer("Dense", name="a", units=3), layer("Dense", name="b", units=2, use_bias=False))
VALUES = {"a/kernel": np.ones((4, 3), "f4"), "a/bias": np.zeros(3, "f4"), "b/kernel": np.ones((3, 2), "f4")}


def problems(config: Any, values: Any, **options: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(BuildError) as caught:
        build(config, values, **options)
    assert caught.value.problem.code == caught.value.problems[0].code
    for problem in caught.value.problems:
        assert problem.message in str(caught.value) or len(caught.value.problems) > 12
    return [(problem.code, problem.at, problem.message) for problem in caught.value.problems]


def test_values_stand_where_keras_looks_for_them() -> None:
    """WT-030."""
    model = build(DENSE, VALUES)
    assert list(model.weights) == ["layers/dense/vars/0", "layers/dense/vars/1", "layers/dense_1/vars/0"]
    assert [(weight.name, weight.variable_path) for weight in model.weights.values()] == [
        ("kernel", "a/kernel"),
        ("bias", "a/bias"),
        ("kernel", "b/kernel"),
    ]
    assert [(group.path, group.name, group.keys) for group in model.groups] == [
        ("vars", "s", ()),
        ("layers/dense/vars", "a", ("0", "1")),
        ("layers/dense_1/vars", "b", ("0",)),
    ]
    assert model.metadata == {"keras_version": "3.15.1"}


def test_all_that_does_not_fit_is_told_at_once() -> None:
    """WT-030."""
    values = {"a/kernel": np.ones((4, 4), "f4"), "a/bias": np.zeros(3, "i4"), "c/kernel": np.ones(3), 5: 1}
    assert problems(DENSE, values) == [
        ("WT-030", "/layers/dense/vars/0", "shape (4, 4); wanted float32 of shape (4, 3) for a/kernel"),
        ("WT-030", "/layers/dense/vars/1", "integers, of int32; wanted float32 of shape (3,) for a/bias"),
        ("WT-030", "/layers/dense_1/vars/0", "nothing given; wanted float32 of shape (3, 2) for b/kernel"),
        ("WT-030", "", "'c/kernel', which is no array of the model; wanted its own alone"),
        ("WT-030", "", "5, which is no array of the model; wanted its own alone"),
    ]


def test_a_long_list_of_problems_is_cut_in_the_message_alone() -> None:
    config = sequential(*(layer("Dense", name=f"d{n}", units=4) for n in range(30)))
    with pytest.raises(BuildError) as caught:
        build(config, {})
    assert len(caught.value.problems) == 60
    assert "and 48 more" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_pickles() -> None:
    with pytest.raises(BuildError) as caught:
        build(DENSE, {})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.problem, again.problems) == (BuildError, caught.value.problem, caught.value.problems)
    assert isinstance(again, InvalidError)


def test_inner_paths_count_before_names() -> None:
    values = {"layers/dense/vars/0": np.zeros((4, 3)), **VALUES}
    assert [at for _, at, _ in problems(DENSE, values)] == [""]
    del values["a/kernel"]
    assert not build(DENSE, values).arrays["layers/dense/vars/0"].any()


def test_a_name_of_two_arrays_is_refused() -> None:
    inner = sequential(layer("Dense", name="d", units=4))
    inner["config"]["name"] = "d"
    config = sequential(layer("Dense", name="x/d", units=4), {**layer("Dense", name="d", units=4)}, inner | {"name": "x"})
    config["config"]["layers"][3]["config"]["name"] = "x"
    names = [spec.variable_path for spec in expected_weights(config)]
    assert names == ["x/d/kernel", "x/d/bias", "d/kernel", "d/bias", "x/d/kernel", "x/d/bias"]
    values = {name: np.zeros(4) if "bias" in str(name) else np.zeros((4, 4)) for name in names}
    found = problems(config, values)
    assert len(found) == 4
    assert all("the name of several arrays" in message for _, _, message in found)
    by_path = {spec.path: values[spec.variable_path] for spec in expected_weights(config)}
    assert len(build(config, by_path).weights) == 6


@pytest.mark.parametrize("weights", ["ones", 5, [1]])
def test_other_weights_are_a_type_error(weights: Any) -> None:
    with pytest.raises(TypeError):
        build(DENSE, weights)


# What the config cannot tell


def test_below_an_opaque_place_the_arrays_have_to_be_given() -> None:
    """WT-031."""
    values = {"hidden/kernel": np.zeros((4, 300)), "hidden/bias": np.zeros(300)}
    for given_ in (values, None, "zeros", lambda spec: np.zeros(spec.shape)):
        found = problems(SMALL, given_)
        assert [(code, at) for code, at, _ in found] == [("WT-031", "/layers/odd")]
    model = build(SMALL, {**values, "layers/odd/vars": None})
    assert [group.path for group in model.groups] == ["vars", "layers/dense/vars", "layers/odd/vars"]
    extra = {"layers/odd/vars/0": np.arange(3), "layers/odd/inner/vars/0": b"text", "layers/odd/other/vars": None}
    model = build(SMALL, {**values, **extra})
    assert list(model.weights)[-2:] == ["layers/odd/vars/0", "layers/odd/inner/vars/0"]
    assert {group.path: group.keys for group in model.groups} == {
        "vars": (),
        "layers/dense/vars": ("0", "1"),
        "layers/odd/vars": ("0",),
        "layers/odd/inner/vars": ("0",),
        "layers/odd/other/vars": (),
    }
    bad = {"layers/odd/vars/0": object(), "layers/odd/1": np.ones(1), "layers/odder/vars/0": np.ones(1)}
    assert {code for code, _, _ in problems(SMALL, {**values, **bad})} == {"WT-030", "WT-031"}


def test_a_model_of_an_unknown_class_takes_any_arrays(tmp_path: Any) -> None:
    config = {"module": "mine", "class_name": "Tower", "config": {"name": "t"}, "registered_name": "mine>Tower"}
    model = build(config, {"dense/vars/0": np.ones((2, 2), "f4"), "vars/0": np.ones(1, "f4")})
    assert [group.path for group in model.groups] == ["vars", "dense/vars"]
    refser.save(model, tmp_path / "t.keras")
    assert refser.load(tmp_path / "t.keras").weights == model.weights


def test_an_axis_that_is_not_known_is_as_long_as_the_array() -> None:
    config = sequential(layer("Dense", name="a", units=3), shape=(None, None))
    assert [spec.shape for spec in expected_weights(config)] == [(None, 3), (3,)]
    assert [code for code, _, _ in problems(config, None)] == ["WT-031"]
    values = {"a/kernel": np.ones((9, 3)), "a/bias": np.ones(3)}
    assert build(config, values).weights["layers/dense/vars/0"].shape == (9, 3)
    assert "wanted float32 of shape (?, 3)" in problems(config, {**values, "a/kernel": np.ones((3, 9))})[0][2]


@pytest.mark.parametrize("initializer", [{"class_name": "Mine", "module": "mine", "config": {}}, "of_my_own"])
def test_an_initializer_that_is_not_keras_s_is_told(initializer: Any) -> None:
    config = sequential(layer("Dense", name="a", units=3, kernel_initializer=initializer))
    assert [(code, at) for code, at, _ in problems(config, None)] == [("WT-031", "/layers/dense/vars/0")]
    build(config, "zeros")


@pytest.mark.parametrize(
    "initializer",
    [
        5,
        {"class_name": 5},
        {"class_name": "Constant", "config": 5},
        {"class_name": "Constant", "config": {"value": "text"}},
        {"class_name": "Constant", "config": {"value": [1, 2]}},
        {"class_name": "RandomNormal", "config": {"stddev": True}},
        {"class_name": "RandomNormal", "config": {"mean": 10**400}},
        {"class_name": "VarianceScaling", "config": {"mode": "fan"}},
        {"class_name": "VarianceScaling", "config": {"scale": -1}},
        {"class_name": "VarianceScaling", "config": {"distribution": 1}},
        {"class_name": "GlorotUniform", "config": {"input_axes": [7], "output_axes": [0]}},
    ],
)
def test_a_wrong_initializer_is_refused(initializer: Any) -> None:
    """LY-003."""
    with refused("LY-003", InvalidError):
        build(sequential(layer("Dense", name="a", units=3, kernel_initializer=initializer)))


def test_a_model_larger_than_allowed_is_refused() -> None:
    config = sequential(layer("Dense", name="a", units=1 << 40))
    with refused("WT-030", InvalidError):
        build(config)
    with refused("WT-030", InvalidError):
        build(sequential(layer("Dense", name="a", units=1000)), "zeros", max_bytes=1000)


def test_assets_have_to_be_given() -> None:
    config = sequential(layer("StringLookup", name="words"), shape=(None,))
    if expected_weights(config).assets:
        assert [at for _, at, _ in problems(config, None)] == ["assets/layers/string_lookup/vocabulary.txt"]
        model = build(config, assets={"layers/string_lookup/vocabulary.txt": b"a\nb"})
        assert list(model.assets) == ["layers/string_lookup/vocabulary.txt"]
    assert [at for _, at, _ in problems(DENSE, VALUES, assets={"x": b""})] == ["assets/x"]


# Parts


def test_the_config_stays_as_it_was_written() -> None:
    text = '{"class_name":  "Sequential", "config": {"name": "s", "layers": []}}'
    assert build(text).config_json == text
    assert build({"class_name": "Sequential", "config": {"layers": []}}).config_json == (
        '{"class_name": "Sequential", "config": {"layers": []}}'
    )
    with pytest.raises(RefserError):
        build("{")
    with refused("JS-007"):
        build({"class_name": "Sequential", "config": {"layers": [], "x": object()}})


def test_the_version_is_the_one_that_is_said() -> None:
    named = build(DENSE, VALUES, metadata={"keras_version": "3.9.2", "date_saved": "x"})
    assert named.metadata == {"keras_version": "3.9.2", "date_saved": "x"}
    before_names = build(DENSE, VALUES, keras_version="3.5.0")
    assert before_names.metadata == {"keras_version": "3.5.0"}
    assert {group.name for group in before_names.groups} == {None}


def test_a_draw_depends_on_the_seed_and_the_place_alone() -> None:
    first, again, other = build(DENSE), build(DENSE), build(DENSE, seed=1)
    assert first.weights == again.weights
    assert first.weights["layers/dense/vars/0"] != other.weights["layers/dense/vars/0"]
    alone = build(sequential(layer("Dense", name="a", units=3)))
    assert alone.weights["layers/dense/vars/0"] == first.weights["layers/dense/vars/0"]
    assert zlib.crc32(first.weights["layers/dense/vars/0"].tobytes()) == zlib.crc32(
        again.weights["layers/dense/vars/0"].tobytes()
    )


# One value


def spec_of(dtype: str | None, *shape: int | None) -> WeightSpec:
    return WeightSpec(path="vars/0", name="w", variable_path="w", shape=shape, dtype=dtype, trainable=True)


@pytest.mark.parametrize(
    ("dtype", "value", "wanted"),
    [
        ("float32", [1, 2], np.array([1, 2], "f4")),
        ("float32", np.array([1.5, 2], "f8"), np.array([1.5, 2], "f4")),
        ("float16", np.array([1.5, np.inf], "f4"), np.array([1.5, np.inf], "f2")),
        ("float64", np.array([1.5, 2], "f4"), np.array([1.5, 2], "f8")),
        ("float32", np.array([1, 2], ">f4"), np.array([1, 2], "f4")),
        ("int8", [1, -2], np.array([1, -2], "i1")),
        ("int8", np.array([1, -2], "i8"), np.array([1, -2], "i1")),
        ("uint8", np.array([1, 255], "i2"), np.array([1, 255], "u1")),
        ("int32", [True, False], np.array([1, 0], "i4")),
        ("bool", [True, False], np.array([1, 0], "?")),
        (None, [1, 2], np.array([1, 2], "i4")),
        (None, [1.0, 2.0], np.array([1, 2], "f4")),
        (None, np.array([1, 2], "i8"), np.array([1, 2], "i8")),
        (None, np.array([1, 2], "f2"), np.array([1, 2], "f2")),
    ],
)
def test_a_value_takes_the_dtype_of_its_variable(dtype: str | None, value: Any, wanted: Any) -> None:
    weight = fitted(spec_of(dtype, 2), value, integer=None)
    assert weight == Weight.from_array("vars/0", wanted)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", np.array([1, 2], "i1")),
        ("float32", np.array([1, 2], "?")),
        ("float32", ["a", "b"]),
        ("float32", [1j, 2]),
        ("float32", [[1], [2, 3]]),
        ("float32", [1e300, 0]),
        ("float16", np.array([1e6, 0])),
        ("bfloat16", np.array([3.4e38, 3.4028235e38], "f4")),
        ("int8", [1.0, 2.0]),
        ("int8", [128, 0]),
        ("uint8", np.array([-1, 0])),
        ("int32", np.array([1 << 40, 0])),
        ("bool", [1, 0]),
        ("float32", object()),
        ("float32", np.array([None, 1])),
        ("float32", np.array(["2020-01-01"] * 2, "M8[D]")),
        ("float32", [[1.0, 2.0]]),
        ("float32", [10**400, 0]),
        ("int64", [10**400, 0]),
    ],
)
def test_a_value_of_another_kind_is_refused(dtype: str, value: Any) -> None:
    with pytest.raises(Misfit):
        fitted(spec_of(dtype, 2), value, integer=None)


def test_what_is_no_array_and_fails_is_refused() -> None:
    class Failing:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("out of order")

    with pytest.raises(Misfit, match="out of order"):
        fitted(spec_of("float32", 2), Failing(), integer=None)


@given(array=npst.arrays("f4", npst.array_shapes(max_dims=3, min_dims=0), elements=st.floats(width=32, allow_subnormal=True)))
def test_bfloat16_is_rounded_as_ml_dtypes_rounds(array: Any) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with np.errstate(all="ignore"):
        wanted = array.astype(ml_dtypes.bfloat16)
    fits = bool((np.isfinite(wanted.astype("f4")) == np.isfinite(array)).all())
    try:
        weight = fitted(spec_of("bfloat16", *array.shape), array, integer=None)
    except Misfit:
        event("too large")
        assert not fits
        return
    assert fits
    nans = np.isnan(array)
    assert np.array_equal(np.isnan(weight.array()), nans)
    assert np.array_equal(weight.array()[~nans].view("u2"), wanted[~nans].view("u2"))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_broken_config_is_refused_or_built(data: st.DataObject) -> None:
    config = broken(data)
    try:
        model = build(
            config, data.draw(st.sampled_from([None, "zeros"])), optimizer=data.draw(st.booleans()), max_bytes=1 << 20
        )
        event("built")
    except RefserError as error:
        event(error.problem.code)
    else:
        assert model.config_json
