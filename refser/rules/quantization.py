"""What a quantized kernel, or table of embeddings, is saved as: the variables of each mode, in file order.

Keras: `variable_serialization_spec` of keras.layers.Dense, EinsumDense, Embedding and ReversibleEmbedding; keras.quantizers.
Spec: spec/layers.md (LY).  Not here: the layers (core), how a policy is spelled (config.policy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refser.config.objects import invalid, is_object
from refser.rules.layer import Layer, Unbuilt, Unknown
from refser.rules.rule import Size, Var

LORA_IN_FLOAT32_SINCE = (3, 15)
CHANGED_SINCE = (3, 14)  # int4 has blocks, and is packed along another axis; gptq does not save its zeros, by mistake


def _fixed(name: str, shape: str, dtype: str = "") -> Var:
    return Var(name, shape, trainable=False, dtype=dtype)


def _float8() -> tuple[Var, ...]:
    """Keras writes the new values in the place of gradients, and so no optimizer has slots for them."""
    of = ("inputs", "kernel", "outputs_grad")
    pairs = [(Var(f"{name}_scale", ""), Var(f"{name}_amax_history", "history")) for name in of]
    return tuple(var._replace(dtype="float32", slot=False) for pair in pairs for var in pair)


# Dimensions: those of kernel and bias; rows and columns of the kernel as a matrix; groups of rows; the scales as the output
# has its axes; the kernel with one axis halved.
_KERNEL, _BIAS = Var("kernel", "*kernel"), Var("bias", "*bias")
_BY_GROUP = _fixed("kernel_scale", "columns, groups")
_ROWS = _fixed("g_idx", "rows", "float32")
_BYTES, _HALF_BYTES = _fixed("kernel", "columns, rows", "uint8"), _fixed("kernel", "columns/^2, rows", "uint8")
_GPTQ_ZERO = _fixed("kernel_zero", "columns, groups", "uint8")
# The kernel and its low-rank change are saved as one array, whose type is that of the product.
KERNELS: Mapping[str, Sequence[Var]] = {
    "": (_KERNEL, _BIAS),
    "lora": (_fixed("kernel", "*kernel", "compute"), _BIAS),
    "int8": (_fixed("kernel", "*kernel", "int8"), _BIAS, _fixed("kernel_scale", "*scale")),
    "int4": (_fixed("kernel", "rows, columns/^2", "int8"), _BIAS, _fixed("kernel_scale", "columns")),
    "int4 in blocks": (
        *(_fixed("kernel", "rows, columns/^2", "int8"), _BIAS, _fixed("kernel_scale", "groups, columns")),
        *(_fixed("kernel_zero", "groups, columns", "int8"), _ROWS),
    ),
    "int4 before 3.14": (_fixed("kernel", "*packed", "int8"), _BIAS, _fixed("kernel_scale", "*scale")),
    "float8": (_KERNEL, _BIAS, *_float8()),
    "gptq": (_BIAS, _BYTES, _BY_GROUP, _ROWS),
    "gptq of 4 bits": (_BIAS, _HALF_BYTES, _BY_GROUP, _ROWS),
    "gptq before 3.14": (_BIAS, _BYTES, _BY_GROUP, _GPTQ_ZERO, _ROWS),
    "gptq of 4 bits before 3.14": (_BIAS, _HALF_BYTES, _BY_GROUP, _GPTQ_ZERO, _ROWS),
    "awq": (_BIAS, _HALF_BYTES, _BY_GROUP, _fixed("awq_scales", "rows"), _ROWS),
}
EMBEDDINGS: Mapping[str, Sequence[Var]] = {
    "": (Var("embeddings", "input_dim, output_dim"),),
    "lora": (_fixed("embeddings", "input_dim, output_dim", "compute"),),
    "int8": (_fixed("embeddings", "input_dim, output_dim", "int8"), _fixed("embeddings_scale", "input_dim")),
    "int4": (_fixed("embeddings", "input_dim, output_dim/^2", "int8"), _fixed("embeddings_scale", "input_dim")),
    "int4 in blocks": (
        *(_fixed("embeddings", "input_dim, output_dim/^2", "int8"), _fixed("embeddings_scale", "input_dim, groups")),
        *(_fixed("embeddings_zero", "input_dim, groups", "int8"), _fixed("g_idx", "output_dim", "float32")),
    ),
}
_REVERSE = Var("reverse_embeddings", "output_dim, input_dim")
REVERSE: Mapping[str, Sequence[Var]] = {
    "": (_REVERSE,),
    "lora": (_REVERSE,),
    "int8": (_fixed("reverse_embeddings", "output_dim, input_dim", "int8"), _fixed("reverse_embeddings_scale", "input_dim")),
    "int4": (_fixed("reverse_embeddings", "output_dim/^2, input_dim", "int8"), _fixed("reverse_embeddings_scale", "input_dim")),
    "int4 in blocks": (
        _fixed("reverse_embeddings", "output_dim/^2, input_dim", "int8"),
        _fixed("reverse_embeddings_scale", "groups, input_dim"),
        _fixed("reverse_embeddings_zero", "groups, input_dim"),  # not int8, as Keras has it
    ),
}


# By mode: the class of a `quantization_config` that counts before the policy, and its argument for the size of the groups.
_GROUPED = {
    "int4": ("Int4QuantizationConfig", "block_size"),
    "gptq": ("GPTQConfig", "group_size"),
    "awq": ("AWQConfig", "group_size"),
}
_CONFIGS = (
    "QuantizationConfig",
    "Int8QuantizationConfig",
    "Float8QuantizationConfig",
    *(name for name, _ in _GROUPED.values()),
)
_IN_ONE, _DEFAULT_SIZE, _DEFAULT_BITS = -1, 128, 4


def variables(layer: Layer, modes: Mapping[str, Sequence[Var]]) -> Sequence[Var]:
    """Those of the layer's mode, if it is built.  Raises as `mode_of`, or `Unbuilt`."""
    if layer.build is None and not layer.json.get("build_config"):  # which holds null where no input was needed
        raise Unbuilt
    found = modes[mode_of(layer, modes)]
    if layer.policy.mode and _has_lora(layer) and layer.version >= LORA_IN_FLOAT32_SINCE:
        scales = ("kernel_scale", "embeddings_scale")  # of the sum of kernel and LoRA's product, quantized once more
        dtype = "float64" if layer.policy.compute_dtype == "float64" else "float32"
        return [var._replace(dtype=dtype) if var.name in scales else var for var in found]
    return found


