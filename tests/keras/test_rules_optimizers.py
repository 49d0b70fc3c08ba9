"""The arrays that an optimizer adds: what refser says from the config, and what Keras writes for a model trained one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers
from trees import config_of, differences

from refser.rules.optimizers import all_optimizers
from refser.rules.tree import WeightTree, expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer"}
CLASSES = sorted(rule.class_name for rule in all_optimizers())
Make = Callable[[], Any]


def mixed_bag() -> Any:
    """Embedding, BatchNormalization, a frozen layer, a nested Sequential, tensors of rank 1 to 3."""
    first, second = keras.Input((3,), name="tokens"), keras.Input((4,), name="numbers")
    x = layers.Embedding(5, 2, name="table")(first)
    x = layers.Conv1D(2, 2, name="conv")(x)
    x = layers.Flatten(name="flat")(x)
    y = layers.Dense(4, name="frozen", trainable=False)(second)
    y = layers.BatchNormalization(name="norm")(y)
    inside = [layers.Dense(3, name="one"), layers.Dropout(0.1, name="drop"), layers.Dense(2, name="two")]
    y = keras.Sequential(inside, name="nest")(y)
    joined = layers.Concatenate(name="join")([x, y])
    return keras.Model([first, second], layers.Dense(1, name="out")(joined), name="bag")


def plain() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")], name="plain")


def trained(model: Any, optimizer: Any) -> Any:
    """Compiled, and trained one step."""
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    inputs = [np.ones((2, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    model.train_on_batch(inputs if len(inputs) > 1 else inputs[0], np.ones((2, *model.outputs[0].shape[1:])))
    return model


def built(model: Any, optimizer: Any) -> Any:
    """Compiled, with the variables that a step would make."""
    model.compile(optimizer=optimizer, loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def tree_of(model: Any) -> WeightTree:
    return expected_weights(config_of(model), keras_version=keras.__version__)


def states(tree: WeightTree) -> list[Any]:
    return [spec for spec in tree if "optimizer" in spec.path.split("/")]


def test_every_optimizer_of_keras_has_an_entry() -> None:
    real = {
        name
        for name, value in vars(optimizers).items()
        if isinstance(value, type) and issubclass(value, optimizers.Optimizer) and value is not optimizers.Optimizer
    }
    assert real == {*CLASSES, *WRAPPERS}


@pytest.mark.parametrize("name", CLASSES)
def test_each_optimizer(name: str) -> None:
    assert differences(trained(mixed_bag(), getattr(optimizers, name)()), optimizer=True) == []


@pytest.mark.parametrize("name", CLASSES)
def test_each_optimizer_with_average_and_accumulation(name: str) -> None:
    model = built(plain(), getattr(optimizers, name)(use_ema=True, gradient_accumulation_steps=2))
    assert differences(model, optimizer=True) == []


SCHEDULE = optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
VARIANTS: dict[str, Make] = {
    "by name": lambda: "adam",
    "momentum": lambda: optimizers.SGD(momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(momentum=0.5, centered=True),
    "centered": lambda: optimizers.RMSprop(centered=True),
    "amsgrad": lambda: optimizers.Adam(amsgrad=True, use_ema=True),
    "schedule": lambda: optimizers.AdamW(SCHEDULE, weight_decay=0.1),
    "clipped": lambda: optimizers.Lion(clipnorm=1.0, loss_scale_factor=2.0, name="my_lion"),
    "accumulation": lambda: optimizers.Nadam(gradient_accumulation_steps=3),
    "loss scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adagrad(use_ema=True)),
    "loss scale, schedule": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(SCHEDULE)),
    "muon": lambda: optimizers.Muon(exclude_layers=["^b/", "nothing"]),
    "muon, embeddings": lambda: optimizers.Muon(exclude_embeddings=False),
    "multi": lambda: multi({"a/.*": optimizers.SGD(momentum=0.5)}),
    "multi, unused": lambda: multi({"a/kernel": optimizers.Lion(), "zzz": optimizers.Adafactor(), "zz": optimizers.Lion()}),
    "multi, none": lambda: multi({}),
}


def multi(entries: dict[str, Any], default: Any = None) -> Any:
    return optimizers.MultiOptimizer(optimizers.OptimizerMap(default or optimizers.Adam(), entries))


def functional() -> Any:
    first = keras.Input((3,))
    return keras.Model(first, layers.Dense(2, name="b")(layers.Dense(4, name="a")(first)))


@pytest.mark.parametrize("name", VARIANTS)
def test_arguments_and_optimizers_around_others(name: str) -> None:
    assert differences(trained(functional(), VARIANTS[name]()), optimizer=True) == []


def test_one_optimizer_under_two_keys_is_one() -> None:
    shared, default = optimizers.SGD(momentum=0.5), optimizers.Adam()
    entries = {"a/.*": shared, "b/kernel": shared, "b/bias": default}
    assert differences(trained(functional(), multi(entries, default)), optimizer=True) == []


def test_equal_optimizers_under_two_keys_are_two() -> None:
    entries = {key: optimizers.SGD(momentum=0.5, name="same") for key in ("a/.*", "b/.*")}
    model = trained(functional(), multi(entries))
    assert differences(model, optimizer=True) == []
    assert "optimizer/optimizers/sgd_1/vars" in tree_of(model).groups


@pytest.mark.parametrize("make", [plain, functional, mixed_bag])
@pytest.mark.parametrize("optimizer", [optimizers.Adam, lambda: "sgd", lambda: multi({"b/.*|out/.*": optimizers.Lion()})])
def test_mixed_float16_puts_loss_scaling_around(make: Make, optimizer: Make) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make()
        if make is plain and optimizer is not optimizers.Adam:
            model = functional()  # the paths of a Sequential depend on how it was built
        built(model, optimizer())
    finally:
        keras.config.set_dtype_policy(policy)
    assert differences(model, optimizer=True) == []
    assert "optimizer/inner_optimizer/vars" in tree_of(model).groups


def test_outputs_in_float32_do_not_hide_mixed_float16() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        first = keras.Input((3,))
        x = layers.Dense(4, name="a")(first)
        model = trained(keras.Model(first, layers.Dense(2, dtype="float32", name="b")(x)), optimizers.Adam())
        unsure = keras.Model(first, layers.Dense(2, name="c")(layers.Dense(4, dtype="float32", name="d")(x)))
        unsure.compile(optimizers.Adam(), "mse")
    finally:
        keras.config.set_dtype_policy(policy)
    assert differences(model, optimizer=True) == []
    assert [place.path for place in tree_of(unsure).opaque] == ["optimizer"]


def test_slots_follow_the_making_of_variables_and_not_the_walk() -> None:
    first = keras.Input((4, 3))
    x = layers.MultiHeadAttention(2, 2, name="attention")(first, first)
    x = layers.Bidirectional(layers.LSTM(2), name="both")(x)
    x = layers.SpectralNormalization(layers.Dense(2, name="inside"), name="normed")(x)
    assert differences(built(keras.Model(first, x), optimizers.Adam()), optimizer=True) == []


def test_slots_name_their_variables() -> None:
    model = trained(mixed_bag(), optimizers.RMSprop(momentum=0.5))
    tree = tree_of(model)
    known = {spec.variable_path for spec in tree if spec.of is None}
    slots = [spec for spec in tree if spec.of is not None]
    assert len(slots) == 2 * len(model.trainable_variables)
    assert all(spec.of in known and spec.variable_path == f"optimizer/{spec.of}/{spec.name}" for spec in slots)
    assert len({spec.variable_path for spec in tree}) == len(tree)


def test_what_is_saved_twice_has_one_path() -> None:
    tree = tree_of(trained(functional(), optimizers.LossScaleOptimizer(optimizers.Adam())))
    outer = [spec for spec in tree if spec.path.startswith("optimizer/vars/")][4:]
    inner = [spec for spec in tree if spec.path.startswith("optimizer/inner_optimizer/vars/")]
    assert [(spec.variable_path, spec.of, spec.shape) for spec in outer] == [
        (spec.variable_path, spec.of, spec.shape) for spec in inner
    ]


def test_a_compiled_model_inside_another_has_its_own_optimizer() -> None:
    inner = trained(functional(), optimizers.Adam())
    first = keras.Input((3,))
    outer = trained(keras.Model(first, layers.Dense(1, name="z")(inner(first))), optimizers.SGD(momentum=0.5))
    assert differences(outer, optimizer=True) == []
    slot = next(spec for spec in tree_of(outer) if spec.path == "layers/functional/optimizer/vars/2")
    assert (slot.variable_path, slot.of) == (f"{inner.name}/optimizer/a/kernel/momentum", f"{inner.name}/a/kernel")


def test_a_frozen_model_has_no_slots() -> None:
    model = functional()
    model.trainable = False
    assert differences(built(model, optimizers.Adam()), optimizer=True) == []


def test_optimizer_false_leaves_it_out() -> None:
    model = trained(functional(), optimizers.Adam())
    assert differences(model) == []
    assert states(expected_weights(config_of(model), optimizer=False)) == []


# Where the config cannot tell


class OwnOptimizer(optimizers.SGD):
    """No class of Keras."""


def named_embedding() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a")], name="embedding_net")


@pytest.mark.parametrize(
    ("model", "optimizer", "reason"),
    [
        (functional, OwnOptimizer, "does not know"),
        (named_embedding, optimizers.Muon, "depends on how the model was built"),
        (plain, lambda: multi({"plain/.*": optimizers.SGD()}), "depends on how the model was built"),
        (functional, lambda: optimizers.MultiOptimizer(choose), "a function chooses"),
    ],
)
def test_an_opaque_place_where_the_config_cannot_tell(model: Make, optimizer: Make, reason: str) -> None:
    made = trained(model(), optimizer())
    tree = tree_of(made)
    assert [place.path for place in tree.opaque] == ["optimizer"]
    assert reason in tree.opaque[0].reason
    assert states(tree) == []
    assert tree.groups["optimizer/vars"] == made.optimizer.name


_CHOICE = optimizers.SGD()


@keras.saving.register_keras_serializable("refser")
def choose(variable: Any) -> Any:
    return _CHOICE


class OwnLayer(layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1],))

    def call(self, x: Any) -> Any:
        return x * self.w


@pytest.mark.parametrize("frozen", [False, True])
def test_an_unknown_layer_counts_only_if_it_is_trained(frozen: bool) -> None:
    first = keras.Input((3,))
    model = trained(keras.Model(first, layers.Dense(2)(OwnLayer(name="own", trainable=not frozen)(first))), optimizers.Adam())
    tree = tree_of(model)
    assert [place.path for place in tree.opaque] == ["layers/own_layer", *([] if frozen else ["optimizer"])]
    assert len(states(tree)) == (6 if frozen else 0)


def float8() -> Any:
    first = keras.Input((3,))
    return keras.Model(first, layers.Dense(2, name="b")(layers.Dense(4, name="a", dtype="float8_from_float32")(first)))


@pytest.mark.parametrize("name", ["Adam", "Muon", "Nadam"])
def test_scales_of_float8_have_no_slots(name: str) -> None:
    assert differences(built(float8(), getattr(optimizers, name)(use_ema=True)), optimizer=True) == []


@pytest.mark.parametrize("make", [optimizers.Adafactor, lambda: optimizers.Adam(gradient_accumulation_steps=2)])
def test_scales_of_float8_count_where_each_variable_does(make: Make) -> None:
    tree = tree_of(built(float8(), make()))
    assert [place.path for place in tree.opaque] == ["optimizer"]
    assert "float8" in tree.opaque[0].reason


def test_lora_is_opaque_since_its_matrices_are_not_saved() -> None:
    first = keras.Input((3,))
    model = built(keras.Model(first, layers.Dense(2, lora_rank=1, name="a")(first)), optimizers.Adam())
    assert [place.path for place in tree_of(model).opaque] == ["optimizer"]


def test_an_unknown_layer_does_not_matter_without_slots() -> None:
    first = keras.Input((3,))
    model = trained(keras.Model(first, OwnLayer(name="own")(first)), optimizers.SGD())
    assert [spec.name for spec in states(tree_of(model))] == ["iteration", "learning_rate"]
