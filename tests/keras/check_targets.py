"""Proof of `refser validate --target`: which files which Keras loads.  Run by hand; tests/test_target.py reads what it wrote.

    python tests/keras/check_targets.py VERSION=PYTHON[:FOLDER...][@BACKEND]... [--made DIR] [--only load]

Every version saves the small models of targets_with.py; then each loads all of them, and the golden files.
The outcomes go to tests/data/targets/<version>.json, and configs and weights (without values) to models.json.gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import refser

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("targets_with.py")
DATA = ROOT / "tests" / "data" / "targets"
GOLDEN = ROOT / "tests" / "golden"


def run(where: str, *arguments: str) -> None:
    python, _, backend = where.partition("@")
    python, _, folders = python.partition(":")
    env = os.environ | {"KERAS_BACKEND": backend or "jax", "PYTHONPATH": folders, "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([python, str(SCRIPT), *arguments], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} failed\n{done.stderr[-3000:]}")


def golden() -> dict[str, str]:
    """The golden files that are whole models or configs."""
    manifest = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))
    left_out = ("npz", "saved-model", "weights-h5", "weights-sharded", "legacy-weights-h5")
    return {
        f"golden/{name}": str(GOLDEN / name)
        for name, facts in sorted(manifest["files"].items())
        if facts["layout"] not in left_out and ".npz" not in name
    }


def described(path: Path) -> dict[str, Any]:
    """A model without the values of its weights."""
    with refser.open(str(path)) as file:
        assert file.config_json is not None
        return {
            "keras_version": file.keras_version,
            "config": file.config_json,
            "weights": [[weight.path, weight.dtype, list(weight.shape)] for weight in file.weights.values()],
            "assets": sorted(file.assets),
        }


def write_models(made: dict[str, str]) -> None:
    models = {name: described(Path(path)) for name, path in made.items()}
    text = json.dumps(models, sort_keys=True, separators=(",", ":"))
    (DATA / "models.json.gz").write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


def made_in(folder: Path) -> dict[str, str]:
    return {f"{path.parent.name}/{path.stem}": str(path) for path in sorted(folder.glob("*/*.keras"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("installs", nargs="+", metavar="VERSION=PYTHON[:FOLDER...][@BACKEND]")
    parser.add_argument("--made", type=Path, default=Path("targets"), help="where the small models are, or will be")
    parser.add_argument("--only", choices=("save", "load"))
    options = parser.parse_args()
    installs = dict(item.split("=", 1) for item in options.installs)
    DATA.mkdir(exist_ok=True)
    if options.only != "load":
        for version, where in installs.items():
            (options.made / version).mkdir(parents=True, exist_ok=True)
            run(where, "save", str(options.made / version))
    if options.only == "save":
        return
    made = made_in(options.made)
    write_models(made)
    jobs, results = options.made / "jobs.json", options.made / "results.json"
    jobs.write_text(json.dumps({**golden(), **made}), "utf-8")
    for version, where in installs.items():
        run(where, "load", str(jobs), str(results))
        write_results(version, json.loads(results.read_text("utf-8")))


def write_results(version: str, found: dict[str, Any]) -> None:
    text = json.dumps({"keras": found["keras"], "results": dict(sorted(found["results"].items()))}, indent=0)
    (DATA / f"{version}.json").write_text(text + "\n", "utf-8")
    outcomes = list(found["results"].values())
    print(f"{version:<8} loads {outcomes.count('loaded')} of {len(outcomes)}", flush=True)


if __name__ == "__main__":
    main()
