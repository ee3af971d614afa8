"""The heads that mmsegmentation's figures belong to: its layers, one by one, in plain PyTorch."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from harness.models import build

# A small ResNet's channels, and the head's.
SMALL = {"backbone": "resnet18", "width": 8, "output_stride": 8, "channels": 24}
LOW, THIRD, LAST, CHANNELS, CLASSES = 8, 32, 64, 24, 5
RATES = (12, 24, 36)


def conv(inside: int, outside: int, kernel: int, rate: int = 1, groups: int = 1) -> list[nn.Module]:
    """mmcv's ConvModule: convolution without bias, batch normalization, ReLU."""
    reach = rate * (kernel // 2)
    return [
        nn.Conv2d(inside, outside, kernel, padding=reach, dilation=rate, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    ]


def separable(inside: int, outside: int, rate: int = 1) -> list[nn.Module]:
    """mmcv's DepthwiseSeparableConvModule: two ConvModules."""
    return [*conv(inside, inside, 3, rate, groups=inside), *conv(inside, outside, 1)]


def scores(inside: int) -> list[nn.Module]:
    return [nn.Dropout2d(0.1), nn.Conv2d(inside, CLASSES, 1)]


class PlainHead(nn.Module):
    """The parts of a head in the order in which ours has them, and the auxiliary one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        wide = conv if kind == "deeplabv3" else separable
        three: Any = (lambda a, b, rate=1: conv(a, b, 3, rate)) if kind != "deeplabv3plus" else wide
        parts: list[list[nn.Module]] = []
        if kind == "fcn_resnet":
            parts = [[*three(LAST, CHANNELS), *three(CHANNELS, CHANNELS)], three(LAST + CHANNELS, CHANNELS)]
        else:
            parts = [conv(LAST, CHANNELS, 1), *(three(LAST, CHANNELS, rate) for rate in RATES)]
            parts += [[nn.AdaptiveAvgPool2d(1), *conv(LAST, CHANNELS, 1)], conv(5 * CHANNELS, CHANNELS, 3)]
        if kind == "deeplabv3plus":
            parts += [conv(LOW, 48, 1), [*three(CHANNELS + 48, CHANNELS), *three(CHANNELS, CHANNELS)]]
        parts += [scores(CHANNELS), [*conv(THIRD, THIRD // 4, 3), *scores(THIRD // 4)]]
        self.kind, self.parts = kind, nn.ModuleList(nn.Sequential(*part) for part in parts)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        low, _, third, last = features
        *parts, classify, aux = self.parts
        if self.kind == "fcn_resnet":
            return classify(parts[1](torch.cat([last, parts[0](last)], dim=1))), aux(third)
        *branches, pool, join = parts[:6]
        pooled = interpolate(pool(last), size=last.shape[-2:], mode="bilinear")
        y = join(torch.cat([*(branch(last) for branch in branches), pooled], dim=1))
        if self.kind == "deeplabv3plus":
            y = interpolate(y, size=low.shape[-2:], mode="bilinear")
            y = parts[7](torch.cat([parts[6](low), y], dim=1))
        return classify(y), aux(third)


FORMS: dict[str, dict[str, Any]] = {
    "fcn_resnet": {},
    "deeplabv3": {"rates": RATES, "head": "mmseg"},
    "deeplabv3plus": {"rates": RATES, "head": "mmseg"},
}


def leaves(model: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, kinds)]


@pytest.mark.parametrize("name", FORMS)
def test_it_computes_what_mmsegs_layers_compute(name: str) -> None:
    torch.manual_seed(0)
    ours = build(name, CLASSES, **SMALL, **FORMS[name])
    plain = PlainHead(name)
    encoder = ours.encoder
    own = [m for m in leaves(ours, nn.Conv2d, nn.BatchNorm2d) if m not in set(leaves(encoder, nn.Module))]  # type: ignore[arg-type]
    for a, b in zip(own, leaves(plain, nn.Conv2d, nn.BatchNorm2d), strict=True):
        assert type(a) is type(b)
        for value in a.parameters():
            nn.init.normal_(value, std=0.3)
        b.load_state_dict(a.state_dict())
    x = torch.randn(2, 3, 64, 96)
    # In training mode, for the auxiliary head; what is drawn is left out.
    for model in (ours, plain):
        for dropout in leaves(model, nn.Dropout, nn.Dropout2d):
            dropout.p = 0.0  # type: ignore[assignment]
    features = copy.deepcopy(encoder)(x)  # type: ignore[operator]
    expected = [interpolate(part, size=x.shape[-2:], mode="bilinear") for part in plain(features)]
    found = ours(x)
    assert list(found) == ["out", "aux"]
    for a, b in zip(found.values(), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))


@pytest.mark.parametrize("name", FORMS)
def test_channels_are_dropped_right_before_the_scores_and_nothing_else_is(name: str) -> None:
    """In the order in which they run: mmseg drops in `cls_seg` alone."""
    model, order = build(name, CLASSES, **SMALL, **FORMS[name]), []
    for module in leaves(model, nn.Conv2d, nn.Dropout, nn.Dropout2d):
        module.register_forward_hook(lambda m, *_: order.append(m))
    model(torch.randn(2, 3, 64, 64))
    drawn = [(a.p, b.out_channels) for a, b in pairwise(order) if isinstance(a, nn.Dropout2d)]
    assert drawn == [(0.1, CLASSES)] * 2
    assert not [m for m in order if isinstance(m, nn.Dropout) and m.p > 0]


# Convolution without bias and batch normalization; a classifier.
def cost(inside: int, outside: int, kernel: int, groups: int = 1) -> int:
    return inside * outside * kernel**2 // groups + 2 * outside


def pair(inside: int, outside: int) -> int:
    return cost(inside, inside, 3, groups=inside) + cost(inside, outside, 1)


def last(inside: int, classes: int) -> int:
    return (inside + 1) * classes


# ResNet-50 and 101 without their classifiers (He et al.; torchvision), the plain stem, and what ResNetV1c's has.
RESNET = {"resnet50": 23_508_032, "resnet101": 42_500_160}
V1C = cost(3, 32, 3) + cost(32, 32, 3) + cost(32, 64, 3) - cost(3, 64, 7)


def listed(name: str, classes: int) -> int:
    """Parameters of mmseg's head and auxiliary head, from its list of layers at 512 channels."""
    aux = cost(1024, 256, 3) + last(256, classes)
    if name == "fcn_resnet":
        return cost(2048, 512, 3) + cost(512, 512, 3) + cost(2560, 512, 3) + last(512, classes) + aux
    shared = 2 * cost(2048, 512, 1) + cost(2560, 512, 3) + last(512, classes) + aux
    if name == "deeplabv3":
        return shared + 3 * cost(2048, 512, 3)
    return shared + 3 * pair(2048, 512) + cost(256, 48, 1) + pair(560, 512) + pair(512, 512)


# In millions, with 150 classes (ADE20K) and ResNetV1c-101: what SegFormer's table 3 prints of mmsegmentation's models.
PRINTED = {"fcn_resnet": 68.6, "deeplabv3plus": 62.7}


@pytest.mark.parametrize("backbone", RESNET)
@pytest.mark.parametrize("name", FORMS)
def test_parameters_are_those_of_mmsegs_layers(name: str, backbone: str) -> None:
    own = {"output_stride": 8, "channels": 512, **({"rates": RATES, "head": "mmseg"} if name != "fcn_resnet" else {})}
    for classes in (21, 150):
        with torch.device("meta"):
            found = sum(p.numel() for p in build(name, classes, backbone=backbone, **own).parameters())
        assert found == RESNET[backbone] + listed(name, classes)
    if backbone == "resnet101" and name in PRINTED:
        assert (found + V1C) / 1e6 == pytest.approx(PRINTED[name], abs=0.05)


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus"])
def test_a_head_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"head 'mmsegmentation': use .* or mmseg"):
        build(name, 2, **SMALL, head="mmsegmentation")


def dilations(model: nn.Module, stage: int) -> list[int]:
    return [block.conv2.dilation[0] for block in getattr(model.encoder, f"layer{stage}")]  # type: ignore[union-attr]


def test_first_blocks_are_dilated_as_in_semseg_or_as_in_mmseg() -> None:
    """semseg sets every 3×3 of stages 3 and 4 to 2 and 4; mmseg, by `contract_dilation`, the first block to half."""
    semseg = build("pspnet", 2, width=4, channels=8, contract=False)
    assert [dilations(semseg, stage) for stage in (2, 3, 4)] == [[1] * 4, [2] * 6, [4] * 3]
    mmseg = build("pspnet", 2, width=4, channels=8)
    assert [dilations(mmseg, stage) for stage in (2, 3, 4)] == [[1] * 4, [1, *[2] * 5], [2, 4, 4]]
