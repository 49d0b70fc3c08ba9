"""Classes that Keras does not bring, as users write them.  Imported late: it imports Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

PACKAGE = "refser_tests"


@keras.saving.register_keras_serializable(PACKAGE)
class Odd(keras.layers.Layer):
    """Scales its input; keeps its variables under keys of its own, arrays that are no variables, and two assets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.words = ["unset"]
        self.extra = {key: np.zeros(0, "uint8") for key in ("bits", "scalar", "nothing", "wide")}

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.count = self.add_weight(shape=(), name="count", dtype="int32", initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        return x * keras.ops.cast(self.scale, x.dtype)

    def set_state(self, rng: np.random.Generator) -> None:
        """What is no variable and comes back from the file only."""
        self.words = [f"wört {number}" for number in rng.integers(0, 1000, 3)]
        self.extra = {
            "bits": rng.integers(0, 2, (3, 1)).astype(bool),
            "scalar": np.float64(rng.normal()),
            "nothing": np.zeros((0, 4), "int16"),
            "wide": rng.integers(0, 2**63, 4).astype("uint64"),
        }

    def save_own_variables(self, store: Any) -> None:
        store["idf/weights"] = self.scale
        store["größe"] = self.count
        for number, (key, value) in enumerate(self.extra.items()):
            store[f"{number * 4}"] = value  # 0, 4, 8, 12: as strings, 12 sorts before 4
            store[f"deep/{key}.x"] = value

    def load_own_variables(self, store: Any) -> None:
        self.scale.assign(store["idf/weights"])
        self.count.assign(store["größe"])
        self.extra = {key: store[f"deep/{key}.x"] for key in self.extra}
        assert all(np.array_equal(store[f"{4 * number}"], value) for number, value in enumerate(self.extra.values()))

    def save_assets(self, folder: str) -> None:
        Path(folder, "words.txt").write_text("\n".join(self.words), "utf-8")
        Path(folder, "deep").mkdir()
        Path(folder, "deep", "bits.bin").write_bytes(bytes(range(256)))

    def load_assets(self, folder: str) -> None:
        self.words = Path(folder, "words.txt").read_text("utf-8").splitlines()
        assert Path(folder, "deep", "bits.bin").read_bytes() == bytes(range(256))


@keras.saving.register_keras_serializable(PACKAGE)
class Tower(keras.Model):
    """A subclassed model: layers in attributes, in a list and in a dict, a private one, and one reached twice."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        policy = self.dtype_policy
        self.stem = keras.layers.Dense(width, dtype=policy)
        self.alias = self.stem
        self.blocks = [keras.layers.Dense(width, dtype=policy), keras.layers.LayerNormalization(dtype=policy)]
        self.heads = {"größe": keras.layers.Dense(width, dtype=policy), "b": keras.layers.Dense(1, dtype=policy)}
        self._private = keras.layers.Dense(width, dtype=policy)

    def build(self, shape: Any) -> None:
        shape = tuple(shape)
        self.bias = self.add_weight(shape=(self.width,), name="own_bias")
        inner = (*shape[:-1], self.width)
        self.stem.build(shape)
        for layer in (*self.blocks, *self.heads.values(), self._private):
            layer.build(inner)

    def call(self, x: Any) -> Any:
        x = self.stem(x) + keras.ops.cast(self.bias, self.compute_dtype)
        for block in self.blocks:
            x = block(x)
        return self._private(x + self.heads["größe"](x)) * self.heads["b"](x)

    def compute_output_shape(self, shape: Any) -> tuple[int, ...]:
        return (*tuple(shape)[:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}
