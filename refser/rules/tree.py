"""From a config to the weights that Keras would write for it.

Spec: spec/weight-trees.md (WT).  Not here: the walk (walk), the classes (tables), the optimizer's variables (optimizers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Literal

from refser import jsonio
from refser._record import record
from refser.errors import LimitError, Problem
from refser.limits import DEFAULT_LIMITS
from refser.rules.layer import Layer, Version
from refser.rules.optimizer_slots import Place, places
from refser.rules.optimizers import State
from refser.rules.rule import Var
from refser.rules.table import rule_for
from refser.rules.walk import Opaque, Owner, Walk

NEWEST: Version = (3, 15, 1)
LORA_CAST_SINCE: Version = (3, 15)


@record(frozen=True, slots=True, kw_only=True)
class WeightSpec:
    """One array that Keras would write."""

    path: str  # "layers/dense/vars/0"
    name: str | None  # Keras `Variable.name`, "kernel"; None where Keras numbers it by a global counter
    variable_path: str | None  # "dense/kernel"
    shape: tuple[int | None, ...]  # None for an axis that is not known
    dtype: str | None
    trainable: bool | None
    of: str | None = None  # of an optimizer's array: the `variable_path` of the variable that it belongs to


class WeightTree(Sequence[WeightSpec]):
    """The arrays in the order in which Keras writes them; `opaque` are the places below which the config cannot tell.

    `groups` are their groups and the empty ones, each with its `name`; `assets` the files that come with them.
    """

    def __init__(
        self,
        specs: Sequence[WeightSpec],
        opaque: Sequence[Opaque],
        groups: Mapping[str, str | None],
        assets: Sequence[str] = (),
    ) -> None:
        self._specs, self.opaque, self.groups, self.assets = tuple(specs), tuple(opaque), groups, tuple(assets)

    def __len__(self) -> int:
        return len(self._specs)

    def __getitem__(self, index: Any) -> Any:
        return self._specs[index]

    def __iter__(self) -> Iterator[WeightSpec]:
        return iter(self._specs)


def expected_weights(
    config: str | Mapping[str, Any],
    *,
    keras_version: str | None = None,
    optimizer: bool = True,
    generation: Literal["v3", "legacy"] = "v3",
) -> WeightTree:
    """The weights in a file of this generation; in a legacy one, those of the layers alone."""
    if generation not in ("v3", "legacy"):
        raise ValueError(f"{generation!r:.40} as a generation; wanted 'v3' or 'legacy'")
    if keras_version is not None and not isinstance(keras_version, str):
        raise TypeError(f"{keras_version!r:.40} as a version of Keras; wanted text, such as '3.15.1'")
    with followed():
        if generation == "legacy":
            from refser.rules.legacy import expected_legacy_weights

            return expected_legacy_weights(config, keras_version=keras_version)
        return tree_of(config, keras_version=keras_version, optimizer=optimizer)[0]


@contextmanager
def followed() -> Iterator[None]:
    """What goes down from layer to layer; raises `LimitError` where it goes too deep."""
    try:
        yield
    except RecursionError as error:
        message = "layers in layers, deeper than this Python can follow"
        raise LimitError(Problem(code="LI-002", message=message, at="config")) from error


def tree_of(
    config: str | Mapping[str, Any], *, keras_version: str | None = None, optimizer: bool = True
) -> tuple[WeightTree, Owner]:
    """The tree, and the model that it is of."""
    value = jsonio.parse_object(config, limits=DEFAULT_LIMITS, at="config") if isinstance(config, str) else config
    version = read_version(keras_version)
    walk = Walk()
    root = walk.visit(Layer.read(value, "", version=version, scopes=("",)), "")
    assert root is not None
    specs: dict[str, list[WeightSpec]] = {}
    _specs(root, "", specs)
    groups = _with_states(root, walk, specs) if optimizer else {owner.group: owner.layer.name for owner in walk.owners}
    arrays = [spec for group in groups for spec in specs.get(group, ())]
    return WeightTree(arrays, walk.opaque, groups, tuple(_assets(walk.owners))), root


def _assets(owners: Sequence[Owner]) -> Iterator[str]:
    """The files that Keras keeps, by their paths below `assets/` [WT-010]."""
    for owner in owners:
        if rule := rule_for(owner.layer.key):
            yield from (f"{owner.path}/{name}".lstrip("/") for name in rule.assets_of(owner.layer))


def _with_states(root: Owner, walk: Walk, specs: dict[str, list[WeightSpec]]) -> dict[str, str | None]:
    """The groups with those of optimizers in their places, whose arrays come to `specs`."""
    found = places(walk.owners, root, specs, walk.opaque)
    before: dict[int, list[Place]] = {}
    for place in found:
        before.setdefault(place.before, []).append(place)
    groups: dict[str, str | None] = {}
    for number in range(len(walk.owners) + 1):
        for place in before.get(number, ()):
            for path, name, states in place.groups:
                group = f"{place.below}{path}/vars"
                groups[group] = name
                specs[group] = [_of_state(state, f"{group}/{n}", place) for n, state in enumerate(states)]
        if number < len(walk.owners):
            groups[walk.owners[number].group] = walk.owners[number].layer.name
    walk.opaque.extend(place.opaque for place in found if place.opaque)
    return groups


def _of_state(state: State, path: str, place: Place) -> WeightSpec:
    return WeightSpec(
        path=path,
        name=state.name,
        variable_path=None if state.path is None else f"{place.scope}{state.path}",
        shape=state.shape,
        dtype=state.dtype,
        trainable=False,
        of=state.of,
    )


def _specs(owner: Owner, scope: str | None, found: dict[str, list[WeightSpec]]) -> None:
    layer = owner.layer
    found[owner.group] = [
        WeightSpec(
            path=f"{owner.group}/{key}",
            name=var.name,
            variable_path=_variable_path(owner, var, scope),
            shape=shape,
            dtype=dtype_of(layer, var),
            trainable=var.trainable if var.of else var.trainable and layer.trainable,
        )
        for key, (var, shape) in zip(keys_of(owner), owner.variables)
    ]
    for child in owner.children:
        _specs(child, below(scope, child), found)


def below(scope: str | None, owner: Owner) -> str | None:
    """The names of the layers around what the layer owns; None where one of them is numbered by a global counter."""
    return None if scope is None or owner.layer.name is None else f"{scope}{owner.layer.name}/"


def keys_of(owner: Owner) -> Iterator[str]:
    """What the file calls each variable in its group [WT-010]."""
    numbers = count()
    for var, _ in owner.variables:
        yield var.key or str(next(numbers))


def _variable_path(owner: Owner, var: Var, scope: str | None) -> str | None:
    """The names of the layers around the variable and its own; of the layer that made it, where it is saved a second time."""
    if not var.of:
        return None if scope is None or var.name is None else f"{scope}{var.name}"
    if (child := maker_of(owner, var)) is not None:
        for made, _ in child.variables:
            if made.name == var.name:
                return _variable_path(child, made, below(scope, child))
    return None


def maker_of(owner: Owner, var: Var) -> Owner | None:
    """The layer inside that made a variable which its owner saves a second time."""
    return next((child for child in owner.children if child.path.rpartition("/")[2] == var.of), None) if var.of else None


def dtype_of(layer: Layer, var: Var) -> str | None:
    if var.dtype in ("", "compute") and not layer.policy.known:
        return None
    if var.dtype == "compute":  # before, Keras did not cast the sum of a kernel and LoRA's product
        return layer.policy.compute_dtype if layer.version >= LORA_CAST_SINCE else layer.policy.variable_dtype
    if var.dtype == "int":
        return None  # int32 or int64, as the backend has it
    if var.dtype == "floatx":  # of which the policy is made, unless it was set apart
        return "float32" if layer.policy.variable_dtype == "float32" else None
    return var.dtype or layer.policy.variable_dtype


def read_version(text: str | None) -> Version:
    """`3.15.1` as numbers; what is no version counts as the newest that is known."""
    if text is None:
        return NEWEST
    return tuple(int(number[:6]) for number in re.findall(r"\d+", text)[:3]) or NEWEST
