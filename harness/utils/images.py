"""What training and prediction do alike with images: resize them, pad them, and turn them into floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.utils.normalization import IMAGENET_MEAN, IMAGENET_STD
from harness.utils.pixels import MaskRule, nearest_pixels
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision.transforms import v2  # noqa: E402 (only importable after the line above)


def normalize(images: Tensor, rule: str) -> Tensor:
    """uint8 images (N, 3, H, W) as floats: in [0, 1], in [-1, 1], or by ImageNet's mean and deviation."""
    scaled = images.float().div_(255)
    if rule == "unit":
        return scaled
    if rule == "symmetric":
        return scaled.mul_(2).sub_(1)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return scaled.sub_(mean).div_(std)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize one uint8 image (3, H, W) as the training does."""
    resized: Tensor = v2.functional.resize(image, list(size), antialias=True)
    return resized


def resize_mask(mask: Tensor, size: Sequence[int], rule: MaskRule = "nearest-exact") -> Tensor:
    """A mask (…, H, W) at another size; see `MaskRule`."""
    for axis, old, new in zip((-2, -1), mask.shape[-2:], size, strict=True):
        if old != new:
            mask = mask.index_select(axis, torch.from_numpy(nearest_pixels(old, new, rule)).to(mask.device))
    return mask


def padded(image: Tensor, margins: Sequence[int], fill: Sequence[int]) -> Tensor:
    """One uint8 image (3, H, W) with pixels of a color added left, top, right and bottom."""
    wider: Tensor = v2.functional.pad(image, list(margins), fill=list(fill))
    return wider


def letterbox_margins(shape: Sequence[int], size: tuple[int, int]) -> list[int]:
    """Pixels to add left, top, right and bottom, so that height and width get the proportions of `size`."""
    height, width = shape
    tall, wide = max(height, round(width * size[0] / size[1])), max(width, round(height * size[1] / size[0]))
    top, left = (tall - height) // 2, (wide - width) // 2
    return [left, top, wide - width - left, tall - height - top]
