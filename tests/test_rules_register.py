"""Rules for classes that are not Keras's own: five layers of KerasHub, from configs and trees that real KerasHub made."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import refser.rules
from refser.errors import RefserError
from refser.rules import Child, Layer, Rule, Unknown, Var, register, table
from refser.rules.table import rule_for
from refser.rules.tree import expected_weights
from refser.rules.walk import Owner, Walk

DATA = Path(__file__).parent / "data" / "keras_hub"
RECORDED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(DATA.glob("*.json"))}


# The rules


def width_of(layer: Layer, shape: Any) -> int:
    if (width := layer.axis(-1, shape)) is None:
        raise Unknown("the width of its input")
    return width


def attention(layer: Layer, name: str, query: Any, value: Any) -> Layer:
    heads = layer.integer("num_heads")
    if not (size := width_of(layer, query) // heads):
        raise layer.refuse("num_heads", "at most the width of the input")
    return layer.sub(
        "MultiHeadAttention",
        {"num_heads": heads, "key_dim": size},
        name=name,
        build={"query_shape": query, "value_shape": value},
    )


def norm(layer: Layer, name: str, shape: Any) -> Child:
    return Child(f"_{name}", layer.sub("LayerNormalization", {}, name=name, build={"input_shape": shape}))


def dense(layer: Layer, name: str, units: int, shape: Any) -> Child:
    return Child(f"_{name}", layer.sub("Dense", {"units": units}, name=name, build={"input_shape": shape}))


def dropout(layer: Layer, name: str) -> Child:
    return Child(f"_{name}", layer.sub("Dropout", {}, name=name))


def feedforward(layer: Layer, shape: Any) -> list[Child]:
    inner = layer.integer("intermediate_dim")
    return [
        dense(layer, "feedforward_intermediate_dense", inner, shape),
        dense(layer, "feedforward_output_dense", width_of(layer, shape), (*shape[:-1], inner)),
    ]


def encoder(layer: Layer) -> Iterator[Child]:
    shape = layer.shape
    yield Child("_self_attention_layer", attention(layer, "self_attention_layer", shape, shape))
    yield norm(layer, "self_attention_layer_norm", shape)
    yield dropout(layer, "self_attention_dropout")
    yield norm(layer, "feedforward_layer_norm", shape)
    yield from feedforward(layer, shape)
    yield dropout(layer, "feedforward_dropout")


def decoder(layer: Layer) -> Iterator[Child]:
    """With a second input there is a second attention."""
    shape, second = layer.given(layer.shapes, 1), layer.shape_of("encoder_sequence_shape")
    yield Child("_self_attention_layer", attention(layer, "self_attention", shape, shape))
    yield norm(layer, "self_attention_layer_norm", shape)
    yield dropout(layer, "self_attention_dropout")
    if second is not None:
        yield Child("_cross_attention_layer", attention(layer, "cross_attention", shape, second))
        yield norm(layer, "cross_attention_layer_norm", shape)
        yield dropout(layer, "cross_attention_dropout")
    yield from feedforward(layer, shape)
    yield norm(layer, "feedforward_layer_norm", shape)
    yield dropout(layer, "feedforward_dropout")


def embeddings(layer: Layer) -> Iterator[Child]:
    """Two layers that it makes itself: one is of Keras, the other has a rule of its own."""
    shape, width = layer.shape, layer.integer("embedding_dim")
    words = {"input_dim": layer.integer("vocabulary_size"), "output_dim": width, "tie_weights": layer.flag("tie_weights", True)}
    yield Child(
        "token_embedding", layer.sub("ReversibleEmbedding", words, name="token_embedding", build={"input_shape": shape})
    )
    places = layer.sub(
        "keras_hub>PositionEmbedding",
        {"sequence_length": layer.integer("sequence_length")},
        name="position_embedding",
        build={"input_shape": (*shape, width)},
    )
    yield Child("position_embedding", places)


def head_width(layer: Layer) -> int:
    inside = layer.wrapped("token_embedding") if layer.has("token_embedding") else None
    return inside.integer("output_dim") if inside else width_of(layer, layer.shape)


def head_variables(layer: Layer) -> Iterator[Var]:
    if not layer.has("token_embedding"):
        yield Var("output_kernel", "width, vocabulary_size")
    if layer.built:
        yield Var("output_bias", "vocabulary_size")


def head(layer: Layer) -> Iterator[Child]:
    width, shape = head_width(layer), layer.shape
    if layer.has("token_embedding"):
        embedding = layer.wrapped("token_embedding")
        if embedding.json.get("shared_object_id") is None:
            raise Unknown("whether the embedding belongs to a layer that makes it itself, such as TokenAndPositionEmbedding")
        yield Child("token_embedding", embedding)
    yield dense(layer, "intermediate_dense", width, shape)
    yield norm(layer, "intermediate_layer_norm", (*shape[:-1], width))


def first(layer: Layer, shapes: list[Any]) -> Any:
    return layer.given(shapes, 1)


def head_output(layer: Layer, shapes: list[Any]) -> Any:
    if len(shapes) != 2:
        raise Unknown("which of its words are masked")
    return (*shapes[1], layer.integer("vocabulary_size"))


def rules() -> dict[str, Rule]:
    """By their registered names."""
    reversible = rule_for("ReversibleEmbedding")
    assert reversible is not None
    found = (
        Rule("TransformerEncoder", children=encoder, output=first),
        Rule("TransformerDecoder", children=decoder, output=first),
        Rule(
            "TokenAndPositionEmbedding",
            children=embeddings,
            output=lambda layer, shapes: (*first(layer, shapes), layer.integer("embedding_dim")),
        ),
        Rule(
            "PositionEmbedding",
            (Var("embeddings", "sequence_length, width"),),
            dims=lambda layer: {"width": layer.axis(-1)},
            output=first,
        ),
        Rule(
            "MaskedLMHead",
            head_variables,
            dims=lambda layer: {"width": head_width(layer)},
            children=head,
            output=head_output,
        ),
        Rule("SinePositionEncoding", output=first),
        Rule("RotaryEmbedding", output=first),
        reversible,  # KerasHub's is a subclass that changes nothing
    )
    return {f"keras_hub>{rule.class_name}": rule for rule in found}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered in a test is forgotten after it."""
    rule_for("Dense")
    monkeypatch.setattr(table, "_RULES", dict(table._RULES))


