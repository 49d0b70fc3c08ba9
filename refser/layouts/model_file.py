"""What every layout gives when it is read: an open model file, lazy down to the arrays.

Spec: spec/introduction.md.  Not here: how a layout is read (its module), which layout it is (layouts/identify).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any

from refser._record import field, record
from refser.errors import AccessError, InvalidError, Problem
from refser.limits import DEFAULT_LIMITS, Limits
from refser.values import ByteRange, Generation, MemoryBytes, Model, Weight, WeightGroup


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
    closed: bool = False

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

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _in_memory(weight: Weight) -> Weight:
    from dataclasses import replace

    data = bytes(weight.source.read())
    return replace(weight, source=ByteRange(MemoryBytes(data), 0, len(data)))


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
