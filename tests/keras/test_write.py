"""refser writes what it read from a file of real Keras, in every layout of the same generation; Keras loads both alike.

NumPy backend: breadth.  Models that were trained by Keras itself are in test_trained.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from builders import CANNOT_LOAD, CannotLoad, Description, Graph, Node, descriptions, examples
from h5tree import h5_tree, weights_tree
from hypothesis import event, example, given
from proof import check_copies, check_legacy_copies, load

import refser

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


@examples(ci=10, deep=500)
@given(description=descriptions())
@example(description=Description(TWELVE, optimizer="Adam", steps=1))
def test_keras_loads_an_archive_that_is_an_hdf5_file_too(description: Description) -> None:
    """KZ-019."""
    from makers import build

    with tempfile.TemporaryDirectory() as folder:
        own, copy = Path(folder, "own.keras"), Path(folder, "copy.keras")
        build(description).save(own)
        refser.save(refser.load(own), copy, hdf5_readable=True)
        assert load(copy, "keras-zip", None, description) == load(own, "keras-zip", None, description)
        assert h5_tree(copy) == weights_tree(copy) == weights_tree(own)


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
