"""Blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.augmentations.base import AUGMENTATIONS, Augmentation, with_chance
from harness.utils.options import Fraction, Positive
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("blur")
class Blur(Augmentation):
    """Gaussian blur."""

    op: Literal["blur"] = "blur"
    kernel: int = Field(3, gt=0)
    sigma: tuple[Positive, Positive] = (0.1, 2.0)
    p: Fraction = 0.5

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision.transforms import v2

        return with_chance(v2.GaussianBlur(self.kernel, self.sigma), self.p)
