"""DeepLab v2 on ResNet-101 (Chen et al., TPAMI 2018), from the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.resnet import resnet

NAME = "deeplabv2"
SUMMARY = "dilated ResNet and the summed scores of four atrous convolutions (ASPP)"
STRIDE = 32
PAPER = "Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, TPAMI 2018"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    backbone: str = "resnet101",
    output_stride: int = 8,
    rates: Sequence[int] = (6, 12, 18, 24),
    scales: Sequence[float] = (1.0,),
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV2:
    """Build DeepLab v2; its CRF is a step of the prediction, not of the network.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101; the paper's is 101.
        output_stride: 8, 16 or 32; the paper's is 8.
        rates: the dilations of the parallel convolutions; the paper's ASPP-L has 6, 12, 18, 24.
        scales: sizes of the image whose scores are fused by their maximum; the paper's best has 1, 0.75 and 0.5 (MSC).
            In training the loss then also counts on the scores of each scale, as auxiliary outputs.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales {tuple(scales)}: give positive numbers")
    encoder = resnet(backbone, output_stride, width, pretrained)
    return DeepLabV2(encoder, SummedScores(encoder.channels[-1], num_classes, rates), scales)


class DeepLabV2(nn.Module):
    """An encoder that keeps its resolution by dilation, the summed scores, and one step up to the image."""

    def __init__(self, encoder: nn.Module, head: nn.Module, scales: Sequence[float]) -> None:
        super().__init__()
        self.encoder, self.head, self.scales = encoder, head, tuple(scales)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training on several scales a dictionary with `out` and theirs."""
        each = [self._scores(x, scale) for scale in self.scales]
        if len(each) == 1:
            return each[0]
        fused = torch.stack(each).amax(dim=0)
        if not self.training:
            return fused
        return {"out": fused} | {f"scale {scale:g}": scores for scale, scores in zip(self.scales, each, strict=True)}

    def _scores(self, x: Tensor, scale: float) -> Tensor:
        """The scores of the image at another size, brought to its own."""
        size = x.shape[-2:]
        if scale != 1:
            x = interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return interpolate(self.head(self.encoder(x)[-1]), size=size, mode="bilinear", align_corners=False)


class SummedScores(nn.Module):
    """The scores of one atrous 3×3 convolution for each rate, added (paper, figure 4 and section 3.2)."""

    def __init__(self, inside: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inside, num_classes, 3, padding=rate, dilation=rate) for rate in rates)
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(branch.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> scores (N, K, h, w)."""
        return torch.stack([branch(x) for branch in self.branches]).sum(dim=0)
