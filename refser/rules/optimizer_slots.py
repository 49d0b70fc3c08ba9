"""The groups that a compiled model's optimizer makes: where they stand, and optimizers around others.

Spec: spec/weight-trees.md (WT-016).  Keras: keras.trainers.Trainer, keras.optimizers.  Not here: what each one keeps
(optimizers), for which variables (trained).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from refser.config.objects import KerasObject
from refser.config.policy import FLOAT32
from refser.rules.layer import KERAS_3, MODELS, Layer, Unknown, Version, key_of
from refser.rules.optimizers import State, Trained, Weight, counters, optimizer_rule, states_of
from refser.rules.patterns import Budget, TooSlow
from refser.rules.table import rule_for
from refser.rules.trained import Specs, floatx_of, has_loss_scaling, trainable_weights
from refser.rules.walk import Opaque, Owner, group_name, name_key, snake_case, without_ids

_LOSS_SCALING, _MULTI = ("lossscaleoptimizer", "lossscaleoptimizerv3"), "multioptimizer"
_PUBLIC_INNER_SINCE = (2, 15)
_DEEPEST = 4  # optimizers around others; there is no use for more than two
_SCALE = "loss_scale_optimizer"


class StateGroup(NamedTuple):
    path: str  # "optimizer/inner_optimizer"
    name: str | None
    states: Sequence[State]


class Place(NamedTuple):
    """What a compiled model saves beside its layers."""

    before: int  # the number of the owner before which it stands
    below: str  # "layers/functional/", in whose group the others are
    scope: str  # "encoder/", the names of the layers that the model is in
    groups: Sequence[StateGroup]
    opaque: Opaque | None = None


def places(owners: Sequence[Owner], root: Owner, specs: Specs, opaque: Sequence[Opaque]) -> list[Place]:
    """Of the model and of every model in it that is compiled, those of inner models first."""
    scopes: dict[int, str] = {}
    todo = [(root, "")]
    while todo:
        owner, scope = todo.pop()
        scopes[id(owner)] = scope
        todo.extend((child, f"{scope}{child.layer.name}/") for child in owner.children)
    blocked = {place.path for place in opaque}
    found: list[Place] = []
    for number in range(len(owners) - 1, -1, -1):
        owner = owners[number]
        compiled = owner.layer.json.get("compile_config")
        if not compiled or not isinstance(compiled, Mapping) or not _may_be_model(owner.layer.key):
            continue
        scope, below = scopes.get(id(owner), ""), f"{owner.path}/" if owner.path else ""
        if owner.layer.version < KERAS_3:
            found.append(_metric(owner, compiled, _before(owners, number, "metrics"), below, scope))
        value = compiled.get("optimizer")
        if value is None or _is_legacy(value):
            continue
        before = _before(owners, number, "optimizer")
        try:
            groups = _optimizer(owner, value, scope, specs, blocked)
        except Unknown as unknown:
            seen = KerasObject(value, _at(owner)) if isinstance(value, Mapping) else None
            class_name = seen.class_name if seen else value if isinstance(value, str) else "Optimizer"
            place = Opaque(f"{below}optimizer", class_name, str(unknown), _at(owner))
            found.append(Place(before, below, scope, [StateGroup("optimizer", seen.name if seen else None, ())], place))
        else:
            found.append(Place(before, below, scope, groups))
    return found


def _before(owners: Sequence[Owner], number: int, attribute: str) -> int:
    """The first owner that comes after the attribute: it is not below the model, or below a later attribute."""
    path, version = owners[number].path, owners[number].layer.version
    start = len(path) + 1 if path else 0
    for after in range(number + 1, len(owners)):
        other = owners[after].path
        if path and not other.startswith(f"{path}/"):
            return after
        if name_key(other[start:].partition("/")[0], version) > name_key(attribute, version):
            return after
    return len(owners)


def _may_be_model(key: str) -> bool:
    return key in MODELS or ">" in key or rule_for(key) is None


def _at(owner: Owner) -> str:
    return f"{owner.layer.at}.compile_config.optimizer".lstrip(".")


# Which optimizer


def _optimizer(owner: Owner, value: Any, scope: str, specs: Specs, blocked: set[str]) -> list[StateGroup]:
    optimizer = _read(value, _at(owner), owner.layer.version)

    @cache
    def weights() -> Sequence[Weight]:
        return list(trainable_weights(owner, scope, specs, blocked))

    trained = Trained(weights, floatx_of(owner), Budget())
    wraps = optimizer.class_name.lower() in _LOSS_SCALING
    if not wraps and has_loss_scaling(owner):
        config = {"name": _SCALE, "inner_optimizer": value}
        optimizer = Layer("LossScaleOptimizer", config, at=optimizer.at, version=optimizer.version, policy=FLOAT32)
    return list(_groups(optimizer, trained, "optimizer", 0))


def _read(value: Any, at: str, version: Version) -> Layer:
    """An optimizer: an object, or the name that `compile` was given.  Raises `Unknown` for others than Keras's."""
    if isinstance(value, str) and optimizer_rule(value, version):
        return Layer(value, {}, at=at, version=version, policy=FLOAT32)
    if not isinstance(value, Mapping):
        raise Unknown("not an object that describes an optimizer")
    found = KerasObject(value, at)
    key = key_of(found)
    if version < KERAS_3 and found.module is None:
        key = key.removeprefix("Custom>")  # so tf.keras 2.12 writes its own, inside another
    if key.lower() not in (*_LOSS_SCALING, _MULTI) and not optimizer_rule(key, version):
        raise Unknown("an optimizer that refser does not know")
    return Layer(key, found.config, at=at, version=version, name=found.name, policy=FLOAT32)


