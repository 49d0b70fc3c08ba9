"""What the arguments of Keras's preprocessing layers may be: numbers, words, sounds, images.

Spec: spec/argument-values.md (AR).  Observed: Keras 3.15.1.  Not here: all other layers.
"""

from __future__ import annotations

from typing import Any

from refser.checks._domains_kinds import (
    AXES,
    BOOLEAN,
    FLOATABLE,
    INTS,
    LISTS,
    NUMBER,
    NUMBERS,
    RATE,
    TEXT,
    Kind,
    either,
    integer,
    is_int,
    is_number,
    items,
    number,
    one_of,
    or_empty,
    or_null,
)
from refser.checks._domains_layers import NOT_NEGATIVE, SEED, SIZE, Table

_NAMES_OF_OUTPUT = ("int", "one_hot", "multi_hot", "count")
_LOOKUP = {
    "trainable": Kind("anything", lambda v: True, INTS),  # which these two do not hand on
    "vocabulary": or_null(Kind("a list", lambda v: v.__class__ in (list, str, dict), LISTS)),
    "idf_weights": or_null(Kind("a list", lambda v: v.__class__ in (list, str, dict), LISTS)),
    "max_tokens": or_null(integer(2)),
    "num_oov_indices": integer(0),
    "oov_method": one_of("floormod", "farmhash"),
    "output_mode": one_of(*_NAMES_OF_OUTPUT, "tf_idf", "binary", "tf-idf"),
    "salt": or_null(either(Kind("an integer", lambda v: is_int(v), INTS), Kind("two", lambda v: _is_two(v), LISTS))),
}


def _is_two(value: Any) -> bool:
    return value.__class__ is list and len(value) == 2


def _is_range(value: Any) -> bool:
    """Keras sorts the two, whatever they are."""
    if not _is_two(value):
        return False
    return all(map(is_number, value)) or (value[0].__class__ is value[1].__class__ and value[0].__class__ in (str, list))


def _factor(least: float, most: float) -> Kind:
    """How strong a change is: a number for both ways, or the least and the most."""

    def accepts(value: Any) -> bool:
        if value.__class__ is list:
            numbers = len(value) == 2 and is_number(value[0]) and is_number(value[1])
            return numbers and not (value[0] > most or value[1] < least)
        return is_number(value) and least <= value <= most

    return Kind(f"a number from {least} to {most}, or two of them", accepts, NUMBERS | LISTS)


def _each(least: float, most: float) -> Kind:
    """As `_factor`, where Keras looks at each of two numbers."""

    def accepts(value: Any) -> bool:
        if value.__class__ is list:
            return len(value) == 2 and all(is_number(n) and least <= n <= most for n in value)
        return is_number(value) and least <= value <= most

    return Kind(f"a number from {least} to {most}, or two of them", accepts, NUMBERS | LISTS)


def _is_odd(value: Any) -> bool:
    return is_number(value) and value % 2 != 0


_ODD = Kind("an odd number, or two", lambda v: _is_odd(v) or (_is_two(v) and all(map(_is_odd, v))), INTS | LISTS)
UNIT = _factor(0, 1)
_SIGNED = _factor(-1, 1)
_LENGTH = or_null(integer(0))
_IMAGE = {"height": _LENGTH, "width": _LENGTH}
_RANGE = Kind("two numbers", _is_range, LISTS)
_MODES = one_of("nearest", "bilinear")
_FILLS = one_of("reflect", "wrap", "constant", "nearest")
_FUNCTION = Kind("a function", lambda v: v.__class__ is dict and "class_name" in v, frozenset({dict}))
_PLACED = {"interpolation": _MODES, "fill_mode": _FILLS, "seed": SEED}

