"""The arrays that an optimizer adds, without Keras: files of other versions, hostile configs, expressions out of a file."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refser.errors import InvalidError, RefserError
from refser.rules.optimizers import all_optimizers
from refser.rules.patterns import Budget, TooSlow
from refser.rules.tree import WeightTree, expected_weights

GOLDEN = Path(__file__).parent / "golden"
CLASSES = [rule.class_name for rule in all_optimizers()]
WRAPPERS = ["LossScaleOptimizer", "MultiOptimizer"]


def states(tree: WeightTree) -> list[Any]:
    return [spec for spec in tree if "optimizer" in spec.path.split("/")]


# Other versions, from files that they wrote


def golden_files() -> list[Path]:
    found = []
    for path in sorted(GOLDEN.glob("*/*.keras")):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if "model.weights.h5" in archive.namelist() and b'"compile_config"' in archive.read("config.json"):
                    found.append(path)
    return found


def with_shapes(value: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = {**value, **({"build_config": other["build_config"]} if "build_config" in other else {})}
    if "layers" in value["config"]:
        inner = [with_shapes(*pair) for pair in zip(value["config"]["layers"], other["config"]["layers"])]
        found["config"] = {**value["config"], "layers": inner}
    return found


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_optimizers(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        config, metadata = archive.read("config.json").decode(), json.loads(archive.read("metadata.json"))
        data = archive.read("model.weights.h5")
    real: dict[str, tuple[tuple[int, ...], str]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name.split("/")[0] in ("optimizer", "metrics"):
            real[name] = item.shape, item.dtype.name

    with h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(visit)
    if path.parent.name == "tf-keras-2.12.0":  # it wrote no shapes; 2.13.1 saved the same model
        with zipfile.ZipFile(GOLDEN / "tf-keras-2.13.1" / path.name) as archive:
            config = json.dumps(with_shapes(json.loads(config), json.loads(archive.read("config.json"))))
    tree = expected_weights(config, keras_version=metadata["keras_version"])
    specs = {spec.path: spec for spec in tree if spec.path.split("/")[0] in ("optimizer", "metrics")}
    assert tree.opaque == ()
    assert {path: spec.shape for path, spec in specs.items()} == {path: shape for path, (shape, _) in real.items()}
    assert all(specs[path].dtype in (None, dtype) for path, (_, dtype) in real.items())


# What Keras 3.0.5, 3.6.0, 3.9.2, 3.12.0 and tf.keras 2.15.0 wrote for one Dense of kernel (3, 2) and bias (2,)
K, B = (3, 2), (2,)
VERSIONS: list[tuple[str, str, dict[str, Any], list[tuple[int, ...]], list[str]]] = [
    ("3.9.2", "SGD", {"use_ema": True, "gradient_accumulation_steps": 2}, [K, K, B, B], []),
    ("3.10.0", "SGD", {"use_ema": True, "gradient_accumulation_steps": 2}, [K, B, K, B], []),
    ("3.9.2", "Nadam", {}, [(), K, K, B, B], ["float32"]),
    ("3.12.0", "Nadam", {}, [K, K, B, B, ()], ["float32"]),
    ("3.6.0", "Adafactor", {}, [(3,), (2,), K, (), (), B], ["float32"] * 6),
    ("3.9.2", "Adafactor", {}, [(3,), (2,), K, (), (), B], ["float32"] * 3 + ["int32"] * 2 + ["float32"]),
    ("2.15.0", "Adafactor", {}, [(3,), (2,), K, B], []),
    ("2.15.0", "SGD", {}, [K, B], []),
    ("2.15.0", "Nadam", {}, [K, K, B, B], []),
    ("2.15.0", "Adam", {"use_ema": True, "amsgrad": True}, [K, B, K, K, B, B, K, B], []),
    ("2.15.0", "RMSprop", {"momentum": 0.5, "centered": True}, [K, B, K, B, K, B], []),
]


def dense_with(optimizer: Any, **config: Any) -> dict[str, Any]:
    dense = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "a", "units": 2, "use_bias": True, "trainable": True, "dtype": "float32"},
        "build_config": {"input_shape": [None, 3]},
    }
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [dense], **config},
        "compile_config": {"optimizer": optimizer, "loss": "mse"},
    }


@pytest.mark.parametrize(("version", "name", "config", "shapes", "dtypes"), VERSIONS)
def test_versions(version: str, name: str, config: dict[str, Any], shapes: list[Any], dtypes: list[str]) -> None:
    optimizer = {"module": "keras.optimizers", "class_name": name, "config": {"learning_rate": 0.1, **config}}
    found = states(expected_weights(dense_with(optimizer), keras_version=version))
    common = ["iteration"] if version.startswith("2.") else ["iteration", "learning_rate"]
    assert [spec.name for spec in found[: len(common)]] == common
    assert found[0].dtype == ("int64" if version.startswith("2.") else None)
    assert [spec.shape for spec in found[len(common) :]] == shapes
    assert [spec.dtype for spec in found[len(common) :]][: len(dtypes)] == dtypes


def test_muon_trained_tensors_of_three_axes_until_3_13() -> None:
    config = dense_with({"module": "keras.optimizers", "class_name": "Muon", "config": {"learning_rate": 0.1}})
    config["config"]["layers"] = [
        {
            "module": "keras.layers",
            "class_name": "Conv1D",
            "config": {"name": "c", "filters": 2, "kernel_size": [2], "groups": 1, "use_bias": False},
            "build_config": {"input_shape": [None, 5, 3]},
        }
    ]
    for version, count in (("3.12.0", 3), ("3.13.0", 4)):
        assert len(states(expected_weights(config, keras_version=version))) == count


@pytest.mark.parametrize(
    ("version", "inner"), [("2.12.0", "_optimizer"), ("2.14.0", "_optimizer"), ("2.15.0", "inner_optimizer")]
)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_loss_scaling_of_tf_keras(version: str, inner: str, policy: str) -> None:
    adam = {"module": "keras.optimizers", "class_name": "Adam", "config": {"learning_rate": 0.1}}
    module = "keras.mixed_precision.loss_scale_optimizer"
    around = {"module": module, "class_name": "LossScaleOptimizerV3", "config": {"inner_optimizer": adam}}
    config = dense_with(adam if policy == "mixed_float16" else around)
    config["config"]["layers"][0]["config"]["dtype"] = policy
    found = states(expected_weights(config, keras_version=version))
    assert [spec.path for spec in found] == [f"optimizer/{at}vars/{n}" for at in ("", f"{inner}/") for n in range(5)]
    assert found[0].dtype == "int64"


def test_legacy_optimizers_of_tf_keras_are_not_saved() -> None:
    legacy = {"module": "keras.optimizers.legacy", "class_name": "Adam", "config": {"decay": 0.0, "learning_rate": 0.1}}
    inner = {"class_name": "Adam", "config": legacy["config"]}
    around = {"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": inner}}
    for optimizer in (legacy, around):
        tree = expected_weights(dense_with(optimizer), keras_version="2.15.0")
        assert [path for path in tree.groups if path.startswith(("optimizer", "metrics"))] == ["metrics/mean/vars"]
        assert tree.opaque == ()


def test_frozen_layers_before_3_2_are_not_known() -> None:
    config = dense_with("adam")
    config["config"]["layers"][0]["config"]["trainable"] = False
    assert [place.path for place in expected_weights(config, keras_version="3.1.1").opaque] == ["optimizer"]
    assert expected_weights(config, keras_version="3.2.0").opaque == ()


def test_a_layer_that_was_never_built_makes_the_optimizer_opaque() -> None:
    config = dense_with("adam")
    del config["config"]["layers"][0]["build_config"]
    assert [place.path for place in expected_weights(config).opaque] == ["optimizer"]


@pytest.mark.parametrize("value", [None, "", "mine", 3, [], ["adam"]])
def test_an_optimizer_that_is_no_object(value: Any) -> None:
    tree = expected_weights(dense_with(value))
    assert [place.path for place in tree.opaque] == ([] if value is None else ["optimizer"])


# Hostile configs

REAL = [
    {"module": "keras.optimizers", "class_name": name, "config": {"name": "o", "learning_rate": 0.1, **config}}
    for name, config in (
        ("Adam", {"amsgrad": True, "use_ema": True, "gradient_accumulation_steps": 2}),
        ("SGD", {"momentum": 0.5}),
        ("RMSprop", {"momentum": 0.5, "centered": False}),
        ("Adafactor", {}),
        ("Muon", {"exclude_layers": ["a"], "exclude_embeddings": True}),
        ("Nadam", {"learning_rate": {"class_name": "function", "config": "x"}}),
    )
]
REAL += [{"module": "keras.optimizers", "class_name": "LossScaleOptimizer", "config": {"inner_optimizer": REAL[0]}}]
_MAP = {"default_optimizer": REAL[0], "optimizer_map": {"a/.*": REAL[1], "b": REAL[1] | {"shared_object_id": 1}}}
REAL += [
    {
        "module": "keras.optimizers",
        "class_name": "MultiOptimizer",
        "config": {"name": "m", "optimizer_map": {"module": "keras.optimizers", "class_name": "OptimizerMap", "config": _MAP}},
    }
]
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet="()[]{}*+?|\\^$.a-1/", max_size=12)
    | st.sampled_from([*CLASSES, *WRAPPERS, "OptimizerMap", "legacy", *REAL])
)
JSON = st.recursive(ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3))


def mutate(draw: Any, value: Any) -> Any:
    """Something else in one place of `value`, a key gone, or a key that is another."""
    if not value or not isinstance(value, (dict, list)) or draw(st.integers(0, 4)) == 0:
        return draw(JSON)
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [mutate(draw, item) if number == at else item for number, item in enumerate(value)]
    key = draw(st.sampled_from(sorted(value)))
    rest = {name: item for name, item in value.items() if name != key}
    if draw(st.integers(0, 5)) == 0:
        return rest if draw(st.booleans()) else rest | {draw(st.sampled_from(["name", "(a*", "a|b", "config"])): value[key]}
    return rest | {key: mutate(draw, value[key])}


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(REAL), st.sampled_from([None, "3.15.1", "3.9.0", "3.0.5", "2.15.0", "2.12.0"]))
def test_any_compile_config_gives_a_tree_or_a_refser_error(data: Any, optimizer: Any, version: str | None) -> None:
    config = dense_with(optimizer)
    for _ in range(data.draw(st.integers(1, 3))):
        config["compile_config"] = mutate(data.draw, config["compile_config"])
    try:
        tree = expected_weights(config, keras_version=version)
    except RefserError:
        event("refused")
        return
    event("opaque" if tree.opaque else "known")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("momentum", "much"),
        ("momentum", -1.0),
        ("learning_rate", [0.1]),
        ("gradient_accumulation_steps", 1),
        ("gradient_accumulation_steps", 2.5),
    ],
)
def test_arguments_that_keras_refuses(argument: str, value: Any) -> None:
    optimizer = {"module": "keras.optimizers", "class_name": "SGD", "config": {argument: value}}
    with pytest.raises(InvalidError) as caught:
        expected_weights(dense_with(optimizer))
    assert caught.value.problem.code == "LY-003"
    assert caught.value.problem.at == f"compile_config.optimizer.config.{argument}"


@pytest.mark.parametrize("inner", [REAL[6], REAL[7]])
def test_a_multi_optimizer_holds_no_optimizers_around_others(inner: Any) -> None:
    entries = {"default_optimizer": REAL[0], "optimizer_map": {"a/.*": inner}}
    optimizer = json.loads(json.dumps(REAL[7]))
    optimizer["config"]["optimizer_map"]["config"] = entries
    with pytest.raises(InvalidError, match="no others in them"):
        expected_weights(dense_with(optimizer))


def test_two_patterns_for_one_variable_are_refused() -> None:
    optimizer = json.loads(json.dumps(REAL[7]))
    optimizer["config"]["optimizer_map"]["config"]["optimizer_map"] = {"a/.*": REAL[1], "a/k.*|s/.*": REAL[1]}
    with pytest.raises(InvalidError, match="at most one"):
        expected_weights(dense_with(optimizer))


def test_optimizers_nested_deep_are_opaque() -> None:
    optimizer: Any = "adam"
    for _ in range(100):
        optimizer = {"module": "keras.optimizers", "class_name": "LossScaleOptimizer", "config": {"inner_optimizer": optimizer}}
    assert [place.path for place in expected_weights(dense_with(optimizer)).opaque] == ["optimizer"]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "a*a*a*a*a*a*a*a*a*a*b", "(a|a)(a|a)" * 20, r"(a*)\1\1", "(?=a)", "x" * 300]
)
def test_patterns_that_may_take_too_long_are_not_tried(pattern: str) -> None:
    with pytest.raises(TooSlow):
        Budget().search(pattern, "a" * 60)


def test_a_budget_ends() -> None:
    budget = Budget()

    def spend() -> None:
        for _ in range(1_000_000):
            budget.search("a.*b.*c", "a" * 60)

    with pytest.raises(TooSlow):
        spend()


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999}", "a{3,1}"])
def test_what_is_no_expression_is_told(pattern: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's
        Budget().fullmatch(pattern, "a")
