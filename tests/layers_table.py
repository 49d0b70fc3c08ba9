"""The tables of spec/layers.md, from the rules that the code runs: `python tests/layers_table.py` writes them anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from refser.rules.optimizers import Optimizer, all_optimizers
from refser.rules.rule import Rule, Var

CHAPTER = Path(__file__).parents[1] / "spec" / "layers.md"
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def tables() -> str:
    """One table for each module of rules, classes in the order of their names."""
    from refser.rules import table

    parts = []
    for name in sorted(table._TABLES):
        rules = sorted(import_module(f"refser.rules.{name}").RULES, key=lambda rule: rule.class_name)
        if shown := "\n".join(_row(rule) for rule in rules if _has_something(rule)):
            head = "| class | variables, in the order of their making | inside it |\n|---|---|---|"
            parts.append(f"### {name}\n\n{head}\n{shown}\n")
        if plain := [rule.class_name for rule in rules if not _has_something(rule)]:
            parts.append(("" if shown else f"### {name}\n\n") + _wrapped(f"Without variables: {', '.join(plain)}.") + "\n")
    slots = "\n".join(f"| {it.class_name} | {_slots(it)} |" for it in sorted(all_optimizers(), key=lambda it: it.class_name))
    parts.append(f"### optimizers\n\n| class | slots, each block for all variables in turn |\n|---|---|\n{slots}\n")
    return "\n".join(parts)


def _has_something(rule: Rule) -> bool:
    return bool(rule.variables or rule.children or rule.opaque)


def _row(rule: Rule) -> str:
    if rule.opaque:
        return f"| {rule.class_name} | opaque: {rule.opaque} | |"
    own = "by its arguments" if callable(rule.variables) else "; ".join(map(_variable, rule.variables)) or "none"
    return f"| {rule.class_name} | {own} | {'layers' if rule.children else ''} |"


def _slots(found: Optimizer) -> str:
    blocks = [f"{it.names}{f' if {it.when}' if it.when else ''}" for it in found.slots]
    blocks += ["by the shape of the variable"] if found.each else []
    blocks += [f"{found.scalar} ()"] if found.scalar else []
    return "; ".join(blocks)


def _variable(var: Var) -> str:
    shape = var.shape if isinstance(var.shape, str) else ", ".join(map(str, var.shape))
    notes = [f"if {var.when}"] if var.when else []
    notes += ["not trained"] if not var.trainable else []
    notes += [var.dtype] if var.dtype else []
    text = f"`{var.name}` ({shape})" + (f" {', '.join(notes)}" if notes else "")
    return text.replace("|", "\\|").replace("*", "\\*")


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 128, break_long_words=False)


def chapter(text: str) -> str:
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def classes() -> Iterator[str]:
    from refser.rules.table import all_rules

    return (rule.class_name for rule in all_rules())


if __name__ == "__main__":
    changed = chapter(CHAPTER.read_text("utf-8"))
    CHAPTER.write_text(changed, "utf-8")
    sys.exit(0)
