"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

NAME = "unet"
SUMMARY = "contracting and expanding path joined by concatenation"
STRIDE = 16
PAPER = "Ronneberger et al., U-Net, MICCAI 2015"
LICENSE = "Apache-2.0"
BACKBONE = ()

Padding = Literal["same", "valid"]


def build(num_classes: int, width: int = 64, norm: bool = True, depth: int = 4, padding: Padding = "same") -> UNet:
    """Build a U-Net.

    Args:
        num_classes: K.
        width: channels of the first level; each level down doubles them. The paper's is 64.
        norm: batch normalization after every 3×3 convolution (which then has no bias); the paper has none.
        depth: how often the path contracts. The paper's is 4.
        padding: `same`, the usual departure from the paper: every convolution keeps its size. `valid`: the paper's
            unpadded convolutions, by which an output is 184 pixels smaller than its input (572 to 388); the image is
            mirrored at its borders by as much, so that every pixel is scored (paper, figure 2).
    """
    return UNet(num_classes, width, norm, depth, padding)


class UNet(nn.Module):
    """Contract, expand, and at each level join what was seen on the way down."""

    def __init__(self, num_classes: int, width: int, norm: bool, depth: int, padding: Padding) -> None:
        super().__init__()
        self.depth, self.padding = depth, padding
        channels = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            DoubleConv(a, b, norm, padding) for a, b in zip([3, *channels[:-2]], channels[:-1], strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = DoubleConv(channels[-2], channels[-1], norm, padding)
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, kernel_size=2, stride=2) for c in reversed(channels[1:]))
        self.join = nn.ModuleList(DoubleConv(c, c // 2, norm, padding) for c in reversed(channels[1:]))
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 2^depth -> logits (N, K, H, W)."""
        if self.padding == "same":
            return self.tile(x)
        margin = lost(self.depth) // 2 + 2
        # Mirrored as far as there is something to mirror; a small image's border is repeated.
        mode = "reflect" if min(x.shape[-2:]) > margin else "replicate"
        return self.tile(pad(x, [margin] * 4, mode=mode))[..., 2:-2, 2:-2]

    def tile(self, x: Tensor) -> Tensor:
        """The paper's figure 1: logits of the input, or with `valid` padding of its inner part."""
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
            x = up(x)
            x = join(torch.cat([cut(kept.pop(), x), x], dim=1))
        # 4. One score for each class.
        return self.head(x)  # type: ignore[no-any-return]


class DoubleConv(nn.Sequential):
    """Twice: 3×3 convolution, batch normalization where wanted, ReLU."""

    def __init__(self, inside: int, outside: int, norm: bool, padding: Padding) -> None:
        layers: list[nn.Module] = []
        for a, b in ((inside, outside), (outside, outside)):
            layers.append(nn.Conv2d(a, b, kernel_size=3, padding=padding, bias=not norm))
            layers += [nn.BatchNorm2d(b)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


def lost(depth: int) -> int:
    """Pixels that unpadded convolutions take from an image's side: four a level, as coarse as that level; 184 of 4."""
    return 12 * (1 << depth) - 8


def cut(skip: Tensor, like: Tensor) -> Tensor:
    """The center of `skip`, of the size of `like`."""
    top, left = ((a - b) // 2 for a, b in zip(skip.shape[-2:], like.shape[-2:], strict=True))
    return skip[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def _init(module: nn.Module) -> None:
    """N(0, √(2/fan_in)) as in the paper, section 3."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
