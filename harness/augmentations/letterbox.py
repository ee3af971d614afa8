"""Padding to the proportions of a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.augmentations.base import AUGMENTATIONS, Augmentation

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("letterbox")
class Letterbox(Augmentation):
    """Pad, evenly on both sides, to the proportions of the recipe's size."""

    op: Literal["letterbox"] = "letterbox"

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms.pad import PadToProportions

        return PadToProportions(size, fill)
