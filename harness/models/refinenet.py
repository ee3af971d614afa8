"""RefineNet: Multi-Path Refinement Networks (Lin et al., CVPR 2017), from the paper."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from .blocks.resnet import resnet

NAME = "refinenet"
SUMMARY = "ResNet and four cascaded refinement blocks"
STRIDE = 32
PAPER = "Lin et al., RefineNet, CVPR 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int, backbone: str = "resnet101", channels: int = 256, width: int = 64, pretrained: str = "none"
) -> RefineNet:
    """Build the 4-cascaded RefineNet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101; the paper's is 101.
        channels: of the blocks; the deepest has twice as many. The paper's is 256.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    return RefineNet(resnet(backbone, 32, width, pretrained), num_classes, channels)


class RefineNet(nn.Module):
    """From the deepest features back to 1/4, each block joining one finer stage."""

    def __init__(self, encoder: nn.Module, num_classes: int, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        wide = 2 * channels
        stages: list[int] = list(encoder.channels)  # type: ignore[arg-type]
        own = [channels, channels, channels, wide]
        self.adapt = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, padding=1, bias=False) for a, b in zip(stages, own, strict=True)
        )
        self.blocks = nn.ModuleList(
            [
                RefineBlock([channels, channels], channels),
                RefineBlock([channels, channels], channels),
                RefineBlock([channels, wide], channels),
                RefineBlock([wide], wide),
            ]
        )
        self.head = nn.Sequential(
            ResidualUnit(channels),
            ResidualUnit(channels),
            nn.Dropout(0.5),
            nn.Conv2d(channels, num_classes, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 32 -> logits (N, K, H, W)."""
        features = [adapt(f) for adapt, f in zip(self.adapt, self.encoder(x), strict=True)]
        # Deepest first: what a block gives is the second input of the next.
        y = self.blocks[3]([features[3]])
        for level in (2, 1, 0):
            y = self.blocks[level]([features[level], y])
        return interpolate(self.head(y), size=x.shape[-2:], mode="bilinear", align_corners=False)


class RefineBlock(nn.Module):
    """Residual units on each input, their fusion, chained pooling, and a residual unit on the result (figure 3)."""

    def __init__(self, inside: Sequence[int], outside: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Sequential(ResidualUnit(c), ResidualUnit(c)) for c in inside)
        self.fuse = nn.ModuleList(nn.Conv2d(c, outside, kernel_size=3, padding=1, bias=False) for c in inside)
        self.pooling = ChainedPooling(outside)
        self.out = ResidualUnit(outside)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Features from fine to coarse, each (N, C, h, w) -> (N, outside, h, w) at the finest's size."""
        size = inputs[0].shape[-2:]
        total: Tensor | None = None
        for x, unit, fuse in zip(inputs, self.units, self.fuse, strict=True):
            y = interpolate(fuse(unit(x)), size=size, mode="bilinear", align_corners=False)
            total = y if total is None else total + y
        return self.out(self.pooling(total))  # type: ignore[no-any-return]


class ResidualUnit(nn.Module):
    """A residual unit without batch normalization: ReLU, 3×3, ReLU, 3×3, and the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return x + self.convs(x)  # type: ignore[no-any-return]


class ChainedPooling(nn.Module):
    """Pool 5×5, convolve, and again from there; every link is added to the features."""

    def __init__(self, channels: int, links: int = 2) -> None:
        super().__init__()
        self.links = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False) for _ in range(links)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        x = x.relu()
        total, link = x, x
        for conv in self.links:
            link = conv(max_pool2d(link, kernel_size=5, stride=1, padding=2))
            total = total + link
        return total
