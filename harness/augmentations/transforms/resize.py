"""Resizing an image and its mask by one pixel rule; torchvision's own transforms take masks by ⌊i · old / new⌋."""

from __future__ import annotations

from typing import Any

from harness.utils.images import resize_image, resize_mask
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402


class Resize(v2.Transform):
    """Resize to a height and width: images bilinearly, masks to the nearest pixel centre."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize."""
        resized = resize_mask if isinstance(inpt, tv_tensors.Mask) else resize_image
        return tv_tensors.wrap(resized(inpt, self.size), like=inpt)


class RandomResizedCrop(v2.RandomResizedCrop):
    """Torchvision's random cut, its mask resized as `Resize` does."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut and resize."""
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        cut = self._call_kernel(v2.functional.crop, inpt, **params)
        return tv_tensors.wrap(resize_mask(cut, self.size), like=inpt)