def mode_of(layer: Layer, modes: Mapping[str, Sequence[Var]]) -> str:
    """The key in `modes`.  Raises `Unknown`, or `InvalidError` for a mode that the class does not have [LY-003]."""
    policy = layer.policy
    if policy.doubt:
        raise Unknown(policy.doubt)
    if policy.mode and not any(mode.split(" ")[0] == policy.mode for mode in modes):
        message = f"{policy.mode} as the quantization of {layer.class_name}, which has none such"
        raise invalid("LY-003", message, layer.at_argument("dtype"))
    if _has_lora(layer):
        if policy.mode in ("float8", "gptq", "awq"):
            raise Unknown(f"what Keras saves of {policy.mode} with LoRA: it fails with most shapes")
        if not policy.mode:
            return "lora"
    found = _in_detail(layer)
    if layer.version < CHANGED_SINCE and f"{found.removesuffix(' in blocks')} before 3.14" in modes:
        return f"{found.removesuffix(' in blocks')} before 3.14"
    return found


def _in_detail(layer: Layer) -> str:
    mode, bits = layer.policy.mode, layer.policy.bits
    if mode == "int4":
        return mode if group_size(layer) == _IN_ONE else "int4 in blocks"
    if mode in ("gptq", "awq"):
        if (config := _quantization_config(layer)) is not None:
            bits = config.get("weight_bits", _DEFAULT_BITS)
        if type(bits) is not int or bits not in ((2, 3, 4, 8) if mode == "gptq" else (4,)):
            message = f"{bits!r:.60} bits for {mode}; wanted 4, with gptq also 2, 3 or 8, and a size of groups"
            raise invalid("LY-003", message, layer.at_argument("dtype"))
        return "gptq of 4 bits" if mode == "gptq" and bits == 4 else mode
    return mode


def _has_lora(layer: Layer) -> bool:
    if not layer.config.get("lora_rank"):
        return False
    layer.integer("lora_rank")
    for constraint in ("kernel_constraint", "embeddings_constraint"):
        if layer.has(constraint):
            raise layer.refuse("lora_rank", f"none with a {constraint}")
    return True


def groups(layer: Layer, length: Size) -> Size:
    """In how many groups the axis is cut along which the scales differ."""
    size = group_size(layer)
    if size == _IN_ONE:
        return 1
    return None if length is None else -(-length // size)


def group_size(layer: Layer) -> int:
    """-1: all in one group."""
    config = _quantization_config(layer)
    if config is None:
        return layer.policy.block if layer.policy.mode in _GROUPED else _IN_ONE
    argument = _GROUPED[layer.policy.mode][1]
    size = config.get(argument, None if argument == "block_size" else _DEFAULT_SIZE)
    if size is None and argument == "block_size":
        return _IN_ONE
    if type(size) is not int or (size < 1 and size != _IN_ONE):
        message = f"{size!r:.60} as {argument}; wanted -1 or a positive integer"
        raise invalid("LY-003", message, f"{layer.at_argument('quantization_config')}.config.{argument}")
    return size


def _quantization_config(layer: Layer) -> Mapping[str, Any] | None:
    """What `quantize` was called with, as far as it decides; Keras ignores one for another mode."""
    value = layer.config.get("quantization_config")
    if value is None or layer.policy.mode not in _GROUPED:
        return None
    if not is_object(value) or not isinstance(value["config"], Mapping):
        raise layer.refuse("quantization_config", "an object with class_name and config, or null")
    if value["class_name"] == _GROUPED[layer.policy.mode][0]:
        return value["config"]
    if value["class_name"] in _CONFIGS:
        return None
    raise Unknown(f"what {value['class_name']!r:.60} means for {layer.policy.mode}: refser does not know the class")
