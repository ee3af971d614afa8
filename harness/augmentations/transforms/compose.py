"""A recipe's augmentation as one transform, on uint8 until the batch is normalized."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from harness.augmentations.base import Augmentation
from harness.augmentations.transforms.resize import Resize
from harness.utils.normalization import BLACK, Color
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402


def training_transform(steps: Sequence[Augmentation], size: tuple[int, int], fill: Color = BLACK) -> v2.Transform:
    """The steps one after another, with a color for new pixels, ending at a size (height and width)."""
    return v2.Compose([*(step.transform(size, fill) for step in steps), Resize(size)])


def augmented(transform: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Apply a transform to an image (3, H, W) and its mask (H, W) alike; draws from the global generator."""
    image, mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return image.as_subclass(Tensor).contiguous(), mask.as_subclass(Tensor).contiguous()
