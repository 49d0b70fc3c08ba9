"""Vocabularies among the assets [AS]: what Keras 3.15.1 (TensorFlow 2.21) made of each content was written down from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import GOLDEN, h5_bytes, zip_bytes
from hypothesis import event, given, settings
from hypothesis import strategies as st
from weights_checked import found_in, sequential

from refser.checks.vocabularies import tokens_of

# Layer, its arguments, the content, and how many tokens Keras loads it with; None: it refuses.
LOADED: list[tuple[str, dict[str, Any], bytes, int | None]] = [
    ("StringLookup", {}, b"[UNK]\nb\na", 3),
    ("StringLookup", {}, b"[UNK]\r\nb\r\na", 3),
    ("StringLookup", {}, b"[UNK]\nb\na\n\n\n", 3),
    ("StringLookup", {}, b"b\na", 3),
    ("StringLookup", {}, b"b\n[UNK]\na", 4),
    ("StringLookup", {}, b"[UNK]\nb\nb", None),
    ("StringLookup", {}, b"[UNK]", None),
    ("StringLookup", {}, b"", None),
    ("StringLookup", {}, b"[UNK]\nb\n\xff", None),
    ("StringLookup", {}, b"\n[UNK]\nb\na", 5),
    ("StringLookup", {}, b"[OOV]\nb\na", 4),
    ("StringLookup", {}, b"[UNK]\n[UNK]\na", 3),
    ("StringLookup", {}, b"\xef\xbb\xbf[UNK]\nb\na", 4),
    ("StringLookup", {}, "[UNK]\na\u2028b\nz".encode(), 4),
    ("StringLookup", {}, b"[UNK]\na\x0cb\nz", 4),
    ("StringLookup", {}, b"[UNK]\na\x00b\nz", 3),
    ("StringLookup", {"mask_token": "", "num_oov_indices": 2}, b"\n[UNK]\n[UNK]\nb\na", 5),
    ("StringLookup", {"mask_token": "", "num_oov_indices": 2}, b"[UNK]\n[UNK]\nb\na", None),
    ("StringLookup", {"mask_token": "", "num_oov_indices": 2}, b"\n[UNK]\nb\na", None),
    ("StringLookup", {"mask_token": "", "num_oov_indices": 2}, b"b\na", 5),
    ("StringLookup", {"max_tokens": 3}, b"[UNK]\nb\na\nc", None),
    ("IntegerLookup", {}, b"-1\n5\n-7", 3),
    ("IntegerLookup", {}, b"-1\n5\nx", None),
    ("IntegerLookup", {}, b"-1\n 5 \n+7", 3),
    ("IntegerLookup", {}, b"-1\n5.0", None),
    ("IntegerLookup", {}, b"-1\n5\n05", None),
    ("IntegerLookup", {}, b"-1\n\n5", None),
]
FOLDERS = {"StringLookup": "string_lookup", "IntegerLookup": "integer_lookup"}


def told(class_name: str, config: dict[str, Any], content: bytes, version: str = "3.15.1") -> list[tuple[str, str]]:
    model = sequential({"class_name": class_name, "config": {"name": "words", **config}})
    members = {"metadata.json": json.dumps({"keras_version": version}).encode(), "config.json": json.dumps(model).encode()}
    members["model.weights.h5"] = h5_bytes()
    data = zip_bytes({**members, f"assets/layers/{FOLDERS[class_name]}/vocabulary.txt": content})
    return [(it.code, it.severity) for it in found_in(data) if it.code.startswith("AS-")]


@pytest.mark.parametrize(("class_name", "config", "content", "size"), LOADED)
def test_as005_what_keras_refuses_is_an_error_and_what_it_loads_is_none(
    class_name: str, config: dict[str, Any], content: bytes, size: int | None
) -> None:
    found = told(class_name, config, content)
    assert any(severity == "error" for _, severity in found) == (size is None), found
    if size is not None:  # AS-006
        assert not any(severity == "error" for _, severity in told(class_name, {**config, "vocabulary_size": size}, content))
        assert ("AS-006", "error") in told(class_name, {**config, "vocabulary_size": size + 1}, content)


def test_as004_an_integer_fits_64_bits() -> None:
    for number in (-(2**63), 2**63 - 1):
        assert told("IntegerLookup", {}, b"-1\n%d" % number) == []
    for number in (b"-9223372036854775809", b"9223372036854775808", b"1" * 5000):
        assert told("IntegerLookup", {}, b"-1\n" + number) == [("AS-004", "error")]


def test_as002_older_versions_end_lines_at_line_feeds_alone() -> None:
    assert tokens_of("a\u2028b\n") == ["a", "b"]
    assert tokens_of("a\u2028b\r\nc\n", (3, 13)) == ["a\u2028b", "c", ""]


@given(words=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=5))
@settings(max_examples=200)
def test_as003_tokens_that_come_back_otherwise_are_warned_of(words: list[str]) -> None:
    text = "\n".join(words)
    same = tokens_of(text) == (words if text else [])
    event("same" if same else "others")
    warned = ("AS-003", "warning") in told("StringLookup", {}, text.encode())
    old = tokens_of(text, (3, 13)) == tokens_of(text)
    assert warned == (not old and bool(text))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/text.*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_as001_vocabularies_that_keras_saved_have_nothing_to_tell_of(path: Path) -> None:
    import refser

    report = refser.validate(path)
    assert [it for it in report.problems if it.code.startswith("AS-")] == []
    with refser.open(path) as file:
        found = {bytes(data) for name, data in file.assets.items()}
    assert found == {b"\n[UNK]\nred\nwhite\ngreen\nblue\nblack"}
