from __future__ import annotations

import pytest
import torch

from harness.losses import total_loss
from harness.recipe import Loss

NAMES = ["ce", "bce", "dice", "focal"]


def logits_for(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 1 if name == "bce" else 3, 4, 5, requires_grad=True)


def loss_of(name: str, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return total_loss(logits, target, Loss.model_validate([name]), 255)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_void_costs_nothing_and_has_a_gradient_of_zero(name: str) -> None:
    logits = logits_for(name)
    loss = loss_of(name, logits, torch.full((2, 4, 5), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_predicted_under_void_does_not_count(name: str) -> None:
    logits = logits_for(name).detach()
    target = torch.randint(0, 2, (2, 4, 5), dtype=torch.uint8)
    target[:, 1] = 255
    changed = logits.clone()
    changed[:, :, 1] = 50.0
    assert loss_of(name, logits, target).item() == loss_of(name, changed, target).item()


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel_is_enough(name: str) -> None:
    logits = logits_for(name)
    target = torch.full((2, 4, 5), 255, dtype=torch.uint8)
    target[0, 2, 3] = 1
    loss = loss_of(name, logits, target)
    loss.backward()
    assert loss.item() > 0
    assert logits.grad is not None
    assert logits.grad[0, :, 2, 3].any()


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes() -> None:
    value = loss_of("ce", torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
    assert value.item() == pytest.approx(torch.log(torch.tensor(4.0)).item())


def test_dice_of_a_sure_and_right_prediction_is_zero() -> None:
    target = torch.randint(0, 3, (1, 6, 6))
    logits = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2) * 200.0
    assert loss_of("dice", logits, target).item() == pytest.approx(0, abs=1e-6)


def test_focal_without_focusing_is_cross_entropy() -> None:
    logits, target = logits_for("ce"), torch.randint(0, 3, (2, 4, 5))
    focal = total_loss(logits, target, Loss.model_validate({"terms": [{"name": "focal", "gamma": 0}]}), 255)
    assert focal.item() == pytest.approx(loss_of("ce", logits, target).item(), rel=1e-6)


def test_terms_are_summed_by_weight() -> None:
    logits, target = logits_for("ce"), torch.randint(0, 3, (2, 4, 5))
    both = Loss.model_validate({"terms": [{"name": "ce"}, {"name": "dice", "weight": 3}]})
    expected = loss_of("ce", logits, target) + 3 * loss_of("dice", logits, target)
    assert total_loss(logits, target, both, 255).item() == pytest.approx(expected.item(), rel=1e-6)
