"""Dense, EinsumDense and the embeddings.

Keras: keras.layers.core.  Spec: spec/layers.md.  Not here: how they are quantized (quantization), equations (einsum).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from refser.rules.arguments import ACTIVATION
from refser.rules.einsum import Einsum, analyze, reduced, scale, without_ellipsis
from refser.rules.layer import Layer, Shape, Unknown
from refser.rules.quantization import EMBEDDINGS, KERNELS, REVERSE, groups, mode_of, variables
from refser.rules.rule import Dims, Rule, Size, Var

# Dense


def _dense(layer: Layer) -> Iterable[Var]:
    has_bias = layer.flag("use_bias", True)
    return [var for var in variables(layer, KERNELS) if has_bias or var.name != "bias"]


def _dense_dims(layer: Layer) -> Dims:
    rows, columns = layer.given([layer.shape], 1)[-1], layer.integer("units")
    return {
        "kernel": (rows, columns),
        "bias": (columns,),
        "rows": rows,
        "columns": columns,
        "groups": groups(layer, rows),
        "scale": (columns,),
        "packed": (_half(rows), columns),
        "history": layer.policy.amax_history_length,
    }


def _half(size: Size) -> Size:
    return None if size is None else (size + 1) // 2


# EinsumDense


def _einsum(layer: Layer) -> Iterable[Var]:
    has_bias = layer.config.get("bias_axes") is not None
    return [var for var in variables(layer, KERNELS) if has_bias or var.name != "bias"]


def _einsum_dims(layer: Layer) -> Dims:
    einsum = analyze(layer, layer.shape)
    dims: dict[str, Size | Shape] = {
        "kernel": einsum.kernel,
        "bias": einsum.bias or (),
        "history": layer.policy.amax_history_length,
    }
    mode = layer.policy.mode
    if mode not in ("", "float8"):
        without_ellipsis(layer, einsum)
    if mode in ("int4", "gptq", "awq"):
        rows, columns = _by_sums(einsum) if mode == "int4" else _by_size(layer, einsum.kernel)
        dims |= {"rows": rows, "columns": columns, "groups": groups(layer, rows)}
    if mode in ("int4", "int8"):
        dims |= {"scale": scale(layer, einsum), "packed": _packed(einsum)}
    return dims


def _by_sums(einsum: Einsum) -> tuple[Size, Size]:
    """int4 makes a matrix of a kernel by the axes that are summed over."""
    sums = reduced(einsum)
    rows = _product(size for axis, size in enumerate(einsum.kernel) if axis in sums)
    return rows, _product(size for axis, size in enumerate(einsum.kernel) if axis not in sums)


def _product(sizes: Iterable[Size]) -> Size:
    found = list(sizes)
    return None if None in found else prod(size for size in found if size is not None)


def _by_size(layer: Layer, kernel: Shape) -> tuple[Size, Size]:
    """How gptq and awq make a matrix of a kernel: the largest of three axes tells the input of attention from its output."""
    if len(kernel) == 2:
        return kernel
    if len(kernel) != 3:
        raise layer.refuse("equation", f"a kernel of 2 or 3 axes, for {layer.policy.mode}")
    a, b, c = kernel
    if a is None or b is None or c is None:
        raise Unknown("which axis of the kernel is the largest, by which Keras makes a matrix of it")
    return (a, b * c) if a >= max(b, c) else (a * b, c)


def _packed(einsum: Einsum) -> Shape:
    """With the first of the axes that are summed over halved."""
    axis = (reduced(einsum) or [0])[0]
    return (*einsum.kernel[:axis], _half(einsum.kernel[axis]), *einsum.kernel[axis + 1 :])


# Embeddings


def _embeddings(layer: Layer) -> Iterable[Var]:
    return variables(layer, EMBEDDINGS)


def _both_embeddings(layer: Layer) -> Iterable[Var]:
    found = variables(layer, EMBEDDINGS)
    return found if layer.flag("tie_weights", True) else (*found, *REVERSE[mode_of(layer, REVERSE)])


def _embedding_dims(layer: Layer) -> Dims:
    return {"groups": groups(layer, layer.integer("output_dim"))}


def _embedded(layer: Layer, shapes: list[Shape]) -> Shape:
    return (*layer.given(shapes), layer.integer("output_dim"))


def _embedded_or_back(layer: Layer, shapes: list[Shape]) -> Shape:
    """With `reverse=True`, an argument of the call, it goes from embeddings to numbers."""
    shape, size = layer.given(shapes, 1), layer.integer("output_dim")
    if shape[-1] in (None, size) and len(shape) > 1:
        raise Unknown(f"whether {layer.class_name} is called with reverse=True")
    return (*shape, size)


RULES = (
    Rule(
        "Dense",
        _dense,
        _dense_dims,
        ACTIVATION,
        output=lambda layer, shapes: (*layer.given(shapes, 1)[:-1], layer.integer("units")),
        own_order=True,
    ),
    Rule(
        "EinsumDense",
        _einsum,
        _einsum_dims,
        ACTIVATION,
        output=lambda layer, shapes: analyze(layer, layer.given(shapes, 1)).output,
        own_order=True,
    ),
    Rule("Embedding", _embeddings, _embedding_dims, output=_embedded, own_order=True),
    Rule("ReversibleEmbedding", _both_embeddings, _embedding_dims, output=_embedded_or_back, own_order=True),
)
