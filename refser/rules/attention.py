"""Attention layers.

Keras: keras.layers.attention.  Spec: spec/layers.md.  Not here: EinsumDense, which the projections are (core).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from refser.config.objects import invalid
from refser.rules.layer import Layer, Shape
from refser.rules.rule import Child, Rule, Var

# Attention, AdditiveAttention


def _inputs(layer: Layer, shapes: list[Shape]) -> list[Shape]:
    """Query, value, and key where one is given."""
    if not 2 <= len(shapes) <= 3 or not all(shapes):
        message = f"{len(shapes)} inputs for {layer.class_name}; wanted the shapes of query, value and perhaps key"
        raise invalid("LY-002", message, f"{layer.at}.build_config")
    return shapes


def _attention(layer: Layer) -> Iterable[Var]:
    _inputs(layer, layer.shapes)
    if layer.flag("use_scale"):
        yield Var("scale")
    if layer.choice("score_mode", ("dot", "concat"), "dot") == "concat":
        yield Var("concat_score_weight")


def _additive(layer: Layer) -> Iterable[Var]:
    query = _inputs(layer, layer.shapes)[0]
    return (Var("scale", query[-1:]),) if layer.flag("use_scale", True) else ()


def _attention_output(layer: Layer, shapes: list[Shape]) -> Shape:
    query, value, *_ = _inputs(layer, shapes)
    return (*query[:-1], value[-1])


# MultiHeadAttention, GroupQueryAttention


def _qvk(layer: Layer) -> tuple[Shape, Shape, Shape]:
    """The shapes of query, value and key, which is the value's where no key is given."""
    found = [layer.shape_of(f"{name}_shape") for name in ("query", "value", "key")]
    given = [shape for shape in found if shape is not None]
    if found[0] is None or found[1] is None:
        given = list(_inputs(layer, layer.shapes))
    query, value = given[:2]
    return query, value, given[2] if len(given) > 2 else value


def _projection(layer: Layer, shape: Shape, bound: int, wanted: Sequence[int | None], name: str) -> Layer:
    """An EinsumDense from the last `bound` axes of an input to axes of the sizes that are `wanted`."""
    free = len(shape) - bound
    letters = ascii_lowercase[: free + bound + len(wanted)]
    if free < 1 or len(letters) < free + bound + len(wanted):
        raise invalid("LY-002", f"an input of {free + 1} axes for {layer.class_name}", f"{layer.at}.build_config")
    made = letters[free + bound :]
    equation = f"{letters[: free + bound]},{letters[free:]}->{letters[:free]}{made}"
    return _einsum(layer, equation, [*[None] * (free - 1), *wanted], made, shape, name)


def _einsum(layer: Layer, equation: str, output: list[int | None], bias: str, shape: Shape, name: str) -> Layer:
    config = {"equation": equation, "output_shape": output, "bias_axes": bias if layer.flag("use_bias", True) else None}
    return layer.sub("EinsumDense", config, name=name, build={"input_shape": shape})


def _unseen(layer: Layer) -> tuple[Child, Child]:
    """Layers without variables, which Keras numbers."""
    return Child("_softmax", layer.sub("Softmax", {}, name=None)), Child("_dropout_layer", layer.sub("Dropout", {}, name=None))


def _multi_head(layer: Layer) -> Iterable[Child]:
    query, value, key = _qvk(layer)
    heads, key_dim = layer.integer("num_heads"), layer.integer("key_dim")
    value_dim = layer.integer("value_dim", least=0) if layer.has("value_dim") else 0
    value_dim = value_dim or key_dim
    output = _output_shape(layer) or query[-1:]
    yield Child("query_dense", _projection(layer, query, 1, [heads, key_dim], "query"))
    yield Child("key_dense", _projection(layer, key, 1, [heads, key_dim], "key"))
    if layer.flag("use_gate"):
        yield Child("_gate_dense", _projection(layer, query, 1, [heads, value_dim], "gate"))
    yield Child("value_dense", _projection(layer, value, 1, [heads, value_dim], "value"))
    yield from _unseen(layer)
    yield Child("output_dense", _projection(layer, (*query[:-1], heads, value_dim), 2, output, "attention_output"))


def _output_shape(layer: Layer) -> list[int]:
    """The argument as a list; empty: that of the query."""
    value = layer.config.get("output_shape")
    if not value:
        return []
    return list(layer.ints("output_shape", len(value) if isinstance(value, (list, tuple)) else 1))


def _multi_head_output(layer: Layer, shapes: list[Shape]) -> Shape:
    query = layer.given(shapes, 2)
    output = _output_shape(layer)
    return (*query[:-1], *output) if output else query


def _grouped(layer: Layer) -> Iterable[Child]:
    query, value, key = _qvk(layer)
    dim, heads, shared = (layer.integer(name) for name in ("head_dim", "num_query_heads", "num_key_value_heads"))
    if heads % shared:
        raise layer.refuse("num_key_value_heads", f"a divisor of the {heads} query heads")
    if {len(query), len(value), len(key)} != {3}:
        raise invalid("LY-002", f"other than 3 axes for {layer.class_name}", f"{layer.at}.build_config")
    yield Child("_query_dense", _einsum(layer, "bqm,muh->bquh", [None, heads, dim], "uh", query, "query"))
    yield Child("_key_dense", _einsum(layer, "bkm,mvh->bkvh", [None, shared, dim], "vh", key, "key"))
    if layer.flag("use_gate"):
        yield Child("_gate_dense", _einsum(layer, "bqm,muh->bquh", [None, heads, dim], "uh", query, "gate"))
    yield Child("_value_dense", _einsum(layer, "bkm,mvh->bkvh", [None, shared, dim], "vh", value, "value"))
    yield from _unseen(layer)
    last = _einsum(layer, "bquh,uhm->bqm", [None, query[-1]], "m", (None, None, heads, dim), "attention_output")
    yield Child("_output_dense", last)


_GROUPED = Rule(
    "GroupQueryAttention",
    children=_grouped,
    output=lambda layer, shapes: layer.given(shapes, 3),
    python_name="GroupedQueryAttention",  # [WT-018]
)

RULES = (
    Rule("Attention", _attention, output=_attention_output),
    Rule("AdditiveAttention", _additive, output=_attention_output),
    Rule("MultiHeadAttention", children=_multi_head, output=_multi_head_output),
    _GROUPED,
    _GROUPED._replace(class_name="GroupedQueryAttention"),  # in HDF5 files of Keras 3, which have Python's names of classes
)
