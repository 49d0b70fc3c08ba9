"""Random models: hypothesis draws a plain description, `build` makes the Keras model from it.

A description is data, so it shrinks and a failing one prints as what to paste.  Keras is imported by `build` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Shape = tuple[int, ...]  # without the batch
TOKENS: Shape = (3, 0)  # three whole numbers: what an embedding takes
WORDS = 7
DEEP = os.environ.get("REFSER_EXAMPLES", "ci") == "deep"

OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9, "nesterov": True},
    "Adam": {},
    "Adam amsgrad": {"amsgrad": True},
    "Adam average": {"use_ema": True, "ema_overwrite_frequency": 2},
    "AdamW": {"weight_decay": 0.01},
    "RMSprop": {},
    "RMSprop centered": {"momentum": 0.5, "centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "Nadam": {},
    "Ftrl": {},
    "Lion": {},
    "Lamb": {},
    "Muon": {},
    "Adafactor": {},
    "Adam scheduled": {},  # with a learning rate schedule: no variable for the rate
    "Adam scaled": {},  # inside a LossScaleOptimizer
}


@dataclass(frozen=True)
class Node:
    """One use of one layer: what it is, which values it takes (by number; the graph's inputs come first)."""

    op: str
    sources: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str | None = None  # the layer's own policy
    name: str | None = None
    inner: Graph | None = None
    again: int | None = None  # for op "again": the node whose layer this is


@dataclass(frozen=True)
class Graph:
    """A model: "functional", "sequential", or "tower", a subclassed one."""

    kind: str
    inputs: tuple[Shape, ...]
    nodes: tuple[Node, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Description:
    """All that a test needs to make one model."""

    graph: Graph
    policy: str = "float32"
    optimizer: str | None = None
    steps: int = 0  # of the optimizer
    seed: int = 0


@dataclass(frozen=True)
class Op:
    """A kind of layer: for values of which rank, with what options, giving what shape."""

    ranks: tuple[int, ...]
    options: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    shape: Callable[[Shape, Mapping[str, Any]], Shape] = lambda shape, options: shape
    typed: bool = True  # takes a dtype


small, flag = st.integers(1, 3), st.booleans()


def _last(key: str) -> Callable[[Shape, Mapping[str, Any]], Shape]:
    return lambda shape, options: (*shape[:-1], options[key])


def _recurrent(shape: Shape, options: Mapping[str, Any]) -> Shape:
    width = options["units"] * (2 if options.get("merge_mode") == "concat" else 1)
    return (shape[0], width) if options["return_sequences"] else (width,)


def _convolution(**more: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {"filters": small, "kernel_size": st.integers(1, 2), "use_bias": flag, **more}


_CELL = {"units": small, "return_sequences": flag, "use_bias": flag}
_BOTH = {**_CELL, "merge_mode": st.sampled_from(["concat", "sum"])}
OPS: Mapping[str, Op] = {
    "Dense": Op((1, 2, 3), {"units": small, "use_bias": flag, "activation": st.sampled_from([None, "relu"])}, _last("units")),
    "Conv1D": Op((2,), _convolution(), _last("filters")),
    "Conv2D": Op((3,), _convolution(), _last("filters")),
    "Conv3D": Op((4,), _convolution(), _last("filters")),
    "Conv1DTranspose": Op((2,), _convolution(), _last("filters")),
    "Conv2DTranspose": Op((3,), _convolution(), _last("filters")),
    "DepthwiseConv1D": Op((2,), {"kernel_size": st.integers(1, 2), "use_bias": flag}),
    "DepthwiseConv2D": Op((3,), {"kernel_size": st.integers(1, 2), "use_bias": flag}),
    "SeparableConv1D": Op((2,), _convolution(), _last("filters")),
    "SeparableConv2D": Op((3,), _convolution(depth_multiplier=st.integers(1, 2)), _last("filters")),
    "BatchNormalization": Op((1, 2, 3, 4), {"scale": flag, "center": flag}),
    "LayerNormalization": Op((1, 2, 3), {"scale": flag, "center": flag}),
    "GroupNormalization": Op((2, 3), {"groups": st.just(-1)}),
    "UnitNormalization": Op((1, 2)),
    "Embedding": Op((), {"output_dim": small}, lambda shape, options: (shape[0], options["output_dim"])),
    "SimpleRNN": Op((2,), _CELL, _recurrent),
    "LSTM": Op((2,), _CELL, _recurrent),
    "GRU": Op((2,), {**_CELL, "reset_after": flag}, _recurrent),
    "Bidirectional LSTM": Op((2,), _BOTH, _recurrent),
    "Bidirectional GRU": Op((2,), _BOTH, _recurrent),
    "StackedRNN": Op((2,), _CELL, _recurrent),
    "TimeDistributed Dense": Op((2,), {"units": small}, _last("units")),
    "TimeDistributed model": Op((2,), {"units": small}, _last("units")),
    "MultiHeadAttention": Op((2,), {"num_heads": st.integers(1, 2), "key_dim": st.integers(1, 2), "use_bias": flag}),
    "GroupQueryAttention": Op((2,), {"head_dim": st.just(2), "num_query_heads": st.just(2), "num_key_value_heads": st.just(1)}),
    "EinsumDense": Op((1,), {"units": small}, _last("units")),
    "PReLU": Op((1, 2)),
    "Dropout": Op((1, 2, 3, 4), {"rate": st.just(0.5)}),
    "GaussianNoise": Op((1, 2), {"stddev": st.just(0.5)}),
    "Activation": Op((1, 2, 3), {"activation": st.sampled_from(["tanh", "softmax"])}),
    "SpectralNormalization Dense": Op((1,), {"units": small}, _last("units")),
    "Flatten": Op((2, 3, 4), {}, lambda shape, options: (int(np.prod(shape)),)),
    "GlobalAveragePooling1D": Op((2,), {}, lambda shape, options: shape[-1:]),
    "GlobalMaxPooling2D": Op((3,), {}, lambda shape, options: shape[-1:]),
    "RepeatVector": Op((1,), {"n": st.just(3)}, lambda shape, options: (3, *shape)),
    "operator": Op((1, 2, 3), typed=False),  # x * 0.5
    "Odd": Op((1,)),
    "Tower": Op((1,), {"width": small}, _last("width")),
}
NOT_ALONE = ("operator", "MultiHeadAttention", "GroupQueryAttention")  # no parts of a Sequential
MERGES = ("Add", "Concatenate")
POLICIES = ("float32", "float32", "float16", "bfloat16", "mixed_bfloat16", "mixed_float16", "float64")
NAMES = (None, None, None, "größe", "a.b", "with space", "_private", "vars", "layers", "Dense", "dense-1")


def examples(ci: int, deep: int, *, shrink: bool = True) -> Callable[..., Any]:
    """So many examples: in CI the same ones each time; with REFSER_EXAMPLES=deep many more, and others each time."""
    phases = (Phase.explicit, Phase.generate, *((Phase.shrink,) if shrink or DEEP else ()))
    return settings(
        max_examples=deep if DEEP else ci,
        deadline=None,
        derandomize=not DEEP,
        database=None,
        print_blob=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def graphs(draw: st.DrawFn, *, inputs: tuple[Shape, ...] | None = None, depth: int = 2, most: int = 8) -> Graph:
    if inputs is None:
        kind = draw(st.sampled_from(["functional"] * 5 + ["sequential"] * 3 + ["tower"]))
        if kind == "tower":
            return Graph(kind, ((3,),), (Node("Tower", (0,), {"width": draw(small)}),), (1,))
        shapes = st.sampled_from([(3,), (3, 2), (4, 4, 2), (2, 2, 2, 2), TOKENS])
        inputs = tuple(draw(st.lists(shapes, min_size=1, max_size=1 if kind == "sequential" else 3)))
    else:
        kind = draw(st.sampled_from(["functional", "sequential"]))
    values, nodes = list(inputs), list[Node]()
    for number in range(draw(st.integers(len(inputs), len(inputs) + most))):
        if kind == "sequential":
            source = len(values) - 1
        else:  # every input is used; then the newest values most often
            source = number if number < len(inputs) else len(values) - 1 - draw(st.integers(0, len(values) - 1))
        if values[source] == TOKENS and len(values) > len(inputs) and number >= len(inputs):
            source = len(values) - 1
        node, shape = draw(_nodes(tuple(values), tuple(nodes), len(inputs), source, kind == "sequential", depth))
        if any(node.name == other.name for other in nodes):
            node = Node(**{**node.__dict__, "name": node.name and f"{node.name}_{number}x"})
        nodes.append(node)
        values.append(shape)
    used = {source for node in nodes for source in node.sources}
    ends = [number for number in range(len(inputs), len(values)) if number not in used]
    if depth < 2:
        ends = ends[-1:]
    return Graph(kind, inputs, tuple(nodes), tuple(ends))


@st.composite
def _nodes(
    draw: st.DrawFn, values: tuple[Shape, ...], nodes: tuple[Node, ...], inputs: int, source: int, alone: bool, depth: int
) -> tuple[Node, Shape]:
    """One more use of a layer, on value `source`, and the shape of what comes out."""
    shape = values[source]
    if shape == TOKENS:
        choices = ["Embedding"]
    else:
        choices = [name for name, op in OPS.items() if len(shape) in op.ranks and not (alone and name in NOT_ALONE)]
        if depth and len(shape) < 4:
            choices += ["model", "model"]
    fellows = [n for n in range(len(values)) if n != source and values[n] == shape != TOKENS]
    shared = [
        n
        for n, node in enumerate(nodes)
        if node.op not in (*MERGES, "again", "operator") and values[node.sources[0]] == shape and len(node.sources) == 1
    ]
    if not alone:
        choices += list(MERGES) * 2 if fellows else []
        choices += ["again"] * 4 if shared else []
    op = draw(st.sampled_from(choices))
    if op == "again":
        first = draw(st.sampled_from(shared))
        return Node(op, (source,), again=first), values[inputs + first]
    name = draw(st.sampled_from(NAMES))
    if op in MERGES:
        pair = (source, draw(st.sampled_from(fellows)))
        return Node(op, pair, name=name), shape if op == "Add" else (*shape[:-1], 2 * shape[-1])
    dtype = draw(st.sampled_from([None, None, None, None, *POLICIES[2:]]))
    if op == "model":
        inner = draw(graphs(inputs=(shape,), depth=depth - 1, most=2))
        return Node(op, (source,), name=name, inner=inner), _shapes(inner)[inner.outputs[0]]
    options = {key: draw(strategy) for key, strategy in OPS[op].options.items()}
    return Node(op, (source,), options, dtype if OPS[op].typed else None, name), OPS[op].shape(shape, options)


def _shapes(graph: Graph) -> list[Shape]:
    values = list(graph.inputs)
    for node in graph.nodes:
        shape = values[node.sources[0]]
        if node.op == "again":
            assert node.again is not None
            shape = values[len(graph.inputs) + node.again]
        elif node.op == "Concatenate":
            shape = (*shape[:-1], 2 * shape[-1])
        elif node.inner is not None:
            shape = _shapes(node.inner)[node.inner.outputs[0]]
        elif node.op in OPS:
            shape = OPS[node.op].shape(shape, node.options)
        values.append(shape)
    return values


def descriptions(*, optimizers: st.SearchStrategy[str | None] | None = None) -> st.SearchStrategy[Description]:
    return st.builds(
        Description,
        graph=graphs(),
        policy=st.sampled_from(POLICIES),
        optimizer=st.sampled_from([None, *OPTIMIZERS]) if optimizers is None else optimizers,
        steps=st.sampled_from([1, 0, 2]),
        seed=st.integers(0, 99),
    )


@dataclass(frozen=True)
class Facts:
    """What the built model says about itself."""

    dtypes: frozenset[str]  # of all that is saved
    has_operator: bool  # an operation that is no layer, in some Functional model
    layer_paths_repeat: bool  # two weights of one layer (or nested model) have one path
    optimizer_paths_repeat: bool


@dataclass(frozen=True)
class CannotLoad:
    """What Keras 3.15.1 cannot save, or cannot load from its own file: no file of refser's can be asked to load there."""

    name: str
    layouts: tuple[str, ...]
    applies: Callable[[Description, Facts], bool]
    error: tuple[str, ...]  # what Keras says, by backend
    reason: str
    example: Description
    saves: bool = True  # or Keras refuses already to save it

    def is_met(self, message: str) -> bool:
        return any(text in message for text in self.error)


def _chain(*nodes: Node, kind: str = "functional") -> Description:
    return Description(Graph(kind, ((3,),), nodes, (len(nodes),)), seed=1)


_NAMED = Node("Dense", (0,), {"units": 3}, name="twin")
_INNER = Graph("functional", ((3,),), (_NAMED,), (1,))
CANNOT_LOAD = (
    CannotLoad(
        "bfloat16-legacy",
        ("legacy-h5", "legacy-weights-h5"),
        lambda description, facts: "bfloat16" in facts.dtypes,
        ("No cast function available", "Error interpreting argument to stage as a JAX value"),
        "legacy files do not say that two opaque bytes are a bfloat16",
        _chain(Node("Dense", (0,), {"units": 2}, dtype="bfloat16")),
    ),
    CannotLoad(
        "operator-legacy",
        ("legacy-h5",),
        lambda description, facts: facts.has_operator,
        ("Only input tensors may be passed as positional arguments",),
        "the legacy config of a Functional model has no place for the operand of `x * 0.5`",
        _chain(Node("Dense", (0,), {"units": 2}), Node("operator", (1,))),
    ),
    CannotLoad(
        "subclassed-legacy",
        ("legacy-h5",),
        lambda description, facts: description.graph.kind == "tower",
        ("Unknown layer: 'Tower'",),
        "at the top of the legacy config the class of a subclassed model stands without its package",
        _chain(Node("Tower", (0,), {"width": 2}), kind="tower"),
    ),
    CannotLoad(
        "lamb-legacy",
        ("legacy-h5",),
        lambda description, facts: description.optimizer == "Lamb",
        ("Could not interpret optimizer identifier: lamb",),
        "Keras looks an optimizer of a legacy file up by a list in which Lamb is missing",
        replace(_chain(Node("Dense", (0,), {"units": 2})), optimizer="Lamb", steps=1),
    ),
    CannotLoad(
        "adafactor-legacy",
        ("legacy-h5",),
        lambda description, facts: facts.optimizer_paths_repeat,
        ("name already exists",),
        "Adafactor has several variables of one path, and a legacy file names arrays by path",
        replace(_chain(Node("Dense", (0,), {"units": 2})), optimizer="Adafactor", steps=1),
        saves=False,
    ),
    CannotLoad(
        "same-path-legacy",
        ("legacy-h5", "legacy-weights-h5"),
        lambda description, facts: facts.layer_paths_repeat,
        ("name already exists",),
        "two layers of one name at two depths of a nested model: a legacy file names arrays by path",
        _chain(Node("model", (0,), inner=Graph("functional", ((3,),), (_NAMED, Node("model", (1,), inner=_INNER)), (2,)))),
        saves=False,
    ),
)
