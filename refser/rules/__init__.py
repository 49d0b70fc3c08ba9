"""Which weights a model has, from its config alone: the classes of Keras, and how to teach refser others.

A class that refser does not know is opaque: what is below it cannot be told, all around it can.  A rule makes it known:

    from refser.rules import Child, Layer, Rule, Var, register


    def _children(layer: Layer) -> list[Child]:  # attributes that are layers, with what each was built for
        shape = layer.shape
        dense = layer.sub("Dense", {"units": layer.integer("units")}, name="inner", build={"input_shape": shape})
        return [Child("inner", dense)]


    register(
        "my_package>Scaled",  # as `@keras.saving.register_keras_serializable("my_package")` names it
        Rule(
            "Scaled",
            (Var("scale", "width"), Var("offset", "width", when="use_bias")),  # in the order of their making
            dims=lambda layer: {"width": layer.axis(-1)},
            children=_children,
            output=lambda layer, shapes: shapes[0],
        ),
    )

A package that has rules names a function in its metadata, which refser calls once, before it looks a class up:

    [project.entry-points."refser.rules"]
    my_package = "my_package.refser_rules:register_all"

A rule reads arguments with `layer.integer`, `layer.flag`, `layer.choice` and their like, which refuse what Keras would not
take; it raises `Unknown("the reason")` where the config cannot tell, `layer.refuse("units", "what was wanted")` for a wrong
argument, and nothing else.

Spec: spec/layers.md (LY).  Importing this loads no table: they come with the first class that is looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refser.rules.layer import Layer, Unknown
    from refser.rules.rule import Child, Rule, Var
    from refser.rules.table import register

_HOME = {"Child": "rule", "Layer": "layer", "Rule": "rule", "Unknown": "layer", "Var": "rule", "register": "table"}

__all__ = ["Child", "Layer", "Rule", "Unknown", "Var", "register"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
