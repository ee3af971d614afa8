"""EMANet: Expectation-Maximization Attention (Li et al., ICCV 2019), from the paper."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize

from .blocks.heads import classifier
from .blocks.resnet import conv_bn_relu, resnet
from .blocks.upsampling import Grid

NAME = "emanet"
SUMMARY = "dilated ResNet and expectation-maximization attention"
STRIDE = 1
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
    align_corners: bool = True,
    pretrained: str = "none",
) -> EMANet:
    """Build EMANet.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101; the paper's are 50 and 101.
        output_stride: 8, 16 or 32; the paper's is 8, with dilations 2, 8, 16 in the last stage.
        bases: k, how many bases describe the features.
        stages: T, how often expectation and maximization alternate.
        channels: of the attention; the paper's is 512.
        momentum: share of the old bases in the moving ones.
        deep_stem: three 3×3 convolutions as stem; ImageNet weights need the plain one.
        width: channels of the backbone's stem; 64 is ResNet's.
        bn_momentum: of every batch normalization's running statistics.
        align_corners: how the logits are brought to the image's size: corner on corner, as in the paper's code, or, as
            in mmsegmentation, a cell of pixels for each score.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained, deep_stem, multigrid=(1, 2, 4))
    grid = Grid(output_stride, align_corners)
    network = EMANet(encoder, num_classes, channels, bases, stages, momentum, grid)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
    return network


class EMANet(nn.Module):
    """Encoder, a reduction, the attention unit, and a classifier."""

    def __init__(
        self, encoder: nn.Module, num_classes: int, channels: int, bases: int, stages: int, momentum: float, grid: Grid
    ) -> None:
        super().__init__()
        self.encoder, self.grid = encoder, grid
        self.reduce = conv_bn_relu(int(encoder.channels[-1]), channels)  # type: ignore[index]
        self.attention = EMAUnit(channels, bases, stages, momentum)
        self.narrow = conv_bn_relu(channels, channels // 2)
        self.classify = classifier(channels // 2, num_classes)
        # Not the classifier: by its few outputs it would start with a cross-entropy of 7 where chance has 3.
        for part in (self.reduce, self.attention, self.narrow):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                    nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        features = self.attention(self.reduce(self.encoder(self.grid.fit(x))[-1]))
        return self.grid.raised(self.classify(self.narrow(features)), x)

    def after_step(self) -> None:
        """Move the bases, once for a whole batch."""
        self.attention.move()


class EMAUnit(nn.Module):
    """Describe every pixel by a few bases, found by EM, and add what they reconstruct.

    The bases are a buffer, not weights: each training step moves them towards the mean of those found in its images,
    whatever parts and processes these were divided among. EM itself is outside the gradient, so that `conv1`, in front
    of it, can learn nothing and is frozen.
    """

    bases: Tensor

    def __init__(self, channels: int, bases: int, stages: int, momentum: float) -> None:
        super().__init__()
        self.stages, self.momentum = stages, momentum
        start = torch.empty(1, channels, bases).normal_(0, math.sqrt(2 / bases))
        self.register_buffer("bases", normalize(start, dim=1))
        # The sum of the bases found since the last step, and the number of images. No buffers: data parallelism would
        # overwrite them by those of rank 0.
        self._gathered: tuple[Tensor, Tensor] | None = None
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
                self._gather(found.to(self.bases.dtype).sum(dim=0, keepdim=True), torch.full((), n, device=x.device))
        return torch.relu(x + self.conv2(torch.relu(rebuilt)))

    def _gather(self, found: Tensor, images: Tensor) -> None:
        if self._gathered is not None:
            found, images = found + self._gathered[0], images + self._gathered[1]
        self._gathered = found, images

    @torch.no_grad()
    def move(self) -> None:
        """Move the bases by the mean over all images since the last call, those of other processes among them."""
        if self._gathered is None:
            return
        found, images = self._gathered
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(found)
            dist.all_reduce(images)
        self.bases.mul_(self.momentum).add_(found / images, alpha=1 - self.momentum)
        self._gathered = None
