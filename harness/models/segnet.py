"""SegNet (Badrinarayanan, Kendall and Cipolla, TPAMI 2017), from the paper."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, max_unpool2d

from .blocks.vgg import STAGES, copy_imagenet

NAME = "segnet"
SUMMARY = "VGG16 and its mirror image, joined by the places of the maxima"
STRIDE = 32
PAPER = "Badrinarayanan et al., SegNet, TPAMI 2017"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)


def build(num_classes: int, width: int = 64, pretrained: str = "none") -> SegNet:
    """Build SegNet.

    Args:
        num_classes: K.
        width: channels of the first stage; VGG16's is 64.
        pretrained: `imagenet` starts the encoder from torchvision's VGG16 with batch normalization.
    """
    network = SegNet(num_classes, width)
    if pretrained != "none":
        copy_imagenet(network.encoder, "segnet", pretrained, width, norm=True)
    return network


class SegNet(nn.Module):
    """VGG16's convolutions, and their mirror image; maxima go back to where they came from."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inside = 3
        for count, factor in STAGES:
            outside = width * factor
            self.encoder.append(convolutions([inside, *[outside] * count]))
            # Mirrored: the same number of convolutions, the last of which leads to the stage before.
            after = num_classes if inside == 3 else inside
            self.decoder.append(convolutions([*[outside] * count, after], plain_end=inside == 3))
            inside = outside
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 32 -> logits (N, K, H, W)."""
        # 1. Down: remember where each maximum was.
        places = []
        for stage in self.encoder:
            x, where = max_pool2d(stage(x), kernel_size=2, return_indices=True)
            places.append(where)
        # 2. Up: put each value back there, zeros elsewhere, and fill the gaps by convolutions.
        for stage, where in zip(reversed(self.decoder), reversed(places), strict=True):
            x = stage(max_unpool2d(x, where, kernel_size=(2, 2)))
        return x


def convolutions(channels: list[int], plain_end: bool = False) -> nn.Sequential:
    """3×3 convolutions, each with batch normalization and ReLU; `plain_end` leaves those off the last, the scores."""
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise(channels), start=2):
        layers.append(nn.Conv2d(a, b, kernel_size=3, padding=1))
        if not (plain_end and number == len(channels)):
            layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
