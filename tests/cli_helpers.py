"""What the tests of the command line share: running a command, the golden files, files with hostile names."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import numpy as np

from refser.cli.__main__ import main

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
SPEC = TESTS.parent / "spec"
FILES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))["files"]
READ = sorted(name for name, entry in FILES.items() if entry["layout"] not in ("npz", "saved-model"))
SCHEMAS = {
    path.name.partition(".")[0]: jsonschema.Draft202012Validator(json.loads(path.read_text("utf-8")))
    for path in (SPEC / "schemas").glob("*.json")
}
HOSTILE = "red\x1b[31m\u202eright\r\nnew\tline\x7f\x9b"  # what a terminal would act on
UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

FUNCTIONAL = str(GOLDEN / "keras-3.15.1/functional.keras")
TEXT = str(GOLDEN / "keras-3.15.1/text.keras")
MIXED = str(GOLDEN / "keras-3.15.1/mixed.keras")
SHARDED = str(GOLDEN / "keras-3.15.1/functional.sharded.weights.json")
LEGACY = str(GOLDEN / "keras-3.15.1/functional.legacy.h5")
LEGACY_WEIGHTS = str(GOLDEN / "keras-3.15.1/sequential.legacy_weights.h5")
WEIGHTS = str(GOLDEN / "keras-3.15.1/sequential.weights.h5")
CONFIG = str(GOLDEN / "keras-3.15.1/functional.json")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """The object on the one line, once its schema holds [CL-010, CL-011]."""
        assert self.out.count("\n") == 1
        assert not re.search(r"[^\n -~]", self.out)
        value = json.loads(self.out)
        command = value["format"].removeprefix("refser-")
        SCHEMAS[command].validate(value)
        return value


def cli(*args: str | os.PathLike[str]) -> Outcome:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n"), io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n")
    with redirect_stdout(out), redirect_stderr(err):
        code = main([os.fspath(arg) for arg in args])
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    assert all(line.startswith("refser: ") for line in texts[1].splitlines()), texts[1]
    return Outcome(code, *texts)


def process(*args: str, code: str = "import refser.cli.__main__ as m; m.run()", **options: Any) -> subprocess.Popen[bytes]:
    env = {**os.environ, **options.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", code, *args], env=env, **pipes)


def new_h5(path: Path, *names: str, attribute: str | None = None) -> Path:
    """A weights file with one small layer of each name."""
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for name in names:
            group = file.create_group(f"layers/{name}/vars")
            group["0"] = np.arange(3, dtype="f4")
            if attribute is not None:
                group.attrs["name"] = attribute
    return path


def new_keras(path: Path, config: str) -> Path:
    weights = new_h5(path.with_suffix(".tmp"), "dense").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path
