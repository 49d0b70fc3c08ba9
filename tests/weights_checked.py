"""Small models for the tests of the checks of weights: a config, arrays by inner path, and what is found in them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from helpers import h5_bytes, zip_bytes

from refser.checks.report import Finding, of_error
from refser.checks.subject import Options, Subject
from refser.checks.values import check_values
from refser.checks.weights import check_weights
from refser.errors import RefserError
from refser.layouts import open_layout
from refser.limits import DEFAULT_LIMITS

AT = "m.keras:model.weights.h5:/"
Arrays = Mapping[str, Any]


def dense(name: str = "d", units: int = 2, width: int = 3, **config: Any) -> dict[str, Any]:
    return {
        "class_name": "Dense",
        "config": {"name": name, "units": units, **config},
        "build_config": {"input_shape": [None, width]},
    }


def sequential(*layers: Any, **more: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}, **more}


def zeros(*shape: int, dtype: str = "f4") -> Any:
    return np.zeros(shape, dtype)


def archive(
    config: Any, arrays: Arrays, names: Mapping[str, str] | None = None, assets: tuple[str, ...] = (), **meta: str
) -> bytes:
    """None in the place of an array is an empty group."""

    def fill(file: Any) -> None:
        for path, value in arrays.items():
            if value is None:
                file.create_group(path)
            else:
                file[path] = value
        for path, name in (names or {}).items():
            file[path].attrs["name"] = name

    members = {"metadata.json": json.dumps(meta).encode(), "config.json": json.dumps(config).encode()}
    members["model.weights.h5"] = h5_bytes(fill)
    return zip_bytes({**members, **{f"assets/{name}": b"a" for name in assets}})


def looked_at(path: Path, **options: Any) -> list[Finding]:
    found: list[Finding] = []
    try:
        with open_layout(str(path), limits=DEFAULT_LIMITS, refuse=lambda error: found.append(of_error(error))) as file:
            subject = Subject(file, Options(**options))
            return [*check_weights(subject), *check_values(subject), *subject.found, *found]
    except RefserError as error:
        return [*found, of_error(error)]


def found_in(data: bytes, name: str = "m.keras", **options: Any) -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return looked_at(path, **options)


def codes(found: list[Finding]) -> list[tuple[str, str]]:
    return [(it.code, it.severity) for it in found]
