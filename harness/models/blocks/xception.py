"""The modified aligned Xception of DeepLabV3+ (Chen et al., ECCV 2018, section 4 and figure 4), "Xception-65"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import relu

from harness.errors import WeightsError

# Blocks of the middle flow (figure 4).
MIDDLE = 16


def xception(output_stride: int = 16, width: int = 64, pretrained: str = "none", middle: int = MIDDLE) -> Xception:
    """Build the modified Xception as a backbone.

    Args:
        output_stride: 8, 16 or 32; below 32 the last blocks dilate instead of striding.
        width: channels of the second convolution; the others keep their proportion. The paper's is 64.
        pretrained: `none`: there are no ImageNet weights of this network in torchvision.
        middle: blocks of the middle flow; the paper's are 16.

    Raises:
        ValueError: no such output stride.
        WeightsError: weights are asked for.
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output stride {output_stride}: use 8, 16 or 32")
    if pretrained != "none":
        raise WeightsError(
            "xception: there are no ImageNet weights of the modified Xception in torchvision, so that "
            f"pretrained={pretrained!r} cannot be had",
            "Train it from scratch with the model parameter pretrained: none, or take another backbone.",
        )
    return Xception(output_stride, width, middle)


class Xception(nn.Module):
    """Entry, middle and exit flow; every pooling of Xception is a strided separable convolution here.

    Batch normalization and ReLU follow every depthwise convolution, as the paper says (section 4, third change). Its
    released code has the normalization everywhere as well, but that ReLU in the last three convolutions only.
    `channels` are those of what `forward` returns.
    """

    def __init__(self, output_stride: int, width: int, middle: int) -> None:
        super().__init__()
        c128, c256, c728, c1024, c1536, c2048 = (round(c * width / 64) for c in (128, 256, 728, 1024, 1536, 2048))
        self.stem = nn.Sequential(*_dense(3, width // 2, stride=2), *_dense(width // 2, width))
        # Stride and dilation so far; a block that may no longer stride dilates those after it instead.
        plan = _Dilating(output_stride)
        self.entry1 = Block(width, (c128,) * 3, *plan.step(2))
        self.entry2 = Block(c128, (c256,) * 3, *plan.step(2))
        self.entry3 = Block(c256, (c728,) * 3, *plan.step(2))
        self.middle = nn.Sequential(*(Block(c728, (c728,) * 3, *plan.step(1)) for _ in range(middle)))
        self.exit = Block(c728, (c728, c1024, c1024), *plan.step(2))
        _, dilation = plan.step(1)
        self.last = nn.Sequential(
            *(
                layer
                for a, b in ((c1024, c1536), (c1536, c1536), (c1536, c2048))
                for layer in (Separable(a, b, 1, dilation), nn.ReLU(inplace=True))
            )
        )
        self.channels = [c256, c256, c728, c2048]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> features at 1/4, 1/8, 1/16 and 1/32; none is coarser than 1/output_stride.

        The first are what the second block has made before it strides: the low-level features of the decoder.
        """
        x = self.entry1(self.stem(x))
        low = self.entry2.fine(x)
        second = self.entry2.join(x, low)
        third = self.middle(self.entry3(second))
        return [low, second, third, self.last(self.exit(third))]


class Block(nn.Module):
    """Three separable convolutions, of which the last may stride, and a shortcut around them."""

    def __init__(self, inside: int, channels: Sequence[int], stride: int, dilation: int) -> None:
        super().__init__()
        first, second, third = channels
        self.first, self.second = Separable(inside, first, 1, dilation), Separable(first, second, 1, dilation)
        self.third = Separable(second, third, stride, dilation)
        self.shortcut: nn.Module = nn.Identity()
        if inside != third or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, third, 1, stride=stride, bias=False), nn.BatchNorm2d(third))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels[-1], H/stride, W/stride)."""
        return self.join(x, self.fine(x))

    def fine(self, x: Tensor) -> Tensor:
        """What the first two convolutions make of it, still at its size."""
        return self.second(relu(self.first(relu(x))))  # type: ignore[no-any-return]

    def join(self, x: Tensor, fine: Tensor) -> Tensor:
        """The third convolution, and the shortcut added."""
        return self.third(relu(fine)) + self.shortcut(x)  # type: ignore[no-any-return]


class Separable(nn.Sequential):
    """A 3×3 depthwise convolution with batch normalization and ReLU, and a 1×1 with batch normalization."""

    def __init__(self, inside: int, outside: int, stride: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(inside, inside, 3, stride, padding=dilation, dilation=dilation, groups=inside, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(inplace=True),
            nn.Conv2d(inside, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )


class _Dilating:
    """Turns strides into dilations from the output stride on; the block that would have strided keeps the old one."""

    def __init__(self, output_stride: int) -> None:
        # The first convolution has halved the size.
        self.output_stride, self.stride, self.dilation = output_stride, 2, 1

    def step(self, stride: int) -> tuple[int, int]:
        """Stride and dilation of the next block."""
        dilation = self.dilation
        if self.stride * stride > self.output_stride:
            self.dilation, stride = self.dilation * stride, 1
        self.stride *= stride
        return stride, dilation


def _dense(inside: int, outside: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    ]
