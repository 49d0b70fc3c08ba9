"""Write the JSON files beside this one: models of real KerasHub layers, and what real Keras writes for them.

KERAS_BACKEND=jax PYTHONPATH=tests/keras:. python tests/data/keras_hub/record.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def models() -> dict[str, Any]:
    import keras
    from keras_hub import layers

    def encoders() -> Any:
        first = keras.Input((5, 8))
        value = layers.TransformerEncoder(12, 2, dropout=0.1, normalize_first=True)(first)
        value = layers.TransformerEncoder(12, 4, activation="gelu", dtype="mixed_bfloat16", name="half")(value)
        frozen = layers.TransformerEncoder(7, 3, trainable=False)
        return keras.Model(first, keras.layers.Dense(3)(frozen(value)))

    def decoders() -> Any:
        first, second = keras.Input((None, 8)), keras.Input((6, 4))
        value = layers.TransformerDecoder(12, 2)(first)
        value = layers.TransformerDecoder(12, 2, dtype="float16")(value, second)
        return keras.Model([first, second], keras.layers.Dense(3)(value))

    def masked() -> Any:
        words, places = keras.Input((5,), dtype="int32"), keras.Input((2,), dtype="int32")
        value = layers.TokenAndPositionEmbedding(11, 7, 8, tie_weights=False)(words)
        value = layers.TransformerEncoder(12, 2)(layers.RotaryEmbedding()(value))
        return keras.Model([words, places], layers.MaskedLMHead(vocabulary_size=11)(value, mask_positions=places))

    def shared() -> Any:
        """The head has the embedding that stands in the graph."""
        words, places = keras.Input((5,), dtype="int32"), keras.Input((2,), dtype="int32")
        embedding = layers.ReversibleEmbedding(11, 8)
        value = embedding(words)
        value = keras.layers.Add()([value, layers.SinePositionEncoding()(value), layers.PositionEmbedding(7)(value)])
        return keras.Model([words, places], layers.MaskedLMHead(token_embedding=embedding)(value, mask_positions=places))

    def hidden() -> Any:
        """The head has the embedding of another layer, which no config tells."""
        words, places = keras.Input((5,), dtype="int32"), keras.Input((2,), dtype="int32")
        both = layers.TokenAndPositionEmbedding(11, 7, 8)
        value = both(words)
        return keras.Model(
            [words, places], layers.MaskedLMHead(token_embedding=both.token_embedding)(value, mask_positions=places)
        )

    def unknown() -> Any:
        first = keras.Input((5, 8))
        value = layers.FNetEncoder(12)(keras.layers.Dense(8)(first))
        value = layers.TransformerEncoder(12, 2)(keras.layers.LayerNormalization()(value))
        return keras.Model(first, keras.layers.Dense(3)(value))

    found = {}
    for make in (encoders, decoders, masked, shared, hidden, unknown):
        keras.utils.clear_session()
        found[make.__name__] = make()
    return found


def record(model: Any) -> dict[str, Any]:
    """The config, the arrays in the order of the file, the groups, and the shapes of what goes through the layers."""
    import keras
    from trees import config_of, recorded

    arrays, groups = recorded(model)
    outputs = {}
    for layer in model.layers:
        if type(layer).__module__.startswith("keras_hub."):
            shapes = [list(it.shape) for it in keras.tree.flatten(layer.input)]
            outputs[layer.name] = [shapes, list(layer.output.shape)]
    return {
        "config": json.loads(config_of(model)),
        "arrays": [[it.path, list(it.shape), it.dtype, it.name, it.trainable] for it in arrays],
        "groups": groups,
        "paths": [variable.path for variable in model.trainable_variables],
        "outputs": outputs,
    }


if __name__ == "__main__":
    import keras
    import keras_hub

    for name, model in models().items():
        entry = {"keras": keras.__version__, "keras_hub": keras_hub.__version__, **record(model)}
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entry.items())
        Path(__file__).with_name(f"{name}.json").write_text(f"{{\n{lines}\n}}\n", "utf-8")
