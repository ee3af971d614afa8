"""What FCN-32s, FCN-16s and FCN-8s share: VGG16 and the way up (Long, Shelhamer and Darrell, CVPR 2015).

The released networks pad the first convolution by 100 pixels, so that fc6, a 7×7 convolution without
padding, still has something to look at on small images, and cut the scores back at fixed offsets.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .vgg import STAGES, copy_imagenet

Upsampling = Literal["learned", "frozen"]
Padding = Literal["paper", "same"]

# Where the scores are cut out of the padded map, in pixels of the respective map.
FINAL_OFFSET = {32: 19, 16: 27, 8: 31}
POOL4_OFFSET, POOL3_OFFSET = 5, 9
# Trained at once, the skips start small, since VGG16's pool4 and pool3 are not normalized.
POOL4_SCALE, POOL3_SCALE = 0.01, 0.0001


class FCN(nn.Module):
    """VGG16 made convolutional, its scores added to those of earlier pools and upsampled.

    Args:
        num_classes: K.
        stride: 32, 16 or 8: the pixel stride of the finest scores.
        width: channels of the first stage; the paper's is 64.
        hidden: channels of fc6 and fc7; the paper's is 4096.
        padding: `paper` pads the first convolution by 100 and cuts the scores back; `same` pads every
            convolution by half its kernel instead, which costs far less on small images.
        upsampling: bilinear kernels that stay (`frozen`, as released) or are learned (as the text says).
        norm: batch normalization after every convolution of the five stages (the paper has none), without
            which a small network trained from scratch hardly learns; the skips then start at full size.
        pretrained: `imagenet` starts the five stages from torchvision's VGG16.
    """

    def __init__(
        self,
        num_classes: int,
        stride: int,
        width: int = 64,
        hidden: int = 4096,
        padding: Padding = "paper",
        upsampling: Upsampling = "frozen",
        norm: bool = False,
        pretrained: str = "none",
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.scale4, self.scale3 = (1.0, 1.0) if norm else (POOL4_SCALE, POOL3_SCALE)
        self.stages = vgg_stages(width, norm, first_padding=100 if padding == "paper" else 1)
        self.fc6 = nn.Conv2d(width * 8, hidden, kernel_size=7, padding=0 if padding == "paper" else 3)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.dropout = nn.Dropout(0.5)
        self.score = nn.Conv2d(hidden, num_classes, kernel_size=1)
        if stride <= 16:
            self.score_pool4 = nn.Conv2d(width * 8, num_classes, kernel_size=1)
            self.up2 = bilinear_up(num_classes, 2, padding, upsampling)
        if stride == 8:
            self.score_pool3 = nn.Conv2d(width * 4, num_classes, kernel_size=1)
            self.up4 = bilinear_up(num_classes, 2, padding, upsampling)
        self.up_final = bilinear_up(num_classes, stride, padding, upsampling)
        self._init(norm)
        if pretrained != "none":
            copy_imagenet(self.stages, "fcn", pretrained, width, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        # 1. Five stages, each halving the size.
        pools = []
        for stage in self.stages:
            x = stage(x)
            pools.append(x)
        # 2. The classifier as convolutions, at 1/32.
        x = self.dropout(torch.relu(self.fc6(x)))
        x = self.dropout(torch.relu(self.fc7(x)))
        scores = self.score(x)
        # 3. Add the scores of pool4, then of pool3, each at twice the size.
        if self.stride <= 16:
            skip = self.score_pool4(pools[3] * self.scale4)
            up = self.up2(scores)
            scores = up + cut(skip, up, POOL4_OFFSET if self.padding == "paper" else 0)
        if self.stride == 8:
            skip = self.score_pool3(pools[2] * self.scale3)
            up = self.up4(scores)
            scores = up + cut(skip, up, POOL3_OFFSET if self.padding == "paper" else 0)
        # 4. Upsample to the image and cut the border away.
        offset = FINAL_OFFSET[self.stride] if self.padding == "paper" else 0
        scores = self.up_final(scores)
        return scores[..., offset : offset + size[0], offset : offset + size[1]]  # type: ignore[no-any-return]

    def _init(self, norm: bool) -> None:
        """Scores start at zero, as in the paper; stages from He's normal distribution."""
        for stage in self.stages:
            for layer in stage.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        for name in ("score", "score_pool4", "score_pool3"):
            if hasattr(self, name):
                nn.init.zeros_(getattr(self, name).weight)
                nn.init.zeros_(getattr(self, name).bias)


def vgg_stages(width: int, norm: bool, first_padding: int) -> nn.ModuleList:
    """VGG16's five stages of 3×3 convolutions, each ending in a 2×2 maximum; sizes round up."""
    stages, inside, padding = nn.ModuleList(), 3, first_padding
    for count, factor in STAGES:
        layers: list[nn.Module] = []
        for _ in range(count):
            layers.append(nn.Conv2d(inside, width * factor, kernel_size=3, padding=padding))
            layers += [nn.BatchNorm2d(width * factor)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            inside, padding = width * factor, 1
        stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, 2, ceil_mode=True)))
    return stages


def bilinear_up(channels: int, factor: int, padding: Padding, upsampling: Upsampling) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear interpolation by `factor`, without bias."""
    up = nn.ConvTranspose2d(
        channels,
        channels,
        kernel_size=2 * factor,
        stride=factor,
        padding=0 if padding == "paper" else factor // 2,
        bias=False,
    )
    center = factor - 0.5
    weights = 1 - (torch.arange(2 * factor) - center).abs() / factor
    with torch.no_grad():
        up.weight.zero_()
        for channel in range(channels):
            up.weight[channel, channel] = torch.outer(weights, weights)
    up.weight.requires_grad_(upsampling == "learned")
    return up


def cut(skip: Tensor, like: Tensor, offset: int) -> Tensor:
    """The part of `skip` that lies under `like`."""
    return skip[..., offset : offset + like.shape[-2], offset : offset + like.shape[-1]]
