"""Every golden file copied by refser into every layout of its generation that its Keras knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import refser

GOLDEN = Path(__file__).parent.parent / "golden"
MANIFEST: dict[str, Any] = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))
SINCE = {"keras-dir": (3, 6), "weights-sharded": (3, 12)}
KINDS = {
    "keras-zip": "model",
    "keras-dir": "model",
    "legacy-h5": "model",
    "weights-h5": "weights",
    "weights-sharded": "weights",
    "legacy-weights-h5": "weights",
    "config-json": "config",
}
TARGETS = {
    "keras-zip": ("keras-zip", "keras-dir", "weights-h5", "weights-sharded"),
    "keras-dir": ("keras-zip", "keras-dir", "weights-h5", "weights-sharded"),
    "weights-h5": ("weights-h5", "weights-sharded"),
    "weights-sharded": ("weights-h5", "weights-sharded"),
    "legacy-h5": ("legacy-h5", "legacy-weights-h5"),
    "legacy-weights-h5": ("legacy-weights-h5",),
    "config-json": ("config-json",),
}
FILE_NAMES = {
    "keras-zip": "copy.keras",
    "keras-dir": "copy",
    "weights-h5": "copy.weights.h5",
    "weights-sharded": "copy.weights.json",
    "legacy-h5": "copy.h5",
    "legacy-weights-h5": "copy.h5",
    "config-json": "copy.json",
}
BASES = {"v3": (".keras", ".dir", ".json", ".legacy.h5"), "legacy": (".legacy.h5", ".json", ".keras")}
SHARD_BYTES = 690  # as in the golden files: two of the models then need several shards


@dataclass(frozen=True)
class Copy:
    """One golden file and the layout that it is copied to."""

    source: str  # "keras-3.15.1/functional.keras"
    target: str

    @property
    def name(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def layout(self) -> str:
        return str(MANIFEST["files"][self.source]["layout"])

    @property
    def backend(self) -> str:
        version, file = self.source.split("/")
        return str(MANIFEST["keras"][version]["models"].get(file.split(".")[0], "tensorflow"))

    def job(self, folder: Path) -> dict[str, Any]:
        """Copy with refser below `folder`; what reload_with.py is to do with the two files."""
        place = folder / self.source.replace("/", "_") / self.target
        place.mkdir(parents=True)
        original, path = GOLDEN / self.source, place / FILE_NAMES[self.target]
        model = refser.load(original)
        refser.save(model, path, layout=self.target, max_shard_size=self._cap(model))
        if self.layout == "legacy-weights-h5":  # Keras 3 takes a name that ends in weights.h5 for another layout
            original = Path(shutil.copy(original, place / "original.h5"))
        legacy = self.layout.startswith("legacy")
        stem = GOLDEN / self.source.split("/")[0] / original_stem(self.source)
        bases = [f"{stem}{suffix}" for suffix in BASES["legacy" if legacy else "v3"] if Path(f"{stem}{suffix}").exists()]
        if KINDS[self.layout] == "model":
            bases = [str(original)]
        kinds = [KINDS[self.layout], KINDS[self.target]]
        return {
            "name": self.name,
            "original": str(original),
            "copy": str(path),
            "kinds": kinds,
            "bases": bases,
            "legacy": legacy,
        }

    def _cap(self, model: refser.Model) -> float | None:
        if self.target != "weights-sharded":
            return None
        return max(SHARD_BYTES, *(weight.nbytes for weight in model.weights.values())) / 1024**3


def original_stem(source: str) -> str:
    return source.split("/")[1].split(".")[0]


def copies(version: str) -> Iterator[Copy]:
    """Every copy to make for the folder of one version."""
    release = tuple(int(part) for part in version.rpartition("-")[2].split(".")[:2])
    for source, entry in MANIFEST["files"].items():
        if source.startswith(f"{version}/"):
            for target in TARGETS.get(entry["layout"], ()):
                if release >= SINCE.get(target, (0, 0)):
                    yield Copy(source, target)
