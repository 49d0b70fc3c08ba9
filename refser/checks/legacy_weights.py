"""Do the name lists of a file of Keras 1 and 2 fit its config, as Keras would find out when it goes through them in order?

Spec: spec/legacy-h5.md (LH-030 to LH-036).  Keras: `load_weights_from_hdf5_group`.  Not here: that each name of a list is that
of an array (layouts/legacy_h5), the optimizer's arrays, which Keras takes or leaves.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

from refser.checks._fitting import Dtypes, Places, Vague, brief, counted, named, prefixes, shapes_text, some, weight_at
from refser.checks.report import Finding, error, warning
from refser.checks.subject import Subject
from refser.layouts import ModelFile
from refser.rules.legacy import BASE, TOP
from refser.rules.tree import WeightSpec, WeightTree
from refser.values import Weight, WeightGroup, fits

_COUNT = re.compile(r"_[0-9]+\Z")
Layers = dict[str, list[WeightSpec]]  # by group, those alone that have weights


def check_legacy_weights(subject: Subject, tree: WeightTree) -> Iterator[Finding]:
    yield from _Comparison(subject.file, tree).findings()


class _Comparison:
    """Keras passes over what has no weights, on both sides, and goes through the rest by position, whatever the names."""

    def __init__(self, file: ModelFile, tree: WeightTree) -> None:
        self._file, self._at, self._dtypes, self._vague = file, Places(file), Dtypes(), Vague(tree.opaque)
        self._faults: list[Finding] = []
        self._wanted = _layers(tree)
        self._held = {group.path: group for group in file.groups if group.keys and group.path.startswith(f"{BASE}/")}
        self._top = self._held.pop(f"{BASE}/{TOP}", None)

    def findings(self) -> Iterator[Finding]:
        if self._vague.covers(BASE):
            return
        yield from self._top_level()
        held = [group for group in self._held if not self._vague.covers(group)]
        wanted = [group for group in self._wanted if not self._vague.covers(group)]
        if self._file.left_out:  # of which somebody has said what is wrong
            broken = {above for path in self._file.left_out for above in prefixes(path)}
            held, wanted = [it for it in held if it not in broken], [it for it in wanted if it not in broken]
        pairs = list(zip(wanted, held))
        if held != wanted:
            missing, extra = _without(wanted, self._held), _without(held, self._wanted)
            if len(held) == len(wanted) and (missing or extra):
                yield from self._renamed(pairs)
            else:
                pairs = [(group, group) for group in wanted if group in self._held]
                yield from self._differing(wanted, held, missing, extra)
        for group, other in pairs:
            yield from self._layer(group, other)
        yield from self._dtypes.findings()
        yield from self._faults

    def _top_level(self) -> Iterator[Finding]:
        if self._top is not None and not self._wanted.get(self._top.path):
            message = f"{counted(len(self._top.keys), 'arrays')} of the model itself, and the config calls for none"
            yield error("LH-031", message, self._at(self._top.path))

    # Which layers

    def _differing(
        self, wanted: Sequence[str], held: Sequence[str], missing: Sequence[str], extra: Sequence[str]
    ) -> Iterator[Finding]:
        at = self._at(BASE)
        if missing:
            specs = [spec for group in missing for spec in self._wanted[group]]
            message = f"layer_names has no {some(map(_name, missing), len(missing))} with weights; {_calls_for(specs)}"
            yield error("LH-030", message, at)
        if extra:
            message = f"layer_names has {some(map(_name, extra), len(extra))} with weights; no layer of the config is that"
            yield error("LH-031", message, at)
        if not missing and not extra:
            first, other = next((a, b) for a, b in zip(held, wanted) if a != b)
            message = f"layer_names has {_name(first)} in the place of {_name(other)}; wanted the order of the config"
            yield error("LH-032", f"{message}, by which Keras goes", at)

    def _renamed(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Finding]:
        """As many layers under other names: no fault for Keras, if the weights fit."""
        others = [(group, other) for group, other in pairs if group != other and self._fits(group, other)]
        if others:
            shown = some((f"{_name(other)} for {_name(group)}" for group, other in others), len(others))
            message = f"layer_names has {shown}; Keras goes by the order and asks for no name"
            yield warning("LH-036", message, self._at(BASE))

    def _fits(self, group: str, other: str) -> bool:
        specs, weights = self._wanted[group], self._weights(self._held[other])
        return len(specs) == len(weights) and all(it is None or fits(spec.shape, it.shape) for spec, it in zip(specs, weights))

    # One layer

    def _layer(self, group: str, other: str) -> Iterator[Finding]:
        specs, held = self._wanted[group], self._held[other]
        called = f"{_name(other)}, in the place of {_name(group)}" if group != other else _name(group)
        if len(specs) != len(held.keys):
            message = f"{counted(len(held.keys), 'arrays')} in weight_names of {called}; {_calls_for(specs)}"
            yield error("LH-033", message, self._at(other))
            return
        weights = self._weights(held)
        if group == other and (order := _order(specs, held.keys)) is not None:
            message = f"weight_names has {some(map(brief, held.keys), len(held.keys))}; wanted {some(order, len(order))}"
            yield error("LH-035", f"{message}, the order by which Keras goes", self._at(other))
            return
        both = [(spec, weight) for spec, weight in zip(specs, weights) if weight is not None]
        for spec, weight in both:
            self._dtypes.compare(spec.variable_path or spec.path, spec.dtype, weight.dtype, self._at(weight.path))
        if wrong := [(spec, weight) for spec, weight in both if not fits(spec.shape, weight.shape)]:
            found = shapes_text([weight.shape for _, weight in wrong])
            where = f" in {called}" if group != other else ""
            message = f"{_calls_for([spec for spec, _ in wrong])} and the file has {found}{where}"
            yield error("LH-034", message, self._at(wrong[0][1].path))

    def _weights(self, group: WeightGroup) -> list[Weight | None]:
        return [weight_at(self._file, path, self._faults) for path in group.weight_paths]


def _layers(tree: WeightTree) -> Layers:
    """Each layer's variables in the order of the layers."""
    found: Layers = {group: [] for group in tree.groups}
    for spec in tree:
        group = ""
        for above in prefixes(spec.path):  # a layer's name may have "/" in it
            group = above if above in found else group
        if group:
            found[group].append(spec)
    return {group: specs for group, specs in found.items() if specs}


def _order(specs: Sequence[WeightSpec], keys: Sequence[str]) -> list[str] | None:
    """The variables' names in their order, if the arrays have the same in another."""
    wanted = [spec.name for spec in specs]
    held = [_COUNT.sub("", key.removesuffix(":0").rpartition("/")[2]) for key in keys]
    plain = [name for name in wanted if name is not None]
    return plain if len(plain) == len(held) and plain != held and sorted(plain) == sorted(held) else None


def _without(groups: Sequence[str], others: Container[str]) -> list[str]:
    return [group for group in groups if group not in others]


def _name(group: str) -> str:
    return repr(brief(group.removeprefix(f"{BASE}/")))


def _calls_for(specs: Sequence[WeightSpec]) -> str:
    return f"the config calls for {some(map(named, specs), len(specs))}"
