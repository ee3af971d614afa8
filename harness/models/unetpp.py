"""UNet++ (Zhou et al., DLMIA 2018 and TMI 2020), from the papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

NAME = "unetpp"
SUMMARY = "U-Net with nested dense skips and deep supervision; can be pruned"
STRIDE = 16
PAPER = "Zhou et al., UNet++, DLMIA 2018"
LICENSE = "Apache-2.0"
BACKBONE = ()

Up = Literal["bilinear", "learned"]


def build(
    num_classes: int,
    width: int = 32,
    norm: bool = True,
    up: Up = "bilinear",
    deep_supervision: bool = True,
    level: int = 4,
    in_channels: int = 3,
) -> UNetPlusPlus:
    """Build UNet++.

    Args:
        num_classes: K.
        width: channels of the first level; each of the four levels down doubles them. The paper's is 32.
        norm: batch normalization after every 3×3 convolution; the paper's first code has none.
        up: bilinear, or a learned 2×2 transposed convolution that halves the channels.
        deep_supervision: a head on each of X^{0,1} to X^{0,4}, and a loss on each (the paper's code weighs their losses
            by 1); else on the last alone.
        level: 1 to 4: build no more than L1 to L4 needs. A network trained with deep supervision can be pruned to it
            afterwards as well, by setting `level`.
        in_channels: of the image.
    """
    return UNetPlusPlus(num_classes, width, norm, up, deep_supervision, level, in_channels)


class UNetPlusPlus(nn.Module):
    """Nodes X^{i,j}: depth i, j-th along the skip; each sees every node left of it and the one below."""

    def __init__(
        self, num_classes: int, width: int, norm: bool, up: Up, deep_supervision: bool, level: int, in_channels: int
    ) -> None:
        super().__init__()
        if not 1 <= level <= 4:
            raise ValueError(f"level {level}: use 1, 2, 3 or 4")
        self.level, self.deep_supervision = level, deep_supervision
        channels = [width * 2**i for i in range(level + 1)]
        self.pool = nn.MaxPool2d(2)
        self.nodes = nn.ModuleDict()
        self.ups = nn.ModuleDict()
        for i in range(level + 1):
            self.nodes[f"{i}{0}"] = Node(channels[i - 1] if i else in_channels, channels[i], norm)
        for j in range(1, level + 1):
            for i in range(level + 1 - j):
                below = channels[i + 1]
                if up == "learned":
                    self.ups[f"{i}{j}"] = nn.ConvTranspose2d(below, channels[i], kernel_size=2, stride=2)
                    below = channels[i]
                self.nodes[f"{i}{j}"] = Node(j * channels[i] + below, channels[i], norm)
        heads = range(1, level + 1) if deep_supervision else [level]
        self.heads = nn.ModuleDict({str(j): nn.Conv2d(width, num_classes, kernel_size=1) for j in heads})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) with H and W multiples of 16 -> logits (N, K, H, W) of L`level`.

        In training with deep supervision, a dictionary: `out`, and `level1` … for the heads before it.
        """
        kept: dict[tuple[int, int], Tensor] = {}
        # Diagonal by diagonal: X^{d,0} goes one deeper, then X^{d-1,1} … X^{0,d} come back up.
        for d in range(self.level + 1):
            kept[d, 0] = self.nodes[f"{d}0"](self.pool(kept[d - 1, 0]) if d else x)
            for j in range(1, d + 1):
                i = d - j
                left = [kept[i, k] for k in range(j)]
                kept[i, j] = self.nodes[f"{i}{j}"](torch.cat([*left, self.raised(kept[i + 1, j - 1], i, j)], dim=1))
        out: Tensor = self.heads[str(self.level)](kept[0, self.level])
        if not (self.training and self.deep_supervision):
            return out
        return {"out": out} | {f"level{j}": self.heads[str(j)](kept[0, j]) for j in range(1, self.level)}

    def raised(self, below: Tensor, i: int, j: int) -> Tensor:
        """The node below X^{i,j} at twice its size."""
        if f"{i}{j}" in self.ups:
            return self.ups[f"{i}{j}"](below)  # type: ignore[no-any-return]
        # A value of the pooled map stands for 2×2 pixels: corners on corners would drift from the skips.
        return interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)


class Node(nn.Sequential):
    """Twice: 3×3 convolution, batch normalization where wanted, ReLU."""

    def __init__(self, inside: int, outside: int, norm: bool) -> None:
        layers: list[nn.Module] = []
        for a, b in ((inside, outside), (outside, outside)):
            layers.append(nn.Conv2d(a, b, kernel_size=3, padding=1))
            layers += [nn.BatchNorm2d(b)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)
