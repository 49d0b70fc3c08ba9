"""What imports what: the rows of the architecture, and what `import refser` does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "refser"
# A row imports only rows above it; within a row, modules may import each other.
ROWS = (
    {"_record"},
    {"errors", "limits"},
    {"jsonio"},
    {"values", "_narrow_floats"},
    {"config"},
    {"rules"},
    {"source", "stream", "atomic", "output"},
    {"zipio", "zipwrite", "hdf5"},
    {"layouts"},
    {"checks"},
    {"api"},
    {"cli"},
)
ROW_OF = {module: number for number, row in enumerate(ROWS) for module in row}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("refser"):
            names = [node.module] if node.module != "refser" else [f"refser.{alias.name}" for alias in node.names]
            found.update(names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("refser"))
    return {name.split(".")[1] for name in found if "." in name}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_row_imports_only_rows_above_it(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert {module for module in imports(path) if ROW_OF.get(module, 99) > ROW_OF[home]} <= {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_stays_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_only_the_hdf5_door_imports_h5py() -> None:
    assert [path for path in FILES if "h5py" in path.read_text("utf-8") and path.parent.name == "hdf5"]
    assert [path for path in FILES if "import h5py" in path.read_text("utf-8") and path.parent.name != "hdf5"] == []


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import refser", {"numpy", "h5py", "keras", "ml_dtypes", "json", "zipfile"}),
        ("import refser.cli.__main__", {"numpy", "h5py", "keras"}),
        ("import refser; refser.Limits(); refser.open", {"numpy", "h5py", "keras", "ml_dtypes"}),
    ],
)
def test_import_loads_nothing_heavy(code: str, absent: set[str]) -> None:
    script = f"{code}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert absent & set(run.stdout.split()) == set()


# What a listing can do without: each of them takes longer than reading the file.
SLOW = {"numpy", "h5py", "dataclasses", "inspect", "shutil", "lzma", "threading", "zipfile", "fsspec", "refser.atomic"}
IN_ZIPFILE = {"shutil", "lzma", "threading", "zipfile"}
CONSOLE_SCRIPT = "from refser.cli.__main__ import run; run()"


@pytest.mark.parametrize("start", [("-m", "refser"), ("-c", CONSOLE_SCRIPT)], ids=["module", "script"])
@pytest.mark.parametrize(
    ("name", "absent"), [("functional.weights.h5", SLOW), ("functional.keras", SLOW - IN_ZIPFILE)], ids=["weights-h5", "keras"]
)
def test_inspect_loads_nothing_slow(start: tuple[str, str], name: str, absent: set[str]) -> None:
    path = PACKAGE.parent / "tests" / "golden" / "keras-3.15.1" / name
    command = [sys.executable, "-X", "importtime", *start, "inspect", "--json", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "refser.cli._report" in loaded
    assert absent & loaded == set()


def test_public_names_are_these() -> None:
    import refser

    assert set(refser.__all__) == {
        "AccessError",
        "ByteRange",
        "Finding",
        "InvalidError",
        "LimitError",
        "Limits",
        "MalformedError",
        "Model",
        "ModelFile",
        "Problem",
        "RefserError",
        "Report",
        "UnsafeError",
        "UnsupportedError",
        "Weight",
        "WeightGroup",
        "WeightSpec",
        "WeightTree",
        "__version__",
        "build",
        "expected_weights",
        "load",
        "load_weights",
        "open",
        "save",
        "save_weights",
        "summary",
        "validate",
    }
    assert all(getattr(refser, name) is not None for name in refser.__all__)