@pytest.fixture
def taught(alone: None) -> None:
    for key, rule in rules().items():
        register(key, rule)


# What they tell


def told(config: Any) -> tuple[list[list[Any]], list[str], list[tuple[str, str]]]:
    tree = expected_weights(config, keras_version="3.15.1")
    arrays = [[it.path, list(it.shape), it.dtype, it.name, it.trainable] for it in tree]
    return arrays, list(tree.groups), [(place.path, place.class_name) for place in tree.opaque]


def agree(expected: list[list[Any]], real: list[list[Any]]) -> bool:
    """`trainable` that was given to the layer around it is not told."""
    return [it[:4] for it in expected] == [it[:4] for it in real] and all(
        mine[4] in (None, theirs[4]) for mine, theirs in zip(expected, real)
    )


@pytest.mark.parametrize("name", ["encoders", "decoders", "masked", "shared"])
@pytest.mark.usefixtures("taught")
def test_the_tree_is_what_keras_writes(name: str) -> None:
    real = RECORDED[name]
    arrays, groups, opaque = told(real["config"])
    assert opaque == []
    assert groups == real["groups"]
    assert agree(arrays, real["arrays"])


@pytest.mark.parametrize(
    ("name", "opaque"),
    [
        ("hidden", [("layers/masked_lm_head", "MaskedLMHead")]),
        ("unknown", [("layers/f_net_encoder", "FNetEncoder")]),
    ],
)
@pytest.mark.usefixtures("taught")
def test_what_is_not_told_is_opaque_and_all_around_it_is_not(name: str, opaque: list[tuple[str, str]]) -> None:
    real = RECORDED[name]
    arrays, groups, found = told(real["config"])
    assert found == opaque
    below = opaque[0][0]
    known = [it for it in real["arrays"] if not it[0].startswith(f"{below}/_") and (name == "hidden" or below not in it[0])]
    assert agree(arrays, known)
    assert [it for it in groups if it in real["groups"]] == groups


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.usefixtures("alone")
def test_without_rules_only_these_layers_are_opaque(name: str) -> None:
    real = RECORDED[name]
    arrays, groups, opaque = told(real["config"])
    theirs = [it for it in real["config"]["config"]["layers"] if it["module"].startswith("keras_hub.")]
    assert [class_name for _, class_name in opaque] == [it["class_name"] for it in theirs]
    below = tuple(f"{path}/" for path, _ in opaque)
    assert agree(arrays, [it for it in real["arrays"] if not it[0].startswith(below)])
    assert groups == [it for it in real["groups"] if not it.startswith(below) or it.removesuffix("vars") in below]


