"""Classes of named fields, with slots: what `dataclasses` makes, in a fraction of the time.

To import `dataclasses` and to make our classes with it takes as long as all else that `refser inspect` does.  To type
checkers a record is a dataclass, and to `dataclasses.fields`, `asdict` and `replace` too.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as record
    from dataclasses import field
else:

    def record(*, slots, frozen=False, kw_only=False, eq=True):
        """As `dataclass`, for a class without bases that has only annotations, defaults and methods."""
        return lambda cls: _made(cls, {"frozen": frozen, "kw_only": kw_only, "eq": eq})

    def field(*, default=..., default_factory=None, repr=True):
        return _Field(default, default_factory, repr)


__all__ = ["field", "record"]


class _Field(NamedTuple):
    default: Any = ...  # where there is none
    make: Callable[[], Any] | None = None  # the default of each object
    shown: bool = True  # by `repr`


def _made(cls: type, options: dict[str, bool]) -> type:
    """The class once more, with slots and methods; those that it defines itself stay."""
    own = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    defaults = {name: own.pop(name, ...) for name in cls.__annotations__}
    fields = {name: value if isinstance(value, _Field) else _Field(value) for name, value in defaults.items()}
    names = tuple(fields)
    values: Callable[[object], Any] = attrgetter(*names) if len(names) > 1 else lambda self: (getattr(self, names[0]),)

    def text(self: object) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in names if fields[name].shown)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def equal(self: object, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def set_state(self: object, state: tuple[Any, ...]) -> None:
        for name, value in zip(names, state):
            object.__setattr__(self, name, value)

    made: dict[str, Any] = {
        "__qualname__": cls.__qualname__,
        "__slots__": names,
        "__match_args__": () if options["kw_only"] else names,
        "__init__": _init(fields, options, calls_more="__post_init__" in own),
        "__repr__": text,
        "__getstate__": lambda self: values(self),
        "__setstate__": set_state,
        "__replace__": lambda self, **changes: type(self)(**dict(zip(names, values(self))) | changes),
        "__dataclass_fields__": _AsDataclass(fields, options),
        "__dataclass_params__": _AsDataclass(fields, options),
    }
    if options["eq"]:
        made |= {"__eq__": equal, "__hash__": (lambda self: hash(values(self))) if options["frozen"] else None}
    if options["frozen"]:
        made |= {"__setattr__": _refuse_to_change, "__delattr__": _refuse_to_change}
    return type(cls.__name__, (), made | own)


def _init(fields: dict[str, _Field], options: dict[str, bool], *, calls_more: bool) -> Callable[..., None]:
    """From source text, as dataclasses do it: there are thousands of objects to make."""
    known: dict[str, Any] = {"put_": object.__setattr__, "new_": object()}
    parameters, lines = ["self", "*"] if options["kw_only"] else ["self"], list[str]()
    for name, (default, make, _) in fields.items():
        value = name
        if make:
            known[f"make_{name}"] = make
            parameters.append(f"{name}=new_")
            value = f"make_{name}() if {name} is new_ else {name}"
        elif default is not ...:
            known[f"default_{name}"] = default
            parameters.append(f"{name}=default_{name}")
        else:
            parameters.append(name)
        lines.append(f"put_(self, {name!r}, {value})" if options["frozen"] else f"self.{name} = {value}")
    if calls_more:
        lines.append("self.__post_init__()")
    made: dict[str, Any] = {}
    exec(f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines), known, made)
    init: Callable[..., None] = made["__init__"]
    return init


def _refuse_to_change(self: object, name: str, value: object = None) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"the field {name!r} of a {type(self).__name__} cannot be changed")


class _AsDataclass:
    """An attribute that the functions of `dataclasses` look for, made when they do."""

    def __init__(self, fields: dict[str, _Field], options: dict[str, bool]) -> None:
        self._fields, self._options = fields, options
        self._value: Any = None

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if self._value is None:
            self._value = getattr(self._dataclass(owner), self._name)
        return self._value

    def _dataclass(self, owner: type) -> type:
        import dataclasses

        fields = []
        for name, (default, make, shown) in self._fields.items():
            given: dict[str, Any] = {"default_factory": make} if make else {} if default is ... else {"default": default}
            fields.append((name, owner.__annotations__[name], dataclasses.field(repr=shown, **given)))
        options: dict[str, Any] = {**self._options}
        return dataclasses.make_dataclass(owner.__name__, fields, **options)
