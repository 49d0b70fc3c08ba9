"""What a config describes: objects, functions, arrays, models and their graphs.  Nothing is imported or run for it.

Spec: spec/config-objects.md (CF).
"""

from refser.config._graph import Call, Graph, GraphLayer, Port, Tensor, graph
from refser.config._text import Config, parse
from refser.config.models import Training, input_shape_of, is_functional, is_model, is_sequential, layers_of, training_of
from refser.config.nodes import (
    Array,
    Bytes,
    Ellipsis_,
    Function,
    KerasTensor,
    Lambda,
    Older,
    Slice,
    TypeSpec,
    read_node,
    walk,
)
from refser.config.objects import KerasObject, Node

__all__ = [
    "Array",
    "Bytes",
    "Call",
    "Config",
    "Ellipsis_",
    "Function",
    "Graph",
    "GraphLayer",
    "KerasObject",
    "KerasTensor",
    "Lambda",
    "Node",
    "Older",
    "Port",
    "Slice",
    "Tensor",
    "Training",
    "TypeSpec",
    "graph",
    "input_shape_of",
    "is_functional",
    "is_model",
    "is_sequential",
    "layers_of",
    "parse",
    "read_node",
    "training_of",
    "walk",
]