def _is_legacy(value: Any) -> bool:
    """Optimizers from before tf.keras 2.11 are not saved at all, nor is what scales the loss for one."""
    if not isinstance(value, Mapping) or not isinstance(config := value.get("config"), Mapping):
        return False
    module = value.get("module")
    if isinstance(module, str) and module.endswith(".optimizers.legacy"):
        return True
    inner = config.get("inner_optimizer")
    if value.get("class_name") == "LossScaleOptimizer" and isinstance(inner, Mapping):
        inner = inner.get("config")
        return isinstance(inner, Mapping) and "decay" in inner and "is_legacy_optimizer" not in inner
    return False


def _groups(optimizer: Layer, trained: Trained, path: str, depth: int) -> Iterator[StateGroup]:
    """An optimizer's group, then those of the optimizers in it, whose variables an outer one saves too."""
    if depth == _DEEPEST:
        raise Unknown("optimizers around optimizers")
    kind = optimizer.class_name.lower()
    own: list[State] = []
    inner: list[StateGroup] = []
    inside: list[State] = []  # of the optimizers just below
    if kind in _LOSS_SCALING:
        if optimizer.version >= KERAS_3:
            own = counters(optimizer, trained, path, learning_rate=True)
            own.append(State(f"{path}/step_counter", "step_counter"))
            own.append(State(f"{path}/dynamic_scale", "dynamic_scale", dtype="float32"))
        attribute = "inner_optimizer" if optimizer.version >= _PUBLIC_INNER_SINCE else "_optimizer"
        at = optimizer.at_argument("inner_optimizer")
        below = _read(optimizer.config.get("inner_optimizer"), at, optimizer.version)
        inner = [_tracked(group) for group in _groups(below, trained, f"{path}/{attribute}", depth + 1)]
        inside = list(inner[0].states)
    elif kind == _MULTI:
        own = counters(optimizer, trained, path, learning_rate=True)
        counts: dict[str, int] = {}
        for below, weights in _assigned(optimizer, trained):
            base = snake_case(below.class_name)
            counts[base] = number = counts.get(base, -1) + 1
            place = f"{path}/optimizers/{base}_{number}" if number else f"{path}/optimizers/{base}"
            groups = list(_groups(below, trained._replace(weights=partial(list, weights)), place, depth + 1))
            inside.extend(groups[0].states)
            inner.extend(groups)
    elif rule := optimizer_rule(optimizer.class_name, optimizer.version):
        own = states_of(rule, optimizer, trained, path)
    yield StateGroup(path, optimizer.name, [*own, *inside])
    yield from inner


