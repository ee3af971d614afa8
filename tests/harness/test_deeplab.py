"""DeepLab v1 and v2: what their papers say of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from harness.errors import WeightsError
from harness.models import build
from harness.models.blocks import vgg
from harness.models.deeplabv1 import DeepLabV1
from harness.models.deeplabv2 import DeepLabV2


def test_parameter_counts_follow_from_the_papers_layers() -> None:
    features = sum(3 * 3 * a * b + b for a, b in vgg16_convolutions())
    fully = (3 * 3 * 512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
    with torch.device("meta"):
        v1, v2 = build("deeplabv1", 21), build("deeplabv2", 21)
        trunk = build("deeplabv3", 21, backbone="resnet101").encoder
    assert sum(p.numel() for p in v1.parameters()) == features + fully == 20_505_429
    scores = 4 * (2048 * 3 * 3 * 21 + 21)
    assert sum(p.numel() for p in v2.parameters()) == sum(p.numel() for p in trunk.parameters()) + scores  # type: ignore[union-attr]


def vgg16_convolutions() -> list[tuple[int, int]]:
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    return list(itertools.pairwise(channels))


@pytest.mark.parametrize("name", ["deeplabv1", "deeplabv2"])
def test_features_stay_at_an_eighth(name: str) -> None:
    model = build(name, 2, width=4, **({} if name == "deeplabv1" else {"backbone": "resnet18"})).eval()
    seen: list[torch.Size] = []
    layer = model.score if isinstance(model, DeepLabV1) else model.head
    layer.register_forward_hook(lambda m, i, out: seen.append(out.shape[-2:]))  # type: ignore[union-attr]
    model(torch.zeros(1, 3, 320, 256))
    assert seen == [(40, 32)]


def field_of_view(layer: nn.Module, channels: int, side: int = 41) -> int:
    """How far apart the outermost inputs are that move the output in the middle."""
    x = torch.zeros(1, channels, side, side, requires_grad=True)
    layer(x)[0, :, side // 2, side // 2].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    return int(rows.max() - rows.min()) + 1


def test_v1s_first_classifier_layer_has_a_large_field_of_view() -> None:
    model = build("deeplabv1", 2, width=4, hidden=8)
    assert isinstance(model, DeepLabV1)
    assert field_of_view(model.fc6, 32) == 25
    # The fifth stage sees between its pixels: three dilated convolutions and a pool of 3.
    convolutions = nn.Sequential(*[m for m in model.stages[4] if isinstance(m, nn.Conv2d)])  # type: ignore[union-attr]
    assert field_of_view(convolutions, 32) == 13


def test_v2_adds_the_scores_of_its_four_branches() -> None:
    torch.manual_seed(0)
    model = build("deeplabv2", 3, backbone="resnet18", width=4)
    assert isinstance(model, DeepLabV2)
    branches: list[nn.Conv2d] = list(model.head.branches)  # type: ignore[arg-type]
    assert [b.dilation[0] for b in branches] == [6, 12, 18, 24]
    x = torch.randn(1, 32, 41, 41)
    assert torch.allclose(model.head(x), sum(b(x) for b in branches), atol=1e-6)  # type: ignore[arg-type]
    assert field_of_view(model.head, 32, 61) == 49


def test_v2_takes_the_maximum_over_scales_and_trains_on_each() -> None:
    torch.manual_seed(0)
    model = build("deeplabv2", 3, backbone="resnet18", width=4, scales=(1.0, 0.75, 0.5)).eval()
    assert isinstance(model, DeepLabV2)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        each = torch.stack([model._scores(x, scale) for scale in (1.0, 0.75, 0.5)])
        fused = model(x)
        assert torch.equal(fused, each.amax(dim=0))
        assert not torch.equal(fused, each[0])
        outputs = model.train()(x)
    assert list(outputs) == ["out", "scale 1", "scale 0.75", "scale 0.5"]


def test_v1_starts_from_a_part_of_vgg16s_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept computes what the classifier does at those places, for those units."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "classifier.0.weight": torch.randn(4096, 4 * 49, generator=generator),
        "classifier.0.bias": torch.randn(4096, generator=generator),
        "classifier.3.weight": torch.randn(4096, 4096, generator=generator),
        "classifier.3.bias": torch.randn(4096, generator=generator),
    }
    monkeypatch.setattr(vgg, "imagenet_state", lambda name: state)
    fc6, fc7 = nn.Conv2d(4, 1024, 3), nn.Conv2d(1024, 1024, 1)
    vgg.copy_classifier(fc6, fc7, "deeplabv1", norm=False)
    places = torch.zeros(1, 4, 7, 7)
    places[..., ::3, ::3] = torch.randn(1, 4, 3, 3, generator=generator)
    whole = nn.functional.linear(places.flatten(1), state["classifier.0.weight"], state["classifier.0.bias"])
    with torch.no_grad():
        found = fc6(places[..., ::3, ::3])[:, :, 0, 0]
    assert torch.allclose(found, whole[:, ::4], atol=1e-4)
    assert torch.equal(fc7.weight[:, :, 0, 0], state["classifier.3.weight"][::4, ::4])
    with pytest.raises(WeightsError, match="deeplabv1: ImageNet weights exist for hidden up to 4096"):
        vgg.copy_classifier(nn.Conv2d(4, 5000, 3), fc7, "deeplabv1", norm=False)


def test_v3_plus_enlarges_features_and_logits_as_it_is_told() -> None:
    def network(upsampling: str) -> nn.Module:
        torch.manual_seed(0)
        return build("deeplabv3plus", 3, backbone="resnet18", width=8, channels=16, upsampling=upsampling).eval()

    x = torch.randn(1, 3, 64, 96)
    outputs = {}
    for mode in ("bilinear", "bicubic"):
        model = network(mode)
        seen: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

        def see(layer: nn.Module, given: Any, out: torch.Tensor, seen: Any = seen) -> None:
            seen[layer] = (given[0], out)

        aspp, decoder, head = (model.get_submodule(name) for name in ("aspp", "decoder", "head"))
        for layer in (aspp, decoder, head):
            layer.register_forward_hook(see)
        outputs[mode] = model(x)
        features = interpolate(seen[aspp][1], size=(16, 24), mode=mode, align_corners=False)
        assert torch.equal(seen[decoder][0][:, -16:], features)
        assert torch.equal(outputs[mode], interpolate(seen[head][1], size=(64, 96), mode=mode, align_corners=False))
    # The same weights, other figures.
    change = (outputs["bicubic"] - outputs["bilinear"]).abs().mean() / outputs["bilinear"].abs().mean()
    assert 0.005 < change < 0.5
    with pytest.raises(ValueError, match="upsampling 'nearest': use bilinear or bicubic"):
        network("nearest")
