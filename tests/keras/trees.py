"""What real Keras would write for a live model, without writing it, and what refser says from the config alone."""

from __future__ import annotations

import json
from io import BytesIO
from math import prod
from typing import Any, NamedTuple

import keras
import ml_dtypes  # noqa: F401  # which teaches NumPy bfloat16
import numpy as np
from keras.src.saving import saving_lib, serialization_lib

import refser
from refser.rules.tree import WeightSpec, WeightTree, expected_weights

_ELEMENTS_MAX = 1 << 20  # of a model whose weights are written and looked at too


class Real(NamedTuple):
    """One array as Keras hands it to its store."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    name: str | None  # None for what is no variable, such as a merged LoRA kernel
    trainable: bool | None


class _Recorder(saving_lib.H5IOStore):
    """Keeps what Keras gives it, in order, and writes no file."""

    def __init__(self) -> None:  # not the one of the class it stands for, which opens a file
        self.entries: dict[str, dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        return self.entries.setdefault(path, {})

    def get(self, path: str) -> dict[str, Any]:
        return self.entries.get(path, {})


def recorded(model: Any) -> tuple[list[Real], list[str]]:
    """Arrays in file order and the groups, empty ones too."""
    store = _Recorder()
    saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
    trainable = {id(variable) for variable in model.trainable_variables}
    found = []
    for path, values in store.entries.items():
        for key, value in values.items():
            if value is None:
                continue
            is_variable = isinstance(value, keras.Variable)
            found.append(
                Real(
                    f"{path}/vars/{key}".lstrip("/"),
                    tuple(value.shape),
                    keras.backend.standardize_dtype(value.dtype),
                    value.name if is_variable else None,
                    id(value) in trainable if is_variable else None,
                )
            )
    return found, [f"{path}/vars".lstrip("/") for path in store.entries]


def config_of(model: Any) -> str:
    """config.json as Keras would save it."""
    with serialization_lib.ObjectSharingScope():  # writes the shared_object_id
        return json.dumps(keras.saving.serialize_keras_object(model))


def differences(model: Any, *, optimizer: bool = False, names: bool = True, opaque: bool = False) -> list[str]:
    """Each place where refser and Keras do not agree on path, shape, dtype, order, name or trainable.

    With `opaque` what is below an opaque place is left out.
    """
    real, groups = recorded(model)
    config = config_of(model)
    tree = expected_weights(config, keras_version=keras.__version__, optimizer=optimizer)
    wrong = [] if opaque else [f"opaque: {place}" for place in tree.opaque]
    wrong += alarms(config, real, groups)
    for place in tree.opaque if opaque else ():
        real = [it for it in real if not _is_below(it.path, place.path)]
        groups = [path for path in groups if path == f"{place.path}/vars" or not _is_below(path, place.path)]
    if not optimizer:
        real = [it for it in real if not _is_state(it.path)]
        groups = [path for path in groups if not _is_state(path)]
    wrong += _order("arrays", [it.path for it in real], [it.path for it in tree])
    wrong += _order("groups", groups, list(tree.groups))
    by_path = {spec.path: spec for spec in tree}
    for it in real:
        if (spec := by_path.get(it.path)) is not None:
            wrong += _unlike(it, spec, names)
    return wrong


def alarms(config: str, real: list[Real], groups: list[str]) -> list[str]:
    """What `validate` would say of the file, which has to be nothing.

    Of custom objects and functions apart, and of assets, which are not in this one.  Of a big model only the config is
    looked at.
    """
    if sum(prod(it.shape) for it in real) > _ELEMENTS_MAX:
        return _alarms(BytesIO(config.encode()))
    weights = {it.path: refser.Weight.from_array(it.path, np.zeros(it.shape, it.dtype)) for it in real}
    keys: dict[str, list[str]] = {group: [] for group in sorted({*groups, "vars"})}
    for path in weights:
        group = path.rpartition("/")[0]
        while group not in keys:  # a key with slashes
            group = group.rpartition("/")[0]
        keys[group].append(path[len(group) + 1 :])
    owners = tuple(refser.WeightGroup(path=group, name=None, keys=tuple(found)) for group, found in keys.items())
    metadata = {"keras_version": keras.__version__, "date_saved": "2026-01-01@00:00:00"}
    file = BytesIO()
    refser.save(refser.Model(config_json=config, metadata=metadata, weights=weights, groups=owners), file)
    return _alarms(file)


def _alarms(file: BytesIO) -> list[str]:
    report = refser.validate(file)
    return [
        f"{it.severity}: {it}"
        for it in report.problems
        if it.severity != "info" and it.code not in ("SF-002", "SF-009", "SF-014", "SF-016", "WT-047")
    ]


def _is_below(path: str, place: str) -> bool:
    return not place or path.startswith(f"{place}/")


def _is_state(path: str) -> bool:
    return "optimizer" in path.split("/")


def _order(what: str, real: list[str], expected: list[str]) -> list[str]:
    if real == expected:
        return []
    missing, extra = [it for it in real if it not in set(expected)], [it for it in expected if it not in set(real)]
    if not missing and not extra:
        return [f"{what} in another order: Keras {real[:12]}, refser {expected[:12]}"]
    return [f"{what}: Keras alone has {missing[:6]}, refser alone {extra[:6]}"]


def _unlike(real: Real, spec: WeightSpec, names: bool) -> list[str]:
    found = []
    if real.shape != spec.shape:
        found.append(f"{real.path}: Keras has shape {real.shape}, refser {spec.shape}")
    if spec.dtype is not None and real.dtype != spec.dtype:
        found.append(f"{real.path}: Keras has dtype {real.dtype}, refser {spec.dtype}")
    if names and spec.name is not None and real.name is not None and not _named(real.name, spec):
        found.append(f"{real.path}: Keras has name {real.name}, refser {spec.name} of {spec.of}")
    if real.trainable is not None and spec.trainable is not None and real.trainable != spec.trainable:
        found.append(f"{real.path}: Keras has trainable {real.trainable}, refser {spec.trainable}")
    return found


def _named(real: str, spec: WeightSpec) -> bool:
    """Whether Keras's name means what `spec` says.

    A slot's name in Keras starts with a path that depends on how the model was built: it and `of` end alike.
    """
    if spec.of is None or spec.name is None:
        return real == spec.name
    if spec.name in ("r", "c"):  # of Adafactor, which Keras names as the variable itself
        return real == spec.of.rpartition("/")[2]
    wanted = f"{spec.of.replace('/', '_')}_{spec.name}"
    return real.endswith(wanted) or (wanted.endswith(f"_{real}") and real.endswith(f"{spec.of.rpartition('/')[2]}_{spec.name}"))


__all__ = ["Real", "WeightTree", "config_of", "differences", "recorded"]
