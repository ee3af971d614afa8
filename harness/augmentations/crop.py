"""Random scale and crop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.augmentations.base import AUGMENTATIONS, Augmentation
from harness.utils.options import Positive
from harness.utils.pixels import MaskRule

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("random_resized_crop")
class RandomResizedCrop(Augmentation):
    """Cut a random part and resize it to the recipe's size."""

    op: Literal["random_resized_crop"] = "random_resized_crop"
    scale: tuple[Positive, Positive] = (0.7, 1.0)
    ratio: tuple[Positive, Positive] = (0.9, 1.1)

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms import resize

        return resize.RandomResizedCrop(size, scale=self.scale, ratio=self.ratio, antialias=True)


@AUGMENTATIONS.register("scale_crop")
class ScaleCrop(Augmentation):
    """Resize by a random factor, pad where too small, cut the recipe's size at random."""

    op: Literal["scale_crop"] = "scale_crop"
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    short_side: tuple[int, int] | None = None
    """Instead of `scale`: the pixels that the shorter side is resized to."""
    max_share: Positive = Field(1.0, le=1)
    """Cuts are drawn anew, up to ten times, while one class has more than this share of the pixels that count."""
    mask_resize: MaskRule = "nearest-exact"
    """How masks are resized; `nearest` displaces them against the image, as OpenCV does: for recipes that had it so."""

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms.scaled_cut import ScaledCut, by_factor, by_short_side

        draw = by_short_side(*self.short_side) if self.short_side else by_factor(*self.scale)
        return ScaledCut(size, draw, self.max_share, fill, self.mask_resize)


@AUGMENTATIONS.register("scale_jitter")
class ScaleJitter(Augmentation):
    """As scale_crop, but the factor is relative to the one at which the image just fits into the recipe's size."""

    op: Literal["scale_jitter"] = "scale_jitter"
    scale: tuple[Positive, Positive] = (0.1, 2.0)
    max_share: Positive = Field(1.0, le=1)

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms.scaled_cut import ScaledCut, by_fit

        return ScaledCut(size, by_fit(size, *self.scale), self.max_share, fill)
