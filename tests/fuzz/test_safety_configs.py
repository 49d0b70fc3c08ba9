"""What is hostile is found wherever it stands, and no config whatever makes the search raise or lose its way."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[1]))

from hostile_configs import HOSTILE, PLACES, fn, obj, subject_of

from refser.checks import _safety_scan
from refser.checks.safety import check_safety
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS

GOLDEN = Path(__file__).parents[1] / "golden"


def _configs() -> list[Any]:
    found = []
    for path in sorted(GOLDEN.glob("*/*.json")) + sorted(GOLDEN.glob("*/functional*.keras")):
        if path.name.endswith(("index.json", ".npz.keras")):
            continue
        with open_layout(str(path), limits=DEFAULT_LIMITS, source=None) as file:
            if file.config is not None:
                found.append(file.config)
    return found


CONFIGS = _configs()


def _places(config: Any) -> list[tuple[Any, Any]]:
    """Every value of the config, as its owner and key, but for names of classes, which make an object of their owner."""
    found: list[tuple[Any, Any]] = []
    stack = [config]
    while stack:
        owner = stack.pop()
        for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
            if key not in ("class_name", "module", "registered_name", "name", "dtype", "shared_object_id"):
                found.append((owner, key))
            if isinstance(owner[key], (dict, list)):
                stack.append(owner[key])
    return found


wrappers = st.lists(
    st.sampled_from(
        [
            lambda it: [it],
            lambda it: {"x": it},
            lambda it: [1, None, it, "a"],
            lambda it: obj("Dense", name="d", units=1, activation=it),
            lambda it: obj("Mine", "my.module", inner=it),
            lambda it: {"class_name": "__slice__", "config": {"start": it, "stop": 1, "step": None}},
            lambda it: {"class_name": "__numpy__", "config": {"value": [it], "dtype": "float32"}},
            lambda it: {"class_name": "__tuple__", "items": [it]},
            lambda it: {"class_name": 7, "config": it},
            lambda it: {"class_name": "function", "config": it},
            lambda it: {"class_name": "__keras_tensor__", "config": it},
            lambda it: {**fn("relu", "keras.activations"), "more": it},
        ]
    ),
    max_size=12,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(HOSTILE)), st.sampled_from(CONFIGS), wrappers, st.data())
def test_sf001_what_is_hostile_is_found_at_any_depth(
    construct: str, config: Any, around: list[Any], data: st.DataObject
) -> None:
    config = copy.deepcopy(config)
    code, node = HOSTILE[construct]
    node = copy.deepcopy(node)
    for wrap in around:
        node = wrap(node)
    places = _places(config)
    owner, key = places[data.draw(st.integers(0, len(places) - 1))]
    owner[key] = node
    event(code)
    assert code in {it.code for it in check_safety(subject_of(config)) if it.verdict == "unsafe"}


WORDS = """
class_name config module registered_name name function function_type lambda __lambda__ __numpy__ dtype value units
layers shape keras.layers Dense Lambda keras.src os system builtins vocabulary TFOpLambda InstanceMethod attr_name
node_def op __typespec__ spec_name CompositeTensor spec ClassMethod cls_symbol shared_object_id Functional Sequential
input_layers output_layers inbound_nodes compile_config build_config loss metrics optimizer .. a/b keras.utils get_file
Merge mode keras_history TorchModuleWrapper TFSMLayer JaxLayer KerasLayer handle weights
http://x.invalid/yyyyyyyyyyyyyyyyyyyyyyy
"""
words = st.sampled_from(WORDS.split())
texts = words | st.text(max_size=30) | st.text(st.characters(codec="ascii"), max_size=80)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda it: st.lists(it, max_size=5) | st.dictionaries(texts, it, max_size=6), max_leaves=60)
objects = st.fixed_dictionaries({"class_name": words | values, "config": values}, optional={"module": words | values})


@settings(max_examples=600, deadline=None)
@given(st.dictionaries(words | st.text(max_size=5), values, max_size=6) | objects, objects | st.none())
def test_sf001_no_config_makes_the_search_raise(config: Any, training: Any) -> None:
    subject = subject_of(config, training=training)
    try:
        json.loads(subject.file.config_json or "", parse_constant=float)
    except ValueError:
        return
    for it in check_safety(subject):
        assert str(it).isprintable()
        assert len(str(it)) < 50_000


@pytest.mark.parametrize("shape", ["wide", "deep", "long", "customs", "hostile", "keys", "numbers", "names"])
def test_sf001_the_search_takes_steps_in_line_with_the_size(shape: str) -> None:
    """Counted and not timed: calls of Python functions for a config, and for one four times as large."""

    def config(count: int) -> Any:
        if shape == "deep":
            value: Any = 1
            for _ in range(count):
                value = [value]
            return {"class_name": "Sequential", "config": {"a": value}}
        layers: list[Any] = {
            "wide": [obj("Dense", name=f"d{n}", units=1) for n in range(count)],
            "long": [obj("Dense", name="d" * count, units=1, activation="r" * count, vocabulary="4wEAAAAA" * count)],
            "customs": [obj(f"Mine{n}", f"mine{n}") for n in range(count)],
            "hostile": [obj(f"P{n}", "subprocess") for n in range(count)],
            "keys": [{f"k{n}": {"class_name": "__lambda__"} for n in range(count)}],
            "numbers": [{"class_name": "__numpy__", "config": {"value": [1] * count, "dtype": "float32"}}],
            "names": [obj("a." * count + "b", "os." * count + "x", name="../" * count)],
        }[shape]
        return {"class_name": "Sequential", "config": {"layers": layers}}

    def steps(count: int) -> int:
        calls = 0

        def count_call(frame: Any, kind: str, argument: Any) -> None:
            nonlocal calls
            calls += kind in ("call", "c_call")

        scan = _safety_scan.Scan(bare=True, also_allow=frozenset())
        value = config(count)
        sys.setprofile(count_call)
        try:
            scan.run(value, "")
            list(scan.custom())
        finally:
            sys.setprofile(None)
        return calls

    small, large = steps(500), steps(2000)
    assert large <= 4.2 * small + 200


def test_sf001_every_place_of_the_table_is_in_a_config() -> None:
    assert all(isinstance(place({"class_name": "__lambda__"}), dict) for place in PLACES.values())
