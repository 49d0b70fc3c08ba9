"""Save the golden models with tf.keras 2.12 to 2.15: save_tf2.py FOLDER ABOUT MODEL... (see run.py).

Not here: which models are saved with which version (run.py).
"""

from __future__ import annotations

import h5py
from keras import __version__ as release  # `import keras` itself is the API of TensorFlow 1 in 2.12
from saver import IMAGE, SEED, TARGET, TOKENS, WORDS, Saver, run
from tensorflow import keras
from tensorflow.keras import layers

try:
    from keras.src.saving import saving_lib
except ImportError:  # 2.12
    from keras.saving import saving_lib

NPZ_FROM = "2.15"
IS_2_12 = release.startswith("2.12")  # there `save_format="keras"` still means HDF5
ZIP = "keras_v3" if IS_2_12 else "keras"


def fresh() -> None:
    """Start automatic names from `dense` again, with the same seed."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)


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
    """Trained one step; the layouts that hold more than weights."""
    model = build_functional()
    saver.save("functional.keras", lambda path: model.save(path, save_format=ZIP))
    saver.save("functional.legacy.h5", lambda path: model.save(path, save_format="h5"))
    saver.text("functional.json", model.to_json())
    if release.startswith(NPZ_FROM):
        saver.save("functional.npz.keras", lambda path: saving_lib.save_model(model, path, weights_format="npz"))


def make_functional_weights(saver: Saver) -> None:
    """The same model's weights alone: what `functional.keras` holds."""
    saver.save("functional.weights.h5", build_functional().save_weights)


def make_functional_legacy_weights(saver: Saver) -> None:
    """The same model's weights alone: what `functional.legacy.h5` holds."""
    model = build_functional()
    saver.save("functional.legacy_weights.h5", lambda path: model.save_weights(path, save_format="h5"))


def make_sequential(saver: Saver) -> None:
    """Uncompiled, with the names that Keras gives; every layout of a single file."""
    fresh()
    parts = [keras.Input((3,)), layers.Dense(4, "relu"), layers.LayerNormalization(), layers.Dense(2)]
    model = keras.Sequential(parts)
    saver.save("sequential.keras", lambda path: model.save(path, save_format=ZIP))
    saver.save("sequential.weights.h5", model.save_weights)
    saver.save("sequential.legacy.h5", lambda path: model.save(path, save_format="h5"))
    saver.save("sequential.legacy_weights.h5", lambda path: model.save_weights(path, save_format="h5"))
    saver.text("sequential.json", model.to_json())
    if IS_2_12:
        saver.save("sequential.hdf5.keras", model.save)  # the suffix alone does not ask for a zip


def make_mixed(saver: Saver) -> None:
    """A bfloat16 layer between float32 ones."""
    fresh()
    parts = [keras.Input((3,)), layers.Dense(4), layers.Dense(3, dtype="bfloat16"), layers.Dense(2, dtype="float32")]
    model = keras.Sequential(parts)
    saver.save("mixed.keras", lambda path: model.save(path, save_format=ZIP))
    saver.save("mixed.weights.h5", model.save_weights)


def make_text(saver: Saver) -> None:
    """An adapted vocabulary, kept as an asset."""
    fresh()
    vectorize = layers.TextVectorization(output_sequence_length=4, name="vectorize")
    vectorize.adapt(WORDS)
    parts = [keras.Input((1,), dtype="string"), vectorize, layers.Embedding(7, 3)]
    model = keras.Sequential([*parts, layers.GlobalAveragePooling1D(), layers.Dense(2)])
    saver.save("text.keras", lambda path: model.save(path, save_format=ZIP))


def make_trivial(saver: Saver) -> None:
    """The smallest SavedModel."""
    fresh()
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    saver.save("trivial.savedmodel", lambda path: model.save(path, save_format="tf"))


MAKERS = {
    "functional": make_functional,
    "functional_weights": make_functional_weights,
    "functional_legacy_weights": make_functional_legacy_weights,
    "sequential": make_sequential,
    "mixed": make_mixed,
    "text": make_text,
    "trivial": make_trivial,
}

if __name__ == "__main__":
    run(MAKERS, release, "tensorflow", h5py.__version__)
