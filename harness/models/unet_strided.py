"""The U-Net of study C (DRIVE): strided convolutions down, nearest neighbour and 1×1 up, dropout, LeakyReLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.dropout import Dropout

NAME = "unet_strided"
SUMMARY = "the U-Net of study C: strided convolutions, nearest upsampling, dropout"
STRIDE = 16
PAPER = "after Ronneberger et al., U-Net, MICCAI 2015"
LICENSE = "Apache-2.0"
BACKBONE = ()


def build(num_classes: int, width: int = 64, dropout: tuple[float, float] = (0.3, 0.4)) -> StridedUNet:
    """Build it.

    The report's head has three sigmoid channels trained against the mask as an RGB image: `num_classes` is 3 where the
    recipe's loss is `rgb_bce`.

    Args:
        num_classes: K.
        width: channels of the first level; the report's is 64, to 1024 at the bottom.
        dropout: chances after the first and the second convolution of a block.
    """
    return StridedUNet(num_classes, width, dropout)


class StridedUNet(nn.Module):
    """Contract, expand, and at each level join what was seen on the way down."""

    def __init__(self, num_classes: int, width: int, dropout: tuple[float, float]) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(5)]
        ins = [3, *channels[:-1]]
        self.down = nn.ModuleList(block(a, b, dropout) for a, b in zip(ins, channels, strict=True))
        self.shrink = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, kernel_size=3, stride=2, padding=1), nn.LeakyReLU()) for c in channels[:-1]
        )
        self.narrow = nn.ModuleList(nn.Conv2d(c, c // 2, kernel_size=1) for c in reversed(channels[1:]))
        self.join = nn.ModuleList(block(c, c // 2, dropout) for c in reversed(channels[1:]))
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 16 -> logits (N, K, H, W)."""
        # 1. Down: keep each level's features; a strided convolution halves the size.
        kept = []
        for level, shrink in zip(self.down, self.shrink, strict=False):
            x = level(x)
            kept.append(x)
            x = shrink(x)
        # 2. Bottom.
        x = self.down[-1](x)
        # 3. Up: double the size, halve the channels, join with the way down.
        for narrow, join in zip(self.narrow, self.join, strict=True):
            x = narrow(interpolate(x, scale_factor=2.0, mode="nearest"))
            x = join(torch.cat([x, kept.pop()], dim=1))
        # 4. One score for each class.
        return self.head(x)  # type: ignore[no-any-return]


def block(inside: int, outside: int, dropout: tuple[float, float]) -> nn.Sequential:
    """Twice: 3×3 convolution, batch normalization, dropout of single elements as the report prints it, LeakyReLU."""
    layers: list[nn.Module] = []
    for a, b, chance in ((inside, outside, dropout[0]), (outside, outside, dropout[1])):
        layers += [nn.Conv2d(a, b, kernel_size=3, padding=1), nn.BatchNorm2d(b), Dropout(chance), nn.LeakyReLU()]
    return nn.Sequential(*layers)
