"""FCN on a dilated ResNet, as mmsegmentation has it (after Long, Shelhamer and Darrell, CVPR 2015)."""

from __future__ import annotations

from .blocks.heads import FCNHead, Segmenter, auxiliary
from .blocks.resnet import resnet

NAME = "fcn_resnet"
SUMMARY = "dilated ResNet, three 3×3 convolutions as head, and an auxiliary head (mmsegmentation's FCN)"
STRIDE = 32
PAPER = "after Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 8,
    channels: int = 512,
    aux: bool = True,
    width: int = 64,
    pretrained: str = "none",
) -> Segmenter:
    """Build FCN on a ResNet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32; mmsegmentation's D8 is 8.
        channels: of the head; mmsegmentation's is 512.
        aux: a second head on the third stage, in training only (mmsegmentation weighs its loss by 0.4).
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    *_, third, last = encoder.channels
    head = FCNHead(last, channels, num_classes)
    return Segmenter(encoder, head, auxiliary(third, num_classes) if aux else None)
