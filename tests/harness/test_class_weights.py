"""Losses that weigh classes: by numbers, by how often a class is there, and by focus."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from harness.datasets.drive import Drive
from harness.datasets.shapes import Shapes
from harness.losses import Loss, total_loss
from harness.losses.class_weights import ClassPixels, weights_by
from harness.scoring.samples import DecodedSamples
from harness.training.class_pixels import class_pixels
from tests.conftest import TINY, rows, run_bench
from tests.harness.copies import drive


def loss_of(logits: torch.Tensor, target: torch.Tensor, **term: Any) -> torch.Tensor:
    return total_loss(logits, target, Loss.model_validate([term]), 255)


def a_batch(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.randint(0, max(2, channels), (2, 6, 5))
    target[:, 1] = 255
    return torch.randn(2, channels, 6, 5), target


def test_weighted_cross_entropy_is_pytorchs() -> None:
    logits, target = a_batch()
    weights = [0.5, 2.0, 4.0]
    found = loss_of(logits, target, name="ce", class_weights=weights)
    assert torch.allclose(found, cross_entropy(logits, target, torch.tensor(weights), ignore_index=255))
    alike = loss_of(logits, target, name="ce", class_weights=[3, 3, 3])
    assert torch.allclose(alike, loss_of(logits, target, name="ce"))
    assert not torch.allclose(alike, found)
    alone = torch.zeros_like(target)
    assert loss_of(logits, alone, name="ce", class_weights=[0, 1, 1]).item() == 0


def test_weights_follow_their_formula() -> None:
    # Class 2 is in one image of 100 pixels out of two; class 3 in none.
    counts = ClassPixels(pixels=[150, 40, 10, 0], around=[200, 200, 100, 0])
    assert weights_by("median_frequency", counts) == pytest.approx([0.2 / 0.75, 1, 2, 0])
    assert weights_by("inverse_frequency", counts) == pytest.approx([200 / 450, 200 / 120, 200 / 30, 0])
    logs = [1 / math.log(1.02 + share) for share in (0.75, 0.2, 0.05)]
    assert weights_by("log_frequency", counts) == pytest.approx([*logs, 0])


def test_pixels_are_those_of_the_training_images_that_count(tmp_path: Path) -> None:
    samples = DecodedSamples(Drive(drive(tmp_path / "DRIVE"), "official"))
    ids = samples.dataset.ids("train", 3)
    truths = [samples.get(image_id)[1:] for image_id in ids]
    seen = [mask[valid] for mask, valid in truths if valid is not None]
    found = class_pixels(samples, ids, Loss())
    assert found.pixels == [sum(int((part == c).sum()) for part in seen) for c in (0, 1)]
    assert found.around == [sum(len(part) for part in seen if bool((part == c).any())) for c in (0, 1)]
    everything = class_pixels(samples, ids, Loss(ignore="nothing"))
    assert sum(everything.pixels) == 3 * 96 > sum(found.pixels)


def test_focal_with_alpha_is_equation_5() -> None:
    logits, target = a_batch()
    alpha = torch.tensor([0.1, 0.3, 0.6])
    p = logits.softmax(1)
    expected = [
        -alpha[c] * (1 - p[n, c, y, x]) ** 2 * p[n, c, y, x].log()
        for n, y, x in (target != 255).nonzero().tolist()
        for c in [int(target[n, y, x])]
    ]
    found = loss_of(logits, target, name="focal", alpha=alpha.tolist())
    assert torch.allclose(found, torch.stack(expected).mean())


@pytest.mark.parametrize("channels", [1, 2])
def test_on_a_binary_set_alpha_is_that_of_class_1(channels: int) -> None:
    logits, target = a_batch(channels)
    p = logits[:, 0].sigmoid() if channels == 1 else logits.softmax(1)[:, 1]
    of_truth = torch.where(target == 1, p, 1 - p)
    each = torch.where(target == 1, 0.25, 0.75) * (1 - of_truth) ** 3 * -of_truth.log()
    found = loss_of(logits, target, name="focal", alpha=0.25, gamma=3.0)
    assert torch.allclose(found, each[target != 255].mean(), atol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("channels", [1, 2])
def test_constrained_focal_weighs_the_foreground_by_a_root_of_how_rare_it_is(channels: int, beta: float) -> None:
    logits, target = a_batch(channels)
    target[target == 1] = 0
    target[0, 0, :3] = 1
    counted = target != 255
    weight = ((int(counted.sum()) - 3) / 3) ** (1 / beta)
    one = logits[:, 0] if channels == 1 else logits[:, 1] - logits[:, 0]
    each = binary_cross_entropy_with_logits(one, (target == 1).float(), reduction="none")
    expected = (torch.where(target == 1, weight, 1.0) * each)[counted].mean()
    assert torch.allclose(loss_of(logits, target, name="constrained_focal", beta=beta), expected, atol=1e-6)
    target[counted] = 1
    assert loss_of(logits, target, name="constrained_focal", beta=beta).item() == 0
    # Without a foreground in the batch, it is cross-entropy.
    target[target == 1] = 0
    plain = binary_cross_entropy_with_logits(one, torch.zeros_like(one), reduction="none")[counted].mean()
    assert torch.allclose(loss_of(logits, target, name="constrained_focal", beta=beta), plain, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("[{name: ce, class_weights: [1, 2]}]", "class_weights has 2 weights for 6 classes (background, "),
        ("[{name: focal, alpha: [1, 2, 3]}]", "alpha has 3 weights for 6 classes"),
        ("[{name: focal, alpha: 0.25}]", "alpha: a single number is for a binary set"),
        ("[{name: ce, class_weights: median}]", "class_weights"),
        ("[{name: ce, class_weights: [0, 0, 0, 0, 0, 0]}]", "at least one weight must be above 0"),
    ],
)
def test_weights_that_do_not_fit_are_one_message(home: Path, loss: str, message: str) -> None:
    done = run_bench("run", "--suite", TINY, "--local", "--set", f"loss={loss}", cwd=home, check=False)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    if "weights for" in message:
        assert Shapes.info.name in done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_weights_by_rule_train_and_are_kept_with_the_run(home: Path) -> None:
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", "--set", "epochs=1")
    by_rule = "loss=[{name: ce, class_weights: median_frequency}]"
    run_bench(*words, "--set", by_rule, cwd=home)
    ((provenance,),) = rows(home, "select provenance from runs")
    ((term,)) = json.loads(provenance)["loss"]
    shapes = Shapes(home / "data" / Shapes.folders[0])
    samples = DecodedSamples(shapes)
    expected = weights_by("median_frequency", class_pixels(samples, shapes.ids("train"), Loss()))
    assert term["class_weights"] == pytest.approx(expected)
    given = f"loss=[{{name: ce, class_weights: {list(expected)}}}]"
    run_bench(*words, "--set", given, cwd=home)
    run_bench(*words, cwd=home)
    losses = "select round(loss, 6) from evaluations where split = 'test' order by id"
    (first,), (second,), (plain,) = rows(home, losses)
    assert first == second != plain
