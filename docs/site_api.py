"""The page of the library: every public name, its signature and its docstring, from the source; nothing is imported.

What follows a field as a comment says what it is.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 96
Definition = ast.FunctionDef | ast.ClassDef


class Source:
    def __init__(self, path: Path) -> None:
        text = path.read_text("utf-8")
        self.path, self.tree = path, ast.parse(text)
        self.comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        }

    def statements(self) -> Iterator[ast.stmt]:
        """Those of the module, and of an `if` at its top (TYPE_CHECKING)."""
        for node in self.tree.body:
            yield node
            if isinstance(node, ast.If):
                yield from node.body


@cache
def source(module: str) -> Source:
    path = ROOT.joinpath(*module.split("."))
    return Source(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))


def find(module: str, name: str) -> tuple[Source, Definition | ast.stmt]:
    """Where a name is defined, through any number of imports."""
    here = source(module)
    for node in here.statements():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return here, node
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return here, node
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return here, node
    for node in here.statements():
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("refser"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    raise LookupError(f"{module}.{name} is defined nowhere")


def public(module: str) -> list[str]:
    """`__all__`, as the module writes it."""
    for node in source(module).statements():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    raise LookupError(f"{module} has no __all__")


# ---------------------------------------------------------------------------------------------------------------- the page


def library() -> str:
    places = {name: find("refser", name) for name in public("refser")}
    functions = [name for name, (_, node) in places.items() if isinstance(node, ast.FunctionDef)]
    errors = [name for name, (where, _) in places.items() if where.path.name == "errors.py"]
    classes = [name for name in places if name not in functions and name not in errors]
    first = ["open", "load", "save", "load_weights", "save_weights", "validate"]
    functions.sort(key=lambda name: (first.index(name) if name in first else len(first), name))
    lines = ["## Functions", ""]
    lines += [block for name in functions for block in entry("refser", name)]
    lines += ["## Classes", ""]
    lines += [block for name in classes for block in entry("refser", name)]
    lines += ["## Errors", "", "Every error about a file is one of these.", ""]
    lines += [block for name in sorted(errors, key=lambda name: name != "RefserError") for block in entry("refser", name)]
    for module in ("refser.config", "refser.rules"):
        lines += [f"## {module}", "", docstring(source(module).tree), ""]
        lines += [block for name in public(module) for block in entry(module, name)]
    return linked("\n".join(lines), set(places))


def entry(module: str, name: str) -> Iterator[str]:
    where, node = find(module, name)
    yield f"### {module}.{name} {{ #{module}.{name} }}"
    yield ""
    if isinstance(node, ast.FunctionDef):
        yield from fenced(signature(f"{module}.{name}", node))
        yield from (docstring(node), "")
    elif isinstance(node, ast.ClassDef):
        yield from class_entry(module, where, node, name)
    else:
        yield from fenced(ast.unparse(node))
        if comment := where.comments.get(node.end_lineno or 0):
            yield from (comment, "")


def class_entry(module: str, where: Source, node: ast.ClassDef, name: str) -> Iterator[str]:
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    yield from fenced(f"class {module}.{name}{bases}")
    yield from (docstring(node), "")
    shown = [line for part in node.body if (line := attribute(where, part))]
    if shown:
        yield from (*shown, "")
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_") and not is_property(part):
            yield from (f"#### {name}.{part.name} {{ #{module}.{name}.{part.name} }}", "")
            yield from fenced(signature(part.name, part, method=True))
            yield from (docstring(part), "")


def attribute(where: Source, part: ast.stmt) -> str:
    """A field or a property as an entry of a list."""
    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not part.target.id.startswith("_"):
        head, told = f"{part.target.id}: {ast.unparse(part.annotation)}", where.comments.get(part.end_lineno or 0, "")
        if part.value is not None and not ast.unparse(part.value).startswith("field("):
            head += f" = {ast.unparse(part.value)}"
    elif isinstance(part, ast.FunctionDef) and is_property(part) and not part.name.startswith("_"):
        head = f"{part.name}: {ast.unparse(part.returns)}" if part.returns else part.name
        told = docstring(part)
    else:
        return ""
    return f"- `{head}`" + (f"  \n    {' '.join(told.split())}" if told else "")


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(by, ast.Name) and by.id in ("property", "cached_property") for by in node.decorator_list)


def docstring(node: ast.Module | Definition) -> str:
    return (ast.get_docstring(node) or "").strip()


def fenced(text: str) -> Iterator[str]:
    yield from ("```python", text, "```", "")


def signature(name: str, node: ast.FunctionDef, *, method: bool = False) -> str:
    """On one line where it fits, else an argument a line."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [argument(one, default) for one, default in zip(positional, defaults)]
    if arguments.posonlyargs:
        shown.insert(len(arguments.posonlyargs), "/")
    if method and shown and shown[0] in ("self", "cls"):
        shown = shown[1:]
    if arguments.vararg:
        shown.append(f"*{argument(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += [argument(one, default) for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    if arguments.kwarg:
        shown.append(f"**{argument(arguments.kwarg, None)}")
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{name}({', '.join(shown)}){result}"
    return line if len(line) <= WIDTH else f"{name}(\n" + "".join(f"    {one},\n" for one in shown) + f"){result}"


def argument(one: ast.arg, default: ast.expr | None) -> str:
    text = one.arg + (f": {ast.unparse(one.annotation)}" if one.annotation else "")
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if one.annotation else f"{text}={ast.unparse(default)}"


def linked(text: str, names: set[str]) -> str:
    """`Weight` in running text leads to where it stands on the page."""
    parts = re.split(r"(^```.*?^```$|^#[^\n]*$)", text, flags=re.MULTILINE | re.DOTALL)  # code, headings
    choice = "|".join(sorted(names, key=len, reverse=True))
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(rf"(?<!\[)`(?:refser\.)?({choice})`", r"[`\1`](#refser.\1)", parts[at])
    return "".join(parts)
