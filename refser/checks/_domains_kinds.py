"""Kinds of argument: which JSON values Keras takes for one, in a few words.

Spec: spec/argument-values.md (AR).  Not here: which argument is of which kind (the tables).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from refser.checks._domains_names import DTYPES

Accepts = Callable[[Any], bool]

# Keras asks `isinstance(value, int)`: true counts as 1
INTS = frozenset({int, bool})
NUMBERS = frozenset({int, float, bool})
TEXT = frozenset({str})
LISTS = frozenset({list})
ANYTHING = frozenset({int, float, bool, str, list, dict, type(None)})


def is_int(value: Any) -> bool:
    return value.__class__ in INTS


def is_number(value: Any) -> bool:
    return value.__class__ in NUMBERS


class Kind(NamedTuple):
    """What an argument may be.  `typed`: the types of value that it has some values of."""

    wanted: str
    accepts: Accepts
    typed: frozenset[type]
    code: str = "AR-011"


def code_of(kind: Kind, value: Any) -> str:
    """The requirement that a value breaks which the kind does not accept."""
    if value.__class__ is dict and "class_name" in value and kind.code in ("AR-011", "AR-014"):
        return "AR-015"
    return "AR-010" if kind.code == "AR-011" and value.__class__ not in kind.typed else kind.code


# Numbers


def integer(least: int = 1, *, bools: bool = True) -> Kind:
    wanted = f"an integer, at least {least}"
    if bools:
        return Kind(wanted, lambda v: is_int(v) and v >= least, INTS)
    return Kind(wanted, lambda v: v.__class__ is int and v >= least, frozenset({int}))


def number(least: float | None = None, most: float | None = None, *, above: float | None = None) -> Kind:
    """`above`: a bound that is itself too small."""

    def accepts(value: Any) -> bool:
        return (
            is_number(value)
            and (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
        )

    if least is not None and most is not None:
        return Kind(f"a number from {least} to {most}", accepts, NUMBERS)
    bounds = [f"at least {least}"] * (least is not None) + [f"above {above}"] * (above is not None)
    bounds += [f"at most {most}"] * (most is not None)
    return Kind(", ".join(["a number", *bounds]), accepts, NUMBERS)


def real(least: float | None = None, most: float | None = None, *, above: float | None = None) -> Kind:
    """Where Keras asks for a Python float: 1 will not do, 1.0 will."""
    inner = number(least, most, above=above)
    return Kind(
        inner.wanted.replace("a number", "a number with a decimal point", 1),
        lambda v: v.__class__ is float and inner.accepts(v),
        frozenset({float}),
    )


NUMBER = number()
RATE = number(0, 1)


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_tensor(value: Any) -> bool:
    """Numbers, and what a backend makes some of: lists, arrays, text of a number, to NumPy even null."""
    if value.__class__ is str:
        return len(value) < 400 and _is_numeric(value)
    if value.__class__ is dict:
        return str(value.get("class_name")) in ("__numpy__", "__tensor__")
    return value is None or is_number(value) or value.__class__ is list


# Most hyperparameters, which Keras does not look at until it computes with them
TENSOR = Kind("a number", _is_tensor, NUMBERS | LISTS)
SCALAR = Kind("a number", lambda v: is_number(v) or v.__class__ is list, NUMBERS | LISTS)
# What goes through `float(...)`
FLOATABLE = Kind("a number", lambda v: is_number(v) or (v.__class__ is str and len(v) < 400 and _is_numeric(v)), NUMBERS)


# Choices


def one_of(*words: str, caseless: bool = False) -> Kind:
    known = frozenset(words)
    wanted = "one of " + ", ".join(words) if len(words) > 1 else words[0]
    if caseless:
        return Kind(wanted, lambda v: v.__class__ is str and v.lower() in known, TEXT)
    return Kind(wanted, lambda v: v.__class__ is str and v in known, TEXT)


STRING = Kind("a string", lambda v: v.__class__ is str, TEXT)
BOOLEAN = Kind("true or false", lambda v: v.__class__ is bool, frozenset({bool}))


# Combinations


def or_null(kind: Kind) -> Kind:
    accepts = kind.accepts
    wanted = f"{kind.wanted}, or null"
    return kind._replace(wanted=wanted, accepts=lambda v: v is None or accepts(v), typed=kind.typed | {type(None)})


def or_empty(kind: Kind) -> Kind:
    """Where Keras takes anything that Python holds for false as not given."""
    accepts = kind.accepts
    return kind._replace(wanted=f"{kind.wanted}, or null", accepts=lambda v: not v or accepts(v))


def either(*kinds: Kind) -> Kind:
    """What one of the kinds accepts; the code is that of the first."""
    each = tuple(kind.accepts for kind in kinds)
    wanted = ", or ".join(kind.wanted for kind in kinds)
    typed = frozenset[type]().union(*(kind.typed for kind in kinds))
    return Kind(wanted, lambda v: any(accepts(v) for accepts in each), typed, kinds[0].code)


def items(kind: Kind, *, least: int = 0, most: int | None = None, wanted: str = "") -> Kind:
    """A list, each item of which the kind accepts."""
    accepts = kind.accepts

    def all_accepted(value: Any) -> bool:
        if value.__class__ is not list or len(value) < least or (most is not None and len(value) > most):
            return False
        return all(map(accepts, value))

    return Kind(wanted or f"a list, each item {kind.wanted}", all_accepted, LISTS)


def per_axis(rank: int, least: int = 1, *, floats: bool = False) -> Kind:
    """An integer for all axes, or a number for each.  `floats`: Keras takes other numbers in a list, not alone."""
    one, each = integer(least).accepts, is_number if floats else is_int
    lowest: float = 0 if least and floats else least - 1  # not above it

    def accepts(value: Any) -> bool:
        if value.__class__ is list:
            return len(value) == rank and all(each(n) and n > lowest for n in value)
        return one(value)

    several = f"{rank} of them" if rank > 1 else "a list of one"
    return Kind(f"an integer, at least {least}, or {several}", accepts, INTS | LISTS)


def ends(rank: int, least: int | None) -> Kind:
    """How much at either end of each axis: one number, one for each axis, or two for each.  `least` of a number alone."""
    size = integer(0).accepts

    def is_pair(value: Any) -> bool:
        return size(value) or (value.__class__ is list and len(value) == 2 and all(map(size, value)))

    def accepts(value: Any) -> bool:
        if value.__class__ is list:
            return len(value) == rank and all(map(is_pair, value))
        return is_int(value) and (least is None or value >= least)

    return Kind(f"an integer, or {rank} integers or pairs of them, each at least 0", accepts, INTS | LISTS)


AXES = Kind(
    "an integer or a list of them",
    # Keras's `operator.index` finds other numbers in a list only where the shape is known
    lambda v: is_int(v) or (v.__class__ is list and all(is_number(n) for n in v)),
    INTS | LISTS,
)


# Shapes and dtypes


def _is_axis(value: Any) -> bool:
    return value is None or (is_int(value) and value >= 0)


SHAPE = items(integer(0), wanted="a shape: a list of sizes, null where one is unknown")._replace(
    accepts=lambda v: v.__class__ is list and all(map(_is_axis, v)), code="AR-014"
)

# Keras makes a tuple of an empty text or object too
INPUT = or_null(SHAPE)._replace(accepts=lambda v: v is None or v in ("", {}) or SHAPE.accepts(v))
DTYPE = Kind("a Keras dtype", lambda v: v.__class__ is str and v in DTYPES, TEXT, "AR-012")


# Objects


_MODULES = {
    "keras": "",
    "keras.optimizers.schedules": "optimizers",
    **{f"keras.{name}": name for name in ("initializers", "layers", "losses", "metrics", "optimizers", "regularizers")},
}


def family_of(value: Mapping[str, Any]) -> str | None:
    """Of a class of Keras: "layers", "initializers", "optimizers", ...; "" of what stands in `keras` itself; else None."""
    module = value.get("module")
    if module.__class__ is not str:
        return None
    if module in _MODULES:
        return _MODULES[module]
    head, _, rest = module.partition(".")
    return rest.partition(".")[0] if head == "keras" and not rest.startswith("src") else None


def is_keras_object(value: Any) -> bool:
    return value.__class__ is dict and value.get("class_name").__class__ is str and "config" in value


def object_of(family: str, names: Collection[str]) -> Kind:
    """A name, or an object of the family.  Keras looks a class up by its name alone, whatever its module."""
    known = frozenset(names)
    article = "an" if family[0] in "aeiou" else "a"

    def accepts(value: Any) -> bool:
        if value is None or value.__class__ is str:  # whether Keras knows a name is asked elsewhere
            return True
        if not is_keras_object(value):
            return False
        found = family_of(value)
        if found is None or found == family or value["class_name"] in known:  # perhaps the user's own, or for others to judge
            return True
        return value["class_name"] == "function" and value.get("registered_name") in known

    wanted = f"the name of {article} {family[:-1]}, an object that is one, or null"
    return Kind(wanted, accepts, frozenset({str, dict, type(None)}), "AR-015")


def _is_callable(value: Any) -> bool:
    """A name, or any object that can be called, as layers and initializers can."""
    if value.__class__ is dict:
        return is_keras_object(value) and family_of(value) not in ("optimizers", "dtype_policies") and not _is_policy(value)
    return value is None or value.__class__ is str


ACTIVATION = Kind(
    "the name of an activation, an object that can be called, or null",
    _is_callable,
    frozenset({str, dict, type(None)}),
    "AR-015",
)


def _is_policy(value: Mapping[str, Any]) -> bool:
    return family_of(value) == "" and str(value["class_name"]).endswith("DTypePolicy")


def layer_in(wanted: str, names: Collection[str] = ()) -> Kind:
    """A layer, where Keras's own have to be of some classes."""
    known = frozenset(names)

    def accepts(value: Any) -> bool:
        if not is_keras_object(value):
            return False
        family = family_of(value)
        if family == "layers":
            return not known or value["class_name"] in known
        return family in (None, "", "models") and not _is_policy(value)

    return Kind(wanted, accepts, frozenset({dict}), "AR-015")


def object_in(wanted: str, family: str) -> Kind:
    """An object, where Keras's own has to be of the family."""
    return Kind(wanted, lambda v: is_keras_object(v) and family_of(v) in (None, family), frozenset({dict}), "AR-015")


def object_named(wanted: str, *names: str) -> Kind:
    """An object of one of the classes."""
    return Kind(wanted, lambda v: is_keras_object(v) and v["class_name"] in names, frozenset({dict}), "AR-015")


def schedule_or(kind: Kind) -> Kind:
    """A learning rate: a number or a schedule."""
    accepts = kind.accepts

    def either_one(value: Any) -> bool:
        if value.__class__ is dict:
            return is_keras_object(value) and family_of(value) in (None, "optimizers") and not _is_optimizer(value)
        return accepts(value)

    return Kind(f"{kind.wanted}, or a schedule", either_one, kind.typed | {dict})


def _is_optimizer(value: Mapping[str, Any]) -> bool:
    return value.get("module") == "keras.optimizers"
