"""FCN-32s (Long, Shelhamer and Darrell, CVPR 2015)."""

from __future__ import annotations

from .blocks.fcn import FCN

NAME = "fcn32s"
SUMMARY = "VGG16 made convolutional, upsampled ×32 in one step"
STRIDE = 32
PAPER = "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"
LICENSE = "Apache-2.0"
BACKBONE = ("stages", "fc6", "fc7")


def build(num_classes: int, **params: object) -> FCN:
    """Build FCN-32s; the parameters are those of `FCN`."""
    return FCN(num_classes, 32, **params)  # type: ignore[arg-type]
