"""Real Keras: the same model saved, and its weights loaded."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import peers
from measure import Work, race
from samples import MIB
from table import Table

import refser


def against_keras(table: Table, folder: Path, megabytes: int, rounds: int) -> None:
    """Dense layers of 2 MiB.  What Keras takes to load from an archive grows with the square of its size."""
    os.environ.setdefault("KERAS_BACKEND", "jax" if find_spec("jax") else "numpy")
    import keras

    layers = max(1, megabytes // 2)
    width = int((megabytes * MIB / 4 / layers) ** 0.5)
    model = keras.Sequential([keras.Input((width,)), *(keras.layers.Dense(width) for _ in range(layers))])
    path, target = folder / "x.keras", folder / "y.keras"
    model.save(path)
    title = f"{megabytes:,} MiB .keras, Keras {keras.__version__} ({keras.backend.backend()})"
    works: dict[str, Work] = {
        "refser.load_weights": lambda: refser.load_weights(path),
        "refser.open and views": lambda: peers.refser_views(path),
        "Keras load_weights": lambda: model.load_weights(path),
    }
    loads = race(works, rounds, warm=False)  # a round takes half a minute
    table.show(f"load weights, {title}", loads)
    loaded = refser.load(path)
    works = {"refser.save": lambda: refser.save(loaded, target, overwrite=True), "Keras save": lambda: model.save(target)}
    saves = race(works, rounds)
    table.show(f"save, {title}", saves)
    keras_load = loads["Keras load_weights"].wall
    for who in ("refser.load_weights", "refser.open and views"):
        ratio = keras_load / loads[who].wall
        table.target(f"{who}, {megabytes:,} MiB .keras, speed", ratio, at_least=100, unit="x Keras")
    ratio = saves["Keras save"].wall / saves["refser.save"].wall
    table.target(f"refser.save, {megabytes:,} MiB .keras, speed, flushed to disk and all", ratio, at_least=5, unit="x Keras")
