"""A bare config, as `model.to_json()` gives it.

Spec: spec/config-json.md (CF).  Not here: what the config means (config).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refser.errors import InvalidError, Problem
from refser.layouts._parts import config_bytes
from refser.layouts.model_file import ModelFile
from refser.limits import Limits
from refser.values import Generation, Model

if TYPE_CHECKING:
    from refser.output import Output

_TEXTS = ("keras_version", "backend")


def detect_config_json(value: object) -> bool:
    """A JSON object with a class_name and a config [CF-002]."""
    return isinstance(value, dict) and isinstance(value.get("class_name"), str) and "config" in value


def read_config_json(path: str, text: str, config: Mapping[str, Any], *, limits: Limits) -> ModelFile:
    """tf.keras puts its version beside the class [CF-003]; such a config is of the older generation."""
    generation: Generation = "legacy" if "keras_version" in config else "v3"
    metadata = {name: config[name] for name in _TEXTS if isinstance(config.get(name), str)}
    return ModelFile(path=path, layout="config-json", generation=generation, config_json=text, metadata=metadata, limits=limits)


def write_config_json(model: Model, output: Output) -> None:
    """The config exactly as the model has it [CF-004], once it is one [CF-002]."""
    at = os.path.basename(output.name)
    if model.config_json is None:
        raise InvalidError(Problem(code="CF-002", message="a model without a config; wanted one", at=at))
    data = config_bytes(model, output.name)
    if not detect_config_json(model.config):
        raise InvalidError(Problem(code="CF-002", message="a config without class_name or config; wanted both", at=at))
    with output.open() as file:
        file.write(data)
