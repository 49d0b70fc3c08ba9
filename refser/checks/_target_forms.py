"""What stands in keys that a version takes, in a form that it does not read: each seen with that version.

Spec: spec/targets.md (TG-003).  Not here: keys that it does not take at all (target).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from refser.checks.symbols import Symbol
from refser.config.nodes import is_reference
from refser.config.objects import KerasObject, shown

# The first version of Keras 3 that reads it.
FREE_ENDS = (3, 4)  # of a graph: one tensor alone, or tensors in structures
HASHING_POLICIES = (3, 4)
DOT = (3, 2)  # in a graph: before, it is built with lists, and asks for tuples
INNER_GRAPHS = (3, 3)  # before, the calls of a model that is called by another are counted from 1
QUANTIZED = {"int8": (3, 2), "float8": (3, 3), "int4": (3, 11), "gptq": (3, 12), "awq": (3, 14)}


def odd_forms(node: KerasObject, symbol: Symbol, version: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Keys of the config, and what is odd there; the key is empty where it is the object."""
    if version < (3,) or node.module is None:
        return
    if symbol.name == "keras.layers.BatchNormalization" and isinstance(node.config.get("axis"), list):
        yield "axis", "a list as axis, as tf.keras writes it; wanted a number"
    key, dtype = ("mode", node.config.get("mode")) if symbol.family == "dtype_policies" else ("dtype", node.config.get("dtype"))
    if isinstance(dtype, str) and version < QUANTIZED.get(dtype.partition("_from_")[0].partition("/")[0], version):
        yield key, f"{shown(dtype)}; wanted a quantization that there is"
    if version >= FREE_ENDS:
        return
    if symbol.name == "keras.layers.Hashing" and isinstance(dtype, Mapping):
        yield "dtype", "a dtype policy of Hashing; wanted the name of a dtype"
    is_called = bool(node.json.get("inbound_nodes"))
    if symbol.name == "keras.layers.Dot" and is_called and version < DOT:
        yield "", "a Dot layer in a graph; wanted one alone"
    if symbol.short == "Functional":
        if is_called and version < INNER_GRAPHS:
            yield "", "a Functional model that another calls; wanted it alone"
        for key in ("input_layers", "output_layers"):
            ends = node.config.get(key)
            if not all(
                map(is_reference, ends.values() if isinstance(ends, Mapping) else ends if isinstance(ends, list) else ())
            ):
                yield key, f"{key} that are not all [layer, call, output]; wanted a list or an object of such"
