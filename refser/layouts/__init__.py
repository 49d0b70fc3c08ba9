"""The table of layouts: each one's name, what writes it and which name stands for it.

Reading goes by content (identify), writing by this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from refser.layouts.identify import open_layout
from refser.layouts.model_file import ModelFile
from refser.values import Generation, Model

if TYPE_CHECKING:
    from refser.output import Output

__all__ = ["LAYOUTS", "Layout", "ModelFile", "open_layout"]


class Layout(NamedTuple):
    """One layout that refser writes: the function `write_<function>` of one module, imported when it is wanted."""

    module: str
    function: str
    generation: Generation | None  # None: either
    example: str  # a name that stands for it
    one_file: bool  # and so something that a stream can take

    def write(self, model: Model, place: Output | str, **options: Any) -> None:
        """To an `Output` where the layout is one file, else to a path."""
        write: Callable[..., None] = getattr(import_module(f"refser.layouts.{self.module}"), f"write_{self.function}")
        write(model, place, **options)


def _layout(function: str, generation: Generation | None, example: str, *, module: str = "", one_file: bool = True) -> Layout:
    return Layout(module=module or function, function=function, generation=generation, example=example, one_file=one_file)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "keras-zip": _layout("keras_zip", "v3", "model.keras"),
        "keras-dir": _layout("keras_dir", "v3", "model/", one_file=False),
        "weights-h5": _layout("weights_h5", "v3", "model.weights.h5"),
        "weights-sharded": _layout("weights_sharded", "v3", "model.weights.json", one_file=False),
        "legacy-h5": _layout("legacy_h5", "legacy", "model.h5"),
        "legacy-weights-h5": _layout("legacy_weights_h5", "legacy", "weights.h5", module="legacy_h5"),
        "config-json": _layout("config_json", None, "model.json"),
    }
)
