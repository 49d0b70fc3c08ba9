"""The groups and arrays of a file against those that a config calls for, group by group.

Spec: spec/weights-fit.md (WT-040 to WT-046, WT-048).  Not here: which config, which version (weights).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from refser.checks._fitting import Dtypes, Places, Vague, brief, counted, named, prefixes, shapes_text, some, weight_at
from refser.checks.report import Finding, error, info, of_error, warning
from refser.errors import RefserError
from refser.layouts import ModelFile
from refser.rules.tree import WeightSpec, WeightTree
from refser.values import Weight, fits, groups_of

_COUNTERS = ("iteration", "learning_rate")  # which an optimizer has before it is built
# Classes that take from their group what they look for, and leave the rest.
_CHOOSY = ("string_lookup", "integer_lookup", "index_lookup", "text_vectorization", "feature_space", "discretization")
_SCALING = (
    "iteration",
    "learning_rate",
    "step_counter",
    "dynamic_scale",
)  # of the optimizer around another that scales the loss
_INNER = "inner_optimizer/vars"
Shape = tuple["int | None", ...]
Root = tuple[str, list[str]]  # the topmost path that is there on one side only, and the groups below


class Held:
    """The groups of a file, with what Keras would see as the keys of each."""

    def __init__(self, file: ModelFile) -> None:
        self.faults: list[Finding] = []
        try:
            groups = file.groups
        except RefserError as fault:  # of one name; the arrays are there all the same
            self.faults.append(of_error(fault))
            groups = groups_of(file.weights, "v3")
        self.names: dict[str, str | None] = {}
        self.arrays: dict[str, dict[str, str]] = {}  # by group: path by key
        self.nested: dict[str, dict[str, str]] = {}  # by group: of each group inside it, what it holds
        for group in groups:
            self.names[group.path] = group.name
            arrays = self.arrays[group.path] = {}
            for key, path in zip(group.keys, group.weight_paths):
                head, slash, _ = key.partition("/")
                if slash:
                    self.nested.setdefault(group.path, {}).setdefault(head, path)
                else:
                    arrays[key] = path
        for path in file.left_out:  # it is there, and somebody has said what is wrong with it
            above, _, key = path.rpartition("/")
            if above in self.arrays:
                self.arrays[above][key] = path
        self._add_empty(file)
        self.prefixes = _above(self.names)

    def _add_empty(self, file: ModelFile) -> None:
        """Groups inside a `vars` group that hold no array: Keras counts them too."""
        for root in file.roots:
            if root.flat is not None and "/vars/" in "\n/".join(root.flat.groups):
                for path in root.flat.groups:
                    group, _, name = path.rpartition("/")
                    if group in self.arrays:
                        self.nested.setdefault(group, {}).setdefault(name, path)

    def keys(self, group: str) -> list[str]:
        return [*self.arrays[group], *(self.nested.get(group) or ())]


def _above(groups: Iterable[str]) -> set[str]:
    """The groups, and all that they stand in."""
    found: set[str] = set()
    for group in groups:
        found.update(prefixes(group))
    return found


def compared(file: ModelFile, config: Mapping[str, Any], tree: WeightTree, held: Held) -> list[Finding]:
    return list(_Comparison(file, config, tree, held).findings())


class _Comparison:
    """One fault makes one finding: what follows from another is left out."""

    def __init__(self, file: ModelFile, config: Mapping[str, Any], tree: WeightTree, held: Held) -> None:
        self._fixed = _scales(config)
        self._file, self._tree, self._held = file, tree, held
        self._at, self._dtypes, self._vague = Places(file), Dtypes(), Vague(tree.opaque)
        self._wanted: dict[str, list[WeightSpec]] = {}
        for spec in tree:
            self._wanted.setdefault(spec.path.rpartition("/")[0], []).append(spec)
        self._misshapen: dict[str, tuple[int, ...]] = {}  # by variable path, what the file has: its slots are likely to follow
        self._seen: set[str] = set()  # groups of which there is no more to say
        self._faults: list[Finding] = []

    def findings(self) -> Iterator[Finding]:
        missing: list[str] = []
        for group, name in self._tree.groups.items():
            if self._vague.covers(group):
                continue
            specs = self._wanted.get(group, [])
            if group not in self._held.names:
                if specs and not _is_measure(group) and not self._is_left_out(group):
                    missing.append(group)
                continue
            yield from self._group(group, name, specs)
        yield from self._unlike_groups([group for group in missing if group not in self._seen])
        yield from self._dtypes.findings()
        yield from self._faults

    def _is_left_out(self, group: str) -> bool:
        """Whether an array stands where the group, or one around it, belongs; those who read the file have said so."""
        left_out = self._file.left_out
        return bool(left_out) and any(above in left_out for above in prefixes(group))

    # A group that both have

    def _group(self, group: str, name: str | None, specs: Sequence[WeightSpec]) -> Iterator[Finding]:
        if group in self._seen:
            return
        if _is_state(group) and (plain := self._scaled_otherwise(group, specs)) is not None:
            yield from plain
            return
        found = list(self._state(group, specs) if _is_state(group) else self._own(group, specs))
        other = self._held.names[group]
        if name is not None and other is not None and other != name:
            message = f"the group is of {brief(other)!r}; the config has {brief(name)!r} here"
            if not any(it.severity == "error" for it in found):
                found.append(warning("WT-046", message, self._at(group)))
        yield from found

    def _own(self, group: str, specs: Sequence[WeightSpec]) -> Iterator[Finding]:
        """The variables of a layer, whose number Keras compares before it takes any [WT-040, WT-041, WT-044]."""
        keys, wanted = self._held.keys(group), {_key(spec): spec for spec in specs}
        here = set(keys)
        missing = [spec for key, spec in wanted.items() if key not in here]
        extra = [key for key in keys if key not in wanted]
        if not missing:
            yield from self._arrays(group, wanted)
            if extra:
                yield self._extra(group, extra, len(specs))
        elif not keys:
            yield error("WT-040", f"no arrays; {_calls_for(specs)}", self._at(group))
        elif len(missing) == len(extra) and all(_key(spec).isdigit() for spec in missing):
            message = f"arrays {some(map(brief, keys), len(keys), 6)}; wanted {some(wanted, len(wanted), 6)}"
            yield error("WT-044", f"{message}, by which Keras looks for them", self._at(group))
        else:
            message = f"{counted(len(keys), 'arrays')} of {len(specs):,}; {_calls_for(missing)}"
            yield error("WT-040", message, self._at(missing[0].path))

    def _extra(self, group: str, extra: Sequence[str], wanted: int) -> Finding:
        shown = some(map(brief, extra), len(extra))
        at = self._at(f"{group}/{extra[0]}")
        if _is_choosy(group):
            return warning("WT-041", f"array {shown}, which the config does not call for; Keras leaves it alone", at)
        message = f"array {shown} beyond the {counted(wanted, 'arrays')} that the config calls for, which Keras refuses"
        return error("WT-041", message, at)

    def _arrays(self, group: str, wanted: dict[str, WeightSpec]) -> Iterator[Finding]:
        """Each array against its variable; those of a wrong shape together [WT-042, WT-043, WT-045]."""
        paths, nested = self._held.arrays[group], self._held.nested.get(group, {})
        wrong: list[tuple[WeightSpec, Weight]] = []
        for key, spec in wanted.items():
            if key in nested and key not in paths:
                yield error("WT-045", f"a group where an array belongs; wanted {named(spec)}", self._at(f"{group}/{key}"))
                continue
            weight = weight_at(self._file, paths[key], self._faults)
            if weight is None:
                continue
            if not fits(spec.shape, weight.shape):
                if self._misshapen.get(spec.of or "") == weight.shape:
                    continue
                wrong.append((spec, weight))
                if spec.variable_path is not None:
                    self._misshapen[spec.variable_path] = weight.shape
            self._dtypes.compare(spec.variable_path or spec.path, spec.dtype, weight.dtype, self._at(weight.path))
        if wrong:
            message = f"{_calls_for([spec for spec, _ in wrong])} and the file has {shapes_text([it.shape for _, it in wrong])}"
            yield error("WT-042", message, self._at(wrong[0][1].path))

    def _state(self, group: str, specs: Sequence[WeightSpec]) -> Iterator[Finding]:
        """What an optimizer keeps: of another number of arrays Keras takes none, and warns [WT-048]."""
        keys = self._held.keys(group)
        if len(keys) == len(specs):
            yield from self._own(group, specs)
        elif (fresh := _numbered(_counters(specs))).keys() == set(keys):  # it was never trained
            yield from self._arrays(group, fresh)
        elif not _is_measure(group):
            message = f"{counted(len(keys), 'arrays')} of an optimizer's state; the config calls for {len(specs):,}"
            yield warning("WT-048", f"{message}, so Keras takes none and begins anew", self._at(group))

    def _scaled_otherwise(self, group: str, specs: Sequence[WeightSpec]) -> list[Finding] | None:
        """Where the loss was scaled although no layer's policy says so, or was not although they do.

        Which of the two depends on the policy of the process that compiled the model, and no config tells that.
        """
        below = group.removesuffix("vars") + _INNER
        keys, inner = set(self._held.keys(group)), self._wanted.get(below)
        if self._fixed or (below in self._held.names) == (inner is not None) or len(keys) == len(specs):
            return None
        states = _tracked(specs) if inner is None else inner
        own = len(_SCALING) if inner is None else 0  # what the one around another has for itself
        for wanted, first in ((states, own), (_counters(states), min(own, len(_COUNTERS)))):  # trained, and not
            by_key = {str(first + number): spec for number, spec in enumerate(wanted)}
            if keys == {*map(str, range(first)), *by_key}:
                self._seen.add(below)
                found = list(self._arrays(group, by_key))
                return [*found, *self._state(below, states)] if below in self._held.names else found
        return None

    # Groups that one side has

    def _unlike_groups(self, missing: Sequence[str]) -> Iterator[Finding]:
        """A part that is gone is one finding, and so is one that stands elsewhere [WT-040, WT-041]."""
        known, held = _above(self._tree.groups), self._held
        unknown = [group for group in held.names if group not in self._tree.groups and not self._vague.covers(group)]
        full = [group for group in unknown if held.keys(group) and group not in self._seen]
        elsewhere = _Elsewhere(held, _roots(full, known), self._shapes_held)
        for root, groups in _roots(missing, held.prefixes):
            specs = [spec for group in groups for spec in self._wanted[group]]
            if _is_state(root):
                message = (
                    f"no state; the config calls for {counted(len(specs), 'arrays')} of an optimizer, so Keras begins anew"
                )
                yield warning("WT-048", message, self._at(root))
            elif other := elsewhere.find(root, self._name_of(root), [(it, self._shapes_wanted(it)) for it in groups]):
                message = f"nothing here; {_calls_for(specs)}, and the file has the like at {brief(other)}"
                yield error("WT-040", message, self._at(root))
            else:
                yield error("WT-040", f"nothing here; {_calls_for(specs)}", self._at(root))
        for root, groups in elsewhere.left():
            count = sum(len(held.keys(group)) for group in groups)
            what = "which the config does not call for; Keras leaves them alone"
            yield warning("WT-041", f"{counted(count, 'arrays')} below {brief(root)}, {what}", self._at(root))
        if empty := [group for group in unknown if not held.keys(group)]:
            message = f"{some(map(brief, empty), len(empty))}: empty, and not in the config"
            yield info("WT-041", message, self._at(empty[0]))

    def _name_of(self, root: str) -> str | None:
        return self._tree.groups.get(f"{root}/vars")

    def _shapes_wanted(self, group: str) -> list[Shape]:
        return [spec.shape for spec in self._wanted[group]]

    def _shapes_held(self, group: str) -> list[Shape]:
        found = [weight_at(self._file, path, self._faults) for path in self._held.arrays[group].values()]
        return [weight.shape for weight in found if weight is not None]


class _Elsewhere:
    """Parts that nobody calls for, to be found by those that are missing: by name, else by their arrays' shapes."""

    def __init__(self, held: Held, roots: Sequence[Root], shapes: Callable[[str], list[Shape]]) -> None:
        self._roots = dict(roots)
        self._by: dict[Hashable, list[str]] = {}
        for root, groups in reversed(roots):  # the last of a list is the first to be taken
            above = root.rpartition("/")[0]
            name = held.names.get(f"{root}/vars")
            if name is not None:
                self._by.setdefault((above, name), []).append(root)
            self._by.setdefault((above, _outline(root, [(it, shapes(it)) for it in groups])), []).append(root)

    def find(self, root: str, name: str | None, groups: Sequence[tuple[str, list[Shape]]]) -> str | None:
        above = root.rpartition("/")[0]
        for key in ((above, name), (above, _outline(root, groups))):
            candidates = self._by.get(key, [])
            while candidates:
                if (found := candidates.pop()) in self._roots:
                    del self._roots[found]
                    return found
        return None

    def left(self) -> list[Root]:
        return list(self._roots.items())


