"""The HDF5 files of Keras 1 and 2, which Keras 3 still writes to `.h5`: a whole model, or its weights only.

Spec: spec/legacy-h5.md (LH).  Not here: opening the file (hdf5), which array is which (rules).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from refser import jsonio
from refser.errors import InvalidError, Problem, RefserError
from refser.hdf5 import Attribute, Dataset, FixedStrings, Group, NewDataset, NewGroup, is_text, plan_tree
from refser.layouts._reading import Parts, Refuse
from refser.layouts.model_file import ModelFile, checked_groups
from refser.limits import Limits
from refser.values import Model, Weight, WeightGroup

if TYPE_CHECKING:
    from refser.output import Output

ATTRIBUTE_BYTES_MAX = 64_512  # Keras's own bound, below the 64 KiB of an HDF5 object header
_VARIABLE_CELL = 16  # bytes of one variable-length string in an attribute
_BASE, _TOP, _OPTIMIZER = "model_weights", "top_level_model_weights", "optimizer_weights"
_TEXTS = ("keras_version", "backend")


def detect_legacy_h5(root: Group, *, refuse: Refuse | None = None) -> bool:
    """A whole model: its config, or a group `model_weights` with a list of layer names [LH-018]."""
    base = root.children.get(_BASE)  # without the list it may be the attribute of a Keras 3 model
    has_config = "model_config" in _attributes(root, refuse)
    return has_config or (isinstance(base, Group) and detect_legacy_weights_h5(base, refuse=refuse))


def detect_legacy_weights_h5(root: Group, *, refuse: Refuse | None = None) -> bool:
    """The weights alone: a list of layer names on the root [LH-014]."""
    attributes = _attributes(root, refuse)
    return "layer_names" in attributes or "layer_names0" in attributes


def read_legacy_h5(path: str, root: Group, *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    """Raises the first LH requirement that the file breaks; with `refuse`, each part's goes there."""
    parts, layers = Parts(refuse), _Layers(refuse)
    base = root.children.get(_BASE)
    if isinstance(base, Group):
        parts.read("weights", lambda: layers.read(base, f"{_BASE}/"), None)
    else:
        message = f"a model_config and no group {_BASE}; wanted both"
        parts.fail("weights", InvalidError(Problem(code="LH-004", message=message, at=root.at)))
    optimizer = root.children.get(_OPTIMIZER)
    if isinstance(optimizer, Group):
        layers.add(optimizer, _OPTIMIZER)
    about: dict[str, Any] = parts.read("metadata", lambda: _metadata(base), {}) if isinstance(base, Group) else {}
    of_root: dict[str, Any] = parts.read("metadata", lambda: _metadata(root), {})
    training = Parts(refuse).read("config", lambda: _text(root, "training_config"), None)
    return ModelFile(
        path=path,
        layout="legacy-h5",
        generation="legacy",
        config_json=parts.read("config", lambda: _text(root, "model_config"), None),
        training_config=training,
        metadata=about | of_root,
        found_groups=tuple(layers.groups),
        weights=layers.weights,
        problems=tuple(parts.problems),
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=layers.left_out,
        roots=(root,),
    )


def read_legacy_weights_h5(path: str, root: Group, *, limits: Limits, refuse: Refuse | None = None) -> ModelFile:
    """Raises the first LH requirement that the file breaks; with `refuse`, each goes there."""
    parts, layers = Parts(refuse), _Layers(refuse)
    parts.read("weights", lambda: layers.read(root, ""), None)
    return ModelFile(
        path=path,
        layout="legacy-weights-h5",
        generation="legacy",
        metadata=parts.read("metadata", lambda: _metadata(root), {}),
        found_groups=tuple(layers.groups),
        weights=layers.weights,
        problems=tuple(parts.problems),
        limits=limits,
        unread=frozenset(parts.unread),
        left_out=layers.left_out,
        roots=(root,),
    )


def _attributes(group: Group, refuse: Refuse | None) -> Mapping[str, Attribute]:
    try:
        return group.attributes
    except RefserError:
        if refuse is None:
            raise
        return {}  # whoever reads them for what they say hears of it


