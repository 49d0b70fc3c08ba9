"""Weights split over several files beside an index, `model.weights.json` and `model_00000.weights.h5` (Keras 3.12 and later).

Spec: spec/weights-sharded.md (SH).  Not here: one file of weights (weights_h5).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from refser import jsonio
from refser._record import field, record
from refser.config.objects import shown
from refser.errors import AccessError, InvalidError, LimitError, Problem, RefserError, UnsafeError
from refser.hdf5 import Group, NewGroup, read_tree, write_tree
from refser.layouts._reading import Parts, Refuse, of_special_file
from refser.layouts.model_file import ModelFile, checked_groups
from refser.layouts.weights_h5 import Store, add_group, add_weight, read_store
from refser.limits import GIB, Limits
from refser.source import FileSource, Source
from refser.stream import is_url, open_url
from refser.values import Model, Weight, WeightGroup, dtype_bits, natural

_OWN_SHARD = re.compile(r"(?:[0-9a-f]{12}-)?(.+)_\d{5}\.weights\.h5", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")
INDEX_SUFFIX = ".weights.json"
_ABSENT = object()
_ENTRIES_MOST, _UNNAMED_MOST = 65_536, 100  # of the folder that are looked at; that are named


def detect_weights_sharded(index: object) -> bool:
    """A JSON object with a `weight_map` [SH-001]."""
    return isinstance(index, dict) and "weight_map" in index


def read_weights_sharded(path: str, index: Mapping[str, Any], *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    """Raises the first SH requirement that the index or a shard breaks; with `refuse`, each goes there."""
    at = os.path.basename(path)
    parts = Parts(None if refuse is None else lambda error: refuse(of_special_file(error, "SH-016")))
    places = _weight_map(index, at, refuse)
    names = list(dict.fromkeys(name for files in places.values() for name in files))
    if len(names) > limits.shards:
        message = f"an index of {len(names):,} shards; the limit is {limits.shards:,}"
        raise LimitError(Problem(code="LI-009", message=message, at=at))
    names = names or _lone_shard(path)
    roots: dict[str, Group] = {}
    shards: dict[str, Store] = {}
    for name in names:
        tree = partial(_shard_tree, path, name, limits, refuse)
        if (root := parts.read("weights", tree, None)) is not None:
            roots[name] = root
            if (store := parts.read("weights", partial(read_store, root, refuse=refuse), None)) is not None:
                shards[name] = store
    groups, weights = _merge(places, shards, at, refuse)
    return ModelFile(
        path=path,
        layout="weights-sharded",
        found_groups=groups,
        weights=weights,
        problems=() if refuse is None else tuple(_remarks(path, index, names, weights, whole=len(shards) == len(names))),
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=set().union(*(store.left_out for store in shards.values())),
        roots=tuple(roots.values()),
    )


def _shard_tree(index: str, name: str, limits: Limits, refuse: Refuse | None) -> Group:
    return read_tree(_open_shard(index, name, limits), limits=limits, refuse=refuse)


def write_weights_sharded(model: Model, path: str, *, max_shard_size: float | None = None, overwrite: bool = False) -> None:
    """Shards of at most `max_shard_size` GiB, filled in order as Keras fills them; without it, one shard of 5 GiB [SH-008]."""
    from refser import atomic  # which readers do without

    if not path.endswith(INDEX_SUFFIX):
        message = f"the name {os.path.basename(path)!r} for an index; wanted one that ends in {INDEX_SUFFIX}"
        raise InvalidError(Problem(code="SH-001", message=message, at=path))
    if "\\" in os.path.basename(path):
        message = f"the name {os.path.basename(path)!r}, which shards cannot have; wanted one without a backslash"
        raise InvalidError(Problem(code="SH-003", message=message, at=path))
    base = os.path.basename(path).removesuffix(".json").replace(".weights", "")
    shards = _split(model, base, 5.0 if max_shard_size is None else max_shard_size)
    atomic.refuse_existing(path, overwrite)
    temporaries: dict[str, str] = {}
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with atomic.translated(path):
            for shard in shards:
                temporary = temporaries[shard.name] = atomic.temporary_beside(os.path.join(folder, shard.name))
                write_tree(temporary, shard.tree)
                atomic.flush(temporary)
        stale = _old_shards(path, base) if overwrite else []
        index = _Index(shards)
        atomic.new_file_set(path, temporaries, index.text, overwrite=overwrite, stale=stale)
    finally:
        for temporary in temporaries.values():
            atomic.forget(temporary)


@record(slots=True)
class _Shard:
    name: str
    tree: NewGroup = field(default_factory=NewGroup)
    groups: set[str] = field(default_factory=set)
    sizes: dict[str, list[float]] = field(default_factory=dict)  # group path -> bytes of each weight, as Keras counts them

    def begin(self, group: WeightGroup) -> None:
        if group.path not in self.groups:
            self.groups.add(group.path)
            add_group(self.tree, group)


@record(slots=True)
class _Index:
    shards: Sequence[_Shard]

    def text(self, names: Mapping[str, str]) -> bytes:
        """The index when the shards have these names [SH-001, SH-007]."""
        places: dict[str, list[str]] = {}
        sizes: dict[str, list[float]] = {}
        for shard in self.shards:
            for path, parts in shard.sizes.items():
                places.setdefault(f"/{path}", []).append(names[shard.name])
                sizes.setdefault(f"/{path}", []).extend(parts)
        total = sum(size for parts in sizes.values() for size in parts)
        # A list for an object of several weights, in one file or more [SH-012].
        weight_map = {path: files if len(sizes[path]) > 1 else files[0] for path, files in places.items()}
        index = {"metadata": {"total_size": float(total) if weight_map else 0}, "weight_map": weight_map}
        return jsonio.dump(index, at="the index", indent=4).encode()


def _split(model: Model, base: str, max_shard_size: float) -> list[_Shard]:
    """Fill one shard after another; a weight that does not fit starts the next [SH-008]."""
    from dataclasses import replace

    try:
        cap = float(max_shard_size) * GIB
    except (TypeError, ValueError):
        cap = 0.0
    if not cap > 0:
        message = f"a shard size of {max_shard_size!r} GiB; wanted a number over 0"
        raise InvalidError(Problem(code="SH-010", message=message))
    shards = [_Shard(f"{base}_00000.weights.h5")]
    shards[0].tree.group("vars")  # always there, empty or not [WH-002]
    filled = 0.0
    for group in checked_groups(model, "WH-010"):
        shards[-1].begin(group)
        for key, path in zip(group.keys, group.weight_paths):
            weight = model.weights[path]
            size = weight.size * dtype_bits(weight.dtype) / 8
            if size > cap:
                message = f"a weight of {size:,.0f} bytes for shards of {cap:,.0f}; wanted a max_shard_size that holds it"
                raise InvalidError(Problem(code="SH-010", message=message, at=f"/{path}"))
            filled += size
            if filled > cap:
                shards.append(_Shard(f"{base}_{len(shards):05}.weights.h5"))
                filled = size
            shards[-1].begin(replace(group, name=None))  # the name is on the first part [SH-009]
            add_weight(shards[-1].tree, group, key, weight)
            shards[-1].sizes.setdefault(group.path, []).append(size)
    return shards


def _remarks(
    index_path: str, index: Mapping[str, Any], names: Sequence[str], weights: Mapping[str, Weight], *, whole: bool
) -> Iterator[Problem]:
    """What Keras would not notice: shards that the index does not name, and a size that is not theirs [SH-013, SH-014]."""
    at = os.path.basename(index_path)
    for name in _unnamed_shards(index_path, names):
        message = f"the file {name!r}, named as a shard of this index, which does not name it"
        yield Problem(code="SH-013", message=message, at=at, hint="remove it if nothing else needs it")
    about = index.get("metadata", {})
    total = about.get("total_size", _ABSENT) if isinstance(about, dict) else about
    if total is _ABSENT:
        return
    if not isinstance(total, (int, float)) or isinstance(total, bool):
        message = f"metadata.total_size is {shown(total)}; wanted the bytes of all weights"
        yield Problem(code="SH-014", message=message, at=at)
        return
    try:
        size = sum(weight.size * dtype_bits(weight.dtype) / 8 for weight in weights.values())
    except RefserError:
        return  # a dtype that Keras has no size for
    if whole and total != size:
        message = f"a total_size of {total!r}; the weights have {size:,} bytes"
        yield Problem(code="SH-014", message=message, at=at)


def _unnamed_shards(index: str, names: Sequence[str]) -> list[str]:
    if is_url(index):
        return []
    base, found = os.path.basename(index).removesuffix(".json").replace(".weights", ""), []
    try:
        with os.scandir(os.path.dirname(index) or ".") as entries:
            for entry in itertools.islice(entries, _ENTRIES_MOST):
                match = _OWN_SHARD.fullmatch(entry.name)
                if match and match[1] == base and entry.name not in names:
                    found.append(entry.name)
    except OSError:
        return []  # a folder that is not to be listed
    return sorted(found)[:_UNNAMED_MOST]


def _weight_map(index: Mapping[str, Any], at: str, refuse: Refuse | None = None) -> dict[str, list[str]]:
    """Group path -> shard names, strings and lists alike [SH-002]."""
    found: dict[str, list[str]] = {}
    entries = index.get("weight_map")
    if not isinstance(entries, dict):
        message = f"a weight_map that is {type(entries).__name__}; wanted an object of path: file name or list of them"
        raise InvalidError(Problem(code="SH-001", message=message, at=at))
    for key, value in entries.items():
        names = [value] if isinstance(value, str) else value
        path = key.removeprefix("/")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            message = f"weight_map[{_short(key)!r}] is {shown(value)}; wanted a file name or a list of them"
        elif path.rpartition("/")[2] != "vars" or path in found:
            message = f"weight_map has the key {_short(key)!r}; wanted each group's path once, /layers/dense/vars"
        elif len(set(names)) < len(names):
            message = f"weight_map[{_short(key)!r}] names one file twice"
        else:
            found[path] = names
            continue
        error = InvalidError(Problem(code="SH-002", message=message, at=at))
        if refuse is None:
            raise error
        refuse(error)
    return found


def _open_shard(index: str, name: str, limits: Limits) -> Source:
    """The file `name` beside the index, and nothing else [SH-003, SH-004]."""
    at = os.path.basename(index)
    if not name or name in (".", "..") or set(name) & set("/\\\0") or _DRIVE.match(name):
        message = f"a shard named {_short(name)!r}; wanted a plain file name beside the index"
        raise UnsafeError(Problem(code="SH-003", message=message, at=at))
    if is_url(index):
        return open_url(f"{index.rpartition('/')[0]}/{name}")
    path = os.path.join(os.path.dirname(index), name)
    if os.path.islink(path) and not limits.follow_symlinks:
        hint = "pass --follow-symlinks or Limits(follow_symlinks=True) if you trust it"
        raise UnsafeError(Problem(code="LI-011", message=f"the shard {_short(name)!r} is a symbolic link", at=at, hint=hint))
    try:
        return FileSource(path)
    except AccessError as error:
        if error.problem.code != "IO-001":
            raise
        message = f"the index names {_short(name)!r} and there is no such file beside it"
        hint = "fetch all shards into one directory"
        raise InvalidError(Problem(code="SH-004", message=message, at=at, hint=hint)) from error


def _lone_shard(index: str) -> list[str]:
    """The one shard of an index that maps nothing: it still has the groups and their names [SH-011]."""
    name = os.path.basename(index).removesuffix(".json").replace(".weights", "") + "_00000.weights.h5"
    return [name] if os.path.isfile(os.path.join(os.path.dirname(index), name)) else []


_Merged = tuple[tuple[WeightGroup, ...], dict[str, Weight]]


def _merge(places: Mapping[str, Sequence[str]], shards: Mapping[str, Store], at: str, refuse: Refuse | None) -> _Merged:
    """Groups and weights in the order that one file would have [SH-006]."""

    def mismatch(message: str) -> None:
        error = InvalidError(Problem(code="SH-005", message=message, at=at))
        if refuse is None:
            raise error
        refuse(error)

    names: dict[str, str | None] = {}
    keys: dict[str, list[str]] = {path: [] for path in places}
    weights: dict[str, Weight] = {}
    filled: set[tuple[str, str]] = set()
    for file, store in shards.items():
        for group in store.groups:
            names[group.path] = names.get(group.path) or group.name
            keys.setdefault(group.path, [])
            if group.keys and file not in places.get(group.path, ()):
                mismatch(f"{file!r} has weights in /{group.path}, where the index does not send anybody for them")
            if group.keys:
                filled.add((file, group.path))
            for key, path in zip(group.keys, group.weight_paths):
                if path in weights:
                    mismatch(f"/{path} stands in two shards")
                    continue
                weights[path] = store.weights[path]
                keys[group.path].append(key)
    for path, files in places.items():
        for file in files:
            if file in shards and (file, path) not in filled:
                mismatch(f"weight_map sends /{path} to {file!r}, which has no weights there")
    order = sorted(keys, key=lambda path: [part.encode("utf-8") for part in path.split("/")])
    groups = tuple(WeightGroup(path=path, name=names.get(path), keys=tuple(natural(keys[path]))) for path in order)
    return groups, {path: weights[path] for group in groups for path in group.weight_paths}


def _short(name: str) -> str:
    """A name in a message, which in an index can have any length."""
    return name if len(name) <= 300 else f"{name[:300]}..."


def _old_shards(index: str, base: str) -> list[str]:
    """Files that the index now in place names and that a writer made: what the new set leaves behind [IO-008]."""
    try:
        source = FileSource(index)
        text = jsonio.decode_text(source.view(0, source.size), limits=Limits(), at=index)
        places = _weight_map(jsonio.parse_object(text, limits=Limits(), at=index), index)
    except RefserError:
        return []  # whatever lies there is about to be replaced and names nothing of ours
    matches = [(name, _OWN_SHARD.fullmatch(name)) for names in places.values() for name in names if "/" not in name]
    return list(dict.fromkeys(name for name, match in matches if match and match[1] == base))
