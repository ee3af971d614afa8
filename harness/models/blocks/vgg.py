"""VGG16 (Simonyan and Zisserman, ICLR 2015): torchvision's ImageNet weights of its stages and its classifier."""

from __future__ import annotations

import torch
from torch import nn

from harness.errors import WeightsError

from .weights import imagenet_or_none, imagenet_state

# Convolutions of the five stages, and their channels as multiples of the first stage's.
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
# Units of each hidden layer of the classifier.
CLASSIFIER_UNITS = 4096


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
def copy_classifier(fc6: nn.Conv2d, fc7: nn.Conv2d, network: str, norm: bool) -> None:
    """Fill two convolutions with the hidden layers of torchvision's VGG16: they compute at each place what those do.

    Smaller ones take a part, as DeepLab does (Chen et al., ICLR 2015, section 3.1): every third row and column of the
    7×7 places that the classifier sees of a 224×224 image, and evenly spaced ones of its 4096 units.

    Args:
        fc6: 7×7 or 3×3, 512 channels to C, at most 4096.
        fc7: 1×1, C to C channels.
        network: whose layers they are, for the message.
        norm: whether the stages have batch normalization, and so come from the other VGG16.

    Raises:
        WeightsError: the weights cannot be had, or the layers have more channels than the classifier has units.
    """
    channels = fc6.out_channels
    if channels > CLASSIFIER_UNITS:
        raise WeightsError(
            f"{network}: ImageNet weights exist for hidden up to {CLASSIFIER_UNITS}, the units of VGG16's classifier, "
            f"not for {channels}"
        )
    state = imagenet_state("vgg16_bn" if norm else "vgg16")
    kept = torch.arange(channels, device="cpu") * CLASSIFIER_UNITS // channels
    step = 6 // (fc6.kernel_size[0] - 1)
    places = state["classifier.0.weight"].reshape(CLASSIFIER_UNITS, -1, 7, 7)
    fc6.weight.copy_(places[kept][:, :, ::step, ::step])
    fc7.weight.copy_(state["classifier.3.weight"][kept][:, kept, None, None])
    for layer, name in ((fc6, "classifier.0.bias"), (fc7, "classifier.3.bias")):
        if layer.bias is not None:
            layer.bias.copy_(state[name][kept])
