"""Write a JSON file beside this one: models of Keras 2 or tf.keras, and the weights in the HDF5 files that they save.

python tests/data/legacy/record.py keras|tensorflow FILE [CASE...]

Under the Python of that Keras, which may be 3.7; no CASE means all.  What a version cannot make is left out.  A model that has
other names once it was loaded is there a second time.  The configs are without initializers, regularizers and constraints.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import recorded

keras = importlib.import_module("keras" if sys.argv[1] == "keras" else "tensorflow.keras")
L, Model, Sequential = keras.layers, keras.models.Model, keras.models.Sequential
CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


def chain(shape, *layers):
    x = first = L.Input(shape)
    for layer in layers:
        x = layer(x)
    return Model(first, x)


def inner():
    return chain((5,), L.Dense(4, name="a"), L.BatchNormalization(name="b"), L.Dense(2, name="c"))


def part(**first):
    return [L.Dense(4, name="a", **first), L.BatchNormalization(name="b"), L.Dense(3)]


@case
def dense():
    return Sequential([L.Dense(4, input_shape=(3,)), L.Dense(2, use_bias=False)])


@case
def axes_1():
    return chain(
        (8, 3), L.Conv1D(4, 3, padding="causal"), L.SeparableConv1D(5, 3, depth_multiplier=2), L.BatchNormalization(scale=False)
    )


@case
def axes_2():
    windows = [L.MaxPooling2D(), L.ZeroPadding2D(1), L.UpSampling2D(2), L.Cropping2D(1), L.Flatten(), L.Dense(2)]
    kernels = [L.Conv2D(4, (3, 2), strides=2), L.DepthwiseConv2D(2), L.SeparableConv2D(5, 2)]
    return chain(
        (12, 12, 3), *kernels, L.Conv2DTranspose(3, 3, strides=2, padding="same"), L.PReLU(shared_axes=[1, 2]), *windows
    )


@case
def axes_3():
    return chain((6, 6, 6, 2), L.Conv3D(3, 2), L.AveragePooling3D(), L.Conv3DTranspose(3, 2, strides=2), L.GlobalMaxPooling3D())


@case
def depthwise_1():
    return chain((8, 3), L.DepthwiseConv1D(3, depth_multiplier=2), L.Conv1DTranspose(2, 3))


@case
def local():
    return chain((8, 3), L.LocallyConnected1D(2, 3), L.Flatten(), L.Dense(1))


@case
def embedding():
    return Sequential([L.Embedding(9, 4, input_length=5), L.Flatten(), L.Dense(2)])


@case
def batch():
    return chain((5,), L.BatchNormalization(center=False), L.BatchNormalization(center=False, scale=False), L.Dense(2))


@case
def norms():
    return chain((4, 6), L.LayerNormalization(axis=[1, 2]), L.GroupNormalization(3), L.SpectralNormalization(L.Dense(3)))


@case
def recurrent():
    return chain((4, 3), L.LSTM(2, return_sequences=True, name="one"), L.GRU(3, return_sequences=True), L.SimpleRNN(2))


@case
def resets():
    return chain((4, 3), L.GRU(3, reset_after=True, return_sequences=True), L.GRU(3, reset_after=False, use_bias=False))


@case
def recurrent_chain():
    return Sequential([L.LSTM(2, return_sequences=True, input_shape=(4, 3)), L.LSTM(2)])


@case
def cells():
    named = L.RNN(L.GRUCell(3), return_sequences=True, name="outer")
    return chain((4, 3), L.RNN(L.LSTMCell(2), return_sequences=True), named, L.RNN(L.SimpleRNNCell(3)))


@case
def stacks():
    first = L.RNN([L.LSTMCell(2), L.GRUCell(3)], return_sequences=True, name="stack")
    return chain((4, 3), first, L.RNN(L.StackedRNNCells([L.SimpleRNNCell(2), L.LSTMCell(4)])))


@case
def conv_recurrent():
    layers = [L.ConvLSTM2D(3, 2, return_sequences=True), L.ConvLSTM2D(2, 3, use_bias=False), L.Flatten(), L.Dense(2)]
    return chain((4, 6, 6, 2), *layers)


@case
def both_ways():
    first = L.Bidirectional(L.LSTM(2, return_sequences=True))
    second = L.Bidirectional(L.GRU(3, return_sequences=True, name="g"), merge_mode="sum")
    return chain((4, 3), first, second, L.Bidirectional(L.SimpleRNN(2), merge_mode="ave"), L.Dense(2))


@case
def both_ways_apart():
    first = L.Input((4, 3))
    return Model(first, L.Dense(2)(L.concatenate(L.Bidirectional(L.LSTM(2, name="l"), merge_mode=None)(first))))


@case
def both_ways_given():
    back = L.GRU(2, name="bw", go_backwards=True)
    return chain((4, 3), L.Bidirectional(L.LSTM(2, name="fw"), backward_layer=back), L.Dense(2))


@case
def both_ways_of_cells():
    first = L.Bidirectional(L.RNN(L.LSTMCell(2, name="c"), name="r", return_sequences=True))
    return chain((4, 3), first, L.Bidirectional(L.RNN([L.LSTMCell(2), L.GRUCell(2)], name="s")), L.Dense(2))


@case
def both_ways_of_convolutions():
    return chain((4, 6, 6, 2), L.Bidirectional(L.ConvLSTM2D(3, 2, name="c")))


@case
def each_step():
    layers = [L.TimeDistributed(L.Conv2D(2, 3)), L.TimeDistributed(L.Flatten())]
    return chain(
        (4, 6, 6, 3),
        *layers,
        L.TimeDistributed(L.Dense(3, name="inner"), name="outer"),
        L.TimeDistributed(L.BatchNormalization()),
    )


@case
def model_each_step():
    return chain((4, 5), L.TimeDistributed(inner(), name="outer"), L.LSTM(2))


@case
def chain_each_step():
    return chain((4, 5), L.TimeDistributed(Sequential(part(), name="s"), name="outer"), L.LSTM(2))


@case
def recurrent_each_step():
    both = L.TimeDistributed(L.Bidirectional(L.LSTM(3, name="l", return_sequences=True), name="b"))
    return chain((2, 4, 5), both, L.TimeDistributed(L.LSTM(3)), L.LSTM(2))


@case
def nested():
    return chain((5,), L.Dense(5), inner(), L.Dense(2))


@case
def nested_twice():
    middle = chain((5,), L.BatchNormalization(name="d"), inner(), L.Dense(3, name="e"))
    return chain((5,), middle, L.Dense(2))


@case
def nested_chain():
    return chain((5,), Sequential(part(), name="s"), L.Dense(2))


@case
def nested_chain_with_input():
    return chain((5,), Sequential(part(input_shape=(5,)), name="s"), L.Dense(2))


@case
def chain_in_chain():
    return Sequential([L.Dense(4, name="first", input_shape=(5,)), Sequential(part(), name="s"), L.Dense(2)])


@case
def chain_at_head():
    return Sequential([Sequential(part(input_shape=(3,)), name="s"), L.Dense(2)])


@case
def model_in_chain():
    return Sequential([inner(), L.Dense(3)])


@case
def built():
    model = Sequential(part())
    model.build((None, 5))
    return model


@case
def built_around_a_chain():
    model = Sequential([L.Dense(4, name="first"), Sequential(part(), name="s")])
    model.build((None, 5))
    return model


@case
def frozen():
    model = chain((5,), L.Dense(4), L.BatchNormalization(), L.Dense(2, trainable=False))
    model.layers[2].trainable = False
    return model


@case
def frozen_inside():
    model = inner()
    model.layers[1].trainable = False
    return chain((5,), model, L.Dense(2))


@case
def frozen_model():
    model = inner()
    model.trainable = False
    return chain((5,), model, L.Dense(2))


@case
def frozen_in_part():
    model = inner()
    model.trainable = False
    model.layers[2].trainable = model.layers[3].trainable = True
    return chain((5,), model, L.Dense(2))


@case
def frozen_wrapped():
    return chain(
        (4, 3),
        L.LSTM(2, trainable=False, return_sequences=True),
        L.Bidirectional(L.LSTM(2, trainable=False, return_sequences=True)),
        L.TimeDistributed(L.Dense(2, trainable=False)),
        L.TimeDistributed(L.BatchNormalization(), trainable=False),
        L.RNN(L.LSTMCell(3, trainable=False)),
    )


@case
def frozen_cell():
    return chain((4, 3), L.RNN([L.LSTMCell(3, trainable=False), L.LSTMCell(2)]), L.Dense(2))


@case
def attention():
    query, value = L.Input((4, 3)), L.Input((5, 3))
    both = [L.Attention(use_scale=True)([query, value]), L.AdditiveAttention()([query, value])]
    return Model([query, value], L.Dense(2)(L.concatenate(both)))


@case
def heads():
    query = L.Input((4, 3))
    return Model(query, L.Dense(2)(L.MultiHeadAttention(2, 3, value_dim=5, name="attn", dropout=0.1)(query, query)))


@case
def equation():
    return chain((4, 3), L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"))


@case
def adapted():
    return chain((5,), L.Normalization(), L.Normalization(mean=0.0, variance=1.0), L.Dense(2))


@case
def weighted_words():
    return chain((1,), L.IntegerLookup(vocabulary=[3, 5], idf_weights=[0.1, 0.2], output_mode="tf_idf"), L.Dense(2))


@case
def policies():
    return chain((5,), L.Dense(4, dtype="mixed_float16"), L.Dense(3, dtype="float64"), L.Dense(2, dtype="float16"))


@case
def shared():
    first, second, dense, norm = L.Input((5,)), L.Input((5,)), L.Dense(4, name="shared"), L.BatchNormalization()
    return Model([first, second], L.Dense(1)(L.add([norm(dense(first)), norm(dense(second))])))


@case
def merged():
    a, b = L.Input((5,)), L.Input((5,))
    x, y = L.Dense(5)(L.multiply([a, b])), L.Dense(5)(L.subtract([a, b]))
    z = L.dot([L.average([x, y]), L.maximum([x, y])], axes=1)
    return Model([a, b], L.Dense(3)(L.concatenate([z, a])))


@case
def states():
    first, second = L.Input((4, 3)), L.Input((6, 3))
    _, h, c = L.LSTM(2, return_state=True)(first)
    x = L.LSTM(2, return_sequences=True)(second, initial_state=[h, c])
    return Model([first, second], L.TimeDistributed(L.Dense(4, activation="softmax"))(x))


@case
def shapes():
    layers = [L.Reshape((2, 3)), L.Permute((2, 1)), L.Dense(4), L.Flatten(), L.RepeatVector(3), L.LSTM(2), L.LeakyReLU()]
    return chain((6,), *layers, L.ELU(), L.PReLU(), L.Dropout(0.1), L.Dense(2))


@case
def operations():
    first = L.Input((5,))
    return Model(first, L.Dense(2)(L.Dense(4)(first) * 2.0 + 1.0))


@case
def activation():
    return chain((5,), L.Dense(4, activation=L.PReLU()), L.Dense(2))


@case
def two_outputs():
    first, second = L.Input((5,)), L.Input((5,))
    model = Model(first, [L.Dense(2, name="o1")(first), L.Dense(3, name="o2")(first)], name="inner")
    a, b = model(second)
    return Model(second, [L.Dense(1, name="h1")(a), L.Dense(1, name="h2")(b)])


@case
def called_twice():
    model, first, second = inner(), L.Input((5,)), L.Input((5,))
    return Model([first, second], L.Dense(1)(L.concatenate([model(first), model(second)])))


def saved(model, path):
    if sys.argv[1] == "tensorflow":
        model.save(path, save_format="h5")
    else:
        model.save(path)
    return recorded.read(path)


def record():
    found = {}
    path = str(Path(tempfile.mkdtemp(), "model.h5"))
    for name in sys.argv[3:] or CASES:
        keras.backend.clear_session()
        try:
            found[name] = saved(CASES[name](), path)
            keras.backend.clear_session()
            again = saved(keras.models.load_model(path), path)
        except Exception as error:  # of a version that has no such layer, or cannot load what it saved
            print(name, repr(error)[:120])
            continue
        if again["layers"] != found[name]["layers"]:
            found[f"{name}, loaded"] = again
    recorded.write(sys.argv[2], found)


if __name__ == "__main__":
    record()
