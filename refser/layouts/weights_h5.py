"""The weights file of Keras 3 and tf.keras 2.12 and later: `model.weights.h5`, alone or inside a model.

Spec: spec/weights-h5.md (WH).  Not here: opening HDF5 (hdf5), splitting over several files (weights_sharded).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refser import atomic
from refser.errors import InvalidError, Problem
from refser.hdf5 import Dataset, Group, NewDataset, NewGroup, is_text, write_tree
from refser.layouts.model_file import ModelFile, checked_groups
from refser.limits import Limits
from refser.values import Model, Weight, WeightGroup, natural


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The weights of one file and the groups that hold them, both in file order."""

    groups: tuple[WeightGroup, ...]
    weights: dict[str, Weight]


def detect_weights_h5(root: Group) -> bool:
    """Some group is named `vars` [FT-010]."""
    return any(path.rpartition("/")[2] == "vars" for path, node in walk(root) if isinstance(node, Group))


def read_weights_h5(path: str, root: Group, *, limits: Limits) -> ModelFile:
    store = read_store(root)
    return ModelFile(path=path, layout="weights-h5", groups=store.groups, weights=store.weights, limits=limits)


def write_weights_h5(model: Model, path: str, *, overwrite: bool = False) -> None:
    tree = store_tree(model)
    with atomic.new_file(path, overwrite=overwrite) as temporary:
        write_tree(temporary, tree)


def read_store(root: Group) -> Store:
    """Every weight and every `vars` group, empty ones too [WH-009].  Raises the first WH requirement that the tree breaks."""
    groups: dict[str, WeightGroup] = {}
    weights: dict[str, Weight] = {}
    keys: dict[str, list[str]] = {}
    for path, node in walk(root):
        owner = _owner(path if isinstance(node, Group) else path.rpartition("/")[0])
        if isinstance(node, Group):
            if owner == path:
                groups[path] = WeightGroup(path=path, name=_name(node))
                keys[path] = []
        elif owner is None:
            message = "an array outside every group named vars; wanted <object path>/vars/<number>"
            raise InvalidError(Problem(code="WH-001", message=message, at=node.at))
        else:
            weights[path] = node.weight(path)
            keys[owner].append(path[len(owner) + 1 :])  # with slashes where groups lie between [WH-011]
    found = tuple(WeightGroup(path=group.path, name=group.name, keys=tuple(keys[group.path])) for group in groups.values())
    return Store(groups=found, weights={path: weights[path] for group in found for path in group.weight_paths})


def store_tree(model: Model) -> NewGroup:
    """The HDF5 tree of the model's weights, as Keras would write it [WH-010]."""
    root = NewGroup()
    root.group("vars")  # always there, empty or not [WH-002]
    for group in checked_groups(model, "WH-010"):
        add_group(root, group)
        for key, path in zip(group.keys, group.weight_paths):
            add_weight(root, group, key, model.weights[path])
    return root


def add_group(root: NewGroup, group: WeightGroup) -> None:
    if group.path.rpartition("/")[2] != "vars":
        message = f"a group {group.path!r}; wanted a path that ends in vars"
        raise InvalidError(Problem(code="WH-010", message=message, at=f"/{group.path}"))
    target = root.group(group.path)
    if group.name is not None:
        if not is_text(group.name):
            message = f"the name {group.name!r}; wanted UTF-8 without NUL"
            raise InvalidError(Problem(code="WH-005", message=message, at=f"/{group.path}"))
        target.attributes["name"] = group.name  # [WH-008]


def add_weight(root: NewGroup, group: WeightGroup, key: str, weight: Weight) -> None:
    attributes = {"dtype": "bfloat16"} if weight.dtype == "bfloat16" else {}  # [WH-006]
    root.group(group.path).put(key, NewDataset(weight, attributes))


def walk(root: Group) -> Iterator[tuple[str, Group | Dataset]]:
    """Every node with its path, parents first: links as the file orders them, below a `vars` group by number [WH-004]."""
    todo: list[tuple[str, Group | Dataset]] = [("", root)]
    while todo:
        path, node = todo.pop()
        if path:
            yield path, node
        if isinstance(node, Group):
            names = list(node.children)
            if _owner(path) is not None:
                names = natural(names)
            todo.extend((f"{path}/{name}" if path else name, node.children[name]) for name in reversed(names))


def _owner(path: str) -> str | None:
    """The innermost `vars` group at or above `path` [WH-001]."""
    parts = path.split("/")
    for at in range(len(parts), 0, -1):
        if parts[at - 1] == "vars":
            return "/".join(parts[:at])
    return None


def _name(group: Group) -> str | None:
    """The object's name, which Keras writes since 3.6 [WH-005]."""
    name = group.attributes.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidError(Problem(code="WH-005", message=f"a name that is {name!r}; wanted a string", at=group.at))
    return name
