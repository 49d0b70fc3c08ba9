"""Normalization, attention, recurrent layers and wrappers: what refser expects is what real Keras writes.  JAX backend."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from cases_composite import CASES, GRU, INSIDE, LSTM, RNN, ZEROS, Case, Spec, layer
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refser.errors import RefserError
from refser.rules.layer import Layer, Unknown
from refser.rules.table import rule_for
from refser.rules.tree import NEWEST, WeightSpec, expected_weights
from refser.rules.walk import Owner, Walk

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

ALL = [pytest.param(name, number, id=f"{name}-{number}") for name, cases in CASES.items() for number in range(len(cases))]


def make(value: Any) -> Any:
    """A live layer."""
    import keras

    if isinstance(value, Spec):
        return getattr(keras.layers, value.class_name)(**{name: make(item) for name, item in value.options.items()})
    return [make(item) for item in value] if isinstance(value, list) else value


def functional(name: str, case: Case) -> tuple[Any, Any, list[Any]]:
    """A Functional model around one layer, the layer, and the shapes of its outputs."""
    import keras

    inputs = [keras.Input(batch_shape=(case.batch, *shape)) for shape in case.inputs]
    live = make(Spec(name, case.options))
    output = apply(live, case.call, inputs)
    outputs = keras.tree.flatten(output)
    return keras.Model(inputs, outputs), live, [tuple(it.shape) for it in outputs]


def apply(live: Any, call: str, inputs: list[Any]) -> Any:
    if call == "list":
        return live(inputs)
    if call == "state":
        return live(inputs[0], initial_state=inputs[1:])
    return live(*inputs)


class Built(NamedTuple):
    """What tests share that change nothing."""

    model: Any
    live: Any
    outputs: list[Any]
    config: str


@cache
def built(name: str, number: int) -> Built:
    from trees import config_of

    model, live, outputs = functional(name, CASES[name][number])
    return Built(model, live, outputs, config_of(model))


def serialized(live: Any) -> Any:
    import keras

    return json.loads(json.dumps(keras.saving.serialize_keras_object(live)))


def group_names(model: Any) -> dict[str, str]:
    """What Keras writes as the name of each group."""
    from keras.src.saving import saving_lib
    from trees import _Recorder

    names = {}

    class Names(_Recorder):
        def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
            names[f"{path}/vars".lstrip("/")] = metadata["name"]
            return super().make(path, metadata)

    saving_lib._save_state(model, weights_store=Names(), assets_store=None, inner_path="", visited_saveables=set())
    return names


def walked(model: Any) -> Owner:
    walk = Walk()
    root = walk.visit(Layer.read(serialized(model), "", version=NEWEST), "")
    assert root is not None
    return root


def trainable(owner: Owner, specs: dict[str, WeightSpec], seen: set[tuple[str, str | None]]) -> Iterator[WeightSpec]:
    """The trainable variables in the order of Keras's `trainable_variables`, each once."""
    for number, (var, _) in enumerate(owner.variables):
        made = owner
        while var.of:
            made = next(child for child in made.children if child.path.endswith(f"/{var.of}"))
            var = next(it for it, _ in made.variables if it.name == var.name)
        spec = specs[f"{owner.group}/{number}"]
        if (made.path, var.name) not in seen:
            seen.add((made.path, var.name))
            if spec.trainable is not False:
                yield spec
    for child in owner.children:
        yield from trainable(child, specs, seen)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_the_tree_is_what_keras_writes(name: str, number: int) -> None:
    """WT-001 to WT-010."""
    from trees import differences

    made = built(name, number)
    assert differences(made.model) == []
    names = group_names(made.model)
    found = expected_weights(made.config).groups
    assert {group: name for group, name in found.items() if name} == {group: names[group] for group in names if found[group]}
    unknown = ("/_softmax/vars", "/_dropout_layer/vars")
    assert {group for group, name in found.items() if not name} == {group for group in names if group.endswith(unknown)}


@pytest.mark.parametrize(("name", "number"), ALL)
def test_the_output_has_the_shape_that_keras_gives_it(name: str, number: int) -> None:
    case, made = CASES[name][number], built(name, number)
    layer = Layer.read(serialized(made.live), "", version=NEWEST)
    rule = rule_for(layer.key)
    assert rule is not None
    assert rule.output is not None
    found = rule.output(layer, [(case.batch, *shape) for shape in case.inputs])
    assert (found if isinstance(found, list) else [found]) == made.outputs


