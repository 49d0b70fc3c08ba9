"""From a config to the weights that Keras would write for it to an HDF5 file of Keras 1 and 2, `model.h5`.

Spec: spec/legacy-h5.md (LH).  Keras: `_legacy_weights` of keras.src.legacy.saving.legacy_h5_format; tf.keras
`Layer.trainable_weights`, `Layer.non_trainable_weights`.  Not here: what the arrays are called (legacy_names), the optimizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from refser import jsonio
from refser.errors import InvalidError, Problem
from refser.limits import DEFAULT_LIMITS
from refser.rules import keras_1
from refser.rules.layer import MODELS, Layer, Shape, Unknown
from refser.rules.legacy_names import KERAS_1, KERAS_2, KERAS_3, Names, Release
from refser.rules.models import is_built, members_of
from refser.rules.rule import Var
from refser.rules.trained import FROZEN_BEFORE_BUILT_SINCE, is_unbuilt
from refser.rules.tree import WeightSpec, WeightTree, below, dtype_of, maker_of, read_version
from refser.rules.walk import Opaque, Owner, Walk
from refser.values import fits

BASE, TOP = "model_weights", "top_level_model_weights"
TOP_SINCE = (2, 7)
DTYPES_SINCE = (2, 3)  # before, standalone Keras gave all variables its `floatx`
_COUNT = re.compile(r"_[0-9]+\Z")


class Entry(NamedTuple):
    """A variable of a layer, or of one in it."""

    owner: Owner  # the one that made it
    var: Var
    shape: Shape
    trained: bool | None  # by its own flag; None: the config cannot tell
    chain: str | None  # the names of the layers around it


Split = tuple[list[Entry], list[Entry]]  # what is trained, and the rest


def expected_legacy_weights(config: str | Mapping[str, Any], *, keras_version: str | None = None) -> WeightTree:
    """The arrays of a whole model in the order of the layers; the groups are those of the layers.  No optimizer's.

    A layer in which the config cannot tell something is opaque as a whole: of its arrays the tree has those that are known, and
    neither their number nor their order is.
    """
    value = jsonio.parse_object(config, limits=DEFAULT_LIMITS, at="config") if isinstance(config, str) else config
    version = read_version(keras_version)
    release = Release.of(version, keras_version)
    if release.kind != KERAS_1:
        return _tree(value, release)
    try:
        return _tree(keras_1.translated(value), release)
    except InvalidError as error:
        found = error.problem
        raise InvalidError(Problem(code=found.code, message=found.message, at=keras_1.place_in_file(found.at))) from error


def _tree(value: Mapping[str, Any], release: Release) -> WeightTree:
    root = Layer.read(value, "", version=release.version, scopes=("",))
    if root.key not in MODELS:
        return WeightTree((), (Opaque(BASE, root.class_name, "no Functional or Sequential model", ""),), {})
    members = members_of(root)
    if release.kind == KERAS_1 and any(keras_1.holds_models(layer) for layer in members):
        return WeightTree((), (Opaque(BASE, root.class_name, "the layers of the models in a Merge", ""),), {})
    names = Names(release)
    scope = f"{root.name}/" if root.key == "Sequential" and release.kind == KERAS_3 else ""
    specs: list[WeightSpec] = []
    opaque: list[Opaque] = []
    groups: dict[str, str | None] = {}
    for layer in members:
        own = layer.json.get("name")  # in a graph; TensorFlow's operations have another in their config
        name = own if isinstance(own, str) else layer.name
        if name is None:
            opaque.append(Opaque(BASE, layer.class_name, "a layer without a name, which Keras numbers", layer.at))
            continue
        group = f"{BASE}/{name}"
        groups[group] = name
        walk = Walk()  # a layer that two others share stands in the groups of both
        owner = walk.visit(layer, group)
        assert owner is not None
        names.enter(owner, scope)
        found, reason = _Group(root, release).of(owner)
        reasons = [place._replace(path=group) for place in walk.opaque]
        if reason:
            reasons.append(Opaque(group, layer.class_name, reason, layer.at))
        opaque.extend(reasons[:1])
        specs.extend(_specs(release, names, group, found))
    if release.version >= TOP_SINCE:
        groups[f"{BASE}/{TOP}"] = TOP
    return WeightTree(specs, opaque, groups)


def _specs(release: Release, names: Names, group: str, found: Sequence[Entry]) -> Iterator[WeightSpec]:
    for entry in found:
        yield WeightSpec(
            path=f"{group}/{names.of(entry.owner, entry.var)}",
            name=entry.var.name,
            variable_path=None if entry.chain is None or entry.var.name is None else f"{entry.chain}{entry.var.name}",
            shape=entry.shape,
            dtype=_dtype(release, entry),
            trainable=entry.trained,
        )


def _dtype(release: Release, entry: Entry) -> str | None:
    policy = entry.owner.layer.policy
    if release.kind in (KERAS_1, KERAS_2) and release.version < DTYPES_SINCE and "float" not in policy.variable_dtype:
        return "float32"  # the type of its input
    return dtype_of(entry.owner.layer, entry.var)


class _Group:
    """The variables of one layer of the model, in the order of its `weights`."""

    def __init__(self, root: Layer, release: Release) -> None:
        self._root, self._release = root, release
        self._reason = ""

    def of(self, owner: Owner) -> tuple[list[Entry], str]:
        """And why that is not all, or not the order; empty if it is."""
        self._look(owner, None, is_built(self._root))
        chain = f"{owner.layer.name}/"
        frozen = self._root.trainable is False
        if self._release.kind == KERAS_3:
            found = list(_once(self._weights(owner, chain)))
            if owner.layer.trainable is False:
                return found, self._reason
            orders = [sorted(found, key=lambda entry: not self._is_trained(entry, flag)) for flag in (True, False)]
        else:
            orders = [self._joined(self._split(owner, chain, frozen, flag)) for flag in (True, False)]
        if [entry[:3] for entry in orders[0]] != [entry[:3] for entry in orders[1]]:
            self._reason = self._reason or "the order of its weights: it depends on when `trainable` was set"
        return orders[0], self._reason

    # What cannot be told

    def _look(self, owner: Owner, parent: Owner | None, built: bool) -> None:
        layer, release = owner.layer, self._release
        if parent is not None and parent.layer.key == "Bidirectional" and owner.path.endswith("/layer"):
            return  # what Keras made its two layers of, and never built
        # In Keras 3 a layer in another has its own build_config, or was not built
        if built and layer.build is None and (parent is None or parent.layer.key in MODELS or release.kind != KERAS_3):
            self._doubt(is_unbuilt(layer), "the shape of what goes into it")
        self._doubt(bool(layer.config.get("lora_rank")), "the matrices of LoRA")
        self._doubt(layer.policy.mode in ("float8", "gptq", "awq"), f"how the arrays of {layer.policy.mode} stand")
        if release.kind == KERAS_1:
            try:
                owner.variables = keras_1.variables(owner)
            except Unknown as unknown:
                owner.variables = []
                self._doubt(True, str(unknown))
        built = built and is_built(layer)
        for child in owner.children:
            self._look(child, owner, built)

    def _doubt(self, doubtful: bool, reason: str) -> None:
        if doubtful and not self._reason:
            self._reason = reason

    # Keras 3: all weights, the trained ones first

    def _weights(self, owner: Owner, chain: str | None) -> Iterator[Entry]:
        for var, shape in sorted(owner.variables, key=lambda item: not item[0].trainable):
            trained = var.trainable if var.of else var.trainable and owner.layer.trainable
            if not var.key:  # what has one is no variable of Keras
                yield _made_by(owner, Entry(owner, var, shape, trained, chain))
        for child in owner.children:
            yield from self._weights(child, below(chain, child))

    def _is_trained(self, entry: Entry, flag: bool) -> bool:
        if entry.trained is None or (entry.var.trainable and self._release.version < FROZEN_BEFORE_BUILT_SINCE):
            return flag if not entry.trained else True
        return entry.trained

    # Before: what is trained of each layer in turn, then the rest of each in turn

    def _split(self, owner: Owner, chain: str | None, frozen: bool, flag: bool) -> Split:
        """`frozen`: by a layer around it; `flag`: what to take a `trainable` for that cannot be told."""
        layer = owner.layer
        trains = flag if layer.trainable is None else layer.trainable
        frozen = frozen or layer.trainable is False
        own = [_made_by(owner, Entry(owner, var, shape, var.trainable and not frozen, chain)) for var, shape in owner.variables]
        parts = [self._split(child, below(chain, child), frozen, flag) for child in owner.children]
        trained = [entry for entry in own if entry.var.trainable]
        rest = [entry for entry in own if not entry.var.trainable]
        if trains:
            return trained + [it for part in parts for it in part[0]], rest + [it for part in parts for it in part[1]]
        if layer.key in MODELS:
            return [], [it for part in parts for it in part[0]] + [it for part in parts for it in part[1]]
        return [], [*trained, *rest, *(it for part in parts for half in part for it in half)]

    def _joined(self, found: Split) -> list[Entry]:
        return list(_once([*found[0], *found[1]]))


def _once(found: Iterable[Entry]) -> Iterator[Entry]:
    seen: set[tuple[int, str | None]] = set()
    for entry in found:
        if (key := (id(entry.owner), entry.var.name)) not in seen:
            seen.add(key)
            yield entry


def _made_by(owner: Owner, entry: Entry) -> Entry:
    """The variable of a layer inside, where that is what the entry is."""
    child = maker_of(owner, entry.var)
    return entry if child is None else entry._replace(owner=child, chain=below(entry.chain, child))


# Names that differ


def names_by_order(
    groups: Iterable[tuple[str, Sequence[str]]], tree: WeightTree, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, WeightSpec]:
    """What each array of a file is, by its path: `groups` are the file's, each with its keys in order.

    A layer's arrays are found by their names; by what their names end with, if no two end alike; or by their places, if there
    are as many as there should be, and each has the name of a variable that it stands for.  `shapes` are those of the file,
    by path: where one is not that of the tree, nothing is said of the layer.
    """
    of_groups: dict[str, list[WeightSpec]] = {}
    for spec in tree:
        of_groups.setdefault(_group_of(spec, tree), []).append(spec)
    vague = {place.path for place in tree.opaque}
    found: dict[str, WeightSpec] = {}
    for path, keys in groups:
        group = path if path.startswith(f"{BASE}/") else f"{BASE}/{path}"
        specs = of_groups.get(group, [])
        pairs = _pairs(group, keys, specs, in_order=group not in vague and BASE not in vague)
        held = [((shapes or {}).get(f"{path}/{key}"), spec.shape) for key, spec in pairs]
        if all(have is None or fits(wanted, have) for have, wanted in held):
            found.update((f"{path}/{key}", spec) for key, spec in pairs)
    return found


def _group_of(spec: WeightSpec, tree: WeightTree) -> str:
    """The group that a path begins with: a layer's name may have `/` in it."""
    end = len(spec.path)
    while (end := spec.path.rfind("/", 0, end)) > 0:
        if spec.path[:end] in tree.groups:
            return spec.path[:end]
    return ""


