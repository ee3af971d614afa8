"""What training and prediction do alike with images: resize them, pad them, and turn them into floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision.transforms import v2  # noqa: E402 (only importable after the line above)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask (…, H, W) at another size: of each new pixel's centre, the pixel it falls into.

    This is where images, logits and the evaluator have their pixels, too. A centre between two pixels takes the lower
    or right one. Places are whole numbers, so that no rounding can move a pixel, as it can in PyTorch's
    `nearest-exact`.
    """
    rows, columns = (
        (2 * torch.arange(new, device=mask.device) + 1) * old // (2 * new)
        for old, new in zip(mask.shape[-2:], size, strict=True)
    )
    return mask[..., rows[:, None], columns]


def letterbox_margins(shape: Sequence[int], size: tuple[int, int]) -> list[int]:
    """Pixels to add left, top, right and bottom, so that height and width get the proportions of `size`."""
    height, width = shape
    tall, wide = max(height, round(width * size[0] / size[1])), max(width, round(height * size[1] / size[0]))
    top, left = (tall - height) // 2, (wide - width) // 2
    return [left, top, wide - width - left, tall - height - top]
