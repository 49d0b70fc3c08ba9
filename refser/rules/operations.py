"""Operations among the layers, `x * 2` or `ops.tanh(x)`: the shapes of those that take numbers one by one.

Keras: keras.src.ops.  Spec: spec/weight-trees.md (WT-011, WT-021).  Not here: where other operations' shapes stand (infer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from refser.config import KerasObject
from refser.rules.layer import Shape

# Of one tensor, whose shape the result has.
_OF_ONE = frozenset(
    (
        *("Abs", "Absolute", "Arccos", "Arccosh", "Arcsin", "Arcsinh", "Arctan", "Arctanh", "Cast", "Ceil", "Celu", "Clip"),
        *("Conj", "Conjugate", "Copy", "Cos", "Cosh", "Elu", "Erf", "Erfinv", "Exp", "Exp2", "Expm1", "Flip", "Floor", "Gelu"),
        *("HardShrink", "HardSigmoid", "HardSilu", "HardTanh", "Imag", "Isfinite", "Isinf", "Isnan", "LeakyRelu", "Log"),
        *("Log10", "Log1p", "Log2", "LogSigmoid", "LogSoftmax", "LogicalNot", "NanToNum", "Negative", "OnesLike", "Real"),
        *("Reciprocal", "Relu", "Relu6", "Round", "Rsqrt", "Selu", "Sigmoid", "Sign", "Silu", "Sin", "Sinh", "SoftShrink"),
        *("Softmax", "Softplus", "Softsign", "SparsePlus", "SparseSigmoid", "Sparsemax", "Sqrt", "Square", "Squareplus"),
        *("StopGradient", "Tan", "Tanh", "TanhShrink", "Tril", "Triu", "Trunc", "ZerosLike"),
    )
)
# Of two tensors, aligned at the end, or of a tensor and a number.
_OF_TWO = frozenset(
    (
        *("Add", "Arctan2", "Divide", "DivideNoNan", "Equal", "FloorDivide", "Greater", "GreaterEqual", "Less", "LessEqual"),
        *("Logaddexp", "LogicalAnd", "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mod", "Multiply", "NotEqual", "Power"),
        *("Subtract", "TrueDivide"),
    )
)
_MODULES = tuple(f"keras.src.ops.{name}" for name in ("numpy", "nn", "math", "core"))


def shape_of_operation(found: KerasObject, call: int, inputs: Sequence[Shape]) -> Shape | None:
    """What the call gives for tensors of these shapes; None where it cannot be told."""
    if found.module not in _MODULES:
        return None
    if found.class_name in _OF_ONE and len(inputs) == 1:
        return inputs[0]
    if found.class_name not in _OF_TWO:
        return None
    if len(inputs) == 2:
        return _broadcast(inputs[0], inputs[1])
    return inputs[0] if len(inputs) == 1 and _with_number(found, call) else None


def _with_number(found: KerasObject, call: int) -> bool:
    nodes = found.json.get("inbound_nodes")
    node = nodes[call] if isinstance(nodes, list) and call < len(nodes) else None
    if not isinstance(node, Mapping) or node.get("kwargs") or not isinstance(args := node.get("args"), list):
        return False
    return len(args) == 2 and sum(isinstance(arg, (int, float)) for arg in args) == 1


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """As Keras does it: an unknown length gives way to one over 1."""
    length = max(len(a), len(b))
    found: list[int | None] = []
    for left, right in zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b):
        if left == 1:
            found.append(right)
        elif left is None:
            found.append(None if right == 1 else right)
        elif right in (1, None, left):
            found.append(left)
        else:
            return None
    return tuple(found)
