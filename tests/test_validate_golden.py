"""What real Keras saved is valid, with nothing to remark: a false alarm is a fault of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import refser

GOLDEN = Path(__file__).parent / "golden"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))


def models() -> list[str]:
    shards = {
        path for index in GOLDEN.glob("*/*.weights.json") for path in index.parent.glob(f"{index.stem.split('.')[0]}*_0*")
    }
    found = [path for path in sorted(GOLDEN.glob("keras-*/*")) + sorted(GOLDEN.glob("tf-keras-*/*")) if path not in shards]
    return [path.relative_to(GOLDEN).as_posix() for path in found if path.suffix in (".keras", ".h5", ".json", ".dir", ".hdf5")]


@pytest.mark.parametrize("name", models())
def test_a_golden_file_is_valid_with_zero_warnings(name: str) -> None:
    report = refser.validate(GOLDEN / name, deep=True)
    told = [str(it) for it in report.problems if it.severity != "info"]
    if "npz" in name:
        assert (report.verdict, [it.code for it in report.problems]) == ("unsafe", ["NZ-001"])
        return
    assert (report.verdict, told) == ("valid", [])
