"""Calibration from histograms of confidence: by hand, and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.metrics import Evaluator, Protocol, StatisticsTable, fold
from harness.metrics.confidence import CONFIDENCE_BINS, bin_confidences, confidence_histogram
from harness.scoring.predict import confidence, label_map
from harness.utils.vision import import_torchvision

import_torchvision()

from torchmetrics.functional.classification import (  # noqa: E402 (imports torchvision, which needs the line above)
    binary_auroc,
    multiclass_calibration_error,
)

NAMES = ("ece", "brier", "confidence_auroc", "aurc")
K = 4


def scenes(seed: int, snapped: bool) -> tuple[Evaluator, np.ndarray, np.ndarray]:
    """Three images of confidences, void among them, and the confidence and rightness of every scored pixel.

    Args:
        seed: of the images.
        snapped: whether confidences are those that stand for bins, so that nothing is lost by binning.
    """
    rng = np.random.default_rng(seed)
    evaluator, sure, wins = Evaluator(K), [], []
    middle = bin_confidences()
    for _ in range(3):
        chance = (0.26 + 0.74 * rng.beta(2, 0.5, (40, 50))).astype(np.float32)
        if snapped:
            chance = middle[np.abs(middle[None] - chance.ravel()[:, None]).argmin(axis=1)].reshape(chance.shape)
        guess = rng.integers(0, K, chance.shape)
        target = np.where(rng.random(chance.shape) < chance**1.5, guess, (guess + 1) % K)
        target[:3] = 255
        evaluator.update(guess, target, confidence=chance)
        sure.append(chance[3:].ravel())
        wins.append((guess == target)[3:].ravel())
    return evaluator, np.concatenate(sure).astype(np.float64), np.concatenate(wins)


def peers(sure: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """What torchmetrics, and the definitions, give for the pixels themselves."""
    others = np.repeat((1 - sure)[:, None] / (K - 1), K - 1, axis=1)
    shares = torch.from_numpy(np.concatenate([sure[:, None], others], axis=1))
    target = torch.from_numpy(np.where(right, 0, 1))
    return {
        "ece": float(multiclass_calibration_error(shares, target, K, n_bins=15)),
        "brier": float(((sure - right) ** 2).mean()),
        "confidence_auroc": float(binary_auroc(torch.from_numpy(sure), torch.from_numpy(right.astype(int)))),
        "aurc": risk_coverage(sure, right),
    }


def risk_coverage(sure: np.ndarray, right: np.ndarray) -> float:
    """Pixel by pixel; equal confidences come in any order, so that errors among them come evenly."""
    risks, ahead, errors = [], 0, 0.0
    for value in np.unique(sure)[::-1]:
        wrong = ~right[sure == value]
        risks += [(errors + wrong.mean() * j) / (ahead + j) for j in range(1, len(wrong) + 1)]
        ahead, errors = ahead + len(wrong), errors + wrong.sum()
    return float(np.mean(risks))


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_is_the_peers_on_the_same_bins(seed: int) -> None:
    evaluator, sure, right = scenes(seed, snapped=True)
    values = evaluator.compute().values
    for name, expected in peers(sure, right).items():
        assert values[name] == pytest.approx(expected, abs=1e-9 if name in ("brier", "aurc") else 1e-6), name


def test_what_binning_costs() -> None:
    evaluator, sure, right = scenes(7, snapped=False)
    values = evaluator.compute().values
    for name, expected in peers(sure, right).items():
        assert values[name] == pytest.approx(expected, abs=0.004), name
    assert values["ece"] > 0.02  # type: ignore[operator]


def _bin(confidence: float) -> int:
    one = np.ones((1, 1), dtype=int)
    return int(confidence_histogram(np.array([[confidence]]), one, one, one == 1)[0, 0])


def test_figures_by_hand() -> None:
    evaluator = Evaluator(2)
    # Sure and right; sure and right; half sure and wrong; half sure and right.
    evaluator.update([[0, 0, 1, 1]], [[0, 0, 0, 1]], confidence=[[1, 1, 0.5, 0.5]])
    values = evaluator.compute().values
    half = bin_confidences()[_bin(0.5)]
    assert half == pytest.approx(0.5, abs=0.01)
    assert values["ece"] == pytest.approx(2 * abs(0.5 - half) / 4)
    assert values["brier"] == pytest.approx((half**2 + (1 - half) ** 2) / 4)
    assert values["confidence_auroc"] == pytest.approx((2 + 0.5) / 3)
    # Risks after one to four pixels; of the last two either may be the wrong one.
    assert values["aurc"] == pytest.approx((0 + 0 + 0.5 / 3 + 1 / 4) / 4)


def test_bins_cover_every_confidence_in_order() -> None:
    middle = bin_confidences()
    assert len(middle) == CONFIDENCE_BINS
    assert (middle[0], middle[-1]) == (1, 0)
    assert (np.diff(middle) < 0).all()
    every = np.concatenate([np.linspace(0, 1, 10_001), 1 - 2.0 ** -np.arange(1, 25)]).astype(np.float32)[None]
    zero = np.zeros(every.shape, dtype=int)
    for value in every.ravel():
        (row,) = confidence_histogram(np.array([[value]]), zero[:, :1], zero[:, :1], zero[:, :1] == 0)
        assert abs(middle[row[0]] - value) <= (1 - value) / 64 + 1e-12
    rows = confidence_histogram(every, zero, zero, zero == 0)
    assert rows[:, 2].sum() == every.size
    assert set(rows[:, 1]) == {1}


def test_they_survive_storage_subsets_and_another_protocol_and_are_undefined_without_confidences() -> None:
    evaluator, _, _ = scenes(1, snapped=False)
    table = StatisticsTable.from_bytes(evaluator.statistics().to_bytes())
    assert fold(table, K, evaluator.protocol) == evaluator.compute()
    assert fold(table.subset(table.ids[:1]), K, evaluator.protocol).values["ece"] is not None
    bare = Evaluator(K, protocol=Protocol(void="mask"))
    for name in reversed(table.ids):
        bare.update(np.zeros((2, 2), int), np.zeros((2, 2), int), name)
    assert {bare.compute().values[name] for name in NAMES} == {None}
    again = fold(bare.statistics().with_scores_of(table), K, bare.protocol)
    assert [again.values[name] for name in NAMES] == [evaluator.compute().values[name] for name in NAMES]


@pytest.mark.parametrize("bad", [[[1.1, 0.5]], [[np.nan, 0.5]], [[-0.1, 0.5]]])
def test_what_is_no_probability_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="confidences must be"):
        Evaluator(2).update([[0, 1]], [[0, 1]], confidence=bad)


def test_confidence_is_the_probability_of_the_label() -> None:
    logits = torch.randn(5, 7, 9, generator=torch.Generator().manual_seed(0)) * 4
    shares = logits.softmax(dim=0)
    torch.testing.assert_close(confidence(logits), shares.gather(0, label_map(logits)[None].long())[0])
    one = logits[:1]
    found, label = confidence(one), label_map(one)
    torch.testing.assert_close(found, torch.where(label == 1, one[0].sigmoid(), 1 - one[0].sigmoid()))
    assert float(confidence(logits * 1e4).max()) <= 1
