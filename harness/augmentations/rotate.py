"""Rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.augmentations.base import AUGMENTATIONS, Augmentation, with_chance
from harness.utils.options import Fraction
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


@AUGMENTATIONS.register("rotate")
class Rotate(Augmentation):
    """Rotate by an angle drawn from ±degrees; new corners are padding: void."""

    op: Literal["rotate"] = "rotate"
    degrees: float = Field(10.0, ge=0, le=180)
    p: Fraction = 1.0

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """See `Augmentation`."""
        import_torchvision()
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        fills = {tv_tensors.Image: list(fill), tv_tensors.Mask: 255}
        bilinear = v2.InterpolationMode.BILINEAR
        return with_chance(v2.RandomRotation(self.degrees, interpolation=bilinear, fill=fills), self.p)
