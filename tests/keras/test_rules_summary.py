"""The summary that refser makes of a config is the one that real Keras prints of the model.  JAX backend."""

from __future__ import annotations

import re
from typing import Any

import pytest
from cases_composite import CASES

from refser.rules.summary import Row, Summary, summarize
from refser.rules.summary_text import shapes_text, size_text

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]


def branches() -> Any:
    import keras
    from keras import layers

    image, vector = keras.Input((8, 8, 3)), keras.Input((5,))
    value = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    shared = layers.Dense(4)
    other = layers.Concatenate()([value, shared(vector), shared(layers.Dense(5)(vector))])
    return keras.Model([image, vector], [layers.Dense(2)(other), value])


def operations() -> Any:
    import keras
    from keras import layers, ops

    first = keras.Input((4, 3))
    value = ops.mean(first * 2 + 1, axis=1)
    value = layers.Dense(5)(ops.concatenate([value, first[:, 0]], axis=-1))
    return keras.Model(first, layers.Dense(2)(ops.tanh(value)))


def chain() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dropout(0.1), layers.Dense(4)]
    )


def built_later() -> Any:
    import keras
    from keras import layers

    model = keras.Sequential([layers.Dense(3), layers.BatchNormalization(), layers.Dense(2, use_bias=False)])
    model.build((None, 4))
    return model


def unbuilt() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([layers.Dense(3), layers.Flatten(), layers.Dropout(0.1), layers.ReLU(), layers.LSTM(2)])


def nested() -> Any:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.1)], name="inner")
    start = keras.Input((None, 4))
    deep = keras.Model(start, [layers.TimeDistributed(inner)(start), layers.LayerNormalization()(start)], name="deep")
    first = keras.Input((7, 4))
    left, right = deep(first)
    return keras.Model(first, [layers.Conv1D(2, 3)(left), layers.Concatenate()([left, right])])


def nested_twice() -> Any:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4)], name="inner")
    first, second = keras.Input((4,)), keras.Input((4,))
    return keras.Model([first, second], layers.Add()([inner(inner(first)), inner(second)]))


def more_exact_outside() -> Any:
    """The model inside has an open axis that the call closes."""
    import keras
    from keras import layers

    start = keras.Input((None, None, 3))
    inner = keras.Model(start, layers.Conv2D(2, 3, strides=2)(start), name="inner")
    first = keras.Input((9, 9, 3))
    return keras.Model(first, inner(first))


def unbuilt_inside() -> Any:
    import keras
    from keras import layers

    first = keras.Input((3, 4))
    return keras.Model(first, keras.Sequential([layers.Dense(3), layers.Flatten()], name="inner")(first))


def states() -> Any:
    import keras
    from keras import layers

    first = keras.Input((5, 4))
    whole, hidden, cell = layers.LSTM(3, return_sequences=True, return_state=True, dropout=0.1)(first)
    back = layers.Bidirectional(layers.GRU(2, return_state=True, return_sequences=True))(whole)
    return keras.Model(first, [layers.LSTM(3, stateful=False)(back[0], initial_state=[hidden, cell]), back[1]])


def attention() -> Any:
    import keras
    from keras import layers

    query, value = keras.Input((5, 4)), keras.Input((6, 4))
    found = layers.MultiHeadAttention(2, 3, dropout=0.1)(query, value)
    found = layers.GroupQueryAttention(3, 4, 2)(found, value)
    return keras.Model([query, value], layers.LayerNormalization()(found + query))


def spectral() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((4,)), layers.SpectralNormalization(layers.Dense(3)), layers.Normalization()])


def quantized(mode: str) -> Any:
    import keras
    from keras import layers

    dtype = f"{mode}_from_float32"
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            *([] if mode in ("float8", "gptq/4/2", "awq/4/2") else [layers.Embedding(10, 4, dtype=dtype)]),
            *([layers.Embedding(10, 4)] if mode in ("float8", "gptq/4/2", "awq/4/2") else []),
            layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d", dtype=dtype),
            layers.Dense(3, dtype=dtype),
            layers.Dense(2, use_bias=False),
        ]
    )


