"""What FCN-32s, FCN-16s and FCN-8s share: VGG16 and the way up (Long, Shelhamer and Darrell, CVPR 2015).

The released networks pad the first convolution by 100 pixels, so that fc6, a 7×7 convolution without
padding, still has something to look at on small images, and cut the scores back at fixed offsets.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .vgg import STAGES, copy_classifier, copy_imagenet

Upsampling = Literal["learned", "frozen"]
Padding = Literal["paper", "same"]
SkipScale = Literal["match", "caffe", "none"]

# Where the scores are cut out of the padded map, in pixels of the respective map.
FINAL_OFFSET = {32: 19, 16: 27, 8: 31}
POOL4_OFFSET, POOL3_OFFSET = 5, 9
# Trained at once, the released FCN-8s scales pool4 and pool3 by these. They belong to Caffe's VGG16, which sees values
# up to 255; torchvision's sees some 58 times smaller ones, and without biases its activations would be as much smaller.
CAFFE_SCALES = (0.01, 0.0001)


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
            which a small network trained from scratch hardly learns.
        pretrained: `imagenet` starts from torchvision's VGG16: the five stages, and fc6 and fc7 from its classifier,
            made convolutional; with fewer than its 4096 units, from evenly spaced ones of them.
        skip_scale: how the features of pool4 and pool3 are scaled before they are scored. `match`: to the size that
            fc7's have in the network as it starts, measured once on a fixed pattern, so that every skip is heard
            whatever the weights are. `caffe`: by .01 and .0001, as released, for weights that see 0 to 255. `none`: not
            at all, as in staged training, where a 16s starts from a trained 32s. None: `match`, or with `norm` `none`.
    """

    skip_scales: Tensor
    """The factors of pool4's and pool3's features, (2,)."""

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
        skip_scale: SkipScale | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
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
            copy_classifier(self.fc6, self.fc7, "fcn", norm)
        how = skip_scale or ("none" if norm else "match")
        # Measured ones belong to the weights, and are kept with them.
        self.register_buffer("skip_scales", self._scales(how), persistent=how == "match" and stride < 32)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        pools, x = self.features(x)
        scores = self.score(x)
        # 1. Add the scores of pool4, then of pool3, each at twice the size.
        if self.stride <= 16:
            skip = self.score_pool4(pools[3] * self.skip_scales[0])
            up = self.up2(scores)
            scores = up + cut(skip, up, POOL4_OFFSET if self.padding == "paper" else 0)
        if self.stride == 8:
            skip = self.score_pool3(pools[2] * self.skip_scales[1])
            up = self.up4(scores)
            scores = up + cut(skip, up, POOL3_OFFSET if self.padding == "paper" else 0)
        # 2. Upsample to the image and cut the border away.
        offset = FINAL_OFFSET[self.stride] if self.padding == "paper" else 0
        scores = self.up_final(scores)
        return scores[..., offset : offset + size[0], offset : offset + size[1]]  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """(N, 3, H, W) -> the features of the five pools, each at half the size, and fc7's at 1/32."""
        pools = []
        for stage in self.stages:
            x = stage(x)
            pools.append(x)
        # The classifier as convolutions.
        x = self.dropout(torch.relu(self.fc6(x)))
        return pools, self.dropout(torch.relu(self.fc7(x)))

    def _scales(self, how: SkipScale) -> Tensor:
        """The factors of pool4 and pool3, (2,)."""
        if how == "match" and self.stride < 32:
            return self._matching_scales()
        if how not in ("match", "caffe", "none"):
            raise ValueError(f"skip_scale {how!r}: use match, caffe or none")
        return torch.tensor(CAFFE_SCALES if how == "caffe" else (1.0, 1.0))

    @torch.no_grad()
    def _matching_scales(self) -> Tensor:
        """What brings pool4 and pool3 to the size (root mean square) of fc7, on a pattern that is always the same."""
        if self.score.weight.is_meta:
            return torch.ones(2)
        self.eval()
        pools, fc7 = self.features(like_a_photograph().to(self.score.weight.device))
        self.train()
        target, *sizes = (float(x.square().mean().sqrt()) for x in (fc7, pools[3], pools[2]))
        return torch.tensor([target / size if target * size > 0 else 1.0 for size in sizes])

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


def like_a_photograph(side: int = 224) -> Tensor:
    """A fixed pattern (1, 3, side, side) of unit variance whose spectrum falls with the frequency, as photographs' do.

    Field, Relations between the statistics of natural images and the response properties of cortical cells, 1987.
    """
    noise = torch.randn(4, side, side, generator=torch.Generator().manual_seed(0), device="cpu")
    y, x = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
    frequency = torch.hypot(*torch.meshgrid(y, x, indexing="ij")).clamp(min=1 / side)
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(side, side))
    smooth = (smooth - smooth.mean((1, 2), keepdim=True)) / smooth.std((1, 2), keepdim=True)
    # Brightness is most of it; colors differ little.
    photograph: Tensor = (0.95 * smooth[:1] + 0.05**0.5 * smooth[1:])[None]
    return photograph


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
