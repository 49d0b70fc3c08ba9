"""Read and write Keras model files without Keras.

Importing refser loads neither NumPy nor h5py: they come with the first file that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refser.api import load, load_weights, open, save, save_weights, summary, validate
    from refser.checks.report import Finding, Report
    from refser.errors import (
        AccessError,
        InvalidError,
        LimitError,
        MalformedError,
        Problem,
        RefserError,
        UnsafeError,
        UnsupportedError,
    )
    from refser.layouts import ModelFile
    from refser.limits import Limits
    from refser.rules.author import build
    from refser.rules.tree import WeightSpec, WeightTree, expected_weights
    from refser.values import ByteRange, Model, Weight, WeightGroup

__version__ = "0.1.0"

_HOME = {
    "api": ("load", "load_weights", "open", "save", "save_weights", "summary", "validate"),
    "checks.report": ("Finding", "Report"),
    "errors": (
        "AccessError",
        "InvalidError",
        "LimitError",
        "MalformedError",
        "Problem",
        "RefserError",
        "UnsafeError",
        "UnsupportedError",
    ),
    "layouts": ("ModelFile",),
    "limits": ("Limits",),
    "rules.author": ("build",),
    "rules.tree": ("WeightSpec", "WeightTree", "expected_weights"),
    "values": ("ByteRange", "Model", "Weight", "WeightGroup"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AccessError",
    "ByteRange",
    "Finding",
    "InvalidError",
    "LimitError",
    "MalformedError",
    "Model",
    "ModelFile",
    "Problem",
    "RefserError",
    "Report",
    "UnsafeError",
    "UnsupportedError",
    "Limits",
    "Weight",
    "WeightGroup",
    "WeightSpec",
    "WeightTree",
    "__version__",
    "build",
    "expected_weights",
    "load",
    "load_weights",
    "open",
    "save",
    "save_weights",
    "summary",
    "validate",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
