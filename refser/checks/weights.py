"""Do the weights of a file fit its config, as `load_model` would find out?

Spec: spec/weights-fit.md (WT-040 to WT-049).  Keras: keras.src.saving.saving_lib `_load_state`, `Layer.load_own_variables`.
Not here: files of Keras 1 and 2 (legacy_weights), assets (assets), NaN (values).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from refser.checks._comparison import Held, compared
from refser.checks._fitting import MODELS, OLD_CONTAINER, Dtypes, Places, brief, some, weight_at
from refser.checks.assets import check_assets
from refser.checks.legacy_weights import check_legacy_weights
from refser.checks.report import Finding, error, info
from refser.checks.subject import Subject
from refser.errors import RefserError
from refser.layouts import ModelFile
from refser.rules.tree import NEWEST, WeightTree, expected_weights, read_version

_WEIGHTS = ("weights-h5", "weights-sharded")
_OTHER_WALKS = ("2.14.0", "2.13.1")  # Keras 3 looks there too, where it finds nothing under `layers`


def check_weights(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if "weights" in file.unread:
        return
    if file.layout in MODELS:
        held = Held(file)
        yield from held.faults
        if (tree := subject.tree) is None or subject.config is None:
            yield from _alone(file, held)
            return
        yield from opaque_places(tree)
        yield from _best(subject, subject.config, tree, held)
        yield from check_assets(subject, tree)
    elif file.layout in _WEIGHTS:
        held = Held(file)
        yield from held.faults
        yield from _alone(file, held)
    elif file.layout == "legacy-h5" and (tree := subject.tree) is not None:
        yield from opaque_places(tree)
        yield from check_legacy_weights(subject, tree)
    elif file.generation == "legacy":
        yield from _dtypes(file)


def opaque_places(tree: WeightTree) -> Iterator[Finding]:
    """What nobody can tell from the config [WT-049]."""
    if tree.opaque:
        places = (f"{brief(it.path) or 'the whole model'} ({brief(it.class_name)}: {brief(it.reason)})" for it in tree.opaque)
        message = f"the config does not tell which weights there are below {some(places, len(tree.opaque), 8)}"
        yield info("WT-049", message, tree.opaque[0].at)


def _best(subject: Subject, config: Mapping[str, Any], tree: WeightTree, held: Held) -> list[Finding]:
    """By the version that the file names; where that does not fit and another walk does, by that, as Keras asks no version."""
    found = compared(subject.file, config, tree, held)
    if not any(it.code in ("WT-040", "WT-041") and it.severity != "info" for it in found):
        return found
    version = subject.version
    others = [".".join(map(str, NEWEST))] if version != NEWEST else []
    if OLD_CONTAINER in held.prefixes:
        others.extend(text for text in _OTHER_WALKS if read_version(text) != version)
    for text in others:
        try:
            other = compared(subject.file, config, expected_weights(config, keras_version=text), held)
        except RefserError:
            continue
        if not any(it.severity in ("error", "warning") for it in other):
            return other
    return found


# Weights without a config: what no config could make right


def _alone(file: ModelFile, held: Held) -> Iterator[Finding]:
    """Numbers with a gap [WT-044]; a shard may begin with any, and then its group has no name [SH-009]."""
    at = Places(file)
    for group, arrays in held.arrays.items():
        if not arrays or held.nested.get(group) or not all(map(_is_number, arrays)):
            continue  # a layer that saves for itself names its arrays as it likes
        numbers = sorted(map(int, arrays))
        start = numbers[0] if held.names[group] is None else 0
        if numbers != list(range(start, start + len(numbers))) or any(str(int(key)) != key for key in arrays):
            shown = some(sorted(arrays, key=int), len(arrays), 6)
            yield error("WT-044", f"arrays numbered {shown}; wanted {start} and on, without a gap", at(group))
    yield from _dtypes(file)


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10


def _dtypes(file: ModelFile) -> Iterator[Finding]:
    at, dtypes = Places(file), Dtypes()
    faults: list[Finding] = []
    for path in file.weights:
        if (weight := weight_at(file, path, faults)) is not None:
            dtypes.compare(path, None, weight.dtype, at(path))
    yield from faults
    yield from dtypes.findings()