def _pairs(group: str, keys: Sequence[str], specs: Sequence[WeightSpec], *, in_order: bool) -> list[tuple[str, WeightSpec]]:
    by_path = {spec.path: spec for spec in specs}
    exact = [(key, by_path[f"{group}/{key}"]) for key in keys if f"{group}/{key}" in by_path]
    if len(exact) == len(keys) or len(keys) != len(specs):
        return exact
    ours = [_steps(spec.path.removeprefix(f"{group}/")) for spec in specs]
    theirs = [_steps(key) for key in keys]
    for count in (False, True):
        for length in range(1, max(map(len, ours)) + 1):
            ends = [_end(steps, length, count) for steps in ours]
            places = {end: number for number, end in enumerate(ends)}
            others = [places.get(_end(steps, length, count)) for steps in theirs]
            if len(places) == len(ends) == len(set(others)) and None not in others:
                return [(key, specs[number]) for key, number in zip(keys, others) if number is not None]
    if in_order and all(_end(a, 1, True) == _end(b, 1, True) for a, b in zip(ours, theirs)):
        return list(zip(keys, specs))
    return exact


def _steps(key: str) -> list[str]:
    return key.removesuffix(":0").split("/")


def _end(steps: Sequence[str], length: int, uncounted: bool) -> tuple[str, ...]:
    """The last steps of a name; `uncounted`: without the numbers that Keras puts behind names."""
    return tuple(_COUNT.sub("", step) if uncounted else step for step in steps[-length:])
