"""What every layout gives when it is read: an open model file, lazy down to the arrays.

Spec: spec/introduction.md.  Not here: how a layout is read (its module), which layout it is (layouts/identify).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, KeysView, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from refser._record import field, record
from refser.errors import AccessError, InvalidError, Problem, RefserError
from refser.limits import DEFAULT_LIMITS, Limits
from refser.values import ByteRange, Described, Generation, MemoryBytes, Model, Weight, WeightGroup

if TYPE_CHECKING:
    from refser.hdf5 import Group
    from refser.rules.tree import WeightTree
    from refser.zipio import Archive


P = TypeVar("P")


class Assets(Mapping[str, bytes]):
    """Assets by path below `assets/`, each read when it is asked for."""

    def __init__(self, sizes: Mapping[str, int], read: Callable[[str], bytes]) -> None:
        self.sizes, self._read = dict(sizes), read

    def __getitem__(self, name: str) -> bytes:
        if name not in self.sizes:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


def no_assets() -> Assets:
    return Assets({}, lambda name: b"")


class Weights(Mapping[str, Weight]):
    """Weights by inner path, each made when it is asked for: listing thousands of paths makes none.

    `names` are asked what the config calls a weight, and only when somebody wants to know.
    """

    def __init__(self, places: Mapping[str, P], make: Callable[[str, P], Weight], names: Names | None = None) -> None:
        self._places: Mapping[str, Any] = places
        self._make, self._names, self._made = make, names, dict[str, Weight]()

    def named(self, names: Names) -> Weights:
        return Weights(self._places, self._make, names)

    def __getitem__(self, path: str) -> Weight:
        made = self._made.get(path)
        if made is None:
            made = self._make(path, self._places[path])
            if self._names is not None:
                made = made.altered(described=self._names.of)
            self._made[path] = made
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, path: object) -> bool:
        return path in self._places

    def keys(self) -> KeysView[str]:
        return self._places.keys()


class Names:
    """What a file's config says of its weights, worked out once."""

    def __init__(self, file: ModelFile, config: str) -> None:
        self._config, self._version, self._generation, self._limits = config, file.keras_version, file.generation, file.limits
        self._weights, self._groups = file.weights, file.found_groups  # the file may be closed by then
        self._found: Mapping[str, Described] | RefserError | None = None

    def of(self, path: str) -> Described | None:
        """None too where the config is wrong: `ModelFile.variables` says what is wrong with it."""
        try:
            return self.by_path().get(path)
        except RefserError:
            return None

    def by_path(self) -> Mapping[str, Described]:
        """Raises the first requirement that the config breaks."""
        if self._found is None:
            try:
                self._found = self._work_out()
            except RefserError as error:
                self._found = error
        if isinstance(self._found, RefserError):
            raise self._found
        return self._found

    def _work_out(self) -> Mapping[str, Described]:
        from refser import jsonio
        from refser.rules.tree import expected_weights

        config = jsonio.parse_object(self._config, limits=self._limits, at="config")
        tree = expected_weights(config, keras_version=self._version, generation=self._generation)
        return self._legacy(tree) if self._generation == "legacy" else {spec.path: spec for spec in tree}

    def _legacy(self, tree: WeightTree) -> Mapping[str, Described]:
        """The names in the file depend on how its model was made; layer and order tell more."""
        from refser.rules.legacy import names_by_order

        groups = self._groups() if callable(self._groups) else self._groups
        shapes = {path: weight.shape for path, weight in self._weights.items()}
        return names_by_order([(group.path, group.keys) for group in groups], tree, shapes)


