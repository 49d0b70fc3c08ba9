"""Preprocessing layers: what refser expects is what real Keras writes.  JAX backend.

What works on words or hashes needs TensorFlow on every backend; without it these cases are skipped.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from refser.errors import RefserError
from refser.rules.layer import Layer, Unknown
from refser.rules.table import rule_for
from refser.rules.tree import NEWEST, expected_weights

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-jax")]

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
WITH_TENSORFLOW = ("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization")
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason="works with TensorFlow alone, which is not installed")


class Case(NamedTuple):
    """A configuration: the arguments, the shapes of the inputs, their type, and what the layer is adapted to."""

    options: dict[str, Any]
    inputs: tuple[tuple[int | None, ...], ...]
    of: str = "float32"
    adapt: Any = None
    batch: bool = True


def one(*shape: int | None, of: str = "float32", adapt: Any = None, batch: bool = True, **options: Any) -> Case:
    return Case(options, (shape,), of, adapt, batch)


def words(*shape: int | None, **options: Any) -> Case:
    return one(*shape, of="string", **options)


def numbers(*shape: int | None, **options: Any) -> Case:
    return one(*shape, of="int64", **options)


IMAGE, LEADING = (9, 8, 3), {"data_format": "channels_first"}
IDF, ABC = {"idf_weights": [0.1, 0.2, 0.3], "output_mode": "tf_idf"}, ["a", "b", "c"]
CASES: dict[str, list[Case]] = {
    "Normalization": [
        one(4),
        one(5, 4, axis=None),
        one(5, 4, axis=1),
        one(5, 4, axis=[1, 2]),
        one(5, 4, axis=(-1, 1)),
        one(5, 6, 4, axis=(-1, 1), invert=True),
        one(None, 4, dtype="float16"),
        one(4, dtype="mixed_bfloat16", trainable=False),
        one(4, mean=1.0, variance=2.0),
        one(3, mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]),
        one(3, adapt=[[1.0, 2.0, 3.0]]),
        one(2, 3, axis=None, adapt=[[[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]]),
    ],
    "Discretization": [
        one(4, bin_boundaries=[0.0, 1.0]),
        one(4, num_bins=3),
        one(4, num_bins=3, adapt=[0.0, 1.0, 2.0, 3.0, 4.0]),
        one(4, num_bins=3, adapt=[0.0, 1.0, 2.0, 3.0, 4.0], output_mode="one_hot"),
        *(one(4, bin_boundaries=[0.0, 1.0], output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        *(one(1, bin_boundaries=[0.0, 1.0], output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        one(3, 2, bin_boundaries=[0.0], output_mode="count"),
        one(bin_boundaries=[0.0], output_mode="one_hot"),
        one(bin_boundaries=[0.0], output_mode="count"),
    ],
    "CategoryEncoding": [
        *(numbers(4, num_tokens=5, output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        *(numbers(1, num_tokens=5, output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        *(numbers(num_tokens=5, output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        one(batch=False, num_tokens=5, of="int64"),
        numbers(2, 3, num_tokens=5, output_mode="one_hot", dtype="float16"),
    ],
    "Hashing": [
        numbers(4, num_bins=3),
        words(4, num_bins=3, salt=1, mask_value=""),
        *(words(4, num_bins=3, output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        *(numbers(1, num_bins=3, output_mode=mode) for mode in ("one_hot", "multi_hot", "count")),
        one(batch=False, of="string", num_bins=3, output_mode="one_hot"),
    ],
    "HashedCrossing": [
        Case({"num_bins": 5}, ((1,), (1,)), "int64"),
        Case({"num_bins": 5, "output_mode": "one_hot"}, ((1,), (1,)), "string"),
        Case({"num_bins": 5, "output_mode": "one_hot"}, ((), ()), "string"),
        Case({"num_bins": 5}, ((), ()), "string"),
    ],
    "IntegerLookup": [
        numbers(4, vocabulary=[3, 4, 5]),
        numbers(4, vocabulary=[3, 4, 5], num_oov_indices=0),
        numbers(4, adapt=[[3], [4]]),
        numbers(4, max_tokens=9, vocabulary=[3], output_mode="multi_hot", pad_to_max_tokens=True),
        numbers(1, vocabulary=[3], output_mode="one_hot", mask_token=0),
        numbers(4, vocabulary=[3, 4, 5], **IDF),
        numbers(4, vocabulary=[-1, 4, 5], **IDF),
        numbers(4, vocabulary=[-2, 4, 5], oov_token=-2, **IDF),
        numbers(4, vocabulary=[-1, -1, 5], num_oov_indices=2, **IDF),
        numbers(4, vocabulary=[3, 4, 5], num_oov_indices=7, **IDF),
        numbers(4, adapt=[[3], [4], [7]], output_mode="tf_idf"),
        numbers(4, adapt=[[3], [4], [7]], output_mode="tf_idf", max_tokens=2),
        numbers(4, adapt=[[3], [4], [7]], output_mode="tf_idf", max_tokens=20, pad_to_max_tokens=True),
    ],
    "StringLookup": [
        words(4, vocabulary=ABC),
        words(4, vocabulary=ABC, invert=True),
        words(4, adapt=[ABC]),
        words(4, max_tokens=9, vocabulary=ABC, output_mode="count", pad_to_max_tokens=True),
        words(vocabulary=ABC, output_mode="one_hot"),
        words(1, adapt=[ABC], output_mode="one_hot"),
        words(2, adapt=[ABC], output_mode="one_hot"),
        words(4, vocabulary=ABC, encoding="latin-1", **IDF),
        words(4, vocabulary=["[UNK]", "b", "c"], **IDF),
        words(4, vocabulary=["", "b", "c"], mask_token=None, **IDF),
        words(4, vocabulary=ABC, mask_token="", num_oov_indices=3, **IDF),
        words(4, vocabulary=["?", "b", "c"], oov_token="?", **IDF),
        words(4, vocabulary=ABC, max_tokens=10, pad_to_max_tokens=True, **IDF),
        words(4, adapt=[ABC], output_mode="tf_idf", num_oov_indices=0),
        words(4, adapt=[ABC], output_mode="tf_idf", trainable=False),
    ],
    "TextVectorization": [
        words(1, vocabulary=ABC),
        words(vocabulary=ABC, output_sequence_length=5),
        words(1, adapt=["a b", "b c d"]),
        words(1, adapt=["a b", "b c d"], output_mode="multi_hot", ngrams=2),
        words(1, vocabulary=ABC, output_mode="count", split="character", standardize="lower"),
        words(1, adapt=["a b", "b c d"], split=None, output_mode="count", standardize=None),
        words(adapt=["a b", "b c d"], split=None, output_mode="multi_hot"),
        words(1, adapt=["a b", "b c d"], output_mode="tf_idf"),
        words(1, adapt=["a b", "b c d"], output_mode="tf_idf", max_tokens=3),
        words(1, adapt=["a b", "b c d"], output_mode="tf_idf", max_tokens=30, pad_to_max_tokens=True),
        words(1, vocabulary=ABC, name="texts", **IDF),
        words(1, vocabulary=["[UNK]", "b", "c"], **IDF),
        words(1, vocabulary=ABC, dtype="float16", **IDF),
    ],
    "MelSpectrogram": [
        one(8000),
        one(None, sequence_stride=100, num_mel_bins=7, fft_length=512, sequence_length=300),
        one(8000, batch=False, num_mel_bins=7),
        one(8001, sequence_stride=333, dtype="mixed_float16"),
    ],
    "STFTSpectrogram": [
        *(one(800, 2, mode=mode, frame_length=20) for mode in ("log", "magnitude", "psd", "real", "imag", "angle", "stft")),
        one(800, 2, frame_length=1, frame_step=1),
        one(800, 2, frame_length=3, frame_step=2, fft_length=9, padding="same", dtype="float16"),
        one(800, 2, expand_dims=True),
        one(2, 800, expand_dims=True, mode="stft", data_format="channels_first"),
        one(2, 800, data_format="channels_first", padding="same", trainable=False),
        one(None, 2, frame_length=20),
    ],
    "Rescaling": [one(4, scale=2.0), one(5, 4, scale=[1.0, 2.0, 3.0, 4.0], offset=1)],
    "Resizing": [
        one(*IMAGE, height=4, width=5),
        one(None, None, 3, height=4, width=5, crop_to_aspect_ratio=True),
        one(3, 9, 8, height=4, width=5, pad_to_aspect_ratio=True, **LEADING),
        one(*IMAGE, height=4, width=5, batch=False),
        one(3, 9, 8, height=4, width=5, batch=False, **LEADING),
    ],
    "CenterCrop": [one(*IMAGE, height=4, width=5), one(3, 9, 8, height=4, width=5, **LEADING), one(*IMAGE, height=20, width=9)],
    "RandomCrop": [
        one(*IMAGE, height=4, width=5),
        one(3, 9, 8, height=4, width=5, seed=1, **LEADING),
        one(*IMAGE, height=4, width=5, batch=False),
    ],
    "RandAugment": [one(*IMAGE), one(*IMAGE, num_ops=1, factor=0.2, name="augmented", dtype="float16")],
    "AugMix": [one(*IMAGE), one(*IMAGE, all_ops=False), one(3, 9, 8, num_chains=1, **LEADING)],
    "RandomColorJitter": [
        one(*IMAGE),
        one(*IMAGE, brightness_factor=0.2, hue_factor=0.1),
        one(*IMAGE, brightness_factor=0.2, contrast_factor=0.2, saturation_factor=0.1, hue_factor=0.1),
    ],
    "MaxNumBoundingBoxes": [one(*IMAGE, max_number=3)],
    **{
        name: [one(*IMAGE), one(3, 9, 8, **LEADING), one(*IMAGE, batch=False)]
        for name in ("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix", "Equalization", "MixUp")
    },
    **{
        f"Random{name}": [one(*IMAGE, **{argument: 0.3}), one(3, 9, 8, seed=1, **{argument: 0.2}, **LEADING)]
        for name, argument in (
            *((name, "factor") for name in ("Brightness", "ColorDegeneration", "Contrast", "ElasticTransform", "Erasing")),
            *((name, "factor") for name in ("GaussianBlur", "Grayscale", "Hue", "Invert", "Perspective", "Rotation")),
            *((name, "factor") for name in ("Saturation", "Sharpness")),
            *(("Shear", "x_factor"), ("Zoom", "height_factor")),
        )
    },
    "RandomFlip": [one(*IMAGE), one(3, 9, 8, mode="vertical", **LEADING)],
    "RandomPosterization": [one(*IMAGE, factor=3), one(3, 9, 8, factor=8, **LEADING)],
    "RandomTranslation": [
        one(*IMAGE, height_factor=0.1, width_factor=0.1),
        one(*IMAGE, height_factor=0.1, width_factor=(0, 0.2)),
    ],
    "Solarization": [one(*IMAGE), one(3, 9, 8, addition_factor=0.3, threshold_factor=0.3, **LEADING)],
}
APART = ("FeatureSpace", "Pipeline", "RandomHeight", "RandomWidth", "TFDConcat", "TFDIdentity")


def with_tensorflow(name: str, case: Case) -> bool:
    return name in WITH_TENSORFLOW or (name == "Discretization" and case.adapt is not None)


ALL = [
    pytest.param(name, case, id=f"{name}-{number}", marks=[needs_tensorflow] if with_tensorflow(name, case) else [])
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]


def make(name: str, case: Case) -> Any:
    """A live layer, adapted."""
    import keras

    live = getattr(keras.layers, name)(**case.options)
    if case.adapt is not None:
        live.adapt(np.array(case.adapt))
    return live


def shapes_of(case: Case) -> list[tuple[int | None, ...]]:
    return [(None, *shape) if case.batch else shape for shape in case.inputs]


def functional(name: str, case: Case) -> tuple[Any, Any, list[Any]]:
    """A Functional model around one layer, the layer, and the shapes of its outputs."""
    import keras

    live = make(name, case)
    inputs = [keras.Input(batch_shape=shape, dtype=case.of) for shape in shapes_of(case)]
    call = keras.layers.Pipeline([live]) if name == "Equalization" else live  # alone, it ends Keras in "a cycle"
    outputs = keras.tree.flatten(call(inputs if len(inputs) > 1 else inputs[0]))
    return keras.Model(inputs, outputs), live, [tuple(it.shape) for it in outputs]


def read(live: Any) -> Layer:
    import keras

    return Layer.read(json.loads(json.dumps(keras.saving.serialize_keras_object(live))), "", version=NEWEST)


def output(live: Any, shapes: list[tuple[int | None, ...]]) -> Any:
    layer = read(live)
    rule = rule_for(layer.key)
    assert rule is not None
    assert rule.output is not None
    return rule.output(layer, shapes)


@pytest.mark.parametrize(("name", "case"), ALL)
def test_the_tree_is_what_keras_writes(name: str, case: Case) -> None:
    from trees import differences

    model, live, _ = functional(name, case)
    assert differences(model) == []
    live.trainable = False
    assert differences(model) == []


@pytest.mark.parametrize(("name", "case"), ALL)
def test_the_output_has_the_shape_that_keras_gives_it(name: str, case: Case) -> None:
    _, live, shapes = functional(name, case)
    assert [output(live, shapes_of(case))] == shapes


@pytest.mark.parametrize(("name", "case"), ALL)
def test_a_layer_that_was_never_built_has_no_variables(name: str, case: Case) -> None:
    import keras
    from trees import differences

    assert differences(keras.Sequential([make(name, case)])) == []


def test_every_class_has_cases() -> None:
    import keras

    from refser.rules import augmentation, preprocessing

    names = [rule.class_name for rule in (*augmentation.RULES, *preprocessing.RULES)]
    assert sorted(names) == sorted([*CASES, *APART])
    known = {name for name, value in vars(keras.layers).items() if "preprocessing" in getattr(value, "__module__", "")}
    assert known <= set(names)


# Words


def arrays(group: Any) -> dict[str, tuple[int, ...]]:
    """The shapes in an HDF5 file by their paths."""
    found: dict[str, tuple[int, ...]] = {}
    for it in group.values():
        found |= {it.name.lstrip("/"): it.shape} if hasattr(it, "shape") else arrays(it)
    return found


@needs_tensorflow
@pytest.mark.parametrize("name", ["IntegerLookup", "StringLookup", "TextVectorization"])
def test_weights_and_files_have_the_names_that_keras_gives_them(name: str, tmp_path: Any) -> None:
    from zipfile import ZipFile

    import h5py
    from trees import config_of

    for number, case in enumerate(CASES[name]):
        model = functional(name, case)[0]
        model.save(tmp_path / f"{number}.keras")
        tree = expected_weights(config_of(model))
        with ZipFile(tmp_path / f"{number}.keras") as archive:
            assets = sorted(it.removeprefix("assets/") for it in archive.namelist() if it.startswith("assets/"))
            with archive.open("model.weights.h5") as file, h5py.File(file) as store:
                found = arrays(store)
        assert sorted(tree.assets) == assets
        assert {spec.path: spec.shape for spec in tree} == found


@needs_tensorflow
def test_a_word_that_is_only_in_a_file_is_not_counted() -> None:
    from trees import config_of

    model = functional("StringLookup", words(4, adapt=[ABC], output_mode="tf_idf"))[0]
    text = config_of(model)
    assert '"vocabulary_size": 4' in text
    (spec,) = expected_weights(text.replace('"vocabulary_size": 4', '"vocabulary_size": null'))
    assert (spec.path, spec.shape) == ("layers/string_lookup/vars/idf_weights", (None,))


def lookup(class_name: str, **config: Any) -> dict[str, Any]:
    config = {"name": "lookup", "output_mode": "tf_idf", **config}
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def model_of(*layers: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


@pytest.mark.parametrize(
    ("class_name", "config", "shape"),
    [
        ("StringLookup", {"vocabulary": ABC}, (4,)),
        ("StringLookup", {"vocabulary": ["[UNK]", "a"]}, (2,)),
        ("StringLookup", {"vocabulary": ABC, "vocabulary_size": 7}, (7,)),
        ("StringLookup", {"vocabulary": ABC, "max_tokens": 9, "pad_to_max_tokens": True}, (9,)),
        ("StringLookup", {"vocabulary": ABC, "num_oov_indices": 1 << 60}, ((1 << 60) + 3,)),
        ("IntegerLookup", {"vocabulary": [-1, 3]}, (2,)),
        ("IntegerLookup", {"vocabulary": [3, 4], "output_mode": "tf-idf"}, (3,)),
        ("StringLookup", {}, (None,)),
        ("TextVectorization", {"vocabulary_size": 5}, (5,)),
        ("TextVectorization", {"vocabulary": ABC}, (4,)),
    ],
)
def test_weights_of_words_without_keras(class_name: str, config: dict[str, Any], shape: Any) -> None:
    tree = expected_weights(model_of(lookup(class_name, **config)))
    group = f"layers/{'text_vectorization' if class_name[0] == 'T' else class_name.lower().replace('lookup', '_lookup')}"
    below = [group, f"{group}/_lookup_layer"] if class_name == "TextVectorization" else [group]
    assert [(spec.path, spec.shape, spec.trainable) for spec in tree] == [
        (f"{path}/vars/idf_weights", shape, False) for path in below
    ]
    assert list(tree.assets) == ([] if "vocabulary" in config else [f"{path}/vocabulary.txt" for path in below])
    assert {spec.variable_path for spec in tree} == ({"lookup/idf_weights"} if len(below) == 1 else {None})


def test_arrays_without_a_key_are_numbered_among_themselves() -> None:
    from refser.rules.rule import Rule, Var
    from refser.rules.tree import keys_of
    from refser.rules.walk import Owner

    layer = Layer("Odd", {}, at="", version=NEWEST)
    owner = Owner(layer, "odd")
    owner.variables = Rule("Odd", (Var("a"), Var("b", key="b"), Var("c"))).variables_of(layer)
    assert list(keys_of(owner)) == ["0", "b", "1"]


# tf.keras


def test_a_discretization_of_tf_keras_has_a_summary() -> None:
    layer = lookup("Discretization", num_bins=4, output_mode="int") | {"build_config": {"input_shape": [None, 1]}}
    old = expected_weights(model_of(layer), keras_version="2.15.0")
    assert [(spec.name, spec.shape, spec.dtype) for spec in old] == [("summary", (2, None), "float32")]
    assert list(expected_weights(model_of(layer))) == []
    layer["config"]["bin_boundaries"] = [1.0]
    assert list(expected_weights(model_of(layer), keras_version="2.15.0")) == []


@pytest.mark.parametrize(("name", "shape"), [("RandomHeight", (2, None, 8, 3)), ("RandomWidth", (2, 9, None, 3))])
def test_tf_keras_changes_the_size_of_images_at_random(name: str, shape: Any) -> None:
    rule = rule_for(name)
    assert rule is not None
    assert rule.output is not None
    assert rule.output(Layer(name, {}, at="", version=(2, 15)), [(2, *IMAGE)]) == shape


# Several layers in one


def test_a_pipeline_is_its_layers() -> None:
    import keras
    from keras import layers
    from trees import differences

    stages = [
        layers.Rescaling(2.0),
        layers.Normalization(),
        layers.Pipeline([layers.RandomFlip(), layers.RandAugment()]),
        layers.CenterCrop(4, 5),
        layers.Dense(2),
        layers.Dense(3, trainable=False),
    ]
    pipeline = layers.Pipeline(stages, name="stages")
    first = keras.Input(IMAGE)
    model = keras.Model(first, layers.Dense(2)(pipeline(first)))
    assert differences(model) == []
    assert output(pipeline, [(None, *IMAGE)]) == (None, 4, 5, 3)
    assert differences(keras.Sequential([layers.Pipeline([layers.Dense(2), layers.Normalization()])])) == []


def feature_space(**options: Any) -> Any:
    import keras

    space = keras.utils.FeatureSpace
    features = {
        "size": "float_normalized",
        "a name": "string_categorical",
        "bin": "float_discretized",
        "hash": space.integer_hashed(num_bins=4),
        "scaled": "float_rescaled",
        "plain": "float",
        "kind": space.integer_categorical(output_mode="int") if options.get("output_mode") == "dict" else "integer_categorical",
        "given": space.feature("float32", keras.layers.Normalization(mean=1.0, variance=2.0), "float"),
        "other": space.float_normalized(name="other"),
    }
    return space(features=features, crosses=[("a name", "hash"), ("kind", "hash")], crossing_dim=8, **options)


def adapted(space: Any) -> Any:
    floats = {name: np.linspace(0, 1, 8) for name in ("size", "bin", "scaled", "plain", "given", "other")}
    data = {**floats, "a name": list("abcdabcd"), "hash": np.arange(8), "kind": np.arange(8) % 3}
    space.adapt({name: data[name] for name in space.features})
    return space


@needs_tensorflow
@pytest.mark.parametrize("options", [{}, {"output_mode": "dict"}], ids=["concat", "dict"])
def test_a_feature_space_is_saved_alone(options: dict[str, Any], tmp_path: Any) -> None:
    from zipfile import ZipFile

    from trees import config_of, differences

    space = feature_space(**options)
    assert differences(space) == []
    adapted(space)
    assert differences(space) == []
    space.save(tmp_path / "space.keras")
    with ZipFile(tmp_path / "space.keras") as archive:
        assets = sorted(it.removeprefix("assets/") for it in archive.namelist() if it.startswith("assets/"))
    assert sorted(expected_weights(config_of(space)).assets) == assets


@needs_tensorflow
def test_the_features_of_a_feature_space_stand_in_a_model() -> None:
    import keras
    from trees import differences

    space = adapted(feature_space())
    encoded = space.get_encoded_features()
    assert differences(keras.Model(space.get_inputs(), keras.layers.Dense(2)(encoded))) == []


# Hostile configs: whatever they say, refser refuses or answers


@cache
def configs() -> list[str]:
    from trees import config_of

    known = [(name, case) for name, cases in CASES.items() for case in cases[:6]]
    kept = [(name, case) for name, case in known if HAS_TENSORFLOW or not with_tensorflow(name, case)]
    found = [config_of(functional(name, case)[0]) for name, case in kept]
    words_alone = [model_of(lookup(name, vocabulary=ABC, num_oov_indices=1, max_tokens=9)) for name in WITH_TENSORFLOW[2:]]
    space = {"features": {"a": FEATURE, "b": FEATURE}, "crosses": [CROSS], "output_mode": "concat"}
    return [*found, *map(json.dumps, words_alone), json.dumps(model_of(lookup("FeatureSpace", **space)))]


FEATURE = {
    "module": "keras.src.layers.preprocessing.feature_space",
    "class_name": "Feature",
    "config": {"dtype": "string", "preprocessor": lookup("StringLookup", vocabulary_size=3), "output_mode": "one_hot"},
}
CROSS = {**FEATURE, "class_name": "Cross", "config": {"feature_names": ["a", "b"], "crossing_dim": 4}}
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from([1 << 61, 1 << 62, 1 << 70, -(1 << 70)]),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.none() | st.integers(-2, 6) | st.text(max_size=2), max_size=5),
    st.lists(st.lists(st.none() | st.integers(0, 6), max_size=5), max_size=4),
    st.just({"class_name": "__numpy__", "config": {"value": [1.0], "dtype": "float32"}}),
    st.dictionaries(
        st.sampled_from(["input_shape", "class_name", "config", "features"]), st.none() | st.integers(), max_size=3
    ),
    st.sampled_from(["one_hot", "tf_idf", "count", "real", "same", "channels_first", "StringLookup", "Pipeline", "AugMix"]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_broken_config_is_refused_or_answered(data: st.DataObject) -> None:
    config = json.loads(data.draw(st.sampled_from(configs())))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([path for path in places(config) if len(path) > 3]))
        target = config
        for key in path:
            target = target[key]
        if data.draw(st.booleans()):
            target[last] = copy.deepcopy(data.draw(HOSTILE))
        else:
            del target[last]
    try:
        tree = expected_weights(config)
        event("opaque" if tree.opaque else "answered")
    except RefserError as error:
        event(error.problem.code)
    inputs = st.lists(st.lists(st.none() | st.integers(0, 6), max_size=5).map(tuple), max_size=3)
    for value in config["config"]["layers"]:
        try:
            layer = Layer.read(value, "", version=NEWEST)
            if (rule := rule_for(layer.key)) and rule.output:
                rule.output(layer, data.draw(inputs))
        except (RefserError, Unknown):
            pass
