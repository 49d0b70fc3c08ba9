"""A layer after an input of any shape, built and not: what real Keras refuses is an error, what it loads is none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from graph_findings import found_in

pytestmark = [pytest.mark.keras, pytest.mark.slow, pytest.mark.xdist_group("keras-jax")]

# Class, arguments, and the shape that the layer was built for.
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Dense", {"units": 3}, (4,)),
    ("Conv1D", {"filters": 2, "kernel_size": 2}, (5, 4)),
    ("Conv2D", {"filters": 2, "kernel_size": 2}, (5, 5, 3)),
    ("Conv2D", {"filters": 2, "kernel_size": 2, "data_format": "channels_first"}, (3, 5, 5)),
    ("Conv3D", {"filters": 2, "kernel_size": 2}, (4, 4, 4, 2)),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 2}, (5, 4)),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2}, (5, 5, 3)),
    ("SeparableConv1D", {"filters": 2, "kernel_size": 2}, (5, 4)),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 2}, (5, 5, 3)),
    ("DepthwiseConv2D", {"kernel_size": 2}, (5, 5, 3)),
    ("BatchNormalization", {}, (4,)),
    ("BatchNormalization", {"axis": 1}, (5, 4)),
    ("LayerNormalization", {}, (5, 4)),
    ("GroupNormalization", {"groups": 2}, (5, 4)),
    ("RMSNormalization", {}, (4,)),
    ("UnitNormalization", {}, (4,)),
    ("Embedding", {"input_dim": 5, "output_dim": 3}, (4,)),
    ("SimpleRNN", {"units": 2}, (5, 4)),
    ("LSTM", {"units": 2, "return_sequences": True}, (5, 4)),
    ("GRU", {"units": 2}, (5, 4)),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 2}, (4, 5, 3)),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": 2}, (4, 5, 5, 3)),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3)}, (5, 4)),
    ("PReLU", {}, (4,)),
    ("PReLU", {"shared_axes": [1]}, (5, 4)),
    ("Flatten", {}, (5, 4)),
    ("Reshape", {"target_shape": (10, 2)}, (5, 4)),
    ("Reshape", {"target_shape": (-1, 2)}, (5, 4)),
    ("Permute", {"dims": (2, 1)}, (5, 4)),
    ("RepeatVector", {"n": 2}, (4,)),
    ("UpSampling1D", {"size": 2}, (5, 4)),
    ("UpSampling2D", {"size": 2}, (5, 5, 3)),
    ("ZeroPadding1D", {"padding": 1}, (5, 4)),
    ("ZeroPadding2D", {"padding": 1}, (5, 5, 3)),
    ("Cropping1D", {"cropping": 1}, (5, 4)),
    ("Cropping2D", {"cropping": 1}, (5, 5, 3)),
    ("Cropping3D", {"cropping": 1}, (4, 4, 4, 2)),
    ("MaxPooling1D", {"pool_size": 2}, (5, 4)),
    ("MaxPooling2D", {"pool_size": 2, "padding": "same"}, (5, 5, 3)),
    ("AveragePooling2D", {"pool_size": 2}, (5, 5, 3)),
    ("GlobalMaxPooling1D", {}, (5, 4)),
    ("GlobalAveragePooling2D", {}, (5, 5, 3)),
    ("SpatialDropout1D", {"rate": 0.1}, (5, 4)),
    ("Dropout", {"rate": 0.1}, (4,)),
    ("Normalization", {}, (4,)),
    ("CenterCrop", {"height": 3, "width": 3}, (5, 5, 3)),
]
SHAPES: list[tuple[int | None, ...]] = [
    *((), (4,), (None,), (5, 4), (1, 4), (None, 4), (7, 6), (5, 5, 3), (1, 1, 3), (None, None, 3), (4, 5, 3)),
    *((4, 4, 4, 2), (1, 1, 1, 2), (None, None, None, None)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "arguments", "own"), CASES, ids=lambda it: it if isinstance(it, str) else "")
def test_cf060_shapes_are_refused_as_keras_does(
    name: str, arguments: dict[str, Any], own: tuple[int, ...], tmp_path: Path
) -> None:
    import keras

    live = keras.Sequential([keras.Input(own, name="i"), getattr(keras.layers, name)(**arguments)])
    config = json.loads(live.to_json())
    config.pop("build_config", None)
    config["config"].pop("build_input_shape", None)
    head, layer = config["config"]["layers"]
    wrong = []
    for shape in SHAPES:
        for built in (True, False):
            head["config"]["batch_shape"] = [None, *shape]
            entry = copy.deepcopy(layer)
            if not built:
                entry.pop("build_config", None)
            config["config"]["layers"] = [head, entry]
            found = [it for it in found_in(config, tmp_path) if it.severity == "error"]
            try:
                keras.saving.deserialize_keras_object(copy.deepcopy(config))
            except Exception as error:  # of any class: a config is not looked at before it is used
                if not found:
                    wrong.append(f"{shape}, built {built}: Keras refuses it: {error!s:.200}")
            else:
                wrong.extend(f"{shape}, built {built}: Keras loads it: {it}" for it in found)
    assert wrong == []
