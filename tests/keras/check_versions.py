"""Acceptance: for every golden file and layout, the Keras that saved it loads refser's copy like its own file.

    python tests/keras/check_versions.py [--venvs DIR] [--python keras-3.6.0=/path/to/python]... [--json FILE]

Without --python, every environment below --venvs (default ~/.cache/refser-golden) that has the name of a golden folder.
Exit status 0: all copies load like the originals, or fail like those that CANNOT_RELOAD names; 1: some do not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from copies import MANIFEST, copies

# Files that the Keras which saved them cannot load again: their copies have to fail in the same way.
CANNOT_RELOAD = {
    "keras-3.0.5/functional.[kw]*": "its LSTM: 1 objects could not be loaded",
    "tf-keras-2.1[2345].?/mixed.*": "bfloat16: no cast function available",
}
SCRIPT = Path(__file__).with_name("reload_with.py")


def check(version: str, python: str, folder: Path) -> list[dict[str, Any]]:
    """The results of one version, one process per backend."""
    jobs: dict[str, list[dict[str, Any]]] = {}
    for copy in copies(version):
        jobs.setdefault(copy.backend, []).append({**copy.job(folder / version), "source": copy.source, "target": copy.target})
    results = []
    for backend, todo in jobs.items():
        files = [folder / f"{version}-{backend}-{part}.json" for part in ("jobs", "results")]
        files[0].write_text(json.dumps(todo), "utf-8")
        env = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [python, str(SCRIPT), *map(str, files)] + (["--standalone"] if version.startswith("keras-") else [])
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{version}: {python} failed\n{done.stderr[-3000:]}")
        results += json.loads(files[1].read_text("utf-8"))["results"]
    return results


def wanted(name: str) -> str:
    return "both fail" if any(fnmatchcase(name.split(" ")[0], source) for source in CANNOT_RELOAD) else "same"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "refser-golden")
    parser.add_argument("--python", action="append", default=[], metavar="VERSION=PYTHON")
    parser.add_argument("--json", type=Path, help="write all results there")
    options = parser.parse_args()
    pythons = dict(item.split("=", 1) for item in options.python)
    if not pythons:
        found = {version: options.venvs / version / "bin" / "python" for version in MANIFEST["keras"]}
        pythons = {version: str(python) for version, python in found.items() if python.exists()}
    everything: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for version, python in pythons.items():
            everything[version] = results = check(version, python, Path(folder))
            print(f"{version:<18}", dict(Counter(result["status"] for result in results)), flush=True)
            for result in results:
                if result["status"] != "same":
                    print(f"    {result['status']}: {result['name']}: {result['error']}")
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), "utf-8")
    bad = [r for results in everything.values() for r in results if r["status"] != wanted(r["name"])]
    print(f"{sum(map(len, everything.values()))} copies, {len(bad)} not as they have to be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
