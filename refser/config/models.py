"""Models among the objects: what their config holds, in every spelling since Keras 1.

Spec: spec/config-objects.md (CF-030 and later).  Keras: keras.src.models, keras.src.legacy.saving.saving_utils.
Not here: which layer gets whose tensors (_graph).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from refser.config._operations import OPERATIONS
from refser.config.objects import KerasObject, Node, Place, invalid, kind_of, shown
from refser.errors import InvalidError

Refuse: TypeAlias = Callable[[InvalidError], None]


def stop(error: InvalidError) -> None:
    """How a reader refuses; whoever wants all faults passes another `refuse`, and gets what else can be read."""
    raise error


INPUT_SHAPES = ("batch_shape", "batch_input_shape")  # where a layer says what goes into it: Keras 3, and before
_ENDS = ("input_layers", "output_layers")


def is_functional(found: Node) -> bool:
    """Whether it is a model with a graph, of whatever class: a subclass of Keras's Functional has the same config [CF-044]."""
    return isinstance(found, KerasObject) and all(key in found.config for key in ("layers", *_ENDS))


def is_sequential(found: Node) -> bool:
    """Whether it is a chain of layers [CF-044]."""
    if not isinstance(found, KerasObject) or "layers" not in found.config or is_functional(found):
        return False
    return found.class_name == "Sequential" or "build_input_shape" in found.config


def is_model(found: Node) -> bool:
    return is_functional(found) or is_sequential(found)


def is_operation(found: KerasObject) -> bool:
    """Operations such as `x * 2` stand among the layers, and are none [CF-043].

    In the HDF5 files of Keras 3 there is no module, but all layers are trainable or not, and of a type.
    """
    if (module := found.module) is not None:
        return module.startswith(("keras.src.ops", "keras.ops"))
    if found.class_name not in OPERATIONS or "trainable" in found.config or "dtype" in found.config:
        return False
    calls = found.json.get("inbound_nodes")
    return isinstance(calls, list) and bool(calls) and all(isinstance(call, Mapping) and "args" in call for call in calls)


def is_input(found: KerasObject) -> bool:
    return found.class_name == "InputLayer"


def layers_place(model: KerasObject) -> Place:
    """Where the list of the layers stands; Keras 1 has that of a Sequential in the place of its config."""
    config = Place(model.place, "config")
    return config if isinstance(model.json.get("config"), list) else Place(config, "layers")


def entries_of(model: KerasObject, refuse: Refuse = stop) -> tuple[list[Any], Place]:
    """What stands in the list of the layers, and where that is.  Raises `InvalidError` [CF-030]."""
    values, place = model.config.get("layers"), layers_place(model)
    if not isinstance(values, list):
        message = f"{kind_of(values)} as the layers of {model.class_name:.60}; wanted a list"
        refuse(invalid("CF-030", message, place))
        values = []
    return values, place


def layers_of(model: KerasObject, refuse: Refuse = stop) -> list[KerasObject]:
    """The layers, operations among them, in the order of the file.  Raises `InvalidError` [CF-010, CF-030]."""
    values, place = entries_of(model, refuse)
    found = []
    for number, value in enumerate(values):
        at = Place(place, number)
        if not isinstance(value, Mapping):
            refuse(invalid("CF-030", f"{kind_of(value)} in the place of a layer; wanted an object", at))
            continue
        try:
            found.append(KerasObject(value, at))
        except InvalidError as error:
            refuse(error)
    return found


def input_shape_of(model: KerasObject) -> Any:
    """The shape that a Sequential was built for, as the JSON has it; None where the file does not say [CF-042]."""
    while True:
        layers = model.config.get("layers")
        first = layers[0] if isinstance(layers, list) and layers else None
        inner = KerasObject(first, Place(layers_place(model), 0)) if isinstance(first, Mapping) else None
        if inner is not None:
            for key in INPUT_SHAPES:
                if inner.config.get(key) is not None:
                    return _shape(inner.config[key], Place(Place(inner.place, "config"), key))
        if model.config.get("build_input_shape") is not None:
            return _shape(model.config["build_input_shape"], Place(Place(model.place, "config"), "build_input_shape"))
        if inner is None or not is_sequential(inner):
            return None
        model = inner


def _shape(value: Any, place: Place) -> Any:
    """A list of numbers and nulls, or a list or an object of such lists."""
    stack = [value]
    while stack:
        shape = stack.pop()
        if isinstance(shape, Mapping):
            stack.extend(shape.values())
        elif not isinstance(shape, list):
            raise invalid("CF-042", f"{shown(shape)} as a shape; wanted a list", place)
        elif not all(n is None or (type(n) is int and n >= 0) for n in shape):
            stack.extend(shape)
    return value


class Training(NamedTuple):
    """What a model was compiled with; each part as the JSON has it, None where it has none [CF-024]."""

    optimizer: Any
    loss: Any
    metrics: Any
    weighted_metrics: Any
    loss_weights: Any
    place: Place | str


def training_of(config: Mapping[str, Any], place: Place | str = "", refuse: Refuse = stop) -> Training:
    """The parts of a `compile_config`, or of a `training_config` of Keras 1 and 2 [CF-024]."""
    key = "optimizer_config" if "optimizer_config" in config else "optimizer"
    optimizer = config.get(key)
    try:
        if isinstance(optimizer, Mapping):
            KerasObject(optimizer, Place(place, key))
        elif optimizer is not None and not isinstance(optimizer, str):
            raise invalid("CF-024", f"{kind_of(optimizer)} as the optimizer; wanted an object or a name", Place(place, key))
    except InvalidError as error:
        refuse(error)
    loss, metrics, weighted, weights = (config.get(name) for name in ("loss", "metrics", "weighted_metrics", "loss_weights"))
    return Training(optimizer, loss, metrics, weighted, weights, place)
