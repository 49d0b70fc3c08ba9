"""What Keras calls its classes and functions, and which keys each class takes, in every version since 2.12.

Spec: spec/arguments.md (AR).  Keras: keras.src.saving.serialization_lib; the `get` of each family.
The table was taken from real installs (tests/signatures/make.py): nothing here is known by heart.

Text of _symbols.json: `@f0 Dense PReLU=layers.PReLU@30` are names with the versions that have them, as bits (the first is for
all that say nothing else), and the name that has the keys where it is another.  Keys: `units!` is required, `!30` only in some;
`+0` is a group of keys, `=layers.Dense` all those of another class.  Strings: `!Constant` needs arguments in these versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from refser._record import record

Kind = Literal["class", "function"]
# In the order in which Keras looks for a function that a file names without a module.
BUILTIN_FAMILIES = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
# And for an object of Keras 1 or 2 with no module, of which nobody says what it is for.
FAMILIES = ("layers", "models", "losses", "metrics", "optimizers", "schedules", "initializers", "regularizers", "constraints",
            "activations", "dtype_policies", "quantizers")  # fmt: skip
# The family of a name, by what it starts with.
FAMILY_OF = (
    ("keras.optimizers.schedules.", "schedules"),
    ("keras.layers.", "layers"),
    ("keras._legacy.layers.", "layers"),
    ("keras.activations.", "activations"),
    ("keras.initializers.", "initializers"),
    ("keras.regularizers.", "regularizers"),
    ("keras.constraints.", "constraints"),
    ("keras.optimizers.", "optimizers"),
    ("keras.losses.", "losses"),
    ("keras.metrics.", "metrics"),
    ("keras.ops.", "ops"),
    ("keras.dtype_policies.", "dtype_policies"),
    ("keras.mixed_precision.", "dtype_policies"),
    ("keras.quantizers.", "quantizers"),
    ("keras.random.", "random"),
    ("keras.models.", "models"),
    ("keras.src.ops.", "ops"),
    ("keras.src.models.", "models"),
    ("keras.src.engine.functional.Functional", "models"),
    ("keras.engine.functional.Functional", "models"),
    ("keras.src.layers.", "layers"),
    ("keras.src.initializers.", "initializers"),
    ("keras.src.losses.", "losses"),
    ("keras.src.metrics.", "metrics"),
    ("keras.src.optimizers.", "optimizers"),
    ("keras.src.quantizers.", "quantizers"),
)
# In the modules of the families, and nothing that a model is made of.
_NOT_MODELLING = re.compile(
    r"(serialize|deserialize|get|clone_model|\w+_model|model_from_\w+|set_\w+|global_policy|dtype_policy)$"
)
# Arguments of layers, for which Keras asks the `get` of the family by their class alone, whatever else it finds in the module.
_BY_CLASS_ALONE = frozenset({"initializers", "regularizers", "constraints"})
_FUNCTIONAL = ("keras.src.models.functional", "keras.src.engine.functional", "keras.engine.functional")
_TOP = {"models": "keras", "schedules": "keras.optimizers.schedules"}


@record(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A key of a config, and the versions that take it: as bits of `versions()`."""

    name: str
    versions: int
    required: int  # the versions that cannot do without it

    @property
    def since(self) -> str:
        return _names_of(self.versions)[0]

    @property
    def until(self) -> str:
        return _names_of(self.versions)[-1]


