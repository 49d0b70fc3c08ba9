"""Save the golden models with Keras 3: save_keras3.py FOLDER ABOUT MODEL... (see run.py).

The backend is that of KERAS_BACKEND.  Not here: which models are saved with which version (run.py).
"""

from __future__ import annotations

import inspect

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib
from saver import IMAGE, SEED, SEQUENCE, TARGET, TOKENS, WORDS, Saver, long_names, run

NPZ_FROM = (3, 15)
RELEASE = tuple(int(part) for part in keras.__version__.split(".")[:2])
SHARD_BYTES = 690  # kernel and bias of the nested Dense then lie in two shards


def fresh() -> None:
    """Start automatic names from `dense` again, with the same seed."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)


def save_legacy_weights(model: keras.Model, path: str) -> None:
    """What `save_weights("x.h5")` wrote in Keras 2; Keras 3 has no public call left for it."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def save_dir(saver: Saver, model: keras.Model, name: str) -> None:
    if "zipped" in inspect.signature(keras.saving.save_model).parameters:
        saver.save(f"{name}.dir", lambda path: keras.saving.save_model(model, path, zipped=False))


def save_sharded(saver: Saver, model: keras.Model, name: str) -> None:
    if "max_shard_size" in inspect.signature(model.save_weights).parameters:
        size = SHARD_BYTES / 1024**3  # in GB
        saver.save(f"{name}.sharded.weights.json", lambda path: model.save_weights(path, max_shard_size=size))


def build_functional() -> keras.Model:
    """Two inputs, an embedding with a bidirectional LSTM, a convolution, a nested model, a layer used twice."""
    fresh()
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    image = keras.Input((4, 4, 1), name="image")
    left = layers.Embedding(5, 3, name="embedding")(tokens)
    left = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both_ways")(left)
    right = layers.Conv2D(2, 3, name="convolution")(image)
    right = layers.BatchNormalization(name="normalization")(right)
    nested = [keras.Input((2, 2, 2)), layers.Flatten(name="flatten"), layers.Dense(4, "relu", name="inner")]
    right = keras.Sequential(nested, name="nested")(right)
    shared = layers.Dense(3, name="shared")
    joined = layers.Concatenate(name="join")([shared(left), shared(right)])
    joined = layers.Dropout(0.25, name="dropout")(joined)
    model = keras.Model([tokens, image], layers.Dense(2, name="head")(joined), name="two_inputs")
    model.compile(keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
    model.train_on_batch([TOKENS, IMAGE], TARGET)
    return model


def make_functional(saver: Saver) -> None:
    """Trained one step; the layouts that hold more than weights, and shards."""
    model = build_functional()
    saver.save("functional.keras", model.save)
    saver.save("functional.legacy.h5", model.save)
    saver.text("functional.json", model.to_json())
    save_sharded(saver, model, "functional")
    if RELEASE >= NPZ_FROM:
        saver.save("functional.npz.keras", lambda path: saving_lib.save_model(model, path, weights_format="npz"))


def make_functional_weights(saver: Saver) -> None:
    """The same model's weights alone: what `functional.keras` holds."""
    saver.save("functional.weights.h5", build_functional().save_weights)


def make_functional_legacy_weights(saver: Saver) -> None:
    """The same model's weights alone: what `functional.legacy.h5` holds."""
    model = build_functional()
    saver.save("functional.legacy_weights.h5", lambda path: save_legacy_weights(model, path))


def make_sequential(saver: Saver) -> None:
    """Uncompiled, with the names that Keras gives; every layout but shards."""
    fresh()
    parts = [keras.Input((3,)), layers.Dense(4, "relu"), layers.LayerNormalization(), layers.Dense(2)]
    model = keras.Sequential(parts)
    saver.save("sequential.keras", model.save)
    save_dir(saver, model, "sequential")
    saver.save("sequential.weights.h5", model.save_weights)
    saver.save("sequential.legacy.h5", model.save)
    saver.save("sequential.legacy_weights.h5", lambda path: save_legacy_weights(model, path))
    saver.text("sequential.json", model.to_json())


def make_mixed(saver: Saver) -> None:
    """A bfloat16 layer between float32 ones."""
    fresh()
    parts = [keras.Input((3,)), layers.Dense(4), layers.Dense(3, dtype="bfloat16"), layers.Dense(2, dtype="float32")]
    model = keras.Sequential(parts)
    saver.save("mixed.keras", model.save)
    saver.save("mixed.weights.h5", model.save_weights)


def make_text(saver: Saver) -> None:
    """An adapted vocabulary, kept as an asset."""
    fresh()
    vectorize = layers.TextVectorization(output_sequence_length=4, name="vectorize")
    vectorize.adapt(WORDS)
    parts = [keras.Input((1,), dtype="string"), vectorize, layers.Embedding(7, 3)]
    model = keras.Sequential([*parts, layers.GlobalAveragePooling1D(), layers.Dense(2)])
    saver.save("text.keras", model.save)
    save_dir(saver, model, "text")


def make_attention(saver: Saver) -> None:
    """Attention, a GRU and a wrapped Dense, trained with momentum."""
    fresh()
    sequence = keras.Input((4, 3), name="sequence")
    x = layers.MultiHeadAttention(2, 2, name="attention")(sequence, sequence)
    x = layers.GRU(3, return_sequences=True, name="gru")(x)
    x = layers.TimeDistributed(layers.Dense(2), name="each_step")(x)
    model = keras.Model(sequence, x, name="attention_model")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.MeanSquaredError())
    model.train_on_batch(SEQUENCE, np.zeros((2, 4, 2), "float32"))
    saver.save("attention.keras", model.save)


def make_many(saver: Saver) -> None:
    """Enough layers of one class that `dense_10` sorts before `dense_2`."""
    fresh()
    x = inputs = keras.Input((2,))
    for _ in range(12):
        x = layers.Dense(2)(x)
    model = keras.Model(inputs, x)
    saver.save("many.keras", model.save)
    saver.save("many.legacy.h5", model.save)


def make_names(saver: Saver) -> None:
    """A list of layer names that does not fit into one attribute."""
    fresh()
    x = inputs = keras.Input((2,), name="first")
    x = layers.Dense(2, name="before")(x)
    for name in long_names(20, 3300):
        x = layers.Activation("linear", name=name)(x)
    model = keras.Model(inputs, layers.Dense(2, name="after")(x), name="long_names")
    saver.save("names.legacy.h5", model.save)


MAKERS = {
    "functional": make_functional,
    "functional_weights": make_functional_weights,
    "functional_legacy_weights": make_functional_legacy_weights,
    "sequential": make_sequential,
    "mixed": make_mixed,
    "text": make_text,
    "attention": make_attention,
    "many": make_many,
    "names": make_names,
}

if __name__ == "__main__":
    run(MAKERS, keras.__version__, keras.backend.backend(), h5py.__version__)
