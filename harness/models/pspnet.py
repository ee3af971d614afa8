"""PSPNet: Pyramid Scene Parsing Network (Zhao et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from .blocks.resnet import conv_bn_relu, resnet

NAME = "pspnet"
SUMMARY = "dilated ResNet with pooled contexts at four grids, and an auxiliary head"
STRIDE = 32
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
    pretrained: str = "none",
) -> PSPNet:
    """Build PSPNet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8 or 16; the paper's is 8.
        bins: the pyramid's grids; each gets an equal share of the encoder's channels.
        channels: of the final 3×3 convolution; the paper's is 512.
        aux: a second head on the third stage, in training only (the paper weighs its loss by 0.4).
        deep_stem: three 3×3 convolutions as stem; ImageNet weights need the plain one.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained, deep_stem)
    return PSPNet(encoder, num_classes, bins, channels, aux)


class PSPNet(nn.Module):
    """Encoder, pooled contexts at several grids beside the features, and a classifier."""

    def __init__(self, encoder: nn.Module, num_classes: int, bins: Sequence[int], channels: int, aux: bool) -> None:
        super().__init__()
        self.encoder, self.bins = encoder, tuple(bins)
        third, last = int(encoder.channels[2]), int(encoder.channels[3])  # type: ignore[index]
        share = last // len(self.bins)
        self.contexts = nn.ModuleList(conv_bn_relu(last, share, kernel=1) for _ in self.bins)
        self.classify = nn.Sequential(
            conv_bn_relu(last + share * len(self.bins), channels),
            nn.Dropout2d(0.1),
            nn.Conv2d(channels, num_classes, kernel_size=1),
        )
        self.aux = None
        if aux:
            self.aux = nn.Sequential(
                conv_bn_relu(third, third // 4), nn.Dropout2d(0.1), nn.Conv2d(third // 4, num_classes, kernel_size=1)
            )

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training a dictionary with `out` and `aux`."""
        size = x.shape[-2:]
        *_, third, last = self.encoder(x)
        # 1. Pool to each grid, reduce, and bring back to the features' size.
        parts = [last]
        for grid, context in zip(self.bins, self.contexts, strict=True):
            pooled = context(adaptive_avg_pool2d(last, grid))
            parts.append(interpolate(pooled, size=last.shape[-2:], mode="bilinear", align_corners=True))
        # 2. Classify the features with their contexts beside them.
        out = self._up(self.classify(torch.cat(parts, dim=1)), size)
        if self.aux is None or not self.training:
            return out
        return {"out": out, "aux": self._up(self.aux(third), size)}

    @staticmethod
    def _up(scores: Tensor, size: torch.Size) -> Tensor:
        return interpolate(scores, size=size, mode="bilinear", align_corners=True)