def write_legacy_h5(model: Model, output: Output) -> None:
    """A whole model.  Raises `InvalidError` for a model that has no config [LH-001]."""
    if model.config_json is None:
        message = "a model without a config; wanted one, or the layout legacy-weights-h5"
        raise InvalidError(Problem(code="LH-001", message=message, at=output.name))
    root = NewGroup()
    for name in _TEXTS:
        if name in model.metadata:
            root.attributes[name] = _version_text(model.metadata, name, output.name)
    root.attributes["model_config"] = _config_bytes(model.config_json, "model_config", output.name)
    if model.training_config is not None:
        root.attributes["training_config"] = _config_bytes(model.training_config, "training_config", output.name)
    _write_layers(root.group(_BASE), model)
    for group in model.groups:
        if group.path == _OPTIMIZER:
            _write_group(root.group(_OPTIMIZER), group, model)
    _write(root, output)


def write_legacy_weights_h5(model: Model, output: Output) -> None:
    """The layers' weights; config and optimizer state have no place in this layout [LH-019]."""
    root = NewGroup()
    _write_layers(root, model)
    _write(root, output)


def _write(root: NewGroup, output: Output) -> None:
    plan = plan_tree(root)
    with output.open() as file:
        plan.write(file)


def read_name_list(group: Group, attribute: str) -> list[str]:
    """Join `attr0`, `attr1`, ... when `attr` itself is absent [LH-007]."""
    keys = [attribute] if attribute in group.attributes else list(_numbered(group.attributes, attribute))
    if not keys:
        message = f"no attribute {attribute!r} and no '{attribute}0'; wanted a list of names"
        raise InvalidError(Problem(code="LH-005", message=message, at=group.at))
    names: list[str] = []
    for key in keys:
        cells = group.attributes[key]
        if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
            message = f"attribute {key!r} is no list of strings"
            raise InvalidError(Problem(code="LH-006", message=message, at=group.at))
        names.extend(cell for cell in cells if isinstance(cell, str))
    return names


def write_name_list(
    group: NewGroup, attribute: str, names: list[str], *, limit: int = ATTRIBUTE_BYTES_MAX, fixed: bool = False
) -> None:
    """Split only a list too big for one attribute, into the fewest even parts that fit [LH-008]."""
    if odd := [name for name in names if not name or not is_text(name)]:
        message = f"the name {odd[0]!r} in {attribute}; wanted UTF-8 without NUL, and not nothing"
        raise InvalidError(Problem(code="LH-009", message=message, at=group.at))
    cells = [name.encode("utf-8") for name in names]
    width = max(map(len, cells), default=1)
    if width > limit:
        message = f"a name of {width:,} bytes in {attribute}; wanted at most {limit:,}"
        raise InvalidError(Problem(code="LH-009", message=message, at=group.at))
    if len(cells) * width <= limit:
        short = len(cells) * _VARIABLE_CELL <= limit  # where Keras itself fails: many names, each under 16 bytes [LH-021]
        group.attributes[attribute] = cells if not cells or (short and not fixed) else FixedStrings(tuple(cells), width)
        return
    for number, part in enumerate(_even_parts(cells, limit)):
        group.attributes[f"{attribute}{number}"] = FixedStrings(tuple(part), width)


