"""The weights of whatever real Keras saves fit its config: no error, no warning.  NumPy backend: breadth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from builders import Description, descriptions, examples
from checked import found_in
from hypothesis import event, given
from proof import LEGACY, MODELS, NAMES, WEIGHTS, exceptions_of, save_legacy, savers

pytest.importorskip("h5py")
pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


@examples(ci=120, deep=5000)
@given(description=descriptions())
def test_the_weights_of_random_models_fit(description: Description) -> None:
    """WT-040 to WT-048, LH-030 to LH-036."""
    from makers import build

    model = build(description, bits=False)
    with tempfile.TemporaryDirectory() as folder:
        for layout in MODELS + WEIGHTS:
            path = Path(folder, NAMES[layout])
            savers(model)[layout](str(path))
            assert found_in(path) == []
        for layout in LEGACY:
            path = Path(folder, NAMES[layout])
            if refused := save_legacy(model, layout, path, exceptions_of(model, description)):
                event(refused)
            else:
                assert found_in(path) == []
