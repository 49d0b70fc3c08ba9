"""What is asserted of one model: Keras saves and refser reads; refser writes and Keras loads.  Imports Keras late."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from builders import CANNOT_LOAD, CannotLoad, Description
from h5tree import h5_tree, weights_tree
from live import Value, facts_of, from_config, legacy_values, predictions, record, value_of, variables_of

import refser

MODELS, WEIGHTS = ("keras-zip", "keras-dir"), ("weights-h5", "weights-sharded")
LEGACY = ("legacy-h5", "legacy-weights-h5")
LEGACY_COPIES = (("legacy-h5", "legacy-h5"), ("legacy-h5", "legacy-weights-h5"), ("legacy-weights-h5", "legacy-weights-h5"))
NAMES = {
    "keras-zip": "m.keras",
    "keras-dir": "m",
    "weights-h5": "m.weights.h5",
    "weights-sharded": "m.weights.json",
    "legacy-h5": "m.h5",
    "legacy-weights-h5": "w.h5",
}


def shard_cap(values: Mapping[str, Value]) -> int:
    """Bytes that make about four shards, and no less than the largest array."""
    sizes = [len(value.data) for value in values.values()]
    return max([sum(sizes) // 4, *sizes, 1])


def savers(model: Any) -> dict[str, Callable[[str], None]]:
    """Layout -> how Keras itself saves it."""
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    def legacy_weights(path: str) -> None:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)

    cap = shard_cap(record(model).values) / 1024**3
    return {
        "keras-zip": model.save,
        "keras-dir": lambda path: keras.saving.save_model(model, path, zipped=False),
        "weights-h5": model.save_weights,
        "weights-sharded": lambda path: model.save_weights(path, max_shard_size=cap),
        "legacy-h5": model.save,
        "legacy-weights-h5": legacy_weights,
    }


def values_of(file: Any) -> dict[str, Value]:
    return {path: Value(weight.dtype, weight.shape, weight.tobytes()) for path, weight in file.weights.items()}


def check_current(model: Any, path: Path, layout: str) -> None:
    """A file of the current generation, as refser reads it, against the live model."""
    want = record(model)
    held = set(want.values.values())
    for variable in variables_of(model):
        assert id(variable) in want.given or value_of(variable) in held, f"Keras does not store {variable.path}"
    with refser.open(path) as file:
        assert file.layout == layout
        found = values_of(file)
        assert {p: (v.dtype, v.shape) for p, v in found.items()} == {p: (v.dtype, v.shape) for p, v in want.values.items()}
        assert found == want.values
        for weight in file.weights.values():
            assert value_of(weight.array()) == found[weight.path]
        names = {group.path: group.name for group in file.groups}
        if layout != "weights-sharded":  # there a group without variables may be absent
            assert names == {"vars": None, **want.groups}
        else:
            assert names.items() <= {"vars": None, **want.groups}.items()
        for group in file.groups:
            numbers = [int(key) for key in group.keys if key.isdigit()]
            assert numbers == sorted(numbers)
        config, assets = stored_parts(path)
        assert file.config_json == config
        assert dict(file.assets) == assets


def check_legacy(model: Any, path: Path, layout: str) -> None:
    """A legacy file, as refser reads it, against the live model."""
    want = legacy_values(model, whole=layout == "legacy-h5")
    with refser.open(path) as file:
        assert file.layout == layout
        assert list(file.weights) == list(want)
        assert values_of(file) == want
        with h5py.File(path) as raw:
            assert file.config_json == raw.attrs.get("model_config")
            assert file.training_config == raw.attrs.get("training_config")


def stored_parts(path: Path) -> tuple[str | None, dict[str, bytes]]:
    """Config text and assets, taken without refser."""
    if path.is_dir():
        files = [file for file in (path / "assets").rglob("*") if file.is_file()]
        assets = {file.relative_to(path / "assets").as_posix(): file.read_bytes() for file in files}
        return (path / "config.json").read_bytes().decode("utf-8"), assets
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        assets = {name.removeprefix("assets/"): data for name, data in parts.items() if name.startswith("assets/")}
        return parts["config.json"].decode("utf-8"), assets
    return None, {}


@dataclass(frozen=True)
class Loaded:
    """All that can be told of a model that Keras has loaded."""

    values: Mapping[str, Value]
    predictions: list[Value]
    words: list[list[str]]


def load(path: Path, layout: str, config: str | None, description: Description) -> Loaded:
    """Load with Keras.  `config` is that of a fresh model, for the layouts that have only weights."""
    import custom
    import keras

    if layout in MODELS or layout == "legacy-h5":
        model = keras.saving.load_model(path)
    else:
        assert config is not None
        model = from_config(config)
        model.load_weights(path)
    words = [layer.words for layer in model._flatten_layers() if isinstance(layer, custom.Odd)]
    return Loaded(record(model).values, predictions(model, description), words)


def check_copies(model: Any, description: Description, folder: Path) -> None:
    """Every copy between the layouts of the current generation against Keras's own file of the copy's layout."""
    own, copies = folder / "own", folder / "copies"
    own.mkdir(), copies.mkdir()
    for layout in MODELS + WEIGHTS:
        savers(model)[layout](str(own / NAMES[layout]))
    config, assets = stored_parts(own / NAMES["keras-zip"])
    walked = list(record(model).values)
    cap = shard_cap(record(model).values)
    theirs = {layout: load(own / NAMES[layout], layout, config, description) for layout in MODELS + WEIGHTS}
    assert theirs["keras-zip"].predictions == predictions(model, description)
    for source in MODELS + WEIGHTS:
        loaded = refser.load(own / NAMES[source])
        for target in MODELS + WEIGHTS if source in MODELS else WEIGHTS:
            path = copies / source / NAMES[target]
            path.parent.mkdir(exist_ok=True)
            refser.save(loaded, path, max_shard_size=cap / 1024**3 if target == "weights-sharded" else None)
            try:
                assert load(path, target, config, description) == theirs[target]
                if target in MODELS:
                    assert stored_parts(path) == (stored_parts(own / NAMES[source])[0], assets)
                if target == "weights-sharded":
                    check_shards(path, cap, list(loaded.weights), own / NAMES[target], walked)
                elif source != "weights-sharded":  # from shards, a group without variables cannot come back
                    assert weights_tree(path) == weights_tree(own / NAMES[target])
            except Exception as error:
                error.add_note(f"{source} -> {target} of {description}") if hasattr(error, "add_note") else None
                raise


def save_legacy(model: Any, layout: str, path: Path, rows: list[CannotLoad]) -> str | None:
    """Save with Keras; the name of the exception if Keras refuses, as it must exactly where the table says so."""
    refused = [row for row in rows if layout in row.layouts and not row.saves]
    try:
        savers(model)[layout](str(path))
    except Exception as error:
        path.unlink(missing_ok=True)
        if names := [row.name for row in refused if row.is_met(str(error))]:
            return names[0]
        raise
    assert not refused, f"Keras does save {[row.name for row in refused]}"
    return None


def exceptions_of(model: Any, description: Description) -> list[CannotLoad]:
    """The rows of the table that apply."""
    facts = facts_of(model)
    return [row for row in CANNOT_LOAD if row.applies(description, facts)]


def check_legacy_copies(model: Any, description: Description, folder: Path) -> list[str]:
    """As `check_copies`, for the legacy layouts; gives the names of the exceptions that were met."""
    own, copies = folder / "own", folder / "copies"
    own.mkdir(), copies.mkdir()
    config = model_config(model)
    rows = exceptions_of(model, description)
    refused = {layout: save_legacy(model, layout, own / NAMES[layout], rows) for layout in LEGACY}
    met = [name for name in refused.values() if name]
    for source, target in LEGACY_COPIES:
        if refused[source]:
            continue
        path = copies / source / NAMES[target]
        path.parent.mkdir(exist_ok=True)
        refser.save(refser.load(own / NAMES[source]), path, layout=target)
        assert weights_tree(path) == weights_tree(own / NAMES[target])
        theirs, ours = (attempt(place / NAMES[target], target, config, description) for place in (own, path.parent))
        assert ours == theirs
        failure = theirs if isinstance(theirs, str) else ""
        expected = [row for row in rows if target in row.layouts and row.saves]
        found = [row.name for row in expected if row.is_met(failure)]
        assert bool(failure) == bool(expected) == bool(found), f"{failure!r}; expected {[row.error for row in expected]}"
        met += found
    return met


def attempt(path: Path, layout: str, config: str | None, description: Description) -> Loaded | str:
    """What Keras loads, or how it fails."""
    try:
        return load(path, layout, config, description)
    except Exception as error:  # whatever Keras raises: the copy has to fail like the original
        return f"{type(error).__name__}: {error}".replace(str(path), "")


def model_config(model: Any) -> str:
    """The config that a file of the current generation would hold."""
    from keras.src.saving import serialization_lib

    return json.dumps(serialization_lib.serialize_keras_object(model))


def check_shards(index: Path, cap: int, order: list[str], keras_index: Path, keras_order: list[str]) -> None:
    """Shards filled as Keras fills them: one after another, none over the cap, none begun while the last had room.

    Keras takes the arrays in the order of its walk (`keras_order`), which a file does not tell; refser in the file's
    (`order`).  Where the two are one, so are the shards.
    """
    ours, theirs = (json.loads(file.read_text("utf-8")) for file in (index, keras_index))
    assert list(ours) == list(theirs) == ["metadata", "weight_map"]
    assert json.dumps(ours["metadata"]) == json.dumps(theirs["metadata"])
    assert ours["weight_map"].keys() == theirs["weight_map"].keys()
    names = sorted(file.name for file in index.parent.glob("m_*.weights.h5"))
    assert names == [f"m_{number:05}.weights.h5" for number in range(len(names))]
    assert _shard_names(ours) == set(names) or not ours["weight_map"]
    held: dict[str, Any] = {}
    room = 0.0
    for name in names:
        arrays = {path[1:]: node for path, node in h5_tree(index.with_name(name)).items() if "data" in node}
        assert (list(arrays) and sorted(arrays, key=order.index) == order[len(held) : len(held) + len(arrays)]) or not order
        sizes = [keras_size(arrays[path]) for path in sorted(arrays, key=order.index)]
        assert sum(sizes) <= cap
        assert not held or sizes[0] > room
        room = cap - sum(sizes)
        held |= arrays
    want: dict[str, Any] = {}
    for name in _shard_names(theirs):
        want |= {path[1:]: node for path, node in h5_tree(keras_index.with_name(name)).items() if "data" in node}
    assert held == want
    if order == keras_order:
        assert index.read_bytes() == keras_index.read_bytes()


def keras_size(node: dict[str, Any]) -> float:
    """Bytes as Keras counts them: a bool is a bit."""
    return len(node["data"]) / (8 if node["type"][0] == h5py.h5t.ENUM else 1)


def _shard_names(index: dict[str, Any]) -> set[str]:
    return {name for value in index["weight_map"].values() for name in ([value] if isinstance(value, str) else value)}
