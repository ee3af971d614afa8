"""DeepLabV3+ (Chen et al., ECCV 2018), DeepLabV3 (2017), and the heads of DeepLab v1 and v2 (ICLR 2015, TPAMI 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from harness.models.resnet import conv_bn_relu, resnet

# Channels the decoder reduces the low-level features to (paper, table 1).
LOW_LEVEL = 48


def deeplabv3plus(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    rates: Sequence[int] = (6, 12, 18),
    channels: int = 256,
    decoder_convs: int = 2,
    separable: bool = False,
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV3Plus:
    """Build DeepLabV3+.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32 of the encoder.
        rates: the atrous rates; the paper's 6, 12, 18 belong to output stride 16.
        channels: of the pyramid's branches and the decoder; the paper's is 256.
        decoder_convs: 3×3 convolutions of the decoder; the paper has 2.
        separable: depthwise separable 3×3 convolutions in pyramid and decoder, as in the paper's Xception model.
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    network = DeepLabV3Plus(encoder, num_classes, rates, channels, decoder_convs)
    if separable:
        separate(network.aspp)
        separate(network.decoder)
    return network


def deeplabv3(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    head: Literal["v3", "v2", "v1"] = "v3",
    rates: Sequence[int] | None = None,
    channels: int = 256,
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV3:
    """Build DeepLabV3, or an earlier head on the same backbone.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50 or resnet101.
        output_stride: 8, 16 or 32.
        head: `v3`: pyramid with image pooling, joined, and a 3×3 convolution. `v2`: the scores of parallel atrous
            convolutions, summed. `v1`: one atrous 3×3 with a large field of view (LargeFOV) and a 1×1.
        rates: the atrous rates; by default 6, 12, 18 for v3 (doubled at output stride 8), 6, 12, 18, 24 for v2, 12 for
            v1.
        channels: of the head; the papers' are 256 (v3) and 1024 (v1).
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.

    Raises:
        ValueError: there is no such head.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    inside = encoder.channels[-1]
    chosen: nn.Module
    if head == "v3":
        factor = 2 if output_stride == 8 else 1
        pyramid = ASPP(inside, channels, rates or [6 * factor, 12 * factor, 18 * factor], dropout=0.5)
        chosen = nn.Sequential(pyramid, conv_bn_relu(channels, channels), nn.Conv2d(channels, num_classes, 1))
    elif head == "v2":
        chosen = SummedScores(inside, num_classes, rates or (6, 12, 18, 24))
    elif head == "v1":
        (rate,) = rates or (12,)
        chosen = nn.Sequential(conv_bn_relu(inside, channels, dilation=rate), nn.Conv2d(channels, num_classes, 1))
    else:
        raise ValueError(f"head {head!r}: use v3, v2 or v1")
    return DeepLabV3(encoder, chosen)


class DeepLabV3(nn.Module):
    """An encoder that keeps its resolution by dilation, a head, and one step up to the image."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        scores = self.head(self.encoder(x)[-1])
        return interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)


class SummedScores(nn.Module):
    """The scores of one atrous 3×3 convolution for each rate, added (DeepLab v2's ASPP-L on ResNet)."""

    def __init__(self, inside: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inside, num_classes, 3, padding=rate, dilation=rate) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> scores (N, K, h, w)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total  # type: ignore[no-any-return]


class DeepLabV3Plus(nn.Module):
    """Encoder, atrous spatial pyramid, and a decoder that brings back the low-level features."""

    def __init__(
        self, encoder: nn.Module, num_classes: int, rates: Sequence[int], channels: int, decoder_convs: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        low, high = int(encoder.channels[0]), int(encoder.channels[-1])  # type: ignore[index]
        self.aspp = ASPP(high, channels, rates)
        self.reduce = conv_bn_relu(low, LOW_LEVEL, kernel=1)
        self.decoder = conv_bn_relu(channels + LOW_LEVEL, *[channels] * decoder_convs)
        self.head = nn.Conv2d(channels, num_classes, kernel_size=1)
        for part in (self.aspp, self.reduce, self.decoder, self.head):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        # 1. Encode: low-level features at 1/4, high-level ones at the output stride.
        low, *_, high = self.encoder(x)
        # 2. Look at several scales at once.
        y = self.aspp(high)
        # 3. Decode at 1/4, with the low-level features beside.
        y = interpolate(y, size=low.shape[-2:], mode="bilinear", align_corners=False)
        y = self.head(self.decoder(torch.cat([self.reduce(low), y], dim=1)))
        # 4. Up to the image.
        return interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """A 1×1 convolution, one atrous 3×3 for each rate and image pooling, side by side, then joined."""

    def __init__(self, inside: int, channels: int, rates: Sequence[int], dropout: float = 0.1) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inside, channels, kernel=1)]
            + [conv_bn_relu(inside, channels, dilation=rate) for rate in rates]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(inside, channels, kernel=1))
        self.join = conv_bn_relu(channels * (len(rates) + 2), channels, kernel=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, channels, h, w)."""
        pooled = self.pool(x).expand(-1, -1, *x.shape[-2:])
        return self.dropout(self.join(torch.cat([*(b(x) for b in self.branches), pooled], dim=1)))  # type: ignore[no-any-return]


def separate(network: nn.Module) -> None:
    """Replace every k×k convolution, k > 1, by a depthwise one and a 1×1, in place (paper, section 3.1)."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size[0] > 1:
            inside, outside = child.in_channels, child.out_channels
            kernel, dilation = child.kernel_size[0], child.dilation[0]
            reach = dilation * (kernel // 2)
            depthwise = nn.Conv2d(inside, inside, kernel, padding=reach, dilation=dilation, groups=inside, bias=False)
            pair = nn.Sequential(depthwise, nn.Conv2d(inside, outside, 1, bias=False))
            for layer in pair:
                nn.init.kaiming_normal_(layer.weight)  # type: ignore[arg-type]
            setattr(network, name, pair)
        else:
            separate(child)
