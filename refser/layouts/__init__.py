"""The table of layouts: each one's name, what writes it and which name stands for it.

Reading goes by content (identify), writing by this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from refser.layouts.identify import open_layout
from refser.layouts.model_file import ModelFile
from refser.values import Generation, Model

__all__ = ["LAYOUTS", "Layout", "ModelFile", "open_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One layout that refser writes: the function `write_<function>` of one module, imported when it is wanted."""

    module: str
    function: str
    generation: Generation | None  # None: either
    example: str  # a name that stands for it

    def write(self, model: Model, path: str, **options: Any) -> None:
        write: Callable[..., None] = getattr(import_module(f"refser.layouts.{self.module}"), f"write_{self.function}")
        write(model, path, **options)


def _layout(function: str, generation: Generation | None, example: str, module: str = "") -> Layout:
    return Layout(module=module or function, function=function, generation=generation, example=example)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "keras-zip": _layout("keras_zip", "v3", "model.keras"),
        "keras-dir": _layout("keras_dir", "v3", "model/"),
        "weights-h5": _layout("weights_h5", "v3", "model.weights.h5"),
        "weights-sharded": _layout("weights_sharded", "v3", "model.weights.json"),
        "legacy-h5": _layout("legacy_h5", "legacy", "model.h5"),
        "legacy-weights-h5": _layout("legacy_weights_h5", "legacy", "weights.h5", "legacy_h5"),
        "config-json": _layout("config_json", None, "model.json"),
    }
)
