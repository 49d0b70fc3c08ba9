"""Save the golden models with standalone Keras 1.2 to 2.3: save_keras1.py FOLDER ABOUT MODEL... (see run.py).

Runs under Python 3.7.  Not here: which models are saved with which version (run.py).
"""

from __future__ import annotations

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import backend, layers
from keras.models import Model, Sequential
from saver import IMAGE, SEED, TARGET, TOKENS, Saver, run

IS_KERAS_1 = keras.__version__.startswith("1.")
HAS_LOSS_CLASSES = keras.__version__.startswith("2.3")


def fresh() -> None:
    """Start automatic names from `dense_1` again, with the same seed."""
    backend.clear_session()
    np.random.seed(SEED)
    tf.compat.v1.set_random_seed(SEED)


def convolution(filters: int, size: int, name: str) -> layers.Layer:
    if IS_KERAS_1:
        return layers.Convolution2D(filters, size, size, name=name)
    return layers.Conv2D(filters, size, name=name)


def make_functional(saver: Saver) -> None:
    """Two inputs, an embedding with a bidirectional LSTM, a convolution, a nested model, a layer used twice."""
    fresh()
    tokens = layers.Input((4,), dtype="int32", name="tokens")
    image = layers.Input((4, 4, 1), name="image")
    left = layers.Embedding(5, 3, name="embedding")(tokens)
    left = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both_ways")(left)
    right = convolution(2, 3, name="convolution")(image)
    right = layers.BatchNormalization(name="normalization")(right)
    inner = layers.Dense(4, activation="relu", name="inner")
    right = Sequential([layers.Flatten(input_shape=(2, 2, 2), name="flatten"), inner], name="nested")(right)
    shared = layers.Dense(3, name="shared")
    pair = [shared(left), shared(right)]
    joined = layers.merge(pair, mode="concat", name="join") if IS_KERAS_1 else layers.Concatenate(name="join")(pair)
    joined = layers.Dropout(0.25, name="dropout")(joined)
    head = layers.Dense(2, name="head")(joined)
    model = Model([tokens, image], head, name="two_inputs")
    loss = keras.losses.MeanSquaredError() if HAS_LOSS_CLASSES else "mse"
    model.compile(keras.optimizers.Adam(lr=0.01), loss)
    model.train_on_batch([TOKENS, IMAGE], TARGET)
    saver.save("functional.legacy.h5", model.save)
    saver.save("functional.legacy_weights.h5", model.save_weights)
    saver.text("functional.json", model.to_json())


def make_sequential(saver: Saver) -> None:
    """Uncompiled, with the names that Keras gives; no LayerNormalization in these versions."""
    fresh()
    first = layers.Dense(4, activation="relu", input_shape=(3,))
    model = Sequential([first, layers.BatchNormalization(), layers.Dense(2)])
    saver.save("sequential.legacy.h5", model.save)
    saver.save("sequential.legacy_weights.h5", model.save_weights)
    saver.text("sequential.json", model.to_json())


MAKERS = {"functional": make_functional, "sequential": make_sequential}

if __name__ == "__main__":
    run(MAKERS, keras.__version__, backend.backend(), h5py.__version__)
