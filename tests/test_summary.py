"""Summaries without Keras: golden files of all versions, the table as text, hostile configs."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from cli_helpers import FILES, GOLDEN
from config_helpers import CONFIGS, golden_text
from hypothesis import event, given, settings
from hypothesis import strategies as st

import refser
from refser.errors import RefserError
from refser.rules.infer import trace
from refser.rules.layer import Layer
from refser.rules.models import layers_of
from refser.rules.summary import Summary, summarize
from refser.rules.summary_text import size_text, text
from refser.rules.tree import NEWEST

STATES = ("optimizer", "optimizer_weights", "metrics")
KNOWN = [name for name in CONFIGS if not name.startswith("keras-1.2.2")]  # whose arguments have other names


def summary_of(name: str, **options: Any) -> Summary:
    return summarize(golden_text(name), keras_version=FILES[name]["keras_version"], **options)


@pytest.mark.parametrize("name", KNOWN)
def test_the_parameters_are_those_of_the_file(name: str) -> None:
    summary = summary_of(name)
    assert summary.complete
    assert summary.rows
    with refser.open(GOLDEN / name) as file:
        found = [weight for path, weight in file.weights.items() if path.split("/")[0] not in STATES]
        counters = [weight for weight in file.weights.values() if weight.dtype == "int64"]  # TensorFlow's
    if FILES[name]["layout"] != "config-json":
        counts = (summary.trainable, summary.non_trainable)
        assert sum(count.parameters for count in counts) == sum(weight.size for weight in found)
        if not counters:
            assert sum(count.bytes for count in counts) == sum(weight.nbytes for weight in found)
    for row in summary.rows:
        assert row.outputs
        assert None not in row.outputs
        assert row.parameters is not None


@pytest.mark.parametrize("name", [name for name in KNOWN if name.endswith(".keras") and "compile_config" in golden_text(name)])
def test_the_optimizer_has_the_numbers_of_the_file(name: str) -> None:
    with refser.open(GOLDEN / name) as file:
        states = [weight for path, weight in file.weights.items() if path.startswith("optimizer/")]
    if states:
        count = summary_of(name).optimizer
        assert count is not None
        assert count.parameters == sum(weight.size for weight in states)
    assert summary_of(name, optimizer=False).optimizer is None


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("width", [1, 40, 80, 200])
def test_the_table_keeps_to_its_width(name: str, width: int) -> None:
    summary = summary_of(name, expand_nested=True)
    plain, drawn = text(summary, width), text(summary, width, unicode=True)
    assert plain.isascii()
    assert len(plain.splitlines()) == len(drawn.splitlines())
    table = [line for line in plain.splitlines() if line[0] in "+|"]
    assert len({len(line) for line in table}) == 1
    columns = 3 if summary.chain else 4
    assert len(table[0]) <= max(width, columns * 11 + 1)
    wide = text(summary, 1 << 16)
    for row in summary.rows:
        assert f"{row.name} ({row.class_name})" in wide


SMALL = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "s",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "in"}},
            {"class_name": "Dense", "config": {"name": "hidden", "units": 300}},
            {"class_name": "Odd", "module": "mine", "registered_name": "mine>Odd", "config": {"name": "odd\x1b[31m"}},
        ],
    },
}


def test_the_table_as_it_is_printed() -> None:
    assert text(summarize(SMALL)) == (
        'Model: "s"\n'
        "+-------------------+--------------+---------+\n"
        "| Layer (type)      | Output Shape | Param # |\n"
        "+-------------------+--------------+---------+\n"
        "| hidden (Dense)    | (None, 300)  |   1,500 |\n"
        "| odd\\x1b[31m (Odd) | ?            |       ? |\n"
        "+-------------------+--------------+---------+\n"
        " Total params: at least 1,500 (5.86 KB)\n"
        " Trainable params: at least 1,500 (5.86 KB)\n"
        " Non-trainable params: at least 0 (0.00 B)\n"
        " Cannot be told: layers/odd (Odd): a class that refser does not know\n"
    )


def test_a_model_of_an_unknown_class_has_no_rows() -> None:
    summary = summarize({"class_name": "Tower", "module": "mine", "registered_name": "mine>Tower", "config": {"name": "t"}})
    assert summary.rows == ()
    assert not summary.complete
    assert text(summary).startswith('Model: "t"\n Total params: at least 0')


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0.00 B"), (1023, "1023.00 B"), (1024, "1.00 KB"), (1536 << 10, "1.50 MB"), (1 << 60, "1024.00 PB")]
)
def test_sizes_are_shown_as_keras_shows_them(size: int, shown: str) -> None:
    assert size_text(size) == shown


def test_a_summary_pickles() -> None:
    summary = summary_of("keras-3.15.1/functional.keras")
    assert pickle.loads(pickle.dumps(summary)) == summary


# What the config says of tensors counts where nothing else tells


def functional(*layers: dict[str, Any], ends: tuple[str, str]) -> dict[str, Any]:
    config = {
        "name": "f",
        "layers": list(layers),
        "input_layers": [[ends[0], 0, 0]],
        "output_layers": [[ends[1], int(ends[1] == "m"), 0]],
    }
    return {"class_name": "Functional", "module": "keras.src.models.functional", "config": config}


def called(class_name: str, name: str, source: str = "", shape: Any = None, **config: Any) -> dict[str, Any]:
    history = {"shape": shape, "dtype": "float32", "keras_history": [source, 0, 0]}
    nodes = [{"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {}}] if source else []
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def test_a_layer_after_an_unknown_one_is_built_for_what_the_config_says_of_the_tensor() -> None:
    odd = called("Odd", "odd", "in", [None, 4]) | {"module": "mine", "registered_name": "mine>Odd"}
    first = called("InputLayer", "in", batch_shape=[None, 4])
    config = functional(first, odd, called("Dense", "out", "odd", [None, 7], units=2), ends=("in", "out"))
    rows = summarize(config).rows
    assert [row.outputs for row in rows] == [((None, 4),), ((None, 7),), ((None, 2),)]
    assert [row.parameters for row in rows] == [0, None, 16]


def test_models_called_twice_at_each_level_take_no_time() -> None:
    """Thirty models, each of which calls the one inside twice, for another shape each time: 2**30 calls."""
    value = functional(called("InputLayer", "in", batch_shape=[None, 4, 3]), ends=("in", "in"))
    for number in range(30):
        inner = {**value, "name": "m", "config": {**value["config"], "name": "m"}}
        nodes = [called("", "", source, [None, 4, 3])["inbound_nodes"][0] for source in ("in", "pad")]
        value = functional(
            called("InputLayer", "in", batch_shape=[None, 4, 3]),
            called("ZeroPadding1D", "pad", "in", [None, 4, 3], padding=number + 1),
            {**inner, "inbound_nodes": nodes},
            ends=("in", "m"),
        )
    assert len(summarize(value, expand_nested=True).rows) == 3 * 30 + 1
    model = Layer.read(value, "", version=NEWEST)
    assert trace(model, layers_of(model)) is not None


# Hostile configs


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.extend(places(item, (*path, key)))
    return found


HOSTILE = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=3)),
    *(st.just({}), st.just([]), st.sampled_from([1 << 61, 1 << 70, "Dense", "LSTM", "Functional", "InputLayer", "Sequential"])),
    st.lists(st.none() | st.integers(0, 5), max_size=4),
    st.lists(st.sampled_from(["dense", 0, 1, -1, None]), min_size=3, max_size=3),
)
SEEDS = [json.loads(golden_text(f"keras-3.15.1/{name}.keras")) for name in ("functional", "sequential", "attention")]
PLACES = [places(seed) for seed in SEEDS]


def broken(data: st.DataObject) -> dict[str, Any]:
    number = data.draw(st.integers(0, len(SEEDS) - 1))
    config: dict[str, Any] = copy.deepcopy(SEEDS[number])
    for path in data.draw(st.lists(st.sampled_from(PLACES[number]), min_size=1, max_size=3)):
        target: Any = config
        for key in path[:-1]:
            inside = isinstance(target, dict) and key in target
            if not inside and not (isinstance(target, list) and isinstance(key, int) and key < len(target)):
                break
            target = target[key]
        else:
            if isinstance(target, dict) and data.draw(st.booleans()):
                target.pop(path[-1], None)
            elif isinstance(target, (dict, list)) and (isinstance(target, dict) or path[-1] in range(len(target))):
                target[path[-1]] = copy.deepcopy(data.draw(HOSTILE))
    return config


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_broken_config_is_refused_or_answered(data: st.DataObject) -> None:
    config = broken(data)
    try:
        shown = text(summarize(config, expand_nested=True))
        event("answered")
    except RefserError as error:
        event(error.problem.code)
    else:
        assert shown.count("\n") > 2
