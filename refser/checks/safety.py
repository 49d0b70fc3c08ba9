"""Is it safe to hand to Keras: what loading the file would import, call, open, fetch, decode or allocate.

Spec: spec/safety.md (SF), spec/validate.md (VR-008).
Not here: the container, HDF5 that reaches outside (hdf5), what a class takes (constructors).
"""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks import _safety_values as values
from refser.checks._safety_scan import Scan
from refser.checks.report import Finding, unsafe, warning
from refser.checks.subject import Subject
from refser.checks.symbols import index_of
from refser.config.objects import shown
from refser.errors import RefserError
from refser.limits import GIB, MIB
from refser.rules.tree import WeightSpec
from refser.values import DTYPES

VARIABLE_MAX = 64 * GIB  # one variable that the file does not hold; the largest table of words known is a tenth of that
MODEL_MAX = 4096 * GIB  # all of them
_LOOKED_AT = 16 * MIB  # of an asset, to tell by its bytes what it is
_LOOKED_AT_ALL = 64 * MIB


def check_safety(subject: Subject) -> Iterator[Finding]:
    """Every finding of the chapter, whatever the file says of its version [SF-001]."""
    judged_elsewhere = subject.version >= (3,) or index_of(subject.version) is not None  # names, in constructors
    scan = Scan(bare=not judged_elsewhere, also_allow=subject.options.also_allow)
    if subject.config is not None:
        scan.run(subject.config, "")
    if subject.training is not None:
        scan.run(subject.training, "training_config")
    yield from scan.findings
    if scan.unknown:
        known = {id(node.json) for node in subject.nodes} if judged_elsewhere else set()
        yield from (finding for owner, finding in scan.unknown if owner not in known)
    yield from scan.custom()
    yield from _yaml(subject)
    yield from _sizes(subject)
    yield from _assets(subject)


def _yaml(subject: Subject) -> Iterator[Finding]:
    """A config that is YAML [SF-019]."""
    text = subject.file.config_json
    if text is not None and subject.config is None and values.is_yaml(text):
        yield unsafe("SF-019", "a config in YAML, whose loader made any object that it named; wanted JSON", "config")
    for name in subject.file.assets:
        if name.lower().endswith((".yaml", ".yml")):
            yield warning("SF-019", f"{shown(name)}: a YAML file; no class of Keras keeps one", f"assets/{name}")


def _sizes(subject: Subject) -> Iterator[Finding]:
    """Variables that Keras would allocate before it looks for their values [SF-013]."""
    tree = subject.tree
    if tree is None:
        return
    sizes = [_bytes_of(spec) for spec in tree]
    total = sum(sizes)
    if total <= VARIABLE_MAX:
        return
    stored = sum(weight.nbytes for weight in subject.file.weights.values())
    big = [(size, spec.path) for size, spec in zip(sizes, tree) if size > max(VARIABLE_MAX, stored)]
    for size, path in big[:100]:
        message = f"{size:,} bytes for one variable that the file does not hold; wanted at most {VARIABLE_MAX:,}"
        yield unsafe("SF-013", message, path)
    if total > MODEL_MAX and total > 2 * stored and not big:
        yield unsafe("SF-013", f"{total:,} bytes of variables, which the file does not hold; wanted at most {MODEL_MAX:,}")


def _bytes_of(spec: WeightSpec) -> int:
    """What the variable takes, as far as it is known; no more than it needs to be too much."""
    size = max(DTYPES.get(spec.dtype or "float32", ("", 32))[1] // 8, 1)
    for axis in spec.shape:
        size *= 1 if axis is None else axis
        if size == 0 or size > MODEL_MAX:
            break
    return size


def _assets(subject: Subject) -> Iterator[Finding]:
    """Assets that are no data [SF-020]."""
    assets, left = subject.file.assets, _LOOKED_AT_ALL
    for name, size in assets.sizes.items():
        head = b""
        if size <= min(_LOOKED_AT, left):
            left -= size
            try:
                head = bytes(assets[name][:4096])
            except RefserError as error:
                subject.refuse(error)
        kind, at = values.asset_kind(name, head), f"assets/{name}"
        if kind == "pickle":
            yield unsafe("SF-020", f"{shown(name)}: a pickle, which runs code when it is read; wanted data", at)
        elif kind is not None:
            yield warning("SF-020", f"{shown(name)}: {'a program' if kind == 'program' else 'an archive'}; wanted data", at)
