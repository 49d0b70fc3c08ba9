"""Values that Keras writes in the shape of objects: functions, arrays, bytes, slices, lambdas, tensors of a graph.

Spec: spec/config-objects.md (CF).  Keras: keras.src.saving.serialization_lib; keras.src.legacy.saving.json_utils.
Nothing is imported, decoded or run because a file names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refser.config.objects import KerasObject, Node, Place, invalid, kind_of, shown
from refser.errors import InvalidError


class Function(Node):
    """A function, or whatever else Keras writes by its name alone [CF-011]."""

    __slots__ = ("class_name", "name")
    kind = "function"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        self.class_name, self.name = json["class_name"], json["config"]
        if not isinstance(self.name, str) or not self.name:
            message = f"{shown(self.name)} as the name of a function; wanted a string"
            raise invalid("CF-011", message, Place(place, "config"))

    @property
    def module(self) -> str | None:
        found = self.json.get("module")
        return found if isinstance(found, str) else None

    @property
    def registered_name(self) -> str | None:
        found = self.json.get("registered_name")
        return found if isinstance(found, str) else None


class Array(Node):
    """`__tensor__`, `__numpy__`, and the `{"type": "ndarray"}` of Keras 2, which has no dtype [CF-012]."""

    __slots__ = ("dtype", "value")
    kind = "array"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        inner = json if "class_name" not in json else _inner(json, place, "CF-012")
        dtype, self.value = inner.get("dtype"), inner.get("value")
        if self.value is None or isinstance(self.value, (str, Mapping)):
            raise invalid("CF-012", f"{kind_of(self.value)} as the values of an array; wanted numbers", place)
        if not isinstance(dtype, str) and inner is not json:
            raise invalid("CF-012", f"{shown(dtype)} as the dtype of an array; wanted a string", place)
        self.dtype: str | None = dtype if isinstance(dtype, str) else None


class Bytes(Node):
    """`__bytes__`: bytes that are UTF-8 [CF-013]."""

    __slots__ = ("value",)
    kind = "bytes"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        text = (_inner(json, place, "CF-013") if "config" in json else json).get("value")
        if not isinstance(text, str):
            raise invalid("CF-013", f"{kind_of(text)} as bytes; wanted a string", place)
        try:
            self.value = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise invalid("CF-013", "bytes with a lone surrogate; wanted UTF-8", place) from error


class Slice(Node):
    """`__slice__`; each bound as the JSON has it [CF-013]."""

    __slots__ = ("start", "step", "stop")
    kind = "slice"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        inner = _inner(json, place, "CF-013")
        if missing := [key for key in ("start", "stop", "step") if key not in inner]:
            raise invalid("CF-013", f"a slice without {missing[0]}; wanted start, stop and step", place)
        self.start, self.stop, self.step = inner["start"], inner["stop"], inner["step"]


class Ellipsis_(Node):
    """`__ellipsis__`, which is `...` [CF-013]."""

    __slots__ = ()
    kind = "ellipsis"


class Lambda(Node):
    """A lambda as marshalled code in Base64 (in Keras 1: as characters), which nobody may decode [CF-014]."""

    __slots__ = ("closure", "code", "defaults")
    kind = "lambda"

    def __init__(self, json: Any, place: Place | str) -> None:
        super().__init__(json, place)
        parts = json
        if isinstance(json, Mapping):
            inner = _inner(json, place, "CF-014")
            parts = inner["value"] if "value" in inner else [inner.get(key) for key in ("code", "defaults", "closure")]
        if isinstance(parts, str):
            parts = [parts, None, None]
        if not isinstance(parts, list) or len(parts) != 3 or not isinstance(parts[0], str):
            raise invalid("CF-014", f"{kind_of(parts)} as a lambda; wanted code, defaults and closure", place)
        self.code: str
        self.code, self.defaults, self.closure = parts
        if not all(part is None or isinstance(part, list) for part in parts[1:]):
            raise invalid("CF-014", "defaults or a closure of a lambda that are no list", place)


class TypeSpec(Node):
    """`__typespec__` of TensorFlow: a class by its name, its arguments as a list [CF-015]."""

    __slots__ = ("arguments", "spec_name")
    kind = "type spec"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        name, arguments = json.get("spec_name"), json["config"]
        if not isinstance(name, str):
            raise invalid("CF-015", f"{shown(name)} as spec_name; wanted a string", place)
        if not isinstance(arguments, list):
            raise invalid("CF-015", f"{kind_of(arguments)} as a type spec; wanted a list", Place(place, "config"))
        self.spec_name: str = name
        self.arguments: list[Any] = arguments


class KerasTensor(Node):
    """`__keras_tensor__`: an argument of a call that comes from elsewhere in the graph, or from nowhere [CF-016]."""

    __slots__ = ("dtype", "history", "shape")
    kind = "tensor"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        inner = _inner(json, place, "CF-016")
        shape, dtype, history = inner.get("shape"), inner.get("dtype"), inner.get("keras_history")
        if shape is not None and not isinstance(shape, list):
            raise invalid("CF-016", f"{kind_of(shape)} as the shape of a tensor; wanted a list", place)
        if not isinstance(dtype, str):
            raise invalid("CF-016", f"{shown(dtype)} as the dtype of a tensor; wanted a string", place)
        if history is not None and not is_reference(history):
            message = f"{shown(history)} as keras_history; wanted a name and two numbers"
            raise invalid("CF-016", message, Place(Place(place, "config"), "keras_history"))
        self.shape, self.dtype = shape, dtype
        self.history: list[Any] | None = history


class Older(Node):
    """What tf.keras writes without `config`: `__tuple__`, `TensorShape`, `TypeSpec`, `CompositeTensor` [CF-017]."""

    __slots__ = ("class_name", "items")
    kind = "older"

    def __init__(self, json: Mapping[str, Any], place: Place | str) -> None:
        super().__init__(json, place)
        self.class_name: str = json["class_name"]
        key = _OLDER[self.class_name]
        self.items = json.get(key)
        if not isinstance(self.items, list) and not (self.class_name == "TensorShape" and self.items is None):
            raise invalid("CF-017", f"{kind_of(self.items)} as {key} of {self.class_name}; wanted a list", place)


_OLDER = {"__tuple__": "items", "TensorShape": "items", "TypeSpec": "serialized", "CompositeTensor": "tensors"}
_WITH_CONFIG: dict[str, Callable[[Any, Place | str], Node]] = {
    "function": Function,
    "__tensor__": Array,
    "__numpy__": Array,
    "__bytes__": Bytes,
    "__slice__": Slice,
    "__ellipsis__": Ellipsis_,
    "__lambda__": Lambda,
    "__typespec__": TypeSpec,
    "__keras_tensor__": KerasTensor,
}
_WITHOUT: dict[str, Callable[[Any, Place | str], Node]] = {
    "__bytes__": Bytes,
    "__ellipsis__": Ellipsis_,
    **dict.fromkeys(_OLDER, Older),
}
_LEAVES = (Function, Array, Bytes, Lambda, KerasTensor, Ellipsis_)  # nothing below them stands for anything


_MOST = 1 << 31


def is_reference(value: Any) -> bool:
    """Whether `value` is `[layer, call, output]` [CF-035]."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    name, node, tensor = value
    return isinstance(name, str) and type(node) is int and type(tensor) is int and 0 <= node < _MOST and 0 <= tensor < _MOST