@pytest.mark.parametrize("name", ["encoders", "decoders", "masked", "shared"])
@pytest.mark.usefixtures("taught")
def test_children_are_in_the_order_of_trainable_variables(name: str) -> None:
    real = RECORDED[name]
    paths = {spec.path: spec.variable_path for spec in expected_weights(real["config"])}
    frozen = {it[0] for it in real["arrays"] if not it[4]}
    walk = Walk()
    root = walk.visit(Layer.read(real["config"], "", version=(3, 15, 1)), "")
    assert root is not None
    assert [paths[path] for path in in_order(root) if path not in frozen] == real["paths"]


def in_order(owner: Owner) -> Iterator[str]:
    yield from (f"{owner.group}/{number}" for number in range(len(owner.variables)))
    for child in owner.children:
        yield from in_order(child)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.usefixtures("taught")
def test_the_output_has_the_shape_that_keras_gives_it(name: str) -> None:
    for value in RECORDED[name]["config"]["config"]["layers"]:
        if value["module"].startswith("keras_hub.") and value["class_name"] != "FNetEncoder":
            shapes, wanted = RECORDED[name]["outputs"][value["name"]]
            layer = Layer.read(value, "", version=(3, 15, 1))
            rule = rule_for(layer.key)
            assert rule is not None
            assert rule.output is not None
            assert list(rule.output(layer, [tuple(shape) for shape in shapes])) == wanted


@pytest.mark.skipif(not importlib.util.find_spec("keras_hub"), reason="keras_hub is not installed")
def test_what_was_recorded_is_what_keras_hub_makes() -> None:
    """In another process, which takes the backend that it wants."""
    script = "import json, record; print(json.dumps({name: record.record(it) for name, it in record.models().items()}))"
    path = os.pathsep.join([str(DATA), str(Path(__file__).parent / "keras"), *sys.path])
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    live = json.loads(run.stdout.splitlines()[-1])
    for name, real in live.items():
        assert {**real, "config": None} == {key: RECORDED[name][key] for key in real if key != "config"} | {"config": None}
        assert told(real["config"]) == told(RECORDED[name]["config"])


NUMBERS = st.integers(-3, 9) | st.sampled_from([1 << 61, 1 << 70])
HOSTILE = st.none() | st.booleans() | NUMBERS | st.text(max_size=2) | st.lists(st.none() | NUMBERS, max_size=4)


