"""Pages, or parts of them, that are made from what the repository holds."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("read", "reject", "tree", "write")


def _trace() -> ModuleType:
    """spec/trace.py, which reads the chapters."""
    spec = importlib.util.spec_from_file_location("refser_trace", ROOT / "spec/trace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


trace = _trace()


@cache
def all_requirements() -> list[Any]:
    found = [requirement for path in trace.chapters() for requirement in trace.read_requirements(path)]
    for requirement in found:
        trace.analyse(requirement)
    return found


def title_of(chapter: str) -> str:
    """The chapter's heading without its prefix."""
    head = (ROOT / "spec" / chapter).read_text("utf-8").partition("\n")[0]
    return re.sub(r" \([A-Z0-9]{2}\)$", "", head.removeprefix("# "))


def cell(text: str) -> str:
    return text.replace("|", "\\|") or "-"


def readme() -> str:
    """README.md without its heading."""
    return (ROOT / "README.md").read_text("utf-8").partition("\n")[2].strip()


def requirements() -> str:
    lines = [
        f"{len(all_requirements())} requirements in {len(trace.chapters())} chapters.",
        "",
        '<div class="filtered" markdown>',
        "",
        "| ID | title | chapter | subject | verb | since |",
        "|---|---|---|---|---|---|",
    ]
    for r in all_requirements():
        chapter = f"[{title_of(r.chapter)}]({r.chapter})"
        lines.append(f"| {r.id} | {cell(r.title)} | {chapter} | {cell(r.subject)} | {cell(r.verb)} | {cell(r.since)} |")
    return "\n".join([*lines, "", "</div>"])


def schemas() -> str:
    """Each schema: what it is of, the file, its text."""
    lines: list[str] = []
    for path in [*sorted((ROOT / "spec/schemas").glob("*.json")), *sorted((ROOT / "conformance").glob("*.schema.json"))]:
        schema = json.loads(path.read_bytes())
        file = os.path.relpath(path, ROOT / "spec/schemas").replace(os.sep, "/")
        lines += [f"## {path.name.removesuffix('.schema.json')}", "", f"{schema.get('title', '')}: [{path.name}]({file})."]
        if about := schema.get("description"):
            lines += ["", about]
        lines += ["", "```json", path.read_text("utf-8").strip(), "```", ""]
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- the command line


def help_of(*words: str) -> str:
    told = {**os.environ, "COLUMNS": "84", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "refser", *words, "--help"]
    return subprocess.run(
        command, env=told, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout.strip()


def command_line() -> str:
    top = help_of()
    names = re.findall(r"^    (\w+) +\S", top.partition("COMMAND\n")[2].partition("\n\n")[0], re.MULTILINE)
    if not names:
        raise ValueError("no commands in `refser --help`")
    lines = ["## refser", "", "```text", top, "```"]
    for name in names:
        lines += ["", f"## refser {name}", "", "```text", help_of(name), "```"]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- the conformance suite


@cache
def all_cases() -> dict[str, list[dict[str, Any]]]:
    """Folder -> its cases."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((ROOT / "conformance/cases").glob("*/*/case.json")):
        found.setdefault(path.parent.parent.name, []).append(json.loads(path.read_bytes()))
    return found


def suite() -> str:
    cases = all_cases()
    every = [case for found in cases.values() for case in found]
    lines = [
        f"{len(every)} cases, which cover {len({code for case in every for code in case.get('covers', ())})} requirements.",
        "",
        "Read on:",
        "",
        *(f"- [{heading(path)}]({path.relative_to(ROOT).as_posix()})" for path in suite_pages()),
        "- [All cases](cases.md)",
    ]
    if profiles := sorted((ROOT / "conformance/profiles").glob("*.json")):
        lines += ["", "## Profiles", "", "A profile is a list of cases for one kind of tool.", ""]
        lines += ["| profile | cases | what |", "|---|--:|---|"]
        for path in profiles:
            profile = json.loads(path.read_bytes())
            lines.append(f"| `{path.stem}` | {len(profile['cases'])} | {cell(profile.get('title', ''))} |")
    lines += ["", "## Cases", "", f"| folder | {' | '.join(KINDS)} | all |", f"|---|{'--:|' * (len(KINDS) + 1)}"]
    for folder, found in cases.items():
        kinds = Counter(case["kind"] for case in found)
        numbers = [str(kinds[kind] or "-") for kind in KINDS]
        lines.append(f"| [`{folder}`](cases.md#{folder}) | {' | '.join(numbers)} | {len(found)} |")
    return "\n".join(lines)


def suite_pages() -> list[Path]:
    folder = ROOT / "conformance"
    first = [folder / name for name in ("README.md", "PROTOCOL.md", "RESULTS.md")]
    rest = sorted(path for path in (*folder.glob("*.md"), *folder.glob("*/README.md")) if path not in first)
    return [path for path in (*first, *rest) if path.exists()]


def heading(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0].lstrip("# ")


def cases() -> str:
    lines: list[str] = []
    for folder, found in all_cases().items():
        lines += [f"## {folder} {{ #{folder} }}", "", '<div class="filtered" markdown>', ""]
        lines += ["| case | what | kind | requirements |", "|---|---|---|---|"]
        for case in found:
            name = case["id"].partition("/")[2]
            lines.append(f"| `{name}` | {cell(escaped(case['title']))} | {case['kind']} | {' '.join(case.get('covers', ()))} |")
        lines += ["", "</div>", ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Plain text that Markdown leaves alone; code stays code."""
    kept = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]&])", r"\\\1", part) for part in kept)
