"""From scores at 1/8 or so up to the image: at any size, without a drift between the two."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate, pad


def raised(scores: Tensor, image: Tensor, mode: str = "bilinear") -> Tensor:
    """A map (N, C, h, w) at the size of an image: each of its values stands for as many whole pixels."""
    return interpolate(scores, size=image.shape[-2:], mode=mode, align_corners=False)


class Grid:
    """Pixels of an image and of the features that strided convolutions make of it, so laid that neither drifts.

    A convolution of stride s with half its kernel as padding looks at the pixels 0, s, 2s … With `align_corners` the
    first and the last of them have to be the image's corners: a side of s·k + 1 pixels. Without, each feature stands
    for s whole pixels: a side of s·k. The image gets zeros at the right and bottom up to there, and the logits lose
    them again.

    Args:
        stride: s.
        align_corners: as `interpolate` takes it.
    """

    def __init__(self, stride: int, align_corners: bool) -> None:
        self.stride, self.align_corners = stride, align_corners

    def fit(self, x: Tensor) -> Tensor:
        """An image (N, C, H, W), with zeros at the right and bottom."""
        height, width = x.shape[-2:]
        return pad(x, (0, self._missing(width), 0, self._missing(height)))

    def raised(self, scores: Tensor, image: Tensor) -> Tensor:
        """Scores (N, K, h, w) of a fitted image -> logits at the size of the image as it came."""
        height, width = image.shape[-2:]
        size = (height + self._missing(height), width + self._missing(width))
        logits = interpolate(scores, size=size, mode="bilinear", align_corners=self.align_corners)
        return logits[..., :height, :width]

    def _missing(self, side: int) -> int:
        return (int(self.align_corners) - side) % self.stride
