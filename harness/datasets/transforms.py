"""Augmentation: a recipe's steps as torchvision.transforms.v2, on uint8 until the batch is normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.recipe import (
    Augmentation,
    Blur,
    ColorJitter,
    Flip,
    Letterbox,
    RandomResizedCrop,
    Recipe,
    Rotate,
    ScaleCrop,
)
from harness.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402

VOID = 255
# What new pixels hold: black in the image, void in the mask.
FILL = {tv_tensors.Image: 0, tv_tensors.Mask: VOID}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class RandomScale(v2.Transform):
    """Resize both sides by one factor drawn from a range."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor."""
        height, width = flat_inputs[0].shape[-2:]
        factor = float(torch.empty(()).uniform_(self.low, self.high))
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize; masks by nearest neighbour."""
        return self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=True)


class PadToProportions(v2.Transform):
    """Pad with black and void, evenly on both sides, to the proportions of a size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The margins."""
        return {"padding": letterbox_margins(flat_inputs[0].shape[-2:], self.size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad."""
        fill = VOID if isinstance(inpt, tv_tensors.Mask) else 0
        return self._call_kernel(v2.functional.pad, inpt, params["padding"], fill=fill)


def letterbox_margins(shape: Sequence[int], size: tuple[int, int]) -> list[int]:
    """Pixels to add left, top, right and bottom, so that height and width get the proportions of `size`."""
    height, width = shape
    tall, wide = max(height, round(width * size[0] / size[1])), max(width, round(height * size[1] / size[0]))
    top, left = (tall - height) // 2, (wide - width) // 2
    return [left, top, wide - width - left, tall - height - top]


def training_transform(recipe: Recipe) -> v2.Transform:
    """The recipe's augmentation, ending at the recipe's size."""
    height, width = recipe.size
    return v2.Compose([*(_step(step, (height, width)) for step in recipe.augment), v2.Resize((height, width))])


def augmented(transform: v2.Transform, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Apply a transform to an image (3, H, W) and its mask (H, W) alike; draws from the global generator."""
    image, mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return image.as_subclass(Tensor), mask.as_subclass(Tensor)


def _step(step: Augmentation, size: tuple[int, int]) -> v2.Transform:
    if isinstance(step, Flip):
        return v2.RandomHorizontalFlip(step.p)
    if isinstance(step, RandomResizedCrop):
        return v2.RandomResizedCrop(size, scale=step.scale, ratio=step.ratio, antialias=True)
    if isinstance(step, ScaleCrop):
        crop = v2.RandomCrop(size, pad_if_needed=True, fill=FILL)
        return v2.Compose([RandomScale(*step.scale), crop])
    if isinstance(step, Letterbox):
        return PadToProportions(size)
    if isinstance(step, Rotate):
        bilinear = v2.InterpolationMode.BILINEAR
        inner: v2.Transform = v2.RandomRotation(step.degrees, interpolation=bilinear, fill=FILL)
    elif isinstance(step, ColorJitter):
        inner = v2.ColorJitter(step.brightness, step.contrast, step.saturation, step.hue)
    elif isinstance(step, Blur):
        inner = v2.GaussianBlur(step.kernel, step.sigma)
    return inner if step.p >= 1 else v2.RandomApply([inner], step.p)


def normalise(images: Tensor, rule: str) -> Tensor:
    """uint8 images (N, 3, H, W) as floats: in [0, 1], and by ImageNet's mean and deviation where asked."""
    scaled = images.float().div_(255)
    if rule == "unit":
        return scaled
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return scaled.sub_(mean).div_(std)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize one uint8 image (3, H, W) as the training does."""
    resized: Tensor = v2.functional.resize(image, list(size), antialias=True)
    return resized
