"""From a description to the live model.  Imports Keras: import it inside a test."""

from __future__ import annotations

from typing import Any

import custom
import keras
import live
import numpy as np
from builders import OPTIMIZERS, TOKENS, WORDS, Description, Graph, Node
from keras import layers

_RECURRENT = ("SimpleRNN", "LSTM", "GRU")


def build(description: Description, *, bits: bool = False) -> Any:
    """The model: compiled and stepped as described, its variables drawn by the seed: numbers, or any bits at all."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(description.seed)
    keras.config.set_dtype_policy(description.policy)
    try:
        model = _model(description.graph, "tower")
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(description.seed)
    if description.optimizer is not None:
        model.compile(_optimizer(description.optimizer), keras.losses.MeanSquaredError())
    fill(model.weights, rng, bits=bits)
    for step in range(description.steps if description.optimizer is not None else 0):
        gradients = [keras.ops.convert_to_tensor(_draw(v, rng, False)) for v in model.trainable_variables]
        if not gradients:  # nothing to train: Keras builds no optimizer
            break
        if step == 0:
            model.optimizer.build(model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
    if bits and description.optimizer is not None:
        fill(model.optimizer.variables, rng, bits=True)
    for layer in model._flatten_layers():
        if isinstance(layer, custom.Odd):
            layer.set_state(rng)
    return model


def fill(variables: Any, rng: np.random.Generator, *, bits: bool) -> None:
    for variable in variables:
        variable.assign(_draw(variable, rng, bits))


def _draw(variable: Any, rng: np.random.Generator, bits: bool) -> Any:
    dtype = np.dtype(keras.ops.convert_to_numpy(variable).dtype)
    if bits and dtype.kind != "b":
        count = int(np.prod(variable.shape))
        return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype).reshape(variable.shape)
    if dtype.kind in "iub":
        return rng.integers(0, 2, variable.shape).astype(dtype)
    value = rng.normal(size=variable.shape)
    return (np.abs(value) if "variance" in variable.name else value).astype(dtype)


def _optimizer(name: str) -> Any:
    if name == "Adam scheduled":
        return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    if name == "Adam scaled":
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    return getattr(keras.optimizers, name.partition(" ")[0])(**OPTIMIZERS[name])


def _model(graph: Graph, name: str | None) -> Any:
    if graph.kind == "tower":
        model = custom.Tower(graph.nodes[0].options["width"], name=name)
        model(keras.Input(graph.inputs[0]))
        return model
    inputs = [keras.Input(shape[:1], dtype="int32") if shape == TOKENS else keras.Input(shape) for shape in graph.inputs]
    made: list[Any] = []
    if graph.kind == "sequential":
        return keras.Sequential([*inputs, *(_layer(node, graph, made) for node in graph.nodes)], name=name)
    values = list(inputs)
    for node in graph.nodes:
        layer = made[node.again] if node.again is not None else _layer(node, graph, made)
        made.append(layer)
        taken = [values[source] for source in node.sources]
        if isinstance(layer, (layers.MultiHeadAttention, layers.GroupQueryAttention)):
            taken *= 2
        values.append(layer(taken) if node.op in ("Add", "Concatenate") else layer(*taken))
    outputs = [values[number] for number in graph.outputs]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=name)


def _layer(node: Node, graph: Graph, made: list[Any]) -> Any:
    common = {"name": node.name} | ({"dtype": node.dtype} if node.dtype else {})
    options = dict(node.options)
    if node.op == "model":
        assert node.inner is not None
        return _model(node.inner, node.name)
    if node.op == "operator":
        return lambda x: x * 0.5
    if node.op in ("Odd", "Tower"):
        return getattr(custom, node.op)(**options, **common)
    wrapper, _, wrapped = node.op.partition(" ")
    if wrapper == "Bidirectional":
        cell = getattr(layers, wrapped)
        merge = options.pop("merge_mode")
        return layers.Bidirectional(cell(**options, **_cell(common)), merge_mode=merge, **common)
    if wrapper == "TimeDistributed":
        inner = layers.Dense(options["units"], dtype=node.dtype)
        return layers.TimeDistributed(inner if wrapped == "Dense" else keras.Sequential([inner, layers.Dropout(0.1)]), **common)
    if wrapper == "SpectralNormalization":
        return layers.SpectralNormalization(layers.Dense(options["units"], dtype=node.dtype), **common)
    if node.op == "StackedRNN":
        sequences = options.pop("return_sequences")
        cells = [layers.LSTMCell(**options, **_cell(common)), layers.GRUCell(**options, **_cell(common))]
        return layers.RNN(layers.StackedRNNCells(cells, dtype=node.dtype), return_sequences=sequences, **common)
    if node.op == "EinsumDense":
        return layers.EinsumDense("ab,bc->ac", options["units"], bias_axes="c", **common)
    if node.op == "Embedding":
        options["input_dim"] = WORDS
    if "Conv" in node.op:
        options["padding"] = "same"
    if node.op in _RECURRENT:
        common |= _cell(common)
    return getattr(layers, node.op)(**options, **common)


def _cell(common: dict[str, Any]) -> dict[str, Any]:
    """Without the name; the usual initializer is a decomposition, which NumPy does not have for float16."""
    cell = {key: value for key, value in common.items() if key == "dtype"}
    return cell | {"recurrent_initializer": "glorot_uniform"}


def train(model: Any, description: Description) -> None:
    """One step of Keras's own training, towards zero."""
    inputs = live.inputs_of(description)
    outputs = model(inputs)
    targets = keras.tree.map_structure(lambda output: np.zeros(output.shape, "float32"), outputs)
    model.train_on_batch(inputs, targets)