def lora(mode: str = "") -> Any:
    model = quantized(mode or "int8") if mode else attention_free()
    for layer in model.layers:
        if hasattr(layer, "enable_lora") and layer.__class__.__name__ != "Embedding":
            layer.enable_lora(2)
    return model


def attention_free() -> Any:
    import keras
    from keras import layers

    first = keras.Input((8, 3))
    value = layers.Conv1D(4, 3)(first)
    value = layers.EinsumDense("abc,cd->abd", (None, 5))(value)
    return keras.Model(first, layers.Dense(2, dtype="mixed_bfloat16")(value))


def frozen() -> Any:
    import keras
    from keras import layers

    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, trainable=False), layers.BatchNormalization(), layers.Dense(2)]
    )
    model.layers[1].trainable = False
    return model


def all_frozen() -> Any:
    model = branches()
    model.trainable = False
    return model


def mixed() -> Any:
    import keras
    from keras import layers

    first = keras.Input((4,))
    value = layers.Dense(3, dtype="mixed_float16")(first)
    value = layers.BatchNormalization(dtype="float16")(layers.Dense(3, dtype="bfloat16")(value))
    return keras.Model(first, layers.PReLU(dtype="float32")(value))


MODELS = {
    make.__name__: make
    for make in (
        *(branches, operations, chain, built_later, unbuilt, nested, nested_twice, more_exact_outside, unbuilt_inside, states),
        *(attention, spectral, frozen, all_frozen, mixed, lora),
    )
}
MODES = ("int8", "int4", "int4/2", "float8", "gptq/4/2", "awq/4/2")
MODELS |= {f"quantized {mode}": lambda mode=mode: quantized(mode) for mode in MODES}
MODELS |= {f"lora {mode}": lambda mode=mode: lora(mode) for mode in ("int8", "int4")}


# What Keras has


def layers_of(model: Any) -> list[Any]:
    import keras

    return model._operations if isinstance(model, keras.src.models.Functional) else model.layers


