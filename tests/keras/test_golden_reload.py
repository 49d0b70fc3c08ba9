"""refser copies every golden file to every layout of its generation; Keras 3.15.1 loads copy and original alike.

The versions that saved them do the same in check_versions.py, which needs an environment for each.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from copies import GOLDEN, MANIFEST, TARGETS, Copy
from h5tree import weights_tree

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
FILES = sorted(name for name, entry in MANIFEST["files"].items() if entry["layout"] in TARGETS)


@dataclass(frozen=True)
class CannotReload:
    """Copies (by pattern) that Keras 3.15.1 does not load as it should, and why that is not refser's doing."""

    copies: str
    error: str  # of the original, or of the copy where only that fails
    reason: str
    status: str = "both fail"

    def covers(self, copy: Copy) -> bool:
        return fnmatchcase(copy.name, self.copies)


CANNOT_RELOAD = (
    CannotReload("keras-1.2.2/*.json -> *", "TypeError", "config of Keras 1"),
    CannotReload("keras-1.2.2/functional.legacy* -> *", "Unknown layer: 'Convolution2D'", "config of Keras 1"),
    CannotReload("keras-1.2.2/sequential.legacy* -> *", "pop expected at most 1 argument", "config of Keras 1: a list"),
    CannotReload("keras-2.[23].?/*.json -> *", "Could not locate class", "a config of Keras 2 has no modules"),
    CannotReload("keras-2.[23].?/functional.legacy* -> *", "Could not locate class 'LSTM'", "an LSTM inside Bidirectional"),
    CannotReload("keras-2.[23].?/sequential.legacy* -> *", "int() argument must be", "batch_input_shape of the first layer"),
    CannotReload("tf-keras-2.*/*.json -> *", "Could not locate class", "a config of Keras 2 has no modules"),
    CannotReload("tf-keras-2.*/functional.keras -> *", "Could not deserialize class 'Functional'", "its module was renamed"),
    CannotReload("tf-keras-2.*/functional.weights.h5 -> *", "Could not deserialize class 'Functional'", "no model for them"),
    CannotReload("tf-keras-2.12.0/functional.legacy* -> *", "Could not locate class 'LSTM'", "an LSTM inside Bidirectional"),
    CannotReload("tf-keras-2.1[345].?/functional.legacy* -> *", "time_major", "an option that Keras 3 lacks"),
    CannotReload("tf-keras-2.1[23].?/mixed.* -> *", "2 objects could not be loaded", "names that skip numbers"),
    CannotReload(
        "tf-keras-2.1[45].0/mixed.* -> weights-*", "1 objects could not be loaded", "no sign of bfloat16 in the original"
    ),
    CannotReload(
        "tf-keras-2.1[45].0/mixed.keras -> keras-*",
        "1 objects could not be loaded",
        "no sign of bfloat16 in the original; refser writes it",
        "ORIGINAL FAILS, copy loads",
    ),
    CannotReload("tf-keras-2.1[23].?/sequential.keras -> *", "1 objects could not be loaded", "names that skip numbers"),
    CannotReload("tf-keras-2.1[23].?/sequential.weights.h5 -> weights-h5", "1 objects could not", "names that skip numbers"),
    CannotReload(
        "tf-keras-2.1[23].?/sequential.weights.h5 -> weights-sharded",
        "1 objects could not be loaded",
        "names that skip numbers; in shards no older name is looked for",
        "BOTH FAIL, each in its way",
    ),
    CannotReload(
        "tf-keras-2.14.0/sequential.* -> weights-sharded",
        "3 objects could not be loaded",
        "_layer_checkpoint_dependencies is looked for in one file, not in shards",
        "COPY FAILS",
    ),
    CannotReload(
        "tf-keras-2.12.0/sequential.hdf5.keras -> legacy-h5",
        "File not found",
        "Keras 3 takes no HDF5 file named .keras",
        "ORIGINAL FAILS, copy loads",
    ),
    CannotReload(
        "tf-keras-2.12.0/sequential.hdf5.keras -> legacy-weights-h5",
        "File not found",
        "Keras 3 takes no HDF5 file named .keras: no model for the weights",
        "BOTH FAIL, each in its way",
    ),
)


@pytest.mark.parametrize("source", FILES)
def test_copies_of_a_golden_file_load_like_the_original(source: str) -> None:
    """KZ-001, KD-001, WH-010, SH-008, LH-001, LH-010, LH-014, CF-001."""
    import reload_with

    if "/text." in source and not HAS_TENSORFLOW:
        pytest.skip("TextVectorization needs TensorFlow")
    for target in TARGETS[MANIFEST["files"][source]["layout"]]:
        copy = Copy(source, target)
        rows = [row for row in CANNOT_RELOAD if row.covers(copy)]
        with tempfile.TemporaryDirectory() as folder:
            found = reload_with.run(copy.job(Path(folder)))
        if rows:
            assert found["status"] == rows[0].status, f"{copy.name}: {found}; wanted {rows[0]}"
            assert rows[0].error in found["error"], f"{copy.name}: {found}; wanted {rows[0]}"
        else:
            assert found["status"] == "same", f"{copy.name}: {found}"


def test_every_exception_is_the_only_one_for_some_copy() -> None:
    copies = [Copy(source, target) for source in FILES for target in TARGETS[MANIFEST["files"][source]["layout"]]]
    covering = [[row for row in CANNOT_RELOAD if row.covers(copy)] for copy in copies]
    assert all(len(rows) <= 1 for rows in covering)
    assert {row.copies for rows in covering for row in rows} == {row.copies for row in CANNOT_RELOAD}


SAME_LAYOUT = [name for name in FILES if MANIFEST["files"][name]["layout"] not in ("weights-sharded", "config-json")]


@pytest.mark.parametrize("source", SAME_LAYOUT)
def test_a_copy_in_the_same_layout_has_the_same_hdf5_tree(source: str) -> None:
    """WH-010, H5-010, LH-008."""
    with tempfile.TemporaryDirectory() as folder:
        path = Copy(source, MANIFEST["files"][source]["layout"]).job(Path(folder))["copy"]
        theirs, ours = weights_tree(GOLDEN / source), weights_tree(Path(path))
    if source.startswith("keras-1"):  # there the version stands on the root only
        pytest.skip("Keras 1 is not written as it writes itself")
    for tree in (theirs, ours):
        for node in tree.values():
            forget_spelling(source, node)
    assert ours == theirs


def forget_spelling(source: str, node: dict[str, Any]) -> None:
    """What refser writes on purpose in the way of a later Keras."""
    if source.startswith("keras-2"):  # ASCII there, UTF-8 from tf.keras 2.4
        for name in {"keras_version", "backend"} & node["attributes"].keys():
            node["attributes"][name] = node["attributes"][name][2]
    if source.startswith("tf-keras-2") and "/mixed." in source:  # no Keras 2 says that its opaque bytes are a bfloat16
        node["attributes"].pop("dtype", None)
