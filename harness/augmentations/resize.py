"""Resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.augmentations.base import AUGMENTATIONS, Augmentation

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("resize")
class Resize(Augmentation):
    """Resize to the recipe's size, whatever the proportions: as the first step, the others work on that square."""

    op: Literal["resize"] = "resize"

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        from harness.augmentations.transforms import resize

        return resize.Resize(size)
