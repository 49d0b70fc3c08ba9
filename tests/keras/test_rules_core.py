"""Dense, EinsumDense and embeddings with every policy: what refser expects is what real Keras writes.  JAX backend."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from functools import cache, reduce
from typing import Any, NamedTuple

import pytest
from builders import examples
from hypothesis import event, given
from hypothesis import strategies as st

from refser.config.policy import read_policy
from refser.errors import InvalidError, RefserError
from refser.rules import einsum
from refser.rules.layer import Layer, Shape, Unbuilt, Unknown
from refser.rules.table import rule_for
from refser.rules.tree import NEWEST, expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]


class Case(NamedTuple):
    """A configuration of a class, and the shape of its input, batch axis included."""

    shape: Shape
    arguments: dict[str, Any]
    dtype: str = "float32"  # of the input


class Inner(NamedTuple):
    """An object that stands in an argument: its name in `keras`, and its own arguments."""

    name: str
    arguments: dict[str, Any] | None = None


def on(*shape: int | None, **arguments: Any) -> Case:
    return Case((None, *shape), arguments)


def ids(**arguments: Any) -> Case:
    return Case((None, 3), arguments, "int32")


def float8(length: int, source: str = "float32") -> Inner:
    options = {"mode": "float8", "source_name": source, "amax_history_length": length}
    return Inner("dtype_policies.QuantizedFloat8DTypePolicy", options)


def by_path(default: Any, **policies: str | Inner) -> Inner:
    found = {key: Inner("dtype_policies.get", {"identifier": value}) for key, value in policies.items()}
    return Inner("dtype_policies.DTypePolicyMap", {"default_policy": default, "policy_map": found})


PLAIN = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
INT8 = ("int8_from_float32", "int8_from_mixed_bfloat16", "int8_from_bfloat16")
INT4 = (
    *("int4_from_float32", "int4_from_mixed_float16", "int4_from_float16"),
    *("int4/2_from_float32", "int4/128_from_mixed_bfloat16", "int4/3_from_bfloat16", "int4/-1_from_float32"),
)
FLOAT8 = ("float8_from_float32", "float8_from_mixed_bfloat16", "float8_from_float16", float8(7, "bfloat16"))
CALIBRATED = (
    *("gptq/4/2_from_float32", "gptq/8/-1_from_bfloat16", "gptq/3/3_from_mixed_float16", "gptq/2/128_from_float32"),
    *("awq/4/2_from_float32", "awq/4/-1_from_mixed_bfloat16"),
)
HEADS = {"equation": "abc,cde->abde", "output_shape": (None, 3, 5), "bias_axes": "de"}
BACK = {"equation": "abcd,cde->abe", "output_shape": (None, 7), "bias_axes": "e"}
BATCHED = {"equation": "abc,bcde->ade", "output_shape": (3, 4), "bias_axes": "d"}
EACH = {"equation": "abc,c->abc", "output_shape": (5, 4), "bias_axes": "bc"}
BOTH = {"equation": "abc,bcd->abd", "output_shape": (5, 3)}
UNTIED: dict[str, Any] = {"input_dim": 7, "output_dim": 5, "tie_weights": False}

CASES: dict[str, list[Case]] = {
    "Dense": [
        on(4, units=3),
        on(4, units=3, use_bias=False),
        on(None, 5, 4, units=1, activation="relu"),
        on(4, units=3, trainable=False),
        on(4, units=3, lora_rank=2),
        on(4, units=3, lora_rank=1, lora_alpha=0.5, use_bias=False, trainable=False),
        on(4, units=2, activation=Inner("layers.PReLU")),
        *(on(4, units=3, dtype=policy) for policy in (*PLAIN, float8(3))),
        *(on(4, units=3, dtype=policy, lora_rank=2) for policy in PLAIN),
        *(on(7, units=5, dtype=policy, use_bias=bias) for policy in (*INT8, *INT4, *FLOAT8, *CALIBRATED) for bias in (0, 1)),
        *(on(7, units=5, dtype=policy, lora_rank=2) for policy in (*INT8, *INT4)),
        on(7, units=5, dtype=INT4[3], trainable=False),
        on(7, units=5, dtype=INT4[0], quantization_config=Inner("quantizers.Int4QuantizationConfig", {"block_size": 3})),
        on(7, units=5, dtype=INT4[3], quantization_config=Inner("quantizers.Int4QuantizationConfig", {"block_size": None})),
        on(7, units=5, dtype=INT4[3], quantization_config=Inner("quantizers.Int8QuantizationConfig")),
        on(4, units=3, name="d", dtype=by_path("float32", d="bfloat16")),
        on(4, units=3, name="d", dtype=by_path("mixed_bfloat16", e="float16")),
        on(4, units=3, name="d", dtype=by_path("float32", **{"[a-d]": "bfloat16", "e.*": "float16"})),
        on(4, units=3, name="d", dtype=by_path(float8(9))),
        on(4, units=3, name="d", dtype=by_path("float32", d=float8(9))),
        on(7, units=5, name="d", dtype=by_path("int4/2_from_float32")),
        on(7, units=5, name="d", dtype=by_path("int8_from_mixed_bfloat16", e="float32")),
        *(on(7, units=5, name="d", dtype=by_path("float32", d=policy)) for policy in (CALIBRATED[0], CALIBRATED[-1])),
    ],
    "EinsumDense": [
        on(5, 4, **HEADS),
        on(5, 2, 3, **BACK),
        on(5, 4, **BATCHED),
        on(5, 4, **EACH),
        on(5, 4, **BOTH),
        on(5, 4, equation="abc,cd->abd", output_shape=[5, 3], bias_axes=["b"]),
        on(5, 4, equation="...x,xy->...y", output_shape=6, bias_axes="y"),
        on(3, 2, 5, 4, equation="...xz,xzy->...y", output_shape=6),
        on(4, 6, 2, equation="ab...,bc->ac...", output_shape=(5,), bias_axes="c"),
        on(4, equation="ab...,bc->ac...", output_shape=5, bias_axes="c", activation=Inner("layers.ReLU")),
        *(on(5, 4, **HEADS, dtype=policy, lora_rank=rank) for policy in ("float32", *PLAIN) for rank in (None, 2)),
        on(5, 4, **HEADS, trainable=False, dtype="int8_from_float32"),
        *(on(5, 4, **it, dtype=policy) for it in (HEADS, BATCHED, EACH, BOTH) for policy in (*INT8, *INT4, FLOAT8[1])),
        *(on(5, 2, 3, **BACK, dtype=policy, lora_rank=2) for policy in (*INT8, *INT4)),
        *(on(5, 4, **it, dtype=policy) for it in (HEADS, BOTH) for policy in CALIBRATED),
        *(on(5, 2, 3, **BACK, dtype=policy) for policy in (*FLOAT8, *CALIBRATED)),
        on(5, 4, equation="abc,cd->abd", output_shape=(None, 3), dtype=CALIBRATED[0]),
        on(5, 4, equation="...x,xy->...y", output_shape=6, dtype=FLOAT8[0]),
    ],
    "Embedding": [
        ids(input_dim=7, output_dim=5),
        ids(input_dim=7, output_dim=5, mask_zero=True, trainable=False),
        *(ids(input_dim=7, output_dim=5, dtype=policy) for policy in (*PLAIN, *INT8, *INT4)),
        *(ids(input_dim=7, output_dim=5, dtype=policy, lora_rank=2) for policy in ("float32", *PLAIN, *INT8, *INT4)),
        on(None, 2, input_dim=7, output_dim=1),
    ],
    "ReversibleEmbedding": [
        ids(input_dim=7, output_dim=5),
        ids(**UNTIED),
        ids(**UNTIED, trainable=False),
        *(ids(**UNTIED, dtype=policy) for policy in (*PLAIN, *INT8, *INT4)),
        *(ids(input_dim=7, output_dim=4, dtype=policy) for policy in (PLAIN[0], INT8[0], *INT4[2:4])),
        *(ids(**UNTIED, dtype=policy, lora_rank=2) for policy in (*INT8, *INT4)),
        ids(input_dim=7, output_dim=5, lora_rank=2, dtype="mixed_bfloat16"),
    ],
}
ALL = [pytest.param(name, number, id=f"{name}-{number}") for name, cases in CASES.items() for number in range(len(cases))]


def make(value: Any) -> Any:
    import keras

    if isinstance(value, Inner):
        return reduce(getattr, value.name.split("."), keras)(
            **{key: make(item) for key, item in (value.arguments or {}).items()}
        )
    return {key: make(item) for key, item in value.items()} if isinstance(value, dict) else value


def layer(name: str, case: Case) -> Any:
    return make(Inner(f"layers.{name}", case.arguments))


def functional(live: Any, case: Case) -> Any:
    import keras

    begin = keras.Input(batch_shape=case.shape, dtype=case.dtype)
    return keras.Model(begin, live(begin))


@cache
def built(name: str, number: int) -> tuple[Any, Any]:
    live = layer(name, CASES[name][number])
    return functional(live, CASES[name][number]), live


def serialized(live: Any) -> Any:
    import keras

    return json.loads(json.dumps(keras.saving.serialize_keras_object(live)))


@pytest.mark.parametrize(("name", "number"), ALL)
def test_the_tree_is_what_keras_writes(name: str, number: int) -> None:
    from trees import differences

    model, live = built(name, number)
    assert differences(model) == []
    trainable = live.trainable
    live.trainable = not trainable
    assert differences(model) == []
    live.trainable = trainable


@pytest.mark.parametrize(("name", "number"), ALL)
def test_every_type_is_told(name: str, number: int) -> None:
    from trees import config_of

    tree = expected_weights(config_of(built(name, number)[0]))
    assert all(spec.dtype is not None and None not in spec.shape for spec in tree)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_the_output_has_the_shape_that_keras_gives_it(name: str, number: int) -> None:
    model, live = built(name, number)
    found = Layer.read(serialized(live), "", version=NEWEST)
    rule = rule_for(found.key)
    assert rule is not None
    assert rule.output is not None
    assert rule.output(found, [CASES[name][number].shape]) == tuple(model.output.shape)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_a_layer_that_was_never_built_has_no_variables(name: str, number: int) -> None:
    import keras
    from trees import differences

    assert differences(keras.Sequential([layer(name, CASES[name][number])])) == []


def test_every_class_has_cases() -> None:
    from refser.rules.core import RULES

    assert sorted(rule.class_name for rule in RULES) == sorted(CASES)


def test_an_embedding_is_built_without_an_input() -> None:
    import keras
    from trees import differences

    for live in (keras.layers.Embedding(5, 3), keras.layers.ReversibleEmbedding(5, 3, tie_weights=False)):
        live.build()
        assert differences(keras.Sequential([live])) == []


def test_a_reversible_embedding_may_go_both_ways() -> None:
    import keras
    from trees import differences

    begin = keras.Input((3,), dtype="int32")
    live = keras.layers.ReversibleEmbedding(7, 5)
    model = keras.Model(begin, live(live(begin), reverse=True))
    assert differences(model) == []
    rule, found = rule_for("ReversibleEmbedding"), Layer.read(serialized(live), "", version=NEWEST)
    assert rule is not None
    assert rule.output is not None
    assert rule.output(found, [(None, 3)]) == (None, 3, 5)
    for shape in ((None, 3, 5), (None, None)):
        with pytest.raises(Unknown):
            rule.output(found, [shape])


# Live models, quantized later


def network(policy: str | None = None, name: str = "net") -> Any:
    import keras
    from keras import layers

    begin = keras.Input((6,), dtype="int32")
    value = layers.Embedding(9, 5, dtype=policy)(begin)
    value = layers.EinsumDense(**HEADS | {"output_shape": (None, 3, 5)}, dtype=policy)(value)
    value = layers.EinsumDense(**BACK, dtype=policy)(value)
    value = layers.Dense(5, dtype=policy)(value)
    value = layers.ReversibleEmbedding(9, 5, tie_weights=False, dtype=policy)(value, reverse=True)
    return keras.Model(begin, value, name=name)


def low_rank(model: Any) -> None:
    for live in model.layers:
        if hasattr(live, "enable_lora"):
            live.enable_lora(2)


MODES = [("int8", None), ("float8", None), ("int4", "default"), ("int4", 2), ("int4", -1), ("int4", None)]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize(("mode", "block"), MODES)
def test_a_model_quantized_later(mode: str, block: Any, policy: str) -> None:
    import keras
    from trees import differences

    model = network(policy)
    named = mode != "int4" or block == "default"
    model.quantize(mode, config=None if named else keras.quantizers.Int4QuantizationConfig(block_size=block))
    assert differences(model) == []


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("steps", ["lora", "lora int8", "int8 lora", "lora int4", "int4 lora"])
def test_lora_on_a_live_model(steps: str, policy: str | None) -> None:
    from trees import differences

    model = network(policy)
    for step in steps.split():
        if step == "lora":
            low_rank(model)
        else:
            model.quantize(step)
    assert differences(model) == []


@pytest.mark.parametrize("made", ["with the policy", "later"])
def test_float8_after_a_step_of_training(made: str) -> None:
    """No optimizer has slots for what gradients overwrite."""
    import keras
    import numpy as np
    from trees import differences

    begin = keras.Input((4,))
    policy = "float8_from_float32" if made == "with the policy" else None
    model = keras.Model(begin, keras.layers.Dense(3, dtype=policy)(begin))
    if policy is None:
        model.quantize("float8")
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    assert differences(model) == []
    assert differences(model, optimizer=True) == []


def calibrated(kind: str, policy: str | None, **options: Any) -> Any:
    """A model that really went through the quantizer."""
    import keras
    import numpy as np
    from keras import layers

    begin = keras.Input((6,), dtype="int32")
    embedding, block = (
        layers.Embedding(9, 8),
        keras.Sequential(
            [
                layers.Dense(6, dtype=policy),
                layers.Dense(8, use_bias=False, dtype=policy),
                layers.EinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de", dtype=policy),
                layers.EinsumDense("abcd,cde->abe", (None, 8), dtype=policy),
            ]
        ),
    )
    model = keras.Model(begin, layers.Dense(9)(block(embedding(begin))))
    # In the config, these layers would keep Keras itself from saving the model.
    structure = {"pre_block_layers": [embedding], "sequential_blocks": [block]}
    model.get_quantization_layer_structure = lambda mode: structure
    data = [np.arange(6).reshape(1, 6) + n for n in range(3)]
    of = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}[kind]
    config = of(dataset=data, tokenizer=lambda text: text, num_samples=3, sequence_length=6, **options)
    model.quantize(kind, config=config)
    assert all(getattr(live, f"is_{kind}_calibrated") for live in block.layers)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "policy", "options"),
    [
        ("gptq", None, {"group_size": 3}),
        ("gptq", "mixed_bfloat16", {"group_size": -1, "weight_bits": 8}),
        ("awq", None, {"group_size": 3}),
        ("awq", "mixed_bfloat16", {"group_size": -1}),
    ],
)
def test_gptq_and_awq_after_a_real_run(kind: str, policy: str | None, options: dict[str, Any]) -> None:
    from trees import differences

    assert differences(calibrated(kind, policy, **options)) == []


# Policies by path


@pytest.mark.parametrize("key", ["d", "s/d"])
def test_in_a_sequential_model_the_path_depends_on_how_it_was_built(key: str) -> None:
    import keras
    from trees import config_of, differences

    policy = make(by_path("float32", **{key: "bfloat16"}))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d", dtype=policy)], name="s")
    assert differences(model) == []
    assert {spec.dtype for spec in expected_weights(config_of(model))} == {None}
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d", dtype=policy)], name="t")
    if key == "s/d":
        assert differences(other) == []
        assert {spec.dtype for spec in expected_weights(config_of(other))} == {"float32"}


def test_sublayers_look_for_themselves() -> None:
    import keras
    from trees import config_of, differences

    policy = make(by_path("float32", **{"m/query": "bfloat16", "key": "float16", ".*/value": "float16"}))
    begin = keras.Input((5, 4))
    model = keras.Model(begin, keras.layers.MultiHeadAttention(2, 3, name="m", dtype=policy)(begin, begin))
    assert differences(model) == []
    types = [spec.dtype for spec in expected_weights(config_of(model))]
    assert sorted(set(map(str, types))) == ["bfloat16", "float16", "float32"]


def test_an_entry_that_differs_in_mode_makes_the_place_opaque() -> None:
    import keras
    from trees import config_of

    policy = make(by_path("int8_from_float32", d="float8_from_float32"))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d", dtype=policy)], name="s")
    tree = expected_weights(config_of(model))
    assert [place.path for place in tree.opaque] == ["layers/dense"]
    assert list(tree) == []


def test_a_map_without_a_default_loses_the_names() -> None:
    import keras
    from trees import config_of, differences

    begin = keras.Input((4,))
    policy = keras.dtype_policies.DTypePolicyMap(None, {"d": keras.dtype_policies.DTypePolicy("bfloat16")})
    model = keras.Model(begin, keras.layers.Dense(3, name="d", dtype=policy)(begin))
    assert differences(model) == []
    assert {spec.dtype for spec in expected_weights(config_of(model))} == {None}


ATTENTION = ["int8_from_float32", "int4/2_from_mixed_bfloat16", "float8_from_float32", "gptq/4/2_from_float32"]


@pytest.mark.parametrize("policy", ATTENTION)
def test_attention_made_with_a_quantized_policy(policy: str) -> None:
    import keras
    from trees import differences

    begin = keras.Input((5, 4))
    assert differences(keras.Model(begin, keras.layers.MultiHeadAttention(2, 3, dtype=policy)(begin, begin))) == []


# Policies as Keras reads them


NAMES = [
    *("float32", "float64", "int32", "bool", "string", *PLAIN, *INT8, *INT4),
    *("float8_from_float32", "gptq/4/2_from_float32", "awq/4/-1_from_mixed_bfloat16"),
    *("int8", "int8_from_float16", "int8/2_from_float32", "int4/0_from_float32", "int4/-2_from_float32", "int4/x_from_float32"),
    *("gptq_from_float32", "gptq/5/2_from_float32", "gptq/4/0_from_float32", "gptq/4_from_float32", "awq/8/2_from_float32"),
    *("int9_from_float32", "int8_from_int8_from_float32", "mixed", "", "int8_from_", "int4/²_from_float32"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_what_keras_takes_it_for(name: str) -> None:
    import keras

    try:
        real = keras.dtype_policies.get(name)
    except ValueError:
        if name in ("int8", "gptq_from_float32"):  # the one is the type of an InputLayer, the other may go with a config
            return
        with pytest.raises(InvalidError):
            read_policy(name, "")
        return
    config = json.loads(json.dumps(keras.dtype_policies.serialize(real)))
    for value in (name, config):
        policy = read_policy(value, "")
        assert policy.known
        assert (policy.variable_dtype, policy.compute_dtype) == (real.variable_dtype, real.compute_dtype)
        assert (policy.mode or None) == real.quantization_mode
        assert policy.block == getattr(real, "block_size", getattr(real, "group_size", -1))
        assert policy.bits == getattr(real, "weight_bits", 0)


# Equations, against Keras's own functions

LETTERS = "abcd"
SPECS = st.text(LETTERS, max_size=4)
EQUATIONS = st.builds(
    lambda form, a, b, c: form.format(a, b, c),
    st.sampled_from(["{},{}->{}"] * 3 + ["...{},{}->...{}", "{}...,{}->{}...", "{},{}->{}...", "...{},{}->{}"]),
    *(SPECS, SPECS, SPECS),
)
AXES = st.none() | SPECS | st.lists(st.sampled_from([*LETTERS, "ab", ""]), max_size=2)


def keras_says(equation: str, axes: Any, shape: Shape, output: Any) -> Any:
    from keras.src.layers.core.einsum_dense import _analyze_einsum_string

    try:
        kernel, bias, result, _, _ = _analyze_einsum_string(equation, axes, shape, output)
    except (ValueError, IndexError):
        return None
    return tuple(kernel), None if bias is None else tuple(bias), tuple(result)


@st.composite
def fitting(draw: st.DrawFn) -> tuple[str, Any, Shape, Any]:
    """An equation, and shapes that mostly agree with it."""
    a = "".join(draw(st.permutations(LETTERS))[: draw(st.integers(2, 3))])
    new, summed = draw(st.integers(0, 2)), draw(st.integers(0, len(a) - 1))
    kept = a[: len(a) - summed]
    c = kept + "xy"[:new]
    b = "".join(draw(st.permutations(a[len(kept) :] + "xy"[:new] + draw(st.sampled_from(["", kept[-1:]])))))
    sizes = {letter: draw(st.integers(1, 6)) for letter in {*a, *c}}
    form = draw(st.sampled_from(["{},{}->{}", "{},{}->{}", "...{},{}->...{}", "{}...,{}->{}..."]))
    more = tuple(draw(st.lists(st.integers(1, 4), max_size=2))) if "..." in form else ()
    left = form.startswith("...")
    shape = (*more, *(sizes[it] for it in a)) if left else (*(sizes[it] for it in a), *more)
    output = tuple(sizes[it] for it in c)
    axes = draw(st.none() | st.sampled_from(sorted({*c})))
    return form.format(a, b, c), axes, shape, output if left and more else output[1:]


ANY = st.tuples(
    EQUATIONS,
    AXES,
    st.lists(st.none() | st.integers(0, 4), max_size=5).map(tuple),
    st.integers(1, 4) | st.lists(st.none() | st.integers(0, 4), max_size=4),
)


@examples(600, 20000)
@given(it=st.one_of(fitting(), ANY))
def test_an_equation_means_what_keras_takes_it_for(it: Any) -> None:
    equation, axes, shape, output = it
    config = {"equation": equation, "bias_axes": axes, "output_shape": output}
    wanted = keras_says(equation, axes, shape, output)
    try:
        found = einsum.analyze(Layer("EinsumDense", config, at="", version=NEWEST), shape)
    except InvalidError:
        event("refused")
        # With a letter twice, Keras may build a layer for an input of too few axes, and cannot call it.
        assert wanted is None or len(shape) < len(equation.partition(",")[0].strip("."))
        return
    event("taken")
    assert (found.kernel, found.bias, found.output) == wanted


@examples(300, 5000)
@given(it=fitting(), policy=st.sampled_from(["int8_from_float32", "int4_from_float32"]))
def test_a_scale_has_the_shape_that_keras_gives_it(it: Any, policy: str) -> None:
    import keras

    equation, axes, shape, output = it
    config = {"equation": equation, "bias_axes": axes, "output_shape": output, "dtype": policy}
    found = Layer("EinsumDense", config, at="", version=NEWEST)
    try:
        analyzed = einsum.analyze(found, shape)
    except InvalidError:
        return
    live = keras.layers.EinsumDense(equation, output_shape=output, bias_axes=axes)
    live.input_spec = keras.layers.InputSpec(ndim=len(shape))
    try:
        live._set_quantization_info()
        wanted = tuple(live._get_kernel_scale_shape(analyzed.kernel))
    except (TypeError, IndexError, ValueError):
        with pytest.raises(InvalidError):
            einsum.scale(found, analyzed)
        event("refused")
        return
    event("taken")
    assert einsum.scale(found, analyzed) == wanted


# Other versions: shapes and types in files that these versions wrote


def arrays(value: dict[str, Any], version: str) -> list[tuple[str | None, Shape, str | None]]:
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [value]}}
    return [(spec.name, spec.shape, spec.dtype) for spec in expected_weights(config, keras_version=version)]


def dense(**options: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": "d", "units": 5, **options}, "build_config": {"input_shape": [None, 7]}}


def heads(**options: Any) -> dict[str, Any]:
    config = {"name": "e", **HEADS, **options}
    return {"class_name": "EinsumDense", "config": config, "build_config": {"input_shape": [None, 5, 4]}}


def embedding(class_name: str, **options: Any) -> dict[str, Any]:
    config = {"name": "e", "input_dim": 3, "output_dim": 2, **options}
    return {"class_name": class_name, "config": config, "build_config": {"input_shape": [None, 3]}}


def test_before_3_14_int4_halves_the_rows() -> None:
    scale = ("kernel_scale", (5,), "float32")
    for version, kernel in (("3.11.3", (4, 5)), ("3.13.2", (4, 5)), ("3.14.0", (7, 3))):
        found = arrays(dense(dtype="int4_from_float32"), version)
        assert found == [("kernel", kernel, "int8"), ("bias", (5,), "float32"), scale]
    for version, kernel, shape in (("3.13.2", (2, 3, 5), (1, 1, 3, 5)), ("3.14.0", (4, 8), (15,))):
        found = arrays(heads(dtype="int4_from_float32"), version)
        assert [it[:2] for it in found] == [("kernel", kernel), ("bias", (3, 5)), ("kernel_scale", shape)]


def test_before_3_14_gptq_saves_its_zeros() -> None:
    for policy, rows in (("gptq/4/2_from_float32", 3), ("gptq/8/2_from_float32", 5)):
        before, after = (arrays(dense(dtype=policy), version) for version in ("3.13.2", "3.14.0"))
        assert before[:3] == [("bias", (5,), "float32"), ("kernel", (rows, 7), "uint8"), ("kernel_scale", (5, 4), "float32")]
        assert before[3:] == [("kernel_zero", (5, 4), "uint8"), ("g_idx", (7,), "float32")]
        assert after == [*before[:3], before[4]]


@pytest.mark.parametrize(("policy", "types"), [("mixed_bfloat16", ("float32", "bfloat16")), ("bfloat16", ("bfloat16",) * 2)])
def test_before_3_15_the_sum_of_kernel_and_lora_has_the_type_of_the_kernel(policy: str, types: tuple[str, str]) -> None:
    for version, dtype in zip(("3.14.0", "3.15.0"), types):
        assert arrays(dense(dtype=policy, lora_rank=2), version)[0] == ("kernel", (7, 5), dtype)


def test_before_3_15_the_scale_beside_lora_has_the_type_of_the_variables() -> None:
    for version, dtype in (("3.14.0", "bfloat16"), ("3.15.0", "float32")):
        assert arrays(dense(dtype="int8_from_bfloat16", lora_rank=2), version)[2] == ("kernel_scale", (5,), dtype)


def test_the_policies_of_tf_keras() -> None:
    for class_name in ("Policy", "PolicyV1"):
        for name, dtype in (("mixed_float16", "float32"), ("float64", "float64"), ("_infer", None)):
            policy = {"class_name": class_name, "config": {"name": name, "loss_scale": None}}
            assert [it[2] for it in arrays(dense(dtype=policy), "2.4.0")] == [dtype, dtype]


# What Keras refuses

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("LY-003", dense(units=0)),
    ("LY-003", dense(units="5")),
    ("LY-003", dense(lora_rank=-1)),
    ("LY-003", dense(lora_rank=2, kernel_constraint={"class_name": "MaxNorm", "config": {}})),
    ("LY-003", dense(dtype="gptq_from_float32")),
    ("LY-003", dense(dtype="int4_from_float32", quantization_config=3)),
    ("LY-002", dense() | {"build_config": {"input_shape": []}}),
    ("CF-020", dense(dtype={"class_name": "DTypePolicy", "config": {}})),
    ("CF-020", dense(dtype="float33")),
    ("LY-003", heads(equation="abc,cd")),
    ("LY-003", heads(equation="abc,cd->abe")),
    ("LY-003", heads(output_shape=None)),
    ("LY-003", heads(output_shape=[5])),
    ("LY-002", heads(output_shape=[6, 3, 5])),
    ("LY-002", heads() | {"build_config": {"input_shape": [None, 4]}}),
    ("LY-003", heads(bias_axes="")),
    ("LY-003", heads(bias_axes="z")),
    ("LY-003", heads(equation="...c,cde->...de", dtype="int8_from_float32")),
    ("LY-003", heads(**EACH, dtype="gptq/4/2_from_float32")),
    *(
        ("LY-003", embedding(name, **options))
        for name in ("Embedding", "ReversibleEmbedding")
        for options in ({"dtype": "float8_from_float32"}, {"dtype": "awq/4/2_from_float32"}, {"output_dim": 0})
    ),
    ("LY-004", heads(equation="abc,bcde->ade", output_shape=[1 << 61, 1 << 61], dtype="int4_from_float32", bias_axes=None)),
]


@pytest.mark.parametrize(("code", "value"), WRONG)
def test_what_keras_refuses_is_refused(code: str, value: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as error:
        arrays(value, "3.15.1")
    assert error.value.problem.code == code


@pytest.mark.parametrize(
    "value",
    [
        *(dense(dtype=f"{mode}_from_float32", lora_rank=2) for mode in ("float8", "gptq/4/2", "awq/4/2")),
        dense(dtype="int4_from_float32", quantization_config={"class_name": "Mine", "config": {}}),
        dense(dtype={"class_name": "MyPolicy", "config": {"colour": "blue"}}),
        heads(dtype="gptq/4/2_from_float32") | {"build_config": {"input_shape": [None, 5, None]}},
    ],
)
def test_what_cannot_be_told_is_opaque(value: dict[str, Any]) -> None:
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [value]}}
    tree = expected_weights(config)
    assert len(tree.opaque) == 1
    assert list(tree) == []


# Hostile configs: whatever they say, refser refuses or answers


@cache
def configs() -> list[str]:
    from trees import config_of

    return [config_of(built(name, number)[0]) for name, cases in CASES.items() for number in range(0, len(cases), 3)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


SHAPES = st.lists(st.none() | st.integers(0, 6), max_size=5)
HOSTILE = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=3), EQUATIONS, st.sampled_from(NAMES)),
    st.sampled_from([1 << 61, 1 << 62, 1 << 70, -(1 << 70), "DTypePolicyMap", "Dense", "Embedding", "Int4QuantizationConfig"]),
    *(SHAPES, st.lists(SHAPES, max_size=2), st.builds(dict, mode=st.sampled_from(NAMES), source_name=st.sampled_from(NAMES))),
)


def mutate(config: Any, data: st.DataObject, below: Callable[[tuple[Any, ...]], bool]) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        found = [path for path in places(config) if below(path)]
        if not found:
            return
        path = data.draw(st.sampled_from(found))
        target = config
        for key in path[:-1]:
            target = target[key]
        kind = data.draw(st.sampled_from(["replace", "replace", "delete", "copy"]))
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


@examples(500, 20000)
@given(data=st.data(), version=st.sampled_from(["2.4.0", "3.13.0", "3.15.1"]), policies=st.booleans())
def test_a_broken_config_is_refused_or_answered(data: st.DataObject, version: str, policies: bool) -> None:
    config = json.loads(data.draw(st.sampled_from(configs())))
    inside = ("dtype", "quantization_config") if policies else ()
    mutate(
        config,
        data,
        lambda path: path[:2] == ("config", "layers") and len(path) > 3 and (not inside or any(key in path for key in inside)),
    )
    try:
        expected_weights(config, keras_version=version)
        event("answered")
    except RefserError as error:
        event(error.problem.code)
    for value in config["config"]["layers"]:
        with contextlib.suppress(RefserError, Unknown, Unbuilt):
            found = Layer.read(value, "", version=NEWEST)
            if (rule := rule_for(found.key)) and rule.output:
                rule.output(found, data.draw(st.lists(SHAPES.map(tuple), max_size=2)))
