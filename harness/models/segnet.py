"""SegNet (Badrinarayanan, Kendall and Cipolla, TPAMI 2017), from the paper."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, max_unpool2d

# Convolutions of VGG16's five stages, and their channels as multiples of the first stage's.
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


def segnet(num_classes: int, width: int = 64, pretrained: str = "none") -> SegNet:
    """Build SegNet.

    Args:
        num_classes: K.
        width: channels of the first stage; VGG16's is 64.
        pretrained: `imagenet` starts the encoder from torchvision's VGG16 with batch normalisation.
    """
    network = SegNet(num_classes, width)
    if pretrained != "none":
        network.load_imagenet(pretrained, width)
    return network


class SegNet(nn.Module):
    """VGG16's convolutions, and their mirror image; maxima go back to where they came from."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inside = 3
        for count, factor in STAGES:
            outside = width * factor
            self.encoder.append(convolutions([inside, *[outside] * count]))
            # Mirrored: the same number of convolutions, the last of which leads to the stage before.
            after = num_classes if inside == 3 else inside
            self.decoder.append(convolutions([*[outside] * count, after], plain_end=inside == 3))
            inside = outside
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) with H and W multiples of 32 -> logits (N, K, H, W)."""
        # 1. Down: remember where each maximum was.
        places = []
        for stage in self.encoder:
            x, where = max_pool2d(stage(x), kernel_size=2, return_indices=True)
            places.append(where)
        # 2. Up: put each value back there, zeros elsewhere, and fill the gaps by convolutions.
        for stage, where in zip(reversed(self.decoder), reversed(places), strict=True):
            x = stage(max_unpool2d(x, where, kernel_size=(2, 2)))
        return x

    def load_imagenet(self, pretrained: str, width: int) -> None:
        """Copy torchvision's VGG16-BN into the encoder.

        Raises:
            WeightsError: the weights cannot be had, or the width is not VGG16's.
        """
        from harness.errors import WeightsError
        from harness.models.weights import imagenet_or_none, imagenet_state

        imagenet_or_none(pretrained, "vgg16_bn")
        if width != 64:
            raise WeightsError(f"segnet: ImageNet weights exist for width 64, not {width}")
        features = [v for k, v in imagenet_state("vgg16_bn").items() if k.startswith("features.")]
        for own, weights in zip(self.encoder.state_dict().values(), features, strict=True):
            own.copy_(weights)


def convolutions(channels: list[int], plain_end: bool = False) -> nn.Sequential:
    """3×3 convolutions, each with batch normalisation and ReLU; `plain_end` leaves those off the last, the scores."""
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise(channels), start=2):
        layers.append(nn.Conv2d(a, b, kernel_size=3, padding=1))
        if not (plain_end and number == len(channels)):
            layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
