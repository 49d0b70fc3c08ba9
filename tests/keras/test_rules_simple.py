"""Convolutions, poolings, reshapes, merges, activations, dropouts and the odd ones: refser's rules against real Keras.

NumPy backend: breadth.  What needs JAX is in test_rules_jax.py.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from builders import examples
from hypothesis import event, given
from hypothesis import strategies as st

from refser.errors import RefserError
from refser.rules.layer import Layer, Shape, Unbuilt, Unknown
from refser.rules.table import rule_for
from refser.rules.tree import NEWEST, expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


class Case(NamedTuple):
    """One configuration of a class and the shapes of its inputs, batch axis included."""

    inputs: tuple[Shape, ...]
    arguments: dict[str, Any]


class Inner(NamedTuple):
    """A layer that stands in an argument."""

    class_name: str
    arguments: dict[str, Any]


def on(*inputs: Shape, **arguments: Any) -> Case:
    return Case(inputs, arguments)


def images(rank: int, channels: int = 4, first: bool = False, sizes: Shape = (9, 8, 7)) -> Shape:
    return (None, channels, *sizes[:rank]) if first else (None, *sizes[:rank], channels)


def _convolutions(rank: int) -> tuple[Case, ...]:
    shape, first = images(rank), images(rank, first=True)
    return (
        on(shape, filters=6, kernel_size=3),
        on(shape, filters=6, kernel_size=2, use_bias=False, strides=2, padding="same"),
        on(shape, filters=6, kernel_size=(2, 3, 1)[:rank], groups=2, strides=(3, 2, 1)[:rank]),
        on(first, filters=4, kernel_size=3, groups=4, data_format="channels_first", padding="same"),
        on(shape, filters=2, kernel_size=2, dilation_rate=(3, 2, 1)[:rank], activation="relu"),
        on(images(rank, sizes=(None, 5, None)), filters=2, kernel_size=3, strides=2),
        on(images(rank, sizes=(0, 5, 6)), filters=2, kernel_size=3, padding="same"),
        on((2, *shape[1:]), filters=5, kernel_size=1, lora_rank=2),
        on(shape, filters=5, kernel_size=2, lora_rank=3, lora_alpha=1.5, use_bias=False),
        on(shape, filters=2, kernel_size=1, activation=Inner("LeakyReLU", {"negative_slope": 0.1})),
        on(shape, filters=2, kernel_size=1, activation=Inner("PReLU", {"shared_axes": [1]})),
    )


def _transposed(rank: int) -> tuple[Case, ...]:
    shape, first = images(rank), images(rank, first=True)
    return (
        on(shape, filters=6, kernel_size=3),
        on(shape, filters=6, kernel_size=2, use_bias=False, strides=3),
        on(shape, filters=6, kernel_size=(2, 3, 1)[:rank], strides=(3, 2, 1)[:rank], padding="same"),
        on(shape, filters=6, kernel_size=4, strides=3, padding="same", output_padding=1),
        on(shape, filters=6, kernel_size=3, strides=(3, 2, 2)[:rank], output_padding=(2, 0, 1)[:rank]),
        on(first, filters=4, kernel_size=3, data_format="channels_first", padding="same"),
        on(shape, filters=2, kernel_size=3, dilation_rate=2),
        on(shape, filters=2, kernel_size=2, dilation_rate=2, padding="same", activation=Inner("ReLU", {})),
        on(images(rank, sizes=(None, 5, None)), filters=2, kernel_size=3, strides=2),
    )


def _depthwise(rank: int, **more: Any) -> tuple[Case, ...]:
    shape, first = images(rank), images(rank, first=True)
    return (
        on(shape, kernel_size=3, **more),
        on(shape, kernel_size=2, use_bias=False, strides=2, depth_multiplier=3, padding="same", **more),
        on(first, kernel_size=(2, 3)[:rank], data_format="channels_first", depth_multiplier=2, **more),
        on(shape, kernel_size=2, dilation_rate=2, activation=Inner("ELU", {}), **more),
        on(images(rank, sizes=(None, 5)), kernel_size=3, **more),
    )


def _windows(rank: int) -> tuple[Case, ...]:
    shape, first = images(rank), images(rank, first=True)
    return (
        on(shape, pool_size=2),
        on(shape, pool_size=(3, 2, 1)[:rank], strides=1, padding="same"),
        on(shape, pool_size=3, strides=(1, 2, 3)[:rank]),
        on(first, pool_size=2, data_format="channels_first"),
        on(images(rank, sizes=(None, 5, None)), pool_size=2, padding="same"),
    )


def _whole(rank: int) -> tuple[Case, ...]:
    first = images(rank, first=True, sizes=(None, 5, None))
    return (
        on(images(rank)),
        on(images(rank), keepdims=True),
        on(first, data_format="channels_first"),
        on(first, data_format="channels_first", keepdims=True),
    )


def _adaptive(rank: int) -> tuple[Case, ...]:
    return (
        on(images(rank), output_size=2),
        on(images(rank), output_size=(3, 2, 4)[:rank]),
        on(images(rank, first=True), output_size=3, data_format="channels_first"),
    )


def _pairs(argument: str, rank: int) -> tuple[Case, ...]:
    single = rank == 1  # which takes two numbers, not a pair
    each = (1, 2) if single else (1, 0, 2)[:rank]
    pairs = (0, 2) if single else ((1, 2), (0, 3), (1, 1))[:rank]
    cases = [on(images(rank)), on(images(rank), **{argument: 2}), on(images(rank), **{argument: each})]
    cases += [on(images(rank), **{argument: pairs}), on(images(rank, sizes=(None, 6, None)), **{argument: 1})]
    if not (single and argument == "cropping"):
        cases.append(on(images(rank, first=True), **{argument: pairs}, data_format="channels_first"))
    return tuple(cases)


MERGES = (
    on((None, 4), (None, 4)),
    on((None, 3, 4), (None, 3, 4), dtype="mixed_float16"),
    on((None, 1, 4), (2, 3, 1)),
    on((None, None, 4), (None, 3, 4)),
    on((None, 5, 3, 4), (None, 4)),
    on((None, 4), (None, 2, 4)),
)
SEVERAL = (*MERGES, on((None, 4), (None, 1), (None, 4)), on((2, 4)))
ANY_SHAPE = (on((None, 4)), on((2, None, 3)), on((None,)))
DROPOUTS = tuple(on(*case.inputs, rate=0.5) for case in ANY_SHAPE)


def halved(x: Any, by: Any = 2, **_: Any) -> Any:
    return x / by


def applied(x: Any, **layers: Any) -> Any:
    return layers["first"](x)


CASES: dict[str, tuple[Case, ...]] = {
    **{f"Conv{n}D": _convolutions(n) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _transposed(n) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": _depthwise(n) for n in (1, 2)},
    **{f"SeparableConv{n}D": _depthwise(n, filters=5) for n in (1, 2)},
    **{f"AveragePooling{n}D": _windows(n) for n in (1, 2, 3)},
    **{f"MaxPooling{n}D": (*_windows(n), on(images(n))) for n in (1, 2, 3)},
    **{f"GlobalAveragePooling{n}D": _whole(n) for n in (1, 2, 3)},
    **{f"GlobalMaxPooling{n}D": _whole(n) for n in (1, 2, 3)},
    **{f"AdaptiveAveragePooling{n}D": _adaptive(n) for n in (1, 2, 3)},
    **{f"AdaptiveMaxPooling{n}D": _adaptive(n) for n in (1, 2, 3)},
    "Flatten": (on((None, 3, 4)), on((2,)), on((None, None, 3)), on((None, 2, 3, 4), data_format="channels_first")),
    "Reshape": (
        on((None, 6), target_shape=(2, 3)),
        on((None, 2, 6), target_shape=(3, -1, 2)),
        on((None, None, 6), target_shape=(-1, 3)),
        on((2, 1), target_shape=()),
        on((None, 0, 3), target_shape=(3, 0)),
    ),
    "Permute": (on((None, 2, 3), dims=(2, 1)), on((None, 2, None, 4), dims=(3, 1, 2)), on((None, 2), dims=(1,))),
    "RepeatVector": (on((None, 3), n=4), on((2, 3), n=1)),
    **{f"Cropping{n}D": _pairs("cropping", n) for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": _pairs("padding", n) for n in (1, 2, 3)},
    "UpSampling1D": (on((None, 3, 2)), on((None, None, 2), size=3)),
    **{
        f"UpSampling{n}D": (
            on(images(n)),
            on(images(n, sizes=(None, 5, None)), size=(3, 1, 2)[:n]),
            on(images(n, first=True), size=3, data_format="channels_first"),
        )
        for n in (2, 3)
    },
    **dict.fromkeys(("Add", "Average", "Maximum", "Minimum", "Multiply"), SEVERAL),
    "Subtract": MERGES,
    "Concatenate": (
        on((None, 4), (None, 3)),
        on((None, 4, 2), (None, 3, 2), (None, 1, 2), axis=1),
        on((None, None, 2), (None, 3, 2), axis=1),
        on((None, None, 2), (None, 3, 5), axis=2),
        on((2, 3), (4, 3), axis=0),
        on((2, 3)),
    ),
    "Dot": (
        on((None, 4), (None, 4), axes=1),
        on((None, 4), (None, 4), axes=-1, normalize=True),
        on((None, 3, 4), (None, 5, 3), axes=(1, 2)),
        on((None, 3, 4), (None, 5, 4), axes=-1),
        on((None, 3, 4), (None, 4), axes=(2, 1)),
    ),
    "Activation": (
        *(on(*case.inputs, activation="relu") for case in ANY_SHAPE),
        on((None, 4), activation=Inner("PReLU", {})),
        on((None, 4), activation=Inner("Dense", {"units": 4})),
    ),
    **dict.fromkeys(("ELU", "LeakyReLU", "ReLU"), ANY_SHAPE),
    "Softmax": (*ANY_SHAPE, on((None, 3, 4), axis=[1, 2])),
    "PReLU": (
        on((None, 4)),
        on((None,)),
        on((2, 3, 4), shared_axes=[1]),
        on((None, None, None, 4), shared_axes=[1, 2]),
        on((None, 3, 4), shared_axes=2),
        on((None, 3, 4), shared_axes=[0]),
        on((None, 3, 4), shared_axes=[-1]),
        on((None, 3, 4), shared_axes=[]),
    ),
    **dict.fromkeys(("AlphaDropout", "Dropout", "GaussianDropout"), DROPOUTS),
    "GaussianNoise": tuple(on(*case.inputs, stddev=0.5) for case in ANY_SHAPE),
    "ActivityRegularization": tuple(on(*case.inputs, l1=0.1) for case in ANY_SHAPE),
    "SpatialDropout1D": (on(images(1), rate=0.5),),
    **{f"SpatialDropout{n}D": (on(images(n), rate=0.5), on(images(n), rate=0, data_format="channels_first")) for n in (2, 3)},
    "Identity": ANY_SHAPE,
    "Masking": (on((None, 3, 4)), on((2, None, 3), mask_value=1.5)),
    "Lambda": (
        on((None, 4), function=halved, output_shape=(4,)),
        on((2, 3), function=lambda x: x * 2, output_shape=(3,)),
        on((None, 3), (None, 3), function=lambda both: both, output_shape=[(3,), (3,)]),
        on((None, 4), function=halved, output_shape=(4,), arguments={"by": 3.0}),
        on((None, 4), function=Inner("Dense", {"units": 3}), output_shape=(3,)),
        on(
            (None, 4),
            function=applied,
            output_shape=(2,),
            arguments={
                "first": Inner("Dense", {"units": 2}),
                "more": [[1], [Inner("ReLU", {}), 2]],
                "last": Inner("Dense", {"units": 5}),
            },
        ),
    ),
}
ALIASES = {
    **{f"Convolution{n}D{end}": f"Conv{n}D{end}" for n in (1, 2, 3) for end in ("", "Transpose")},
    **{f"SeparableConvolution{n}D": f"SeparableConv{n}D" for n in (1, 2)},
    **{f"{all_}AvgPool{n}D": f"{all_}AveragePooling{n}D" for n in (1, 2, 3) for all_ in ("", "Global")},
    **{f"{all_}MaxPool{n}D": f"{all_}MaxPooling{n}D" for n in (1, 2, 3) for all_ in ("", "Global")},
}
OPAQUE = ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
POLICIES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "int8_from_mixed_bfloat16")
NO_TRAINABLE = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")  # no argument of the constructor


def made(value: Any) -> Any:
    """`value` with real layers in the place of `Inner`."""
    import keras

    if isinstance(value, Inner):
        return getattr(keras.layers, value.class_name)(**value.arguments)
    if isinstance(value, dict):
        return {name: made(item) for name, item in value.items()}
    return [made(item) for item in value] if isinstance(value, list) else value


def layer_of(class_name: str, case: Case, **more: Any) -> Any:
    import keras

    return getattr(keras.layers, class_name)(**{**made(case.arguments), **more})


def model_of(layers: list[tuple[Any, Case]]) -> Any:
    """One model of all these layers, each with inputs of its own."""
    import keras

    inputs, outputs = [], []
    for layer, case in layers:
        mine = [keras.Input(batch_shape=shape) for shape in case.inputs]
        # A merge takes a list, if of one
        found = layer(mine if len(mine) > 1 or class_of(layer) in MERGING else mine[0])
        inputs += mine
        outputs += found if isinstance(found, (list, tuple)) else [found]
    return keras.Model(inputs, outputs)


MERGING = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")


def class_of(layer: Any) -> str:
    return type(layer).__name__


@functools.cache
def model_for(class_name: str) -> Any:
    return model_of([(layer_of(class_name, case), case) for case in CASES[class_name]])


def entries(model: Any, class_name: str) -> list[tuple[Any, Any, str]]:
    """Each layer of that class with its part of the config."""
    from trees import config_of

    values = json.loads(config_of(model))["config"]["layers"]
    return [(layer, values[n], f"config.layers[{n}]") for n, layer in enumerate(model.layers) if class_of(layer) == class_name]


@pytest.mark.parametrize("class_name", CASES)
def test_the_tree_is_what_keras_writes(class_name: str) -> None:
    from trees import differences

    assert differences(model_for(class_name)) == []


@pytest.mark.parametrize("class_name", CASES)
def test_the_tree_is_what_keras_writes_in_other_policies_frozen_and_unbuilt(class_name: str) -> None:
    import keras
    from trees import differences

    cases = [CASES[class_name][0], *(case for case in CASES[class_name] if "lora_rank" in case.arguments)]
    layers = [(layer_of(class_name, case, dtype=policy), case) for case in cases for policy in POLICIES]
    frozen = [layer_of(class_name, case, **({} if class_name in NO_TRAINABLE else {"trainable": False})) for case in cases]
    late = [layer_of(class_name, case) for case in cases]
    model = model_of([*layers, *zip(frozen, cases), *zip(late, cases)])
    for layer in late:
        layer.trainable = False
    assert differences(model) == []
    unbuilt = keras.Sequential([layer_of(class_name, case) for case in cases])
    assert differences(unbuilt) == []


@pytest.mark.parametrize("class_name", CASES)
def test_the_output_shape_is_that_of_keras(class_name: str) -> None:
    rule = rule_for(class_name)
    assert rule is not None
    assert rule.output is not None
    found = entries(model_for(class_name), class_name)
    by_layer = {id(layer): (value, at) for layer, value, at in found}
    layers = [layer for layer, _, _ in found]
    assert len(layers) == len(CASES[class_name])
    for layer in layers:
        value, at = by_layer[id(layer)]
        inputs, output = layer.input, layer.output
        shapes = [tuple(it.shape) for it in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
        wanted = [tuple(it.shape) for it in output] if isinstance(output, (list, tuple)) else tuple(output.shape)
        assert rule.output(Layer.read(value, at, version=NEWEST), shapes) == wanted, (layer.get_config(), shapes)


@pytest.mark.parametrize("class_name", ["Conv2D", "Activation", "SeparableConv1D", "Lambda"])
def test_an_activation_with_variables_is_built_by_the_first_call(class_name: str) -> None:
    import numpy as np
    from trees import differences

    arguments = {
        "Conv2D": {"filters": 2, "kernel_size": 2, "activation": Inner("PReLU", {})},
        "Activation": {"activation": Inner("PReLU", {"shared_axes": [1]})},
        "SeparableConv1D": {"filters": 2, "kernel_size": 2, "activation": Inner("Dense", {"units": 2})},
        "Lambda": {"function": Inner("PReLU", {})},
    }[class_name]
    for more in ({}, {"dtype": "mixed_bfloat16"}, {"trainable": False}):
        case = on(images(1 if class_name.endswith("1D") else 2), **arguments)
        model = model_of([(layer_of(class_name, case, **more), case)])
        model([np.zeros((1, *case.inputs[0][1:]), "float32")])
        assert any("alpha" in it.path or "dense" in it.path for it in model.weights)
        assert differences(model) == []


def test_lora_is_merged_into_a_kernel_of_the_compute_type() -> None:
    case = on(images(2), filters=4, kernel_size=3, lora_rank=2)
    from trees import config_of

    tree = expected_weights(config_of(model_of([(layer_of("Conv2D", case, dtype="mixed_float16"), case)])))
    assert [(it.path, it.dtype, it.trainable) for it in tree] == [
        ("layers/conv2d/vars/0", "float16", False),
        ("layers/conv2d/vars/1", "float32", True),
    ]


def test_every_class_of_these_families_has_cases() -> None:
    import keras

    families = ("convolutional", "pooling", "reshaping", "merging", "activations", "regularization")
    others = ("Lambda", "Masking", "Identity", *OPAQUE)
    for name in dir(keras.layers):
        found = getattr(keras.layers, name)
        if not isinstance(found, type) or not issubclass(found, keras.layers.Layer):
            continue
        if found.__module__.startswith(tuple(f"keras.src.layers.{family}." for family in families)) or name in others:
            assert name in CASES or name in ALIASES or name in OPAQUE, name
            rule = rule_for(name)
            assert rule is not None
            assert (rule.python_name or name) == found.__name__


@pytest.mark.parametrize("alias", ALIASES)
def test_another_name_of_a_class_makes_the_same_tree(alias: str) -> None:
    import keras
    from trees import config_of, recorded

    value = json.loads(config_of(model_for(ALIASES[alias])))
    for layer in value["config"]["layers"]:
        if layer["class_name"] == ALIASES[alias]:
            layer["class_name"] = alias
    real, groups = recorded(keras.saving.deserialize_keras_object(copy.deepcopy(value)))
    tree = expected_weights(value)
    assert [(it.path, it.shape, it.dtype) for it in real] == [(it.path, it.shape, it.dtype) for it in tree]
    assert groups == list(tree.groups)
    rule, own = rule_for(alias), rule_for(ALIASES[alias])
    assert rule is not None
    assert own is not None
    assert rule.output == own.output


@pytest.mark.parametrize("class_name", OPAQUE)
def test_wrapped_code_is_opaque(class_name: str) -> None:
    layer = {"module": "keras.layers", "class_name": class_name, "config": {"name": "x"}, "registered_name": None}
    tree = expected_weights({"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
    assert [it.class_name for it in tree.opaque] == [class_name]
    assert list(tree) == []


def _layer(class_name: str, build: Any = None, **config: Any) -> Layer:
    value = {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}
    return Layer.read({**value, "build_config": build} if build else value, "config.layers[0]", version=NEWEST)


CONV = {"filters": 4, "kernel_size": [3, 3]}
WRONG: tuple[tuple[str, str, dict[str, Any], Any], ...] = (
    ("LY-003", "Conv2D", {"kernel_size": 3}, (None, 8, 8, 4)),
    ("LY-003", "Conv2D", {**CONV, "filters": "4"}, (None, 8, 8, 4)),
    ("LY-003", "Conv2D", {**CONV, "filters": 0}, (None, 8, 8, 4)),
    ("LY-003", "Conv2D", {**CONV, "kernel_size": [3]}, (None, 8, 8, 4)),
    ("LY-003", "Conv2D", {**CONV, "groups": 0}, (None, 8, 8, 4)),
    ("LY-004", "Conv2D", {**CONV, "groups": 3}, (None, 8, 8, 4)),
    ("LY-004", "Conv2D", {**CONV, "groups": 2}, (None, 8, 8, 3)),
    ("LY-003", "Conv2D", {**CONV, "data_format": "nchw"}, (None, 8, 8, 4)),
    ("LY-002", "Conv2D", CONV, (None, 8, 4)),
    ("LY-002", "Conv2D", CONV, ()),
    ("LY-002", "Conv2D", CONV, [[None, 8, 8, 4], [None, 8, 8, 4]]),
    ("LY-004", "DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 1 << 61}, (None, 8, 8, 4)),
    ("LY-003", "PReLU", {"shared_axes": [3]}, (None, 8, 8)),
    ("LY-003", "PReLU", {"shared_axes": "1"}, (None, 8, 8)),
    ("LY-003", "PReLU", {"shared_axes": [1]}, (None,)),
)
WRONG_OUTPUTS: tuple[tuple[str, str, dict[str, Any], list[Shape]], ...] = (
    ("LY-004", "Conv2D", CONV, [(None, 2, 8, 4)]),
    ("LY-003", "Conv2D", {**CONV, "padding": "causal"}, [(None, 8, 8, 4)]),
    ("LY-003", "Conv2D", {**CONV, "strides": 0}, [(None, 8, 8, 4)]),
    ("LY-003", "Conv2DTranspose", {**CONV, "strides": 2, "output_padding": 2}, [(None, 8, 8, 4)]),
    ("LY-003", "MaxPooling1D", {"strides": 0}, [(None, 8, 4)]),
    ("LY-003", "AveragePooling1D", {}, [(None, 8, 4)]),
    ("LY-004", "MaxPooling1D", {"pool_size": 9}, [(None, 8, 4)]),
    ("LY-003", "Reshape", {}, [(None, 8)]),
    ("LY-003", "Reshape", {"target_shape": [-1, -1]}, [(None, 8)]),
    ("LY-004", "Reshape", {"target_shape": [3, -1]}, [(None, 8)]),
    ("LY-004", "Reshape", {"target_shape": [0, -1]}, [(None, 8)]),
    ("LY-004", "Reshape", {"target_shape": [3, 3]}, [(None, 8)]),
    ("LY-002", "Flatten", {}, [()]),
    ("LY-002", "Flatten", {}, []),
    ("LY-004", "Flatten", {}, [(None, 1 << 40, 1 << 40)]),
    ("LY-003", "Permute", {"dims": [0, 1]}, [(None, 2, 3)]),
    ("LY-002", "Permute", {"dims": [2, 1]}, [(None, 2)]),
    ("LY-004", "Cropping2D", {"cropping": 4}, [(None, 8, 8, 1)]),
    ("LY-003", "Cropping2D", {"cropping": [1]}, [(None, 8, 8, 1)]),
    ("LY-003", "ZeroPadding2D", {"padding": [[1, -1], 2]}, [(None, 8, 8, 1)]),
    ("LY-002", "Add", {}, [(None, 2), (None, 3)]),
    ("LY-002", "Add", {}, [(2, 2), (3, 2)]),
    ("LY-002", "Subtract", {}, [(None, 2)]),
    ("LY-002", "Concatenate", {}, [(None, 2), (None, 2, 3)]),
    ("LY-002", "Concatenate", {"axis": 1}, [(None, 2, 2), (None, 2, 3)]),
    ("LY-002", "Concatenate", {"axis": 5}, [(None, 2), (None, 3)]),
    ("LY-003", "Dot", {"axes": 0}, [(None, 2), (None, 2)]),
    ("LY-003", "Dot", {}, [(None, 2), (None, 2)]),
    ("LY-002", "Dot", {"axes": 1}, [(None, 2), (None, 3)]),
)


@pytest.mark.parametrize(("code", "class_name", "config", "shape"), WRONG)
def test_wrong_arguments_are_refused(code: str, class_name: str, config: dict[str, Any], shape: Any) -> None:
    rule = rule_for(class_name)
    assert rule is not None
    with pytest.raises(RefserError) as refused:
        rule.variables_of(_layer(class_name, {"input_shape": shape}, **config))
    assert refused.value.problem.code == code
    assert refused.value.problem.at.startswith("config.layers[0]")


@pytest.mark.parametrize(("code", "class_name", "config", "shapes"), WRONG_OUTPUTS)
def test_wrong_inputs_are_refused(code: str, class_name: str, config: dict[str, Any], shapes: Any) -> None:
    rule = rule_for(class_name)
    assert rule is not None
    assert rule.output is not None
    with pytest.raises(RefserError) as refused:
        rule.output(_layer(class_name, **config), shapes)
    assert refused.value.problem.code == code
    assert refused.value.problem.at.startswith("config.layers[0]")


def test_nothing_is_said_of_the_arguments_of_keras_1() -> None:
    rule = rule_for("Convolution2D")
    assert rule is not None
    assert rule.output is not None
    old = _layer(
        "Convolution2D", {"input_shape": [None, 8, 8, 3]}, nb_filter=4, nb_row=3, nb_col=3, border_mode="same", bias=True
    )
    with pytest.raises(Unknown):
        rule.variables_of(old)
    with pytest.raises(Unknown):
        rule.output(old, [(None, 8, 8, 3)])


def test_a_function_of_an_unknown_class_may_be_a_layer() -> None:
    activation = {"module": "mine", "class_name": "Swish", "config": {}, "registered_name": "mine>Swish"}
    layer = {"module": "keras.layers", "class_name": "Activation", "config": {"activation": activation}}
    tree = expected_weights({"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
    assert [(it.path, "Swish" in it.reason) for it in tree.opaque] == [("layers/activation", True)]


# Mutations

NUMBERS = st.one_of(st.integers(-3, 9), st.integers(-(1 << 70), 1 << 70), st.sampled_from([0, 1 << 31, 1 << 62, 1 << 63]))
ATOMS = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=4), st.sampled_from(["same", "causal"]))
SHAPES = st.lists(st.one_of(st.none(), st.integers(0, 9), NUMBERS.map(lambda n: abs(n) % (1 << 62))), max_size=6)
JSON = st.recursive(
    st.one_of(ATOMS, SHAPES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["class_name", "config", "module", "input_shape", "name", "x"]), inner, max_size=4),
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value below its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@functools.cache
def written(class_name: str) -> list[tuple[dict[str, Any], list[list[int | None]], list[tuple[Any, ...]]]]:
    """The config of each case's layer, its input shapes, and the places to change."""
    return [
        (value, [list(shape) for shape in case.inputs], [place for place in places(value) if place != ("class_name",)])
        for (_, value, _), case in zip(entries(model_for(class_name), class_name), CASES[class_name])
    ]


