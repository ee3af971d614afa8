"""DeepLabV3 (Chen et al., 2017), and the heads of DeepLab v1 and v2 (ICLR 2015, TPAMI 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.aspp import ASPP
from .blocks.resnet import conv_bn_relu, resnet

NAME = "deeplabv3"
SUMMARY = "ResNet and atrous spatial pyramid pooling; the heads of v1 and v2 as options"
STRIDE = 32
PAPER = "Chen et al., Rethinking Atrous Convolution, 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    head: Literal["v3", "v2", "v1"] = "v3",
    rates: Sequence[int] | None = None,
    channels: int = 256,
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV3:
    """Build DeepLabV3, or an earlier head on the same backbone.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32.
        head: `v3`: pyramid with image pooling, joined, and a 3×3 convolution. `v2`: the scores of parallel atrous
            convolutions, summed. `v1`: one atrous 3×3 with a large field of view (LargeFOV) and a 1×1.
        rates: the atrous rates; by default 6, 12, 18 for v3 (doubled at output stride 8), 6, 12, 18, 24 for v2, 12 for
            v1.
        channels: of the head; the papers' are 256 (v3) and 1024 (v1).
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.

    Raises:
        ValueError: there is no such head.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    inside = encoder.channels[-1]
    chosen: nn.Module
    if head == "v3":
        factor = 2 if output_stride == 8 else 1
        pyramid = ASPP(inside, channels, rates or [6 * factor, 12 * factor, 18 * factor], dropout=0.5)
        chosen = nn.Sequential(pyramid, conv_bn_relu(channels, channels), nn.Conv2d(channels, num_classes, 1))
    elif head == "v2":
        chosen = SummedScores(inside, num_classes, rates or (6, 12, 18, 24))
    elif head == "v1":
        (rate,) = rates or (12,)
        chosen = nn.Sequential(conv_bn_relu(inside, channels, dilation=rate), nn.Conv2d(channels, num_classes, 1))
    else:
        raise ValueError(f"head {head!r}: use v3, v2 or v1")
    return DeepLabV3(encoder, chosen)


class DeepLabV3(nn.Module):
    """An encoder that keeps its resolution by dilation, a head, and one step up to the image."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        scores = self.head(self.encoder(x)[-1])
        return interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)


class SummedScores(nn.Module):
    """The scores of one atrous 3×3 convolution for each rate, added (DeepLab v2's ASPP-L on ResNet)."""

    def __init__(self, inside: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inside, num_classes, 3, padding=rate, dilation=rate) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> scores (N, K, h, w)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total  # type: ignore[no-any-return]
