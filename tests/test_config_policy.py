"""Dtype policies: every spelling, and what is none.  What Keras makes of them is in keras/test_rules_core.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refser.config.policy import FLOAT32, Policy, is_map, read_policy
from refser.errors import InvalidError
from refser.rules.layer import Layer, matches

LAYER = {"at": "config.layers[0]", "version": (3, 15, 1), "name": "d"}


def policy(class_name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": class_name, "config": config, "registered_name": None}


def by_path(default: Any, entries: Any) -> dict[str, Any]:
    return policy("DTypePolicyMap", default_policy=default, policy_map=entries)


HALF, UNKNOWN = Policy("bfloat16", "bfloat16"), FLOAT32._replace(known=False)
SPELLINGS: list[tuple[Any, Policy]] = [
    (None, FLOAT32),
    ("float32", FLOAT32),
    ("bfloat16", HALF),
    ("int64", Policy("int64", "int64")),
    ("string", Policy("string", "string")),
    ("mixed_float16", Policy("float32", "float16")),
    ("mixed_bfloat16", Policy("float32", "bfloat16")),
    ("int8", Policy("int8", "int8")),
    ("float8_e4m3fn", Policy("float8_e4m3fn", "float8_e4m3fn")),
    ("int8_from_mixed_bfloat16", Policy("float32", "bfloat16", "int8")),
    ("int4_from_float16", Policy("float16", "float16", "int4")),
    ("int4/128_from_float32", FLOAT32._replace(mode="int4", block=128)),
    ("float8_from_float32", FLOAT32._replace(mode="float8")),
    ("gptq/3/-1_from_bfloat16", HALF._replace(mode="gptq", bits=3)),
    ("awq/4/32_from_float32", FLOAT32._replace(mode="awq", bits=4, block=32)),
    (policy("DTypePolicy", name="mixed_float16"), Policy("float32", "float16")),
    (policy("FloatDTypePolicy", name="bfloat16"), HALF),
    ({"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}, HALF),
    (policy("DTypePolicy", name=None), UNKNOWN),
    (policy("QuantizedDTypePolicy", mode="int8", source_name="bfloat16"), HALF._replace(mode="int8")),
    (policy("QuantizedDTypePolicy", mode="int8", source_name=None), UNKNOWN._replace(mode="int8")),
    (policy("QuantizedDTypePolicy", mode="gptq", source_name="float32"), FLOAT32._replace(mode="gptq")),
    (policy("QuantizedFloat8DTypePolicy", mode="float8", source_name="float32"), FLOAT32._replace(mode="float8")),
    (
        policy("QuantizedFloat8DTypePolicy", mode="float8", source_name="mixed_bfloat16", amax_history_length=7),
        Policy("float32", "bfloat16", "float8", amax_history_length=7),
    ),
    (policy("Int4DTypePolicy", mode="int4/2", source_name="float32"), FLOAT32._replace(mode="int4", block=2)),
    (policy("Int4DTypePolicy", mode="int4/-1", source_name="float32"), FLOAT32._replace(mode="int4")),
    (policy("GPTQDTypePolicy", mode="gptq/8/64", source_name="float32"), FLOAT32._replace(mode="gptq", bits=8, block=64)),
    (policy("AWQDTypePolicy", mode="awq/4/-1", source_name="bfloat16"), HALF._replace(mode="awq", bits=4)),
    ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, Policy("float32", "float16")),
    ({"class_name": "PolicyV1", "config": {"name": "mixed_float16", "loss_scale": {}}}, Policy("float32", "float16")),
    ({"class_name": "Policy", "config": {"name": "_infer"}}, UNKNOWN),
    ("infer", UNKNOWN),
    ("int", UNKNOWN),
    ("half", Policy("float16", "float16")),
    ("double", Policy("float64", "float64")),
]


@pytest.mark.parametrize(("value", "wanted"), SPELLINGS)
def test_cf020_a_policy_in_every_spelling(value: Any, wanted: Policy) -> None:
    assert read_policy(value, "dtype") == wanted


WRONG: list[tuple[Any, str]] = [
    ("float33", ""),
    ("", ""),
    (3, ""),
    (True, ""),
    ([], ""),
    ({}, ""),
    ({"class_name": "DTypePolicy"}, ""),
    (policy("DTypePolicy"), ".config.name"),
    (policy("DTypePolicy", name=["float32"]), ".config.name"),
    ({"class_name": 3, "config": {}}, ".class_name"),
    ("int8_from_float16", ""),
    ("int8_from_mixed_float16", ""),
    ("int8/2_from_float32", ""),
    ("float8/2_from_float32", ""),
    ("int4/0_from_float32", ""),
    ("int4/-2_from_float32", ""),
    ("int4/²_from_float32", ""),
    ("int4/1/2_from_float32", ""),
    (f"int4/{'9' * 5000}_from_float32", ""),
    ("gptq/4_from_float32", ""),
    ("gptq/5/2_from_float32", ""),
    ("gptq/4/0_from_float32", ""),
    ("awq/8/2_from_float32", ""),
    ("int5_from_float32", ""),
    ("_from_float32", ""),
    ("int8_from_", ""),
    ("int8_from_" * 5000 + "float32", ""),
    (policy("QuantizedDTypePolicy", source_name="float32"), ".config.mode"),
    (policy("QuantizedDTypePolicy", mode="int8", source_name=4), ".config.source_name"),
    (policy("QuantizedDTypePolicy", mode="int7", source_name="float32"), ".config.mode"),
    *(
        (
            policy("QuantizedFloat8DTypePolicy", mode="float8", source_name="float32", amax_history_length=length),
            ".config.amax_history_length",
        )
        for length in (0, -1, True, "8", 1.5, 1 << 62)
    ),
    (by_path("float32", ["bfloat16"]), ".config.policy_map"),
    (by_path("float33", {}), ".config.default_policy"),
    (by_path(by_path("float32", {}), {}), ".config.default_policy"),
    (by_path("float32", {"a": by_path("float32", {})}), ".config.policy_map"),
    (by_path("float32", {"a": "float33"}), ".config.policy_map.a"),
]


@pytest.mark.parametrize(("value", "at"), WRONG)
def test_cf020_what_is_no_policy_is_refused_at_its_place(value: Any, at: str) -> None:
    with pytest.raises(InvalidError) as error:
        read_policy(value, "dtype")
    assert (error.value.problem.code, error.value.problem.at) == ("CF-020", f"dtype{at}")


def test_a_class_that_nobody_knows_is_in_doubt() -> None:
    found = read_policy(policy("MyPolicy", colour="blue"), "dtype")
    assert not found.known
    assert "MyPolicy" in found.doubt


# Maps

ENTRIES = {"d": "bfloat16", "m/query": "float16", "[a-c]/.*": "float64", "x.*": "mixed_float16", ".*z": "mixed_bfloat16"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("d", "bfloat16"),
        ("m/query", "float16"),
        ("query", "float32"),
        ("a/d", "float64"),
        ("s/d", "float32"),
        ("x1", "mixed_float16"),
    ],
)
def test_a_map_looks_up_the_path(path: str, name: str) -> None:
    found = read_policy(by_path("float32", ENTRIES), "dtype", paths=[path], match=matches)
    assert found == read_policy(name, "dtype")


def test_two_patterns_for_one_path_leave_it_in_doubt() -> None:
    assert read_policy(by_path("float32", ENTRIES), "dtype", paths=["xz"], match=matches).doubt


def test_where_the_path_can_be_two_the_policies_have_to_agree() -> None:
    value = by_path("float32", {"d": "bfloat16", "e": "float32", "q": "int8_from_float32"})
    assert read_policy(value, "dtype", paths=["e", "s/e"]) == FLOAT32
    types = read_policy(value, "dtype", paths=["d", "s/d"])
    assert (types.known, types.mode, types.doubt) == (False, "", "")
    assert read_policy(value, "dtype", paths=["q", "s/q"]).doubt
    assert read_policy(value, "dtype").doubt
    assert read_policy(by_path("float32", {}), "dtype") == FLOAT32


def test_a_map_has_no_history_length_of_its_own() -> None:
    value = policy("QuantizedFloat8DTypePolicy", mode="float8", source_name="float32", amax_history_length=7)
    for found in (by_path(value, {}), by_path("float32", {"d": value})):
        assert read_policy(found, "dtype", paths=["d"]).amax_history_length == 1024


def test_a_map_without_a_default_tells_no_types() -> None:
    value = by_path(None, {"d": policy("QuantizedDTypePolicy", mode="int8", source_name=None)})
    assert is_map(value)
    assert read_policy(value, "dtype", paths=["d"]) == UNKNOWN._replace(mode="int8")
    assert read_policy(value, "dtype", paths=["e"]) == UNKNOWN


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|aa)+$", "(", "a" * 300 + ".*", "*", ".*" * 9, "[[a]", "a{1,9}{1,9}{1,9}"])
def test_a_pattern_that_is_none_or_takes_long_leaves_it_in_doubt(pattern: str) -> None:
    found = Layer("Dense", {"dtype": by_path("float32", {pattern: "bfloat16"})}, **(LAYER | {"name": "a" * 64}), scopes=[""])
    assert found.policy.doubt


def test_a_layer_that_another_makes_looks_for_itself() -> None:
    outer = Layer("MultiHeadAttention", {"dtype": by_path("float32", ENTRIES)}, **(LAYER | {"name": "m"}), scopes=[""])
    assert outer.policy == FLOAT32
    assert outer.sub("EinsumDense", {}, name="query").policy == Policy("float16", "float16")
    assert outer.sub("EinsumDense", {}, name="key").policy == FLOAT32
    assert outer.sub("EinsumDense", {}, name="query", policy=HALF).policy == HALF


# Hostile policies

NAMES = st.sampled_from([value for value, _ in SPELLINGS + WRONG if isinstance(value, str) and len(value) < 50]) | st.text(
    max_size=9
)
CLASSES = ["DTypePolicy", "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "GPTQDTypePolicy", "DTypePolicyMap", "Policy"]
KEYS = ["name", "mode", "source_name", "amax_history_length", "default_policy", "policy_map", "class_name", "config"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
        | st.fixed_dictionaries(
            {
                "class_name": st.sampled_from(CLASSES),
                "config": st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
                | st.fixed_dictionaries(
                    {"default_policy": inner, "policy_map": st.dictionaries(st.text("ab.*/+", max_size=4), inner)}
                ),
            }
        )
    ),
    max_leaves=12,
)


@settings(max_examples=1000, deadline=None)
@given(value=VALUES, paths=st.none() | st.lists(st.text("ab/", max_size=4), max_size=2))
def test_a_broken_policy_is_refused_or_answered(value: Any, paths: Any) -> None:
    try:
        found = read_policy(value, "dtype", paths=paths, match=matches)
        event("in doubt" if found.doubt else "answered")
    except InvalidError as error:
        event(error.problem.code)
