"""A network in a single file."""

from torch import nn

NAME = "one_file"
STRIDE = 1


def build(num_classes: int) -> nn.Module:
    return nn.Conv2d(3, num_classes, 3, padding=1)
