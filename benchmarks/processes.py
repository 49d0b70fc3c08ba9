"""Whole processes: what it takes to look at a file from a shell."""

from __future__ import annotations

from pathlib import Path

from measure import race_processes
from samples import arrays, write_files
from table import Table


def processes(table: Table, folder: Path, rounds: int) -> None:
    """List 320 arrays."""
    files = write_files(folder, arrays(320, 64 * 320))
    shown = "lambda name, node: print(name, getattr(node, 'shape', ''))"
    keys = f"import safetensors; print(safetensors.safe_open({str(files.safetensors)!r}, 'np').keys())"
    commands = {
        "refser inspect --json": ["-c", _console("inspect", "--json", str(files.weights))],
        "python -m refser inspect --json": ["-m", "refser", "inspect", "--json", str(files.weights)],
        "refser inspect --json (.keras)": ["-c", _console("inspect", "--json", str(files.keras))],
        "refser weights (.keras)": ["-c", _console("weights", str(files.keras))],
        "import numpy": ["-c", "import numpy"],
        "safetensors": ["-c", keys],
        "h5py visititems": ["-c", f"import h5py; h5py.File({str(files.weights)!r}).visititems({shown})"],
        "pyfive visititems": ["-c", f"import pyfive; pyfive.File({str(files.weights)!r}).visititems({shown})"],
    }
    figures = race_processes(commands, rounds)
    table.show("whole process, list 320 arrays", figures, by="cpu")
    for who in ("refser inspect --json", "python -m refser inspect --json"):
        ratio = figures[who].cpu / figures["import numpy"].cpu
        table.target(f"{who}, 320 arrays, CPU time of the whole process", ratio, at_most=0.7, unit="x `import numpy`")


def _console(*arguments: str) -> str:
    """The console script, which ends by `sys.exit`, and then the peak of its memory."""
    start = f"import sys; sys.argv = ['refser', *{arguments!r}]\nfrom refser.cli.__main__ import run\n"
    return start + "try: run()\nexcept SystemExit as end:\n    if end.code: raise"
