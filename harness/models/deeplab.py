"""DeepLabV3+ (Chen et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence

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
        width: channels of the backbone's stem; 64 is ResNet's.
        pretrained: `imagenet` or `none`.
    """
    encoder = resnet(backbone, output_stride, width, pretrained)
    return DeepLabV3Plus(encoder, num_classes, rates, channels, decoder_convs)


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

    def __init__(self, inside: int, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inside, channels, kernel=1)]
            + [conv_bn_relu(inside, channels, dilation=rate) for rate in rates]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(inside, channels, kernel=1))
        self.join = conv_bn_relu(channels * (len(rates) + 2), channels, kernel=1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, channels, h, w)."""
        pooled = self.pool(x).expand(-1, -1, *x.shape[-2:])
        return self.dropout(self.join(torch.cat([*(b(x) for b in self.branches), pooled], dim=1)))  # type: ignore[no-any-return]
