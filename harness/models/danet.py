"""DANet: Dual Attention Network (Fu et al., CVPR 2019), from the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .blocks.heads import classifier
from .blocks.resnet import conv_bn_relu, resnet
from .blocks.upsampling import raised

NAME = "danet"
SUMMARY = "dilated ResNet; attention among positions and among channels, summed"
STRIDE = 32
PAPER = "Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)

Affinity = Literal["code", "paper"]


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 8,
    channels: int | None = None,
    keys: int | None = None,
    affinity: Affinity = "code",
    multigrid: Sequence[int] = (1, 1, 1),
    aux: bool = True,
    deep_stem: bool = False,
    width: int = 64,
    pretrained: str = "none",
) -> DANet:
    """Build DANet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101; the paper's are 50 and 101.
        output_stride: 8 or 16; the paper's is 8.
        channels: of both attentions; None: a quarter of the encoder's, 512 on the paper's.
        keys: channels of queries and keys of the position attention; None: an eighth of `channels`, as in the paper.
        affinity: how alike channels attend to each other. `code`: as the paper's released code, by which published
            figures were got: the less alike, the more. `paper`: by equation 3, the more alike, the more.
        multigrid: dilations of the last stage's blocks, as multiples of the stage's; the paper's ablation also tries
            (1, 2, 4).
        aux: a head on each attention, in training only (the paper's code weighs all three losses by 1).
        deep_stem: three 3×3 convolutions as stem; ImageNet weights need the plain one.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.

    Raises:
        ValueError: there is no such affinity.
    """
    if affinity not in ("code", "paper"):
        raise ValueError(f"affinity {affinity!r}: use code or paper")
    encoder = resnet(backbone, output_stride, width, pretrained, deep_stem, multigrid)
    channels = channels or encoder.channels[-1] // 4
    return DANet(encoder, num_classes, channels, keys or max(1, channels // 8), affinity, aux)


class DANet(nn.Module):
    """Encoder, two attentions side by side, their sum, and a classifier."""

    def __init__(
        self, encoder: nn.Module, num_classes: int, channels: int, keys: int, affinity: Affinity, aux: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder
        inside = int(encoder.channels[-1])  # type: ignore[index]
        self.position = branch(inside, channels, PositionAttention(channels, keys))
        self.channel = branch(inside, channels, ChannelAttention(affinity))
        self.head = classifier(channels, num_classes)
        self.position_head = classifier(channels, num_classes) if aux else None
        self.channel_head = classifier(channels, num_classes) if aux else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training those of both attentions alone, too."""
        features = self.encoder(x)[-1]
        # 1. Both attentions see the same features.
        position, channel = self.position(features), self.channel(features)
        # 2. Their sum is classified.
        out = raised(self.head(position + channel), x)
        if self.position_head is None or self.channel_head is None or not self.training:
            return out
        return {
            "out": out,
            "position": raised(self.position_head(position), x),
            "channel": raised(self.channel_head(channel), x),
        }


class PositionAttention(nn.Module):
    """Every position takes up the features of all positions, by how alike they are (paper, equations 1 and 2)."""

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(channels, keys, kernel_size=1), nn.Conv2d(channels, keys, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        # Nothing is taken up at first; how much is learned.
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        # The paper's products are not scaled by the number of channels.
        seen = scaled_dot_product_attention(query, key, value, scale=1.0)  # (N, pixels, C)
        return self.gamma * seen.transpose(1, 2).reshape(x.shape) + x


class ChannelAttention(nn.Module):
    """Every channel takes up the maps of all channels, by how alike they are (paper, equations 3 and 4)."""

    def __init__(self, affinity: Affinity) -> None:
        super().__init__()
        self.affinity = affinity
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        # A sum over all pixels is more than half precision can hold.
        with torch.autocast(_autocast_device(x), enabled=False):
            maps = x.float().flatten(2)  # (N, C, pixels)
            energy = maps @ maps.transpose(1, 2)  # (N, C, C)
            if self.affinity == "code":
                energy = energy.amax(dim=-1, keepdim=True) - energy
            seen = (energy.softmax(dim=-1) @ maps).reshape(x.shape)
        return self.gamma * seen.to(x.dtype) + x


def branch(inside: int, channels: int, attention: nn.Module) -> nn.Sequential:
    """A reduction, the attention, and a 3×3 convolution on what it gives."""
    return nn.Sequential(conv_bn_relu(inside, channels), attention, conv_bn_relu(channels, channels))


def _autocast_device(x: Tensor) -> str:
    """The kind of device for autocast, which knows none of tensors without content (counting operations)."""
    return "cpu" if x.is_meta else x.device.type
