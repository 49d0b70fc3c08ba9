"""What each generation of Keras calls a variable in the HDF5 files of Keras 1 and 2.

Spec: spec/legacy-h5.md (LH).  Keras 1 to 2.3: `Layer.add_weight`, `K.name_scope`; tf.keras: `tf.name_scope`; Keras 3:
`Variable.path`.  Not here: in which order they stand (legacy).

A name tells how the live model was built, which no config does.  These are the names that a model has which is made from its
config anew: a model that was loaded from a file, or built by a call, may have others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from refser.rules.layer import MODELS, Layer, Version
from refser.rules.rule import Var
from refser.rules.walk import Owner, group_name

KERAS_1, KERAS_2, TF_KERAS, KERAS_3 = "Keras 1", "Keras 2", "tf.keras", "Keras 3"
TF_KERAS_ALONE_SINCE = (2, 4)  # standalone Keras ended with 2.3
CELLS_NAMED_SINCE, CELLS_NOT_COUNTED_SINCE = (2, 3), (2, 13)  # of tf.keras
DEFERRED_WITHOUT_SCOPE_SINCE = (2, 4)
PATHS_SINCE = (3, 3)  # before, Keras 3 wrote the variable's own name alone
RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN")
CONV_RECURRENT = ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
TRANSPARENT = ("TimeDistributed", "SpectralNormalization", "Wrapper")  # tf.keras: they build a layer without calling it
_NUMBERED = re.compile(r"(.*?)(?:_([0-9]{1,9}))?")


class Release(NamedTuple):
    """The Keras that saved a file: its numbers, and which of its four kinds it is."""

    version: Version
    kind: str

    @classmethod
    def of(cls, version: Version, text: str | None) -> Release:
        """`2.2.4-tf` is a version of tf.keras, `2.2.4` one of Keras."""
        if version >= (3,):
            return cls(version, KERAS_3)
        if version < (2,):
            return cls(version, KERAS_1)
        return cls(version, TF_KERAS if "tf" in (text or "") or version >= TF_KERAS_ALONE_SINCE else KERAS_2)

    @property
    def names_cells(self) -> bool:
        return self.kind == TF_KERAS and self.version >= CELLS_NAMED_SINCE

    @property
    def counts_names(self) -> bool:
        """Whether TensorFlow's graph makes names differ that are the same, by a number behind the second."""
        return self.kind == KERAS_2 or (self.kind == TF_KERAS and not self.names_cells)


class Names:
    """The names below each layer of a model, in the order of their making: Keras numbers what has no name of its own."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._scopes: dict[int, str] = {}  # by owner
        self._next: dict[str, int] = {}  # number by name without number
        self._numbers: dict[tuple[int, str | None], int] = {}  # by owner and variable, where it is not 0
        self._taken: dict[str, int] = {}  # in the layer of the model that is being entered

    def enter(self, owner: Owner, outer: str = "", parent: Owner | None = None) -> None:
        """Take in a layer and what is in it.  `outer`: the scope that it is built in."""
        if parent is None:  # what is known of the last layer's owners goes with them
            self._scopes, self._numbers, self._taken = {}, {}, {}
        scope = self._scopes[id(owner)] = self._scope(owner, outer, parent)
        if self._release.counts_names:
            self._count(owner, scope)
        below = self._below(owner.layer, scope)
        children = list(owner.children)
        if owner.layer.key == "Bidirectional" and owner.layer.has("backward_layer"):  # which is there before the forward layer
            children[-2:] = children[:-3:-1]
        for child in children:
            self.enter(child, below, owner)

    def of(self, owner: Owner, var: Var) -> str:
        """What the file calls the variable."""
        release, scope = self._release, self._scopes[id(owner)]
        if release.kind == KERAS_3:
            name = var.name or self._automatic("variable")
            return f"{scope}{name}" if release.version >= PATHS_SINCE else name
        if var.key:  # made without a name
            return "Variable:0"
        number = self._numbers.get((id(owner), var.name))
        return f"{scope}{var.name}_{number}:0" if number else f"{scope}{var.name}:0"

    def _count(self, owner: Owner, scope: str) -> None:
        for var, _ in owner.variables:
            name = f"{scope}{var.name}"
            if number := self._taken.get(name, 0):
                self._numbers[id(owner), var.name] = number
            self._taken[name] = number + 1

    def _scope(self, owner: Owner, outer: str, parent: Owner | None) -> str:
        layer, kind = owner.layer, self._release.kind
        name = self._name(layer, parent)
        if kind == KERAS_3 or parent is None:
            return f"{outer}{name}_" if kind == KERAS_1 else f"{outer}{name}/"
        if kind == KERAS_1:
            is_cell = parent.layer.key in (*RECURRENT, *CONV_RECURRENT)
            return self._scopes[id(parent)] if is_cell else f"{name}_"
        if parent.layer.key in (*TRANSPARENT, *CONV_RECURRENT):
            return outer
        if parent.layer.key in (*RECURRENT, "StackedRNNCells") and not self._release.names_cells:
            return outer
        return f"{outer}{name}/"

    def _below(self, layer: Layer, scope: str) -> str:
        """The scope that the layers in a layer are built in: those of a model were, for the most part, before it."""
        if layer.key not in MODELS:
            return scope
        if layer.key != "Sequential":
            return ""
        if self._release.kind == KERAS_3:
            return f"{layer.name}/" if has_input(layer) else scope
        if self._release.version >= DEFERRED_WITHOUT_SCOPE_SINCE or has_input(layer):
            return ""
        return scope

    def _name(self, layer: Layer, parent: Owner | None) -> str:
        name, release = layer.name, self._release
        made = parent is not None and parent.layer.key in RECURRENT and not layer.json
        if name is None or (made and release.names_cells and release.version < CELLS_NOT_COUNTED_SINCE):
            return self._automatic(group_name(layer))
        if (found := _NUMBERED.fullmatch(name)) is not None:  # a number that was taken
            self._next[found[1]] = max(self._next.get(found[1], 0), int(found[2] or 0) + 1)
        return name

    def _automatic(self, base: str) -> str:
        number = self._next.get(base, 0)
        self._next[base] = number + 1
        return f"{base}_{number}" if number else base


def has_input(model: Layer) -> bool:
    """Whether the first layer of a Sequential, or the first of a model there, says what goes into it."""
    config: Mapping[str, Any] = model.config
    while isinstance(values := config.get("layers"), list) and values and isinstance(first := values[0], Mapping):
        within = first.get("config")
        config = {"layers": within} if isinstance(within, list) else within if isinstance(within, Mapping) else {}
        if first.get("class_name") == "InputLayer" or config.get("batch_input_shape") is not None or "input_layers" in config:
            return True
    return False
