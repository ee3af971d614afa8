"""The permutation test of few images, against every permutation there is and against what it promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.metrics import Protocol
from leaderboard.stats.image_sums import image_sums
from leaderboard.stats.images import image_contrasts
from leaderboard.stats.permutation import contributions, permuted
from tests.leaderboard.made import CLASSES, table


def largest(values: np.ndarray) -> tuple[float, float, float]:
    """By a slow loop: the largest t of all pairs, of another row above row 0, and of row 0 against another."""
    k, n = values.shape
    t = np.zeros((k, k))
    for i, j in itertools.permutations(range(k), 2):
        d = values[i] - values[j]
        t[i, j] = d.mean() / (d.std(ddof=1) / np.sqrt(n))
    return t.max(), t[1:, 0].max(), np.abs(t[0, 1:]).max()


def test_critical_values_are_those_of_every_permutation() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5)) + np.array([[0.0], [0.5], [2.0]])
    every = [
        largest(np.stack([values[list(order), u] for u, order in enumerate(orders)], axis=1))
        for orders in itertools.product(itertools.permutations(range(3)), repeat=5)
    ]
    found = permuted(values, 0.9, count=20_000)
    pairs, best, baseline = np.array(every).T
    for critical, exact in ((found.of_pairs, pairs), (found.to_best[0], best), (found.to_baseline[0], baseline)):
        assert (exact > critical).mean() == pytest.approx(0.1, abs=0.01)
    assert found.statistic[2, 0] == pytest.approx(-largest(values[[0, 2]])[1] * -1)
    assert found.statistic.max() == pytest.approx(largest(values)[0])


def test_rows_that_are_alike_are_told_apart_as_often_as_promised_whatever_the_distribution() -> None:
    rng = np.random.default_rng(3)
    claims = []
    for _ in range(600):
        values = rng.standard_cauchy((4, 10)) + rng.standard_cauchy((1, 10))
        found = permuted(values, 0.95, count=200)
        claims.append(bool((found.statistic > found.of_pairs).any()))
    assert 0.03 < np.mean(claims) < 0.07


def test_rows_with_the_same_label_maps_have_no_difference() -> None:
    values = np.random.default_rng(1).normal(size=(1, 12)).repeat(3, axis=0)
    found = permuted(values, 0.95, count=50)
    assert not found.statistic.any()
    assert found.of_pairs == 0


def test_which_row_is_which_does_not_enter_what_an_image_contributes() -> None:
    sums = [image_sums(table(seed), CLASSES, Protocol(), "miou") for seed in (0, 1, 9)]
    parts = np.stack([one.parts for one in sums])
    found = contributions(parts, sums[0].fold)
    swapped = parts.copy()
    swapped[[0, 2], 4] = parts[[2, 0], 4]
    expected = found.copy()
    expected[[0, 2], 4] = found[[2, 0], 4]
    np.testing.assert_allclose(contributions(swapped, sums[0].fold), expected, atol=1e-15)
    # Together they are the difference of the figures, to first order.
    figures = [float(one.fold(one.parts.sum(axis=0))) for one in sums]
    assert found[0].sum() - found[2].sum() == pytest.approx(figures[0] - figures[2], rel=0.1)


def test_a_claim_of_the_bootstrap_alone_is_not_made() -> None:
    rng = np.random.default_rng(5)
    lost = 0
    for _ in range(15):
        values = rng.normal(size=(12, 6)) + np.linspace(0, 1.5, 6)
        figures, influence = values.mean(axis=0), ((values - values.mean(axis=0)) / 11).T
        draws = values[rng.integers(0, 12, (400, 12))].mean(axis=1)
        alone, both = (image_contrasts(figures, draws, influence, contributed=c) for c in (None, values.T))
        test = permuted(values.T, 0.95)
        assert (both.better <= alone.better & (test.statistic > test.of_pairs)).all()
        # Intervals say the same as claims.
        assert (both.better <= (both.differences > test.of_pairs * both.errors)).all()
        lost += int((alone.better & ~both.better).sum())
    assert lost > 0
