"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) whose contracting path is an EfficientNet-Lite.

A network of its own beside `unet`: what pretrained weights fill is declared for a whole file, and U-Net's own
contracting path has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.efficientnet_lite import efficientnet_lite
from .blocks.resnet import conv_bn_relu

NAME = "unet_lite"
SUMMARY = "U-Net on EfficientNet-Lite0, 1 or 2, with ImageNet weights from packages (extra lite, Apache-2.0)"
STRIDE = 32
PAPER = "Ronneberger et al., U-Net, MICCAI 2015; Tan and Le, EfficientNet, ICML 2019"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    encoder: str = "efficientnet_lite0",
    channels: Sequence[int] = (256, 128, 64, 32),
    pretrained: str = "none",
) -> UNetLite:
    """Build a U-Net on an EfficientNet-Lite.

    Args:
        num_classes: K.
        encoder: efficientnet_lite0, efficientnet_lite1 or efficientnet_lite2.
        channels: of the expanding path at 1/16, 1/8, 1/4 and 1/2. A fifth number adds a level at full resolution,
            which has nothing to join.
        pretrained: `imagenet` or `none`.

    Raises:
        ValueError: there is no such encoder, or not four or five numbers of channels.
        WeightsError: the weights cannot be had; says how to install them.
    """
    if len(channels) not in (4, 5):
        raise ValueError(f"channels {list(channels)}: give four numbers, or five")
    return UNetLite(num_classes, efficientnet_lite(encoder, pretrained=pretrained, half=True), channels)


class UNetLite(nn.Module):
    """Encode, expand, and at each level join what the encoder saw there."""

    def __init__(self, num_classes: int, encoder: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        *skips, below = (int(c) for c in encoder.channels)  # type: ignore[union-attr]
        self.join = nn.ModuleList()
        for number, width in enumerate(channels):
            skip = skips.pop() if number < 4 else 0
            self.join.append(conv_bn_relu(below + skip, width, width))
            below = width
        self.head = nn.Conv2d(below, num_classes, kernel_size=1)
        for module in (*self.join.modules(), self.head):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 32 -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        *skips, x = self.encoder(x)
        for join in self.join:
            x = interpolate(x, scale_factor=2, mode="nearest")
            x = join(torch.cat([x, skips.pop()], dim=1) if skips else x)
        return interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)
