"""Mirroring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.augmentations.base import AUGMENTATIONS, Augmentation
from harness.utils.options import Fraction
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("hflip")
class HorizontalFlip(Augmentation):
    """Mirror left and right."""

    op: Literal["hflip"] = "hflip"
    p: Fraction = 0.5

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision.transforms import v2

        return v2.RandomHorizontalFlip(self.p)


@AUGMENTATIONS.register("vflip")
class VerticalFlip(Augmentation):
    """Mirror top and bottom."""

    op: Literal["vflip"] = "vflip"
    p: Fraction = 0.5

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision.transforms import v2

        return v2.RandomVerticalFlip(self.p)
