"""WT: the walk, on configs written by hand.  Against real Keras: tests/keras/test_rules_*.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import refser
from refser.rules import Child, Layer, Rule, Var, register, table
from refser.rules.tree import expected_weights

GOLDEN = Path(__file__).parent / "golden"


def dense(name: str, *, built: bool = True, **more: Any) -> dict[str, Any]:
    build = {"build_config": {"input_shape": [None, 2]}} if built else {}
    return {"class_name": "Dense", "config": {"name": name, "units": 2, **more}, **build}


def sequential(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers), **more}}


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taught is forgotten afterwards."""
    table.all_rules()  # or they would be loaded into what is forgotten
    monkeypatch.setattr(table, "_RULES", dict(table._RULES))


def test_wt002_layers_come_before_the_optimizer() -> None:
    model = sequential(dense("a")) | {"compile_config": {"optimizer": {"class_name": "SGD", "config": {"name": "sgd"}}}}
    assert list(expected_weights(model).groups) == ["vars", "layers/dense/vars", "optimizer/vars"]
    assert list(expected_weights(model, optimizer=False).groups) == ["vars", "layers/dense/vars"]


def test_wt006_a_member_met_before_counts() -> None:
    again = dense("a") | {"shared_object_id": 5}
    tree = expected_weights(sequential(dense("a"), again, dense("b")))
    assert list(tree.groups) == ["vars", "layers/dense/vars", "layers/dense_2/vars"]


def test_wt008_an_id_alone_makes_no_object_the_same() -> None:
    other = dense("b") | {"shared_object_id": 5}
    tree = expected_weights(sequential(dense("a") | {"shared_object_id": 5}, other))
    assert list(tree.groups) == ["vars", "layers/dense/vars", "layers/dense_1/vars"]


@pytest.mark.parametrize(("version", "groups"), [("3.15.0", ["vars", "parts/container/dense/vars"]), ("3.12.0", ["vars"])])
def test_wt007_containers_in_containers(version: str, groups: list[str], taught: None) -> None:
    def children(layer: Layer) -> list[Child]:
        inner = layer.sub("Dense", {"units": 3}, name="inner", build={"input_shape": (None, 2)})
        return [Child("parts", [[inner]])]

    register("mine>Nest", Rule("Nest", children=children))
    nest = {"module": "mine", "class_name": "Nest", "registered_name": "mine>Nest", "config": {"name": "n"}}
    assert list(expected_weights(nest, keras_version=version).groups) == groups


def test_wt013_layers_that_were_not_built_have_groups_and_no_arrays() -> None:
    tree = expected_weights(sequential(dense("a", built=False)))
    assert (list(tree.groups), list(tree), list(tree.opaque)) == (["vars", "layers/dense/vars"], [], [])


def test_wt020_what_is_trained() -> None:
    tree = expected_weights(sequential(dense("a"), dense("b", trainable=False)))
    assert [spec.trainable for spec in tree] == [True, True, False, False]


def test_ly020_a_class_of_keras_is_not_taught_again() -> None:
    with pytest.raises(ValueError, match="a class of Keras"):
        register("Dense", Rule("Dense", (Var("other", "1"),)))
    assert expected_weights(dense("a"))[0].name == "kernel"


def files() -> list[Path]:
    found = []
    for path in sorted(GOLDEN.glob("*/*")):
        if path.suffix in (".keras", ".dir") and ".npz" not in path.name and ".hdf5" not in path.name:
            found.append(path)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_golden_files_have_the_expected_weights(path: Path) -> None:
    with refser.open(path) as file:
        assert file.config_json is not None
        tree = expected_weights(file.config_json, keras_version=file.keras_version)
        assert not tree.opaque
        found = {inner: (weight.shape, weight.dtype) for inner, weight in file.weights.items()}
        assert {spec.path: (spec.shape, spec.dtype or found[spec.path][1]) for spec in tree} == found
        assert set(tree.groups) == {group.path for group in file.groups}
        assert {name for group in file.groups if (name := group.name) and (tree.groups[group.path] or name) != name} == set()
        assert sorted(tree.assets) == sorted(file.assets)


def test_ly003_a_fault_is_where_it_is() -> None:
    with pytest.raises(refser.InvalidError) as caught:
        expected_weights(sequential(dense("a"), dense("b") | {"config": {"name": "b", "units": "many"}}))
    assert caught.value.problem.at == "config.layers[1].config.units"
    with pytest.raises(refser.InvalidError) as caught:
        expected_weights(dense("a") | {"config": {"name": "a", "units": 0}})
    assert caught.value.problem.at == "config.units"


def test_numpy_is_not_needed() -> None:
    config = json.dumps(sequential(dense("a")))
    script = f"import sys, refser; refser.expected_weights({config!r}); print('numpy' in sys.modules, 'h5py' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.legacy.h5")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_golden_legacy_files_have_names(path: Path) -> None:
    """Keras 1.2.2 to 3.15.1: each array of a layer is known, in whatever way its version names it."""
    with refser.open(path) as file:
        weights = [weight for weight in file.weights.values() if not weight.path.startswith("optimizer_weights")]
        assert weights
        paths = [weight.variable_path for weight in weights]
        assert None not in paths
        assert len(set(paths)) == len(paths)
        for weight in weights:
            assert weight.name
            assert weight.path.partition("/")[2].startswith(str(weight.variable_path).partition("/")[0])


def test_ly002_shapes_of_absurd_rank_are_refused() -> None:
    layer = {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, *[10] * 6000]}}
    flat = {"class_name": "Flatten", "config": {"name": "f"}}
    with pytest.raises(refser.InvalidError) as caught:
        expected_weights(sequential(layer, flat, dense("d", built=False)))
    assert caught.value.problem.code == "LY-002"
    reshape = {"class_name": "Reshape", "config": {"name": "r", "target_shape": [1 << 60] * 3000}}
    small = {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, 4]}}
    with pytest.raises(refser.RefserError) as refused:
        expected_weights(sequential(small, reshape, flat, dense("d", built=False)))
    assert len(str(refused.value)) < 500


def test_ly004_a_variable_of_absurd_rank_is_refused() -> None:
    norm = {"class_name": "LayerNormalization", "config": {"name": "n", "axis": [-1] * 5000}}
    with pytest.raises(refser.InvalidError):
        expected_weights(norm | {"build_config": {"input_shape": [None, 4]}})


def test_arguments_of_other_kinds_are_told() -> None:
    with pytest.raises(ValueError, match="generation"):
        expected_weights(dense("a"), generation="keras-2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="version"):
        expected_weights(dense("a"), keras_version=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="wanted JSON text"):
        refser.build(None)  # type: ignore[arg-type]
