"""VGG16 (Simonyan and Zisserman, ICLR 2015): torchvision's ImageNet weights of its stages and its classifier."""

from __future__ import annotations

import torch
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


@torch.no_grad()
def copy_classifier(fc6: nn.Conv2d, fc7: nn.Conv2d, norm: bool) -> None:
    """Copy the two hidden layers of torchvision's VGG16 into convolutions that compute the same at each place.

    Args:
        fc6: 7×7, 512 to 4096 channels: what the classifier sees of a 224×224 image is 7×7.
        fc7: 1×1, 4096 to 4096 channels.
        norm: whether the stages have batch normalization, and so come from the other VGG16.

    Raises:
        WeightsError: the weights cannot be had.
    """
    state = imagenet_state("vgg16_bn" if norm else "vgg16")
    for layer, name in ((fc6, "classifier.0"), (fc7, "classifier.3")):
        layer.weight.copy_(state[f"{name}.weight"].view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(state[f"{name}.bias"])
