"""Two convolutions; the smallest network that can learn anything."""

from torch import nn

STRIDE = 4
SUMMARY = "two convolutions, from a package"


def build(num_classes: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 3, padding=1))
