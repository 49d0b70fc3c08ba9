"""Models that Keras makes: nothing is wrong with their graphs and shapes.  NumPy backend: breadth."""

from __future__ import annotations

import pytest
from builders import Description, descriptions, examples
from graph_findings import found_in
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]


@examples(ci=250, deep=5000)
@given(description=descriptions(optimizers=st.none()))
def test_cf050_random_models_have_no_finding(description: Description, tmp_path_factory: pytest.TempPathFactory) -> None:
    from makers import build
    from trees import config_of

    model = build(description, bits=False)
    assert found_in(config_of(model), tmp_path_factory.mktemp("random")) == []
