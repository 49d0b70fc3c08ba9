"""Would another version of Keras load it: what is predicted, and what each version of real Keras did (tests/data/targets)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_golden import GOLDEN

import refser
from refser.checks import symbols
from refser.checks.report import Finding
from refser.checks.subject import Options, Subject
from refser.checks.target import check_target, read_target
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS
from refser.values import Model, Weight

DATA = Path(__file__).parent / "data" / "targets"
TARGETS = sorted((path.stem for path in DATA.glob("*.json")), key=lambda text: [int(part) for part in text.split(".")])
MODELS: dict[str, Any] = json.loads(gzip.decompress((DATA / "models.json.gz").read_bytes()))
# What is not told from the file, by target and model: the reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("2.15.0", "2.15.0/spectral"): "it does not load the SpectralNormalization that it saved",
}


def found_in(path: str, target: str) -> list[Finding]:
    with open_layout(path, limits=DEFAULT_LIMITS) as file:
        return list(check_target(Subject(file, Options(target=target))))


@pytest.mark.parametrize(
    ("text", "said", "known"),
    [
        ("keras==3.12", "keras==3.12", "3.12.0"),
        ("3.12", "keras==3.12", "3.12.0"),
        (" keras == 3.12.1 ", "keras==3.12.1", "3.12.0"),
        ("keras==3.0.0", "keras==3.0.0", "3.0.5"),
        ("3.15.1", "keras==3.15.1", "3.15.1"),
        ("3.15", "keras==3.15", "3.15.1"),
        ("tf.keras==2.15", "tf.keras==2.15", "2.15.0"),
        ("tf_keras==2.13.0", "tf.keras==2.13.0", "2.13.1"),
        ("tf-keras==2.15", "tf.keras==2.15", "2.15.0"),
        ("keras==2.15", "tf.keras==2.15", "2.15.0"),
        ("2.12", "tf.keras==2.12", "2.12.0"),
    ],
)
def test_tg001_a_target_is_read(text: str, said: str, known: str) -> None:
    target = read_target(text)
    assert (target.text, target.known) == (said, known)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keras",
        "keras==",
        "3",
        "keras==3",
        "keras>=3.12",
        "3.12.0.1",
        "3.x",
        "torch==3.12",
        "keras=3.12",
        "3.12\n3.13",
        "9" * 99,
    ],
)
def test_tg001_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted one such as"):
        read_target(text)


@pytest.mark.parametrize("text", ["3.16", "3.15.2", "4.0", "2.11", "2.16", "1.2", "tf.keras==3.2", "keras==0.3"])
def test_tg001_a_version_that_nobody_knows_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"known are 2\.12, .*3\.14, 3\.15\.1"):
        read_target(text)


def test_tg001_without_a_target_nothing_is_asked() -> None:
    with open_layout(str(GOLDEN / "tf-keras-2.12.0" / "functional.keras"), limits=DEFAULT_LIMITS) as file:
        assert list(check_target(Subject(file, Options()))) == []


@pytest.mark.parametrize(
    ("name", "target", "codes"),
    [
        ("keras-3.15.1/sequential.keras", "3.15", set()),
        ("keras-3.15.1/sequential.keras", "3.12", {"TG-003"}),
        ("keras-3.12.0/sequential.keras", "3.6", set()),
        ("keras-3.12.0/functional.keras", "3.3", {"TG-002", "TG-003"}),
        ("keras-3.15.1/sequential.keras", "tf.keras==2.15", {"TG-002", "TG-003"}),
        ("tf-keras-2.15.0/functional.keras", "3.15", {"TG-002", "TG-003"}),
        ("tf-keras-2.12.0/sequential.hdf5.keras", "3.15", {"TG-004"}),
        ("tf-keras-2.15.0/sequential.json", "3.15", {"TG-004"}),
        ("tf-keras-2.13.1/sequential.keras", "3.12", {"TG-005"}),
        ("keras-3.9.2/sequential.dir", "3.3", {"TG-004"}),
    ],
)
def test_tg002_what_a_target_cannot_load_is_reported(name: str, target: str, codes: set[str]) -> None:
    found = found_in(str(GOLDEN / name), target)
    assert {it.code for it in found} == codes
    assert all(it.severity == "error" and it.verdict == "invalid" for it in found)
    assert refser.validate(GOLDEN / name, target=target).verdict == ("invalid" if codes else "valid")


def test_tg003_the_place_of_a_key_is_told() -> None:
    found = found_in(str(GOLDEN / "keras-3.15.1" / "sequential.keras"), "keras==3.12")
    assert any(it.at.endswith(".config.quantization_config") and "keras==3.12" in it.message for it in found)


def outcomes(target: str) -> dict[str, str]:
    results: dict[str, str] = json.loads((DATA / f"{target}.json").read_text("utf-8"))["results"]
    return results


def excepted(target: str, name: str) -> bool:
    return any(fnmatchcase(target, where) and fnmatchcase(name, which) for where, which in EXCEPTIONS)


def wrong(target: str, paths: dict[str, str]) -> Iterator[str]:
    """Where the prediction is not what that version did."""
    for name, outcome in outcomes(target).items():
        if name in paths and not excepted(target, name):
            found = found_in(paths[name], target)
            if (outcome == "loaded") == any(it.severity == "error" for it in found):
                yield f"{name}: {outcome}; {[str(it) for it in found[:2]]}"


@pytest.mark.parametrize("target", TARGETS)
def test_tg002_each_golden_file_is_loaded_or_refused_as_predicted(target: str) -> None:
    paths = {name: str(GOLDEN / name.removeprefix("golden/")) for name in outcomes(target) if name.startswith("golden/")}
    assert len(paths) > 90
    assert list(wrong(target, paths)) == []


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The small models, each in a file with weights of the right shapes."""
    folder = tmp_path_factory.mktemp("targets")
    paths = {}
    for name, facts in MODELS.items():
        paths[name] = str(folder / (name.replace("/", "-") + ".keras"))
        weights = {path: _zeros(path, dtype, shape) for path, dtype, shape in facts["weights"]}
        metadata = {"keras_version": facts["keras_version"], "date_saved": "2026-01-01@00:00:00"}
        assets = dict.fromkeys(facts["assets"], b"")
        refser.save(Model(config_json=facts["config"], metadata=metadata, weights=weights, assets=assets), paths[name])
    return paths


def _zeros(path: str, dtype: str, shape: list[int]) -> Weight:
    if dtype == "bfloat16":
        return Weight.from_array(path, np.zeros(shape, "<u2")).altered(dtype="bfloat16")
    return Weight.from_array(path, np.zeros(shape, dtype))


@pytest.mark.parametrize("target", TARGETS)
def test_tg003_each_small_model_is_loaded_or_refused_as_predicted(target: str, made: dict[str, str]) -> None:
    assert list(wrong(target, made)) == []


def test_tg003_the_proof_is_not_one_sided() -> None:
    everything = [outcome for target in TARGETS for outcome in outcomes(target).values()]
    loaded = everything.count("loaded")
    assert loaded > 500
    assert len(everything) - loaded > 500
    assert set(TARGETS) <= set(symbols.versions())
