"""Images resized, cropped and changed at random.  None has variables: the seeds are no part of a file.

Keras: keras.layers.preprocessing.image_preprocessing.  Spec: spec/layers.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from refser.config.objects import invalid
from refser.rules.layer import Layer, Shape, Unknown
from refser.rules.rule import Child, Rule
from refser.rules.spatial import first


def _same(layer: Layer, shapes: list[Shape]) -> Any:
    """Images, or images with labels, boxes and masks."""
    return first(layer, shapes) if len(shapes) < 2 else list(shapes)


def _images(layer: Layer, shapes: list[Shape]) -> Shape:
    if len(shapes) > 1:
        raise Unknown("which of several inputs are the images")
    return first(layer, shapes)


def _resized(layer: Layer, shapes: list[Shape]) -> Shape:
    """One image or a batch of them, of another height and width."""
    shape = _images(layer, shapes)
    if len(shape) not in (3, 4):
        raise invalid("LY-002", f"an input of {len(shape)} axes; {layer.class_name} wants 3 or 4", layer.at)
    size = layer.integer("height"), layer.integer("width")
    return (*shape[:-2], *size) if layer.channels_first else (*shape[:-3], *size, shape[-1])


def _random_axis(number: int) -> Any:
    """tf.keras has images of any height or width come out of these."""

    def output(layer: Layer, shapes: list[Shape]) -> Shape:
        shape = layer.given([_images(layer, shapes)], 3)
        return tuple(None if axis == len(shape) + number else length for axis, length in enumerate(shape))

    return output


_SOME = ("random_shear", "random_translation", "random_rotation", "solarization", "random_posterization")
_ALWAYS = ("auto_contrast", "equalization")
_MORE = ("random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness")


def _parts(layer: Layer, attributes: Iterable[str]) -> Iterable[Child]:
    """Layers that a layer makes of its arguments, each in an attribute of the name of its class."""
    for attribute in attributes:
        class_name = "".join(word.capitalize() for word in attribute.split("_"))
        yield Child(attribute, layer.sub(class_name, {}, name=None))


def _aug_mix(layer: Layer) -> Iterable[Child]:
    return _parts(layer, (*_SOME, *_ALWAYS, *(_MORE if layer.flag("all_ops", True) else ())))


_JITTERS = ("brightness", "contrast", "saturation", "hue")


def _color_jitter(layer: Layer) -> Iterable[Child]:
    return _parts(layer, (f"random_{name}" for name in _JITTERS if layer.has(f"{name}_factor")))


RULES = (
    *(Rule(name, output=_resized) for name in ("CenterCrop", "RandomCrop", "Resizing")),
    Rule("RandomHeight", output=_random_axis(-3)),
    Rule("RandomWidth", output=_random_axis(-2)),
    Rule("RandAugment", children=lambda layer: _parts(layer, (*_SOME, *_ALWAYS, *_MORE)), output=_same),
    Rule("AugMix", children=_aug_mix, output=_same),
    Rule("RandomColorJitter", children=_color_jitter, output=_same),
    Rule("MaxNumBoundingBoxes", output=_images),
    *(
        Rule(name, output=_same)
        for name in (
            *("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix", "Equalization", "MixUp"),
            *("RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomElasticTransform", "RandomErasing"),
            *("RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective"),
            *("RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
            *("RandomTranslation", "RandomZoom", "Solarization"),
        )
    ),
)
