"""EMANet: Expectation-Maximization Attention (Li et al., ICCV 2019), from the paper."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from .blocks.resnet import conv_bn_relu, resnet

NAME = "emanet"
SUMMARY = "dilated ResNet and expectation-maximization attention"
STRIDE = 32
PAPER = "Li et al., Expectation-Maximization Attention Networks, ICCV 2019"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)

# The paper keeps the normalizations' running statistics nearly still.
BN_MOMENTUM = 3e-4


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 8,
    bases: int = 64,
    stages: int = 3,
    channels: int = 512,
    momentum: float = 0.9,
    deep_stem: bool = True,
    width: int = 64,
    bn_momentum: float = BN_MOMENTUM,
    pretrained: str = "none",
) -> EMANet:
    """Build EMANet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101; the paper's are 50 and 101.
        output_stride: 8 or 16; the paper's is 8, with dilations 2, 8, 16 in the last stage.
        bases: k, how many bases describe the features.
        stages: T, how often expectation and maximization alternate.
        channels: of the attention; the paper's is 512.
        momentum: share of the old bases in the moving ones.
        deep_stem: three 3×3 convolutions as stem; ImageNet weights need the plain one.
        width: channels of the backbone's stem; 64 is ResNet's.
        bn_momentum: of every batch normalization's running statistics.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained, deep_stem, multigrid=(1, 2, 4))
    network = EMANet(encoder, num_classes, channels, bases, stages, momentum)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
    return network


class EMANet(nn.Module):
    """Encoder, a reduction, the attention unit, and a classifier."""

    def __init__(
        self, encoder: nn.Module, num_classes: int, channels: int, bases: int, stages: int, momentum: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.reduce = conv_bn_relu(int(encoder.channels[-1]), channels)  # type: ignore[index]
        self.attention = EMAUnit(channels, bases, stages, momentum)
        self.classify = nn.Sequential(
            conv_bn_relu(channels, channels // 2), nn.Dropout2d(0.1), nn.Conv2d(channels // 2, num_classes, 1)
        )
        for part in (self.reduce, self.attention, self.classify):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                    nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        scores = self.classify(self.attention(self.reduce(self.encoder(x)[-1])))
        return interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=True)


class EMAUnit(nn.Module):
    """Describe every pixel by a few bases, found by EM, and add what they reconstruct.

    The bases are a buffer, not weights: each training step moves them towards those it found. EM itself is outside the
    gradient, so that `conv1`, in front of it, can learn nothing and is frozen.
    """

    bases: Tensor

    def __init__(self, channels: int, bases: int, stages: int, momentum: float) -> None:
        super().__init__()
        self.stages, self.momentum = stages, momentum
        start = torch.empty(1, channels, bases).normal_(0, math.sqrt(2 / bases))
        self.register_buffer("bases", normalize(start, dim=1))
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=1)
        self.conv1.requires_grad_(False)
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        n, c, h, w = x.shape
        with torch.no_grad():
            features = self.conv1(x).flatten(2)  # (N, C, pixels)
            found = self.bases.expand(n, -1, -1)
            for _ in range(self.stages):
                # E: how much each basis answers for each pixel.
                answer = torch.softmax(features.transpose(1, 2) @ found, dim=2)  # (N, pixels, k)
                # M: each basis becomes the mean of the pixels it answers for.
                share = answer / (1e-6 + answer.sum(dim=1, keepdim=True))
                found = normalize(features @ share, dim=1)  # (N, C, k)
            rebuilt = (found @ answer.transpose(1, 2)).view(n, c, h, w)
            if self.training:
                self._move(found.mean(dim=0, keepdim=True))
        return torch.relu(x + self.conv2(torch.relu(rebuilt)))

    def _move(self, found: Tensor) -> None:
        """Move the bases; under data parallelism by the mean over all processes, so that they stay the same."""
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(found)
            found = found / dist.get_world_size()
        self.bases.mul_(self.momentum).add_(found.to(self.bases.dtype), alpha=1 - self.momentum)
