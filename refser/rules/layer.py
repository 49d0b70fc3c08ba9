"""One layer as its config describes it: what a rule may ask, with every answer checked.

Spec: spec/layers.md (LY).  Not here: which variables a class owns (the tables), how layers hang together (walk).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from refser.config.objects import KerasObject, invalid, is_object, kind_of
from refser.config.policy import Policy, is_map, read_policy
from refser.rules.patterns import Budget, TooSlow

Shape = tuple["int | None", ...]  # None: an axis that is not known
Version = tuple[int, ...]


RANK_MAX = 64  # axes of an array of NumPy
MAX_SIZE = 1 << 62  # elements along one axis that an array can have
KERAS_3: Version = (3,)
MODELS = ("Functional", "Model", "Sequential")


class Unknown(Exception):
    """The config cannot tell; the reason is shown.  Ends as an opaque place, never leaves the package."""


class Unbuilt(Exception):
    """The layer was never built, and so has no variables [WT-013].  Never leaves the package."""


class Layer:
    """A layer: class, arguments, and the shapes it was built with (`build`, by the argument names of Keras's `build`)."""

    __slots__ = (
        *("at", "build", "class_name", "config", "json", "key", "map", "members", "module", "name", "policy", "scopes"),
        *("trainable", "version"),
    )

    def __init__(
        self,
        class_name: str,
        config: Mapping[str, Any],
        *,
        at: str,
        version: Version,
        name: str | None = None,
        module: str | None = "keras.layers",
        key: str | None = None,
        build: Mapping[str, Any] | None = None,
        policy: Policy | None = None,
        trainable: bool | None = True,
        json: Mapping[str, Any] | None = None,
        scopes: Sequence[str] | None = None,
    ) -> None:
        self.class_name, self.config, self.at, self.version, self.module = class_name, config, at, version, module
        self.key = key or class_name  # by which the table of rules knows it
        own = config.get("name")
        self.name = name if name is not None else own if isinstance(own, str) else None
        self.build = build  # {"input_shape": (None, 4)}; None: never built, as far as is known
        self.members: list[Layer] | None = None  # of a model, once they are read
        self.json = json if json is not None else {}
        self.scopes = scopes  # what Keras's `Layer.path` has before the name, by how the layer was built; None: anything
        self.map = config.get("dtype") if is_map(config.get("dtype")) else None  # policies by path
        self.policy = policy if policy is not None else self._policy(config.get("dtype"))
        self.trainable = config.get("trainable", True) is not False and trainable  # None: the config cannot tell

    @classmethod
    def read(
        cls, value: Any, at: str, *, version: Version, trainable: bool = True, scopes: Sequence[str] | None = None
    ) -> Layer:
        """The layer that `value`, a serialized object, describes.  Raises `InvalidError` [CF-010, LY-001]."""
        return cls.of(object_in(value, at), version=version, trainable=trainable, scopes=scopes)

    @classmethod
    def of(cls, found: KerasObject, *, version: Version, trainable: bool = True, scopes: Sequence[str] | None = None) -> Layer:
        at, build = found.at, found.build_config
        return cls(
            found.class_name,
            found.config,
            at=at,
            version=version,
            name=found.name,
            module=found.module,
            key=key_of(found),
            build=read_build(build, f"{at}.build_config") if build else None,
            trainable=trainable,
            json=found.json,
            scopes=scopes,
        )

    def _policy(self, dtype: Any) -> Policy:
        paths = None if self.scopes is None or self.name is None else [scope + self.name for scope in self.scopes]
        return read_policy(dtype, f"{self.at}.config.dtype", paths=paths, match=matches)

    @property
    def scopes_below(self) -> Sequence[str] | None:
        """The scopes of the layers that are built while this one is."""
        return None if self.scopes is None or self.name is None else [f"{scope}{self.name}/" for scope in self.scopes]

    def sub(
        self,
        class_name: str,
        config: Mapping[str, Any],
        *,
        name: str | None,
        build: Mapping[str, Any] | None = None,
        policy: Policy | None = None,
    ) -> Layer:
        """A layer that this one makes itself; it has the same policy unless told otherwise.

        `class_name` is a class of Keras, or the registered name of another, "package>Class".
        `trainable=False` reaches its variables only when it is set on a layer that is built: the config does not tell when.
        """
        found = Layer(
            class_name.rpartition(">")[2],
            config,
            at=self.at,
            version=self.version,
            name=name,
            key=class_name,
            build=build,
            policy=policy or self.policy,
            trainable=self.trainable or None,
            scopes=self.scopes_below,
        )
        if policy is None and self.map is not None:  # each layer looks for itself
            found.map, found.policy = self.map, found._policy(self.map)
        return found

    def wrapped(self, argument: str, *, build: Mapping[str, Any] | None = None) -> Layer:
        """The layer in an argument, `layer` or `cell`; its own build_config counts before `build`."""
        at = f"{self.at}.config.{argument}"
        below = self.scopes_below
        scopes = None if below is None else [*below, ""]  # "": a layer with a config of its own is built by itself on loading
        found = Layer.read(self.config.get(argument), at, version=self.version, scopes=scopes)  # `trainable`: its own alone
        if found.build is None:
            found.build = build
        return found

    # Shapes

    @property
    def built(self) -> Mapping[str, Any]:
        if self.build is None:
            raise Unbuilt
        return self.build

    @property
    def shape(self) -> Shape:
        """The one shape that the layer was built with.  Raises `Unbuilt`, or `InvalidError` when there is none [LY-002]."""
        found = next(iter(self.built.values()), None)
        if not isinstance(found, tuple):
            raise invalid("LY-002", f"{found!r:.60} as the input shape of {self.class_name}; wanted one shape", self._build_at)
        return found

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of several inputs; one shape alone is a list of one."""
        found = next(iter(self.built.values()), None)
        if isinstance(found, tuple):
            return [found]
        if isinstance(found, list) and all(isinstance(shape, tuple) for shape in found):
            return found
        raise invalid("LY-002", f"{found!r:.60} as the input shapes of {self.class_name}; wanted shapes", self._build_at)

    def given(self, shapes: Sequence[Shape], least: int = 0) -> Shape:
        """The first of the inputs' shapes, with `least` axes or more.  Raises `InvalidError` where there is none [LY-002]."""
        if not shapes or len(shapes[0]) < least:
            found = f"an input of {len(shapes[0])} axes" if shapes else "no input"
            raise invalid("LY-002", f"{found} for {self.class_name}; wanted {least} axes or more", self._build_at)
        return shapes[0]

    def shape_of(self, argument: str) -> Shape | None:
        """The shape by which `build` was called for `argument`: "query_shape"."""
        found = self.built.get(argument)
        return found if isinstance(found, tuple) else None

    @property
    def _build_at(self) -> str:
        return f"{self.at}.build_config"

    def axis(self, number: int, shape: Shape | None = None) -> int | None:
        """The length of one axis of the input.  Raises `InvalidError` for an axis that it does not have [LY-002]."""
        found = self.shape if shape is None else shape
        if not -len(found) <= number < len(found):
            raise invalid("LY-002", f"an input of {len(found)} axes; {self.class_name} wants axis {number}", self._build_at)
        return found[number]

    @property
    def channels(self) -> int | None:
        """The channel axis, by `data_format`."""
        return self.axis(1 if self.channels_first else -1)

    @property
    def channels_first(self) -> bool:
        return self.choice("data_format", ("channels_last", "channels_first"), "channels_last") == "channels_first"

    # Arguments: each raises `InvalidError` with the JSON path for a value that Keras would not take [LY-003]

    def at_argument(self, argument: str) -> str:
        return f"{self.at}.config.{argument}"

    def refuse(self, argument: str, wanted: str) -> Exception:
        value = self.config.get(argument)
        found = f"{value!r:.60}" if argument in self.config else "nothing"
        return invalid("LY-003", f"{found} as {argument} of {self.class_name}; wanted {wanted}", self.at_argument(argument))

    def integer(self, argument: str, default: int | None = None, *, least: int = 1) -> int:
        value = self.config.get(argument, default)
        if value is None:
            value = default
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer() and abs(value) < MAX_SIZE):
            value = int(value)  # as Python counts with them
        if not is_size(value, least):
            raise self.refuse(argument, f"an integer, at least {least}")
        return value

    def flag(self, argument: str, default: bool = False) -> bool:
        """By truth, as Keras asks: "no" is true."""
        value = self.config.get(argument, default)
        if value is None:
            return default
        return bool(value)

    def ints(self, argument: str, rank: int, default: int | None = None, *, least: int = 1) -> tuple[int, ...]:
        """A number for each of `rank` axes, or one for all."""
        value = self.config.get(argument, default)
        if is_size(value, least):
            return (value,) * rank
        if not isinstance(value, (list, tuple)) or len(value) != rank:
            raise self.refuse(argument, f"an integer or {rank} of them")
        if not all(is_size(n, least) for n in value):
            raise self.refuse(argument, f"{rank} integers, each at least {least}")
        return tuple(value)

    def choice(self, argument: str, wanted: Sequence[str], default: str) -> str:
        value = self.config.get(argument, default)
        if value is None:
            value = default
        if value not in wanted:
            raise self.refuse(argument, f"one of {', '.join(wanted)}")
        return str(value)

    def text(self, argument: str, default: str | None = None) -> str:
        value = self.config.get(argument, default)
        if not isinstance(value, str):
            raise self.refuse(argument, "a string")
        return value

    def has(self, argument: str) -> bool:
        """Whether an argument is given, and not null."""
        return self.config.get(argument) is not None


