"""Changes of color."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.augmentations.base import AUGMENTATIONS, Augmentation, with_chance
from harness.utils.options import Fraction, Positive
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("color_jitter")
class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue."""

    op: Literal["color_jitter"] = "color_jitter"
    brightness: float = Field(0.2, ge=0)
    contrast: float = Field(0.2, ge=0)
    saturation: float = Field(0.2, ge=0)
    hue: float = Field(0.1, ge=0, le=0.5)
    p: Fraction = 1.0

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision.transforms import v2

        return with_chance(v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue), self.p)


@AUGMENTATIONS.register("photometric")
class Photometric(Augmentation):
    """mmsegmentation's distortion: brightness, contrast, saturation and hue, each with a chance of `p`.

    Contrast comes before saturation and hue or after them, by the toss of a coin. Unlike SSD's, from which it descends,
    it never permutes channels.
    """

    op: Literal["photometric"] = "photometric"
    brightness: float = Field(32, ge=0, le=255)
    """The most that is added or taken away, of 255."""
    contrast: tuple[Positive, Positive] = (0.5, 1.5)
    saturation: tuple[Positive, Positive] = (0.5, 1.5)
    """Ranges of the factors."""
    hue: int = Field(18, ge=0, le=90)
    """The most that the hue is turned, in OpenCV's steps of two degrees."""
    p: Fraction = 0.5

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms.photometric import PhotometricDistortion

        return PhotometricDistortion(self.brightness, self.contrast, self.saturation, self.hue, self.p)
