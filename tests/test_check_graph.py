"""Names, graphs and ends of models: every fault is found, each once, at its place (spec/config-graph.md)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from graph_configs import call, dense, functional, input_layer, layer, sequential, tensor
from hypothesis import given
from hypothesis import strategies as st

from refser.checks.graph import check_graph
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.config import graph, read_node
from refser.config.models import training_of
from refser.errors import InvalidError, RefserError
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS

GOLDEN = sorted(path for path in (Path(__file__).parent / "golden").glob("*/*") if path.parent.name != "make")
Config = dict[str, Any]


def findings(config: Config, folder: Path) -> list[Finding]:
    path = folder / "config.json"
    path.write_text(json.dumps(config), "utf-8")
    return findings_in(path)


def findings_in(path: Path) -> list[Finding]:
    with open_layout(str(path), limits=DEFAULT_LIMITS) as file:
        subject = Subject(file, Options())
        found = list(check_graph(subject))
        return [*subject.found, *found]


def places(found: list[Finding]) -> list[tuple[str, str]]:
    return [(it.code, it.at) for it in found]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_cf050_files_of_keras_have_no_finding(path: Path) -> None:
    try:
        found = findings_in(path)
    except RefserError:  # what lies beside the files, and files of weights alone
        return
    assert found == []


def test_cf050_every_fault_of_a_graph_is_found(tmp_path: Path) -> None:
    layers = [
        input_layer("a"),
        dense("no", [call(tensor("b")), call(tensor("a", 1)), call(tensor("a", 0, 1))]),
        dense("c", [call(tensor("d"))]),
        dense("d", [call(tensor("c"))]),
        dense("e", [call(tensor("e"))]),
        dense("f", [5]),
        dense("f", {}),
        7,
        dense("g", [call(tensor("a"))]),
    ]
    config = functional(layers, [["a", 0, 0], ["x", 0, 0]], [["g", 0, 0], ["g", 1, 0], 5, ["g", "y", 0]])
    assert sorted(places(findings(config, tmp_path))) == sorted(
        [
            ("CF-010", "config.layers[7]"),  # as the weight tree has it
            ("CF-031", "config.layers[6]"),
            ("CF-032", "config.layers[6].inbound_nodes"),
            ("CF-033", "config.layers[5].inbound_nodes[0]"),
            ("CF-035", "config.output_layers[3]"),
            ("CF-036", "config.input_layers[1]"),
            ("CF-036", "config.layers[1].inbound_nodes[0].args[0]"),
            ("CF-037", "config.layers[1].inbound_nodes[1].args[0]"),
            ("CF-037", "config.output_layers[1]"),
            ("CF-038", "config.layers[1].inbound_nodes[2].args[0]"),
            ("CF-039", "config.layers[2].inbound_nodes[0]"),
            ("CF-039", "config.layers[4].inbound_nodes[0]"),
            ("CF-040", "config.output_layers[2]"),
        ]
    )


def test_cf050_models_in_wrappers_are_looked_at(tmp_path: Path) -> None:
    inner = sequential([dense("d"), dense("d")])
    deep = layer("TimeDistributed", "u", {"layer": layer("TimeDistributed", "t", {"layer": inner})})
    found = findings(sequential([input_layer("i", (None, 3, 3, 2)), deep]), tmp_path)
    assert places(found) == [("CF-031", "config.layers[1].config.layer.config.layer.config.layers[1]")]


def test_cf050_a_graph_with_a_callback_leaves_out_what_is_wrong() -> None:
    config = functional([input_layer("a"), dense("d", [call(tensor("a"), tensor("b"))])], [["a", 0, 0]], [["d", 0, 0]])
    refused: list[InvalidError] = []
    model = read_node(config, "")
    assert model is not None
    found = graph(model, refused.append)
    assert [error.problem.code for error in refused] == ["CF-036"]
    assert [len(node.inputs) for node in found.nodes] == [0, 1]
    assert found.broken == {1}
    with pytest.raises(InvalidError):
        graph(model)


def test_cf050_a_call_that_is_none_breaks_no_other() -> None:
    config = functional([dense("c", {}), input_layer("a"), dense("d", [call(tensor("a"))])], [["a", 0, 0]], [["d", 0, 0]])
    refused: list[InvalidError] = []
    model = read_node(config, "")
    assert model is not None
    assert graph(model, refused.append).broken == frozenset()
    assert [error.problem.code for error in refused] == ["CF-032"]


def test_cf024_an_optimizer_that_is_none_goes_to_the_callback() -> None:
    refused: list[InvalidError] = []
    assert training_of({"optimizer": 5, "loss": "mse"}, "x", refused.append).loss == "mse"
    assert [error.problem.at for error in refused] == ["x.optimizer"]


def test_cf050_of_many_alike_a_hundred_are_listed(tmp_path: Path) -> None:
    layers = [input_layer("a"), *(dense(f"d{n}", [call(tensor("x"))]) for n in range(150))]
    found = findings(functional(layers, [["a", 0, 0]], [["d0", 0, 0]]), tmp_path)
    assert [it.code for it in found] == ["CF-036"] * 102  # the first is the weight tree's
    assert found[-1].message == "the same in more than 100 places; the others are not listed"


@pytest.mark.parametrize(("inputs", "outputs"), [([], [["a", 0, 0]]), ([["a", 0, 0]], []), ([["a", 0, 0]], {"x": [[]]})])
def test_cf051_a_model_without_ends_is_an_error(inputs: Any, outputs: Any, tmp_path: Path) -> None:
    found = findings(functional([input_layer("a")], inputs, outputs), tmp_path)
    assert places(found)[0] == ("CF-051", "config.output_layers" if inputs else "config.input_layers")


def test_cf052_an_input_that_is_needed_and_not_named_is_an_error(tmp_path: Path) -> None:
    layers = [input_layer("a"), input_layer("b"), dense("c", [call(tensor("b"))]), dense("d", [call(tensor("c"))])]
    layers.append(dense("e", [call(tensor("a"))]))
    found = findings(functional(layers, [["a", 0, 0]], [["e", 0, 0], ["d", 0, 0]]), tmp_path)
    assert places(found) == [("CF-052", "config.layers[1]")]


def test_cf052_an_input_in_the_middle_ends_the_way_back(tmp_path: Path) -> None:
    layers = [input_layer("a"), dense("c", [call(tensor("a"))]), dense("d", [call(tensor("c"))])]
    assert findings(functional(layers, [["c", 0, 0]], [["d", 0, 0]]), tmp_path)[0].code == "CF-058"  # `a` is left out


@pytest.mark.parametrize("name", ["a/b", 5])
def test_cf053_names_of_models_have_no_slash(name: Any, tmp_path: Path) -> None:
    inner = sequential([dense("d")], name=name)
    found = findings(sequential([input_layer("i"), inner], name=name), tmp_path)
    assert places(found) == [("CF-053", "config.name"), ("CF-053", "config.layers[1].config.name")]


@pytest.mark.parametrize("module", ["keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.src.ops.numpy"])
def test_cf054_what_is_no_layer_is_none_of_a_sequential(module: str, tmp_path: Path) -> None:
    entry = {"module": module, "class_name": "Absolute", "config": {"name": "x"}}
    assert places(findings(sequential([input_layer("i"), entry]), tmp_path)) == [("CF-054", "config.layers[1]")]


def test_cf054_custom_classes_may_be_layers(tmp_path: Path) -> None:
    entry = {"module": "mine", "class_name": "SGD", "config": {"name": "x"}, "registered_name": "mine>SGD"}
    assert findings(sequential([input_layer("i"), entry]), tmp_path) == []


def test_cf056_one_layer_in_two_places_is_no_fault(tmp_path: Path) -> None:
    first, second = (layer("TimeDistributed", name, {"layer": dense("d", shared_object_id=3)}) for name in "ab")
    model = sequential([input_layer("i", (None, 3, 2)), first, second])
    assert findings(model, tmp_path) == []
    second["config"]["layer"]["config"]["units"] = 3
    assert places(findings(model, tmp_path)) == [("CF-056", "config.layers[2].config.layer")]


@pytest.mark.parametrize("key", ["build_config", "compile_config"])
@pytest.mark.parametrize("value", [5, "x", [1], True])
def test_cf057_what_stands_beside_a_config_is_an_object(key: str, value: Any, tmp_path: Path) -> None:
    found = findings(sequential([input_layer("i"), sequential([dense("d")], **{key: value})]), tmp_path)
    assert places(found) == [("CF-057", f"config.layers[1].{key}")]


@pytest.mark.parametrize("value", [None, {}, [], 0])
def test_cf057_keras_passes_over_what_is_empty(value: Any, tmp_path: Path) -> None:
    assert findings(sequential([input_layer("i"), dense("d", build_config=value)]), tmp_path) == []


def test_cf058_a_layer_that_no_output_needs_is_a_warning(tmp_path: Path) -> None:
    layers = [input_layer("a"), *(dense(name, [call(tensor("a"))]) for name in "de")]
    found = findings(functional(layers, [["a", 0, 0]], [["d", 0, 0]]), tmp_path)
    assert [(it.code, it.severity, it.at) for it in found] == [("CF-058", "warning", "config.layers[2]")]


def _paths(value: Any) -> list[tuple[Any, ...]]:
    found, todo = [], [((), value)]
    while todo:
        path, value = todo.pop()
        found.append(path)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        todo.extend(((*path, key), child) for key, child in items)
    return found


def _sample() -> Config:
    inner = functional([input_layer("x"), dense("y", [call(tensor("x"))])], [["x", 0, 0]], [["y", 0, 0]], name="n")
    each = layer("TimeDistributed", "t", {"layer": sequential([dense("z")])}, [call(tensor("r", shape=(None, 1, 2)))])
    layers = [
        input_layer("a"),
        {**inner, "name": "n", "inbound_nodes": [call(tensor("a"))]},
        layer("Add", "p", {}, [call([tensor("n"), tensor("a")])]),
        layer("Reshape", "r", {"target_shape": [1, 2]}, [call(tensor("p"))]),
        each,
        layer("LSTM", "l", {"units": 2}, [call(tensor("t", shape=(None, 1, 2)))], build_config={"input_shape": [None, 1, 2]}),
    ]
    return functional(layers, [["a", 0, 0]], [["l", 0, 0]])


SAMPLE = _sample()
PATHS = _paths(SAMPLE)
VALUES = st.sampled_from(
    [
        None,
        0,
        -1,
        3,
        1 << 70,
        0.5,
        True,
        "",
        "a",
        "n",
        "Functional",
        "keras.layers",
        [],
        [None],
        [["a", 0, 0]],
        {},
        [[], {}],
        [-1],
    ]
)


def test_the_sample_is_sound(tmp_path: Path) -> None:
    assert findings(SAMPLE, tmp_path) == []


@given(changes=st.lists(st.tuples(st.sampled_from(PATHS[1:]), VALUES), min_size=1, max_size=4), data=st.data())
def test_cf050_no_config_brings_the_check_down(
    changes: list[tuple[tuple[Any, ...], Any]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = copy.deepcopy(SAMPLE)
    for path, value in changes:
        at: Any = config
        try:
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = data.draw(st.sampled_from([value, copy.deepcopy(at[path[-1]])]))
        except (KeyError, IndexError, TypeError):
            continue
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    try:
        opened = open_layout(str(folder / "config.json"), limits=DEFAULT_LIMITS)
    except RefserError:  # no config at all any more
        return
    with opened as file:
        subject = Subject(file, Options())
        found = places(list(check_graph(subject)))
    assert len(found) == len(set(found))
    assert not set(found) & set(places(subject.found))