def lines_of(model: Any, **options: Any) -> list[str]:
    """What `model.summary` prints, wide enough to break no cell."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        model.summary(print_fn=found.append, line_length=400, **options)
    return "\n".join(found).splitlines()


def cells_of(model: Any, **options: Any) -> list[list[str]]:
    rows = [line for line in lines_of(model, **options) if line.startswith("│")]
    return [[re.sub(" {2,}", " ", cell.strip()) for cell in row.strip("│").split("│")] for row in rows]


def totals_of(model: Any) -> list[str]:
    return [line.strip() for line in lines_of(model) if " params: " in line]


# What refser has, as Keras would print it


def cells(row: Row, chain: bool) -> list[str]:
    found = [
        f"{'└ ' if row.depth else ''}{row.name} ({row.class_name})",
        shapes_text(row.outputs),
        "?" if row.parameters is None else f"{row.parameters:,}{'' if row.built else ' (unbuilt)'}",
    ]
    return found if chain else [*found, ", ".join(row.connected_to) or "-"]


def totals(summary: Summary) -> list[str]:
    names = ("Total", "Trainable", "Non-trainable", "Optimizer")
    counts = (summary.total, summary.trainable, summary.non_trainable, summary.optimizer)
    return [f"{n} params: {c.parameters:,} ({size_text(c.bytes)})" for n, c in zip(names, counts) if c is not None]


def check(model: Any) -> None:
    from trees import config_of

    for expand in (False, True):
        summary = summarize(config_of(model), expand_nested=expand)
        real = cells_of(model, expand_nested=expand)
        mine = [cells(row, summary.chain) for row in summary.rows]
        assert len(real) == len(mine)
        for row, theirs, ours in zip(summary.rows, real, mine):
            if row.operation and not row.outputs:  # of the last operation nothing may be written down
                theirs[1] = ours[1]
            assert ours == theirs
        assert summary.complete
        assert totals(summary) == totals_of(model)


@pytest.mark.parametrize("name", MODELS)
def test_the_summary_is_what_keras_prints(name: str) -> None:
    check(MODELS[name]())


@pytest.mark.parametrize("name", ["branches", "states", "attention", "nested", "chain"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adafactor", "nadam"])
def test_the_numbers_of_an_optimizer_count(name: str, optimizer: str) -> None:
    model = MODELS[name]()
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)
    check(model)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "unbuilt"])
def test_each_layer_has_its_shapes_and_parameters(name: str) -> None:
    """Not from what is printed."""
    import keras
    from trees import config_of

    model = MODELS[name]()
    rows = summarize(config_of(model)).rows
    assert [row.name for row in rows] == [layer.name for layer in layers_of(model)]
    for row, layer in zip(rows, layers_of(model)):
        assert row.operation == (not isinstance(layer, keras.Layer))
        assert row.parameters == (0 if row.operation else layer.count_params())
        outputs = keras.tree.flatten(layer._inbound_nodes[-1].output_tensors)
        if row.outputs or not row.operation:
            assert list(row.outputs) == [tuple(it.shape) for it in outputs]


def elementwise() -> dict[str, list[Any]]:
    """Every operation of Keras that refser knows, and how many tensors it takes."""
    from keras.src import ops

    from refser.rules.operations import _OF_ONE, _OF_TWO

    modules = (ops.numpy, ops.nn, ops.math, ops.core)
    return {
        name: [count, *(getattr(module, name) for module in modules if hasattr(module, name))]
        for count, names in ((1, _OF_ONE), (2, _OF_TWO))
        for name in sorted(names)
    }


def test_elementwise_operations_have_the_shapes_of_keras() -> None:
    import keras
    from trees import config_of

    options = {"Cast": {"dtype": "float16"}, "Clip": {"x_min": 0.0, "x_max": 1.0}}
    shapes = [((None, 3, 4), (3, 4)), ((2, 1, 4), (None, 3, 1)), ((None, 1), (7,)), ((5, None), (5, 1))]
    for name, (count, *classes) in elementwise().items():
        assert classes, name
        for first, second in shapes:
            inputs = [keras.Input(batch_shape=shape, dtype="float32") for shape in (first, second)[:count]]
            made = classes[0](**options.get(name, {}))
            value = made(*inputs)
            more = [made.__class__()(inputs[0], 2)] if count == 2 else []
            summary = summarize(config_of(keras.Model(inputs, [value, *more])))
            found = [row.outputs for row in summary.rows if row.operation]
            assert sorted(map(str, found)) == sorted(str((tuple(it.shape),)) for it in [value, *more]), name


@pytest.mark.parametrize("class_name", CASES)
def test_composite_layers_have_their_parameters_and_shapes(class_name: str) -> None:
    from test_rules_composite import functional
    from trees import config_of

    for case in CASES[class_name]:
        model, live, shapes = functional(class_name, case)
        summary = summarize(config_of(model))
        row = next(row for row in summary.rows if row.name == live.name)
        assert row.parameters == live.count_params()
        assert list(row.outputs) == shapes
        if case.options.get("trainable", True):  # what is below a layer that was frozen depends on when it was
            assert totals(summary) == totals_of(model)


def test_what_is_below_an_unknown_class_is_not_told() -> None:
    import keras
    from keras import layers
    from trees import config_of

    @keras.saving.register_keras_serializable("tests_summary")
    class Odd(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3,))

        def call(self, inputs: Any) -> Any:
            return inputs[:, :3]

    first = keras.Input((4,))
    summary = summarize(config_of(keras.Model(first, Odd()(layers.Dense(2)(Odd()(first))))))
    assert [row.parameters for row in summary.rows] == [0, None, 8, None]
    assert [row.outputs for row in summary.rows] == [((None, 4),), ((None, 3),), ((None, 2),), ()]
    assert not summary.complete
    assert summary.total.parameters == 8
    assert len(summary.opaque) == 2
