"""Equations of EinsumDense: the shapes of kernel and bias, and what quantization makes of the kernel.

Keras: keras.src.layers.core.einsum_dense, `_analyze_einsum_string` and `_analyze_quantization_info`.
Not here: the variables (core, quantization).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from refser.config.objects import invalid
from refser.rules.layer import Layer, Shape
from refser.rules.rule import Size

OUTPUT_FIRST_SINCE = (3, 15)
# Keras reads an equation from its start, and does not mind what follows.
_FORMS = (
    re.compile("([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)"),
    re.compile("0([a-zA-Z]+),([a-zA-Z]+)->0([a-zA-Z]+)"),
    re.compile("([a-zA-Z]{2,})0,([a-zA-Z]+)->([a-zA-Z]+)0"),
)
_LEFT = 1
_LONGEST = 1024  # letters; an axis of an array has a letter of its own


class Einsum(NamedTuple):
    """An equation, applied to one input."""

    inputs: str  # letters, one for each axis: "abc"; those that an ellipsis stands for are not among them
    weights: str
    outputs: str
    form: int  # of _FORMS
    elided: int  # axes of the input without a letter
    kernel: Shape
    bias: Shape | None
    output: Shape


def analyze(layer: Layer, shape: Shape) -> Einsum:
    """Raises `InvalidError` where Keras has an exception of whatever kind [LY-002, LY-003]."""
    form, (inputs, weights, outputs) = _split(layer)
    elided = len(shape) - len(inputs)
    output = _output(layer)
    if elided < 0 or not shape:
        message = f"an input of {len(shape)} axes for {layer.class_name}; wanted {len(inputs)} or more"
        raise invalid("LY-002", message, f"{layer.at}.build_config")
    output.insert(0, shape[0])
    if form == _LEFT:
        output[1:1] = reversed(shape[1:elided])  # Keras puts each before the last
    else:
        output.extend(shape[len(shape) - elided :])
    before = elided if form == _LEFT else 0
    of_input = {letter: shape[before + n] for n, letter in enumerate(inputs)}
    if before + len(outputs) > len(output):
        raise layer.refuse("output_shape", f"a size for each of {outputs[:40]}, but for the first")
    of_output = {letter: output[before + n] for n, letter in enumerate(outputs)}
    for letter, size in of_input.items():
        if of_output.get(letter) not in (None, size):
            message = f"axis {letter} of {size} in the input of {layer.class_name} and of {of_output[letter]} in its output"
            raise invalid("LY-002", f"{message}; wanted the same", f"{layer.at}.build_config")
    if not set(outputs) <= {*inputs, *weights} or not set(weights) <= {*inputs, *outputs}:
        raise layer.refuse("equation", "each letter of the output in input or kernel, of the kernel in input or output")
    sizes = {**of_input, **of_output} if layer.version >= OUTPUT_FIRST_SINCE else {**of_output, **of_input}
    kernel = tuple(sizes[letter] for letter in weights)
    bias = _bias(layer, outputs, of_output, 0 if form == _LEFT else elided)
    return Einsum(inputs, weights, outputs, form, elided, kernel, bias, tuple(output))


def _split(layer: Layer) -> tuple[int, tuple[Any, ...]]:
    equation = layer.text("equation")
    if len(equation) <= _LONGEST:
        for number, form in enumerate(_FORMS):
            if found := form.match(equation.replace("...", "0")):
                return number, found.groups()
    raise layer.refuse("equation", "one such as ab,bc->ac, ...a,ab->...b or ab...,bc->ac...")


def _output(layer: Layer) -> list[Size]:
    value = layer.config.get("output_shape")
    values = value if isinstance(value, (list, tuple)) else [value]
    if value is None or not all(n is None or (type(n) is int and 0 <= n < 1 << 62) for n in values):
        raise layer.refuse("output_shape", "a size or a list of sizes and nulls")
    return list(values)


def _bias(layer: Layer, outputs: str, sizes: dict[str, Size], behind: int) -> Shape | None:
    axes = layer.config.get("bias_axes")
    if axes is None:
        return None
    if not isinstance(axes, (str, list, tuple)) or not axes or not all(isinstance(axis, str) for axis in axes):
        raise layer.refuse("bias_axes", "letters, or null")
    if not all(axis in outputs for axis in axes):
        raise layer.refuse("bias_axes", f"letters of the output, {outputs[:40]}")
    first = min(outputs.find(axis) for axis in axes)
    return (*(sizes[letter] if letter in axes else 1 for letter in outputs[first:]), *(1,) * behind)


# Quantization


def without_ellipsis(layer: Layer, einsum: Einsum) -> tuple[str, str, str]:
    """Letters of input, kernel and output.  Keras cannot quantize a kernel of an equation with an ellipsis."""
    if einsum.form:
        raise layer.refuse("equation", f"one without an ellipsis, for {layer.policy.mode}")
    return einsum.inputs, einsum.weights, einsum.outputs


def reduced(einsum: Einsum) -> list[int]:
    """The axes of the kernel that are summed over."""
    return [n for n, letter in enumerate(einsum.weights) if letter not in einsum.outputs]


def scale(layer: Layer, einsum: Einsum) -> Shape:
    """The shape of `kernel_scale` with one scale for each output of the kernel, laid out for the layer's output.

    The steps are those of Keras, odd ones as well: where no axis is left to expand, it uses the position of the step before.
    """
    inputs, weights, outputs = without_ellipsis(layer, einsum)
    expand_inputs = [n for n, letter in enumerate(outputs) if letter not in inputs]
    expand = [n for n, letter in enumerate(outputs) if letter not in weights]
    order = [weights.find(letter) for letter in outputs if letter in weights]
    position = outputs.find(weights[-1])
    for letter in inputs:
        if letter not in outputs and expand_inputs:
            position = expand_inputs.pop(0)
    squeeze = []
    sums = reduced(einsum)
    for axis in sums:
        if expand:
            position = expand.pop(0)
        else:
            squeeze.append(axis)
        order.insert(position, axis)
    sizes: list[Size] = [1 if axis in sums else einsum.kernel[axis] for axis in order]
    for axis in expand:
        sizes.insert(axis, 1)
    for axis in reversed(squeeze):
        if axis >= len(sizes):
            raise layer.refuse("equation", "one that Keras can quantize")
        sizes.pop(axis)
    return tuple(sizes)