def read_node(value: Any, place: Place | str) -> Node | None:
    """What `value` stands for; None for plain JSON.  Raises `InvalidError` for what stands for nothing [CF-010 to CF-017]."""
    if not isinstance(value, Mapping):
        return None
    if "class_name" not in value:
        return Array(value, place) if value.get("type") == "ndarray" and "value" in value else None
    class_name = value["class_name"]
    if "config" not in value:
        make = _WITHOUT.get(class_name) if isinstance(class_name, str) else None
        return make(value, place) if make else None
    make = _WITH_CONFIG.get(class_name) if isinstance(class_name, str) else None
    if make:
        return make(value, place)
    if isinstance(value["config"], str) and isinstance(class_name, str) and class_name:
        return Function(value, place)
    return KerasObject(value, place)


def walk(value: Any, place: Place | str = "", *, refuse: Callable[[InvalidError], None] | None = None) -> Iterator[Node]:
    """Every node at and below `value`, in the order of the text.

    What stands for nothing is raised, or given to `refuse`, and the walk goes on below it.
    """
    stack: list[tuple[Any, Place | str]] = [(value, place)]
    while stack:
        value, place = stack.pop()
        if isinstance(value, Node):
            yield value
            continue
        below: list[tuple[Any, Place | str]]
        if isinstance(value, list):
            below = [(child, Place(place, n)) for n, child in enumerate(value) if child.__class__ in _CONTAINERS]
        else:
            try:
                node = read_node(value, place)
            except InvalidError as error:
                if refuse is None:
                    raise
                refuse(error)
                node = None
            if node is not None:
                yield node
                if isinstance(node, _LEAVES):
                    continue
            below = [(child, Place(place, key)) for key, child in value.items() if child.__class__ in _CONTAINERS]
            if "lambda" in value.values():
                below = [_as_lambda(value, child, place, refuse) for child, place in below]
        below.reverse()
        stack.extend(below)


_CONTAINERS = (dict, list)


def _as_lambda(
    owner: Mapping[str, Any], value: Any, place: Any, refuse: Callable[[InvalidError], None] | None
) -> tuple[Any, Place | str]:
    """Keras 1 and 2 have `"function": [code, defaults, closure], "function_type": "lambda"`."""
    if isinstance(value, list) and owner.get(f"{place.key}_type") == "lambda":
        try:
            return Lambda(value, place), place
        except InvalidError as error:
            if refuse is None:
                raise
            refuse(error)
    return value, place


def _inner(json: Mapping[str, Any], place: Place | str, code: str) -> Mapping[str, Any]:
    inner = json["config"]
    if not isinstance(inner, Mapping):
        raise invalid(code, f"{kind_of(inner)} as config of {json['class_name']}; wanted an object", Place(place, "config"))
    return inner
