"""torchvision's tests of its segmentation networks (BSD-3-Clause): test/test_models.py."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from harness.config.recipe import Recipe
from harness.models.registry import find_model
from harness.scoring.predict import label_map, predictions
from harness.utils.normalization import IMAGENET_MEAN, IMAGENET_STD
from harness.utils.vision import import_torchvision
from tests.peers.case import Case, Peer

import_torchvision()

from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.functional import convert_image_dtype, normalize  # noqa: E402

WHERE = "test/test_models.py"
CLASSES = 10
STRIDE = find_model("torchvision/fcn_resnet50").stride
PADDED = (
    "`whole` pads an image to the network's stride; networks that look at all of the image, and convolutions at its "
    "border, "
    "see the padding. torchvision takes images as they are."
)
NETWORKS = ("fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")


class Images:
    """Images in memory, as the prediction asks for them."""

    def __init__(self, image: Tensor) -> None:
        self._image = image

    def image(self, image_id: str) -> Tensor:
        """The image (3, H, W)."""
        return self._image


@cache
def network(name: str) -> nn.Module:
    """torchvision's network with seeded weights; a pass in training gives normalization statistics of its own."""
    torch.manual_seed(0)
    model = find_model(f"torchvision/{name}").load()(CLASSES)
    with torch.no_grad():
        model.train()(torch.rand(2, 3, 64, 64))
    return model.eval()


def picture(height: int, width: int) -> Tensor:
    """An image of noise (3, H, W) in uint8."""
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def ours(model: nn.Module, image: Tensor, **recipe: Any) -> Tensor:
    """Logits (K, H, W) through the product's prediction."""
    wanted = Recipe.model_validate({"epochs": 1, "size": (64, 64), **recipe})
    ((_, logits),) = predictions(model, Images(image), ["x"], wanted, CLASSES, STRIDE)  # type: ignore[arg-type]
    return logits


@torch.inference_mode()
def theirs(model: nn.Module, image: Tensor, size: tuple[int, int] | None = None, stride: int = 1) -> Tensor:
    """Logits (K, H, W) by torchvision alone: resizing and normalization as its weights ask for, forward, interpolation.

    Args:
        model: the network.
        image: (3, H, W) uint8.
        size: resized to before; None: as it is.
        stride: zeros are added at the right and bottom until it divides both sides, and the logits are cut back.
    """
    shown = image if size is None else v2.functional.resize(image, list(size), antialias=True)
    x = normalize(convert_image_dtype(shown, torch.float32), list(IMAGENET_MEAN), list(IMAGENET_STD))
    height, width = x.shape[-2:]
    out = model(pad(x, (0, -width % stride, 0, -height % stride))[None])
    logits = (out["out"] if isinstance(out, dict) else out)[..., :height, :width]
    return interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)[0]


def largest_difference(name: str, shape: tuple[int, int], size: tuple[int, int] | None, stride: int = 1) -> float:
    """Between our logits and torchvision's."""
    model, image = network(name), picture(*shape)
    recipe: dict[str, Any] = {"predict": {"mode": "whole"}} if size is None else {"size": size}
    one, two = ours(model, image, **recipe), theirs(model, image, size, stride)
    difference = float((one - two).abs().max())
    assert difference or torch.equal(label_map(one).long(), two.argmax(dim=0))
    return difference


def our_deeplabv3() -> nn.Module:
    """Our DeepLabV3 with torchvision's weights, which lie in the same order."""
    source = {k: v for k, v in network("deeplabv3_resnet50").state_dict().items() if not k.startswith("aux_")}
    model = find_model("deeplabv3").load()(CLASSES, output_stride=8, rates=[12, 24, 36])
    keys = model.state_dict()
    assert [v.shape for v in keys.values()] == [v.shape for v in source.values()]
    model.load_state_dict(dict(zip(keys, source.values(), strict=True)))
    return model.eval()


def with_their_weights(height: int, width: int) -> float:
    """Our DeepLabV3 against torchvision's: the largest difference of logits, as a share of the largest logit."""
    image = picture(height, width)
    one = ours(our_deeplabv3(), image, predict={"mode": "whole"})
    two = theirs(network("deeplabv3_resnet50"), image)
    return float((one - two).abs().max() / two.abs().max())


