"""How images are brought to numbers around 0: the names of the rules, and the color that becomes 0."""

from collections.abc import Mapping
from typing import Literal

Normalization = Literal["imagenet", "unit", "symmetric"]
"""`imagenet`: ImageNet's mean and deviation. `unit`: values in [0, 1]. `symmetric`: values in [-1, 1]."""

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

BLACK: Color = (0, 0, 0)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_ZERO: Mapping[Normalization, tuple[float, float, float]] = {
    "imagenet": IMAGENET_MEAN,
    "unit": (0, 0, 0),
    "symmetric": (0.5, 0.5, 0.5),
}


def mean_color(rule: Normalization) -> Color:
    """The color that normalization brings nearest to 0: (124, 116, 104) by ImageNet's mean."""
    red, green, blue = (round(255 * value) for value in _ZERO[rule])
    return red, green, blue
