"""An augmentation from another package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.augmentations import Augmentation
from harness.utils.options import Fraction
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


class Grayscale(Augmentation):
    """Take the color out of an image, with a chance."""

    op: Literal["grayscale"] = "grayscale"
    p: Fraction = 0.1

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision.transforms import v2

        return v2.RandomGrayscale(self.p)
