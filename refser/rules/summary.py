"""The table of `model.summary()`, from the config alone: layers, output shapes, parameters, connections.

Keras: keras.src.utils.summary_utils.  Spec: spec/weight-trees.md (WT).  Not here: how it is printed (summary_text), what a
class owns (the tables), the shapes (infer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from refser.config import KerasObject
from refser.rules.infer import Trace, trace, tracing
from refser.rules.layer import MODELS, Layer, Shape
from refser.rules.models import layers_of
from refser.rules.rule import Var
from refser.rules.table import rule_for
from refser.rules.tree import dtype_of, tree_of
from refser.rules.walk import Opaque, Owner, Walk, python_name
from refser.values import DTYPES

# Built from the start: Keras shows their 0 without a remark even where the model was never built.
_ALWAYS_BUILT = frozenset(
    (
        *("Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise"),
        *("Identity", "InputLayer", "LeakyReLU", "Masking", "ReLU", "Reshape", "Softmax", "UnitNormalization"),
        *(f"{name}{rank}D" for rank in (1, 2, 3) for name in ("AveragePooling", "MaxPooling", "SpatialDropout")),
        *(f"Global{name}Pooling{rank}D" for rank in (1, 2, 3) for name in ("Average", "Max")),
    )
)
_BACKEND_INTEGER = "int32"  # of the counters; TensorFlow alone has int64


class Row(NamedTuple):
    """A layer, or an operation, as the table shows it."""

    name: str | None
    class_name: str  # as Python has it
    outputs: tuple[Shape | None, ...]  # of the last call; () where nothing is known, None for one of several that is not
    parameters: int | None  # None where the config cannot tell
    built: bool
    connected_to: tuple[str, ...]  # "dense[0][0]": a layer, which of its calls, which output of that
    depth: int  # of a layer of a model in the model
    operation: bool
    at: str  # its JSON path


class Count(NamedTuple):
    """Numbers, and the bytes that they take in memory."""

    parameters: int = 0
    bytes: int = 0


class Summary(NamedTuple):
    """What Keras says of a model.  Where `complete` is false the numbers are the least, since the config cannot tell all."""

    name: str | None
    class_name: str
    rows: tuple[Row, ...]
    chain: bool  # each layer takes what the one before gives, and the table needs no connections
    trainable: Count
    non_trainable: Count
    optimizer: Count | None  # of a compiled model
    complete: bool
    opaque: tuple[Opaque, ...]

    def __str__(self) -> str:
        from refser.rules.summary_text import text

        return text(self)

    @property
    def total(self) -> Count:
        parts = (self.trainable, self.non_trainable, self.optimizer or Count())
        return Count(sum(part.parameters for part in parts), sum(part.bytes for part in parts))


def summarize(
    config: str | Mapping[str, Any],
    *,
    keras_version: str | None = None,
    optimizer: bool = True,
    expand_nested: bool = False,
) -> Summary:
    """The summary of the model that `config` describes.  Raises `InvalidError` as the weight tree does.

    Integers of the backend's default type count 4 bytes.  With `optimizer` a compiled model has the numbers of its optimizer,
    as it has once it was loaded or trained.
    """
    tree, root = tree_of(config, keras_version=keras_version, optimizer=optimizer)
    frozen = root.layer.trainable is False
    counts = {True: Count(), False: Count()}
    sized = True
    for weight in _weights(root):
        counts[weight.trainable and not frozen], known = _added(counts[weight.trainable and not frozen], weight)
        sized &= known
    states = [spec for spec in tree if spec.path.startswith("optimizer/vars/")]
    of_optimizer = Count() if states else None
    for spec in states:
        weight = _Weight(spec.shape, spec.dtype or _BACKEND_INTEGER, False)
        of_optimizer, known = _added(of_optimizer or Count(), weight)
        sized &= known
    with tracing():
        rows, chain = _rows(root, expand_nested)
    return Summary(
        name=root.layer.name,
        class_name=python_name(root.layer),
        rows=tuple(rows),
        chain=chain,
        trainable=counts[True],
        non_trainable=counts[False],
        optimizer=of_optimizer,
        complete=sized and not tree.opaque,
        opaque=tree.opaque,
    )


# Parameters


class _Weight(NamedTuple):
    shape: Shape
    dtype: str
    trainable: bool


def _added(count: Count, weight: _Weight) -> tuple[Count, bool]:
    """With the weight, and whether its size is known."""
    sizes = [size for size in weight.shape if size is not None]
    if len(sizes) < len(weight.shape):
        return count, False
    size = prod(sizes)
    return Count(count.parameters + size, count.bytes + size * DTYPES[weight.dtype][1] // 8), True


def _weights(top: Owner) -> Iterator[_Weight]:
    """`layer.weights`: each once, though the file may have one twice, and those that Keras keeps and does not save."""
    for owner in top:
        layer = owner.layer
        for var, shape in owner.variables:
            if not var.of:
                # Whether `trainable=False` reaches it may depend on when it was set: in a model that was loaded it does not.
                yield _Weight(shape, _memory_dtype(layer, var), var.trainable and layer.trainable is not False)
        yield from _unsaved(owner)


def _memory_dtype(layer: Layer, var: Var) -> str:
    if var.dtype == "compute":  # of the sum that LoRA's kernel is saved as
        return layer.policy.variable_dtype
    return dtype_of(layer, var) or (_BACKEND_INTEGER if var.dtype == "int" else layer.policy.variable_dtype)


def _unsaved(owner: Owner) -> Iterator[_Weight]:
    """The matrices of LoRA, which is saved with its kernel as one, and the zeros of gptq and awq."""
    layer = owner.layer
    shapes = {var.name: shape for var, shape in owner.variables}
    if layer.config.get("lora_rank") and (kernel := _adapted(layer, shapes)) and len(kernel) > 1:
        rank = layer.integer("lora_rank")
        for shape in ((*kernel[:-1], rank), (rank, kernel[-1])):
            yield _Weight(shape, "float32", layer.trainable is not False)
    if layer.policy.mode in ("gptq", "awq") and "kernel_scale" in shapes and "kernel_zero" not in shapes:
        yield _Weight(shapes["kernel_scale"], "uint8", False)


def _adapted(layer: Layer, shapes: Mapping[str | None, Shape]) -> Shape | None:
    """The shape of the kernel that LoRA changes, before it was quantized."""
    if layer.key in ("Embedding", "ReversibleEmbedding"):
        return layer.integer("input_dim"), layer.integer("output_dim")
    rule = rule_for(layer.key)
    if layer.key in ("Dense", "EinsumDense") and rule and rule.dims and "kernel" in shapes:
        found = rule.dims(layer)["kernel"]
        return found if isinstance(found, tuple) else None
    return shapes.get("kernel")


# Rows


class _Counted(NamedTuple):
    """A layer with all inside it, walked as if it stood alone: what it shares with another counts in both."""

    parameters: int | None
    built: bool


def _rows(root: Owner, expand: bool) -> tuple[list[Row], bool]:
    layer = root.layer
    found = _trace(layer)
    if found is None:  # its layers are those of a class that refser does not know
        return [], True
    chain = _is_chain(found)
    return list(_of_trace(layer, found, expand=expand, depth=0)), chain


def _trace(layer: Layer) -> Trace | None:
    if layer.key not in MODELS:
        return None
    return trace(layer, layers_of(layer))


def _of_trace(model: Layer, found: Trace, *, expand: bool, depth: int) -> Iterator[Row]:
    """The rows of a model; of one in another without its operations and connections, as Keras shows them."""
    fed = bool(found.graph.inputs) or model.build is not None or any(map(any, found.outputs))
    for number, entry in enumerate(found.graph.layers):
        layer = found.layers[number]
        if layer is None and depth:
            continue
        if number == 0 and layer is not None and layer.class_name == "InputLayer" and model.key == "Sequential":
            continue
        outputs = tuple(found.outputs[entry.calls[-1]]) if len(entry.calls) else ()
        if layer is None:
            yield _of_operation(entry.object, outputs, _connections(found, number))
            continue
        counted = _counted(layer, fed and len(entry.calls) > 0)
        yield Row(
            name=layer.name,
            class_name=python_name(layer),
            outputs=outputs,
            parameters=counted.parameters,
            built=counted.built,
            connected_to=() if depth else _connections(found, number),
            depth=depth,
            operation=False,
            at=layer.at,
        )
        if expand and (inner := _trace(layer)) is not None:
            yield from _of_trace(layer, inner, expand=True, depth=depth + 1)


def _of_operation(found: KerasObject, outputs: tuple[Shape | None, ...], connected_to: tuple[str, ...]) -> Row:
    return Row(
        name=found.name,
        class_name=found.class_name,
        outputs=outputs,
        parameters=0,
        built=True,
        connected_to=connected_to,
        depth=0,
        operation=True,
        at=found.at,
    )


def _counted(layer: Layer, called: bool) -> _Counted:
    walk = Walk()
    owner = walk.visit(layer, "")
    built = called or layer.build is not None or layer.key in _ALWAYS_BUILT or bool(owner and owner.variables)
    if walk.opaque or owner is None:
        return _Counted(None, True)
    if not built:
        return _Counted(0, False)
    count, known = Count(), True
    for weight in _weights(owner):
        count, sized = _added(count, weight)
        known &= sized
    return _Counted(count.parameters if known else None, True)


def _connections(found: Trace, number: int) -> tuple[str, ...]:
    graph = found.graph
    inputs = [port.tensor for position in graph.layers[number].calls for port in graph.nodes[position].inputs]
    return tuple(f"{graph.layers[it.layer].name or '?'}[{it.call}][{it.output}]" for it in inputs)


def _is_chain(found: Trace) -> bool:
    """No branch, no layer called twice, one tensor into each call."""
    graph = found.graph
    sources = [[port.tensor for port in node.inputs] for node in graph.nodes]
    taken = [graph.layers[tensor.layer].calls[tensor.call] for tensors in sources for tensor in tensors]
    return (
        all(len(tensors) <= 1 for tensors in sources)
        and len(set(taken)) == len(taken)
        and len(graph.nodes) - len(taken) <= 1
        and all(len(layer.calls) <= 1 for layer in graph.layers)
    )


__all__ = ["Count", "Row", "Summary", "summarize"]
