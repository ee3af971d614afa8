"""BiSeNet: Bilateral Segmentation Network (Yu et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from .blocks.resnet import conv_bn_relu, resnet

NAME = "bisenet"
SUMMARY = "a spatial and a context path, fused; two auxiliary heads"
STRIDE = 32
PAPER = "Yu et al., BiSeNet, ECCV 2018"
LICENSE = "Apache-2.0"
BACKBONE = ("context",)


def build(
    num_classes: int, backbone: str = "resnet18", aux: bool = True, width: int = 64, pretrained: str = "none"
) -> BiSeNet:
    """Build BiSeNet.

    Args:
        num_classes: K.
        backbone: the context path: resnet18, resnet34, resnet50 or resnet101; the paper's are ResNet-18 and Xception.
        aux: a head on each of the context path's two scales, in training only (the paper weighs their losses by 1).
        width: channels of the stem and of the spatial path; the others are multiples of it. The paper's is 64.
        pretrained: `imagenet` or `none`.
    """
    return BiSeNet(resnet(backbone, 32, width, pretrained), num_classes, width, aux)


class BiSeNet(nn.Module):
    """A shallow path that keeps detail at 1/8, a deep one that sees context, and their fusion."""

    def __init__(self, context: nn.Module, num_classes: int, width: int, aux: bool) -> None:
        super().__init__()
        middle, wide = 2 * width, 4 * width
        self.spatial = nn.Sequential(
            strided(3, width, kernel=7),
            strided(width, width, kernel=3),
            strided(width, width, kernel=3),
            conv_bn_relu(width, middle, kernel=1),
        )
        self.context = context
        third, last = int(context.channels[2]), int(context.channels[3])  # type: ignore[index]
        self.refine16, self.refine32 = AttentionRefinement(third, middle), AttentionRefinement(last, middle)
        self.smooth16, self.smooth32 = conv_bn_relu(middle, middle), conv_bn_relu(middle, middle)
        self.tail = conv_bn_relu(last, middle, kernel=1)
        self.fuse = FeatureFusion(2 * middle, wide)
        self.head = scores(wide, wide, num_classes)
        self.aux16 = scores(middle, width, num_classes) if aux else None
        self.aux32 = scores(middle, width, num_classes) if aux else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) with H and W multiples of 32 -> logits (N, K, H, W); in training all three."""
        size = x.shape[-2:]
        # 1. Spatial path, at 1/8.
        detail = self.spatial(x)
        # 2. Context path: from the whole image's mean down to 1/16.
        *_, at16, at32 = self.context(x)
        whole = self.tail(adaptive_avg_pool2d(at32, 1))
        deep = self.smooth32(double(self.refine32(at32) + whole))
        near = self.smooth16(double(self.refine16(at16) + deep))
        # 3. Fuse both and score.
        out = self._up(self.head(self.fuse(detail, near)), size)
        if self.aux16 is None or self.aux32 is None or not self.training:
            return out
        return {"out": out, "aux16": self._up(self.aux16(near), size), "aux32": self._up(self.aux32(deep), size)}

    @staticmethod
    def _up(logits: Tensor, size: torch.Size) -> Tensor:
        return interpolate(logits, size=size, mode="bilinear", align_corners=False)


class AttentionRefinement(nn.Module):
    """A 3×3 convolution whose channels are weighed by what the whole image holds."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(inside, outside)
        self.weigh = nn.Sequential(nn.Conv2d(outside, outside, 1, bias=False), nn.BatchNorm2d(outside), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, outside, h, w)."""
        x = self.conv(x)
        return x * self.weigh(adaptive_avg_pool2d(x, 1))  # type: ignore[no-any-return]


class FeatureFusion(nn.Module):
    """Both paths joined, weighed by channel, and added to themselves."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(inside, outside, kernel=1)
        self.weigh = nn.Sequential(nn.Conv2d(outside, outside, 1, bias=False), nn.BatchNorm2d(outside), nn.Sigmoid())

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Two (N, C, h, w) -> (N, outside, h, w)."""
        x = self.conv(torch.cat([detail, context], dim=1))
        return x + x * self.weigh(adaptive_avg_pool2d(x, 1))  # type: ignore[no-any-return]


def double(x: Tensor) -> Tensor:
    """Twice the size, by the nearest pixel."""
    return interpolate(x, scale_factor=2.0, mode="nearest")


def strided(inside: int, outside: int, kernel: int) -> nn.Sequential:
    """A convolution that halves the size, with batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride=2, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


def scores(inside: int, middle: int, num_classes: int) -> nn.Sequential:
    """A head: a 3×3 convolution and a 1×1."""
    return nn.Sequential(conv_bn_relu(inside, middle), nn.Conv2d(middle, num_classes, kernel_size=1))
