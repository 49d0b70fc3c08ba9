"""The tables in spec/layers.md are the rules, and every layer of Keras has one."""

from __future__ import annotations

from layers_table import CHAPTER, chapter, classes


def test_ly010_the_chapter_has_the_tables_of_the_code() -> None:
    text = CHAPTER.read_text("utf-8")
    assert text == chapter(text), "run python tests/layers_table.py"


def test_classes_are_many() -> None:
    assert len(set(classes())) > 150
