"""The graph of a model (CF-030 to CF-044): golden models, what older versions wrote, and graphs made to break a reader."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from config_helpers import CONFIGS, golden_text, layer, model, new_call
from helpers import refused
from hypothesis import given
from hypothesis import strategies as st
from spec_config import graph_shown, port_shown, tensor_shown

from refser import config
from refser.config.objects import KerasObject
from refser.errors import InvalidError

FUNCTIONAL = [name for name in CONFIGS if "/functional." in name]


def graph_of(value: Any) -> config.Graph:
    return config.graph(KerasObject(value, ""))


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_cf037_the_golden_functional_model_has_one_graph_in_every_version(name: str) -> None:
    """CF-032, CF-033, CF-034, CF-035, CF-040: a layer that is used twice, and a nested Sequential."""
    root = config.parse(golden_text(name)).root
    found = config.graph(root)
    shown = graph_shown(found)
    edges = {call: list(ports.values()) for call, ports in shown["calls"].items()}
    assert edges == {
        "image[0]": [],
        "tokens[0]": [],
        "convolution[0]": ["image[0].0"],
        "embedding[0]": ["tokens[0].0"],
        "normalization[0]": ["convolution[0].0"],
        "both_ways[0]": ["embedding[0].0"],
        "nested[0]": ["normalization[0].0"],
        "shared[0]": ["both_ways[0].0"],
        "shared[1]": ["nested[0].0"],
        "join[0]": ["shared[0].0", "shared[1].0"],
        "dropout[0]": ["join[0].0"],
        "head[0]": ["dropout[0].0"],
    }
    assert (shown["models"], shown["shared"], shown["operations"]) == (["nested"], ["shared"], [])
    assert list(shown["inputs"].values()) == ["tokens[0].0", "image[0].0"]
    assert list(shown["outputs"].values()) == ["head[0].0"]
    nested = found.layer("nested")
    assert nested is not None
    assert len(config.graph(nested.object).layers) >= 2
    assert found.layer("nowhere") is None
    assert found.node_of(found.outputs[0].tensor).at == "config.layers[10].inbound_nodes[0]"
    assert found.layers[10].at == "config.layers[10]"
    assert repr(found.outputs[0]).startswith("Port(None, ")


@pytest.mark.parametrize("name", CONFIGS)
def test_cf044_every_golden_model_and_each_inside_it_has_a_graph(name: str) -> None:
    found = [node for node in config.parse(golden_text(name)).walk() if config.is_model(node)]
    assert found
    for node in found:
        graph = config.graph(node)
        assert sorted(graph.order) == list(range(len(graph.nodes)))


def test_cf042_golden_sequential_models_say_what_they_take() -> None:
    for name in (name for name in CONFIGS if name.endswith("/sequential.json")):
        root = config.parse(golden_text(name)).root
        assert isinstance(root, KerasObject)
        shape = config.input_shape_of(root)
        assert isinstance(shape, list), name
        assert shape[0] is None
        assert len(shape) > 1


def test_cf037_calls_of_a_nested_model_as_each_generation_counts_them() -> None:
    """Observed with Keras 1.2.2, 2.2.4, 2.3.1, tf.keras 2.15.0 and Keras 3.15.1; in all of them the model is called twice."""
    inner = model([layer("i", [], "InputLayer")], [["i", 0, 0]], [["i", 0, 0]])["config"]
    for class_name, module in (("Model", None), ("Functional", "keras.src.engine.functional"), ("Sequential", "keras")):
        config_ = {"name": "s", "layers": []} if class_name == "Sequential" else inner
        old = [[["a", 0, 0, {}]], [["n", 1, 0, {}]]]
        nested = layer("n", old, class_name) | {"config": config_} | ({"module": module} if module else {})
        value = model([layer("a", [], "InputLayer"), nested], [["a", 0, 0]], [["n", 1, 0], ["n", 2, 0]])
        shown = graph_shown(graph_of(value))
        assert shown["calls"] == {"a[0]": {}, "n[0]": {"0": "a[0].0"}, "n[1]": {"0": "n[0].0"}}
        assert shown["outputs"] == {"[0]": "n[0].0", "[1]": "n[1].0"}
        new = [new_call(["a", 0, 0]), new_call(["n", 0, 0])]
        ends = [["n", 0, 0], ["n", 1, 0]] if class_name == "Sequential" else [["n", 1, 0], ["n", 2, 0]]
        value = model([layer("a", [], "InputLayer"), nested | {"inbound_nodes": new}], [["a", 0, 0]], ends)
        shown = graph_shown(graph_of(value))
        assert shown["calls"] == {"a[0]": {}, "n[0]": {"0[0]": "a[0].0"}, "n[1]": {"0[0]": "n[0].0"}}
        assert shown["outputs"] == {"[0]": "n[0].0", "[1]": "n[1].0"}


def test_cf037_a_subclass_that_hides_its_graph_is_counted_by_what_fits() -> None:
    def ends(first: list[Any], second: list[Any], outputs: list[Any]) -> dict[str, Any]:
        mine = layer("n", [new_call(["a", 0, 0]), new_call(first)], "Mine", module="my.package")
        value = model([layer("a", [], "InputLayer"), mine, layer("d", [new_call(second)])], [["a", 0, 0]], outputs)
        return dict(graph_shown(graph_of(value))["outputs"])

    assert ends(["n", 0, 0], ["n", 1, 0], [["n", 1, 0]]) == {"[0]": "n[1].0"}  # fits as it stands
    assert ends(["n", 0, 0], ["a", 0, 0], [["n", 2, 0]]) == {"[0]": "n[1].0"}  # there is no call 2
    assert ends(["a", 0, 0], ["n", 1, 0], [["n", 1, 0]]) == {"[0]": "n[0].0"}  # else call 0 would be for nothing
    with refused("CF-037", InvalidError):
        ends(["a", 0, 0], ["a", 0, 0], [["n", 0, 0], ["n", 2, 0]])
    mine = layer("n", [new_call(["a", 0, 0]), new_call(["n", 0, 0])], "Mine", module="my.package")
    both = [layer("a", [], "InputLayer"), mine, layer("d", [new_call(["n", 1, 0])])]
    assert graph_of(model(both, [["a", 0, 0]], [["n", 1, 0]])).doubtful == {"n"}
    assert graph_of(model(both, [["a", 0, 0]], [["d", 0, 0]])).doubtful == set()


def test_cf032_an_input_of_another_class_is_one_by_where_it_stands() -> None:
    value = model([layer("a", [], "MyInput"), layer("d", [new_call(["a", 0, 0])])], [["a", 0, 0]], ["d", 0, 0])
    assert graph_shown(graph_of(value))["order"] == ["a[0]", "d[0]"]
    with refused("CF-037", InvalidError):
        graph_of(model([layer("a", [], "MyInput"), layer("d", [new_call(["a", 0, 0])])], [], ["d", 0, 0]))


@pytest.mark.parametrize(
    ("value", "code", "at"),
    [
        (model([layer("a", []), layer("a", [])], [], []), "CF-031", "config.layers[1]"),
        (model([layer("a", [new_call(["b", 0, 0])])], [], []), "CF-036", "config.layers[0].inbound_nodes[0].args[0][0]"),
        (model([layer("a", [[["b", 0, 0]]])], [], []), "CF-036", "config.layers[0].inbound_nodes[0][0]"),
        (
            model([layer("a", [[["a", 0, 0, {"m": ["b", 0, 0]}]]])], [], []),
            "CF-036",
            "config.layers[0].inbound_nodes[0][0][3].m",
        ),
        (model([layer("a", [new_call(["a", 7, 0])])], [], []), "CF-037", "config.layers[0].inbound_nodes[0].args[0][0]"),
        (model([layer("a", [], "InputLayer")], [], {"o": ["a", 0, 1]}), "CF-038", "config.output_layers.o"),
        (model([layer("a", [new_call(["a", 0, 0])])], [], []), "CF-039", "config.layers[0].inbound_nodes[0]"),
        (model([layer("a", [], "InputLayer")], [["a", "0", 0]], []), "CF-035", "config.input_layers[0]"),
        (model([layer("a", [3])], [], []), "CF-033", "config.layers[0].inbound_nodes[0]"),
        (model([layer("a", [[["a", 0]]])], [], []), "CF-034", "config.layers[0].inbound_nodes[0][0][0]"),
        (model([layer(None, [])], [], []), "CF-031", "config.layers[0].name"),
        (model([1], [], []), "CF-030", "config.layers[0]"),
        ({"class_name": "Sequential", "config": [{"class_name": 1, "config": {}}]}, "CF-010", "config[0]"),
    ],
)
def test_cf036_an_error_says_where(value: Any, code: str, at: str) -> None:
    with refused(code, InvalidError) as caught:
        graph_of(json.loads(json.dumps(value)))
    assert caught.value.problem.at == at


# Edges as (layer, call) -> (layer, call), each from something earlier: every graph of layers that are called in some order.
@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Calls in an order in which they can be made: the layer, and the earlier calls that it takes tensors from."""
    calls: list[tuple[int, list[int]]] = []
    for number in range(draw(st.integers(1, 12))):
        target = draw(st.integers(0, 5))
        sources = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=3)) if number else []
        calls.append((target, sources))
    return calls


