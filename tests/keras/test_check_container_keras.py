"""What the container's findings rest on: what Keras does with such archives and directories, and that it writes none."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refser.checks.container import check_container
from refser.checks.report import of_error, of_problem
from refser.checks.subject import Options, Subject
from refser.layouts import open_layout
from refser.limits import UNTRUSTED_LIMITS

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]


def said(path: Path) -> set[str]:
    """The IDs of errors and warnings, after a deep look."""
    found: list[Any] = []
    with open_layout(str(path), limits=UNTRUSTED_LIMITS, refuse=lambda error: found.append(of_error(error))) as file:
        subject = Subject(file, Options(deep=True))
        found += [*map(of_problem, file.problems), *check_container(subject), *subject.found]
    return {it.code for it in found if it.severity != "info"}


def model(bias: float = 0.0) -> Any:
    import keras

    made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, name="d")], name="s")
    made.layers[0].set_weights([np.ones((2, 1)), np.full(1, bias)])
    return made


def bias_of(path: Path) -> float:
    import keras

    return float(keras.saving.load_model(path).layers[0].get_weights()[1][0])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.keras"
    model().save(path)
    return path


def test_kz020_every_way_of_saving_gives_a_sound_container(tmp_path: Path) -> None:
    made = model()
    made.compile(optimizer="adam", loss="mse")
    made.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    made.save(tmp_path / "m.keras")
    made.save(tmp_path / "m", zipped=False)
    made.save(tmp_path / "m.h5")
    made.save_weights(tmp_path / "m.weights.h5")
    made.save_weights(tmp_path / "m.weights.json", max_shard_size=1)
    (tmp_path / "m.json").write_text(made.to_json())
    for name in ("m.keras", "m", "m.h5", "m.weights.h5", "m.weights.json", "m.json"):
        assert said(tmp_path / name) == set(), name


def test_kz021_kz022_keras_loads_what_has_bytes_in_front_or_behind(saved: Path) -> None:
    data = saved.read_bytes()
    for changed, code in ((b"#!/bin/sh\n" + data, "KZ-021"), (data + b"more", "KZ-022")):
        saved.write_bytes(changed)
        assert bias_of(saved) == 0
        assert said(saved) == {code}


def test_kz004_keras_takes_the_last_of_two_members(saved: Path, tmp_path: Path) -> None:
    model(7).save(tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "other.keras") as other:
        weights = other.read("model.weights.h5")
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("model.weights.h5", weights)
    assert bias_of(saved) == 7
    assert said(saved) == {"KZ-004"}


def test_kz033_kz034_keras_never_reads_the_metadata(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for metadata, code in ((None, "KZ-033"), (b"[", "JS-002"), (b"[]", "JS-005"), (b'{"keras_version": "new"}', "KZ-034")):
        with zipfile.ZipFile(saved, "w") as archive:
            for name, data in members.items():
                if name != "metadata.json" or metadata is not None:
                    archive.writestr(name, metadata if name == "metadata.json" and metadata is not None else data)
        assert bias_of(saved) == 0
        assert said(saved) == {code}


def test_ft015_keras_goes_by_the_name_where_refser_goes_by_the_bytes(saved: Path, tmp_path: Path) -> None:
    model(7).save_weights(tmp_path / "m.weights.h5")
    saved.write_bytes((tmp_path / "m.weights.h5").read_bytes() + saved.read_bytes())
    assert bias_of(saved) == 0  # of the archive behind
    assert "FT-015" in said(saved)


def test_kd009_keras_leaves_assets_out_where_there_are_three_entries(tmp_path: Path) -> None:
    import keras

    loaded: list[list[str]] = []

    @keras.saving.register_keras_serializable("refser_container")
    class Asset(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

        def save_assets(self, folder: str) -> None:
            Path(folder, "a.txt").write_text("x")

        def load_assets(self, folder: str) -> None:
            loaded.append(os.listdir(folder))

    path = tmp_path / "m"
    keras.Sequential([keras.layers.Input((2,)), Asset()]).save(path, zipped=False)
    for remove, add, told, wanted in (
        ("", "", set(), [["a.txt"]]),
        ("metadata.json", "", {"KD-009"}, []),
        ("", "README.md", {"KD-004", "KD-008"}, [["a.txt"]]),
    ):
        if remove:
            (path / remove).unlink()
        if add:
            (path / add).write_text("")
        loaded.clear()
        keras.saving.load_model(path)
        assert (loaded, said(path)) == (wanted, told)


def test_kz035_keras_makes_the_model_before_it_misses_the_weights(saved: Path) -> None:
    import keras

    made: list[str] = []

    @keras.saving.register_keras_serializable("refser_container")
    class Noted(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self.name)

        def call(self, x: Any) -> Any:
            return x

    keras.Sequential([keras.layers.Input((2,)), Noted(name="noted")]).save(saved)
    with zipfile.ZipFile(io.BytesIO(saved.read_bytes())) as archive, zipfile.ZipFile(saved, "w") as alone:
        alone.writestr("config.json", archive.read("config.json"))
    made.clear()
    with pytest.raises(ValueError, match="Expected a"):
        keras.saving.load_model(saved)
    assert made == ["noted"]
    assert said(saved) == {"KZ-009", "KZ-033"}
