"""Every golden file, saved by real Keras, against a manifest that was taken from it without refser."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import refser

GOLDEN = Path(__file__).parent / "golden"
FILES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))["files"]
REFUSED = {"npz": "NZ-001", "saved-model": "FT-011"}
READ = sorted(name for name, entry in FILES.items() if entry["layout"] not in REFUSED)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", READ)
def test_golden_file_reads_as_its_manifest_says(name: str) -> None:
    """WH-001, WH-003, WH-004, WH-007, LH-001, LH-004, LH-007, LH-010, LH-012, KD-001, KZ-001, SH-002, CF-001, VA-001."""
    want = FILES[name]
    with refser.open(GOLDEN / name) as file:
        assert file.layout == want["layout"]
        if want["config_sha256"] is None:
            assert file.config_json is None
        else:
            assert file.config_json is not None
            assert sha256(file.config_json.encode("utf-8")) == want["config_sha256"]
            assert isinstance(file.config, dict)
        if file.metadata:
            assert file.keras_version == want["keras_version"]
        assert {path: sha256(data) for path, data in file.assets.items()} == want["assets"]
        found = [
            {"path": path, "shape": list(w.shape), "dtype": w.dtype, "sha256": sha256(w.tobytes())}
            for path, w in file.weights.items()
        ]
        assert found == want["tensors"]
        for weight in file.weights.values():
            array = weight.array()
            assert array.shape == weight.shape
            assert array.dtype.name == weight.dtype
            assert not array.flags.writeable


@pytest.mark.parametrize("name", sorted(name for name, entry in FILES.items() if entry["layout"] in REFUSED))
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    """NZ-001, FT-011."""
    with pytest.raises(refser.UnsupportedError) as caught:
        refser.open(GOLDEN / name)
    assert caught.value.problem.code == REFUSED[FILES[name]["layout"]]


def test_every_golden_file_is_in_the_manifest() -> None:
    shards = {path.name for path in GOLDEN.rglob("*_0*.weights.h5")}
    found = {
        path.relative_to(GOLDEN).as_posix()
        for folder in GOLDEN.iterdir()
        if folder.is_dir() and folder.name != "make"
        for path in folder.iterdir()
        if path.name not in shards
    }
    assert found == set(FILES)
