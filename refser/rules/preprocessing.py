"""Numbers, categories, words and sounds made ready: normalization, bins, hashes, vocabularies, spectrograms, feature spaces.

Keras: keras.layers.preprocessing, keras.utils.FeatureSpace.  Spec: spec/layers.md.  Not here: images (augmentation).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from refser.config.nodes import Array, read_node
from refser.config.objects import KerasObject, invalid, kind_of
from refser.rules.layer import KERAS_3, Layer, Shape, Unknown, is_integer
from refser.rules.rule import Child, Rule, Size, Var
from refser.rules.spatial import first, of_rank, padding_of, same, sized, window
from refser.rules.wrappers import output_of

_LOOKUPS = ("IntegerLookup", "StringLookup")


def _length(layer: Layer, argument: str) -> int | None:
    """How many items a list or an array among the arguments has; None: not given."""
    value = layer.config.get(argument)
    if isinstance(value, Mapping):
        node = read_node(value, layer.at_argument(argument))
        value = node.value if isinstance(node, Array) else value
    if value is not None and not isinstance(value, list):
        raise layer.refuse(argument, "a list")
    return None if value is None else len(value)


# Normalization


def _normalization(layer: Layer) -> Iterable[Var]:
    if layer.has("mean") != layer.has("variance"):
        raise layer.refuse("variance" if layer.has("mean") else "mean", "mean and variance, or neither")
    if not layer.has("mean") and layer.built:
        yield Var("mean", "*kept", trainable=False)
        yield Var("variance", "*kept", trainable=False)
        yield Var("count", trainable=False, dtype="int")


def _kept(layer: Layer) -> Shape:
    """The lengths of the axes that have a mean each, in the order of the input."""
    value = layer.config.get("axis", -1)
    numbers = [] if value is None else value if isinstance(value, (list, tuple)) else [value]
    if not all(is_integer(number) for number in numbers):
        raise layer.refuse("axis", "an integer, a list of them, or null")
    lengths = {number: layer.axis(number) for number in numbers}  # refuses an axis that the input does not have
    return tuple(lengths[number] for number in sorted(numbers, key=lambda number: number % len(layer.shape)))


# Categories


def _hot(shape: Shape, depth: Size) -> Shape:
    """A last axis of one is the place of the code, any other is followed by it."""
    return (*shape[:-1], depth) if len(shape) > 1 and shape[-1] == 1 else (*shape, depth)


def _category_encoding(layer: Layer, shapes: list[Shape]) -> Shape:
    shape, depth = first(layer, shapes), layer.integer("num_tokens")
    mode = layer.choice("output_mode", ("multi_hot", "one_hot", "count", "binary"), "multi_hot")
    return _hot(shape, depth) if mode == "one_hot" else (*shape[:-1], depth)


def _discretization(layer: Layer) -> Iterable[Var]:
    """tf.keras keeps a summary of what it was adapted to, as long as that is."""
    if layer.version < KERAS_3 and not layer.has("bin_boundaries") and layer.built:
        yield Var("summary", (2, None), trainable=False, dtype="float32")


def _discretization_output(layer: Layer, shapes: list[Shape]) -> Shape:
    shape = first(layer, shapes)
    mode = layer.choice("output_mode", ("int", "one_hot", "multi_hot", "count"), "int")
    if mode == "int":
        return shape
    boundaries = _length(layer, "bin_boundaries")
    depth = layer.integer("num_bins", least=0) if boundaries is None else boundaries + 1
    if mode == "one_hot":
        return _hot(shape, depth)
    return (shape[0], *shape[2:], depth) if len(shape) > 1 else (depth,)


def _hashing(layer: Layer, shapes: list[Shape]) -> Shape:
    shape, depth = first(layer, shapes), layer.integer("num_bins")
    mode = layer.choice("output_mode", ("int", "one_hot", "multi_hot", "count"), "int")
    return shape if mode == "int" else (*shape[:-1], depth)


def _crossing(layer: Layer, shapes: list[Shape]) -> Shape:
    mode, depth = layer.choice("output_mode", ("int", "one_hot"), "int"), layer.integer("num_bins")
    if len(shapes) != 2 or not all(shapes) or shapes[0][-1] != shapes[1][-1]:
        raise invalid("LY-002", f"inputs {shapes!r:.80}; {layer.class_name} wants two of one shape", layer.at)
    shape = shapes[0]
    return shape if mode == "int" else (*shape[:-1], depth) if shape[-1] == 1 else (*shape, depth)


# Vocabularies

_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}  # older names


def _mode(layer: Layer) -> str:
    mode = layer.choice("output_mode", ("int", "one_hot", "multi_hot", "count", "tf_idf", *_MODES), "int")
    return _MODES.get(mode, mode)


def _depth(layer: Layer) -> Size:
    """The length of a code.  None: the words are in an asset alone, and the config does not count them."""
    if layer.flag("pad_to_max_tokens"):
        return layer.integer("max_tokens", least=2)
    if layer.has("vocabulary_size"):
        return layer.integer("vocabulary_size", least=0)
    if (words := _length(layer, "vocabulary")) is None:
        return None
    unknown = layer.integer("num_oov_indices", 1, least=0)
    masks = layer.has("mask_token") and _mode(layer) == "int"
    default = -1 if layer.class_name == "IntegerLookup" else "[UNK]"
    special = [layer.config.get("mask_token")] * masks + [layer.config.get("oov_token", default)] * min(unknown, words + 1)
    vocabulary = layer.config["vocabulary"]
    found = isinstance(vocabulary, list) and vocabulary[: len(special)] == special
    return words if found else words + masks + unknown


def _weights(of: str) -> Any:
    """A number for each word, under a name in the place of its number."""

    def variables(layer: Layer) -> Iterable[Var]:
        if _mode(layer) == "tf_idf":
            shape = (sized(layer, depth) if (depth := _depth(layer)) is not None else None,)
            yield Var("idf_weights", shape, trainable=False, dtype="floatx", of=of, key="idf_weights")

    return variables


def _file(layer: Layer) -> Iterable[str]:
    """A vocabulary that is not in the config is in a file."""
    return () if layer.has("vocabulary") else ("vocabulary.txt",)


def _lookup_output(layer: Layer, shapes: list[Shape]) -> Shape:
    shape, mode = first(layer, shapes), _mode(layer)
    if mode == "int":
        return shape
    return _hot(shape, _depth(layer)) if mode == "one_hot" else (*shape[:-1], _depth(layer))


_GIVEN = ("max_tokens", "output_mode", "pad_to_max_tokens", "vocabulary", "vocabulary_size")


def _lookup(layer: Layer) -> Layer:
    """What TextVectorization makes for itself, under a name that a global counter gives."""
    config = {name: layer.config[name] for name in _GIVEN if name in layer.config}
    return layer.sub("StringLookup", {**config, "mask_token": ""}, name=None)


def _text(layer: Layer, shapes: list[Shape]) -> Shape:
    shape = first(layer, shapes)
    if _mode(layer) == "int":
        length = layer.integer("output_sequence_length", least=0) if layer.has("output_sequence_length") else None
        return (layer.given(shapes, 1)[0], length)
    if "split" in layer.config and layer.config["split"] is None:
        shape = shape if len(shape) > 1 else (*shape, 1)
    else:
        shape = (*shape, None)
    return _lookup_output(_lookup(layer), [shape])


# Sounds


def _mel(layer: Layer, shapes: list[Shape]) -> Shape:
    shape, stride = layer.given(shapes, 1), layer.integer("sequence_stride", 512)
    bins, batch = layer.integer("num_mel_bins", 128), shape[:1] if len(shape) > 1 else ()
    length = shape[len(batch)]
    return (*batch, bins, None if length is None else (length + stride + 1) // stride)


_SOUND = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


def _frames(layer: Layer) -> Mapping[str, int]:
    frame = layer.integer("frame_length", 256)
    power = 1 << (frame - 1).bit_length()  # the first power of two that is not below it
    fft, step = layer.integer("fft_length", power), layer.integer("frame_step", frame // 2)
    if layer.has("frame_step") and step > frame:
        raise layer.refuse("frame_step", f"at most the frame_length, {frame}")
    if fft < frame:
        raise layer.refuse("fft_length", f"at least the frame_length, {frame}")
    return {"frame": frame, "step": step, "bins": sized(layer, fft // 2 + 1)}


def _stft(layer: Layer) -> Iterable[Var]:
    mode = layer.choice("mode", _SOUND, "log")
    of_rank(layer, layer.shape, 3)
    if mode != "imag":
        yield Var("real_kernel", "frame, 1, bins")
    if mode != "real":
        yield Var("imag_kernel", "frame, 1, bins")


def _stft_output(layer: Layer, shapes: list[Shape]) -> Shape:
    batch, *rest = of_rank(layer, first(layer, shapes), 3)
    sizes, padding, leading = _frames(layer), padding_of(layer), layer.channels_first
    channels, length = rest if leading else reversed(rest)
    bins = sizes["bins"] * (2 if layer.choice("mode", _SOUND, "log") == "stft" else 1)
    time = None if length is None else sized(layer, window(padding)(length, sizes["frame"], sizes["step"]))
    if layer.flag("expand_dims"):
        return (batch, channels, time, bins) if leading else (batch, time, bins, channels)
    both = None if channels is None else sized(layer, bins * channels)
    return (batch, both, time) if leading else (batch, time, both)


# Several layers in one


def _members(layer: Layer) -> list[Layer]:
    """The layers of a Pipeline."""
    values, at = layer.config.get("layers"), layer.at_argument("layers")
    if not isinstance(values, list):
        raise layer.refuse("layers", "a list")
    return [Layer.read(value, f"{at}[{number}]", version=layer.version) for number, value in enumerate(values)]


def _pipeline(layer: Layer, shapes: list[Shape]) -> Any:
    for member in _members(layer):
        shapes = output_of(member, shapes)
    return shapes[0] if len(shapes) == 1 else shapes


def _feature_space(layer: Layer) -> Iterable[Child]:
    """What a FeatureSpace has once it is adapted and used; one that was just loaded lacks the last two, which are empty."""
    features, crosses = layer.config.get("features"), layer.config.get("crosses") or []
    if not isinstance(features, Mapping):
        raise layer.refuse("features", "an object")
    if not isinstance(crosses, list):
        raise layer.refuse("crosses", "a list")
    members = [_feature(layer, value, f"{layer.at_argument('features')}.{name}") for name, value in features.items()]
    crossers = dict(_cross(layer, value, f"{layer.at_argument('crosses')}[{n}]") for n, value in enumerate(crosses))
    yield Child("preprocessors", [member for member, _ in members])
    yield Child("crossers", [crosser for crosser, _ in crossers.values()])
    if not all(_adapted(member) for member, _ in members):
        return
    encoded = [it for it, mode in (*members, *crossers.values()) if mode == "one_hot"]
    yield Child("one_hot_encoders", [layer.sub("CategoryEncoding", {}, name=None) for _ in encoded])
    if layer.choice("output_mode", ("concat", "dict"), "concat") == "concat":
        yield Child("concat", layer.sub("TFDConcat", {}, name=None))


def _feature(layer: Layer, value: Any, at: str) -> tuple[Layer, Any]:
    """The layer that a feature goes through, and how it comes out."""
    if isinstance(value, str):
        raise Unknown("a feature that is given by its name alone")
    if not isinstance(value, Mapping):
        raise invalid("CF-010", f"{kind_of(value)} in the place of a feature; wanted an object", at)
    config = KerasObject(value, at).config
    return Layer.read(config.get("preprocessor"), f"{at}.config.preprocessor", version=layer.version), config.get("output_mode")


def _cross(layer: Layer, value: Any, at: str) -> tuple[str, tuple[Layer, Any]]:
    if not isinstance(value, Mapping):
        raise invalid("CF-010", f"{kind_of(value)} in the place of a cross; wanted an object", at)
    config = KerasObject(value, at).config
    names = config.get("feature_names")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise invalid("LY-003", f"{names!r:.60} as feature_names of a cross; wanted names", f"{at}.config.feature_names")
    name = "_X_".join(names)
    crosser = layer.sub("HashedCrossing", {"num_bins": config.get("crossing_dim")}, name=name)
    return name, (crosser, config.get("output_mode", "one_hot"))


def _adapted(layer: Layer) -> bool:
    """Whether the layer has seen data, where its config tells."""
    if layer.key == "Normalization":
        return layer.has("mean") or layer.build is not None
    if layer.key == "Discretization":
        return layer.has("bin_boundaries")
    return layer.key not in _LOOKUPS or layer.has("vocabulary_size")


def _no_output(layer: Layer, shapes: list[Shape]) -> Any:
    raise Unknown("the output of a FeatureSpace, which takes its inputs by their names")


RULES = (
    Rule("Normalization", _normalization, dims=lambda layer: {"kept": _kept(layer)}, output=same),
    Rule("CategoryEncoding", output=_category_encoding),
    Rule("Discretization", _discretization, output=_discretization_output),
    Rule("Hashing", output=_hashing),
    Rule("HashedCrossing", output=_crossing),
    *(Rule(name, _weights(""), assets=_file, output=_lookup_output) for name in _LOOKUPS),
    Rule(
        "TextVectorization",
        _weights("_lookup_layer"),
        children=lambda layer: (Child("_lookup_layer", _lookup(layer)),),
        assets=_file,
        output=_text,
    ),
    Rule("MelSpectrogram", output=_mel),
    Rule("STFTSpectrogram", _stft, dims=_frames, output=_stft_output),
    Rule("Rescaling", output=same),
    Rule("Pipeline", children=lambda layer: (Child("layers", _members(layer)),), output=_pipeline),
    Rule("FeatureSpace", children=_feature_space, output=_no_output),
    Rule("TFDConcat", output=_no_output),
    Rule("TFDIdentity", output=same),
)
