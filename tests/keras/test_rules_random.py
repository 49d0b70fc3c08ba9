"""Random models: the weights that refser expects from the config are those that real Keras writes.  NumPy backend: breadth."""

from __future__ import annotations

import pytest
from builders import Description, descriptions, examples
from hypothesis import event, given
from hypothesis import strategies as st

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


@examples(ci=250, deep=5000)
@given(description=descriptions(optimizers=st.none()))
def test_expected_weights_of_random_models(description: Description) -> None:
    """WT-001 to WT-006, WT-008 to WT-012, WT-015, WT-020, LY-010.  Custom layers are opaque, all around them is known."""
    from makers import build
    from trees import differences

    model = build(description, bits=False)
    if type(model).__name__ == "Tower":  # a subclassed model: all of it is opaque
        event("a subclassed model")
        return
    assert differences(model, opaque=True) == []