@pytest.mark.parametrize(("name", "number"), ALL)
def test_layers_inside_are_built_with_what_the_layer_around_them_gives(name: str, number: int) -> None:
    config = json.loads(built(name, number).config)
    assert list(expected_weights(strip(config))) == list(expected_weights(config))


@pytest.mark.parametrize(("name", "number"), ALL)
def test_children_are_in_the_order_of_trainable_variables(name: str, number: int) -> None:
    """And a layer thawed or frozen when it is built is written as one that always was."""
    from trees import config_of, differences

    model, live, _ = functional(name, CASES[name][number])
    live.trainable = False
    assert differences(model) == []
    live.trainable = True
    assert differences(model) == []
    specs = {spec.path: spec for spec in expected_weights(config_of(model))}
    assert {spec.variable_path for spec in specs.values()} == {variable.path for variable in model.weights}
    expected = [(spec.variable_path, spec.shape) for spec in trainable(walked(model), specs, set())]
    assert expected == [(variable.path, tuple(variable.shape)) for variable in model.trainable_variables]


@pytest.mark.parametrize(("name", "number"), ALL)
def test_a_layer_that_was_never_built_has_no_variables(name: str, number: int) -> None:
    import keras
    from trees import differences

    assert differences(keras.Sequential([make(Spec(name, CASES[name][number].options))])) == []


def test_every_class_has_cases() -> None:
    from importlib import import_module

    modules = ("normalization", "attention", "rnn", "wrappers")
    rules = [rule for module in modules for rule in import_module(f"refser.rules.{module}").RULES]
    names = [rule.class_name for rule in rules if rule.class_name != "GroupedQueryAttention"]  # a second name of one class
    assert sorted(names) == sorted([*CASES, *INSIDE])
    assert all(len(cases) > 1 for cases in CASES.values())


# Layers among others


def test_a_shared_layer_is_written_once() -> None:
    import keras
    from keras import layers
    from trees import differences

    first, second = keras.Input((5, 4)), keras.Input((5, 4))
    shared = [layers.Bidirectional(layers.LSTM(2, return_sequences=True)), layers.BatchNormalization(renorm=True)]
    outputs = []
    for value in (first, second):
        for it in (*shared, layers.TimeDistributed(layers.Dense(4)), layers.LayerNormalization()):
            value = it(value)
        outputs.append(layers.MultiHeadAttention(2, 3)(value, value))
    assert differences(keras.Model([first, second], outputs)) == []


def test_a_layer_in_two_wrappers_is_written_once() -> None:
    import keras
    from keras import layers
    from trees import differences

    first = keras.Input((5, 4))
    dense, cell = layers.Dense(4), layers.GRUCell(4)
    value = layers.TimeDistributed(dense)(first)
    value = layers.TimeDistributed(dense)(value)
    value = layers.RNN(cell, return_sequences=True)(value)
    assert differences(keras.Model(first, layers.RNN([cell, layers.GRUCell(3)])(value))) == []


@pytest.mark.parametrize("inner", ["functional", "sequential", "unbuilt sequential"])
def test_models_nest_in_wrappers_and_wrappers_in_models(inner: str) -> None:
    import keras
    from keras import layers
    from trees import differences

    stack = [layers.Dense(4), layers.LayerNormalization(), layers.Dense(2)]
    if inner == "functional":
        begin = keras.Input((4,))
        value = begin
        for it in stack:
            value = it(value)
        model = keras.Model(begin, value, name="inside")
    else:
        model = keras.Sequential(stack if inner != "sequential" else [keras.Input((4,)), *stack], name="inside")
    outer = keras.Sequential(
        [
            keras.Input((3, 5, 4)),
            layers.TimeDistributed(layers.TimeDistributed(model)),
            layers.TimeDistributed(layers.Bidirectional(layers.GRU(2, return_sequences=True))),
            layers.TimeDistributed(layers.Bidirectional(layers.LSTM(2))),
            keras.Sequential([layers.RNN([layers.LSTMCell(3), layers.LSTMCell(2)]), layers.BatchNormalization()]),
        ]
    )
    assert differences(outer) == []


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "mixed_bfloat16"])
def test_a_policy_for_all_reaches_every_layer(policy: str) -> None:
    import keras
    from keras import layers
    from trees import differences

    keras.config.set_dtype_policy(policy)
    try:
        first = keras.Input((5, 4))
        value = layers.GroupQueryAttention(3, 2, 1)(first, first)
        value = layers.Bidirectional(
            layers.RNN([layers.LSTMCell(3, **ZEROS), layers.GRUCell(2, **ZEROS)], return_sequences=True)
        )(value)
        value = layers.TimeDistributed(layers.SpectralNormalization(layers.Dense(3)))(value)
        model = keras.Model(first, layers.AdditiveAttention()([value, layers.RMSNormalization()(value)]))
    finally:
        keras.config.set_dtype_policy("float32")
    assert differences(model) == []


