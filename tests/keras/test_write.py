"""refser writes what it read from a file of real Keras, in every layout of the same generation; Keras loads both alike.

NumPy backend: breadth.  Models that were trained by Keras itself are in test_trained.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from builders import CANNOT_LOAD, CannotLoad, Description, Graph, Node, descriptions, examples
from hypothesis import event, example, given
from proof import check_copies, check_legacy_copies

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]

TWELVE = Graph("functional", ((3,),), tuple(Node("Dense", (n,), {"units": 3}) for n in range(12)), (12,))


@examples(ci=70, deep=3000)
@given(description=descriptions())
@example(description=Description(TWELVE, optimizer="Adam", steps=1))
def test_keras_loads_every_copy_like_its_own_file(description: Description) -> None:
    """KZ-001, KD-001, WH-010, SH-008, CF-001."""
    from makers import build

    with tempfile.TemporaryDirectory() as folder:
        check_copies(build(description), description, Path(folder))


@examples(ci=60, deep=3000)
@given(description=descriptions())
def test_keras_loads_every_legacy_copy_like_its_own_file(description: Description) -> None:
    """LH-001, LH-010, LH-014."""
    from makers import build

    with tempfile.TemporaryDirectory() as folder:
        for name in check_legacy_copies(build(description), description, Path(folder)):
            event(name)


@pytest.mark.parametrize("row", CANNOT_LOAD, ids=lambda row: row.name)
def test_what_keras_cannot_load_from_its_own_file_is_still_so(row: CannotLoad) -> None:
    """LH-001."""
    from makers import build

    with tempfile.TemporaryDirectory() as folder:
        assert row.name in check_legacy_copies(build(row.example), row.example, Path(folder))