def is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_size(value: object, least: int = 0) -> TypeGuard[int]:
    """Whether `value` is an integer that the length of an axis can be."""
    return is_integer(value) and least <= value < MAX_SIZE


def matches(pattern: str, text: str) -> bool | None:
    """Whether the pattern, out of a file, matches all of the text; None: that cannot be told in time."""
    try:
        return Budget(4096).fullmatch(pattern, text)
    except (TooSlow, ValueError):
        return None


def object_in(value: Any, at: str) -> KerasObject:
    """The serialized object in the place of a layer.  Raises `InvalidError` [CF-010]."""
    if not isinstance(value, Mapping):
        raise invalid("CF-010", f"{kind_of(value)} in the place of a layer; wanted an object", at)
    return KerasObject(value, at)


def key_of(found: KerasObject) -> str:
    """How the table of rules knows a class: a class of Keras by its name, any other by its registered name."""
    module = found.module
    if module is None or module == "keras" or module.startswith(("keras.", "tf_keras.")):
        registered = found.registered_name
        return found.class_name if registered in (None, found.class_name) else registered or found.class_name
    return found.registered_name or f"{module}>{found.class_name}"


def read_build(build: Mapping[str, Any], at: str) -> Mapping[str, Any] | None:
    """Shapes by the argument names of `build`; None where the layer was not built [LY-002]."""
    shapes = build.get("shapes_dict", build)
    if not isinstance(shapes, Mapping):
        raise invalid("LY-002", f"{kind_of(shapes)} as shapes; wanted an object", at)
    found = {name: read_shape(value, f"{at}.{name}") for name, value in shapes.items() if name.endswith("shape") or value}
    return None if all(value is None for value in found.values()) else found


def read_shape(value: Any, at: str) -> Any:
    """A shape as a tuple, a list or an object of them as the same of tuples; None as None [LY-002]."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {name: read_shape(item, f"{at}.{name}") for name, item in value.items()}
    if not isinstance(value, (list, tuple)):
        raise invalid("LY-002", f"{value!r:.60} as a shape; wanted a list of numbers", at)
    if value and len(value) > RANK_MAX and not isinstance(value[0], (list, tuple, Mapping)):
        raise invalid("LY-002", f"a shape of {len(value):,} axes; wanted at most {RANK_MAX}", at)
    if all(n is None or is_size(n) for n in value):
        return tuple(value)
    if all(isinstance(item, (list, tuple, Mapping)) or item is None for item in value):
        return [read_shape(item, f"{at}[{number}]") for number, item in enumerate(value)]
    raise invalid("LY-002", f"{value!r:.60} as a shape; wanted a list of numbers and nulls", at)


__all__ = ["Layer", "Shape", "Unbuilt", "Unknown", "Version", "is_object", "key_of", "read_build", "read_shape"]
