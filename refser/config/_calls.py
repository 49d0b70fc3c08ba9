"""The calls of one layer as Keras writes them, `inbound_nodes`, and the tensors that they name.

Spec: spec/config-objects.md (CF-032 to CF-035, CF-040).  Keras: `serialize_node` and `deserialize_node` of
keras.src.models.functional; tf.keras `Node.serialize`.  Not here: which call a name leads to (_graph).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from refser.config.models import Refuse, is_input, stop
from refser.config.nodes import KerasTensor, is_reference
from refser.config.objects import KerasObject, Place, invalid, kind_of, shown
from refser.errors import InvalidError

CONSTANT = "_CONSTANT_VALUE"  # stands for the name of a layer where tf.keras has a value
Link: TypeAlias = "tuple[Any, int | str] | None"  # (the link above, a key): where in an argument, joined when asked for


class Reference(NamedTuple):
    """`[name, call, output]`, and where it stands."""

    name: str
    call: int
    output: int
    argument: int | str | None
    link: Link
    place: Place


class RawCall(NamedTuple):
    """A call with the tensors that it names."""

    layer: int
    number: int
    is_list: bool  # as Keras 1 and 2 write it
    references: list[Reference]
    place: Place


def read_calls(layer: KerasObject, number: int, *, source: bool, refuse: Refuse = stop) -> Iterator[RawCall]:
    """Every call of a layer.  One that makes an input of the model has a call that is not in the file [CF-032]."""
    place = Place(layer.place, "inbound_nodes")
    values = layer.json.get("inbound_nodes")
    if not isinstance(values, list):
        message = f"{kind_of(values)} as the calls of a layer; wanted a list"
        refuse(invalid("CF-032", message, place))
        values = []
    if is_input(layer) and values:
        refuse(invalid("CF-032", "calls of an InputLayer; wanted none", place))
        values = []
    if is_input(layer) or (source and not values):
        yield RawCall(number, 0, False, [], place)
    for index, value in enumerate(values):
        at = Place(place, index)
        if isinstance(value, Mapping) and "args" in value and "kwargs" in value:
            yield RawCall(number, index, False, _of_object(value, at, refuse), at)
        elif isinstance(value, (list, Mapping)):
            yield RawCall(number, index, True, _of_list(value, at, refuse) if value else [], at)
        else:
            refuse(invalid("CF-033", f"{kind_of(value)} as a call; wanted args and kwargs, or a list of tensors", at))
            yield RawCall(number, index, False, [], at)


def references(value: Any, place: Place, refuse: Refuse = stop) -> list[Reference]:
    """The tensors of `input_layers` or `output_layers`: one, or a structure of lists and objects [CF-040]."""
    found = []
    stack: list[tuple[Any, Link, Place]] = [(value, None, place)]
    while stack:
        value, link, place = stack.pop()
        if _is_leaf(value, 3):
            found.extend(_reference(value, None, link, place, refuse))
        elif isinstance(value, (list, Mapping)):
            stack.extend((child, (link, key), Place(place, key)) for key, child in _below(value))
        else:
            refuse(invalid("CF-040", f"{kind_of(value)} in the place of a tensor; wanted a name and two numbers", place))
    return found


def _of_object(call: Mapping[str, Any], place: Place, refuse: Refuse) -> list[Reference]:
    """Keras 3: the arguments, with `__keras_tensor__` in the place of tensors [CF-033]."""
    if not isinstance(call["args"], list) or not isinstance(call["kwargs"], Mapping):
        message = f"{kind_of(call['args'])} as args and {kind_of(call['kwargs'])} as kwargs; wanted a list and an object"
        refuse(invalid("CF-033", message, place))
        return []
    found = []
    stack: list[tuple[Any, int | str, Link, Place]] = []
    for name in ("kwargs", "args"):
        above = Place(place, name)
        stack.extend((value, key, None, Place(above, key)) for key, value in _below(call[name]))
    while stack:
        value, argument, link, place = stack.pop()
        if isinstance(value, list) or (isinstance(value, Mapping) and "class_name" not in value):
            for key, child in _below(value):
                if child.__class__ is dict or child.__class__ is list:
                    stack.append((child, argument, (link, key), Place(place, key)))
        elif isinstance(value, Mapping) and value["class_name"] == "__keras_tensor__" and "config" in value:
            try:
                history = KerasTensor(value, place).history
            except InvalidError as error:
                refuse(error)
                continue
            if history is not None:
                found.append(Reference(history[0], history[1], history[2], argument, link, place))
    return found


def _of_list(call: Any, place: Place, refuse: Refuse) -> list[Reference]:
    """Keras 1 and 2: the tensors of the first argument, each with all other arguments behind it [CF-034]."""
    found = []
    keywords: Any = None
    stack: list[tuple[Any, Link, Place]] = [(call, None, place)]
    while stack:
        value, link, place = stack.pop()
        if _is_leaf(value, 4):
            if len(value) == 4 and not isinstance(value[3], Mapping):
                message = f"{kind_of(value[3])} as the arguments behind a tensor; wanted an object"
                refuse(invalid("CF-034", message, Place(place, 3)))
                value = value[:3]
            keywords = (value[3], Place(place, 3)) if len(value) == 4 else None  # Keras takes those of the last
            if value[0] != CONSTANT or value[1] != -1:
                found.extend(_reference(value[:3], 0, link, place, refuse))
        elif isinstance(value, (list, Mapping)):
            stack.extend((child, (link, key), Place(place, key)) for key, child in _below(value))
        else:
            message = f"{kind_of(value)} in the place of a tensor; wanted a name, two numbers and arguments"
            refuse(invalid("CF-034", message, place))
    if len(found) == 1 and len(call) == 1 and found[0].link == (None, 0):
        found[0] = found[0]._replace(link=None)  # a list of one tensor is that tensor
    return found + _of_keywords(*keywords) if keywords and keywords[0] else found


def _of_keywords(keywords: Mapping[str, Any], place: Place) -> list[Reference]:
    """tf.keras: a list of a name and two numbers is a tensor."""
    found = []
    stack: list[tuple[Any, int | str, Link, Place]]
    stack = [(value, key, None, Place(place, key)) for key, value in _below(keywords)]
    while stack:
        value, argument, link, place = stack.pop()
        if is_reference(value):
            found.append(Reference(value[0], value[1], value[2], argument, link, place))
        elif isinstance(value, (list, Mapping)):
            for key, child in _below(value):
                if child.__class__ is dict or child.__class__ is list:
                    stack.append((child, argument, (link, key), Place(place, key)))
    return found


def _below(value: Any) -> list[tuple[Any, Any]]:
    """What is in a list or an object, last first: the stack gives it back in the order of the text."""
    items = list(value.items() if isinstance(value, Mapping) else enumerate(value))
    items.reverse()
    return items


def _is_leaf(value: Any, most: int) -> bool:
    return isinstance(value, list) and 3 <= len(value) <= most and isinstance(value[0], str)


def _reference(value: list[Any], argument: int | str | None, link: Link, place: Place, refuse: Refuse) -> list[Reference]:
    if not is_reference(value):
        message = f"[{', '.join(map(shown, value))}] as a tensor; wanted a layer's name and the numbers of a call and an output"
        refuse(invalid("CF-035", message, place))
        return []
    name, call, output = value
    return [Reference(name, call, output, argument, link, place)]