@given(calls=graphs(), seed=st.integers(0, 1 << 30), older=st.booleans())
def test_cf032_any_graph_is_read_as_it_was_made(calls: list[tuple[int, list[int]]], seed: int, older: bool) -> None:
    """CF-033, CF-034, CF-039: whatever the order of the layers in the file."""
    counts: dict[int, int] = {}
    names = []  # of the tensor that each call gives
    inbound: dict[int, list[Any]] = {}
    want = {"in[0]": []}
    for target, sources in calls:
        call = counts[target] = counts.get(target, -1) + 1
        tensors = [names[source] for source in sources] or [["in", 0, 0]]
        names.append([f"l{target}", call, 0])
        written = [[*found, {}] for found in tensors] if older else new_call(*tensors)
        inbound.setdefault(target, []).append(written)
        want[f"l{target}[{call}]"] = [f"{name}[{number}].{output}" for name, number, output in tensors]
    layers = [layer(f"l{target}", found, module="keras.layers") for target, found in inbound.items()]
    layers.append(layer("in", [], "InputLayer"))
    random.Random(seed).shuffle(layers)
    used = {tuple(names[source]) for _, sources in calls for source in sources}
    outputs = [name for name in names if tuple(name) not in used]
    found = graph_of(model(layers, [["in", 0, 0]], outputs))
    shown = graph_shown(found)
    assert {call: list(ports.values()) for call, ports in shown["calls"].items()} == want
    assert [tensor_shown(found, port.tensor) for port in found.outputs] == [f"{a}[{b}].{c}" for a, b, c in outputs]
    done: set[str] = set()
    for call in shown["order"]:
        assert {source.rpartition(".")[0] for source in want[call]} <= done
        done.add(call)