def changed(value: Any, place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> None:
    for key in place[:-1]:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return  # an earlier change took it away
    key = place[-1]
    if (isinstance(value, dict) and key in value) or (isinstance(value, list) and isinstance(key, int) and key < len(value)):
        change(value, key)


@examples(ci=1500, deep=30000)
@given(class_name=st.sampled_from(list(CASES)), data=st.data())
def test_whatever_the_config_says_only_refser_errors_leave(class_name: str, data: st.DataObject) -> None:
    value, inputs, choices = data.draw(st.sampled_from(written(class_name)), label="case")
    layer = copy.deepcopy(value)
    for place in data.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3), label="places"):
        if data.draw(st.booleans(), label="removed"):
            changed(layer, place, lambda found, key: found.pop(key))
        else:
            new = data.draw(JSON, label="new value")
            changed(layer, place, lambda found, key, new=new: found.__setitem__(key, new))  # type: ignore[misc]
    try:
        expected_weights({"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
        event("taken")
    except RefserError:
        event("refused")
    shapes = [tuple(shape) for shape in data.draw(st.one_of(st.just(inputs), st.lists(SHAPES, max_size=3)), label="shapes")]
    rule = rule_for(class_name)
    assert rule is not None
    assert rule.output is not None
    try:
        found = rule.output(Layer.read(layer, "config.layers[0]", version=NEWEST), shapes)
    except (RefserError, Unknown, Unbuilt):
        event("no output shape")
        return
    event("an output shape")
    for shape in found if isinstance(found, list) else [found]:
        assert isinstance(shape, tuple)
        assert all(n is None or (isinstance(n, int) and 0 <= n < 1 << 62) for n in shape)
