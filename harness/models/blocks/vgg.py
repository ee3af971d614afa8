"""VGG16 (Simonyan and Zisserman, ICLR 2015): its stages, and torchvision's ImageNet weights of them."""

from __future__ import annotations

from torch import nn

from harness.errors import WeightsError

from .weights import imagenet_or_none, imagenet_state

# Convolutions of the five stages, and their channels as multiples of the first stage's.
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


def copy_imagenet(stages: nn.ModuleList, network: str, pretrained: str, width: int, norm: bool) -> None:
    """Copy the convolutions (and normalizations) of torchvision's VGG16 into five stages.

    Args:
        stages: the layers with weights stand in VGG16's order.
        network: whose stages they are, for the message.
        pretrained: `imagenet`.
        width: channels of the first stage.
        norm: whether every convolution has batch normalization.

    Raises:
        WeightsError: the weights cannot be had, or the width is not VGG16's.
    """
    name = "vgg16_bn" if norm else "vgg16"
    imagenet_or_none(pretrained, name)
    if width != 64:
        raise WeightsError(f"{network}: ImageNet weights exist for width 64, not {width}")
    features = [value for key, value in imagenet_state(name).items() if key.startswith("features.")]
    own = [value for stage in stages for value in stage.state_dict().values()]
    for tensor, weights in zip(own, features, strict=True):
        tensor.copy_(weights)