PREPROCESSING: Table = {
    # Numbers
    "Normalization": {"axis": or_empty(AXES)},
    "Discretization": {
        "num_bins": or_null(NOT_NEGATIVE),
        "output_mode": one_of(*_NAMES_OF_OUTPUT),
    },
    "CategoryEncoding": {"num_tokens": SIZE, "output_mode": one_of("multi_hot", "one_hot", "count")},
    "Hashing": {"num_bins": number(above=0), "output_mode": one_of(*_NAMES_OF_OUTPUT), "salt": _LOOKUP["salt"]},
    "HashedCrossing": {"output_mode": one_of("int", "one_hot")},
    # Words
    "IntegerLookup": {
        **_LOOKUP,
        "max_tokens": or_null(number(above=1)),
        "vocabulary_dtype": one_of("int64"),
        "mask_token": or_null(Kind("an integer", lambda v: is_int(v) or v.__class__ is list, INTS)),
    },
    "StringLookup": {**_LOOKUP, "mask_token": or_null(Kind("a string", lambda v: v.__class__ in (str, list), TEXT))},
    "TextVectorization": {
        **{name: _LOOKUP[name] for name in ("max_tokens", "output_mode", "vocabulary", "idf_weights")},
        "ngrams": or_null(either(Kind("an integer", is_int, INTS), items(Kind("an integer", is_int, INTS)))),
        "standardize": or_null(either(one_of("lower_and_strip_punctuation", "lower", "strip_punctuation"), _FUNCTION)),
        "split": or_null(either(one_of("whitespace", "character"), _FUNCTION)),
        "output_sequence_length": or_null(integer(0)),
    },
    # Sounds
    "MelSpectrogram": {
        "fft_length": SIZE,
        "sequence_length": or_empty(NUMBER),
        "num_mel_bins": or_null(integer(0)),
    },
    "STFTSpectrogram": {
        "mode": one_of("log", "magnitude", "psd", "real", "imag", "angle", "stft"),
        "frame_length": SIZE,
        "frame_step": or_null(number(1)),
        "fft_length": or_null(SIZE),
        "scaling": or_null(one_of("density", "spectrum")),
        "padding": one_of("valid", "same"),
        "periodic": BOOLEAN,
    },
    # Images
    "Resizing": _IMAGE,
    "CenterCrop": _IMAGE,
    "RandomCrop": {**_IMAGE, "seed": SEED},
    **{name: {"factor": UNIT, "seed": SEED} for name in ("CutMix", "RandomContrast", "RandomHue", "RandomInvert")},
    "RandomSharpness": {"factor": UNIT, "value_range": _RANGE, "seed": SEED},
    **{
        name: {"factor": UNIT, "interpolation": _MODES, "value_range": _RANGE, "seed": SEED}
        for name in ("AugMix", "RandAugment")
    },
    "AutoContrast": {"value_range": _RANGE},
    "Equalization": {"value_range": _RANGE},
    "RandomElasticTransform": {
        "factor": UNIT,
        "scale": UNIT,
        "interpolation": _MODES,
        "seed": SEED,
        "fill_mode": one_of("reflect", "wrap", "constant", "nearest", "mirror"),
    },
    "RandomErasing": {"factor": UNIT, "scale": UNIT, "seed": SEED},
    "RandomGaussianBlur": {"factor": UNIT, "sigma": UNIT, "kernel_size": _ODD, "seed": SEED},
    "RandomPerspective": {"factor": UNIT, "scale": UNIT, "interpolation": _MODES, "seed": SEED},
    "RandomPosterization": {"factor": _factor(1, 8), "value_range": _RANGE, "seed": SEED},
    "RandomGrayscale": {"factor": RATE, "seed": SEED},
    "Solarization": {"addition_factor": _each(0, 1), "threshold_factor": _each(0, 1), "value_range": _RANGE, "seed": SEED},
    "RandomBrightness": {"factor": or_empty(_SIGNED), "value_range": _RANGE, "seed": SEED},
    **{
        name: {"factor": _SIGNED, "value_range": _RANGE, "seed": SEED}
        for name in ("RandomColorDegeneration", "RandomSaturation")
    },
    "RandomColorJitter": {
        "brightness_factor": or_empty(_SIGNED),
        "saturation_factor": or_null(_SIGNED),
        "contrast_factor": or_null(UNIT),
        "hue_factor": or_null(UNIT),
        "seed": SEED,
    },
    "RandomRotation": {"factor": or_empty(_SIGNED), **_PLACED},
    "RandomTranslation": {"height_factor": _each(-1, 1), "width_factor": _each(-1, 1), **_PLACED},
    "RandomZoom": {"height_factor": _each(-1, 1), "width_factor": or_null(_each(-1, 1)), **_PLACED},
    "RandomShear": _PLACED,  # which does not take the factors that it writes itself
    **{name: {"seed": SEED} for name in ("MixUp", "RandomFlip")},
    "MaxNumBoundingBoxes": {"max_number": FLOATABLE},
}
