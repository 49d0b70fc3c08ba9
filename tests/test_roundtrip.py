"""Any model, written in any layout, reads back as the same model, bit for bit, without Keras."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import refser
from refser.layouts import LAYOUTS
from refser.values import DTYPES, ByteRange, MemoryBytes, Model, Weight, WeightGroup, groups_of

NAMES = {"keras-zip": "m.keras", "keras-dir": "m", "weights-h5": "m.weights.h5", "weights-sharded": "m.weights.json"}
LEGACY = {"legacy-h5": "m.h5", "legacy-weights-h5": "w.h5"}
COMMON = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

# H5-008: any Unicode without NUL and "/", and no name that acts as a path.
text = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=6)
link_names = text.filter(lambda name: name not in (".", ".."))
attribute_names = link_names.filter(lambda name: name != "vars")
numeric = sorted(set(DTYPES) - {"string"})


@st.composite
def weights_at(draw: st.DrawFn, path: str, dtypes: list[str]) -> Weight:
    dtype = draw(st.sampled_from(dtypes))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    itemsize = draw(st.integers(1, 5)) if dtype == "string" else math.ceil(DTYPES[dtype][1] / 8)
    data = draw(st.binary(min_size=itemsize * math.prod(shape), max_size=itemsize * math.prod(shape)))
    if dtype == "bool":
        data = bytes(byte & 1 for byte in data)
    big = dtype in numeric and itemsize > 1 and DTYPES[dtype][0][0] in "iuf" and draw(st.booleans())
    event(f"{'big' if big else 'little'}-endian, {'scalar' if not shape else 'empty' if not data else 'array'}")
    return Weight(path=path, dtype=dtype, shape=shape, big_endian=big, source=ByteRange(MemoryBytes(data), 0, len(data)))


@st.composite
def json_objects(draw: st.DrawFn) -> dict[str, Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=8)
    return draw(st.dictionaries(text, values, max_size=4))


@st.composite
def v3_models(draw: st.DrawFn, dtypes: list[str] = numeric) -> Model:
    paths = draw(st.lists(st.lists(attribute_names, min_size=1, max_size=3).map("/".join), unique=True, max_size=4))
    weights: dict[str, Weight] = {}
    groups = []
    for path in sorted([*(f"{path}/vars" for path in paths), "vars"], key=lambda path: [p.encode() for p in path.split("/")]):
        names = st.integers(0, 30).map(str) | st.lists(attribute_names, min_size=1, max_size=2).map("/".join)
        keys = draw(st.lists(names, unique=True, max_size=4).map(_no_prefixes).map(_in_order))
        groups.append(WeightGroup(path=path, name=draw(st.none() | text), keys=tuple(keys)))
        for key in keys:
            weights[f"{path}/{key}"] = draw(weights_at(f"{path}/{key}", dtypes))
    assets = draw(
        st.dictionaries(st.lists(asset_names, min_size=1, max_size=2).map("/".join), st.binary(max_size=20), max_size=3)
    )
    assets = {name: data for name, data in assets.items() if not any(other.startswith(f"{name}/") for other in assets)}
    return Model(
        config_json=json.dumps(draw(json_objects())),
        metadata=draw(json_objects()),
        weights=weights,
        assets=assets,
        groups=tuple(groups),
    )


asset_names = st.text("abAB09 _-.é", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))


def _no_prefixes(keys: list[str]) -> list[str]:
    return [key for key in keys if not any(other != key and other.startswith(f"{key}/") for other in keys)]


def _in_order(keys: list[str]) -> list[str]:
    """The order that a reader gives: by number at each level [WH-004]."""
    return sorted(keys, key=lambda key: [_rank(part) for part in key.split("/")])


def _rank(part: str) -> tuple[int, int, str]:
    return (0, int(part), part) if part.isascii() and part.isdigit() and len(part) < 10 else (1, 0, part)


@st.composite
def legacy_models(draw: st.DrawFn) -> Model:
    layers = draw(st.lists(link_names.filter(lambda name: name != "top_level_model_weights"), unique=True, max_size=4))
    paths = [f"model_weights/{layer}" for layer in layers]
    if draw(st.booleans()):
        paths.append("model_weights/top_level_model_weights")
    if draw(st.booleans()):
        paths.append("optimizer_weights")
    groups, weights = [], {}
    for path in paths:
        keys = _no_prefixes(draw(st.lists(st.lists(link_names, min_size=1, max_size=3).map("/".join), unique=True, max_size=4)))
        groups.append(WeightGroup(path=path, name=path.removeprefix("model_weights/"), keys=tuple(keys)))
        for key in keys:
            weights[f"{path}/{key}"] = draw(weights_at(f"{path}/{key}", sorted(DTYPES)))
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    return Model(
        generation="legacy",
        config_json=json.dumps(draw(json_objects())),
        training_config=draw(st.none() | json_objects().map(json.dumps)),
        metadata=draw(st.fixed_dictionaries({}, optional={"keras_version": texts, "backend": texts})),
        weights=weights,
        groups=tuple(groups),
    )


def through(model: Model, layout: str, name: str, **options: Any) -> Model:
    """Written by refser and read again; the file is written twice and both are the same bytes [IO-009]."""
    with tempfile.TemporaryDirectory() as folder:
        target, again = Path(folder, "a", name), Path(folder, "b", name)
        for path in (target, again):
            path.parent.mkdir()
            refser.save(model, path, layout=layout, **options)
        assert contents(target.parent) == contents(again.parent)
        with refser.open(target) as file:
            assert file.layout == layout
            return file.load()


def contents(folder: Path) -> dict[str, bytes | None]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@COMMON
@given(model=v3_models(sorted(DTYPES)), layout=st.sampled_from(["keras-zip", "keras-dir"]))
def test_kz002_a_whole_model_survives_archive_and_directory(model: Model, layout: str) -> None:
    assert through(model, layout, NAMES[layout]) == model


@COMMON
@given(model=v3_models(), layout=st.sampled_from(["weights-h5", "weights-sharded"]), cap=st.integers(64, 400))
def test_wh010_weights_survive_one_file_and_shards(model: Model, layout: str, cap: int) -> None:
    largest = max((weight.nbytes for weight in model.weights.values()), default=0)
    options = {"max_shard_size": max(cap, largest) / 1024**3} if layout == "weights-sharded" else {}
    found = through(model, layout, NAMES[layout], **options)
    assert found == Model(weights=model.weights, groups=model.groups)


@COMMON
@given(model=legacy_models(), layout=st.sampled_from(sorted(LEGACY)))
def test_lh015_a_legacy_model_survives(model: Model, layout: str) -> None:
    found = through(model, layout, LEGACY[layout])
    if layout == "legacy-h5":
        assert found == model
    else:
        layers = [group for group in model.groups if group.path != "optimizer_weights"]
        assert [group.keys for group in found.groups] == [group.keys for group in layers]
        assert [group.path for group in found.groups] == [group.path.removeprefix("model_weights/") for group in layers]
        want = {
            path.removeprefix("model_weights/"): weight for path, weight in model.weights.items() if path.startswith("model")
        }
        assert found.weights == {path: replace(weight, path=path) for path, weight in want.items()}
        assert found.metadata == model.metadata


@given(config=json_objects())
def test_cf001_a_config_survives(config: dict[str, Any]) -> None:
    model = Model(config_json=json.dumps({"class_name": "A", "config": config}, indent=1, ensure_ascii=False))
    assert through(model, "config-json", "m.json") == model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_io009_every_layout_is_tried_here(layout: str) -> None:
    assert layout in {*NAMES, *LEGACY, "config-json"}


def test_groups_are_made_from_paths() -> None:
    """WH-001, WH-002, LH-010."""
    assert [group.path for group in groups_of(["a/vars/0", "a/vars/x/1"], "v3")] == ["vars", "a/vars"]
    legacy = groups_of(["model_weights/d/d/kernel:0", "optimizer_weights/i"], "legacy")
    assert [(group.path, group.keys) for group in legacy] == [
        ("model_weights/d", ("d/kernel:0",)),
        ("optimizer_weights", ("i",)),
    ]
