"""SegFormer (Xie et al., NeurIPS 2021), from the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from harness.errors import WeightsError

from .blocks.mit import load_mit

NAME = "segformer"
SUMMARY = "hierarchical transformer and a decoder of linear layers; b0 to b5"
STRIDE = 32
PAPER = "Xie et al., SegFormer, NeurIPS 2021"
LICENSE = "Apache-2.0"
BACKBONE = ("stages",)

# Variant -> channels of the four stages, blocks of each, channels of the decoder (paper, table 6).
VARIANTS = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
HEADS = (1, 2, 5, 8)
# How much the keys and values of each stage are reduced, along each side.
REDUCTIONS = (8, 4, 2, 1)


def build(
    num_classes: int,
    variant: str = "b0",
    width: int | None = None,
    decoder: int | None = None,
    drop_path: float = 0.1,
    pretrained: str = "none",
) -> SegFormer:
    """Build SegFormer.

    Args:
        num_classes: K.
        variant: b0 to b5.
        width: channels of the first stage; the others keep their proportion. None takes the variant's.
        decoder: channels of the decoder; None takes the variant's.
        drop_path: the last block's chance of being skipped in training; the first's is 0.
        pretrained: `imagenet` or `none`. The weights are not fetched, as their license allows non-commercial use only:
            the file is placed by hand, in the authors' or in transformers' layout.

    Raises:
        ValueError: there is no such variant.
        WeightsError: the weights cannot be had; says where to place them.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: use one of {', '.join(VARIANTS)}")
    channels: tuple[int, ...]
    channels, depths, embedding = VARIANTS[variant]
    if width is not None:
        # Attention needs whole heads: 1, 2, 5 and 8 of them.
        channels = tuple(width * heads for heads in HEADS)
    network = SegFormer(num_classes, channels, depths, decoder or embedding, drop_path)
    if pretrained == "none":
        return network
    if pretrained != "imagenet":
        raise WeightsError(f"pretrained={pretrained!r}: use 'imagenet' or 'none'")
    if width is not None:
        raise WeightsError(f"segformer: ImageNet weights exist for the variants' own widths, not for width {width}")
    load_mit(network.stages, variant)
    return network


class SegFormer(nn.Module):
    """A transformer in four stages, from 1/4 to 1/32, and a decoder of nothing but linear layers."""

    def __init__(
        self, num_classes: int, channels: tuple[int, ...], depths: tuple[int, ...], embedding: int, drop_path: float
    ) -> None:
        super().__init__()
        blocks = sum(depths)
        chances = iter([drop_path * n / max(1, blocks - 1) for n in range(blocks)])
        self.stages = nn.ModuleList()
        inside = 3
        for number, (outside, depth) in enumerate(zip(channels, depths, strict=True)):
            kernel, stride = (7, 4) if number == 0 else (3, 2)
            drops = [next(chances) for _ in range(depth)]
            self.stages.append(Stage(inside, outside, kernel, stride, HEADS[number], REDUCTIONS[number], drops))
            inside = outside
        self.embed = nn.ModuleList(nn.Conv2d(c, embedding, kernel_size=1) for c in channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(4 * embedding, embedding, kernel_size=1, bias=False),
            nn.BatchNorm2d(embedding),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )
        self.apply(_init)
        # Not initialized as the rest: by its few outputs it would start with a cross-entropy of 7 where chance has 3.
        self.head = nn.Conv2d(embedding, num_classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        # 1. Four stages.
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        # 2. The same number of channels each, at 1/4, side by side (deepest first).
        grid = features[0].shape[-2:]
        parts = [
            interpolate(embed(f), size=grid, mode="bilinear", align_corners=False)
            for embed, f in zip(self.embed, features, strict=True)
        ]
        y = self.head(self.fuse(torch.cat(parts[::-1], dim=1)))
        # 3. Up to the image.
        return interpolate(y, size=size, mode="bilinear", align_corners=False)


class Stage(nn.Module):
    """Overlapping patches, then transformer blocks."""

    def __init__(
        self, inside: int, outside: int, kernel: int, stride: int, heads: int, reduction: int, drops: list[float]
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(inside, outside, kernel, stride=stride, padding=kernel // 2)
        self.norm_patch = nn.LayerNorm(outside)
        self.blocks = nn.ModuleList(Block(outside, heads, reduction, drop) for drop in drops)
        self.norm = nn.LayerNorm(outside, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outside, H/stride, W/stride)."""
        x = self.patch(x)
        n, c, h, w = x.shape
        tokens = self.norm_patch(x.flatten(2).transpose(1, 2))  # (N, pixels, C)
        for block in self.blocks:
            tokens = block(tokens, h, w)
        return self.norm(tokens).transpose(1, 2).reshape(n, c, h, w)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Efficient self-attention and a Mix-FFN, each added to what it saw."""

    def __init__(self, channels: int, heads: int, reduction: int, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels, eps=1e-6), nn.LayerNorm(channels, eps=1e-6)
        self.attention = EfficientAttention(channels, heads, reduction)
        self.ffn = MixFFN(channels)
        self.drop = drop

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """(N, pixels, C) -> (N, pixels, C)."""
        x = x + self._maybe(self.attention(self.norm1(x), h, w))
        return x + self._maybe(self.ffn(self.norm2(x), h, w))

    def _maybe(self, x: Tensor) -> Tensor:
        """Stochastic depth: in training, a sample's branch is left out now and then."""
        if not self.training or self.drop == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.drop
        return x * keep / (1 - self.drop)


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values are reduced by a strided convolution (paper, equation 2)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.reduce = None
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, kernel_size=reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """(N, pixels, C) -> (N, pixels, C)."""
        n, pixels, c = x.shape
        query = self.query(x).reshape(n, pixels, self.heads, c // self.heads).transpose(1, 2)
        if self.reduce is not None:
            x = self.reduce(x.transpose(1, 2).reshape(n, c, h, w))
            x = self.norm(x.flatten(2).transpose(1, 2))
        pair = self.key_value(x).reshape(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, pair[0], pair[1])
        return self.project(seen.transpose(1, 2).reshape(n, pixels, c))  # type: ignore[no-any-return]


class MixFFN(nn.Module):
    """Two linear layers with a depthwise 3×3 convolution between them: position without an encoding (equation 3)."""

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        wide = channels * ratio
        self.widen, self.narrow = nn.Linear(channels, wide), nn.Linear(wide, channels)
        self.mix = nn.Conv2d(wide, wide, kernel_size=3, padding=1, groups=wide)
        self.activation = nn.GELU()

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """(N, pixels, C) -> (N, pixels, C)."""
        x = self.widen(x)
        n, _, c = x.shape
        x = self.mix(x.transpose(1, 2).reshape(n, c, h, w)).flatten(2).transpose(1, 2)
        return self.narrow(self.activation(x))  # type: ignore[no-any-return]


def _init(module: nn.Module) -> None:
    """Linear layers from a truncated N(0, 0.02), convolutions from He's normal distribution by fan-out."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, (2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