@torch.inference_mode()
def dilated(stride: int) -> list[int]:
    """The shape of our ResNet-50's last stage for 224×224."""
    from harness.models.blocks.resnet import resnet

    return list(resnet("resnet50", stride).eval()(torch.rand(1, 3, 224, 224))[-1].shape)


def gradients(name: str) -> float:
    """The share of the input's pixels that a backward pass through the network reaches."""
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(name)(x)["out"].sum().backward()
    assert x.grad is not None
    return float((x.grad != 0).any(dim=1).float().mean())


def parameters(name: str, **params: Any) -> int:
    """Parameters of a network with 21 classes."""
    with torch.device("meta"):
        return sum(p.numel() for p in find_model(name).load()(21, **params).parameters())


def torchvision() -> Peer:
    """All of them."""
    cases = []
    for name in NETWORKS:
        test = f"{WHERE}: test_segmentation_model[{name}]"
        cases += [
            Case(test, "32×32, ten classes, seeded weights: largest difference of logits", 0,
                 lambda name=name: largest_difference(name, (32, 32), None), "predict.mode=whole", tolerance=0),  # type: ignore[misc]
            Case(test, "45×61 resized to 64×96 and back: largest difference", 0,
                 lambda name=name: largest_difference(name, (45, 61), (64, 96)), "predict.mode=resize", tolerance=0),  # type: ignore[misc]
            Case(test, "45×61, padded to the stride (64×64) and cut back: largest difference", 0,
                 lambda name=name: largest_difference(name, (45, 61), None, STRIDE), "predict.mode=whole", tolerance=0),  # type: ignore[misc]
            Case(test, "45×61 as it is: no difference", True,
                 lambda name=name: largest_difference(name, (45, 61), None) == 0, "predict.mode=whole", instead=False,  # type: ignore[misc]
                 why=PADDED),
            Case(test, "gradients reach every pixel of the input", 1, lambda name=name: gradients(name)),  # type: ignore[misc]
        ]  # fmt: skip
    cases += [
        Case(f"{WHERE}: test_segmentation_model", "the outputs it keeps (test/expect/*.pkl)", None,
             why="They hold for its own random numbers; the installed torchvision is compared instead."),
        Case(f"{WHERE}: test_segmentation_model", "TorchScript and torch.fx", None,
             why="Networks here are not exported."),
        *[
            Case(
                f"{WHERE}: test_resnet_dilation", f"ResNet-50, 224×224, {said} dilated", [1, 2048, 7 * f, 7 * f],
                lambda stride=stride: dilated(stride), f"output_stride={stride}",  # type: ignore[misc]
            )
            for said, f, stride in (("no stage", 1, 32), ("the last stage", 2, 16), ("the last two stages", 4, 8))
        ],
        Case(f"{WHERE}: test_resnet_dilation", "other combinations of dilated stages", None,
             why="Output strides here are 8, 16 and 32."),
        Case("torchvision/models/segmentation/deeplabv3.py",
             "our DeepLabV3 has as many parameters (ResNet-50, 21 classes)",
             parameters("torchvision/deeplabv3_resnet50", aux_loss=False),
             lambda: parameters("deeplabv3", output_stride=8), "output_stride=8"),
        Case("torchvision/models/segmentation/deeplabv3.py",
             "our DeepLabV3 with its weights, 64×96: largest difference of logits, as a share", 0,
             lambda: with_their_weights(64, 96), "output_stride=8, predict.mode=whole", tolerance=1e-5),
        Case("torchvision/models/segmentation/deeplabv3.py", "the same, 65×97: no difference", True,
             lambda: with_their_weights(65, 97) < 1e-5, "output_stride=8, predict.mode=whole", instead=False,
             why=PADDED),
        Case("torchvision/models/segmentation/fcn.py", "our FCNs with its weights", None,
             why="Ours are on VGG16 (Long et al. 2015), torchvision's on a ResNet; both can be trained."),
    ]  # fmt: skip
    about = (
        "`test/test_models.py` of torchvision (BSD-3-Clause). Its networks go by `torchvision/NAME` here; their logits "
        "through our prediction are compared with torchvision's own resizing, normalization, forward and interpolation."
    )
    return Peer("torchvision", about, tuple(cases))
