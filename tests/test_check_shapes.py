"""Shapes that contradict each other are found, and nothing is said where they cannot be told (spec/config-graph.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graph_configs import Config, call, dense, functional, input_layer, layer, sequential, tensor
from test_check_graph import findings


def _found(config: Config, folder: Path) -> list[tuple[str, str]]:
    return [(it.code, it.at) for it in findings(config, folder)]


def _built(name: str, *shape: int | None, units: int = 2) -> Config:
    return dense(name, units=units, build_config={"input_shape": [None, *shape]})


def test_cf059_an_output_that_a_layer_has_not_is_an_error(tmp_path: Path) -> None:
    layers = [input_layer("a"), dense("d", [call(tensor("a"))]), dense("e", [call(tensor("d", 0, 1))])]
    found = _found(functional(layers, [["a", 0, 0]], [["e", 0, 0], ["e", 0, 3]]), tmp_path)
    assert found == [("CF-059", "config.layers[2].inbound_nodes[0].args[0]"), ("CF-059", "config.output_layers[1]")]


@pytest.mark.parametrize(("output", "code"), [(2, []), (3, ["CF-059"])])
def test_cf059_a_recurrent_layer_gives_its_states_too(output: int, code: list[str], tmp_path: Path) -> None:
    lstm = layer("LSTM", "l", {"units": 2, "return_state": True}, [call(tensor("a", shape=(None, 3, 2)))])
    layers = [input_layer("a", (None, 3, 2)), lstm, dense("e", [call(tensor("l", 0, output))])]
    found = findings(functional(layers, [["a", 0, 0]], [["e", 0, 0]]), tmp_path)
    assert [it.code for it in found if it.severity == "error"] == code


def test_cf060_every_layer_built_for_something_else_is_found(tmp_path: Path) -> None:
    found = findings(sequential([input_layer("i"), _built("d", 3), _built("e", 5), _built("f", 2), _built("g", 7)]), tmp_path)
    assert [it.at for it in found] == ["config.layers[1]", "config.layers[2]", "config.layers[4]"]
    assert (
        found[1].message == "(None, 2) for 'e' (Dense), from 'd'; wanted 5 on axis -1, as in (None, 5), which it was built for"
    )


def test_cf060_a_shared_layer_is_looked_at_in_each_call(tmp_path: Path) -> None:
    shared = dense("d", [call(tensor("a")), call(tensor("b", shape=(None, 3)))])
    ends = [["a", 0, 0], ["b", 0, 0]]
    found = _found(
        functional([input_layer("a"), input_layer("b", (None, 3)), shared], ends, [["d", 0, 0], ["d", 1, 0]]), tmp_path
    )
    assert found == [("CF-060", "config.layers[2].inbound_nodes[1]")]


@pytest.mark.parametrize("shape", [(None, None), (7, None), (None, 3)])
def test_cf060_an_axis_that_is_not_known_is_like_any_other(shape: tuple[int | None, ...], tmp_path: Path) -> None:
    assert _found(sequential([input_layer("i", shape), _built("d", 3)]), tmp_path) == []


@pytest.mark.parametrize(
    "opaque",
    [
        {"module": "mine", "class_name": "Mine", "config": {"name": "x"}, "registered_name": "mine>Mine"},
        layer("Lambda", "x", {"function": {"module": "mine", "class_name": "function", "config": "f"}}),
    ],
)
def test_cf060_nothing_is_said_behind_what_is_not_known(opaque: Config, tmp_path: Path) -> None:
    chain = sequential([input_layer("i"), opaque, _built("d", 9), layer("Reshape", "r", {"target_shape": [77]})])
    assert [it for it in _found(chain, tmp_path) if it[0] != "CF-062"] == []


def test_cf061_arguments_of_tf_keras_behind_the_first_are_no_fault(tmp_path: Path) -> None:
    lstm = layer("LSTM", "l", {"units": 2}, [[["a", 0, 0, {}], ["b", 0, 0, {}], ["c", 0, 0, {}]]])
    del lstm["module"]
    layers = [input_layer("a", (None, 3, 2)), input_layer("b"), input_layer("c"), lstm]
    ends = [["a", 0, 0], ["b", 0, 0], ["c", 0, 0]]
    assert [it for it in _found(functional(layers, ends, [["l", 0, 0]]), tmp_path) if it[0] == "CF-061"] == []


@pytest.mark.parametrize(("args", "count"), [([tensor("a")], 1), ([[tensor("a"), tensor("a")]], 0)])
def test_cf061_what_joins_tensors_takes_a_list(args: list[Any], count: int, tmp_path: Path) -> None:
    add = layer("Add", "p", {}, [call(*args)], build_config={"input_shape": [[None, 2], [None, 2]]})
    found = _found(functional([input_layer("a"), add], [["a", 0, 0]], [["p", 0, 0]]), tmp_path)
    assert found == [("CF-061", "config.layers[1].inbound_nodes[0]")] * count


def _joined(class_name: str, *shapes: tuple[int | None, ...], module: str = "keras.layers", **config: Any) -> Config:
    names = [f"i{number}" for number in range(len(shapes))]
    tensors = [tensor(name, shape=shape) for name, shape in zip(names, shapes)]
    args = call(tensors) if module == "keras.layers" else call(*tensors)
    beside = {"build_config": {"input_shape": [[None, 9]]}} if module == "keras.layers" else {"module": module}
    joined = layer(class_name, "j", config, [args], **beside)
    layers = [*(input_layer(name, shape) for name, shape in zip(names, shapes)), joined]
    return functional(layers, [[name, 0, 0] for name in names], [["j", 0, 0]])


@pytest.mark.parametrize(
    ("class_name", "a", "b", "fine"),
    [
        ("Add", (None, 2), (None, 3), False),
        ("Add", (None, 2), (None, 1), True),
        ("Add", (None, 2), (None, None), True),
        ("Multiply", (None, 4, 2), (None, 2), True),
        ("Concatenate", (None, 4, 2), (None, 4, 3), True),
        ("Concatenate", (None, 4, 2), (None, 5, 2), False),
        ("Concatenate", (None, 4, 2), (None, 4), False),
    ],
)
def test_cf062_tensors_that_cannot_be_joined(
    class_name: str, a: tuple[int | None, ...], b: tuple[int | None, ...], fine: bool, tmp_path: Path
) -> None:
    found = findings(_joined(class_name, a, b), tmp_path)
    assert [(it.code, it.at) for it in found] == [] if fine else [("CF-062", "config.layers[2].inbound_nodes[0]")]
    assert fine or (str(a) in found[0].message and str(b) in found[0].message)


@pytest.mark.parametrize(("b", "fine"), [((None, 3), False), ((None, 1), True), ((2,), True), ((5, 1, 2), True)])
def test_cf062_tensors_that_an_operation_cannot_join(b: tuple[int | None, ...], fine: bool, tmp_path: Path) -> None:
    found = _found(_joined("Add", (None, 2), b, module="keras.src.ops.numpy"), tmp_path)
    assert found == ([] if fine else [("CF-062", "config.layers[2].inbound_nodes[0]")])


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((None, 4, 1), layer("Conv1D", "c", {"filters": 1, "kernel_size": [5]}, build_config={"input_shape": [None, 9, 1]})),
        ((None, 4, 4, 1), layer("MaxPooling2D", "c", {"pool_size": [5, 5]}, build_config={"input_shape": [None, 4, 4, 1]})),
        ((None, 4), layer("Reshape", "c", {"target_shape": [3]}, build_config={"input_shape": [None, 4]})),
        ((None, 4), layer("Reshape", "c", {"target_shape": [-1, 3]}, build_config={"input_shape": [None, 4]})),
    ],
)
def test_cf062_outputs_that_cannot_be(shape: tuple[int | None, ...], made: Config, tmp_path: Path) -> None:
    found = findings(sequential([input_layer("i", shape), made]), tmp_path)
    assert [(it.code, it.at) for it in found] == [("CF-062", "config.layers[1]")]
    assert str(shape) in found[0].message


@pytest.mark.parametrize(("shape", "count"), [((None, None), 1), ((None, None, 3), 0), ((None, 3, None), 1)])
def test_cf063_variables_have_a_known_size(shape: tuple[int | None, ...], count: int, tmp_path: Path) -> None:
    found = _found(sequential([input_layer("i", shape), dense("d")]), tmp_path)
    assert found == [("CF-063", "config.layers[1]")] * count


def test_cf064_a_model_inside_is_called_for_its_shape(tmp_path: Path) -> None:
    made = dense("y", [call(tensor("x", shape=(None, 3)))])
    inner = functional([input_layer("x", (None, 3)), made], [["x", 0, 0]], [["y", 0, 0]], name="n")
    calls = [call(tensor("a")), call(tensor("b", shape=(None, 3)))]
    layers = [input_layer("a"), input_layer("b", (None, 3)), {**inner, "name": "n", "inbound_nodes": calls}]
    found = findings(functional(layers, [["a", 0, 0], ["b", 0, 0]], [["n", 1, 0], ["n", 2, 0]]), tmp_path)
    assert [(it.code, it.at) for it in found if it.severity == "error"] == [("CF-064", "config.layers[2]")]
    assert found[0].message == "(None, 2) as input 0 of the model 'n'; wanted (None, 3), which it was made for"


def test_cf064_a_model_in_a_wrapper_is_called_for_its_shape(tmp_path: Path) -> None:
    inner = sequential([input_layer("x", (None, 3)), dense("y")])
    found = _found(sequential([input_layer("i", (None, 5, 2)), layer("TimeDistributed", "t", {"layer": inner})]), tmp_path)
    assert found == [("CF-064", "config.layers[1].config.layer")]


def test_cf064_what_is_too_small_inside_is_found_in_the_call(tmp_path: Path) -> None:
    pool = layer("MaxPooling1D", "p", {"pool_size": [5]}, build_config={"input_shape": [None, None, 1]})
    inner = sequential([input_layer("x", (None, None, 1)), pool], build_config={"input_shape": [None, None, 1]})
    assert _found(sequential([input_layer("i", (None, 9, 1)), inner]), tmp_path) == []
    found = _found(sequential([input_layer("i", (None, 4, 1)), inner]), tmp_path)
    assert found == [("CF-062", "config.layers[1].config.layers[1]")]


@pytest.mark.parametrize(("width", "count"), [(3, 1), (2, 0), (None, 0)])
def test_cf065_a_layer_that_keras_does_not_ask_is_a_warning(width: int | None, count: int, tmp_path: Path) -> None:
    lstm = layer("LSTM", "l", {"units": 2}, build_config={"input_shape": [None, 9, 3]})
    found = findings(sequential([input_layer("i", (None, 4, width and 5 - width)), lstm]), tmp_path)
    assert [(it.code, it.severity) for it in found] == [("CF-065", "warning")] * count


@pytest.mark.parametrize(
    ("shape", "count"), [((None, 2), 0), ((None, None), 0), ((5, 2), 0), ((None, 3), 1), ((None, 2, 2), 1)]
)
def test_cf066_the_shape_beside_a_tensor_is_that_of_its_layer(
    shape: tuple[int | None, ...], count: int, tmp_path: Path
) -> None:
    layers = [input_layer("a"), dense("d", [call(tensor("a", shape=shape))])]
    found = findings(functional(layers, [["a", 0, 0]], [["d", 0, 0]]), tmp_path)
    place = "config.layers[1].inbound_nodes[0].args[0].config.shape"
    assert [(it.code, it.severity, it.at) for it in found] == [("CF-066", "warning", place)] * count


def test_cf067_a_tensor_has_a_shape_and_a_dtype(tmp_path: Path) -> None:
    args = [[tensor("a", dtype="flaot32"), tensor("a", shape=(None, -2))]]
    layers = [input_layer("a"), layer("Add", "d", {}, [call(*args)])]
    found = _found(functional(layers, [["a", 0, 0]], [["d", 0, 0]]), tmp_path)
    place = "config.layers[1].inbound_nodes[0].args[0]"
    assert [it for it in found if it[0] == "CF-067"] == [
        ("CF-067", f"{place}[0].config.dtype"),
        ("CF-067", f"{place}[1].config.shape"),
    ]


def test_ly002_shapes_that_are_none_are_found_in_every_layer(tmp_path: Path) -> None:
    chain = sequential([input_layer("i"), *(dense(name, build_config={"input_shape": 5}) for name in "de")])
    assert _found(chain, tmp_path) == [("LY-002", f"config.layers[{n}].build_config.input_shape") for n in (1, 2)]
