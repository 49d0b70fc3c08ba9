"""What the JSON of a config means, and that nothing of its text changes by the way (CF-010 to CF-024)."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from cli_helpers import GOLDEN
from config_helpers import CONFIGS, golden_text
from helpers import refused
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import config
from refser.config.objects import KerasObject, Place, path_of
from refser.errors import InvalidError, LimitError, RefserError
from refser.limits import Limits

# Names that a path has to quote, and plain ones.
names = st.one_of(
    st.sampled_from(["a", "class_name", "config", "module", "", "a.b", 'x"y', "[0]", "é", "\n"]), st.text(max_size=4)
)
plain = st.one_of(st.none(), st.booleans(), st.integers(-5, 1 << 40), st.floats(allow_nan=False, allow_infinity=False), names)
CLASSES = "Dense Sequential Lambda function __tensor__ __numpy__ __bytes__ __slice__ __lambda__ __typespec__ __keras_tensor__"
INNER: list[Any] = [
    *({}, [], None, "relu", {"value": [1]}, {"value": [1], "dtype": "int8"}, {"value": "a"}),
    {"start": 1, "stop": 2, "step": None},
    {"function": ["a", None, None], "function_type": "lambda"},
    {"shape": [1], "dtype": "int8", "keras_history": ["a", 0, 0]},
]
specials = st.builds(
    lambda name, config, more: {"class_name": name, "config": config} | more,
    st.sampled_from([*CLASSES.split(), "__ellipsis__"]),
    st.sampled_from(INNER),
    st.sampled_from([{}, {"module": None}, {"registered_name": "a>B", "unknown": [1.5]}, {"spec_name": "S"}]),
)
trees = st.recursive(
    st.one_of(plain, specials),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names, inner, max_size=4),
        st.builds(
            lambda name, value: {"class_name": name, "config": value, "module": "m"}, names, st.dictionaries(names, inner)
        ),
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("name", CONFIGS)
def test_cf019_a_golden_config_is_emitted_as_it_was_and_every_path_leads_back(name: str) -> None:
    text = golden_text(name)
    read = config.parse(text)
    assert read.emit() is text
    found = list(read.walk())
    assert found[0].at == ""
    assert all(read.value(node.at) is node.json for node in found)
    classes = [node.class_name for node in found if isinstance(node, KerasObject)]
    assert len(classes) == sum(1 for value in everything(json.loads(text)) if is_an_object(value))


def everything(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(inner for child in below for inner in everything(child))]


def is_an_object(value: Any) -> bool:
    if not isinstance(value, dict) or not {"class_name", "config"} <= value.keys():
        return False
    return value["class_name"] != "function" and not value["class_name"].startswith("__")


@given(tree=st.dictionaries(names, trees, max_size=4), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_cf018_cf019_any_json_is_emitted_as_it_was_and_any_value_is_replaced(tree: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)
    read = config.parse(text)
    assert (read.emit(), read.json) == (text, tree)
    for place, value in places(tree):
        path = path_of(place)
        assert read.value(path) == value
        assert read.replace(path, value).json == tree
        changed = read.replace(path, {"new": [1, None]})
        assert changed.value(path) == {"new": [1, None]}
        assert changed.emit().count('{"new": [1, null]}') == text.count('{"new": [1, null]}') + 1
        back = changed.replace(path, value)
        assert back.json == tree
        assert (
            changed.emit().partition('{"new": [1, null]}')[0] == text[: len(changed.emit().partition('{"new": [1, null]}')[0])]
        )


def places(value: Any, place: Place | str = "") -> list[tuple[Place | str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [inner for key, child in items for inner in places(child, Place(place, key))]
    return [(place, value), *below] if place else below


@given(tree=trees)
def test_cf010_walking_any_json_gives_nodes_or_a_refser_error(tree: Any) -> None:
    read = config.parse(json.dumps({"x": tree}))
    try:
        for node in read.walk():
            assert read.value(node.at) is node.json
            assert node.kind
            assert repr(node).startswith("<")
    except InvalidError as error:
        event(error.problem.code)
        read.value(error.problem.at)  # the place is there


@pytest.mark.parametrize(
    "name", ["keras-3.15.1/attention.keras", "tf-keras-2.13.1/functional.keras", "keras-1.2.2/functional.json"]
)
def test_cf010_mutated_configs_give_nodes_and_graphs_or_a_refser_error(name: str) -> None:
    text = golden_text(name)
    paths = [node.at for node in config.parse(text).walk()]

    @given(st.data())
    def check(data: st.DataObject) -> None:
        read = config.parse(text)
        path = data.draw(st.sampled_from(paths))
        inside = read.value(path)
        below = [path_of(place) for place, _ in places(inside, path)] or [path]
        target = data.draw(st.sampled_from(below))
        new = data.draw(st.one_of(trees, st.sampled_from([["image", 0, 0], ["head", 0, 0], [[["image", 0, 0, {}]]], [], {}])))
        try:
            changed = read.replace(target, new)
            for node in changed.walk():
                if config.is_model(node):
                    config.graph(node)
                    assert isinstance(node, KerasObject)
                    config.input_shape_of(node)
        except RefserError as error:
            event(error.problem.code)
        else:
            event("sound")

    check()


def test_cf010_members_of_an_object() -> None:
    text = (
        '{"module": "keras.layers", "class_name": "Dense", "config": {"name": "d"}, "registered_name": "p>D",'
        ' "build_config": {"input_shape": [1]}, "compile_config": {"optimizer": "sgd"}, "shared_object_id": 7, "other": 1}'
    )
    found = config.parse(text).root
    assert isinstance(found, KerasObject)
    assert (found.module, found.class_name, found.registered_name, found.name) == ("keras.layers", "Dense", "p>D", "d")
    assert (found.build_config, found.compile_config) == ({"input_shape": [1]}, {"optimizer": "sgd"})
    assert (found.shared_object_id, found.json["other"]) == (7, 1)
    bare = KerasObject({"class_name": "Dense", "config": None, "shared_object_id": True}, "here")
    assert (bare.module, bare.registered_name, bare.name, bare.build_config, bare.compile_config) == (None,) * 5
    assert (bare.shared_object_id, bare.at, bare.config) == (None, "here", {})


def test_cf011_cf016_members_of_other_nodes() -> None:
    text = json.dumps(
        {
            "f": {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"},
            "t": {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "bfloat16"}},
            "b": {"class_name": "__bytes__", "config": {"value": "é"}},
            "s": {"class_name": "__slice__", "config": {"start": 1, "stop": None, "step": -1}},
            "l": {"class_name": "__lambda__", "config": {"value": ["code", [1], None]}},
            "y": {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": [[1], "float32", None]},
            "k": {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "int8", "keras_history": ["a", 1, 2]}},
            "o": {"class_name": "__tuple__", "items": [1]},
        }
    )
    function, tensor, data, cut, lambda_, spec, edge, older = config.parse(text).walk()
    assert isinstance(function, config.Function)
    assert (function.name, function.module, function.registered_name) == ("relu", "builtins", "function")
    assert isinstance(tensor, config.Array)
    assert (tensor.value, tensor.dtype) == ([1.0], "bfloat16")
    assert isinstance(data, config.Bytes)
    assert data.value == "é".encode()
    assert isinstance(cut, config.Slice)
    assert (cut.start, cut.stop, cut.step) == (1, None, -1)
    assert isinstance(lambda_, config.Lambda)
    assert (lambda_.code, lambda_.defaults, lambda_.closure) == ("code", [1], None)
    assert isinstance(spec, config.TypeSpec)
    assert (spec.spec_name, spec.arguments) == ("TensorSpec", [[1], "float32", None])
    assert isinstance(edge, config.KerasTensor)
    assert (edge.shape, edge.dtype, edge.history) == ([None], "int8", ["a", 1, 2])
    assert isinstance(older, config.Older)
    assert (older.class_name, older.items) == ("__tuple__", [1])


def test_cf019_a_new_value_has_to_be_json_and_within_the_limits() -> None:
    read = config.parse('{"class_name": "L", "config": {"x": 1}}', limits=Limits(json_depth=4))
    with refused("JS-007"):
        read.replace("config.x", float("nan"))
    with refused("JS-007"):
        read.replace("config.x", object())
    with refused("LI-002", LimitError):
        read.replace("config.x", [[[1]]])
    with refused("JS-005"):
        read.replace("", [])
    assert read.replace("", {"a": 1}).emit() == '{"a": 1}'
    assert read.emit() == '{"class_name": "L", "config": {"x": 1}}'


@pytest.mark.parametrize(
    "path", ["x", "config[0]", "config.x.y", "config.", "config[", "config[-1]", 'config["x]', "]", "config[9999999999]"]
)
def test_cf018_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with refused("CF-018"):
        config.parse('{"class_name": "L", "config": {"x": 1}}').value(path)


def test_cf022_nothing_that_a_config_names_is_imported() -> None:
    before = set(sys.modules)
    function = '{"class_name": "function", "module": "this", "config": "x"}'
    text = f'{{"module": "antigravity", "class_name": "Fly", "config": {{"f": {function}}}}}'
    assert [node.kind for node in config.parse(text).walk()] == ["object", "function"]
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


def test_cf024_golden_training_configs_name_their_optimizer() -> None:
    found = set()
    for name in (name for name in CONFIGS if name.endswith("functional.legacy.h5")):
        with refser.open(GOLDEN / name) as file:
            assert file.training_config is not None
            training = config.training_of(json.loads(file.training_config))
            found.add(training.optimizer["class_name"])
            assert training.loss is not None
    assert found == {"Adam", "Custom>Adam"}


def test_cf010_deep_and_wide_json_is_walked_in_linear_time() -> None:
    """Long keys on a long way down, and very many objects: paths are made for none of them."""
    key, depth = "k" * 10_000, 400
    inner: Any = [{"class_name": "A", "config": {}} for _ in range(50_000)]
    for _ in range(depth):
        inner = {key: inner}
    read = config.parse(json.dumps({"x": inner}))
    start = time.process_time()
    assert sum(1 for _ in read.walk()) == 50_000
    assert time.process_time() - start < 60
