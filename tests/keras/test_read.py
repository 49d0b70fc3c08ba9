"""Real Keras saves random models in every layout; refser finds every variable, bit for bit.  NumPy backend: breadth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from builders import Description, descriptions, examples
from hypothesis import event, given
from proof import LEGACY, MODELS, NAMES, WEIGHTS, check_current, check_legacy, exceptions_of, save_legacy, savers

pytest.importorskip("h5py")
pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


@examples(ci=120, deep=5000)
@given(description=descriptions())
def test_every_variable_of_a_live_model_is_read_bit_for_bit(description: Description) -> None:
    """WH-001, WH-003, WH-004, WH-005, WH-006, KZ-001, KD-001, SH-002, CF-001, VA-001, VA-002.

    LH-001, LH-004, LH-010, LH-014.
    """
    from makers import build

    model = build(description, bits=True)
    rows = exceptions_of(model, description)
    with tempfile.TemporaryDirectory() as folder:
        for layout in MODELS + WEIGHTS:
            path = Path(folder, NAMES[layout])
            savers(model)[layout](str(path))
            check_current(model, path, layout)
        for layout in LEGACY:
            path = Path(folder, NAMES[layout])
            if refused := save_legacy(model, layout, path, rows):
                event(refused)
            else:
                check_legacy(model, path, layout)