def test_a_wrapper_of_ones_own_keeps_what_it_wraps() -> None:
    """`Wrapper` is abstract: as such it stands in no model that can be called."""
    import keras
    from keras import layers
    from trees import differences

    wrapper = layers.Wrapper(layers.Dense(3))
    wrapper.build((None, 4))
    assert differences(keras.Sequential([wrapper])) == []


def test_cells_stand_alone() -> None:
    import keras
    from trees import differences

    for cell in (LSTM, GRU, RNN, layer("StackedRNNCells", cells=[LSTM, GRU])):
        live = make(cell)
        assert differences(keras.Sequential([live])) == []
        live.build((None, 4))
        assert differences(keras.Sequential([live])) == []


def test_a_layer_around_a_quantized_kernel_keeps_the_old_one() -> None:
    import keras
    from keras import layers
    from trees import differences

    for mode in ("int8", "int4"):
        first = keras.Input((4,))
        model = keras.Model(first, layers.SpectralNormalization(layers.Dense(3))(first))
        model.quantize(mode)
        assert differences(model) == []


# Cells and layers that refser does not know


def unknown_cells() -> Any:
    import keras

    @keras.saving.register_keras_serializable("tests_composite")
    class OddCell(keras.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = self.state_size = units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

        def call(self, inputs: Any, states: Any) -> Any:
            output = keras.ops.matmul(inputs, self.kernel) + states[0]
            return output, [output]

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return OddCell


def test_an_unknown_cell_is_opaque_and_what_is_around_it_is_not() -> None:
    import keras
    from keras import layers
    from trees import config_of, recorded

    odd = unknown_cells()
    first = keras.Input((5, 4))
    value = layers.RNN([layers.LSTMCell(3), odd(2), layers.GRUCell(3)], return_sequences=True)(first)
    value = layers.Bidirectional(layers.RNN(odd(2), return_sequences=True))(value)
    model = keras.Model(first, layers.LSTM(3)(value))
    tree = expected_weights(config_of(model))
    real, groups = recorded(model)
    both = [f"layers/bidirectional/{direction}_layer/cell" for direction in ("backward", "forward")]
    below = ("layers/rnn/cell/cells/odd_cell", *both)
    assert sorted(place.path for place in tree.opaque) == sorted(below)
    assert list(tree.groups) == groups
    assert [(it.path, it.shape) for it in real if not it.path.startswith(below)] == [(it.path, it.shape) for it in tree]


def test_the_axis_after_an_unknown_cell_is_unknown() -> None:
    """Without a build_config of its own, the next cell's input cannot be told."""
    import keras
    from keras import layers
    from trees import config_of

    first = keras.Input((5, 4))
    model = keras.Model(first, layers.RNN([layers.LSTMCell(3), unknown_cells()(2), layers.GRUCell(3)])(first))
    config = json.loads(config_of(model))
    for cell in config["config"]["layers"][1]["config"]["cell"]["config"]["cells"]:
        cell.pop("build_config")
    config["config"]["layers"][1]["config"]["cell"].pop("build_config")
    shapes = {it.path: it.shape for it in expected_weights(config)}
    assert shapes["layers/rnn/cell/cells/lstm_cell/vars/0"] == (4, 12)
    assert shapes["layers/rnn/cell/cells/gru_cell/vars/0"] == (None, 9)
    assert shapes["layers/rnn/cell/cells/gru_cell/vars/1"] == (3, 9)


def strip(value: Any, inside: bool = False) -> Any:
    """A config without the build_config of layers inside layers."""
    if isinstance(value, dict):
        return {
            name: strip(item, inside or name in ("layer", "backward_layer", "cell", "cells"))
            for name, item in value.items()
            if not (inside and name == "build_config")
        }
    return [strip(item, inside) for item in value] if isinstance(value, list) else value


# Other versions


def test_before_3_3_3_bidirectional_keeps_the_layer_it_was_given() -> None:
    config = json.loads(built("Bidirectional", 0).config)
    config["config"]["layers"][1]["config"]["name"] = "bidirectional"
    groups = [list(expected_weights(config, keras_version=version).groups) for version in ("3.3.2", "3.3.3")]
    assert [group for group in groups[0] if group not in groups[1]] == [
        "layers/bidirectional/layer/vars",
        "layers/bidirectional/layer/cell/vars",
    ]
    specs = [list(expected_weights(config, keras_version=version)) for version in ("3.3.2", "3.3.3")]
    assert specs[0] == specs[1]


# Hostile configs: whatever they say, refser refuses or answers


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if path and str(path[-1]).endswith(("initializer", "regularizer", "constraint")):  # without effect
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


WORDS = ["LSTM", "Bidirectional", "StackedRNNCells", "RNN", "MultiHeadAttention", "Dense", "channels_first", "same"]
KEYS = ["query_shape", "value_shape", "sequences_shape", "class_name", "config"]
SHAPES = st.lists(st.none() | st.integers(0, 6), max_size=5)
HOSTILE = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=3), st.sampled_from(WORDS)),
    st.sampled_from([1 << 61, 1 << 62, 1 << 70, -(1 << 70)]),
    *(SHAPES, st.lists(SHAPES, max_size=4), st.lists(st.integers(-3, 4), max_size=3)),
    st.dictionaries(st.sampled_from(KEYS), st.none() | SHAPES, max_size=3),
)


