"""Functional and Sequential models: their layers, in the order of the file.

Keras: keras.src.models.  Spec: spec/weight-trees.md (WT-002, WT-011, WT-012).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from refser.config.models import INPUT_SHAPES, entries_of, is_operation
from refser.config.objects import KerasObject, path_of
from refser.rules.infer import infer, output_of_model
from refser.rules.layer import KERAS_3, MODELS, Layer, Shape, Unbuilt, Unknown, object_in
from refser.rules.rule import Child, Rule
from refser.rules.table import rule_for

LAYERS_SINCE, COUNTED_ONCE_SINCE = (2, 15), (2, 14)


def layers_of(model: Layer) -> list[Layer]:
    """The layers in the model's config, operations left out, each with what it was built for.

    Where the file says that of none of them, the shapes come from the graph [WT-021].
    """
    if model.members is None:
        model.members = _read_layers(model)
        if all(layer.build is None for layer in model.members) and is_built(model):
            infer(model, model.members)
    return model.members


def is_built(model: Layer) -> bool:
    """Whether a model was built, as far as the config tells: of Keras 3, a Sequential that nothing says the input of was not.

    Not even by a model at its head, which says what it takes itself, in the first versions.
    """
    if model.key != "Sequential" or model.version < KERAS_3 or model.build is not None:
        return True
    values, _ = entries_of(KerasObject(model.json, model.at))
    first = values[0] if values else None
    config = first.get("config") if isinstance(first, Mapping) else None
    said = (config.get(key) for key in INPUT_SHAPES) if isinstance(config, Mapping) else ()
    return model.config.get("build_input_shape") is not None or any(shape is not None for shape in said)


def _read_layers(model: Layer) -> list[Layer]:
    scopes: Sequence[str] | None = ("",)
    if model.key == "Sequential":  # it builds its layers itself, unless they come from a file
        scopes = None if model.scopes_below is None else [*model.scopes_below, ""]
    values, place = entries_of(KerasObject(model.json, model.at))
    at = path_of(place)
    objects = [object_in(value, f"{at}[{number}]") for number, value in enumerate(values)]
    return [Layer.of(it, version=model.version, scopes=scopes) for it in objects if not is_operation(it)]


def members_of(model: Layer) -> list[Layer]:
    """The layers that the model holds: a leading InputLayer of a Sequential is none of them [WT-012]."""
    layers = layers_of(model)
    headed = model.key == "Sequential" and bool(layers) and layers[0].class_name == "InputLayer"
    return layers[1:] if headed else layers


def _layers(model: Layer) -> Iterable[Child]:
    """The container under its name of this version; before 2.14 a layer with weights stood in it twice [WT-017]."""
    layers = members_of(model)
    if model.version >= LAYERS_SINCE:
        return (Child("layers", layers),)
    if model.version >= COUNTED_ONCE_SINCE:
        return (Child("_layer_checkpoint_dependencies", layers),)
    return (Child("_layer_checkpoint_dependencies", [it for layer in layers for it in [layer] * (1 + has_weights(layer))]),)


def _output(model: Layer, shapes: list[Shape]) -> list[Shape]:
    return output_of_model(model, layers_of(model), shapes)


def has_weights(layer: Layer) -> bool:
    """Whether the layer or one inside it has a variable, as far as the config tells."""
    todo: list[Any] = [layer]
    while todo:
        value = todo.pop()
        if not isinstance(value, Layer):
            todo.extend(value)
            continue
        if (rule := rule_for(value.key)) is None:
            return True
        try:
            if rule.variables_of(value):
                return True
            if value.key in MODELS:
                todo.extend(layers_of(value))  # their container would ask the same of each of them
            elif rule.children:
                todo.extend(child.value for child in rule.children(value))
        except (Unbuilt, Unknown):
            continue
    return False


RULES = (
    *(Rule(name, children=_layers, output=_output) for name in MODELS),
    Rule("InputLayer"),
)
