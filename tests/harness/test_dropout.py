"""Element dropout: the distribution of `nn.Dropout`, whatever the shape, type and memory format."""

from __future__ import annotations

import pytest
import torch

from harness.models.blocks.dropout import Dropout


@pytest.mark.parametrize("chance", [0.0001, 0.3, 0.4, 0.5, 0.9])
def test_so_many_elements_become_zero_and_the_others_make_up_for_them(chance: float) -> None:
    torch.manual_seed(0)
    x = torch.full((4, 16, 64, 65), 2.0)
    y = Dropout(chance)(x)
    n = x.numel()
    dropped = (y == 0).float().mean().item()
    assert abs(dropped - chance) < 5 * (chance * (1 - chance) / n) ** 0.5 + 1e-5
    assert torch.allclose(y[y != 0], torch.tensor(2.0 / (1 - chance)), rtol=1e-3)
    assert y.mean().item() == pytest.approx(2.0, rel=0.02)


def test_each_element_is_dropped_by_itself() -> None:
    torch.manual_seed(0)
    gone = (Dropout(0.5)(torch.ones(256, 256, 4)) == 0).double().flatten()
    gone = gone - gone.mean()
    # Neither a neighbour, nor one of the same word, nor one that is a row or a channel away says anything.
    for apart in (1, 2, 3, 4, 8, 64, 1024):
        correlation = (gone[:-apart] * gone[apart:]).mean() / gone.var()
        assert abs(correlation.item()) < 5 / len(gone) ** 0.5
    # Each of the four that share a word is dropped as often.
    assert torch.allclose(gone.view(-1, 4).mean(dim=0), torch.zeros(4, dtype=torch.float64), atol=0.01)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_type_and_memory_format_stay(layout: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 5, 7).to(dtype).contiguous(memory_format=layout)
    y = Dropout(0.4)(x)
    assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())
    kept = y != 0
    assert 0 < kept.sum() < x.numel()
    assert torch.allclose(y[kept], x[kept] / 0.6, rtol=1e-2 if dtype == torch.bfloat16 else 1e-3)


def test_a_view_with_gaps_is_dropped_too() -> None:
    torch.manual_seed(0)
    x = torch.ones(8, 8, 64)[:, ::2, 3:]
    y = Dropout(0.5)(x)
    assert y.shape == x.shape
    assert 0.4 < (y == 0).float().mean().item() < 0.6


def test_gradients_pass_where_elements_stayed() -> None:
    x = torch.ones(4096, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_the_generators_seed_decides_and_evaluation_drops_nothing() -> None:
    layer, x = Dropout(0.5), torch.randn(1000)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(second, first)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Dropout(1.0)
