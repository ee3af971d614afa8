"""DANet's two attentions."""

from __future__ import annotations

import pytest
import torch

from harness.models import build
from harness.models.danet import ChannelAttention, PositionAttention


@pytest.mark.parametrize("attention", [PositionAttention(8, 2), ChannelAttention("code"), ChannelAttention("paper")])
def test_an_attention_starts_as_the_identity_and_is_learned(attention: torch.nn.Module) -> None:
    x = torch.randn(2, 8, 4, 5)
    assert torch.equal(attention(x), x)
    attention(x).sum().backward()
    assert attention.gamma.grad is not None
    assert attention.gamma.grad.abs().item() > 0  # type: ignore[union-attr, operator]


def test_a_position_sees_every_other_and_by_how_alike_they_are() -> None:
    torch.manual_seed(0)
    attention = PositionAttention(8, 4)
    with torch.no_grad():
        attention.gamma.fill_(0.5)
    x = torch.randn(1, 8, 3, 4, requires_grad=True)
    out = attention(x)
    out[0, :, 1, 2].sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(dim=1) > 0).all())
    # Equations 1 and 2, written out.
    with torch.no_grad():
        b, c, d = (layer(x)[0].flatten(1) for layer in (attention.query, attention.key, attention.value))
        expected = x[0].flatten(1).clone()
        for j in range(12):
            weights = torch.softmax(b[:, j] @ c, dim=0)
            expected[:, j] += 0.5 * sum(weights[i] * d[:, i] for i in range(12))
    assert torch.allclose(out[0].flatten(1), expected, atol=1e-5)


@pytest.mark.parametrize("affinity", ["code", "paper"])
def test_a_channel_takes_up_all_channels(affinity: str) -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(affinity)  # type: ignore[arg-type]
    with torch.no_grad():
        attention.gamma.fill_(0.5)
    x = 0.3 * torch.randn(1, 5, 3, 4)
    maps = x[0].flatten(1)
    expected = maps.clone()
    for j in range(5):
        energy = torch.stack([maps[i] @ maps[j] for i in range(5)])
        weights = torch.softmax(energy if affinity == "paper" else -energy, dim=0)
        expected[j] += 0.5 * sum(weights[i] * maps[i] for i in range(5))
    assert torch.allclose(attention(x)[0].flatten(1), expected, atol=1e-5)


def test_like_channels_attract_each_other_in_the_paper_and_not_in_its_code() -> None:
    x = torch.stack([torch.full((4, 4), 2.0), torch.full((4, 4), 2.0), torch.full((4, 4), -2.0)])[None]
    changes = {}
    for affinity in ("code", "paper"):
        attention = ChannelAttention(affinity)  # type: ignore[arg-type]
        with torch.no_grad():
            attention.gamma.fill_(1.0)
            changes[affinity] = (attention(x) - x)[0, :, 0, 0].tolist()
    assert changes["paper"] == pytest.approx([2, 2, -2])
    assert changes["code"] == pytest.approx([-2, -2, 2])


def test_large_features_stay_finite_in_half_precision() -> None:
    attention = ChannelAttention("code")
    x = torch.full((1, 4, 64, 64), 8.0)
    with torch.autocast("cpu", torch.float16), torch.no_grad():
        attention.gamma.fill_(1.0)
        assert bool(attention(x.half()).isfinite().all())


def test_the_parameters_are_those_of_its_layers() -> None:
    classes = 21
    encoder = 23_508_032  # ResNet-50 without its classifier
    reduce = 2 * (2048 * 512 * 9 + 2 * 512)
    position = 2 * (512 * 64 + 64) + (512 * 512 + 512) + 1
    channel = 1
    after = 2 * (512 * 512 * 9 + 2 * 512)
    head = 512 * classes + classes
    with torch.device("meta"):
        whole, alone = (build("danet", classes, aux=aux) for aux in (True, False))
    counts = [sum(p.numel() for p in model.parameters()) for model in (whole, alone)]
    assert counts == [encoder + reduce + position + channel + after + 3 * head, counts[0] - 2 * head]


def test_both_attentions_move_the_logits() -> None:
    torch.manual_seed(0)
    model = build("danet", 3, backbone="resnet18", width=8, channels=16).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found = [model(x)]
        for part in ("position", "channel"):
            gamma = model.get_submodule(part)[1].gamma  # type: ignore[operator, index]
            gamma.fill_(1.0)
            found.append(model(x))
            gamma.fill_(0.0)
    assert all(not torch.allclose(found[0], moved, atol=1e-5) for moved in found[1:])


def test_the_last_stage_dilates_at_an_eighth_and_may_have_a_multigrid() -> None:
    plain = build("danet", 2, width=8, channels=8)
    grid = build("danet", 2, width=8, channels=8, multigrid=(1, 2, 4))
    found = [
        [block.conv2.dilation[0] for block in model.encoder.layer4]  # type: ignore[union-attr]
        for model in (plain, grid)
    ]
    assert found == [[2, 4, 4], [2, 8, 16]]


def test_another_affinity_is_refused() -> None:
    with pytest.raises(ValueError, match="use code or paper"):
        build("danet", 2, affinity="cosine")
