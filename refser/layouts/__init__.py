"""The table of layouts: each one's name, what writes it and which name stands for it.

Reading goes by content (identify), writing by this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from refser.layouts.config_json import write_config_json
from refser.layouts.identify import open_layout
from refser.layouts.keras_dir import write_keras_dir
from refser.layouts.keras_zip import write_keras_zip
from refser.layouts.legacy_h5 import write_legacy_h5, write_legacy_weights_h5
from refser.layouts.model_file import ModelFile
from refser.layouts.weights_h5 import write_weights_h5
from refser.layouts.weights_sharded import write_weights_sharded
from refser.values import Generation

__all__ = ["LAYOUTS", "Layout", "ModelFile", "open_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One layout that refser writes."""

    write: Callable[..., None]
    generation: Generation | None  # None: either
    example: str  # a name that stands for it


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "keras-zip": Layout(write=write_keras_zip, generation="v3", example="model.keras"),
        "keras-dir": Layout(write=write_keras_dir, generation="v3", example="model/"),
        "weights-h5": Layout(write=write_weights_h5, generation="v3", example="model.weights.h5"),
        "weights-sharded": Layout(write=write_weights_sharded, generation="v3", example="model.weights.json"),
        "legacy-h5": Layout(write=write_legacy_h5, generation="legacy", example="model.h5"),
        "legacy-weights-h5": Layout(write=write_legacy_weights_h5, generation="legacy", example="weights.h5"),
        "config-json": Layout(write=write_config_json, generation=None, example="model.json"),
    }
)
