"""ResNet (He et al., CVPR 2016) as a backbone: four stages, an output stride, torchvision's weight names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from harness.errors import WeightsError

from .weights import imagenet_or_none, imagenet_state

# Blocks of each stage, and whether they are bottlenecks.
DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}


def resnet(
    name: str,
    output_stride: int = 32,
    width: int = 64,
    pretrained: str = "none",
    deep_stem: bool = False,
    multigrid: Sequence[int] = (1, 1, 1),
    contract: bool = True,
) -> ResNet:
    """Build a ResNet backbone.

    Args:
        name: one of `DEPTHS`.
        output_stride: 8, 16 or 32; below 32 the last stages dilate instead of striding.
        width: channels of the stem; ImageNet weights exist for 64.
        pretrained: `imagenet` or `none`.
        deep_stem: three 3×3 convolutions instead of one 7×7, ending in twice the width (PSPNet, EMANet).
        multigrid: the dilations of the last stage's blocks but the first, as multiples of the stage's.
        contract: the first block of a dilated stage keeps the dilation of the stage before it, as in torchvision; else
            it has the stage's own.

    Raises:
        ValueError: no such backbone or output stride.
        WeightsError: the weights cannot be had.
    """
    if name not in DEPTHS:
        raise ValueError(f"backbone {name!r}: use one of {', '.join(DEPTHS)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output stride {output_stride}: use 8, 16 or 32")
    network = ResNet(*DEPTHS[name], output_stride, width, deep_stem, multigrid, contract)
    if pretrained != "none":
        imagenet_or_none(pretrained, name)
        if width != 64:
            raise WeightsError(f"{name}: ImageNet weights exist for width 64, not {width}")
        if deep_stem:
            raise WeightsError(
                f"{name}: torchvision's ImageNet weights are for the plain stem, not the deep one",
                "Set the model parameter deep_stem: false, or pretrained: none.",
            )
        state = imagenet_state(name)
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    return network


class ResNet(nn.Module):
    """Stem and four stages; `forward` returns the features of every stage."""

    def __init__(
        self,
        blocks: tuple[int, ...],
        bottleneck: bool,
        output_stride: int,
        width: int,
        deep_stem: bool = False,
        multigrid: Sequence[int] = (1, 1, 1),
        contract: bool = True,
    ) -> None:
        super().__init__()
        self.conv1: nn.Module
        if deep_stem:
            self.conv1 = nn.Sequential(
                nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                conv_bn_relu(width, width),
                nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False),
            )
        else:
            self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        stem = 2 * width if deep_stem else width
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        kind: type[Bottleneck | BasicBlock] = Bottleneck if bottleneck else BasicBlock
        inside, dilation, stride = stem, 1, 4
        self.channels = []
        for number, count in enumerate(blocks):
            step, before = (1 if number == 0 else 2), dilation
            if step == 2 and stride * 2 > output_stride:
                dilation, step = dilation * 2, 1
            stride *= step
            channels = width * 2**number
            stage = [kind(inside, channels, step, before if contract else dilation)]
            inside = channels * kind.expansion
            grid = multigrid if number == len(blocks) - 1 else (1,)
            stage += [kind(inside, channels, 1, dilation * grid[n % len(grid)]) for n in range(1, count)]
            setattr(self, f"layer{number + 1}", nn.Sequential(*stage))
            self.channels.append(inside)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the features of stages 1 to 4; the first at 1/4, the last at 1/output_stride."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)  # type: ignore[operator]
            features.append(x)
        return features


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and an identity."""

    expansion = 1

    def __init__(self, inside: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inside, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, H/stride, W/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up by four, and an identity; the 3×3 strides, as in torchvision."""

    expansion = 4

    def __init__(self, inside: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inside, channels * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4·channels, H/stride, W/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


def projection(inside: int, outside: int, stride: int) -> nn.Sequential | None:
    """A 1×1 convolution where size or channels change, else None."""
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside))


def conv_bn_relu(*channels: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """A chain of same-size convolutions, each with batch normalization and ReLU."""
    layers: list[nn.Module] = []
    for inside, outside in pairwise(channels):
        layers += [
            nn.Conv2d(inside, outside, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