def test_cf034_structures_of_arguments_keep_their_paths() -> None:
    calls = [{"a": ["x", 0, 0, {}], "b": [["x", 0, 0, {"m": [["x", 0, 0], 3], "n": ["no", 1.5, 0]}]]}]
    found = graph_of(model([layer("x", [], "InputLayer"), layer("d", calls)], [["x", 0, 0]], [["d", 0, 0]]))
    assert [port_shown(port) for port in found.nodes[1].inputs] == ["0[a]", "0[b][0]", "m[0]"]


DEEP = 400  # brackets; the limit of a JSON text is 512


SOURCE, MANY = layer("a", [], "InputLayer"), 100_000


def wrapped(value: Any) -> Any:
    for _ in range(DEEP):
        value = [value]
    return value


def sequentials() -> Any:
    inner: Any = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {}}]}
    for _ in range(DEEP // 3):
        inner = {"class_name": "Sequential", "config": [inner]}
    return inner


def chain() -> list[Any]:
    return [SOURCE, *(layer(f"l{n}", [[[f"l{n - 1}" if n else "a", 0, 0, {}]]]) for n in range(20_000))]


HOSTILE: dict[str, Callable[[], Any]] = {
    "many edges into one call": lambda: model([SOURCE, layer("d", [new_call(*[["a", 0, 0]] * MANY)])], [["a", 0, 0]], []),
    "many edges, older": lambda: model([SOURCE, layer("d", [[["a", 0, 0, {"m": ["a", 0, 0]}]] * MANY])], [["a", 0, 0]], []),
    "many calls": lambda: model([SOURCE, layer("d", [[["a", 0, 0]]] * MANY)], [["a", 0, 0]], []),
    "many outputs": lambda: model([SOURCE], [["a", 0, 0]], [["a", 0, 0]] * MANY),
    "a long chain backwards": lambda: model(chain()[::-1], [["a", 0, 0]], [["l19999", 0, 0]]),
    "a long circle": lambda: model([layer(f"l{n}", [[[f"l{(n + 1) % 20_000}", 0, 0]]]) for n in range(20_000)], [], []),
    "deep structures": lambda: model(
        [SOURCE, layer("d", [[wrapped(["a", 0, 0])] * 200])], wrapped(["a", 0, 0]), {"x": wrapped(["a", 0, 0])}
    ),
    "models in models": sequentials,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_cf039_a_hostile_graph_takes_linear_time(name: str) -> None:
    text = json.dumps(HOSTILE[name]())
    read = config.parse(text)
    start = time.process_time()
    try:
        graph = config.graph(read.root)
        found = f"{len(graph.order) - len(graph.nodes)} left {[len(port.path) for port in graph.outputs[:1]]}"
    except InvalidError as error:
        found = error.problem.code
    if isinstance(read.root, KerasObject) and config.is_sequential(read.root):
        assert config.input_shape_of(read.root) is None
    assert found == {"a long circle": "CF-039"}.get(name) or found.startswith("0 left")
    assert time.process_time() - start < 60  # some tenths of a second, and hours where it grows with the square


def test_cf044_a_config_of_a_megabyte_takes_no_time() -> None:
    base = json.loads(golden_text("keras-3.15.1/functional.json"))
    dense = next(value for value in base["config"]["layers"] if value["class_name"] == "Dense")
    layers: list[Any] = [layer("l0", [], "InputLayer")]
    for number in range(1, 1000):
        layers.append(dense | {"name": f"l{number}", "inbound_nodes": [new_call([f"l{number - 1}", 0, 0])]})
    text = json.dumps(model(layers, [["l0", 0, 0]], ["l999", 0, 0]))
    assert len(text) > 900_000
    read, best = config.parse(text), 9.0
    for _ in range(5):
        start = time.process_time()
        found = config.graph(read.root)
        best = min(best, time.process_time() - start)
    assert len(found.nodes) == 1000
    assert best < 5  # some hundredths of a second
