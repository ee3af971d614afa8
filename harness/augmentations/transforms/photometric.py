"""mmsegmentation's photometric distortion, on uint8 tensors of any device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402

# What changes an image (3, H, W) uint8, and by how much.
Step = tuple[Callable[[Tensor, float], Tensor], float]

# OpenCV keeps a hue in a byte: two degrees a step.
HUES = 180
# OpenCV divides by a table of reciprocals in fixed point, with so many binary places.
PLACES = 12


class PhotometricDistortion(v2.Transform):
    """Brightness, then contrast before or after saturation and hue, each with a chance; masks stay as they are.

    After `PhotoMetricDistortion` of mmsegmentation (mmseg/datasets/transforms/transforms.py). Every step ends in uint8,
    clipped and without its fraction.

    Args:
        brightness: the most that is added or taken away, of 255.
        contrast: range of the factor of red, green and blue.
        saturation: range of the factor of the saturation.
        hue: the most that the hue is turned, of 180; the upper end is left out, as there.
        p: the chance of each of the four.
    """

    def __init__(
        self, brightness: float, contrast: tuple[float, float], saturation: tuple[float, float], hue: int, p: float
    ) -> None:
        super().__init__()
        self.brightness, self.contrast, self.saturation, self.hue, self.p = brightness, contrast, saturation, hue, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the steps."""
        brightness: Step = (with_brightness, uniform(-self.brightness, self.brightness))
        contrast: Step = (with_contrast, uniform(*self.contrast))
        colors: list[Step] = [
            (with_saturation, uniform(*self.saturation)),
            (with_hue, int(torch.randint(-self.hue, max(self.hue, 1 - self.hue), ()))),
        ]
        steps = [brightness, *([contrast, *colors] if torch.rand(()) < 0.5 else [*colors, contrast])]
        return {"steps": [step for step in steps if torch.rand(()) < self.p]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Take the steps."""
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        image = inpt.as_subclass(Tensor)
        for change, amount in params["steps"]:
            image = change(image, amount)
        return tv_tensors.wrap(image, like=inpt)


def uniform(low: float, high: float) -> float:
    """A number from a range, from the global generator."""
    return float(torch.empty(()).uniform_(low, high))


def with_brightness(image: Tensor, delta: float) -> Tensor:
    """An image (3, H, W) uint8 with a number added, of 255."""
    return _byte(image.float() + delta)


def with_contrast(image: Tensor, factor: float) -> Tensor:
    """An image (3, H, W) uint8 with every channel times a factor."""
    return _byte(image.float() * factor)


def with_saturation(image: Tensor, factor: float) -> Tensor:
    """An image (3, H, W) uint8 with its saturation times a factor."""
    hue, saturation, value = hsv_of(image)
    return rgb_of(hue, _byte(saturation * factor), value)


def with_hue(image: Tensor, turn: float) -> Tensor:
    """An image (3, H, W) uint8 with its hue turned, in steps of two degrees."""
    hue, saturation, value = hsv_of(image)
    return rgb_of((hue + int(turn)) % HUES, saturation, value)


def hsv_of(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (0 to 179), saturation and value (0 to 255), each (H, W) int32, of an image (3, H, W) uint8, as OpenCV's."""
    red, green, blue = image.int()
    value = image.amax(dim=0).int()
    spread = value - image.amin(dim=0).int()
    third = torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread)
    sector = torch.where(value == red, green - blue, third)  # in units of 60 degrees / spread
    hue = _divided(sector, spread, HUES // 6) % HUES
    return hue, _divided(spread, value, 255), value


def rgb_of(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The image (3, H, W) uint8 of what `hsv_of` gives; fractions are cut off, as OpenCV's vector code does.

    Smith's hexagon (SIGGRAPH 1978) in one formula: a channel is value · (1 - saturation · w), where w rises from 0 to 1
    over 60 degrees, stays for 60, falls for 60 and is 0 for the rest, beginning at another hue for each channel.
    """
    sixths, share, scale = hue * (6 / HUES), saturation * (1 / 255), value * (1 / 255)
    places = ((start + sixths) % 6 for start in (5, 3, 1))  # red, green, blue
    channels = [scale * (1 - share * torch.minimum(at, 4 - at).clamp(0, 1)) * 255 for at in places]
    return torch.stack(channels).to(torch.uint8)


def _byte(values: Tensor) -> Tensor:
    return values.clamp(0, 255).to(torch.uint8)


def _divided(number: Tensor, by: Tensor, unit: int) -> Tensor:
    """`unit · number / by`, rounded as OpenCV does it; 0 where `by` is 0."""
    reciprocals = _reciprocals(unit, number.device)
    return (number * reciprocals[by] + (1 << (PLACES - 1))) >> PLACES


@cache
def _reciprocals(unit: int, device: torch.device) -> Tensor:
    """`unit / n` in fixed point for n of 0 to 255; 0 for 0."""
    exact = [0.0, *((unit << PLACES) / n for n in range(1, 256))]
    return torch.tensor([round(value) for value in exact], dtype=torch.int32, device=device)
