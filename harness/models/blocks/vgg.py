"""VGG16 (Simonyan and Zisserman, ICLR 2015): torchvision's ImageNet weights of its stages and its classifier."""

from __future__ import annotations

from torch import Tensor, nn

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


def classifier_weights(norm: bool) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of the two hidden layers of torchvision's VGG16, as convolutions that compute the same.

    The first is 7×7, 512 to 4096 channels, since the classifier sees 7×7 places of a 224×224 image; the second is 1×1.

    Args:
        norm: whether the stages have batch normalization, and so come from the other VGG16.

    Raises:
        WeightsError: the weights cannot be had.
    """
    state = imagenet_state("vgg16_bn" if norm else "vgg16")
    side = {"classifier.0": 7, "classifier.3": 1}
    return [
        (state[f"{name}.weight"].reshape(CLASSIFIER_UNITS, -1, k, k), state[f"{name}.bias"]) for name, k in side.items()
    ]