def mutate(config: Any, data: st.DataObject) -> None:
    """Break the values of layers, not those of the model around them."""
    for _ in range(data.draw(st.integers(1, 3))):
        found = [path for path in places(config) if path[:2] == ("config", "layers") and len(path) > 3]
        path = data.draw(st.sampled_from(found))
        target = config
        for key in path[:-1]:
            target = target[key]
        kind = data.draw(st.sampled_from(["replace", "replace", "delete", "swap"]))
        if kind == "delete":
            del target[path[-1]]
        elif kind == "replace":
            target[path[-1]] = copy.deepcopy(data.draw(HOSTILE))
        else:
            source: Any = config
            for key in data.draw(st.sampled_from(found)):
                source = source.get(key) if isinstance(source, dict) else source[key] if key < len(source) else None
                if not isinstance(source, (dict, list)):
                    break
            target[path[-1]] = copy.deepcopy(source)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_broken_config_is_refused_or_answered(data: st.DataObject) -> None:
    config = json.loads(built(*data.draw(st.sampled_from([param.values for param in ALL]))).config)
    mutate(config, data)
    try:
        expected_weights(config)
        event("answered")
    except RefserError as error:
        event(error.problem.code)
    for value in config["config"]["layers"]:
        with contextlib.suppress(RefserError, Unknown):
            layer = Layer.read(value, "", version=NEWEST)
            if (rule := rule_for(layer.key)) and rule.output:
                rule.output(layer, data.draw(st.lists(SHAPES.map(tuple), max_size=3)))


def test_a_nest_of_wrappers_takes_no_time() -> None:
    """Two directions of two directions of ... would be 2**80 layers."""
    inside: Any = {"module": "keras.layers", "class_name": "LSTM", "config": {"units": 2}}
    nests = {"Bidirectional": "layer", "TimeDistributed": "layer", "SpectralNormalization": "layer", "StackedRNNCells": "cells"}
    for wrapper, argument in nests.items():
        value = inside
        for _ in range(80):
            again = [value] if argument == "cells" else value
            value = {"module": "keras.layers", "class_name": wrapper, "config": {argument: again}, "build_config": {}}
        value["build_config"] = {"input_shape": [None, *[3] * 90]}
        with contextlib.suppress(RefserError):
            expected_weights(value)
