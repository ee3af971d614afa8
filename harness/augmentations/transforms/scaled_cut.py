"""Resize at random and cut out a size, of which only the part that is cut is ever resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.utils.images import resize_image, resize_mask
from harness.utils.normalization import BLACK, Color
from harness.utils.pixels import MaskRule
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402

VOID = 255

# How often a cut is drawn anew in which one class has too large a share.
CUTS = 10


class ScaledCut(v2.Transform):
    """Resize by a random factor and cut a size out at random, with a color and void around an image that is too small.

    Only the part that is cut is resized: the part of the source that it shows is taken first, in whole pixels, so that
    its factor can differ from the drawn one by half a pixel of the source along a side.

    Args:
        size: height and width of what comes out.
        draw: draws height and width of the resized image from those of the source.
        max_share: cuts are drawn anew while one class has a larger share of the pixels that are not void.
        fill: the color.
        mask_rule: how masks are resized.
    """

    def __init__(
        self,
        size: tuple[int, int],
        draw: Callable[[int, int], tuple[int, int]],
        max_share: float = 1.0,
        fill: Color = BLACK,
        mask_rule: MaskRule = "nearest-exact",
    ) -> None:
        super().__init__()
        self.size, self.draw, self.max_share, self.fill, self.mask_rule = size, draw, max_share, fill, mask_rule

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw factor and cut."""
        height, width = flat_inputs[0].shape[-2:]
        scaled = self.draw(height, width)
        mask = next((one for one in flat_inputs if isinstance(one, tv_tensors.Mask)), None)
        for _ in range(CUTS):
            cut = self._cut((height, width), scaled)
            if self.max_share >= 1 or mask is None or largest_share(mask[cut["box"]]) <= self.max_share:
                break
        return cut

    def _cut(self, shape: tuple[int, int], scaled: tuple[int, int]) -> dict[str, Any]:
        """Where the cut lies in the source, what it is resized to, and how it is padded."""
        box, inner, before, after = [], [], [], []
        for source, whole, wanted in zip(shape, scaled, self.size, strict=True):
            room = whole - wanted
            place = int(torch.randint(0, abs(room) + 1, ()))
            if room <= 0:
                box.append(slice(0, source))
                inner.append(whole)
                before.append(place)
                after.append(-room - place)
                continue
            first = min(source - 1, round(place * source / whole))
            box.append(slice(first, max(first + 1, min(source, round((place + wanted) * source / whole)))))
            inner.append(wanted)
            before.append(0)
            after.append(0)
        return {
            "box": (..., *box),
            "inner": inner,
            "padding": [before[1], before[0], after[1], after[0]],
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut, resize (masks by their rule), pad."""
        cut = tv_tensors.wrap(inpt[params["box"]], like=inpt)
        if isinstance(inpt, tv_tensors.Mask):
            resized = tv_tensors.wrap(resize_mask(cut, params["inner"], self.mask_rule), like=inpt)
        else:
            resized = tv_tensors.wrap(resize_image(cut, params["inner"]), like=inpt)
        if not any(params["padding"]):
            return resized
        fill = VOID if isinstance(inpt, tv_tensors.Mask) else list(self.fill)
        return self._call_kernel(v2.functional.pad, resized, params["padding"], fill=fill)


def largest_share(mask: Tensor) -> float:
    """The share of the commonest label (H, W) among the pixels that are not void; 1 where all are."""
    counts = torch.bincount(mask.flatten(), minlength=256)
    counts[VOID] = 0
    total = int(counts.sum())
    return int(counts.max()) / total if total else 1.0


def by_factor(low: float, high: float) -> Callable[[int, int], tuple[int, int]]:
    """Both sides times a factor drawn from a range."""

    def draw(height: int, width: int) -> tuple[int, int]:
        factor = float(torch.empty(()).uniform_(low, high))
        return max(1, round(height * factor)), max(1, round(width * factor))

    return draw


def by_short_side(low: int, high: int) -> Callable[[int, int], tuple[int, int]]:
    """The shorter side becomes a whole number of pixels drawn from a range, both ends included."""

    def draw(height: int, width: int) -> tuple[int, int]:
        side = int(torch.randint(low, high + 1, ()))
        short = min(height, width)
        return max(1, height * side // short), max(1, width * side // short)

    return draw


def by_fit(size: tuple[int, int], low: float, high: float) -> Callable[[int, int], tuple[int, int]]:
    """A drawn factor times the one at which the image just fits into a size (Ghiasi et al., CVPR 2021)."""

    def draw(height: int, width: int) -> tuple[int, int]:
        factor = float(torch.empty(()).uniform_(low, high)) * min(size[0] / height, size[1] / width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    return draw
