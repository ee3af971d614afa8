"""DeepLab v1, its LargeFOV form on VGG16 (Chen et al., ICLR 2015), from the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .blocks.vgg import STAGES, copy_classifier, copy_imagenet

NAME = "deeplabv1"
SUMMARY = "VGG16 kept at 1/8 by dilation, and one atrous 3×3 with a large field of view (LargeFOV)"
STRIDE = 8
PAPER = "Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015"
LICENSE = "Apache-2.0"
BACKBONE = ("stages", "fc6", "fc7")


def build(
    num_classes: int,
    width: int = 64,
    hidden: int = 1024,
    rate: int = 12,
    norm: bool = False,
    pretrained: str = "none",
) -> DeepLabV1:
    """Build DeepLab-LargeFOV; its CRF is a step of the prediction, not of the network.

    Args:
        num_classes: K.
        width: channels of the first stage; the paper's is 64.
        hidden: channels of fc6 and fc7; the paper keeps 1024 of VGG16's 4096.
        rate: the dilation of fc6; the paper's is 12, for a field of view of 224 pixels.
        norm: batch normalization after every convolution of the five stages (the paper has none).
        pretrained: `imagenet` starts from torchvision's VGG16: its stages, and its classifier made a convolution of
            which every third row and column and evenly spaced channels are kept (paper, section 3.1).
    """
    network = DeepLabV1(num_classes, width, hidden, rate, norm)
    if pretrained != "none":
        copy_imagenet(network.stages, "deeplabv1", pretrained, width, norm)
        copy_classifier(network.fc6, network.fc7, "deeplabv1", norm)
    return network


class DeepLabV1(nn.Module):
    """VGG16 whose last two pools no longer stride, then fc6, fc7 and the scores as convolutions."""

    def __init__(self, num_classes: int, width: int, hidden: int, rate: int, norm: bool) -> None:
        super().__init__()
        self.stages = stages(width, norm)
        self.fc6 = nn.Conv2d(width * 8, hidden, kernel_size=3, padding=rate, dilation=rate)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.dropout = nn.Dropout(0.5)
        self.score = nn.Conv2d(hidden, num_classes, kernel_size=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.score.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        # 1. Five stages, to 1/8.
        for stage in self.stages:
            x = stage(x)
        # 2. The classifier as convolutions.
        x = self.dropout(torch.relu(self.fc6(x)))
        x = self.dropout(torch.relu(self.fc7(x)))
        # 3. Up to the image.
        return interpolate(self.score(x), size=size, mode="bilinear", align_corners=False)


def stages(width: int, norm: bool) -> nn.ModuleList:
    """VGG16's five stages with 3×3 pools, of which the last two do not stride; the fifth stage is dilated by 2."""
    found, inside = nn.ModuleList(), 3
    for number, (count, factor) in enumerate(STAGES, start=1):
        dilation = 2 if number == 5 else 1
        layers: list[nn.Module] = []
        for _ in range(count):
            layers.append(nn.Conv2d(inside, width * factor, kernel_size=3, padding=dilation, dilation=dilation))
            layers += [nn.BatchNorm2d(width * factor)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            inside = width * factor
        found.append(nn.Sequential(*layers, nn.MaxPool2d(3, stride=1 if number >= 4 else 2, padding=1)))
    return found
