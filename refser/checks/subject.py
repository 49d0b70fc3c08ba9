"""The file that is looked at, with everything that several checks ask for worked out once.

Not here: opening it (layouts), judging it (the other modules of the package).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from refser import jsonio
from refser._record import record
from refser.checks.report import Finding, of_error
from refser.config.nodes import walk
from refser.config.objects import KerasObject, Node
from refser.errors import RefserError
from refser.layouts import ModelFile
from refser.rules.tree import WeightTree, expected_weights, followed, read_version, tree_of
from refser.rules.walk import Owner


@record(frozen=True, slots=True, kw_only=True)
class Options:
    """What to look at beyond the ordinary, and what to take as known."""

    target: str | None = None  # "keras==3.12": would this version load it?
    values: bool = False  # look for NaN and infinity
    deep: bool = False  # compare checksums and look at values: reads every byte once
    also_allow: frozenset[str] = frozenset()  # custom objects that the loader has, "package>Class" or "module.Class"


class Subject:
    """One open file.  Parts that cannot be read have a finding in `found`, and are None or empty here."""

    def __init__(self, file: ModelFile, options: Options) -> None:
        self.file, self.options = file, options
        self.found: list[Finding] = []

    def refuse(self, error: RefserError) -> None:
        """Note what is wrong with a part, and go on with the others."""
        self.found.append(of_error(error))

    @cached_property
    def config(self) -> Mapping[str, Any] | None:
        """The config as parsed JSON."""
        return self._parsed(self.file.config_json, "config")

    @cached_property
    def training(self) -> Mapping[str, Any] | None:
        """The `training_config` of a legacy file; that of Keras 3 is the model's `compile_config`."""
        return self._parsed(self.file.training_config, "training_config")

    def _parsed(self, text: str | None, at: str) -> Mapping[str, Any] | None:
        if text is None:
            return None
        try:
            return jsonio.parse_object(text, limits=self.file.limits, at=at)
        except RefserError as error:
            self.refuse(error)
            return None

    @cached_property
    def nodes(self) -> list[Node]:
        """Everything in config and training config that stands for something: objects, functions, arrays, lambdas."""
        found = [] if self.config is None else list(walk(self.config, refuse=self.refuse))
        if self.training is not None:
            found.extend(walk(self.training, "training_config", refuse=self.refuse))
        return found

    @cached_property
    def model(self) -> KerasObject | None:
        """The model itself."""
        return self.nodes[0] if self.config is not None and self.nodes and isinstance(self.nodes[0], KerasObject) else None

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The version the file says it was saved by, which proves nothing; the newest where it says none."""
        return read_version(self.file.keras_version)

    @property
    def tree(self) -> WeightTree | None:
        """The weights that the config calls for."""
        return self._derived[0]

    @property
    def owner(self) -> Owner | None:
        """The model, as the tree was derived from it; None for files of Keras 1 and 2."""
        return self._derived[1]

    @cached_property
    def _derived(self) -> tuple[WeightTree | None, Owner | None]:
        if self.config is None:
            return None, None
        try:
            if self.file.generation == "legacy":
                return expected_weights(self.config, keras_version=self.file.keras_version, generation="legacy"), None
            with followed():
                return tree_of(self.config, keras_version=self.file.keras_version)
        except RefserError as error:
            self.refuse(error)
            return None, None