@settings(max_examples=200)
@given(data=st.data())
def test_rules_refuse_or_answer_whatever_a_config_says(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        more = rules()
        patch.setattr(table, "_RULES", {**table._RULES, **more})
        config = json.loads(json.dumps(RECORDED[data.draw(st.sampled_from(sorted(RECORDED)))]["config"]))
        theirs = [it for it in config["config"]["layers"] if it["module"].startswith("keras_hub.") and "build_config" in it]
        layer = data.draw(st.sampled_from(theirs))
        target = data.draw(st.sampled_from([layer["config"], layer["build_config"], layer["build_config"].get("shapes_dict")]))
        if target:
            target[data.draw(st.sampled_from(sorted(target)))] = copy.deepcopy(data.draw(HOSTILE))
        try:
            event("opaque" if expected_weights(config).opaque else "answered")
        except RefserError as error:
            event(error.problem.code)


# How they are registered


@pytest.mark.usefixtures("alone")
def test_the_example_of_the_module_works() -> None:
    assert refser.rules.__doc__
    code = re.search(r"\n\n((?: {4}from refser\.rules import).*?)\n\n\S", refser.rules.__doc__, re.DOTALL)
    assert code
    exec(textwrap.dedent(code[1]), {})
    layer = {
        "module": "my_package.layers",
        "class_name": "Scaled",
        "registered_name": "my_package>Scaled",
        "config": {"name": "scaled", "units": 3},
        "build_config": {"input_shape": [None, 4]},
    }
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "model", "layers": [layer]}}
    assert [(it.path, it.variable_path, it.shape) for it in expected_weights(model)] == [
        ("layers/scaled/vars/0", "scaled/scale", (4,)),
        ("layers/scaled/vars/1", "scaled/offset", (4,)),
        ("layers/scaled/inner/vars/0", "scaled/inner/kernel", (4, 3)),
        ("layers/scaled/inner/vars/1", "scaled/inner/bias", (3,)),
    ]


@pytest.mark.usefixtures("alone")
def test_a_class_that_is_not_registered_goes_by_its_module() -> None:
    layer = {"module": "mine", "class_name": "Odd", "registered_name": None, "config": {"name": "odd"}}
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    assert [(it.path, it.reason) for it in expected_weights(model).opaque] == [
        ("layers/odd", "a class that refser does not know")
    ]
    register("mine>Odd", Rule("Odd", (Var("a", (2, None)),)))
    assert [it.shape for it in expected_weights(model)] == [(2, None)]
    register("mine>Odd", Rule("Odd", (Var("b", (1,)),)))
    assert [it.name for it in expected_weights(model)] == ["b"]


@pytest.mark.parametrize("key", ["Dense", "Odd", ""])
def test_the_name_of_a_class_of_keras_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="wanted a registered name"):
        register(key, Rule("Odd"))


def test_what_is_public_is_loaded_when_it_is_asked_for() -> None:
    script = "import refser.rules, sys; print(*(name for name in sys.modules if name.startswith(('refser.', 'numpy', 'h5py'))))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refser.rules"]
    assert dir(refser.rules) == ["Child", "Layer", "Rule", "Unknown", "Var", "register"]
    assert all(getattr(refser.rules, name) is not None for name in refser.rules.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        refser.rules.Nothing  # noqa: B018


def run_with(folder: Path, points: str, code: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python that has a package `theirs` with these entry points."""
    (folder / "theirs.py").write_text(code, "utf-8")
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[refser.rules]\n{points}\n", "utf-8")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)


THEIRS = "from refser.rules import Rule, register\ndef rules():\n    register('theirs>Odd', Rule('Odd'))\n"
LOOK = "from refser.rules.table import rule_for; print(rule_for('theirs>Odd') is not None, rule_for('Dense') is not None)"


def test_the_entry_points_of_other_packages_are_called(tmp_path: Path) -> None:
    run = run_with(tmp_path, "theirs = theirs:rules", THEIRS, LOOK)
    assert (run.stdout.split(), run.stderr) == (["True", "True"], "")


def test_an_entry_point_that_fails_is_warned_of(tmp_path: Path) -> None:
    code = f"{THEIRS}def wrong():\n    1 / 0\n"
    run = run_with(tmp_path, "a = theirs:wrong\nb = theirs:missing\nc = theirs:rules", code, LOOK)
    assert run.stdout.split() == ["True", "True"]
    assert "no rules from the entry point a = theirs:wrong: ZeroDivisionError: division by zero" in run.stderr
    assert "no rules from the entry point b = theirs:missing: AttributeError" in run.stderr
