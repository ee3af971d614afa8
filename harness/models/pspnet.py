"""PSPNet: Pyramid Scene Parsing Network (Zhao et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from .blocks.heads import auxiliary, classifier
from .blocks.resnet import conv_bn_relu, resnet
from .blocks.upsampling import Grid

NAME = "pspnet"
SUMMARY = "dilated ResNet with pooled contexts at four grids, and an auxiliary head"
STRIDE = 1
PAPER = "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 8,
    bins: Sequence[int] = (1, 2, 3, 6),
    channels: int = 512,
    aux: bool = True,
    deep_stem: bool = True,
    width: int = 64,
    align_corners: bool = True,
    contract: bool = True,
    pretrained: str = "none",
) -> PSPNet:
    """Build PSPNet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32; the paper's is 8.
        bins: the pyramid's grids; each gets an equal share of the encoder's channels.
        channels: of the final 3×3 convolution; the paper's is 512.
        aux: a second head on the third stage, in training only (the paper weighs its loss by 0.4).
        deep_stem: three 3×3 convolutions as stem; ImageNet weights need the plain one.
        width: channels of the backbone's stem; 64 is ResNet's.
        align_corners: how contexts and logits are brought to their sizes: corner on corner, as in the code by the
            paper's author (semseg), or, as in mmsegmentation, a cell of pixels for each value.
        contract: the first block of a dilated stage keeps the dilation of the stage before, as in mmsegmentation; in
            semseg it has that of the others.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained, deep_stem, contract=contract)
    return PSPNet(encoder, num_classes, bins, channels, aux, Grid(output_stride, align_corners))


class PSPNet(nn.Module):
    """Encoder, pooled contexts at several grids beside the features, and a classifier."""

    def __init__(
        self, encoder: nn.Module, num_classes: int, bins: Sequence[int], channels: int, aux: bool, grid: Grid
    ) -> None:
        super().__init__()
        self.encoder, self.bins, self.grid = encoder, tuple(bins), grid
        third, last = int(encoder.channels[2]), int(encoder.channels[3])  # type: ignore[index]
        share = last // len(self.bins)
        self.contexts = nn.ModuleList(conv_bn_relu(last, share, kernel=1) for _ in self.bins)
        self.classify = nn.Sequential(
            conv_bn_relu(last + share * len(self.bins), channels), classifier(channels, num_classes)
        )
        self.aux = auxiliary(third, num_classes) if aux else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training a dictionary with `out` and `aux`."""
        *_, third, last = self.encoder(self.grid.fit(x))
        # 1. Pool to each grid, reduce, and bring back to the features' size.
        size, corners = last.shape[-2:], self.grid.align_corners
        parts = [last]
        for bins, context in zip(self.bins, self.contexts, strict=True):
            pooled = context(adaptive_avg_pool2d(last, bins))
            parts.append(interpolate(pooled, size=size, mode="bilinear", align_corners=corners))
        # 2. Classify the features with their contexts beside them.
        out = self.grid.raised(self.classify(torch.cat(parts, dim=1)), x)
        if self.aux is None or not self.training:
            return out
        return {"out": out, "aux": self.grid.raised(self.aux(third), x)}
