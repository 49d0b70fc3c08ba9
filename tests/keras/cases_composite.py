"""The configurations in which normalization, attention, recurrent layers and wrappers are compared with real Keras."""

from __future__ import annotations

from typing import Any, NamedTuple


class Spec(NamedTuple):
    """A layer to make: its class and arguments, among which further ones may be."""

    class_name: str
    options: dict[str, Any]


class Case(NamedTuple):
    """A configuration: the arguments, the shapes of the inputs, and how they are handed to the layer."""

    options: dict[str, Any]
    inputs: tuple[tuple[int | None, ...], ...]
    call: str = ""  # "list": [a, b]; "args": a, b; "state": a, initial_state=[b]; "" : the one
    batch: int | None = None


def layer(class_name: str, **options: Any) -> Spec:
    return Spec(class_name, options)


def one(*shape: int | None, **options: Any) -> Case:
    return Case(options, (shape,))


SEQUENCE = (5, 4)
ZEROS = {"recurrent_initializer": "zeros"}  # JAX has no orthogonal matrices in 16 bits
LSTM, GRU, RNN = layer("LSTMCell", units=3), layer("GRUCell", units=2), layer("SimpleRNNCell", units=3)

CASES: dict[str, list[Case]] = {
    "BatchNormalization": [
        one(4),
        one(6, 4, axis=1),
        one(6, 4, scale=False),
        one(6, 4, center=False, scale=False),
        one(3, 3, 4, renorm=True, axis=-3),
        one(4, renorm=True, center=False, renorm_clipping={"rmax": 2.0, "rmin": 0.5, "dmax": 1.0}),
        one(4, dtype="float16"),
        one(4, trainable=False),
    ],
    "LayerNormalization": [
        one(4),
        one(6, 4, axis=1),
        one(6, 4, axis=[1, 2]),
        one(6, 4, axis=[2, 1]),
        one(6, 4, axis=[1, -1]),
        one(6, 5, 4, axis=(-1, -2)),
        one(6, 4, scale=False),
        one(6, 4, center=False),
        one(6, 4, scale=False, center=False),
        one(6, 4, rms_scaling=True),
        one(6, 4, rms_scaling=True, scale=False),
        one(4, dtype="mixed_bfloat16"),
        one(4, trainable=False),
    ],
    "RMSNormalization": [one(4), one(6, 4, axis=1), one(6, 4, axis=[1, -1]), one(6, 4, axis=[2, 1]), one(4, dtype="bfloat16")],
    "GroupNormalization": [
        one(8, groups=4),
        one(6, 8, groups=-1),
        one(4, 6, groups=2, axis=1),
        one(8, groups=2, scale=False),
        one(8, groups=2, center=False),
        one(8, groups=8, center=False, scale=False),
        one(8, groups=1, dtype="mixed_float16"),
        one(8, groups=2, trainable=False),
    ],
    "UnitNormalization": [one(4), one(6, 4, axis=[1, 2]), one(6, 4, axis=1)],
    "SpectralNormalization": [
        one(4, layer=layer("Dense", units=3)),
        one(4, layer=layer("Dense", units=3, use_bias=False), power_iterations=2),
        one(4, layer=layer("Dense", units=3, trainable=False)),
        one(4, layer=layer("Dense", units=3), trainable=False),
        one(4, layer=layer("Dense", units=3, dtype="float16"), dtype="mixed_bfloat16"),
        one(4, layer=layer("SpectralNormalization", layer=layer("Dense", units=3))),
        one(6, 4, layer=layer("Conv1D", filters=3, kernel_size=2)),
        one(6, 6, 4, layer=layer("Conv2DTranspose", filters=3, kernel_size=2)),
        one(6, 4, layer=layer("EinsumDense", equation="abc,cd->abd", output_shape=(None, 3), bias_axes="d")),
        one(6, layer=layer("Embedding", input_dim=5, output_dim=3)),
        one(6, layer=layer("ReversibleEmbedding", input_dim=5, output_dim=3, tie_weights=False)),
    ],
    "Attention": [
        Case({}, ((5, 4), (6, 4)), "list"),
        Case({"use_scale": True}, ((5, 4), (6, 4)), "list"),
        Case({"score_mode": "concat"}, ((5, 4), (6, 3), (6, 4)), "list"),
        Case({"score_mode": "concat", "use_scale": True, "dropout": 0.5}, ((5, 4), (6, 4)), "list"),
        Case({"use_scale": True, "dtype": "mixed_float16"}, ((5, 4), (6, 4)), "list"),
        Case({"use_scale": True, "trainable": False}, ((5, 4), (6, 4)), "list"),
    ],
    "AdditiveAttention": [
        Case({}, ((5, 4), (6, 4)), "list"),
        Case({"use_scale": False}, ((5, 4), (6, 4)), "list"),
        Case({"dropout": 0.5}, ((5, 4), (6, 3), (6, 4)), "list"),
        Case({"dtype": "bfloat16"}, ((5, 4), (6, 4)), "list"),
    ],
    "MultiHeadAttention": [
        Case({"num_heads": 2, "key_dim": 3}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "value_dim": 5}, ((5, 4), (6, 7), (6, 8)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "use_bias": False, "use_gate": True, "value_dim": 4}, ((5, 4), (6, 7)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "use_gate": True}, ((5, 4), (6, 7)), "args"),
        Case({"num_heads": 1, "key_dim": 3, "output_shape": 7, "dropout": 0.1}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "output_shape": (2, 7)}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "attention_axes": (1,)}, ((5, 3, 4), (5, 3, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "attention_axes": (2, 3)}, ((5, 3, 4, 2), (5, 3, 4, 2)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "attention_axes": -2, "output_shape": (3, 2)}, ((5, 3, 4), (5, 3, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "flash_attention": True, "sliding_window": 2}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "dtype": "mixed_bfloat16"}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "dtype": "float16"}, ((None, 4), (None, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "trainable": False}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "dtype": "int8_from_float32"}, ((5, 4), (6, 4)), "args"),
        Case({"num_heads": 2, "key_dim": 3, "dtype": "int4_from_float32", "use_gate": True}, ((5, 4), (6, 4)), "args"),
    ],
    "GroupQueryAttention": [
        Case({"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}, ((5, 4), (6, 4)), "args"),
        Case({"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 2}, ((5, 4), (6, 4), (6, 7)), "args"),
        Case(
            {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 1, "use_gate": True, "use_bias": False},
            ((5, 4), (6, 4)),
            "args",
        ),
        Case({"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 1, "use_gate": True}, ((5, 4), (6, 4)), "args"),
        Case(
            {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "dtype": "float16", "dropout": 0.1},
            ((5, 4), (6, 4)),
            "args",
        ),
        Case({"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "trainable": False}, ((5, 4), (6, 4)), "args"),
        Case(
            {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "dtype": "int8_from_float32"},
            ((5, 4), (6, 4)),
            "args",
        ),
    ],
    **{
        name: [
            one(*SEQUENCE, units=3),
            one(None, 4, units=3, return_sequences=True),
            one(*SEQUENCE, units=3, return_state=True, use_bias=False),
            one(*SEQUENCE, units=3, return_state=True, return_sequences=True, go_backwards=True, unroll=True),
            one(*SEQUENCE, units=3, dropout=0.1, recurrent_dropout=0.1, seed=1),
            one(*SEQUENCE, units=3, dtype="mixed_float16"),
            one(*SEQUENCE, units=3, dtype="bfloat16", **ZEROS),
            one(*SEQUENCE, units=3, trainable=False),
            one(*SEQUENCE, units=3, dtype="int8_from_float32"),
            Case({"units": 3, "stateful": True}, (SEQUENCE,), batch=2),
            Case({"units": 3, "return_state": True}, (SEQUENCE, *[(3,)] * (2 if name == "LSTM" else 1)), "state"),
            *([one(*SEQUENCE, units=3, reset_after=False)] if name == "GRU" else []),
            *([one(*SEQUENCE, units=3, unit_forget_bias=False)] if name == "LSTM" else []),
        ]
        for name in ("LSTM", "GRU", "SimpleRNN")
    },
    "ConvLSTM1D": [
        one(5, 6, 2, filters=3, kernel_size=2),
        one(5, 6, 2, filters=3, kernel_size=(3,), padding="same", strides=2, return_sequences=True),
        one(5, 2, 6, filters=3, kernel_size=2, data_format="channels_first", return_state=True),
        one(5, 9, 2, filters=3, kernel_size=3, dilation_rate=2, use_bias=False, return_state=True, return_sequences=True),
        one(5, 6, 2, filters=3, kernel_size=2, dtype="mixed_bfloat16"),
        one(5, 6, 2, filters=3, kernel_size=2, trainable=False),
        Case({"filters": 3, "kernel_size": 2, "stateful": True}, ((5, 6, 2),), batch=2),
        Case({"filters": 3, "kernel_size": 2}, ((5, 6, 2), (5, 3), (5, 3)), "state"),
    ],
    "ConvLSTM2D": [
        one(5, 6, 7, 2, filters=3, kernel_size=2),
        one(5, 6, 7, 2, filters=3, kernel_size=(2, 3), padding="same", strides=(2, 3), return_sequences=True),
        one(5, 2, 6, 7, filters=3, kernel_size=(1, 2), data_format="channels_first", return_sequences=True, return_state=True),
        one(None, 6, 7, 2, filters=3, kernel_size=2, dropout=0.1, recurrent_dropout=0.1, unit_forget_bias=False),
    ],
    "ConvLSTM3D": [
        one(3, 4, 5, 6, 2, filters=3, kernel_size=2),
        one(3, 4, 5, 6, 2, filters=3, kernel_size=(1, 2, 3), padding="same", return_sequences=True, use_bias=False),
    ],
    "RNN": [
        one(*SEQUENCE, cell=LSTM),
        one(*SEQUENCE, cell=GRU, return_sequences=True),
        one(*SEQUENCE, cell=RNN, return_state=True, return_sequences=True),
        one(*SEQUENCE, cell=[LSTM, GRU, RNN], return_state=True),
        one(*SEQUENCE, cell=[LSTM, LSTM, GRU, LSTM], return_sequences=True),
        one(*SEQUENCE, cell=[GRU], return_state=True),
        one(*SEQUENCE, cell=layer("StackedRNNCells", cells=[LSTM, GRU], name="stack"), trainable=False),
        one(*SEQUENCE, cell=layer("LSTMCell", units=3, trainable=False), dtype="mixed_float16"),
        one(*SEQUENCE, cell=layer("GRUCell", units=3, dtype="float16", reset_after=False, use_bias=False, **ZEROS)),
        one(*SEQUENCE, cell=layer("StackedRNNCells", cells=[layer("StackedRNNCells", cells=[GRU, RNN]), LSTM])),
        Case({"cell": LSTM}, (SEQUENCE, (3,), (3,)), "state"),
        Case({"cell": GRU, "stateful": True}, (SEQUENCE,), batch=2),
    ],
    "Bidirectional": [
        *(one(*SEQUENCE, layer=layer("LSTM", units=3), merge_mode=mode) for mode in ("concat", "sum", "mul", "ave", None)),
        one(*SEQUENCE, layer=layer("GRU", units=3, return_sequences=True)),
        one(*SEQUENCE, layer=layer("LSTM", units=3, return_state=True)),
        one(*SEQUENCE, layer=layer("SimpleRNN", units=3, return_state=True, return_sequences=True), merge_mode=None),
        one(
            *SEQUENCE,
            layer=layer("LSTM", units=3, name="ahead"),
            backward_layer=layer("GRU", units=3, go_backwards=True, name="back", dtype="float16", **ZEROS),
        ),
        one(
            *SEQUENCE,
            layer=layer("LSTM", units=3, name="forward_x"),
            backward_layer=layer("LSTM", units=2, go_backwards=True, trainable=False),
        ),
        one(*SEQUENCE, layer=layer("RNN", cell=[LSTM, GRU], return_sequences=True)),
        one(3, 4, 4, 2, layer=layer("ConvLSTM2D", filters=2, kernel_size=2)),
        one(*SEQUENCE, layer=layer("LSTM", units=3), trainable=False),
        one(*SEQUENCE, layer=layer("LSTM", units=3, trainable=False), dtype="mixed_float16"),
        Case({"layer": layer("LSTM", units=3, return_sequences=True, stateful=True)}, (SEQUENCE,), batch=2),
        Case({"layer": layer("LSTM", units=3)}, (SEQUENCE, *[(3,)] * 4), "state"),
    ],
    "TimeDistributed": [
        one(*SEQUENCE, layer=layer("Dense", units=3)),
        one(None, 4, layer=layer("Dense", units=3, dtype="float16"), dtype="mixed_float16"),
        one(5, 6, 6, 2, layer=layer("Conv2D", filters=3, kernel_size=2)),
        one(3, *SEQUENCE, layer=layer("LSTM", units=3, return_sequences=True)),
        one(3, *SEQUENCE, layer=layer("TimeDistributed", layer=layer("Dense", units=3))),
        one(3, *SEQUENCE, layer=layer("Bidirectional", layer=layer("GRU", units=3))),
        one(*SEQUENCE, layer=layer("SpectralNormalization", layer=layer("Dense", units=3))),
        one(*SEQUENCE, layer=layer("BatchNormalization"), trainable=False),
        one(*SEQUENCE, layer=layer("Dense", units=3, trainable=False)),
        one(*SEQUENCE, layer=layer("Dropout", rate=0.5)),
    ],
}
# No layers for a Functional model of their own, or none that can be called: tested inside others.
INSIDE = ("Wrapper", "StackedRNNCells", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTMCell")
