"""The table of Keras's names and arguments: what is known of each version, and that asking costs little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refser.checks import symbols
from refser.checks.symbols import find, index_of, named, names, names_in, newest, versions


def in_version(text: str) -> int:
    return versions().index(text)


def test_ar006_every_minor_version_since_2_12_is_known_once() -> None:
    minors = [tuple(map(int, text.split(".")[:2])) for text in versions()]
    assert minors == [(2, minor) for minor in range(12, 16)] + [(3, minor) for minor in range(16)]


@pytest.mark.parametrize(
    ("version", "stands"),
    [
        ((3, 15, 1), "3.15.1"),
        ((3, 99), "3.15.1"),
        ((3, 12, 4), "3.12.0"),
        ((3, 0, 0), "3.0.5"),
        ((3, 0), "3.0.5"),
        ((2, 15, 0), "2.15.0"),
        ((2, 17), "2.15.0"),
        ((2, 12), "2.12.0"),
        ((2, 11, 0), None),
        ((1, 2, 2), None),
        ((4, 0), None),
    ],
)
def test_ar006_a_version_stands_for_its_minor_version(version: tuple[int, ...], stands: str | None) -> None:
    index = index_of(version)
    assert (None if index is None else versions()[index]) == stands


@pytest.mark.parametrize(
    ("module", "class_name", "name", "family", "kind"),
    [
        ("keras.layers", "Dense", "keras.layers.Dense", "layers", "class"),
        ("keras.src.layers.core.dense", "Dense", "keras.layers.Dense", "layers", "class"),
        (None, "Dense", "keras.layers.Dense", "layers", "class"),
        ("keras", "Sequential", "keras.Sequential", "models", "class"),
        ("keras.models", "Sequential", "keras.Sequential", "models", "class"),
        ("keras.src.models.functional", "Functional", "keras.src.models.functional.Functional", "models", "class"),
        (None, "Functional", "keras.src.models.functional.Functional", "models", "class"),
        ("builtins", "relu", "keras.activations.relu", "activations", "function"),
        ("keras.initializers", "OrthogonalInitializer", "keras.initializers.Orthogonal", "initializers", "class"),
        ("keras.optimizers", "Adam", "keras.optimizers.Adam", "optimizers", "class"),
        (None, "ADAM", "keras.optimizers.Adam", "optimizers", "class"),
        ("keras.optimizers.schedules", "CosineDecay", "keras.optimizers.schedules.CosineDecay", "schedules", "class"),
        ("keras.src.ops.numpy", "Add", "keras.src.ops.numpy.Add", "ops", "class"),
        ("keras.ops", "relu", "keras.ops.relu", "ops", "function"),
        ("keras", "DTypePolicy", "keras.DTypePolicy", "dtype_policies", "class"),
        ("keras.quantizers", "Int8QuantizationConfig", "keras.quantizers.Int8QuantizationConfig", "quantizers", "class"),
        ("keras.random", "SeedGenerator", "keras.random.SeedGenerator", "random", "class"),
        ("keras.utils", "get_file", "keras.utils.get_file", "other", "function"),
        ("keras.saving", "load_model", "keras.saving.load_model", "other", "function"),
        ("keras.layers", "deserialize", "keras.layers.deserialize", "other", "function"),
        ("keras.callbacks", "ModelCheckpoint", "keras.callbacks.ModelCheckpoint", "other", "class"),
    ],
)
def test_ar001_what_keras_has_is_found(module: str | None, class_name: str, name: str, family: str, kind: str) -> None:
    symbol = find(module, class_name)
    assert symbol is not None
    assert (symbol.name, symbol.family, symbol.kind) == (name, family, kind)


@pytest.mark.parametrize(
    ("module", "class_name"),
    [
        ("keras.layers", "Dens"),
        ("keras.layers", "dense"),
        ("keras.layers", ""),
        ("keras.layers", "get"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.src", "Dense"),
        ("keras.no_such_module", "Dense"),
        ("os", "system"),
        ("builtins", "exec"),
        (None, "Dens"),
        ("", "Dense"),
    ],
)
def test_ar001_what_keras_does_not_have_is_not_found(module: str | None, class_name: str) -> None:
    assert find(module, class_name) is None


def test_ar001_a_registered_object_is_not_keras_own() -> None:
    assert find("keras.layers", "Dense", "mine>Dense") is None
    assert find("keras.layers", "Dense", None) is find("keras.layers", "Dense", "Dense")


@pytest.mark.parametrize(
    ("class_name", "key", "since", "until"),
    [
        ("layers.Dense", "units", "2.12.0", "3.15.1"),
        ("layers.Dense", "quantization_config", "3.13.2", "3.15.1"),
        ("layers.Dense", "lora_rank", "3.0.5", "3.15.1"),
        ("layers.MultiHeadAttention", "use_gate", "3.14.0", "3.15.1"),
        ("layers.MultiHeadAttention", "sliding_window", "3.15.1", "3.15.1"),
        ("initializers.GlorotUniform", "input_axes", "3.15.1", "3.15.1"),
        ("layers.InputLayer", "batch_input_shape", "2.12.0", "2.15.0"),
        ("optimizers.Adam", "is_legacy_optimizer", "2.12.0", "2.15.0"),
    ],
)
def test_ar002_a_key_is_known_from_one_version_to_another(class_name: str, key: str, since: str, until: str) -> None:
    module, _, name = class_name.rpartition(".")
    symbol = find(f"keras.{module}", name)
    assert symbol is not None
    if key not in symbol.parameters and symbol.takes_anything(newest()):
        return
    parameter = symbol.parameters[key]
    assert (parameter.since, parameter.until) == (since, until)


def test_ar002_a_key_may_be_gone_for_some_versions() -> None:
    symbol = find("keras.layers", "BatchNormalization")
    assert symbol is not None
    assert [text for index, text in enumerate(versions()) if "renorm" in symbol.keys_in(index)] == [
        *("2.12.0", "2.13.1", "2.14.0", "2.15.0", "3.14.0", "3.15.1")
    ]


def test_ar003_what_is_required_is_known() -> None:
    dense, zeros = find("keras.layers", "Dense"), find("keras.initializers", "Zeros")
    assert dense
    assert zeros
    for index in range(len(versions())):
        assert dense.required_in(index) == ("units",)
        assert zeros.required_in(index) == ()


def test_ar004_the_strings_of_a_family_are_those_that_its_get_takes() -> None:
    assert {"relu", "swish", "linear"} <= names("activations")
    assert "celu" not in names_in("activations", in_version("3.6.0"))
    assert "celu" in names_in("activations", newest())
    assert {"mse", "MSE", "mean_squared_error", "MeanSquaredError"} <= names_in("losses", newest())
    assert "MeanIoU" in names("metrics")
    assert "MeanIoU" not in names_in("metrics", newest())  # a class that needs arguments
    assert names("no_such_family") == frozenset()
    symbol = named("losses", "mse")
    assert symbol is not None
    assert symbol.kind == "function"


def test_ar001_every_name_of_the_table_can_be_asked_for() -> None:
    count = 0
    for kind in ("class", "function"):
        for module in symbols._data()[kind]:
            for name in symbols._module(kind, module):
                symbol = find(module, name)
                assert symbol is not None
                assert symbol.mask
                assert symbol.first in versions()
                assert symbol.last in versions()
                assert all(it.versions or it.required == 0 for it in symbol.parameters.values())
                for index in (0, newest()):
                    assert set(symbol.required_in(index)) <= symbol.keys_in(index)
                count += 1
    assert count > 2000


@given(st.none() | st.sampled_from(["keras", "keras.layers", "builtins"]) | st.text(max_size=30), st.text(max_size=30))
def test_ar001_any_name_can_be_asked_for(module: str | None, name: str) -> None:
    symbol = find(module, name, name)
    assert symbol is None or symbol.mask


def test_ar001_names_of_a_file_are_not_kept() -> None:
    find("keras.layers", "Dense")
    before = symbols._table.cache_info().currsize, symbols._symbol.cache_info().currsize
    for number in range(1000):
        find(f"keras.m{number}", f"C{number}")
        find(None, f"C{number}")
        named(f"f{number}", f"s{number}")
    after = symbols._table.cache_info().currsize, symbols._symbol.cache_info().currsize
    assert after[1] == before[1]
    assert after[0] <= before[0] + 40
