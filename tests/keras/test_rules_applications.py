"""Every architecture of keras.applications: what refser expects from the config is what Keras would write.  NumPy backend."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.keras, pytest.mark.slow, pytest.mark.xdist_group("keras-numpy")]

NAMES = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{number}" for number in range(8)),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S"),
    *("InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2"),
    *("VGG16", "VGG19", "Xception"),
)


def test_these_are_all() -> None:
    import keras

    assert sorted(NAMES) == sorted(name for name in dir(keras.applications) if name[0].isupper())


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture(name: str) -> None:
    import keras
    from trees import differences

    model = getattr(keras.applications, name)(weights=None)
    assert differences(model) == []