class Symbol:
    """A class or function that a file may name."""

    def __init__(self, name: str, family: str, kind: Kind, mask: int, keys: str) -> None:
        self.name = name  # "keras.layers.Dense": of several, the one that Keras itself writes
        self.family = family  # "layers", ..., "other" for what has no part in a model
        self.kind = kind
        self.mask = mask  # the versions that find it by the name that was asked for, as bits of `versions()`
        self._keys = keys

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    @property
    def short(self) -> str:
        """`Dense`."""
        return self.name.rpartition(".")[2]

    @property
    def first(self) -> str:
        """The oldest version that has it."""
        return _names_of(self.mask)[0]

    @property
    def last(self) -> str:
        return _names_of(self.mask)[-1]

    def is_in(self, index: int) -> bool:
        """Whether `versions()[index]` has it."""
        return bool(self.mask >> index & 1)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The keys that `from_config` takes in some version.  Empty where nothing is known."""
        return self._parsed[2]

    def takes_anything(self, index: int) -> bool:
        """Whether it takes keys of any name, or nothing is known of its keys."""
        known, open_, _ = self._parsed
        return bool((open_ | ~known) >> index & 1)

    def keys_in(self, index: int) -> frozenset[str]:
        """The keys that it takes in `versions()[index]`."""
        return _keys_in(self, index)[0]

    def required_in(self, index: int) -> tuple[str, ...]:
        return _keys_in(self, index)[1]

    @cached_property
    def _parsed(self) -> tuple[int, int, Mapping[str, Parameter]]:
        """The versions of which the keys are known, those that take any, and the keys."""
        found: dict[str, Parameter] = {}
        known = open_ = 0
        for token in self._keys.split():
            name, at, mask = token.partition("@")
            name, needed, required = name.partition("!")
            versions = int(mask, 16) if at else known
            if not name:
                known = versions
            elif name == "**":
                open_ = versions
            else:
                needs = (int(required, 16) if required else versions) if needed else 0
                found[name] = Parameter(name=name, versions=versions, required=needs)
        return known, open_, found


@cache
def _keys_in(symbol: Symbol, index: int) -> tuple[frozenset[str], tuple[str, ...]]:
    parameters = symbol.parameters.values()
    taken = frozenset(it.name for it in parameters if it.versions >> index & 1)
    return taken, tuple(it.name for it in parameters if it.required >> index & 1)


def versions() -> tuple[str, ...]:
    """Those that are known, the oldest first: one for each minor version."""
    return tuple(_data()["versions"])


@cache
def index_of(version: tuple[int, ...]) -> int | None:
    """Which of `versions()` stands for one: the newest of its generation whose minor version is not later.

    None before 2.12, of which nothing is known.
    """
    found = None
    for index, text in enumerate(versions()):
        known = tuple(int(part) for part in text.split("."))
        if known[0] == version[0] and known[:2] <= version[:2]:
            found = index
    return found


def newest() -> int:
    return len(versions()) - 1


def find(module: str | None, class_name: str, registered_name: str | None = None) -> Symbol | None:
    """What Keras takes an object or a function of this module and name for; None where it knows none in any version.

    `registered_name` is that of a custom object, and of no object of Keras.
    """
    if registered_name and ">" in registered_name and not registered_name.startswith(("keras>", "Keras>", "builtins>")):
        return None
    if module == "builtins":
        return next((it for family in BUILTIN_FAMILIES if (it := _find(f"keras.{family}", class_name))), None)
    if module is None:
        return next((it for family in FAMILIES if (it := named(family, class_name))), None)
    family = module.removeprefix("keras.")
    found, also = _find(module, class_name), _by_string(family, class_name)
    if also and family in _BY_CLASS_ALONE:
        return also
    if found and also and also.mask & ~found.mask:
        return _symbol(found.name.removeprefix("keras."), found.mask | also.mask)
    return found or also


def named(family: str, string: str) -> Symbol | None:
    """What the `get` of a family makes of a string, or of an object by its `class_name` alone."""
    found = _by_string(family, string) or _find(_TOP.get(family, f"keras.{family}"), string)
    if found is None and (family, string) == ("models", "Functional"):
        return _functional()
    return found


def _by_string(family: str, string: str) -> Symbol | None:
    table = _strings(family)
    if family == "optimizers" and string not in table:
        string = string.lower()
    if string not in table:
        return None
    meant, mask = table[string]
    return _symbol(meant or f"{family}.{string}", mask)


def names(family: str) -> frozenset[str]:
    """The strings that the `get` of a family takes, in whatever version: "activations", "losses", ..."""
    return frozenset(string for string in _strings(family) if string[0] != "!")


def names_in(family: str, index: int) -> frozenset[str]:
    """Of these, the ones that `versions()[index]` takes without more: some need arguments, and only objects may have them."""
    return _names_in(family, index)


@cache
def classes_in(family: str, index: int) -> frozenset[str]:
    """The names of classes and functions that the `get` of a family knows in `versions()[index]`, with arguments or without."""
    table = _strings(family)
    return frozenset(string for string, (_, mask) in table.items() if mask >> index & 1 and string[0] != "!")


def class_names(family: str) -> frozenset[str]:
    """The classes and functions of a family's own module."""
    module = _TOP.get(family, f"keras.{family}")
    return frozenset((*_module("class", module), *_module("function", module)))


@cache
def _names_in(family: str, index: int) -> frozenset[str]:
    table = _strings(family)
    taken = {string for string, (_, mask) in table.items() if mask >> index & 1}
    return frozenset(string for string in taken if string[0] != "!" and f"!{string}" not in taken)


@cache
def _functional() -> Symbol | None:
    """One class that moved: what the newest takes, in all versions that have either."""
    found = [symbol for module in _FUNCTIONAL if (symbol := _find(module, "Functional"))]
    return _symbol(found[0].name.removeprefix("keras."), sum(symbol.mask for symbol in found))


def _find(module: str, name: str) -> Symbol | None:
    for kind in ("class", "function"):
        found = _module(kind, module).get(name)
        if found is not None:
            own, mask = found
            return _symbol(own or f"{module}.{name}".removeprefix("keras."), mask)
    return None


@cache
def _symbol(name: str, mask: int) -> Symbol:
    module, _, last = f"keras.{name}".rpartition(".")
    kind: Kind = "class" if last in _module("class", module) else "function"
    family = _data()["families"].get(name) or family_by_name(f"keras.{name}")
    return Symbol(f"keras.{name}", family, kind, mask, _keys_of(name))


def _keys_of(name: str) -> str:
    keys = _data()["keys"]
    text: str = keys.get(name, "")
    if text.startswith("="):
        text = keys[text[1:]]
    head, *groups = text.split("+")
    return " ".join([head, *(_data()["groups"][int(group)] for group in groups)])


def family_by_name(name: str) -> str:
    """What the name alone says of the family."""
    if _NOT_MODELLING.match(name.rpartition(".")[2]):
        return "other"
    return next((family for prefix, family in FAMILY_OF if name.startswith(prefix)), "other")


def _module(kind: str, module: str) -> Mapping[str, tuple[str | None, int]]:
    return _table(kind, module) if module in _data()[kind] else {}


def _strings(family: str) -> Mapping[str, tuple[str | None, int]]:
    return _table("strings", family) if family in _data()["strings"] else {}


@cache  # asked for names in the table alone: those in files are without number
def _table(section: str, name: str) -> Mapping[str, tuple[str | None, int]]:
    return dict(_read(_data()[section][name]))


def _read(text: str) -> Iterator[tuple[str, tuple[str | None, int]]]:
    usual = 0
    for number, token in enumerate(text.split()):
        name, at, mask = token.partition("@")
        if not number:
            usual = int(mask, 16)
            continue
        name, _, meant = name.partition("=")
        yield name, (meant or None, int(mask, 16) if at else usual)


def _names_of(mask: int) -> list[str]:
    return [text for index, text in enumerate(versions()) if mask >> index & 1]


@cache
def _data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("_symbols.json").read_text("utf-8"))
    return found
