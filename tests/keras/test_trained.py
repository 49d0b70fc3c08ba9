"""Models that Keras itself trained for a step (JAX backend): read and written as in test_read.py and test_write.py."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from builders import OPTIMIZERS, Description, Graph, Node, descriptions, examples
from hypothesis import given
from hypothesis import strategies as st
from proof import (
    LEGACY,
    MODELS,
    NAMES,
    WEIGHTS,
    check_copies,
    check_current,
    check_legacy,
    check_legacy_copies,
    exceptions_of,
    save_legacy,
    savers,
)

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

SMALL = Graph("functional", ((3,),), (Node("Dense", (0,), {"units": 2}), Node("BatchNormalization", (1,))), (2,))


def check_all(description: Description) -> None:
    from makers import build, train

    model = build(replace(description, steps=0))
    if model.trainable_variables:
        train(model, description)
    rows = exceptions_of(model, description)
    with tempfile.TemporaryDirectory() as folder:
        for layout in MODELS + WEIGHTS:
            path = Path(folder, NAMES[layout])
            savers(model)[layout](str(path))
            check_current(model, path, layout)
        for layout in LEGACY:
            path = Path(folder, NAMES[layout])
            if not save_legacy(model, layout, path, rows):
                check_legacy(model, path, layout)
    with tempfile.TemporaryDirectory() as folder:
        check_copies(model, description, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        check_legacy_copies(model, description, Path(folder))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_state_of_every_optimizer_survives_each_copy(optimizer: str) -> None:
    """WH-003, KZ-001, SH-008, LH-012."""
    check_all(Description(SMALL, optimizer=optimizer, steps=1, seed=3))


@examples(ci=6, deep=300, shrink=False)
@given(description=descriptions(optimizers=st.sampled_from(["SGD momentum", "Adam", "RMSprop", "AdamW"])))
def test_trained_models_survive_each_copy(description: Description) -> None:
    """WH-003, KZ-001, KD-001, SH-008, LH-012."""
    check_all(description)
