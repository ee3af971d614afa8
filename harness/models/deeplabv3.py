"""DeepLabV3 (Chen et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.aspp import ASPP
from .blocks.resnet import conv_bn_relu, resnet

NAME = "deeplabv3"
SUMMARY = "ResNet and atrous spatial pyramid pooling"
STRIDE = 32
PAPER = "Chen et al., Rethinking Atrous Convolution, 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    channels: int = 256,
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV3:
    """Build DeepLabV3: a pyramid with image pooling, joined, and a 3×3 convolution.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32.
        rates: the atrous rates; by default 6, 12, 18, doubled at output stride 8.
        channels: of the head; the paper's is 256.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    factor = 2 if output_stride == 8 else 1
    pyramid = ASPP(encoder.channels[-1], channels, rates or [6 * factor, 12 * factor, 18 * factor], dropout=0.5)
    head = nn.Sequential(pyramid, conv_bn_relu(channels, channels), nn.Conv2d(channels, num_classes, 1))
    return DeepLabV3(encoder, head)


class DeepLabV3(nn.Module):
    """An encoder that keeps its resolution by dilation, a head, and one step up to the image."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        scores = self.head(self.encoder(x)[-1])
        return interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
