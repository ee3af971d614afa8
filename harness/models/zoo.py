"""Networks of other libraries: torchvision's, and those of segmentation_models_pytorch."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

# Libraries whose networks go by the library's version, not by their source.
ZOOS = ("torchvision", "segmentation_models_pytorch")

# Under which names their networks keep what is pretrained.
TORCHVISION_BACKBONE = ("backbone",)
SMP_BACKBONE = ("encoder",)

TORCHVISION: dict[str, str] = {
    "fcn_resnet50": "FCN head on a dilated ResNet-50, with an auxiliary head",
    "fcn_resnet101": "FCN head on a dilated ResNet-101, with an auxiliary head",
    "deeplabv3_resnet50": "DeepLabV3 on ResNet-50, with an auxiliary head",
    "deeplabv3_resnet101": "DeepLabV3 on ResNet-101, with an auxiliary head",
    "deeplabv3_mobilenet_v3_large": "DeepLabV3 on MobileNetV3, with an auxiliary head",
    "lraspp_mobilenet_v3_large": "LR-ASPP on MobileNetV3",
}


def torchvision_builder(function: str) -> Callable[..., nn.Module]:
    """The builder of one of `TORCHVISION`."""

    def build(num_classes: int, pretrained: str = "none", **params: Any) -> nn.Module:
        from harness.utils.vision import import_torchvision

        from .blocks.weights import imagenet_or_none

        import_torchvision()
        segmentation = importlib.import_module("torchvision.models.segmentation")
        backbone = imagenet_or_none(pretrained, function.split("_", 1)[1])
        if "lraspp" not in function:
            params.setdefault("aux_loss", True)
        model = getattr(segmentation, function)(
            weights=None, weights_backbone=backbone, num_classes=num_classes, **params
        )
        return model  # type: ignore[no-any-return]

    return build


def smp_parts(name: str) -> tuple[str, str]:
    """Architecture and encoder of `smp/ARCHITECTURE/ENCODER`, of which there are hundreds.

    Raises:
        PluginError: the name has another form, or segmentation_models_pytorch is not installed.
    """
    parts = name.split("/")
    if len(parts) != 3 or not all(parts):
        raise PluginError(f"{name}: write it as smp/ARCHITECTURE/ENCODER", "For example smp/Unet/resnet34.")
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        raise PluginError(
            f"{name}: the package segmentation-models-pytorch is not installed", 'pip install "segbench[zoo]"'
        )
    return parts[1], parts[2]


def smp_builder(target: str) -> Callable[..., nn.Module]:
    """The builder of `ARCHITECTURE/ENCODER`."""

    def build(num_classes: int, pretrained: str = "none", **params: Any) -> nn.Module:
        from harness.errors import BenchError, WeightsError
        from harness.utils.vision import import_torchvision

        import_torchvision()
        smp = importlib.import_module("segmentation_models_pytorch")
        architecture, encoder = target.split("/")
        weights = None if pretrained == "none" else pretrained
        try:
            model = smp.create_model(architecture, encoder, weights, classes=num_classes, **params)
        except KeyError as error:
            raise BenchError(f"smp/{target}: there is no such architecture or encoder: {error}") from error
        except OSError as error:
            raise WeightsError(f"smp/{target}: its weights could not be fetched: {error}") from error
        return model  # type: ignore[no-any-return]

    return build
