"""Heads that several networks have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .resnet import conv_bn_relu
from .upsampling import raised


def classifier(channels: int, num_classes: int) -> nn.Sequential:
    """Dropout of whole channels, and a 1×1 convolution."""
    return nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, kernel_size=1))


def auxiliary(channels: int, num_classes: int) -> nn.Sequential:
    """A head on an earlier stage: a 3×3 convolution to a quarter of its channels, and the classifier."""
    return nn.Sequential(conv_bn_relu(channels, channels // 4), classifier(channels // 4, num_classes))


class FCNHead(nn.Module):
    """Two 3×3 convolutions, a third on their result beside the features, and the classifier (mmsegmentation's FCN)."""

    def __init__(self, inside: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = conv_bn_relu(inside, channels, channels)
        self.join = conv_bn_relu(inside + channels, channels)
        self.classify = classifier(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> scores (N, K, h, w)."""
        return self.classify(self.join(torch.cat([x, self.convs(x)], dim=1)))  # type: ignore[no-any-return]


class Segmenter(nn.Module):
    """An encoder that keeps its resolution by dilation, a head on its last stage, and one step up to the image.

    Args:
        encoder: gives the features of its stages.
        head: scores those of the last.
        aux: scores those of the stage before, in training only.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, aux: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.head, self.aux = encoder, head, aux

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training, with an auxiliary head, a dictionary of `out` and `aux`."""
        *_, third, last = self.encoder(x)
        out = raised(self.head(last), x)
        if self.aux is None or not self.training:
            return out
        return {"out": out, "aux": raised(self.aux(third), x)}
