"""Arguments that each are fine, and that Keras does not take together.

Spec: spec/argument-values.md (AR-016).  Observed: Keras 3.15.1.  Each rule gets a config whose values are of their kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refser.config.objects import shown

Config = Mapping[str, Any]
Found = Iterator[tuple[str, str]]  # the argument, and what is wrong with it
Together = Callable[[Config], Found]

_INTEGER = (int, bool)


def _most(value: Any) -> float:
    """The largest of a number for all axes, or of one for each; 1 where it is not given."""
    if isinstance(value, list):
        return max((n for n in value if isinstance(n, (int, float))), default=1)
    return value if isinstance(value, (int, float)) else 1


def _dilated(config: Config) -> Found:
    if _most(config.get("strides")) > 1 and _most(config.get("dilation_rate")) > 1:
        yield "strides", "strides above 1 and a dilation_rate above 1; Keras takes one of them"


def _plain(config: Config) -> Found:
    yield from _dilated(config)
    filters, groups = config.get("filters"), config.get("groups", 1)
    if isinstance(filters, int) and isinstance(groups, int) and groups > 0 and filters % groups:
        yield "groups", f"{shown(groups)} groups of {shown(filters)} filters; wanted a number that divides them"


def _transposed(config: Config) -> Found:
    yield from _dilated(config)
    padding, strides = config.get("output_padding"), config.get("strides", 1)
    if padding is None:
        return
    rank = max(len(value) if isinstance(value, list) else 1 for value in (padding, strides))
    paddings, steps = (value if isinstance(value, list) else [value] * rank for value in (padding, strides))
    if any(p >= s for p, s in zip(paddings, steps) if isinstance(p, (int, float)) and isinstance(s, (int, float))):
        yield "output_padding", "an output_padding that is not below the strides"


def _heads(config: Config) -> Found:
    queries, pairs = config.get("num_query_heads"), config.get("num_key_value_heads")
    if isinstance(queries, int) and isinstance(pairs, int) and pairs > 0 and queries % pairs:
        yield "num_query_heads", f"{shown(queries)} num_query_heads; wanted a multiple of num_key_value_heads, {shown(pairs)}"


def _normalization(config: Config) -> Found:
    if (config.get("mean") is None) != (config.get("variance") is None):
        without = "mean" if config.get("mean") is None else "variance"
        yield without, f"no {without}; wanted mean and variance, or neither"


def _discretization(config: Config) -> Found:
    if config.get("num_bins") is None and config.get("bin_boundaries") is None:
        yield "num_bins", "neither num_bins nor bin_boundaries; wanted one of them"
    yield from _sparse(config)


def _sparse(config: Config) -> Found:
    if config.get("sparse") and config.get("output_mode", "int") == "int":
        yield "sparse", "sparse, and output_mode 'int', which is not"


def _hashing(config: Config) -> Found:
    yield from _sparse(config)
    dtype = config.get("dtype")
    if config.get("output_mode", "int") == "int" and isinstance(dtype, str) and dtype not in ("int32", "int64"):
        yield "dtype", f"dtype {dtype!r:.40}, and output_mode 'int'; wanted int32 or int64"


def _lookup(config: Config) -> Found:
    yield from _sparse(config)
    mode = config.get("output_mode", "int")
    if config.get("invert") and mode != "int":
        yield "invert", "invert, and an output_mode other than 'int'"
    if config.get("pad_to_max_tokens") and config.get("max_tokens") is None:
        yield "pad_to_max_tokens", "pad_to_max_tokens without max_tokens"
    if config.get("idf_weights") is not None and mode not in ("tf_idf", "tf-idf"):
        yield "idf_weights", "idf_weights, and an output_mode other than 'tf_idf'"
    given = config.get("vocabulary") is not None and config.get("has_input_vocabulary", True)
    if given and mode in ("tf_idf", "tf-idf") and config.get("idf_weights") is None:
        yield "idf_weights", "a vocabulary and output_mode 'tf_idf', but no idf_weights"


def _integers(config: Config) -> Found:
    yield from _lookup(config)
    if config.get("salt") is not None and config.get("oov_method", "floormod") != "farmhash":
        yield "salt", "salt, and an oov_method other than 'farmhash'"


def _text(config: Config) -> Found:
    yield from _lookup(config)
    if config.get("output_sequence_length") is not None and config.get("output_mode", "int") != "int":
        yield "output_sequence_length", "output_sequence_length, and an output_mode other than 'int'"


def _stft(config: Config) -> Found:
    frame, step, fft = config.get("frame_length", 256), config.get("frame_step"), config.get("fft_length")
    if isinstance(step, (int, float)) and isinstance(frame, int) and step > frame:
        yield "frame_step", f"a frame_step above the frame_length, {shown(frame)}"
    if isinstance(fft, int) and isinstance(frame, int) and fft < frame:
        yield "fft_length", f"an fft_length below the frame_length, {shown(frame)}"


def _optimizer(config: Config) -> Found:
    clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if config.get(name) is not None]
    if len(clips) > 1:
        yield clips[1], f"{' and '.join(clips)}; wanted one of them at most"
    if config.get("use_ema"):
        momentum, every = config.get("ema_momentum", 0.99), config.get("ema_overwrite_frequency")
        if not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            yield "ema_momentum", "an ema_momentum that is no number from 0 to 1"
        if every and (not isinstance(every, int) or every < 1):
            yield "ema_overwrite_frequency", "an ema_overwrite_frequency that is no integer above 0"


def _pieces(config: Config) -> Found:
    boundaries, values = config.get("boundaries"), config.get("values")
    if isinstance(boundaries, list) and isinstance(values, list) and len(boundaries) != len(values) - 1:
        yield "values", f"{len(values)} values for {len(boundaries)} boundaries; wanted one more than boundaries"


def _clipped(config: Config) -> Found:
    clipping = config.get("renorm_clipping")
    if not config.get("renorm") or not clipping:
        return
    if not isinstance(clipping, Mapping) or not set(clipping) <= {"rmax", "rmin", "dmax"}:
        yield "renorm_clipping", "renorm_clipping that has more than rmax, rmin and dmax"


def _classes(config: Config) -> Found:
    count, ids = config.get("num_classes", 2), config.get("target_class_ids")
    if isinstance(ids, list) and isinstance(count, int) and _most(ids) >= count:
        yield "target_class_ids", f"target_class_ids that are not below the number of classes, {shown(count)}"


def _input(config: Config) -> Found:
    if all(config.get(name) is None for name in ("batch_shape", "shape", "batch_input_shape", "input_shape", "input_tensor")):
        yield "batch_shape", "neither batch_shape nor shape"


def _auc(config: Config) -> Found:
    if config.get("num_labels") and not config.get("multi_label"):
        yield "num_labels", "num_labels without multi_label"


_RANKS = (1, 2, 3)
TOGETHER: dict[tuple[str, str], Together] = {
    **{("layers", f"Conv{n}D"): _plain for n in _RANKS},
    **{("layers", f"Conv{n}DTranspose"): _transposed for n in _RANKS},
    ("layers", "GroupQueryAttention"): _heads,
    ("layers", "Normalization"): _normalization,
    ("layers", "Discretization"): _discretization,
    ("layers", "InputLayer"): _input,
    ("layers", "BatchNormalization"): _clipped,
    ("layers", "Hashing"): _hashing,
    ("layers", "IntegerLookup"): _integers,
    ("layers", "StringLookup"): _lookup,
    ("layers", "TextVectorization"): _text,
    ("layers", "STFTSpectrogram"): _stft,
    ("optimizers", "PiecewiseConstantDecay"): _pieces,
    ("metrics", "AUC"): _auc,
    **{("metrics", name): _classes for name in ("BinaryIoU", "IoU", "OneHotIoU")},
}
OPTIMIZER = _optimizer
