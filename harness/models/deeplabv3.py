"""DeepLabV3 (Chen et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from .blocks.aspp import ASPP
from .blocks.heads import Segmenter, auxiliary, classifier
from .blocks.resnet import conv_bn_relu, resnet

NAME = "deeplabv3"
SUMMARY = "ResNet and atrous spatial pyramid pooling"
STRIDE = 32
PAPER = "Chen et al., Rethinking Atrous Convolution, 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)

Head = Literal["torchvision", "mmseg"]


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    channels: int = 256,
    head: Head = "torchvision",
    width: int = 64,
    pretrained: str = "none",
) -> Segmenter:
    """Build DeepLabV3: a pyramid with image pooling, and what joins it.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32.
        rates: the atrous rates; by default 6, 12, 18, doubled at output stride 8.
        channels: of the head; the paper's is 256.
        head: `torchvision`: the pyramid is joined by a 1×1 convolution and dropout, and a 3×3 follows. `mmseg`: as
            mmsegmentation has it, joined by a 3×3 with dropout of channels before the scores, and a second head on the
            third stage, in training only (mmsegmentation weighs its loss by 0.4).
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.

    Raises:
        ValueError: there is no such head.
    """
    if head not in get_args(Head):
        raise ValueError(f"head {head!r}: use {' or '.join(get_args(Head))}")
    encoder = resnet(backbone, output_stride, width, pretrained)
    *_, third, last = encoder.channels
    factor = 2 if output_stride == 8 else 1
    rates = rates or [6 * factor, 12 * factor, 18 * factor]
    if head == "mmseg":
        pyramid = ASPP(last, channels, rates, dropout=0, join=3)
        scores = nn.Sequential(pyramid, classifier(channels, num_classes))
        return Segmenter(encoder, scores, auxiliary(third, num_classes))
    pyramid = ASPP(last, channels, rates, dropout=0.5)
    scores = nn.Sequential(pyramid, conv_bn_relu(channels, channels), nn.Conv2d(channels, num_classes, 1))
    return Segmenter(encoder, scores)
