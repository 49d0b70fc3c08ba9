"""What a class owns, as data: one short entry per class, which the code, the spec's tables and the tests read alike.

Spec: spec/layers.md (LY-010).  Not here: the entries (the tables), the walk over them (walk).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from refser.config.objects import invalid
from refser.rules.layer import MAX_SIZE, RANK_MAX, Layer, Shape

Size = int | None
Dims = Mapping[str, int | tuple[Size, ...] | None]


class Var(NamedTuple):
    """A variable: its name, and its shape as terms over the rule's dimensions and the layer's integer arguments.

    Terms are separated by commas; a term is a product (`*`) or a quotient rounded down (`//`) or up (`/^`), and `*name` alone
    stands for several axes: "*kernel_size, C//groups, filters".  "" is a scalar.
    """

    name: str | None  # None: Keras numbers it by a global counter
    shape: str | tuple[Size, ...] = ""
    when: str = ""  # arguments that have to be true: "use_bias", "!tie_weights", "center & !rms_scaling"
    trainable: bool = True
    dtype: str = ""  # "": the policy's variable dtype; "compute": its compute dtype; "int", "floatx": the backend's defaults
    of: str = ""  # the attribute of the child whose variable of this name it is, saved a second time
    key: str = ""  # what the file calls it; "": the number of the variable among those that have no key
    slot: bool = True  # False: overwritten by its gradient, so that no optimizer keeps anything for it


class Child(NamedTuple):
    """A layer, or a container of layers, that the class keeps in an attribute."""

    attribute: str
    value: Layer | Sequence[Any]  # layers and further containers


Variables = Sequence[Var] | Callable[[Layer], Iterable[Var]]


class Rule(NamedTuple):
    """Everything that is known of one class.

    `variables` in the order of their making; `children` in the order of their making, the walk sorts them; `output` gives the
    shape of the output for the shapes of the inputs.  `opaque` says why nobody can tell from the config.
    """

    class_name: str
    variables: Variables = ()
    dims: Callable[[Layer], Dims] | None = None
    children: Callable[[Layer], Iterable[Child]] | None = None
    output: Callable[[Layer, list[Shape]], Any] | None = None
    python_name: str = ""  # Python's name of the class, where Keras exports it under another
    opaque: str = ""
    assets: Sequence[str] | Callable[[Layer], Iterable[str]] = ()  # files that it keeps below its own path
    own_order: bool = False  # saved in this order, not the trainable ones first

    def variables_of(self, layer: Layer) -> list[tuple[Var, Shape]]:
        """The layer's own variables with their shapes, in file order [WT-010].

        Raises `Unbuilt`, `Unknown`, or `InvalidError` for arguments that Keras would not take.
        """
        wanted = list(self.variables(layer) if callable(self.variables) else self.variables)
        wanted = [var for var in wanted if not var.when or _holds(var.when, layer)]
        if not wanted:
            return []
        dims = self.dims(layer) if self.dims else {}
        found = [(var, var.shape if isinstance(var.shape, tuple) else shape_of(var.shape, dims, layer)) for var in wanted]
        return found if self.own_order else sorted(found, key=lambda item: not item[0].trainable)

    def assets_of(self, layer: Layer) -> list[str]:
        """The names of the files that the layer keeps among the assets."""
        return list(self.assets(layer) if callable(self.assets) else self.assets)


def _holds(condition: str, layer: Layer) -> bool:
    for part in condition.split("&"):
        name = part.strip()
        wanted = not name.startswith("!")
        if layer.flag(name.lstrip("!"), name.lstrip("!") in _TRUE_BY_DEFAULT) != wanted:
            return False
    return True


_TRUE_BY_DEFAULT = {"use_bias", "center", "scale", "tie_weights", "reset_after"}


def shape_of(text: str, dims: Dims, layer: Layer) -> Shape:
    """The shape that the terms give.  Raises `InvalidError` for one that no array can have [LY-004]."""
    found: list[Size] = []
    for term in _terms(text):
        if term.startswith("*"):
            several = dims.get(term[1:])
            if several is None:
                raise KeyError(f"{term[1:]} is no dimension of {layer.class_name}")
            found.extend(several if isinstance(several, tuple) else (several,))
        else:
            found.append(_value(term, dims, layer))
    if len(found) > RANK_MAX:
        raise invalid("LY-004", f"{layer.class_name} would have a variable of {len(found):,} axes", layer.at)
    if any(size is not None and not 0 <= size < MAX_SIZE for size in found):
        raise invalid("LY-004", f"{layer.class_name} would have a variable of shape {tuple(found)}", layer.at)
    return tuple(found)


_PARSED: dict[str, tuple[str, ...]] = {}


def _terms(text: str) -> tuple[str, ...]:
    if (found := _PARSED.get(text)) is None:
        found = _PARSED[text] = tuple(term.strip() for term in text.split(",") if term.strip())
    return found


def _value(term: str, dims: Dims, layer: Layer) -> Size:
    for operator in ("/^", "//", "*", "+"):
        left, found, right = term.rpartition(operator)
        if not found:
            continue
        a, b = _value(left.strip(), dims, layer), _value(right.strip(), dims, layer)
        if a is None or b is None:
            return None
        if operator == "+":
            return a + b
        if operator == "*":
            return a * b
        if b == 0:
            raise invalid("LY-004", f"{layer.class_name} would divide {left.strip()} by 0", layer.at)
        return -(-a // b) if operator == "/^" else a // b
    if term.isdigit():
        return int(term)
    if term in dims:
        value = dims[term]
        if isinstance(value, tuple):
            raise TypeError(f"{term} stands for several axes of {layer.class_name}")
        return value
    return layer.integer(term)
