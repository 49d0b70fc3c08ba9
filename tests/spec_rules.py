"""What runs the examples of spec/weight-trees.md and spec/layers.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spec_examples import Run, outcome

from refser.rules.tree import expected_weights
from refser.rules.walk import snake_case


def run_tree(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    tree = outcome(example, lambda: expected_weights(example["weights_of"], keras_version=example.get("keras")))
    if tree is None:
        return
    found = {
        "arrays": {spec.path: list(spec.shape) for spec in tree},
        "groups": list(tree.groups),
        "names": [spec.name for spec in tree],
        "paths": [spec.variable_path for spec in tree],
        "dtypes": [spec.dtype for spec in tree],
        "trainable": [spec.trainable for spec in tree],
        "opaque": [place.path for place in tree.opaque],
    }
    assert {key: value for key, value in found.items() if key in example} == {
        key: value for key, value in example.items() if key in found
    }
    assert list(found["arrays"]) == list(example.get("arrays", found["arrays"]))


def run_snake(example: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
    assert snake_case(example["class"]) == example["snake"]


RULE_RUNNERS: dict[tuple[str, str], Run] = {
    ("weights_of", "keras arrays groups names paths dtypes trainable opaque code kind"): run_tree,
    ("class snake", ""): run_snake,
}
