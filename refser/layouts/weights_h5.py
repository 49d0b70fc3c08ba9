"""The weights file of Keras 3 and tf.keras 2.12 and later: `model.weights.h5`, alone or inside a model.

Spec: spec/weights-h5.md (WH).  Not here: opening HDF5 (hdf5), splitting over several files (weights_sharded).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from refser.errors import InvalidError, Problem, RefserError
from refser.hdf5 import Dataset, Flat, Group, NewDataset, NewGroup, is_text, plan_tree
from refser.layouts._reading import Parts, Refuse
from refser.layouts.model_file import ModelFile, Weights, checked_groups
from refser.limits import Limits
from refser.values import Model, Weight, WeightGroup, natural

if TYPE_CHECKING:
    from refser.output import Output


class Store:
    """The weights of one file and the groups that hold them, both in file order; each is made when it is asked for."""

    def __init__(
        self,
        weights: Weights,
        owners: Callable[[], Iterable[tuple[Group, list[str]]]],
        *,
        refuse: Refuse | None = None,
        left_out: Collection[str] = (),
    ) -> None:
        self.weights, self.left_out = weights, left_out
        self._owners, self._refuse = owners, refuse

    @cached_property
    def groups(self) -> tuple[WeightGroup, ...]:
        """Raises what is wrong with a name [WH-005]."""
        return tuple(
            WeightGroup(path=group.path, name=self._name(group), keys=tuple(path[len(group.path) + 1 :] for path in paths))
            for group, paths in self._owners()
        )

    def _name(self, group: Group) -> str | None:
        try:
            return _name(group)
        except RefserError as error:
            if self._refuse is None:
                raise
            self._refuse(error)
            return None


def detect_weights_h5(root: Group) -> bool:
    """Some group is named `vars` [FT-010]."""
    if root.flat is not None:
        return any(_is_vars(path) for path in root.flat.groups)
    todo: list[Group | Dataset] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, Group):
            if "vars" in node.children and isinstance(node.children["vars"], Group):
                return True
            todo.extend(node.children.values())
    return False


def _is_vars(path: str) -> bool:
    """Below whatever older versions called their containers [WH-007]."""
    return path.endswith("/vars") or path == "vars"


def read_weights_h5(path: str, root: Group, *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    parts = Parts(refuse)
    store = parts.read("weights", lambda: read_store(root, refuse=refuse), no_store())
    return ModelFile(
        path=path,
        layout="weights-h5",
        found_groups=lambda: store.groups,
        weights=store.weights,
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=store.left_out,
        roots=(root,),
    )


def write_weights_h5(model: Model, output: Output) -> None:
    plan = plan_tree(store_tree(model))
    with output.open() as file:
        plan.write(file)


def read_store(root: Group, *, refuse: Refuse | None = None) -> Store:
    """Every weight and every `vars` group, empty ones too [WH-009].  Raises the first WH requirement that the tree breaks;
    with `refuse`, each goes there and the array is left out."""
    if root.flat is not None and (store := _ordinary_store(root.flat, refuse)) is not None:
        return store
    return _any_store(root, refuse)


def no_store() -> Store:
    """That of a file that cannot be read."""
    return Store(Weights({}, lambda path, dataset: dataset), lambda: ())


def _ordinary_store(flat: Flat, refuse: Refuse | None) -> Store | None:
    """Where every array stands in a `vars` group and no group in one, as in the files of Keras.  Raises what is wrong."""
    if flat.mixed or "/vars/" in "\n/".join(flat.groups):
        return None
    places: dict[str, int] = {}
    owners: dict[str, int] = {}  # how many arrays each group has
    for path, links in flat.groups.items():
        if _is_vars(path):
            owners[path] = len(links)
            if links:
                names = natural(list(links)) if len(links) > 1 and max(map(len, links)) > 1 else links  # [WH-004]
                places.update([(f"{path}/{name}", links[name]) for name in names])
        elif links and max(links.values()) >= 0:
            return None
    left_out = set[str]()
    if flat.faults:
        for fault in flat.faults.values():
            if refuse is None:
                raise fault
            refuse(fault)
        bad = {places[path] for path in flat.faults if path in places}  # an array can have two paths
        left_out = {path for path, place in places.items() if place in bad}
        for path in left_out:
            del places[path]
            owners[path.rpartition("/")[0]] -= 1

    def owned() -> Iterator[tuple[Group, list[str]]]:
        paths = iter(places)
        for path, count in owners.items():
            yield flat.group(path), list(islice(paths, count))

    def made(path: str, place: int) -> Weight:
        return flat.dataset(place, path).weight(path)

    return Store(Weights(places, made), owned, refuse=refuse, left_out=left_out)


def _any_store(root: Group, refuse: Refuse | None) -> Store:
    """What is wrong where the arrays are not, and groups inside the groups of weights, whose keys have slashes [WH-011]."""
    owners: list[tuple[Group, list[str]]] = []
    arrays: dict[str, Dataset] = {}
    left_out = set[str]()
    nested = False
    # Groups that are being looked through, each with what is left of it and where its weights are listed.
    frames: list[tuple[Iterator[tuple[str, Group | Dataset]], list[str] | None]] = [(iter(root.children.items()), None)]
    while frames:
        children, paths = frames[-1]
        for name, node in children:
            if isinstance(node, Group):
                if name == "vars":
                    nested |= paths is not None
                    paths = []
                    owners.append((node, paths))
                frames.append((_in_order(node, paths is not None), paths))
                break
            fault = node.fault if paths is not None else _misplaced(node)
            if fault is None and paths is not None:
                paths.append(node.path)
                arrays[node.path] = node
            elif fault is not None:
                if refuse is None:
                    raise fault
                refuse(fault)
                left_out.add(node.path)
        else:
            frames.pop()
    if nested:  # a group inside a group's weights has its own place in the list [WH-004]
        arrays = {path: arrays[path] for _, paths in owners for path in paths}
    return Store(Weights(arrays, lambda path, dataset: dataset.weight(path)), lambda: owners, refuse=refuse, left_out=left_out)


def _misplaced(node: Dataset) -> RefserError:
    message = "an array outside every group named vars; wanted <object path>/vars/<number>"
    return InvalidError(Problem(code="WH-001", message=message, at=node.at))


def _in_order(group: Group, below_vars: bool) -> Iterator[tuple[str, Group | Dataset]]:
    """Links as the file orders them, below a `vars` group by number [WH-004]."""
    children = group.children
    if not below_vars or max(map(len, children), default=1) == 1:  # single digits: both orders are one
        return iter(children.items())
    return iter([(name, children[name]) for name in natural(list(children))])


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


def _name(group: Group) -> str | None:
    """The object's name, which Keras writes since 3.6 [WH-005]."""
    name = group.attributes.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidError(Problem(code="WH-005", message=f"a name that is {name!r}; wanted a string", at=group.at))
    return name
