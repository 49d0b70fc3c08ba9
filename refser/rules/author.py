"""A whole model from a config and values for its weights, without Keras.

Spec: spec/weight-trees.md (WT-030, WT-031).  Not here: which arrays there are (tree), what they start with (initial), how the
model is saved (api).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from refser import jsonio
from refser.config.objects import invalid
from refser.errors import InvalidError, Problem
from refser.rules.fit import Misfit, fitted
from refser.rules.initial import Initial, Made, variables_of
from refser.rules.layer import Unknown
from refser.rules.tree import NEWEST, WeightSpec, WeightTree, read_version, tree_of
from refser.values import DTYPES, Model, Weight, WeightGroup, split_v3_path

NAMES_SINCE = (3, 6)
_SHOWN = 12  # problems in one message
_ZEROS = "zeros"
Values = Mapping[str, Any] | Callable[[WeightSpec], Any] | str | None


class BuildError(InvalidError):
    """Values that do not fit the model; `problems` are all of them, one for each array."""

    def __init__(self, problem: Problem, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(problem)
        self.problems = problems


def build(
    config: str | Mapping[str, Any],
    weights: Values = None,
    *,
    keras_version: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
    optimizer: bool = False,
    seed: int = 0,
    max_bytes: int = 1 << 34,
) -> Model:
    """The model that `config` describes, with `weights` in the places where Keras looks for them.

    `weights` are a mapping of arrays by `variable_path` ("encoder/dense/kernel") or by inner path ("layers/dense/vars/0"), a
    function of a `WeightSpec`, "zeros", or None: the initial values, the random ones drawn by `seed` from the distributions
    that Keras draws them from.  Below an opaque place, a mapping may have any inner paths, and `"layers/odd/vars": None` says
    that there is nothing.  Numbers are cast to the dtype of their variable, where that is of the same kind.

    Raises `BuildError`, an `InvalidError`, with every array that is missing, left over or unfit [WT-030], or that cannot be
    told from the config and was not given [WT-031].
    """
    if not isinstance(config, (str, Mapping)):
        raise TypeError(f"a config that is {type(config).__name__}; wanted JSON text or what it parses to")
    text = config if isinstance(config, str) else jsonio.dump(dict(config), at="config")
    known = dict(metadata or {})
    if keras_version is None and isinstance(known.get("keras_version"), str):
        keras_version = known["keras_version"]
    keras_version = keras_version or ".".join(map(str, NEWEST))
    tree, root = tree_of(text, keras_version=keras_version, optimizer=optimizer)
    author = _Author(tree, variables_of(root), weights, seed, max_bytes)
    author.fill(root.layer.json)
    author.check_assets(assets or {})
    if author.problems:
        raise _refused(author.problems, len(tree))
    return Model(
        config_json=text,
        metadata={"keras_version": keras_version, **known},
        weights=author.weights,
        assets=dict(assets or {}),
        groups=tuple(author.groups(named=read_version(keras_version) >= NAMES_SINCE)),
    )


def _refused(problems: list[Problem], count: int) -> BuildError:
    lines = [": ".join(filter(None, (problem.at, problem.message))) for problem in problems[:_SHOWN]]
    if more := len(problems) - len(lines):
        lines.append(f"and {more} more")
    message = f"values that do not fit the {count} arrays of the model: {'; '.join(lines)}"
    return BuildError(Problem(code=problems[0].code, message=message), tuple(problems))


class _Author:
    def __init__(self, tree: WeightTree, made: Mapping[str, Made], values: Values, seed: int, max_bytes: int) -> None:
        if not (values is None or values == _ZEROS or callable(values) or isinstance(values, Mapping)):
            raise TypeError(f"a {type(values).__name__} as weights; wanted a mapping, a function, 'zeros' or None")
        self.tree, self.made, self.values, self.left = tree, made, values, max_bytes
        self.initial = Initial(made, seed)
        self.weights: dict[str, Weight] = {}
        self.below: dict[str, list[str]] = {}  # paths that were given below opaque places, by group
        self.problems: list[Problem] = []

    def problem(self, code: str, message: str, at: str, hint: str = "") -> None:
        self.problems.append(Problem(code=code, message=message, at=at, hint=hint))

    def fill(self, config: Mapping[str, Any]) -> None:
        if isinstance(self.values, Mapping):
            self._from_mapping(self.values)
        else:
            for spec in self.tree:
                if callable(self.values):
                    self._take(spec, self.values(spec))
                else:
                    self._start(spec, config)
        self._check_opaque()

    # Values that are given

    def _from_mapping(self, values: Mapping[str, Any]) -> None:
        own = [spec.variable_path for spec in self.tree if spec.variable_path is not None and not self._is_copy(spec)]
        often = {path for path, count in Counter(own).items() if count > 1}
        used: set[str] = set()
        for spec in self.tree:
            if spec.path in values:
                used.add(spec.path)
                self._take(spec, values[spec.path])
            elif spec.variable_path in often and spec.variable_path in values:
                used.add(spec.variable_path)
                message = f"{spec.variable_path}, which is the name of several arrays; wanted it by its inner path"
                self.problem("WT-030", message, f"/{spec.path}")
            elif spec.variable_path is not None and spec.variable_path in values:
                used.add(spec.variable_path)
                self._take(spec, values[spec.variable_path])
            else:
                self.problem("WT-030", f"nothing given; wanted {_wanted(spec)}", f"/{spec.path}")
        for key in values:
            if key not in used:
                self._extra(key, values[key])

    def _is_copy(self, spec: WeightSpec) -> bool:
        made = self.made.get(spec.path)
        return made is not None and bool(made.var.of)

    def _extra(self, key: Any, value: Any) -> None:
        """What the tree does not have: below an opaque place it is taken as it is."""
        if not isinstance(key, str) or not any(_is_below(key, place.path) for place in self.tree.opaque):
            self.problem("WT-030", f"{key!r:.120}, which is no array of the model; wanted its own alone", "")
            return
        if value is None and (key == "vars" or key.endswith("/vars")):
            self.below.setdefault(key, [])
            return
        try:
            group, _ = split_v3_path(key)
            weight = Weight.from_array(key, value)
        except InvalidError as error:
            self.problem("WT-030", error.problem.message, f"/{key}")
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            self.problem("WT-030", f"no array: {error}", f"/{key}")
        else:
            self.below.setdefault(group, []).append(key)
            self.weights[key] = weight

    def _take(self, spec: WeightSpec, value: Any) -> None:
        made = self.made.get(spec.path)
        try:
            self._put(spec, fitted(spec, value, integer=None if made is None else made.var.dtype == "int"))
        except Misfit as misfit:
            self.problem("WT-030", f"{misfit}; wanted {_wanted(spec)}", f"/{spec.path}")

    def _put(self, spec: WeightSpec, weight: Weight) -> None:
        self.weights[spec.path] = weight.altered(described=lambda _: spec)

    # Values that variables start with

    def _start(self, spec: WeightSpec, config: Mapping[str, Any]) -> None:
        if any(size is None for size in spec.shape):
            self.problem("WT-031", f"a shape that the config does not tell, {_wanted(spec)}; give its values", f"/{spec.path}")
            return
        shape = tuple(size for size in spec.shape if size is not None)
        made = self.made.get(spec.path)
        is_integer = spec.dtype is None and (made.var.dtype == "int" if made else spec.name != "learning_rate")
        dtype = spec.dtype or ("int32" if is_integer else "float32")
        if (size := prod(shape) * max(1, DTYPES[dtype][1] // 8)) > self.left:
            raise invalid("WT-030", f"{size} bytes more for {spec.path}; wanted at most max_bytes of them", f"/{spec.path}")
        self.left -= size
        try:
            value = self._first(spec, shape, config)
            self._put(spec, fitted(replace(spec, dtype=dtype), value, integer=is_integer, cast=True))
        except Unknown as unknown:
            self.problem("WT-031", f"{unknown}; give its values, {_wanted(spec)}", f"/{spec.path}")
        except (ValueError, MemoryError) as error:  # of NumPy, for a shape that it cannot have
            self.problem("WT-030", f"no array: {error}; wanted {_wanted(spec)}", f"/{spec.path}")

    def _first(self, spec: WeightSpec, shape: tuple[int, ...], config: Mapping[str, Any]) -> Any:
        import numpy as np

        if self.values == _ZEROS:
            return np.zeros(shape, "u1")
        if spec.path in self.made:
            return self.initial.value(spec, shape)
        return np.broadcast_to(np.float64(_of_state(spec, config)), shape)

    # What the config cannot tell

    def _check_opaque(self) -> None:
        for place in self.tree.opaque:
            if not any(_is_below(group, place.path) for group in self.below):
                message = f"{place.class_name}: {place.reason}; wanted its arrays by inner path"
                group = f"{place.path}/vars".lstrip("/")
                self.problem("WT-031", message, f"/{place.path}", f"{group!r}: None says that it has none")

    def check_assets(self, assets: Mapping[str, bytes]) -> None:
        for name in self.tree.assets:
            if name not in assets:
                self.problem("WT-030", "an asset that is not given", f"assets/{name}")
        if not self.tree.opaque:
            for name in sorted(assets.keys() - set(self.tree.assets)):
                self.problem("WT-030", "an asset that the model does not have", f"assets/{name}")

    def groups(self, *, named: bool) -> Iterable[WeightGroup]:
        """All groups in file order, empty ones too; those of an opaque place follow its own."""
        keys: dict[str, list[str]] = {group: [] for group in self.tree.groups}
        for path in [spec.path for spec in self.tree] + [path for paths in self.below.values() for path in paths]:
            group = split_v3_path(path)[0]
            keys.setdefault(group, []).append(path[len(group) + 1 :])
        for group in self.below:
            keys.setdefault(group, [])
        others = [group for group in keys if group not in self.tree.groups]
        places = sorted((place.path for place in self.tree.opaque), key=len, reverse=True)
        after: dict[str, list[str]] = {}
        for group in others:
            place = next(path for path in places if _is_below(group, path))
            after.setdefault(f"{place}/vars".lstrip("/"), []).append(group)
        for group, name in self.tree.groups.items():
            for path in (group, *after.get(group, ())):
                yield WeightGroup(path=path, name=name if named and path == group else None, keys=tuple(keys[path]))


def _is_below(path: str, place: str) -> bool:
    return not place or path.startswith(f"{place}/")


def _wanted(spec: WeightSpec) -> str:
    shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
    name = spec.variable_path or spec.name
    return f"{spec.dtype or 'numbers'} of shape ({shape}{',' if len(spec.shape) == 1 else ''}){f' for {name}' if name else ''}"


def _of_state(spec: WeightSpec, config: Mapping[str, Any]) -> float:
    """What an optimizer's array starts with: zeros, but for a few."""
    compiled = config.get("compile_config")
    found = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    class_name = found.get("class_name") if isinstance(found, Mapping) else found
    options = found.get("config") if isinstance(found, Mapping) else {}
    if not spec.path.startswith("optimizer/vars/") or not isinstance(class_name, str) or not isinstance(options, Mapping):
        raise Unknown("an optimizer of which refser does not know what it starts with")
    name, key = spec.name, ""
    if name == "learning_rate":
        key = "learning_rate"
    elif name == "accumulator":
        key = "initial_accumulator_value"
    elif name is None or class_name in _OWN_START or name == "dynamic_scale":
        raise Unknown(f"what the array {name or ''} of {class_name} starts with")
    value = options.get(key) if key else 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unknown(f"no number as {key} of {class_name}")
    return float(value)


_OWN_START = ("ScheduleFreeAdamW", "LossScaleOptimizer", "MultiOptimizer")
