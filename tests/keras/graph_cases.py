"""Models of real Keras, and configs made of theirs with one fault each.  Imports Keras inside functions only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Config = dict[str, Any]


def bases() -> dict[str, Config]:
    """The configs of models of many kinds, as Keras writes them into a file."""
    import keras
    from keras import layers

    keras.utils.clear_session()

    def shared() -> Any:
        a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
        dense = layers.Dense(3, name="shared")
        both = layers.Concatenate(name="joined")([dense(a), dense(b)])
        added = layers.Add(name="added")([dense(a), dense(b)])
        return keras.Model([a, b], [layers.Dense(2, name="one")(both), layers.Dense(1, name="two")(added)], name="m")

    def nested() -> Any:
        inner_in = keras.Input((4,), name="inner_in")
        x = layers.Dense(3, name="inner_dense")(inner_in)
        inner = keras.Model(inner_in, [x, layers.Dense(2, name="inner_more")(x)], name="inner")
        i = keras.Input((4,), name="i")
        one, two = inner(i)
        return keras.Model(i, layers.Concatenate(name="joined")([one, two]), name="m")

    def chain() -> Any:
        parts = [keras.Input((4,), name="i"), layers.Dense(3, name="d"), layers.BatchNormalization(name="n")]
        return keras.Sequential([*parts, layers.Dense(2, name="e")], name="s")

    def in_chain() -> Any:
        inner = keras.Sequential(
            [keras.Input((4,), name="ii"), layers.Dense(3, name="id"), layers.Dense(3, name="ie")], name="si"
        )
        return keras.Sequential([keras.Input((4,), name="i"), inner, layers.Dense(2, name="e")], name="s")

    def steps() -> Any:
        i = keras.Input((5, 4), name="i")
        x = layers.LSTM(3, return_sequences=True, name="lstm")(i)
        x = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="gru"), name="both")(x)
        x = layers.TimeDistributed(keras.Sequential([keras.Input((4,)), layers.Dense(3, name="td")], name="ts"), name="each")(x)
        x = layers.MultiHeadAttention(2, 2, name="mha")(x, x)
        return keras.Model(i, layers.RNN(layers.SimpleRNNCell(2, name="cell"), name="rnn")(x), name="m")

    def images() -> Any:
        i = keras.Input((8, 8, 3), name="i")
        x = layers.Conv2D(4, 3, name="conv")(i)
        x = layers.BatchNormalization(name="bn")(x)
        x = layers.MaxPooling2D(2, name="pool")(x)
        x = layers.SeparableConv2D(2, 2, name="sep")(x)
        x = layers.Reshape((4, 2), name="reshape")(x)
        x = layers.Conv1D(3, 2, name="conv1")(x)
        x = layers.Flatten(name="flat")(x)
        return keras.Model(i, layers.Dense(2, name="top")(x), name="m")

    def operations() -> Any:
        i = keras.Input((4,), name="i")
        x = layers.Dense(4, name="d")(i)
        return keras.Model(i, layers.LayerNormalization(name="ln")((x + i) * 2.0), name="m")

    def compiled() -> Any:
        model = chain()
        model.compile("adam", "mse")
        return model

    made = (shared, nested, chain, in_chain, steps, images, operations, compiled)
    return {f.__name__: json.loads(json.dumps(keras.saving.serialize_keras_object(f()))) for f in made}


def layer(config: Config, name: str) -> Config:
    """The layer of this name, in the model or in one inside."""
    todo: list[Any] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value.get("config"), dict) and value["config"].get("name") == name and "class_name" in value:
                return value
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    raise KeyError(name)


def tensors(layer: Config, call: int = 0) -> list[Config]:
    """The tensors that go into a call."""
    found: list[Config] = []
    todo: list[Any] = [layer["inbound_nodes"][call]]
    while todo:
        value = todo.pop(0)
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                found.append(value["config"])
            else:
                todo = [*value.values(), *todo]
        elif isinstance(value, list):
            todo = [*value, *todo]
    return found


Mutation = Callable[[Config], Any]
CASES: dict[str, tuple[str, Mutation]] = {}


def case(base: str) -> Callable[[Mutation], Mutation]:
    def add(mutation: Mutation) -> Mutation:
        CASES[mutation.__name__] = (base, mutation)
        return mutation

    return add


def _set(base: str, name: str, path: str, value: Any, *, title: str) -> None:
    """A case that puts `value` at `path` below the layer `name`."""

    def mutation(config: Config) -> None:
        found: Any = layer(config, name)
        *above, last = path.split(".")
        for key in above:
            found = found[int(key) if key.isdigit() else key]
        found[int(last) if last.isdigit() else last] = value

    CASES[title] = (base, mutation)


def _history(base: str, name: str, tensor: int, history: Any, *, title: str, call: int = 0) -> None:
    def mutation(config: Config) -> None:
        tensors(layer(config, name), call)[tensor]["keras_history"] = history

    CASES[title] = (base, mutation)


# The graph

_history("shared", "one", 0, ["nowhere", 0, 0], title="a tensor of no layer")
_history("shared", "one", 0, ["joined", 1, 0], title="a call that is not made")
_history("shared", "joined", 0, ["shared", 4, 0], title="a call too many of a shared layer")
_history("shared", "one", 0, ["joined", 0, 1], title="an output that a layer has not")
_history("shared", "joined", 0, ["a", 0, 1], title="a second output of an input")
_history("nested", "joined", 0, ["inner", 0, 2], title="an output that a model has not")
_history("shared", "joined", 0, ["one", 0, 0], title="a circle of two layers")
_history("shared", "one", 0, ["one", 0, 0], title="a layer that needs itself")
_history("shared", "one", 0, ["joined", -1, 0], title="a negative call")
_history("nested", "inner_more", 0, ["nowhere", 0, 0], title="a tensor of no layer in a nested model")
_history("nested", "inner_dense", 0, ["inner_more", 0, 0], title="a circle in a nested model")
_history("shared", "one", 0, ["joined", 0], title="a tensor without output number")
_history("shared", "one", 0, None, title="a tensor from nowhere")
_history("shared", "shared", 0, ["b", 0, 0], title="an input that one call less takes")
_set("shared", "m", "config.output_layers", [["nowhere", 0, 0]], title="an output of no layer")
_set("shared", "m", "config.output_layers", [["one", 1, 0]], title="an output of a call that is not made")
_set("shared", "m", "config.output_layers", [["one", 0, 1]], title="an output number that a layer has not")
_set("shared", "m", "config.output_layers", [], title="no outputs")
_set("shared", "m", "config.input_layers", [], title="no inputs")
_set("shared", "m", "config.input_layers", [["a", 0, 0]], title="an input left out that is needed")
_set("shared", "m", "config.input_layers", [["a", 0, 0], ["nowhere", 0, 0]], title="an input of no layer")
_set("shared", "m", "config.input_layers", [["a", 0, 0], ["a", 0, 0]], title="an input named twice")
_set(
    "shared", "m", "config.input_layers", [["a", 0, 0], ["b", 0, 0], ["joined", 0, 0]], title="an input that is no input layer"
)
_set("nested", "inner", "config.input_layers", [["inner_dense", 0, 0]], title="a nested input that is no input layer")
_set("shared", "m", "config.input_layers", 5, title="a number as inputs")
_set("shared", "m", "config.output_layers", [None], title="null as an output")
_set("shared", "one", "inbound_nodes", {}, title="an object as calls")
_set("shared", "one", "inbound_nodes", [5], title="a number as a call")
_set("shared", "one", "inbound_nodes", [{"args": 1, "kwargs": {}}], title="a number as args")
_set("shared", "one", "inbound_nodes", [], title="an output layer without calls")
_set("shared", "a", "inbound_nodes", [[["b", 0, 0, {}]]], title="a call of an input layer")
_set("shared", "m", "config.layers", [], title="a model without layers")
_set("shared", "m", "config.layers", {}, title="an object as layers")
_set("shared", "m", "config.layers.2", 5, title="a number in the place of a layer")
_set("nested", "inner", "config.layers", [], title="a nested model without layers")
_set("nested", "inner", "config.output_layers", [], title="a nested model without outputs")


@case("shared")
def no_inbound_nodes(config: Config) -> None:
    del layer(config, "one")["inbound_nodes"]


@case("shared")
def a_layer_left_out(config: Config) -> None:
    config["config"]["layers"].remove(layer(config, "joined"))


@case("shared")
def a_layer_that_nothing_reaches(config: Config) -> None:
    extra = json.loads(json.dumps(layer(config, "one")))
    extra["name"] = extra["config"]["name"] = "extra"
    config["config"]["layers"].append(extra)


@case("shared")
def a_layer_that_is_never_called(config: Config) -> None:
    extra = json.loads(json.dumps(layer(config, "one")))
    extra["name"] = extra["config"]["name"] = "extra"
    extra["inbound_nodes"] = []
    config["config"]["layers"].append(extra)


@case("shared")
def an_input_layer_that_nothing_reaches(config: Config) -> None:
    extra = json.loads(json.dumps(layer(config, "a")))
    extra["name"] = extra["config"]["name"] = "extra"
    config["config"]["layers"].append(extra)


@case("shared")
def an_optimizer_among_the_layers(config: Config) -> None:
    entry = {
        "module": "keras.optimizers",
        "class_name": "SGD",
        "config": {"learning_rate": 0.1},
        "name": "x",
        "inbound_nodes": [],
    }
    config["config"]["layers"].append(entry)


@case("chain")
def an_optimizer_in_a_sequential(config: Config) -> None:
    config["config"]["layers"].append({"module": "keras.optimizers", "class_name": "SGD", "config": {"learning_rate": 0.1}})


@case("chain")
def an_initializer_in_a_sequential(config: Config) -> None:
    config["config"]["layers"].append({"module": "keras.initializers", "class_name": "Zeros", "config": {}})


@case("chain")
def an_operation_in_a_sequential(config: Config) -> None:
    config["config"]["layers"].append({"module": "keras.src.ops.numpy", "class_name": "Absolute", "config": {"name": "abs"}})


@case("chain")
def a_policy_in_a_sequential(config: Config) -> None:
    config["config"]["layers"].append({"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}})


@case("shared")
def a_function_among_the_layers(config: Config) -> None:
    entry = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    config["config"]["layers"].append({**entry, "name": "x", "inbound_nodes": []})


# Names

_set("shared", "two", "name", "one", title="two layers of one name beside their config")
_set("shared", "b", "name", "a", title="two inputs of one name beside their config")
_set("shared", "two", "config.name", "one", title="two layers of one name in their config")
_set("shared", "two", "config.name", "other", title="another name in the config")
_set("chain", "e", "config.name", "d", title="two layers of one name in a sequential")
_set("in_chain", "ie", "config.name", "id", title="two layers of one name in a nested sequential")
_set("shared", "two", "config.name", "a/b", title="a slash in a name")
_set("chain", "e", "config.name", "a/b", title="a slash in a name in a sequential")
_set("chain", "e", "config.name", "", title="an empty name in a sequential")
_set("chain", "e", "config.name", 5, title="a number as a name in a sequential")
_set("chain", "e", "config.name", None, title="null as a name in a sequential")
_set("shared", "two", "config.name", 5, title="a number as a name")
_set("shared", "two", "name", 5, title="a number as a name beside the config")
_set("shared", "m", "config.name", "a/b", title="a slash in the name of a model")
_set("nested", "inner", "config.name", "a/b", title="a slash in the name of a nested model")
_set("nested", "inner_dense", "config.name", "inner_more", title="two layers of one name in a nested model")
_set("steps", "forward_gru", "config.name", "a/b", title="a slash in the name of a wrapped layer")
_set("nested", "inner_in", "config.name", "joined", title="one name in two models")
_set("chain", "s", "config.name", 5, title="a number as the name of a sequential")


@case("shared")
def no_name(config: Config) -> None:
    del layer(config, "two")["name"]


@case("chain")
def no_name_of_a_sequential(config: Config) -> None:
    del config["config"]["name"]


@case("chain")
def an_input_layer_in_the_middle(config: Config) -> None:
    extra = json.loads(json.dumps(layer(config, "i")))
    extra["config"]["name"] = "extra"
    config["config"]["layers"].insert(2, extra)


@case("chain")
def an_input_layer_in_the_middle_of_one_without(config: Config) -> None:
    config["config"]["layers"].append(config["config"]["layers"].pop(0))


@case("chain")
def a_sequential_without_layers(config: Config) -> None:
    config["config"]["layers"] = []


@case("chain")
def a_sequential_without_layers_nor_shape(config: Config) -> None:
    config["config"]["layers"] = []
    del config["config"]["build_input_shape"]


# What stands beside a config

_set("chain", "d", "build_config", 5, title="a number as a build_config")
_set("chain", "d", "build_config", [], title="an empty list as a build_config")
_set("chain", "d", "build_config", {"input_shape": 5}, title="a number as the shape in a build_config")
_set("chain", "d", "build_config", {"input_shape": [None, "x"]}, title="a string as an axis in a build_config")
_set("chain", "d", "build_config", {"input_shape": []}, title="a shape without axes in a build_config")
_set("chain", "d", "build_config", {"input_shape": [None, None]}, title="an unknown width in a build_config")
_set("chain", "d", "build_config", {"input_shape": [None, -4]}, title="a negative width in a build_config")
_set("compiled", "s", "compile_config", 5, title="a number as a compile_config")
_set("compiled", "s", "compile_config.optimizer", 5, title="a number as the optimizer")


# Shapes

_set("chain", "d", "build_config.input_shape", [None, 5], title="dense built for another width")
_set("chain", "e", "build_config.input_shape", [None, 4], title="dense built for another width than the one before gives")
_set("chain", "d", "build_config.input_shape", [None, 2, 4], title="dense built for another rank")
_set("chain", "n", "build_config.input_shape", [None, 2, 3], title="batch normalization built for another rank")
_set("chain", "n", "build_config.input_shape", [None, 5], title="batch normalization built for another width")
_set("chain", "d", "config.units", 7, title="dense with other units than the next was built for")
_set("chain", "i", "config.batch_shape", [None, 9], title="an input of another width")
_set("chain", "i", "config.batch_shape", [None], title="an input without width")
_set("chain", "i", "config.batch_shape", [None, None], title="an input of unknown width")
_set("chain", "i", "config.batch_shape", [None, -1], title="an input of negative width")
_set("chain", "i", "config.batch_shape", [7, 4], title="an input of a known batch")
_set("chain", "i", "config.batch_shape", [None, 2, 4], title="an input of more axes")
_set("shared", "b", "config.batch_shape", [None, 9], title="a shared layer called with another width")
_set("shared", "shared", "config.units", 5, title="a shared layer with other units")
_set("images", "conv", "build_config.input_shape", [None, 8, 8, 4], title="a convolution built for other channels")
_set("images", "conv", "build_config.input_shape", [None, 8, 3], title="a convolution built for another rank")
_set("images", "i", "config.batch_shape", [None, 8, 3], title="an input of too few axes for a convolution")
_set("images", "i", "config.batch_shape", [None, 2, 2, 3], title="an input smaller than the kernel")
_set("images", "i", "config.batch_shape", [None, None, None, 3], title="an input of unknown size")
_set("images", "conv", "config.kernel_size", [9, 9], title="a kernel larger than the image")
_set("images", "pool", "config.pool_size", [7, 7], title="a pool larger than the image")
_set("images", "sep", "config.kernel_size", [4, 4], title="a separable kernel larger than the image")
_set("images", "reshape", "config.target_shape", [5, 2], title="a reshape that cannot be")
_set("images", "reshape", "config.target_shape", [-1, 3], title="a reshape with a rest that cannot be")
_set("images", "reshape", "config.target_shape", [8], title="a reshape to a rank that the next does not take")
_set("images", "reshape", "config.target_shape", [-1, 2], title="a reshape with a rest")
_set("images", "conv1", "config.kernel_size", [5], title="a kernel longer than the sequence")
_set("images", "top", "build_config.input_shape", [None, 5], title="dense after flatten built for another width")
_set("images", "sep", "build_config.input_shape", [None, 3, 3, 5], title="a separable convolution built for other channels")
_set("images", "conv1", "build_config.input_shape", [None, 4, 5], title="a convolution of sequences built for other channels")
_set("images", "bn", "config.axis", 7, title="an axis that batch normalization has not")
_set("images", "conv", "config.filters", 6, title="a convolution with other filters than the next was built for")
_set("steps", "i", "config.batch_shape", [None, 4], title="an input of too few axes for a recurrent layer")
_set("steps", "i", "config.batch_shape", [None, None, 4], title="a sequence of unknown length")
_set("steps", "i", "config.batch_shape", [None, 5, 6], title="a sequence of another width")
_set("steps", "lstm", "config.return_sequences", False, title="a recurrent layer that gives no sequence for the next")
_set("steps", "lstm", "config.units", 7, title="a recurrent layer with other units than the next was built for")
_set("steps", "lstm", "build_config.shapes_dict", {"sequences_shape": [None, 5, 9]}, title="shapes beside an input shape")
_set("steps", "lstm", "build_config", {"input_shape": [None, 5, 9]}, title="a recurrent layer built for another width")
_set("steps", "both", "config.layer.config.units", 5, title="a bidirectional layer with other units")
_set("steps", "td", "build_config.input_shape", [None, 9], title="a layer of a wrapped model built for another width")
_set("steps", "td", "config.units", 9, title="a layer of a wrapped model with other units")
_set("steps", "ts", "config.layers.0.config.batch_shape", [None, 9], title="a wrapped model for another width")
_set("steps", "rnn", "build_config", {"input_shape": [None, 5, 9]}, title="a recurrent layer of cells built for another width")
_set("nested", "i", "config.batch_shape", [None, 9], title="a nested model called with another width")
_set("nested", "i", "config.batch_shape", [None, 2, 4], title="a nested model called with more axes")
_set("nested", "i", "config.batch_shape", [None, 4, 1], title="a nested model called with a last axis of one")
_set("nested", "inner_in", "config.batch_shape", [None, 9], title="a nested model for another width")
_set("nested", "inner_dense", "config.units", 9, title="a nested model with other units than the next was built for")
_set("nested", "inner_dense", "build_config.input_shape", [None, 9], title="a nested layer built for another width")
_set("in_chain", "i", "config.batch_shape", [None, 9], title="a nested sequential called with another width")
_set("in_chain", "ii", "config.batch_shape", [None, 9], title="a nested sequential for another width")
_set("in_chain", "ie", "config.units", 9, title="a nested sequential with other units")
_set("in_chain", "id", "config.units", 9, title="a nested sequential with other units inside")
_set("operations", "i", "config.batch_shape", [None, 7], title="an input that an operation cannot take")
_set("operations", "d", "config.units", 5, title="tensors that an operation cannot add")
_set("operations", "d", "config.units", 1, title="a tensor that an operation stretches")
_set("operations", "ln", "build_config.input_shape", [None, 9], title="layer normalization built for another width")
_set("shared", "joined", "config.axis", 1, title="an axis that is the last one")
_set("shared", "joined", "config.axis", 5, title="an axis that concatenate has not")
_set("shared", "joined", "config.axis", 0, title="the batch as the axis of concatenate")
_set("chain", "s", "config.build_input_shape", [None, 9], title="a sequential built for another shape than it has")
_set("chain", "s", "build_config.input_shape", [None, 9], title="a sequential with another build_config")


@case("shared")
def widths_that_cannot_be_added(config: Config) -> None:
    tensors(layer(config, "added"))[0]["keras_history"] = ["a", 0, 0]


@case("shared")
def one_tensor_for_add(config: Config) -> None:
    layer(config, "added")["inbound_nodes"][0]["args"][0].pop()


@case("shared")
def a_tensor_alone_for_add(config: Config) -> None:
    args = layer(config, "added")["inbound_nodes"][0]["args"]
    args[0] = args[0][0]


@case("shared")
def two_tensors_for_dense(config: Config) -> None:
    args = layer(config, "two")["inbound_nodes"][0]["args"]
    args[0] = [args[0], args[0]]


@case("shared")
def no_tensor_for_dense(config: Config) -> None:
    layer(config, "two")["inbound_nodes"][0]["args"] = []


@case("nested")
def two_tensors_for_a_model(config: Config) -> None:
    args = layer(config, "inner")["inbound_nodes"][0]["args"]
    args[0] = [args[0], args[0]]


@case("chain")
def no_build_configs(config: Config) -> None:
    for entry in config["config"]["layers"]:
        entry.pop("build_config", None)


@case("chain")
def no_build_configs_and_an_unknown_width(config: Config) -> None:
    no_build_configs(config)
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, None]


@case("chain")
def another_first_shape_without_input_layer(config: Config) -> None:
    del config["config"]["layers"][0]
    config["config"]["build_input_shape"] = [None, 9]


@case("chain")
def no_input_layer(config: Config) -> None:
    del config["config"]["layers"][0]


def _tensor(name: str, key: str, value: Any, *, title: str) -> None:
    def mutation(config: Config) -> None:
        tensors(layer(config, name))[0][key] = value

    CASES[title] = ("shared", mutation)


_tensor("one", "shape", [None, 9], title="a tensor written with another shape")
_tensor("one", "shape", [None, -9], title="a tensor written with a negative axis")
_tensor("one", "shape", None, title="a tensor written without shape")
_tensor("one", "dtype", "int32", title="a tensor written with another dtype")
_tensor("one", "dtype", "flaot32", title="a tensor written with a dtype that does not exist")


@case("chain")
def one_shared_id_of_two_layers(config: Config) -> None:
    for name in ("d", "e"):
        layer(config, name)["shared_object_id"] = 7


@case("chain")
def one_shared_id_of_a_layer_and_an_initializer(config: Config) -> None:
    layer(config, "d")["config"]["bias_initializer"]["shared_object_id"] = 7
    layer(config, "e")["shared_object_id"] = 7


@case("chain")
def one_shared_id_of_two_initializers(config: Config) -> None:
    layer(config, "d")["config"]["bias_initializer"]["shared_object_id"] = 7
    layer(config, "e")["config"]["kernel_initializer"]["shared_object_id"] = 7


@case("chain")
def one_shared_id_of_equal_initializers(config: Config) -> None:
    for name in ("d", "e"):
        layer(config, name)["config"]["bias_initializer"]["shared_object_id"] = 7


@case("chain")
def one_shared_id_of_layers_of_one_shape(config: Config) -> None:
    for name, activation in (("f", "linear"), ("g", "relu")):
        extra = json.loads(json.dumps(layer(config, "e")))
        extra["build_config"]["input_shape"] = [None, 2]
        extra["config"] |= {"name": name, "activation": activation}
        config["config"]["layers"].append({**extra, "shared_object_id": 7})


@case("chain")
def one_shared_id_of_one_layer_twice(config: Config) -> None:
    extra = json.loads(json.dumps(layer(config, "e")))
    extra["build_config"]["input_shape"] = [None, 2]
    config["config"]["layers"] += [{**extra, "shared_object_id": 7}] * 2
    config["config"]["layers"].remove(layer(config, "e"))
    layer(config, "n")["class_name"] = "Dense"
    layer(config, "n")["config"] = {"name": "n", "units": 2}


@case("operations")
def a_slash_in_the_name_of_an_operation(config: Config) -> None:
    operation = next(entry for entry in config["config"]["layers"] if entry["class_name"] == "Add")
    operation["config"]["name"] = "a/b"
