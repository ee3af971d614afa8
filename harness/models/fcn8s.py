"""FCN-8s (Long, Shelhamer and Darrell, CVPR 2015)."""

from __future__ import annotations

from .blocks.fcn import FCN

NAME = "fcn8s"
SUMMARY = "FCN-16s with a skip from pool3"
STRIDE = 32
PAPER = "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"
LICENSE = "Apache-2.0"
BACKBONE = ("stages", "fc6", "fc7")


def build(num_classes: int, **params: object) -> FCN:
    """Build FCN-8s; the parameters are those of `FCN`."""
    return FCN(num_classes, 8, **params)  # type: ignore[arg-type]