def _outline(root: str, groups: Sequence[tuple[str, list[Shape]]]) -> Hashable:
    return tuple((group[len(root) :], tuple(shapes)) for group, shapes in groups)


def _scales(config: Mapping[str, Any]) -> bool:
    """Whether the config itself has an optimizer around another."""
    compiled = config.get("compile_config")
    optimizer = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    return isinstance(optimizer, Mapping) and str(optimizer.get("class_name")).startswith("LossScaleOptimizer")


def _roots(groups: Iterable[str], known: set[str]) -> list[Root]:
    """Groups by the topmost path of each that the other side does not have."""
    found: dict[str, list[str]] = {}
    for group in groups:
        root = next((above for above in prefixes(group) if above not in known), group)
        found.setdefault(root.removesuffix("/vars"), []).append(group)
    return list(found.items())


def _calls_for(specs: Sequence[WeightSpec]) -> str:
    return f"the config calls for {some(map(named, specs), len(specs))}"


def _counters(specs: Sequence[WeightSpec]) -> list[WeightSpec]:
    return [spec for spec in specs if spec.name in _COUNTERS and not spec.of]


def _tracked(specs: Sequence[WeightSpec]) -> list[WeightSpec]:
    """Without what Keras makes and forgets in an optimizer that another one builds: Nadam's product, which has no name."""
    from dataclasses import replace  # slow to import, and seldom wanted

    found = [spec for spec in specs if spec.name is not None]
    return [replace(spec, path=f"{spec.path.rpartition('/')[0]}/{number}") for number, spec in enumerate(found)]


def _numbered(specs: Sequence[WeightSpec]) -> dict[str, WeightSpec]:
    return {str(number): spec for number, spec in enumerate(specs)}


def _key(spec: WeightSpec) -> str:
    return spec.path.rpartition("/")[2]


def _is_state(group: str) -> bool:
    return "optimizer" in group.split("/") or _is_measure(group)


def _is_measure(group: str) -> bool:
    """What tf.keras keeps of a metric, and Keras 3 does not look at."""
    return "metrics" in group.split("/")


def _is_choosy(group: str) -> bool:
    last = group.removesuffix("/vars").rpartition("/")[2].lstrip("_")
    head, _, number = last.rpartition("_")
    return (head if number.isdigit() else last) in _CHOOSY