def _tracked(group: StateGroup) -> StateGroup:
    """Without the scalar that has no name: Keras makes it while nobody keeps what an optimizer in another makes."""
    return group._replace(states=[state for state in group.states if state.name is not None])


def _assigned(optimizer: Layer, trained: Trained) -> list[tuple[Layer, list[Weight]]]:
    """The optimizers of a MultiOptimizer, each with the variables that its map gives to it."""
    at = optimizer.at_argument("optimizer_map")
    value = optimizer.config.get("optimizer_map")
    if not isinstance(value, Mapping) or value.get("class_name") != "OptimizerMap":
        raise Unknown("a function chooses the optimizer of each variable")
    found = KerasObject(value, at)
    entries = found.config.get("optimizer_map")
    if not isinstance(entries, Mapping):
        raise optimizer.refuse("optimizer_map", "an OptimizerMap from names of variables to optimizers")
    default = found.config.get("default_optimizer")
    values, by_pattern = _once([*entries.items(), (None, default)])
    layers = [_read(item, f"{at}.config.optimizer_map", optimizer.version) for item in values]
    if any(layer.class_name.lower() in (*_LOSS_SCALING, _MULTI) for layer in layers):
        raise optimizer.refuse("optimizer_map", "optimizers that have no others in them")
    weights: list[list[Weight]] = [[] for _ in values]
    for weight in trained.weights():
        try:
            chosen = {by_pattern[_pattern(by_pattern, path, trained.budget)] for path in weight.keras_paths}
        except TooSlow:
            raise Unknown("what the OptimizerMap matches: the expressions may take too long") from None
        except ValueError:
            raise optimizer.refuse("optimizer_map", "regular expressions, at most one for a variable") from None
        if len(chosen) != 1:
            raise Unknown(f"the optimizer of {weight.path}: its path in Keras depends on how the model was built")
        weights[chosen.pop()].append(weight)
    return list(zip(layers, weights))


def _once(items: Iterable[tuple[str | None, Any]]) -> tuple[list[Any], dict[str | None, int]]:
    """Each optimizer once, and its number by the key.

    Of two serializations of one optimizer, only one is sure to have a `shared_object_id`.
    """
    values: list[Any] = []
    numbers: dict[str | None, int] = {}
    known: dict[str, int] = {}
    shared: set[str] = set()
    for key, value in items:
        text = repr(without_ids(value))
        if isinstance(value, Mapping) and value.get("shared_object_id") is not None:
            shared.add(text)
        if text not in known or text not in shared:
            known[text] = len(values)
            values.append(value)
        numbers[key] = known[text]
    return values, numbers


def _pattern(by_pattern: Mapping[str | None, int], path: str, budget: Budget) -> str | None:
    """The key of an OptimizerMap that a variable falls to; None: the default."""
    if path in by_pattern:
        return path
    found = [pattern for pattern in by_pattern if pattern is not None and budget.fullmatch(pattern, path)]
    if len(found) > 1:
        raise ValueError("more than one")
    return found[0] if found else None


# tf.keras also saves what it measured


def _metric(model: Owner, compiled: Mapping[str, Any], before: int, below: str, scope: str) -> Place:
    """The mean of the loss; not known further with metrics or several outputs."""
    outputs = model.layer.config.get("output_layers")
    one = group_name(model.layer) == "sequential" or (isinstance(outputs, list) and len(outputs) == 1)
    if one and compiled.get("loss") is not None and not any(compiled.get(name) for name in ("metrics", "weighted_metrics")):
        states = [State(f"metrics/mean/{name}", name, dtype="float32") for name in ("total", "count")]
        return Place(before, below, scope, [StateGroup("metrics/mean", "loss", states)])
    at = f"{model.layer.at}.compile_config.metrics".lstrip(".")
    reason = "which metrics there are: there are several outputs, or metrics beside the loss"
    return Place(before, below, scope, [], Opaque(f"{below}metrics", "Metric", reason, at))
