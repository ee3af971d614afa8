from __future__ import annotations

import math

import pytest
import torch

from harness.losses import Loss, total_loss

NAMES = ["ce", "bce", "rgb_bce", "dice", "focal", "constrained_focal", "lovasz", "ohem"]


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


# A batch of foreground alone weighs nothing in the constrained focal loss: (N - n) / n is 0.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "constrained_focal"])
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


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0])
def test_focal_is_its_formula_with_finite_gradients_where_the_truth_is_sure_or_impossible(gamma: float) -> None:
    # Probabilities of the truth: 1 and 0 in single precision, and .3.
    apart = torch.tensor([200.0, -200.0, math.log(0.3 / 0.7)])
    logits = torch.stack([apart, torch.zeros(3)])[None, :, None].requires_grad_()
    loss = total_loss(
        logits, torch.zeros(1, 1, 3, dtype=torch.long), Loss.model_validate([{"name": "focal", "gamma": gamma}]), 255
    )
    loss.backward()
    assert loss.item() == pytest.approx((0 + 200 - 0.7**gamma * math.log(0.3)) / 3, rel=1e-6)
    assert logits.grad is not None
    p, q = 0.3, 0.7  # d/dx of -q^gamma log(p), p the sigmoid of x
    slope = gamma * q**gamma * p * math.log(p) - q ** (gamma + 1)
    assert logits.grad[0, 0, 0].tolist() == pytest.approx([0, -1 / 3, slope / 3], abs=1e-6)


def test_constrained_focal_has_finite_gradients_where_the_truth_is_sure_or_impossible() -> None:
    logits = torch.tensor([200.0, -200.0, 0.0]).view(1, 1, 1, 3).requires_grad_()
    loss = loss_of("constrained_focal", logits, torch.ones(1, 1, 3, dtype=torch.long) * torch.tensor([1, 1, 0]))
    loss.backward()
    # Two of three pixels are foreground, whose weight is the root of 1/2.
    assert loss.item() == pytest.approx((0 + 0.5**0.5 * 200 + math.log(2)) / 3, rel=1e-6)
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx([0, -(0.5**0.5) / 3, 0.5 / 3], abs=1e-6)


def test_terms_are_summed_by_weight() -> None:
    logits, target = logits_for("ce"), torch.randint(0, 3, (2, 4, 5))
    both = Loss.model_validate({"terms": [{"name": "ce"}, {"name": "dice", "weight": 3}]})
    expected = loss_of("ce", logits, target) + 3 * loss_of("dice", logits, target)
    assert total_loss(logits, target, both, 255).item() == pytest.approx(expected.item(), rel=1e-6)


def test_lovasz_of_hard_predictions_is_the_jaccard_loss() -> None:
    torch.manual_seed(1)
    guess, truth = torch.randint(0, 3, (1, 9, 9)), torch.randint(0, 3, (1, 9, 9))
    logits = torch.nn.functional.one_hot(guess, 3).permute(0, 3, 1, 2) * 1000.0
    jaccard = []
    for label in range(3):
        a, b = guess == label, truth == label
        jaccard.append(1 - ((a & b).sum() / (a | b).sum()).item())
    assert loss_of("lovasz", logits, truth).item() == pytest.approx(sum(jaccard) / 3, abs=1e-6)


def test_lovasz_on_a_sigmoid_channel_is_a_hinge() -> None:
    terms = Loss.model_validate([{"name": "bce", "weight": 1e-9}, "lovasz"])
    target = torch.randint(0, 2, (1, 5, 5))
    sure = (2.0 * target - 1.0)[:, None] * 10
    assert total_loss(sure, target, terms, 255).item() == pytest.approx(0, abs=1e-6)
    assert total_loss(-sure, target, terms, 255).item() > 1


def test_ohem_counts_hard_pixels_or_the_hardest_share() -> None:
    # Probabilities of the truth: .9 three times, .6 once.
    chance = torch.tensor([0.9, 0.9, 0.9, 0.6])
    logits = torch.stack([chance.log(), (1 - chance).log()])[None, :, None, :]
    target = torch.zeros(1, 1, 4, dtype=torch.long)

    def value(**options: float) -> float:
        return total_loss(logits, target, Loss.model_validate([{"name": "ohem", **options}]), 255).item()

    hard, easy = -math.log(0.6), -math.log(0.9)
    assert value() == pytest.approx(hard, abs=1e-6)
    assert value(threshold=0.95) == pytest.approx((hard + 3 * easy) / 4, abs=1e-6)
    assert value(threshold=0.5, keep=0.5) == pytest.approx((hard + easy) / 2, abs=1e-6)


def test_what_lies_under_void_never_moves_the_loss() -> None:
    for name in NAMES:
        logits = logits_for(name).detach()
        target = torch.randint(0, 2, (2, 4, 5), dtype=torch.uint8)
        target[0, 1] = 255
        one = loss_of(name, logits, target).item()
        logits[0, :, 1] = torch.randn(logits.shape[1], 5) * 9
        assert loss_of(name, logits, target).item() == one, name


@pytest.mark.parametrize("name", ["ce", "bce", "focal"])
def test_averaged_over_all_pixels_void_costs_nothing_and_is_counted(name: str) -> None:
    # Four pixels, of which two are void. By hand: a quarter of the sum of the other two's losses.
    logits, target = torch.zeros(1, 1 if name == "bce" else 4, 2, 2), torch.tensor([[[0, 1], [255, 255]]])
    sure = math.log(2) if name == "bce" else math.log(4) * (1 if name == "ce" else 0.75**2)
    for average, expected in [("counted", sure), ("all", sure / 2)]:
        loss = Loss.model_validate({"terms": [name], "average": average})
        assert total_loss(logits, target, loss, 255).item() == pytest.approx(expected, rel=1e-6), average
    void = torch.full((1, 2, 2), 255)
    assert total_loss(logits, void, Loss.model_validate({"terms": [name], "average": "all"}), 255).item() == 0


def test_averaged_over_all_pixels_the_cross_entropy_is_mmsegmentations() -> None:
    # There: the loss of each pixel, 0 at the ignored label, then a plain mean (avg_non_ignore=False).
    logits, target = logits_for("ce"), torch.randint(0, 3, (2, 4, 5))
    target[0, :2] = 255
    each = torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")
    loss = Loss.model_validate({"terms": ["ce"], "average": "all"})
    assert total_loss(logits, target, loss, 255).item() == pytest.approx(each.mean().item(), rel=1e-6)


def test_where_nothing_is_ignored_all_pixels_count() -> None:
    loss = Loss.model_validate({"terms": ["ce"], "ignore": "nothing", "average": "all"})
    target = loss.target(torch.tensor([[[0, 1], [255, 255]]]), 255)
    assert total_loss(torch.zeros(1, 4, 2, 2), target, loss, 255).item() == pytest.approx(math.log(4))
