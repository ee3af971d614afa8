"""Tests of segmentation_models.pytorch (MIT): tests/models and tests/test_metrics.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.config.recipe import Recipe
from harness.models.registry import find_model
from harness.scoring.predict import forward
from tests.peers.adapter import by_class, counts, or_refused, scores
from tests.peers.case import Case, Peer
from tests.peers.torchvision_cases import parameters

PACKAGE = "segmentation_models_pytorch"
STATS = "tests/test_metrics.py: TestGetStatsMulticlass"
MODELS = "tests/models/base.py"
# Networks of both, in a small form.
SMALL: dict[str, dict[str, Any]] = {
    "unetpp": {"width": 8},
    "deeplabv3": {"backbone": "resnet18", "width": 16, "channels": 32},
    "deeplabv3plus": {"backbone": "resnet18", "width": 16, "channels": 32},
}


def stats(prediction: Any, target: Any, **options: Any) -> Any:
    """TP, FP, TN, FN of every image and class by the installed package."""
    from harness.utils.vision import import_torchvision

    import_torchvision()
    from segmentation_models_pytorch.metrics import get_stats

    p, t = (torch.as_tensor(np.asarray(m)) for m in (prediction, target))
    tp, fp, fn, tn = get_stats(p, t, mode="multiclass", num_classes=3, **options)
    return torch.stack([tp, fp, tn, fn], dim=-1)


def ours(prediction: Any, target: Any) -> Any:
    """Ours of rows of labels."""
    return counts(np.asarray(prediction)[:, None, :], np.asarray(target)[:, None, :], 3)


def metrics() -> list[Case]:
    """Its tests of counts."""
    rows: list[tuple[str, str, Any, Any, Any, dict[str, Any]]] = [
        ("correct_input", "four pixels of three classes", [[0, 1, 2, 1]], [[0, 1, 2, 2]],
         [[[1, 0, 3, 0], [1, 1, 2, 0], [1, 0, 2, 1]]], {}),
        ("valid_shape1_equals_numclasses", "two images of three pixels", [[0, 1, 2], [2, 1, 0]], [[0, 1, 2], [2, 2, 0]],
         [[[1, 0, 2, 0]] * 3, [[1, 0, 2, 0], [0, 1, 2, 0], [1, 0, 1, 1]]], {}),
        ("ignore_index_masking", "a void pixel", [[0, 1, 2, 1]], [[0, 1, 255, 2]],
         [[[1, 0, 2, 0], [1, 1, 1, 0], [0, 0, 2, 1]]], {"ignore_index": 255}),
    ]  # fmt: skip
    found = [
        Case(
            f"{STATS}.{test}", f"{what}: TP, FP, TN, FN", expected,
            lambda p=p, t=t: ours(p, t), "",  # type: ignore[misc]
            lambda p=p, t=t, options=options: stats(p, t, **options), PACKAGE,  # type: ignore[misc]
        )
        for test, what, p, t, expected, options in rows
    ]  # fmt: skip
    wrong = {
        "range_violation_output": ([[0, 1, 3]], [[0, 1, 2]]),
        "range_violation_target": ([[0, 1, 2]], [[0, 1, 3]]),
        "negative_values_output": ([[0, -1, 2]], [[0, 1, 2]]),
    }
    found += [
        Case(
            f"{STATS}.{test} (not yet released)", "a label that does not exist", "refused",
            lambda p=p, t=t: or_refused(lambda: ours(p, t)),  # type: ignore[misc]
        )
        for test, (p, t) in wrong.items()
    ]  # fmt: skip
    eye = np.eye(3, dtype=np.int64)[None]
    found += [
        Case(f"{STATS}.onehot_output_raises, onehot_target_raises", "masks of classes against labels", "refused",
             lambda: or_refused(lambda: by_class("iou", eye, np.arange(3)[None], 3))),
        Case(f"{STATS}.argmax_fix_gives_perfect_iou", "three pixels that are right: mean IoU", 1,
             lambda: scores(np.arange(3)[None], np.arange(3)[None], 3).values["miou"]),
        Case(f"{STATS}.strict_detects_onehot", "masks that pass as labels are found (strict=True)", "refused",
             lambda: or_refused(lambda: scores(eye, eye, 3).values["miou"]), instead=1.0,
             why="Not looked for: an array (N, H, W) of zeros and ones is taken as labels."),
        Case(f"{STATS}.valid_3d_volumetric", "volumes", why="Images here have two dimensions."),
        Case(f"{STATS}.multilabel_mode_untouched", "several classes a pixel", why="A label map has one class a pixel."),
    ]  # fmt: skip
    return found


def shape(name: str, height: int, width: int, batch: int) -> list[int]:
    """The shape of our logits through our prediction."""
    model = find_model(name).load()(7, **SMALL[name]).eval()
    images = torch.zeros(batch, 3, height, width, dtype=torch.uint8)
    with torch.inference_mode():
        return list(forward(model, images, Recipe(epochs=1), 7, find_model(name).stride).shape)


def gradients(name: str, batch: int) -> bool:
    """Whether a step of training on 64×64 reaches every parameter."""
    model = find_model(name).load()(7, **SMALL[name]).train()
    out = model(torch.rand(batch, 3, 64, 64))
    sum(part.mean() for part in (out.values() if isinstance(out, dict) else [out])).backward()
    return all(p.grad is not None for p in model.parameters())


def smps(architecture: str, encoder: str = "resnet50", **options: Any) -> Any:
    """A network of the installed package."""
    import importlib

    from harness.utils.vision import import_torchvision

    import_torchvision()
    package = importlib.import_module(PACKAGE)
    return getattr(package, architecture)(encoder, encoder_weights=None, **options)


def size_of(architecture: str) -> int:
    """Parameters of a network of the installed package."""
    return sum(p.numel() for p in smps(architecture, classes=21).parameters())


def smp_shape(architecture: str, height: int, width: int, batch: int) -> Any:
    """The shape of its logits."""
    model = smps(architecture, "resnet18", classes=7).eval()
    with torch.inference_mode():
        return list(model(torch.zeros(batch, 3, height, width)).shape)


def networks() -> list[Case]:
    """Its tests of networks, and what sets its networks apart."""
    found = []
    for name, architecture, batch in (
        ("unetpp", "UnetPlusPlus", 1), ("deeplabv3", "DeepLabV3", 2), ("deeplabv3plus", "DeepLabV3Plus", 2),
    ):  # fmt: skip
        found += [
            Case(
                f"{MODELS}: test_forward_backward", f"{architecture}: 64×64, batch of {batch}: shape of the logits",
                [batch, 7, 64, 64],
                lambda name=name, batch=batch: shape(name, 64, 64, batch), "",  # type: ignore[misc]
                lambda architecture=architecture, batch=batch: smp_shape(architecture, 64, 64, batch),  # type: ignore[misc]
                PACKAGE,
            ),
            Case(f"{MODELS}: test_forward_backward", f"{architecture}: a step of training reaches every parameter",
                 True,
                 lambda name=name, batch=batch: gradients(name, batch)),  # type: ignore[misc]
            Case(
                "segmentation_models_pytorch/base/model.py", f"{architecture}: 65×97", "refused",
                lambda name=name: shape(name, 65, 97, 1), "",  # type: ignore[misc]
                lambda architecture=architecture: or_refused(  # type: ignore[misc]
                    lambda: smp_shape(architecture, 65, 97, 1)
                ),
                PACKAGE, instead=[1, 7, 65, 97],
                why="Images are padded to the network's stride, and the logits cut back.",
            ),
        ]  # fmt: skip
    found += [
        Case(
            "parameters", "DeepLabV3, ResNet-50, 21 classes", 39638869,
            lambda: parameters("deeplabv3", output_stride=8), "output_stride=8", lambda: size_of("DeepLabV3"), PACKAGE,
        ),
        Case(
            "parameters", "DeepLabV3+, ResNet-50, 21 classes", 26682725, lambda: parameters("deeplabv3plus"), "",
            lambda: size_of("DeepLabV3Plus"), PACKAGE, instead=40352181,
            why="Its convolutions are depthwise separable, with one in the decoder and one after the pyramid, rates "
                "12, 24, 36 at output stride 16 and dropout 0.5; ours are the paper's: dense, two in the decoder, "
                "rates "
                "6, 12, 18, dropout 0.1 (`separable: true` for the other).",
        ),
        Case(
            "parameters", "UNet++, 21 classes", 48988645, lambda: parameters("unetpp"), "",
            lambda: size_of("UnetPlusPlus"), PACKAGE, instead=9166068,
            why="Its encoder is a ResNet-50, without deep supervision or pruning; ours is the paper's network.",
        ),
        Case(f"{MODELS}: test_forward_backward", "one class by default",
             why="The data set says how many classes there are."),
        Case(f"{MODELS}: test_in_channels_and_depth_and_out_classes", "one input channel, encoders of three stages",
             why="Images here have three channels; `unetpp` alone has `in_channels` and `level`."),
        Case(f"{MODELS}: test_classification_head", "a classifier beside the mask", why="Segmentation alone."),
        Case(f"{MODELS}: test_save_load_with_hub_mixin, test_preserve_forward_output", "weights of a model hub",
             why="No network is asked in tests; checkpoints are tested in tests/harness/test_checkpoints.py."),
    ]  # fmt: skip
    return found


def segmentation_models() -> Peer:
    """All of them."""
    about = (
        "`tests/test_metrics.py` and `tests/models` of segmentation_models.pytorch (MIT), where a network is in "
        "both. Its "
        "own networks can be trained too: `smp/ARCHITECTURE/ENCODER`. Stated figures are of version 0.6.0."
    )
    return Peer("segmentation_models.pytorch", about, (*metrics(), *networks()))
