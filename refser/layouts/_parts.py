"""What the archive and the directory share: the names of their parts, and which asset paths are allowed.

Spec: spec/keras-zip.md (KZ-001, KZ-010, KZ-011).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping

from refser import jsonio
from refser.errors import InvalidError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.layouts._reading import Refuse
from refser.values import Model

CONFIG, METADATA, WEIGHTS, NPZ, ASSETS = "config.json", "metadata.json", "model.weights.h5", "model.weights.npz", "assets"


_DRIVE = re.compile(r"[A-Za-z]:")


def config_bytes(model: Model, path: str) -> bytes:
    """The config to write, exactly as the model has it, once it is JSON [CF-004, KZ-009]."""
    if model.config_json is None:
        message = "a model without a config; wanted one, or a layout of weights only (.weights.h5, .weights.json)"
        raise InvalidError(Problem(code="KZ-009", message=message, at=path))
    jsonio.check_object(model.config_json, at=f"{path}: {CONFIG}")
    return jsonio.encode_text(model.config_json, at=f"{path}: {CONFIG}")


def metadata_bytes(model: Model, path: str) -> bytes:
    """metadata.json to write, as Keras spaces it; nothing is added, no clock is read [KZ-011]."""
    return jsonio.dump(dict(model.metadata), at=f"{path}: {METADATA}").encode("utf-8")


def checked_assets(model: Model, path: str) -> Mapping[str, bytes]:
    """The assets to write, in name order [KZ-010]."""
    check_asset_names(model.assets, path)
    return {name: bytes(model.assets[name]) for name in sorted(model.assets)}


def check_asset_names(names: Collection[str], at: str, *, refuse: Refuse | None = None) -> None:
    """Raise unless every name stays below `assets/` and none is a folder of another [KZ-010]."""
    for fault in _faults_of_asset_names(names, at):
        if refuse is None:
            raise fault
        refuse(fault)


def _faults_of_asset_names(names: Collection[str], at: str) -> Iterator[RefserError]:
    for name in names:
        if not is_asset_name(name):
            message = f"an asset named {name!r}; wanted a relative path without '..', '\\', a drive or control characters"
            yield UnsafeError(Problem(code="KZ-010", message=message, at=at))
    for above, below in itertools.pairwise(sorted(names, key=lambda name: name.replace("/", "\0"))):  # a folder, what is in it
        if below.startswith(f"{above}/"):
            message = f"the assets {above!r} and {below!r}, one a folder of the other"
            yield InvalidError(Problem(code="KZ-010", message=message, at=at))


def is_asset_name(name: str) -> bool:
    """Whether the path stays below `assets/` on every system [KZ-010]."""
    parts = name.split("/")
    plain = not any(ord(char) < 32 or char in "\\\x7f" or "\ud800" <= char <= "\udfff" for char in name)
    return plain and all(part not in ("", ".", "..") and not _DRIVE.match(part) for part in parts)


def npz_refused(at: str) -> UnsupportedError:
    """The members of npz weights are pickles [NZ-001]."""
    message = "weights as npz, whose members are pickles that could run code; wanted model.weights.h5"
    hint = "save it again from Keras with weights_format='h5'"
    return UnsupportedError(Problem(code="NZ-001", message=message, at=at, hint=hint))
