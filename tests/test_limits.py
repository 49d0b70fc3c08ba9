"""Limits (LI): each field stops a file that is over it, with its own code, and lets through one that is not."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import CONFIG, everything, h5_bytes, keras_members, refused, write, zip_bytes

import refser
from refser import limits as limits_module
from refser.errors import LimitError, UnsafeError, UnsupportedError
from refser.limits import DEFAULT_LIMITS, Limits


def weights(fill: Callable[[h5py.File], object], **options: Any) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "m.weights.h5", h5_bytes(fill, **options))


def archive(**more: bytes) -> Callable[[Path], Path]:
    members = keras_members() | {f"assets/{name}": data for name, data in more.items()}
    return lambda folder: write(folder / "m.keras", zip_bytes(members))


def config(text: bytes) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "m.json", text)


def shards(folder: Path) -> Path:
    places = {}
    for number in range(3):
        name = f"m_{number:05}.weights.h5"
        write(folder / name, h5_bytes(lambda file, number=number: file.create_dataset(f"{number}/vars/0", data=np.float32(1))))
        places[f"/{number}/vars"] = name
    return write(folder / "m.weights.json", json.dumps({"metadata": {}, "weight_map": places}).encode())


def linked_shard(folder: Path) -> Path:
    path = shards(folder)
    (folder / "m_00001.weights.h5").rename(folder / "elsewhere")
    (folder / "m_00001.weights.h5").symlink_to(folder / "elsewhere")
    return path


TEXT = h5py.string_dtype()
APART = {"libhdf5_apart", "libhdf5_seconds", "libhdf5_bytes"}  # of the other process: test_h5_child
# field -> (code, the file, the value that lets it through, the value that does not)
CASES: dict[str, tuple[str, Callable[[Path], Path], Any, Any]] = {
    "json_bytes": ("LI-001", config(CONFIG), len(CONFIG), len(CONFIG) - 1),
    "json_depth": ("LI-002", config(b'{"class_name": "M", "config": [[[]]]}'), 4, 3),
    "zip_members": ("LI-003", archive(a=b"", b=b""), 5, 4),
    "inflated_bytes": ("LI-004", weights(lambda f: f.create_dataset("vars/0", data=np.zeros(9), chunks=(9,))), 72, 71),
    "hdf5_objects": ("LI-005", weights(lambda f: f.create_group("a/b/vars")), 4, 3),
    "hdf5_depth": ("LI-006", weights(lambda f: f.create_group("a/b/vars")), 3, 2),
    "attribute_bytes": ("LI-007", weights(lambda f: f.attrs.__setitem__("a", np.zeros(10, "u1"))), 10, 9),
    "asset_bytes": ("LI-008", archive(a=b"12345"), 5, 4),
    "shards": ("LI-009", shards, 3, 2),
    "unstored_bytes": ("LI-010", weights(lambda f: f.create_dataset("vars/0", (9,), "f8")), 72, 71),
    "allow_libhdf5": (
        "LI-012",
        weights(lambda f: f.create_dataset("vars/0", data=["a"], dtype=h5py.string_dtype())),
        True,
        False,
    ),
    "libhdf5_apart": ("LI-013", weights(lambda f: f.create_dataset("vars/0", data=["a"], dtype=TEXT)), True, True),
    "libhdf5_seconds": ("LI-014", weights(lambda f: f.create_dataset("vars/0", data=["a"], dtype=TEXT)), 1, 1),
    "libhdf5_bytes": ("LI-015", weights(lambda f: f.create_dataset("vars/0", data=["a"], dtype=TEXT)), 1, 1),
    "follow_symlinks": ("LI-011", linked_shard, True, False),
}


def test_every_limit_has_a_case_and_a_code_of_its_own() -> None:
    fields = [field.name for field in dataclasses.fields(Limits)]
    assert list(CASES) == fields
    lines = Path(limits_module.__file__).read_text("utf-8").splitlines()
    assert {m[1]: m[2] for line in lines if (m := re.match(r"    (\w+): .*\[(LI-\d{3})\]$", line))} == {
        n: c[0] for n, c in CASES.items()
    }


@pytest.mark.parametrize("field", sorted(set(CASES) - APART))
def test_li_each_limit_stops_a_file_over_it_and_no_other(tmp_path: Path, field: str) -> None:
    code, make, enough, too_little = CASES[field]
    path = make(tmp_path)
    everything(path, Limits(**{field: enough}))
    kind = {"follow_symlinks": UnsafeError, "allow_libhdf5": UnsupportedError}.get(field, LimitError)
    with refused("H5-027" if field == "allow_libhdf5" else code, kind):  # what the file has that only libhdf5 reads
        everything(path, Limits(**{field: too_little}))


def test_li_the_defaults_are_those_that_the_documentation_names() -> None:
    assert Limits() == DEFAULT_LIMITS
    assert dataclasses.asdict(DEFAULT_LIMITS) == {
        "json_bytes": 1 << 24,
        "json_depth": 512,
        "zip_members": 65_536,
        "inflated_bytes": 1 << 32,
        "hdf5_objects": 1_000_000,
        "hdf5_depth": 64,
        "attribute_bytes": 1 << 26,
        "asset_bytes": 1 << 32,
        "shards": 10_000,
        "unstored_bytes": 1 << 26,
        "allow_libhdf5": True,
        "libhdf5_apart": False,
        "libhdf5_seconds": 60,
        "libhdf5_bytes": 1 << 32,
        "follow_symlinks": False,
    }


def test_li_limits_are_frozen_and_named() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_LIMITS.json_bytes = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Limits(1)  # type: ignore[misc]


def test_li_load_and_load_weights_take_limits_too(tmp_path: Path) -> None:
    path = CASES["hdf5_objects"][1](tmp_path)
    for call in (refser.open, refser.load, refser.load_weights):
        with refused("LI-005", LimitError):
            call(path, limits=Limits(hdf5_objects=3))


def test_li_limits_of_the_open_file_hold_when_its_config_is_parsed(tmp_path: Path) -> None:
    deep = b'{"class_name": "M", "config": ' + b"[" * 20 + b"]" * 20 + b"}"
    path = write(tmp_path / "m.keras", zip_bytes(keras_members(config__json=deep)))
    with refser.open(path, limits=Limits(json_depth=20)) as file, refused("LI-002", LimitError):
        _ = file.config
    with refser.open(path, limits=Limits(json_depth=21)) as file:
        assert file.config["class_name"] == "M"
