"""Strings and numbers that are more than they seem: code, paths, addresses, sizes; bytes that are programs or pickles.

Spec: spec/safety.md (SF-002, SF-010 to SF-013, SF-019, SF-020).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from refser.checks._safety_names import words
from refser.checks.symbols import names
from refser.rules.walk import snake_case

SHORT = 24  # characters: no code, and no address worth a word, is shorter
NAME = re.compile(r"(?:[^\x00-\x1f\x7f>]{1,200}>)?[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")

# Marshalled code begins with "c", with or without the bit that says it may be referred to, and four bytes of a small number:
# the count of arguments.  In Base64; as characters, which Keras 1 has; in hexadecimal.
_BASE64_CODE = re.compile(r"\s{0,9}(?:4w|Yw)[A-Za-z0-9+/]AAA", re.ASCII)
_RAW_CODE = re.compile(r"[c\u00e3\udce3][\x00-\xff]\x00\x00\x00")


def is_marshalled(text: str) -> bool:
    """Whether a text begins as marshalled code does.  It is not decoded."""
    return _RAW_CODE.match(text) is not None or (len(text) > 40 and _BASE64_CODE.match(text) is not None)


def is_code(found: list[Any]) -> bool:
    """Whether a list is [code, defaults, closure], as Keras 1 and 2 keep a lambda."""
    return (
        len(found) == 3
        and all(part is None or part.__class__ is list for part in found[1:])
        and len(found[0]) > SHORT
        and (is_marshalled(found[0]) or NAME.match(found[0][:300]) is None)
        and _BASE64.match(found[0][:300].strip()) is not None
    )


_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+\Z")

# What names act as, where a layer's name becomes part of a path.
_PARTS = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")


def acts_as_path(name: str) -> str | None:
    if "\0" in name:
        return "ends at the NUL where it becomes part of a path"
    if "." not in name and "/" not in name and "\\" not in name:
        return None
    if name[0] in "/\\" or (_DRIVE.match(name) and name[2:3] in ("/", "\\")):
        return "is an absolute path"
    if name in (".", "..") or any(part in (".", "..") for part in _PARTS.split(name)):
        return "leads to another directory where it becomes part of a path"
    return None


# Arguments that Keras, or whoever wrote a class, opens when they are strings.
ALWAYS_OPENED = frozenset({"vocabulary", "idf_weights", "merges"})
OPENED = ALWAYS_OPENED | words(
    """weights filepath file_path filename fname path url uri origin cache_dir handle checkpoint checkpoint_path model_path
    weights_path vocabulary_file vocab_file proto preset directory"""
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s/]*\S", re.ASCII)
_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\.{1,2}[/\\]|[A-Za-z][A-Za-z0-9+.-]{1,15}:/")


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def is_outside(text: str) -> bool:
    """Whether a string is a path that begins elsewhere, or an address.  A bare name, "imagenet", is neither."""
    return _OUTSIDE.match(text) is not None or "../" in text or "..\\" in text


# Arguments whose strings name a function or a class, of Keras or not.
_FAMILIES = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers", "layers")
_OF_WHAT = ("kernel", "bias", "recurrent", "depthwise", "pointwise", "beta", "gamma", "embeddings", "alpha", "activity")
ROLES = frozenset(
    [f"{what}_{kind}" for what in _OF_WHAT for kind in ("initializer", "regularizer", "constraint")]
    + ["activation", "recurrent_activation", "inner_activation", "init", "inner_init", "loss", "optimizer"]
    + ["W_regularizer", "b_regularizer", "U_regularizer", "W_constraint", "b_constraint", "U_constraint", "metrics"]
)
WATCHED = OPENED | ROLES


@lru_cache(maxsize=1)
def _known_roles() -> frozenset[str]:
    """Spelt as the names of classes and functions, in the snake case that Keras takes too, and the short names of old."""
    found = frozenset().union(*(names(family) for family in _FAMILIES))
    return found | {snake_case(name) for name in found} | _SHORT_NAMES


_SHORT_NAMES = words(
    """accuracy acc ce crossentropy mse mae mape msle kld cosine cosine_proximity bce softmax_v2 linear l1 l2 l1l2 l1_l2
    uniform normal one zero ones zeros identity orthogonal lecun_uniform glorot_normal glorot_uniform he_normal he_uniform
    lecun_normal maxnorm nonneg unitnorm unit_norm non_neg max_norm min_max_norm hard_swish swish log_cosh logcosh rmsprop
    sgd adam adamax adagrad adadelta nadam ftrl tfoptimizer fmeasure precision recall matthews_correlation gaussian
    laplacian"""
)


def is_known_role(text: str) -> bool:
    return text in _known_roles()


def is_backend_function(name: str) -> bool:
    """Of `keras.backend`, which op layers name: functions on tensors, none on sessions, graphs or settings."""
    return name in _BACKEND


_BACKEND = words(
    """abs all any arange argmax argmin batch_dot batch_flatten batch_normalization bias_add binary_crossentropy cast
    categorical_crossentropy clip concatenate constant conv1d conv2d conv2d_transpose conv3d cos cumprod cumsum
    depthwise_conv2d dot dropout elu equal exp expand_dims eye flatten foldl foldr gather greater greater_equal hard_sigmoid
    in_top_k l2_normalize less less_equal log map_fn max maximum mean min minimum moving_average_update ndim
    normalize_batch_in_training not_equal one_hot ones ones_like permute_dimensions pool2d pool3d pow prod random_bernoulli
    random_normal random_uniform relu repeat repeat_elements reshape resize_images resize_volumes reverse round
    separable_conv2d shape sigmoid sign sin softmax softplus softsign sparse_categorical_crossentropy spatial_2d_padding
    spatial_3d_padding sqrt square squeeze stack std stop_gradient sum switch tanh temporal_padding tile transpose
    truncated_normal var zeros zeros_like"""
)

# Sizes: no axis of a model is longer than this, and what is declared of that length is there to exhaust the machine.
SIZE_MAX = 1 << 32
SIZE_KEYS = words(
    """units filters input_dim output_dim n size kernel_size pool_size max_tokens num_tokens num_oov_indices
    output_sequence_length depth_multiplier num_heads num_query_heads num_key_value_heads key_dim value_dim head_dim height
    width sequence_length fft_length num_mel_bins padding cropping batch_shape batch_input_shape input_shape shape
    target_shape output_shape build_input_shape input_length dilation_rate strides axes groups rank power_iterations
    num_layers repeats nb_filter nb_row nb_col maxlen batch_size embedding_dim lora_rank crop_height crop_width
    shapes_dict query_shape value_shape key_shape sequence_shape initial_state_shape num_buckets_of_frequencies
    intermediate_dim hidden_dim vocabulary_size max_sequence_length"""
)
# Every dtype that NumPy or Keras has for a number, by name or by code; and what NumPy takes for more.
_WIDE = re.compile(r"[SUVa]\s*\d|[(,\d]\s*\d*\s*[)\]fiucb]|[{(,]|\d{4,}", re.ASCII)
_NUMERIC = re.compile(
    r"(?:bfloat16|bool|string|(?:float|int|uint|complex)\d{1,3}|float8_e\w{3,12}|u?int4|[<>=|]?[biufc]\d{1,2})\Z"
)


def is_wide(dtype: str) -> bool:
    """Whether NumPy would take more for each element of this dtype than for one number."""
    return _NUMERIC.match(dtype) is None and _WIDE.search(dtype[:1000]) is not None


# A config in YAML, which Keras before 2.6 loaded with a loader that makes any object.
_YAML = re.compile(r"\s*(?:---|%YAML|!!|(?:class_name|backend|config|keras_version|module)\s*:)", re.ASCII)


def is_yaml(text: str) -> bool:
    return _YAML.match(text) is not None or "!!python/" in text[:1_000_000]


# Assets: by the bytes at their start, whatever they are called.
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?[\x00-\xff]", re.DOTALL)
_PICKLE_NAMES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill", ".marshal", ".pyc")
_PROGRAM_NAMES = (".py", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".cmd", ".ps1", ".js", ".vbs", ".jar", ".pyd", ".com")
_ARCHIVE_NAMES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".whl", ".keras", ".h5", ".npz")
_PROGRAMS = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe", b"#!")
_ARCHIVES = (
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x89HDF\r\n\x1a\n",
)


def asset_kind(name: str, head: bytes) -> str | None:
    """ "pickle", "program" or "archive", by its name or its first bytes; None for data."""
    lower = name.lower()
    if _PICKLE.match(head) or lower.endswith(_PICKLE_NAMES):
        return "pickle"
    if head.startswith(b"\x93NUMPY"):  # the header tells the dtype: of objects, the values are a pickle
        return "pickle" if re.search(rb"'descr':\s*(?:'\|O|\[.*'\|?O)", head[:4096], re.DOTALL) else None
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return "pickle" if re.search(rb"(?:/|\A.{30})data\.pkl", head[:4096], re.DOTALL) else "archive"
    if head.startswith(_PROGRAMS) or lower.endswith(_PROGRAM_NAMES):
        return "program"
    return "archive" if lower.endswith(_ARCHIVE_NAMES) else None
