"""Run by the Python of one Keras install, by check_targets.py: save small models, or try to load files.

python targets_with.py save FOLDER          one .keras file for each model that this version can make
python targets_with.py load JOBS RESULTS    for each path: "loaded", or why not
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import keras

warnings.simplefilter("ignore")
L = keras.layers


def sequential(shape, *layers, dtype=None):
    return keras.Sequential([keras.Input(shape) if dtype is None else keras.Input(shape, dtype=dtype), *layers])


def functional(shape, call, dtype=None):
    x = keras.Input(shape) if dtype is None else keras.Input(shape, dtype=dtype)
    return keras.Model(x, call(x))


def compiled(model, **options):
    model.compile(**options)
    with contextlib.suppress(Exception):
        model.optimizer.build(model.trainable_variables)
    return model


def dense(**options):
    return sequential((4,), L.Dense(3, **options))


def schedules():
    return keras.optimizers.schedules


MODELS = {
    "dense": dense,
    "dense-activation": lambda: dense(activation="gelu", kernel_regularizer="l2", kernel_constraint="max_norm"),
    "dense-initializers": lambda: dense(
        kernel_initializer=keras.initializers.HeNormal(seed=3), bias_initializer=keras.initializers.Constant(0.5)
    ),
    "dense-mixed": lambda: dense(dtype="mixed_bfloat16"),
    "dense-celu": lambda: dense(activation="celu"),
    "dense-glu": lambda: dense(activation="sparse_plus"),
    "einsum": lambda: sequential((4, 3), L.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")),
    "embedding": lambda: sequential((4,), L.Embedding(7, 3), dtype="int32"),
    "conv": lambda: sequential((8, 8, 3), L.Conv2D(4, 3), L.MaxPooling2D(), L.Flatten()),
    "conv-more": lambda: sequential(
        (8, 8, 3), L.SeparableConv2D(4, 3), L.DepthwiseConv2D(3), L.Conv2DTranspose(2, 3), L.UpSampling2D()
    ),
    "conv-1d": lambda: sequential((8, 3), L.Conv1D(4, 3), L.ZeroPadding1D(1), L.Cropping1D(1), L.GlobalMaxPooling1D()),
    "adaptive-pool": lambda: sequential((8, 8, 3), L.AdaptiveAveragePooling2D(2)),
    "batch-norm": lambda: sequential((4,), L.BatchNormalization()),
    "layer-norm": lambda: sequential((4,), L.LayerNormalization(), L.UnitNormalization()),
    "group-norm": lambda: sequential((4, 4), L.GroupNormalization(2)),
    "rms-norm": lambda: sequential((4,), L.RMSNormalization()),
    "spectral": lambda: sequential((4,), L.SpectralNormalization(L.Dense(3))),
    "lstm": lambda: sequential((5, 3), L.LSTM(4)),
    "gru": lambda: sequential((5, 3), L.GRU(4, return_sequences=True), L.SimpleRNN(2)),
    "rnn-cell": lambda: sequential((5, 3), L.RNN([L.LSTMCell(3), L.GRUCell(2)])),
    "bidirectional": lambda: sequential((5, 3), L.Bidirectional(L.LSTM(2)), L.Dense(2)),
    "time-distributed": lambda: sequential((5, 3), L.TimeDistributed(L.Dense(2))),
    "conv-lstm": lambda: sequential((3, 6, 6, 2), L.ConvLSTM2D(2, 3)),
    "attention": lambda: functional((5, 3), lambda x: L.MultiHeadAttention(2, 2)(x, x)),
    "grouped-attention": lambda: functional((5, 4), lambda x: L.GroupQueryAttention(2, 2, 1)(x, x)),
    "attention-plain": lambda: functional((5, 3), lambda x: L.Attention()([x, x])),
    "additive-attention": lambda: functional((5, 3), lambda x: L.AdditiveAttention()([x, x])),
    "dropout": lambda: sequential(
        (4,), L.Dropout(0.5), L.GaussianNoise(0.1), L.AlphaDropout(0.1), L.ActivityRegularization(0.1)
    ),
    "spatial-dropout": lambda: sequential((4, 3), L.SpatialDropout1D(0.5)),
    "activations": lambda: sequential((4,), L.ReLU(), L.LeakyReLU(), L.PReLU(), L.ELU(), L.Softmax(), L.Activation("tanh")),
    "reshaping": lambda: sequential((4,), L.Reshape((2, 2)), L.Permute((2, 1)), L.Flatten(), L.RepeatVector(2)),
    "masking": lambda: sequential((4, 3), L.Masking(), L.LSTM(2)),
    "merge": lambda: functional((4,), lambda x: L.Concatenate()([L.Add()([x, x]), L.Multiply()([x, x]), L.Dot(1)([x, x])])),
    "operators": lambda: functional((4,), lambda x: L.Dense(2)(x * 2 + 1)),
    "ops": lambda: functional((4,), lambda x: keras.ops.relu(keras.ops.sum(x, axis=1))),
    "ops-new": lambda: functional((4,), lambda x: keras.ops.celu(x)),
    "nested": lambda: functional((4,), lambda x: keras.Sequential([keras.Input((4,)), L.Dense(3)], name="inner")(x)),
    "nested-functional": lambda: functional((4,), lambda x: functional((4,), lambda y: L.Dense(2)(y))(x)),
    "not-built": lambda: keras.Sequential([L.Dense(3)]),
    "rescaling": lambda: sequential((8, 8, 3), L.Rescaling(0.5), L.Resizing(4, 4), L.CenterCrop(2, 2)),
    "augmentation": lambda: sequential(
        (8, 8, 3), L.RandomFlip(), L.RandomRotation(0.1), L.RandomZoom(0.1), L.RandomContrast(0.1)
    ),
    "augmentation-new": lambda: sequential((8, 8, 3), L.RandomHue(0.1), L.AutoContrast()),
    "normalization": lambda: sequential((4,), L.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)),
    "category": lambda: sequential((4,), L.CategoryEncoding(num_tokens=5), dtype="int32"),
    "discretization": lambda: sequential((4,), L.Discretization(bin_boundaries=[0.0, 1.0])),
    "hashing": lambda: sequential((4,), L.Hashing(3), dtype="int32"),
    "lookup": lambda: sequential((4,), L.IntegerLookup(vocabulary=[1, 2, 3]), dtype="int64"),
    "identity": lambda: sequential((4,), L.Identity()),
    "mel": lambda: sequential((16000,), L.MelSpectrogram()),
    "reversible": lambda: functional((4,), lambda x: L.ReversibleEmbedding(7, 3)(x), dtype="int32"),
    "optional-input": lambda: keras.Model(*next((x, L.Dense(2)(x)) for x in [keras.Input((4,), optional=False)])),
    "quantized": lambda: _quantized("int8"),
    "quantized-4": lambda: _quantized("int4"),
    "float8": lambda: _quantized("float8"),
    "lora": lambda: sequential((4,), L.Dense(3, lora_rank=2)),
    "policy-map": lambda: _policy_map(),
    **{
        f"compiled-{name.lower()}": lambda name=name: compiled(dense(), optimizer=getattr(keras.optimizers, name)(), loss="mse")
        for name in (
            "SGD",
            "Adam",
            "AdamW",
            "RMSprop",
            "Adagrad",
            "Adadelta",
            "Adamax",
            "Nadam",
            "Ftrl",
            "Lion",
            "Adafactor",
            "Lamb",
            "Muon",
        )
    },
    "compiled-metrics": lambda: compiled(
        dense(), optimizer="adam", loss=keras.losses.MeanAbsoluteError(), metrics=["mae", keras.metrics.AUC()]
    ),
    "compiled-focal": lambda: compiled(dense(), optimizer="sgd", loss=keras.losses.CategoricalFocalCrossentropy()),
    "compiled-dice": lambda: compiled(dense(), optimizer="sgd", loss=keras.losses.Dice()),
    "compiled-schedule": lambda: compiled(
        dense(), optimizer=keras.optimizers.SGD(schedules().CosineDecay(0.1, 10)), loss="mae"
    ),
    "compiled-accumulating": lambda: compiled(
        dense(), optimizer=keras.optimizers.Adam(gradient_accumulation_steps=2), loss="mse"
    ),
    "compiled-scaled": lambda: compiled(
        dense(dtype="mixed_float16"), optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), loss="mse"
    ),
}


def _quantized(mode):
    model = dense()
    model.quantize(mode)
    return model


def _policy_map():
    policies = keras.dtype_policies.DTypePolicyMap()
    policies["d"] = keras.dtype_policies.DTypePolicy("bfloat16")
    return sequential((4,), L.Dense(3, name="d", dtype=policies))


def reset():
    for module in (getattr(keras, "backend", None), getattr(keras, "utils", None)):
        with contextlib.suppress(Exception):
            module.clear_session()
            return


def save(folder):
    for name, make in MODELS.items():
        reset()
        path = os.path.join(folder, name + ".keras")
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                make().save(path)
        except Exception:
            with contextlib.suppress(OSError):
                os.remove(path)


def load(jobs, results):
    found = {}
    with open(jobs) as file:
        paths = json.load(file)
    for name, path in paths.items():
        reset()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                if path.endswith(".json"):
                    with open(path) as file:
                        keras.models.model_from_json(file.read())
                else:
                    keras.models.load_model(path)
            found[name] = "loaded"
        except Exception as error:
            lines = [line for line in str(error).split("\n") if line.strip()] or [""]
            reason = next((line for line in lines if line.startswith("Exception encountered")), lines[0])
            found[name] = f"{type(error).__name__}: {reason}".replace(path, os.path.basename(path))[:120]
    with open(results, "w") as file:
        json.dump({"keras": keras.__version__, "results": found}, file)


if __name__ == "__main__":
    save(sys.argv[2]) if sys.argv[1] == "save" else load(sys.argv[2], sys.argv[3])
