"""What `inspect` finds out about an open file: data, no printing.

Spec: spec/command-line.md (CL-015 to CL-020).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from refser.cli import _classes
from refser.errors import Problem, RefserError
from refser.layouts import ModelFile
from refser.values import Weight

ROLES = ("model", "optimizer", "metrics")


class Part(NamedTuple):
    """An object of the file that owns weights, or could."""

    path: str  # "layers/dense", "model_weights/dense"; "" is the model itself
    steps: tuple[str, ...]  # the path in steps of the tree: a legacy layer's name may have slashes in it
    name: str | None
    class_name: str | None
    role: str  # one of ROLES
    weights: tuple[Weight, ...]


class Sum(NamedTuple):
    """What some weights come to."""

    weights: int
    parameters: int
    bytes: int


class Report(NamedTuple):
    """Everything that `inspect` shows."""

    file: str
    file_bytes: int | None  # of a file; a folder and a set of shards have no one size
    layout: str
    generation: str
    metadata: Mapping[str, Any]
    model: Mapping[str, str | None] | None  # class_name, name, module, registered_name
    training: _classes.Training | None
    layers: tuple[_classes.Layer, ...]
    parts: tuple[Part, ...]
    assets: Mapping[str, int]
    warnings: tuple[Problem, ...]
    errors: tuple[Problem, ...]

    def total(self, role: str) -> Sum:
        return sum_of(weight for part in self.parts if part.role == role for weight in part.weights)

    def metadata_text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


def report_on(file: ModelFile) -> Report:
    """Look at everything but the arrays; what does not parse becomes an error of the report [CL-020]."""
    errors: list[Problem] = []
    config = _parsed(file, "config", file.config_json, errors)
    training_config = _parsed(file, "training_config", file.training_config, errors)
    names = ("class_name", "module", "registered_name")
    model = {"name": _classes.name_of(config)} | {name: _text(config.get(name)) for name in names} if config else None
    is_legacy = file.generation == "legacy"
    parts = _legacy_parts(file, config, training_config) if is_legacy else _v3_parts(file, config)
    return Report(
        file=file.path,
        file_bytes=None if file.layout == "weights-sharded" else _file_bytes(file.path),
        layout=file.layout,
        generation=file.generation,
        metadata=file.metadata,
        model=model,
        training=_classes.training(config, training_config),
        layers=tuple(_classes.outline(config)),
        parts=tuple(parts),
        assets=file.assets.sizes,
        warnings=file.problems,
        errors=tuple(errors),
    )


def sum_of(weights: Iterable[Weight]) -> Sum:
    found = list(weights)
    parameters = sum(weight.size for weight in found)
    return Sum(weights=len(found), parameters=parameters, bytes=sum(weight.nbytes for weight in found))


def _parsed(file: ModelFile, name: str, text: str | None, errors: list[Problem]) -> Mapping[str, Any]:
    if text is None:
        return {}
    from refser import jsonio

    try:
        return jsonio.parse_object(text, limits=file.limits, at=f"{os.path.basename(file.path)}: {name}")
    except RefserError as error:
        errors.append(error.problem)
        return {}


def _v3_parts(file: ModelFile, config: Mapping[str, Any]) -> Iterable[Part]:
    """An object's path is its `vars` group's without that last step."""
    names = {_owner(group.path): group.name for group in file.groups}
    objects = _classes.match(names, config)
    for group in file.groups:
        path = _owner(group.path)
        thing = objects.get(path, {})
        yield Part(
            path=path,
            steps=tuple(path.split("/")) if path else (),
            name=group.name or _classes.name_of(thing),
            class_name=_classes.class_of(thing),
            role=_role(path),
            weights=tuple(file.weights[weight] for weight in group.weight_paths),
        )


def _legacy_parts(file: ModelFile, config: Mapping[str, Any], training_config: Mapping[str, Any]) -> Iterable[Part]:
    objects = _classes.match_by_name(config)
    optimizer = training_config.get("optimizer_config")
    for group in file.groups:
        is_optimizer = file.layout == "legacy-h5" and group.path == "optimizer_weights"
        top, _, layer = group.path.partition("/")
        yield Part(
            path=group.path,
            steps=(top, layer) if file.layout == "legacy-h5" and layer else (group.path,),
            name=None if is_optimizer else group.name,
            class_name=_classes.class_of(optimizer if is_optimizer else objects.get(group.name or "")),
            role="optimizer" if is_optimizer else "model",
            weights=tuple(file.weights[weight] for weight in group.weight_paths),
        )


def _owner(path: str) -> str:
    return path.removesuffix("vars").removesuffix("/")


def _role(path: str) -> str:
    """By the first step of the path, which is the attribute of the model that holds the object [CL-019]."""
    top = path.partition("/")[0]
    if top == "optimizer":
        return "optimizer"
    return "metrics" if top == "metrics" else "model"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _file_bytes(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
