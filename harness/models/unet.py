"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def unet(num_classes: int, width: int = 64, norm: bool = True, depth: int = 4) -> UNet:
    """Build a U-Net in its same-padding form.

    The paper's convolutions are unpadded and without batch normalisation; here every convolution keeps its
    size, so that output and input agree, and `norm` (on by default) adds batch normalisation. Both are the
    usual departures.

    Args:
        num_classes: K.
        width: channels of the first level; each level down doubles them. The paper's is 64.
        norm: batch normalisation after every 3×3 convolution (which then has no bias).
        depth: how often the path contracts. The paper's is 4.
    """
    return UNet(num_classes, width, norm, depth)


class UNet(nn.Module):
    """Contract, expand, and at each level join what was seen on the way down."""

    def __init__(self, num_classes: int, width: int, norm: bool, depth: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            DoubleConv(a, b, norm) for a, b in zip([3, *channels[:-2]], channels[:-1], strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = DoubleConv(channels[-2], channels[-1], norm)
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, kernel_size=2, stride=2) for c in reversed(channels[1:]))
        self.join = nn.ModuleList(DoubleConv(c, c // 2, norm) for c in reversed(channels[1:]))
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 2^depth -> logits (N, K, H, W)."""
        # 1. Down: keep each level's features.
        kept = []
        for level in self.down:
            x = level(x)
            kept.append(x)
            x = self.pool(x)  # half the size
        # 2. Bottom.
        x = self.bottom(x)
        # 3. Up: double the size, halve the channels, join with the way down.
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), up(x)], dim=1))
        # 4. One score for each class.
        return self.head(x)  # type: ignore[no-any-return]


class DoubleConv(nn.Sequential):
    """Twice: 3×3 convolution, batch normalisation where wanted, ReLU."""

    def __init__(self, inside: int, outside: int, norm: bool) -> None:
        layers: list[nn.Module] = []
        for a, b in ((inside, outside), (outside, outside)):
            layers.append(nn.Conv2d(a, b, kernel_size=3, padding=1, bias=not norm))
            layers += [nn.BatchNorm2d(b)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


def _init(module: nn.Module) -> None:
    """N(0, √(2/fan_in)) as in the paper, section 3."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