@record(slots=True, kw_only=True, eq=False)
class ModelFile:
    """An open model file.  Use it with `with`; arrays that were taken from it stay good after it is closed."""

    path: str
    layout: str  # "keras-zip", "keras-dir", "weights-h5", "weights-sharded", "legacy-h5", "legacy-weights-h5", "config-json"
    generation: Generation = "v3"
    config_json: str | None = field(default=None, repr=False)  # the text as stored [CF-001]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Weight] = field(default_factory=dict, repr=False)  # by inner path, in file order
    found_groups: tuple[WeightGroup, ...] | Callable[[], tuple[WeightGroup, ...]] = field(default=(), repr=False)
    assets: Assets = field(default_factory=no_assets, repr=False)
    training_config: str | None = field(default=None, repr=False)  # legacy files only, as stored
    problems: tuple[Problem, ...] = ()  # what is odd about the file and did not stop the reading
    limits: Limits = field(default=DEFAULT_LIMITS, repr=False)
    # Of "config", "metadata", "weights" and "assets", what the reader was told is missing or cannot be read: nobody else has
    # to say so.  `left_out` are the inner paths of the weights and groups of which that is true, where others are read.
    unread: frozenset[str] = frozenset()
    left_out: Collection[str] = field(default=frozenset(), repr=False)
    roots: tuple[Group, ...] = field(default=(), repr=False)  # of each HDF5 file
    archive: Archive | None = field(default=None, repr=False)
    closed: bool = False
    names: Names | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.config_json is None:
            return
        self.names = Names(self, self.config_json)
        if plain := self.weights:
            lazy = plain if isinstance(plain, Weights) else Weights(plain, lambda _, weight: weight)
            self.weights = lazy.named(self.names)

    @property
    def variables(self) -> Mapping[str, Weight]:
        """The weights by variable path, "dense/kernel", where the config tells it; of two copies of a variable the first.

        Raises what is wrong with the config, or `InvalidError` where the file has none [WT-014].
        """
        if self.names is None:
            message = "a file without a config, which alone tells the names of variables"
            raise InvalidError(Problem(code="WT-014", message=message, at=self.path, hint="open the whole model"))
        self.names.by_path()
        found: dict[str, Weight] = {}
        for weight in self.weights.values():
            if (path := weight.variable_path) is not None:
                found.setdefault(path, weight)
        return MappingProxyType(found)

    @property
    def config(self) -> Any:
        """The config as parsed JSON, or None.  Raises the first JS requirement that the text breaks."""
        if self.config_json is None:
            return None
        from refser import jsonio

        return jsonio.parse_object(self.config_json, limits=self.limits, at=f"{self.path}: config")

    @property
    def groups(self) -> tuple[WeightGroup, ...]:
        """The groups that hold the weights.  Raises what is wrong with a name [WH-005]."""
        return self.found_groups() if callable(self.found_groups) else self.found_groups

    @property
    def keras_version(self) -> str | None:
        """The version the file says it was saved by, "3.15.1"; nothing proves it."""
        version = self.metadata.get("keras_version")
        return version if isinstance(version, str) else None

    def load(self) -> Model:
        """Everything in memory, independent of the file."""
        from dataclasses import replace

        model = self.model()
        return replace(model, weights={path: _in_memory(weight) for path, weight in model.weights.items()})

    def model(self) -> Model:
        """The model without a copy of its arrays: they stay in the file, which has to stay as it is.

        Raises `AccessError` once the file is closed.
        """
        if self.closed:
            message = "the file is closed; wanted one that is open, or its model taken before"
            raise AccessError(Problem(code="IO-014", message=message, at=self.path))
        return Model(
            generation=self.generation,
            config_json=self.config_json,
            metadata=dict(self.metadata),
            weights=dict(self.weights),
            assets=dict(self.assets),
            groups=self.groups,
            training_config=self.training_config,
        )

    def close(self) -> None:
        """Let go of the file, which stays mapped as long as an array of it is in use."""
        self.closed = True
        self.weights, self.found_groups, self.assets = MappingProxyType({}), (), no_assets()
        self.roots, self.archive = (), None

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _in_memory(weight: Weight) -> Weight:
    data = bytes(weight.source.read())
    return weight.altered(source=ByteRange(MemoryBytes(data), 0, len(data)))


def checked_groups(model: Model, code: str) -> Sequence[WeightGroup]:
    """The model's groups, once every weight is in exactly one of them; a writer refuses the rest by `code`."""
    listed: set[str] = set()
    paths: set[str] = set()
    for group in model.groups:
        if group.path in paths:
            raise InvalidError(Problem(code=code, message="two groups have this path", at=f"/{group.path}"))
        paths.add(group.path)
        for path in group.weight_paths:
            if path in listed:
                raise InvalidError(Problem(code=code, message="a weight that two groups list", at=f"/{path}"))
            if path not in model.weights:
                raise InvalidError(Problem(code=code, message="a group lists a weight that is not there", at=f"/{path}"))
            if model.weights[path].path != path:
                message = f"a weight that says its path is {model.weights[path].path!r}"
                raise InvalidError(Problem(code=code, message=message, at=f"/{path}"))
            listed.add(path)
    if missing := [path for path in model.weights if path not in listed]:
        message = "a weight that no group of the model lists"
        raise InvalidError(Problem(code=code, message=message, at=f"/{missing[0]}"))
    return model.groups
