"""Write a JSON file beside this one: models of Keras 1, and the weights in the HDF5 files that they save.

python tests/data/legacy/record_1.py FILE

Under Keras 1.2.2, with TensorFlow.  The configs are without initializers, regularizers and constraints.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import keras
import recorded
from keras import layers as L
from keras.models import Model, Sequential


def chain(shape, *layers):
    x = first = L.Input(shape)
    for layer in layers:
        x = layer(x)
    return Model(first, x)


def inner(**arguments):
    return chain((5,), L.Dense(4, name="a", **arguments), L.BatchNormalization(name="b"), L.Dense(2, name="c"))


def frozen():
    model = inner()
    model.trainable = False
    return chain((5,), model, L.Dense(2, trainable=False), L.BatchNormalization(trainable=False))


def merged(mode):
    a, b = L.Input((5,)), L.Input((5,))
    both = [L.merge([a, b], mode="mul"), L.merge([L.Dense(5)(a), b], mode="concat", concat_axis=1)]
    return Model([a, b], L.Dense(3)(L.merge([L.merge(both, mode="concat"), L.merge([a, b], mode=mode)], mode="concat")))


def models_at_head():
    parts = [Sequential([L.Dense(3, input_dim=4)]), Sequential([L.Dense(5, input_dim=2)])]
    return Sequential([L.Merge(parts, mode="concat"), L.Dense(2)])


TH = {"dim_ordering": "th"}
MODELS = {
    "dense": lambda: Sequential([L.Dense(4, input_dim=3), L.Dense(2, bias=False), L.Activation("relu"), L.Dropout(0.1)]),
    "axes_1": lambda: chain(
        (9, 3), L.Convolution1D(4, 3), L.MaxPooling1D(), L.Convolution1D(2, 2, border_mode="same", bias=False), L.LSTM(2)
    ),
    "axes_2": lambda: chain(
        (12, 12, 3),
        *(L.Convolution2D(4, 3, 2, subsample=(2, 2)), L.MaxPooling2D(), L.ZeroPadding2D(), L.ZeroPadding2D((1, 2, 0, 1))),
        *(L.AveragePooling2D((2, 2), border_mode="same"), L.UpSampling2D(), L.AtrousConvolution2D(2, 2, 2, atrous_rate=(2, 2))),
        *(L.SeparableConvolution2D(4, 2, 2, depth_multiplier=2), L.Cropping2D(((0, 1), (0, 0))), L.Flatten(), L.Dense(2)),
    ),
    "theano": lambda: chain(
        (3, 12, 12), L.Convolution2D(4, 3, 2, **TH), L.MaxPooling2D(**TH), L.BatchNormalization(axis=1), L.Flatten(), L.Dense(2)
    ),
    "axes_3": lambda: chain((6, 6, 6, 2), L.Convolution3D(3, 2, 2, 2), L.AveragePooling3D(), L.Flatten(), L.Dense(1)),
    "embedding": lambda: Sequential([L.Embedding(9, 4), L.GRU(3), L.Dense(2)]),
    "batch": lambda: chain((5,), L.BatchNormalization(mode=2), L.BatchNormalization(mode=1), L.Dense(2)),
    "recurrent": lambda: chain(
        (4, 3), L.LSTM(2, return_sequences=True, name="one"), L.GRU(3, return_sequences=True), L.SimpleRNN(2)
    ),
    "recurrent_gpu": lambda: chain(
        (4, 3), L.LSTM(2, return_sequences=True, consume_less="gpu"), L.GRU(3, consume_less="gpu"), L.RepeatVector(2), L.LSTM(1)
    ),
    "conv_recurrent": lambda: chain((4, 6, 6, 2), L.ConvLSTM2D(3, 2, 2), L.Flatten(), L.Dense(2)),
    "both_ways": lambda: chain(
        (4, 3),
        *(L.Bidirectional(L.LSTM(2, return_sequences=True)), L.Bidirectional(L.GRU(3, name="g"), merge_mode="sum"), L.Dense(2)),
    ),
    "each_step": lambda: chain(
        (4, 6, 6, 3),
        *(L.TimeDistributed(L.Convolution2D(2, 3, 3)), L.TimeDistributed(L.Flatten()), L.TimeDistributedDense(4)),
        *(L.TimeDistributed(L.Dense(3, name="inner"), name="outer"), L.TimeDistributed(L.BatchNormalization())),
    ),
    "nested": lambda: chain((5,), L.Dense(5), inner(), L.Dense(2)),
    "nested_chain": lambda: chain((5,), Sequential([L.Dense(4, input_dim=5), L.BatchNormalization()], name="s"), L.Dense(2)),
    "chain_at_head": lambda: Sequential([Sequential([L.Dense(4, input_dim=3)], name="s"), L.Dense(2)]),
    "frozen": frozen,
    "frozen_inside": lambda: chain((5,), inner(trainable=False), L.Dense(2)),
    "merged": lambda: merged("ave"),
    "dotted": lambda: merged("dot"),
    "models_at_head": models_at_head,
    "shapes": lambda: chain(
        (6,), L.Reshape((2, 3)), L.Permute((2, 1)), L.Flatten(), L.Dense(3), L.LeakyReLU(), L.PReLU(), L.GaussianNoise(0.1)
    ),
    "unknown": lambda: chain((5,), L.Dense(4), L.Highway(), L.MaxoutDense(3), L.Dense(2)),
}


def saved(model, path):
    model.save(path)
    return recorded.read(path)


def record():
    found = {}
    for name, make in MODELS.items():
        keras.backend.clear_session()
        found[name] = saved(make(), str(Path(tempfile.mkdtemp(), "model.h5")))
    recorded.write(sys.argv[1], found)


if __name__ == "__main__":
    record()
