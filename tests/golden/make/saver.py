"""What the saving scripts share: the command line, the inputs of the models, and a record of what was saved.

Runs under Python 3.7.  Not here: Keras.
"""

from __future__ import annotations

import json
import platform
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

SEED = 7
WORDS = ["red green blue", "white black red"]  # five words
TOKENS = np.array([[1, 2, 3, 4], [4, 3, 2, 0]], dtype="int32")
IMAGE = np.linspace(-1, 1, 32, dtype="float32").reshape(2, 4, 4, 1)
TARGET = np.array([[0.0, 1.0], [1.0, 0.0]], dtype="float32")
SEQUENCE = np.linspace(-1, 1, 24, dtype="float32").reshape(2, 4, 3)


def seed() -> None:
    """Seed what `keras.utils.set_random_seed` seeds beside the backend."""
    random.seed(SEED)
    np.random.seed(SEED)


class Saver:
    """Saves below one folder and keeps the message of what Keras refused."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.not_saved: dict[str, str] = {}

    def save(self, name: str, write: Callable[[str], object]) -> None:
        """Call `write(path)`; on any exception leave nothing behind and note why."""
        path = self.folder / name
        try:
            write(str(path))
        except Exception as error:  # whatever this Keras raises: the files it can save are still wanted
            self.not_saved[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()

    def text(self, name: str, text: str) -> None:
        (self.folder / name).write_bytes(text.encode("utf-8"))


def run(makers: dict[str, Callable[[Saver], None]], keras: str, backend: str, h5py: str) -> None:
    """Run the makers named on the command line `FOLDER ABOUT MODEL...`; write what they were run with to ABOUT."""
    folder, about, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    saver = Saver(folder)
    for name in names:
        seed()
        makers[name](saver)
    versions = {"keras": keras, "backend": backend, "python": platform.python_version(), "h5py": h5py}
    models = dict.fromkeys(names, backend)
    result = dict(versions, numpy=np.__version__, models=models, not_saved=saver.not_saved)
    Path(about).write_text(json.dumps(result), "utf-8")


def long_names(count: int, width: int) -> list[str]:
    """Layer names, one of `width` characters: a fixed-width array of them is over what one HDF5 attribute holds."""
    return [f"layer_{number}" for number in range(count - 1)] + ["layer_" + "x" * (width - 6)]
