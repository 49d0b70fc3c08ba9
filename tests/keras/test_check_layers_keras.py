"""The weights of every built-in layer that real Keras saves fit its config: no error, no warning.  NumPy backend: speed."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from checked import found_in
from proof import NAMES, savers
from test_rules_composite import CASES as COMPOSITE
from test_rules_composite import functional as composite
from test_rules_core import CASES as CORE
from test_rules_core import functional as core
from test_rules_core import layer
from test_rules_simple import CASES as SIMPLE
from test_rules_simple import layer_of, model_of

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


def check(model: Any, folder: Path) -> None:
    for layout in ("keras-zip", "legacy-h5"):
        path, saved = folder / NAMES[layout], False
        with nullcontext() if layout == "keras-zip" else suppress(KeyError, NotImplementedError, TypeError, ValueError):
            savers(model)[layout](str(path))
            saved = True  # Keras itself cannot save all of them to a legacy file
        assert not saved or list(map(str, found_in(path))) == []


def cases(table: Any, **marks: Any) -> list[Any]:
    keys = [(name, number) for name in table for number in range(len(table[name]))]
    return [
        pytest.param(*key, id=(name := "-".join(map(str, key))), marks=marks.get(name.replace("-", "_"), ())) for key in keys
    ]


@pytest.mark.parametrize("name", list(SIMPLE))
def test_the_weights_of_every_simple_layer_fit(name: str, tmp_path: Path) -> None:
    check(model_of([(layer_of(name, case), case) for case in SIMPLE[name]]), tmp_path)


@pytest.mark.parametrize(("name", "number"), cases(CORE))
def test_the_weights_of_every_core_layer_fit(name: str, number: int, tmp_path: Path) -> None:
    try:
        model = core(layer(name, CORE[name][number]), CORE[name][number])
    except AttributeError:
        pytest.skip("an embedding of few bits, which Keras does not quantize with NumPy")
    check(model, tmp_path)


# The legacy rules name the kernel of a layer in a layer twice, where the outer of the two takes it for its own.
TWICE = pytest.mark.xfail(strict=True, reason="the kernel of a layer that is normalized twice")


@pytest.mark.parametrize(("name", "number"), cases(COMPOSITE, SpectralNormalization_5=TWICE))
def test_the_weights_of_every_composite_layer_fit(name: str, number: int, tmp_path: Path) -> None:
    check(composite(name, COMPOSITE[name][number])[0], tmp_path)
