"""Remake the golden files: one virtual environment per Keras version, then the manifest.

    python tests/golden/make/run.py [VERSION...] [--venvs DIR]

VERSION is the name of a folder of tests/golden, "keras-3.15.1"; none means all of them, newest first.  Needs Python
3.11, Python 3.7 for the versions before 2.12, and a package index.
Not here: what is saved (save_*.py), the sums (manifest.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAKE = Path(__file__).resolve().parent
GOLDEN = MAKE.parent
MANIFEST_PINS = ("h5py==3.14.0", "numpy==2.2.6")


@dataclass(frozen=True)
class Version:
    """How one folder is made: `jobs` are (backend, names of the models), each run in a process of its own."""

    python: str
    script: str
    pins: tuple[str, ...]
    jobs: tuple[tuple[str, str], ...]


def _keras3(pins: str, *jobs: tuple[str, str]) -> Version:
    return Version("3.11", "save_keras3.py", tuple(pins.split()), jobs)


def _tf2(pins: str, models: str) -> Version:
    return Version("3.11", "save_tf2.py", tuple(pins.split()), (("tensorflow", models),))


def _keras1(release: str) -> Version:
    pins = (f"keras=={release}", "tensorflow==1.15.5", "h5py==2.10.0", "numpy==1.18.5", "protobuf==3.20.3")
    return Version("3.7", "save_keras1.py", pins, (("tensorflow", "functional sequential"),))


BASIC = "functional sequential mixed"
WEIGHTS = "functional_weights"  # large, so not for every version
LEGACY_WEIGHTS = "functional_legacy_weights"
VERSIONS = {
    "keras-3.15.1": _keras3(
        "keras==3.15.1 jax==0.10.2 tensorflow-cpu==2.21.0 numpy==2.4.6 h5py==3.14.0",
        ("jax", f"{BASIC} {WEIGHTS} attention many names"),
        ("tensorflow", "text"),
    ),
    "keras-3.12.0": _keras3("keras==3.12.0 jax==0.7.2 numpy==2.3.5 h5py==3.14.0", ("jax", BASIC)),
    "keras-3.9.2": _keras3(
        "keras==3.9.2 tensorflow-cpu==2.19.0 numpy==2.1.3 h5py==3.13.0",
        ("tensorflow", f"{BASIC} text"),
    ),
    "keras-3.6.0": _keras3(
        "keras==3.6.0 jax==0.4.35 numpy==2.0.2 h5py==3.12.1",
        ("jax", f"{BASIC} {LEGACY_WEIGHTS}"),
    ),
    "keras-3.3.3": _keras3(
        "keras==3.3.3 tensorflow-cpu==2.16.1 numpy==1.26.4 h5py==3.11.0",
        ("tensorflow", f"{BASIC} text"),
    ),
    "keras-3.0.5": _keras3(  # imports packaging, which it does not require
        "keras==3.0.5 jax==0.4.26 jaxlib==0.4.26 scipy==1.12.0 numpy==1.26.4 h5py==3.10.0 packaging==24.0",
        ("jax", f"{BASIC} {WEIGHTS} {LEGACY_WEIGHTS}"),
    ),
    "tf-keras-2.15.0": _tf2("tensorflow-cpu==2.15.0 keras==2.15.0 numpy==1.26.4 h5py==3.10.0", f"{BASIC} text trivial"),
    "tf-keras-2.14.0": _tf2("tensorflow-cpu==2.14.0 keras==2.14.0 numpy==1.26.4 h5py==3.10.0", f"{BASIC} {WEIGHTS} text"),
    "tf-keras-2.13.1": _tf2("tensorflow-cpu==2.13.1 keras==2.13.1 numpy==1.24.3 h5py==3.9.0", f"{BASIC} {LEGACY_WEIGHTS} text"),
    "tf-keras-2.12.0": _tf2("tensorflow-cpu==2.12.0 keras==2.12.0 numpy==1.23.5 h5py==3.8.0", f"{BASIC} text"),
    "keras-2.3.1": _keras1("2.3.1"),
    "keras-2.2.4": _keras1("2.2.4"),
    "keras-1.2.2": _keras1("1.2.2"),
}


def find_python(version: str) -> str:
    """The first interpreter of this version that runs: this one, one on the PATH, one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (
        sys.executable,
        shutil.which(f"python{version}"),
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))),
    ):
        if candidate is None:
            continue
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return candidate
    raise SystemExit(f"no Python {version} found")


def make_venv(folder: Path, python: str, pins: tuple[str, ...]) -> str:
    """Make the environment unless it is there, install `pins`, return its Python."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([find_python(python), "-m", "venv", folder], check=True)
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *pins], check=True)
    return str(interpreter)


def save_version(name: str, venvs: Path, work: Path) -> dict[str, Any]:
    """Save all files of one folder anew; return what the scripts say of themselves."""
    version = VERSIONS[name]
    python = make_venv(venvs / name, version.python, version.pins)
    fresh = work / name
    fresh.mkdir()
    about: dict[str, Any] = {}
    for backend, models in version.jobs:
        out = work / "about.json"
        quiet = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [python, str(MAKE / version.script), str(fresh), str(out), *models.split()]
        done = subprocess.run(command, env={**os.environ, **quiet}, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {version.script} failed\n{done.stderr}")
        said = json.loads(out.read_text("utf-8"))
        about = {**said, **about}  # the first job gives the versions
        for key in ("models", "not_saved"):
            about[key] = {**about[key], **said[key]}
    shutil.rmtree(GOLDEN / name, ignore_errors=True)
    shutil.copytree(fresh, GOLDEN / name)
    return about


def main() -> None:
    parser = argparse.ArgumentParser(description="Remake the golden files with real Keras.")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of {', '.join(VERSIONS)}")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "refser-golden", metavar="DIR")
    args = parser.parse_args()
    if unknown := set(args.versions) - set(VERSIONS):
        parser.error(f"no such version: {', '.join(sorted(unknown))}")
    python = make_venv(args.venvs / "manifest", "3.11", MANIFEST_PINS)
    for name in args.versions or VERSIONS:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory() as work:
            about = Path(work) / "keras.json"
            about.write_text(json.dumps({name: save_version(name, args.venvs, Path(work))}), "utf-8")
            subprocess.run([python, str(MAKE / "manifest.py"), str(GOLDEN), str(about)], check=True)


if __name__ == "__main__":
    main()