def _even_parts(cells: list[bytes], limit: int) -> list[list[bytes]]:
    """As numpy.array_split, which Keras calls with one part more until every part fits."""
    width = max(map(len, cells))
    count = -(-len(cells) * width // limit)
    while -(-len(cells) // count) * width > limit:
        count += 1
    size, longer = divmod(len(cells), count)
    starts = [number * size + min(number, longer) for number in range(count + 1)]
    return [cells[start:end] for start, end in itertools.pairwise(starts)]


def _numbered(attributes: Mapping[str, Attribute], name: str) -> Iterator[str]:
    number = 0
    while f"{name}{number}" in attributes:
        yield f"{name}{number}"
        number += 1


class _Layers:
    """The layers of a file and their weights.  Without `refuse` the first fault is raised."""

    def __init__(self, refuse: Refuse | None) -> None:
        self._refuse = refuse
        self.groups, self.weights, self.left_out = list[WeightGroup](), dict[str, Weight](), set[str]()

    def read(self, base: Group, prefix: str) -> None:
        """In the order of their list, then the model's own weights [LH-010, LH-011, LH-012]."""
        names = read_name_list(base, "layer_names")
        if len(set(names)) < len(names):
            self._fault("LH-016", "layer_names has a name twice", base)
            names = list(dict.fromkeys(names))
        if _TOP in base.children and _TOP not in names:
            names.append(_TOP)
        for name in names:
            group = base.get(name)
            if isinstance(group, Group):
                self.add(group, f"{prefix}{name}")
            else:
                self._fault("LH-013", f"layer_names has {name!r} and there is no such group", base, f"{prefix}{name}")

    def add(self, group: Group, path: str) -> None:
        """What its list names, each name as it stands; nothing else in the group is looked at [LH-017, LH-022]."""
        try:
            keys = read_name_list(group, "weight_names")
        except RefserError as error:
            self._hand_over(error, path)
            return
        read = [key for key in keys if self._add(group, path, key)]
        self.groups.append(WeightGroup(path=path, name=path.removeprefix(f"{_BASE}/"), keys=tuple(read)))

    def _add(self, group: Group, path: str, key: str) -> bool:
        here, dataset = f"{path}/{key}", group.get(key)
        if not isinstance(dataset, Dataset):
            self._fault("LH-013", f"weight_names has {key!r} and there is no such array", group, here)
        elif here in self.weights:
            self._fault("LH-016", f"weight_names has {key!r} twice", group)
        else:
            try:
                self.weights[here] = dataset.weight(here)
                return True
            except RefserError as error:
                self._hand_over(error, here)
        return False

    def _fault(self, code: str, message: str, group: Group, left_out: str | None = None) -> None:
        self._hand_over(InvalidError(Problem(code=code, message=message, at=group.at)), left_out)

    def _hand_over(self, error: RefserError, left_out: str | None) -> None:
        if self._refuse is None:
            raise error
        self._refuse(error)
        if left_out is not None:
            self.left_out.add(left_out)


def _write_layers(base: NewGroup, model: Model) -> None:
    """Names in the model's order [LH-010, LH-012, LH-015]."""
    layers: dict[str, WeightGroup] = {}
    for group in checked_groups(model, "LH-015"):
        name = _layer(group)
        if name in layers:
            message = f"the groups {layers[name].path!r} and {group.path!r}, which are one layer"
            raise InvalidError(Problem(code="LH-015", message=message, at=base.at))
        if group.path != _OPTIMIZER:
            layers[name] = group
    names = [name for name in layers if name != _TOP]  # the model's own weights are no layer [LH-020]
    write_name_list(base, "layer_names", names, fixed=_wants_fixed(model))
    for text in reversed(_TEXTS):
        if text in model.metadata:
            base.attributes[text] = _version_text(model.metadata, text, base.at).encode("utf-8")
    for name, group in layers.items():
        _write_group(base.group(name), group, model)


def _write_group(target: NewGroup, group: WeightGroup, model: Model) -> None:
    write_name_list(target, "weight_names", list(group.keys), fixed=_wants_fixed(model))
    for key, path in zip(group.keys, group.weight_paths):
        target.put(key, NewDataset(model.weights[path]))


def _wants_fixed(model: Model) -> bool:
    """Whether the Keras that the model names writes lists as strings of one length: standalone Keras up to 2.3, on h5py 2
    [LH-023].

    Keras 2.2.4 cannot load a list of strings of variable length.
    """
    release = re.match(r"(\d{1,4})\.(\d{1,4})(?!\d)", str(model.metadata.get("keras_version")))
    return release is not None and (int(release[1]), int(release[2])) < (2, 5)


def _layer(group: WeightGroup) -> str:
    """The layer's name: the group's path in a file of weights only, without `model_weights/` in a whole model."""
    return group.path.removeprefix(f"{_BASE}/")


def _text(group: Group, name: str) -> str | None:
    """A text attribute, stored as bytes or as a string [LH-002, LH-003]."""
    value = group.attributes.get(name)
    if name in group.attributes and not isinstance(value, str):
        message = f"attribute {name!r} is no string"
        raise InvalidError(Problem(code="LH-002", message=message, at=group.at))
    return value if isinstance(value, str) else None


def _metadata(group: Group) -> dict[str, Any]:
    texts = {name: _text(group, name) for name in _TEXTS}
    return {name: text for name, text in texts.items() if text is not None}


def _version_text(metadata: Mapping[str, Any], name: str, at: str) -> str:
    value = metadata[name]
    if not isinstance(value, str) or not is_text(value):
        raise InvalidError(Problem(code="LH-001", message=f"{name} is {value!r}; wanted a UTF-8 string without NUL", at=at))
    return value


def _config_bytes(text: str, name: str, at: str) -> bytes:
    jsonio.check_object(text, at=f"{at}: {name}")  # what no reader takes is not written
    if "\0" in text:
        raise InvalidError(Problem(code="LH-002", message=f"a NUL in {name}, where HDF5 would end it", at=at))
    return jsonio.encode_text(text, at=f"{at}: {name}")
