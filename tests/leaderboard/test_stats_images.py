"""Intervals and comparisons over images, against formulas and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from leaderboard.boards.estimate import Interval
from leaderboard.stats.images import effective_freedom, image_contrasts, image_interval
from leaderboard.stats.signs import signed_rank
from leaderboard.stats.simultaneous import compared_with_best, rank_intervals


def resampled(values: np.ndarray, count: int = 1000) -> np.ndarray:
    """Means of resampled rows (n, k) -> (B, k)."""
    drawn = np.random.default_rng(0).integers(0, len(values), (count, len(values)))
    return values[drawn].mean(axis=1)


def without(values: np.ndarray) -> np.ndarray:
    """By how much a mean (n, k) or (n,) moves without each row -> (k, n) or (n,)."""
    return ((values - values.mean(axis=0)) / (len(values) - 1)).T


def test_of_a_mean_the_interval_is_students() -> None:
    values = np.random.default_rng(1).normal(3, 1, 200)
    draws = resampled(values[:, None], 20_000)[:, 0]
    interval = image_interval(float(values.mean()), draws, without(values))
    low, high = stats.t.interval(0.95, 199, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=2e-3)


def test_degrees_of_freedom_fall_where_few_images_decide() -> None:
    even = np.array([1.0, -1.0] * 50)
    assert effective_freedom(even) == 99
    few = np.concatenate([np.full(5, 10.0), np.full(5, -10.0), np.zeros(90)])
    kurtosis = 3 + stats.kurtosis(few, bias=False)
    assert kurtosis == pytest.approx(10.43, abs=0.01)
    assert effective_freedom(few) == pytest.approx(200 / (kurtosis - 97 / 99))
    one = np.concatenate([[1.0], np.zeros(99)])
    assert 1 <= effective_freedom(one) < 2.2
    assert 90 < effective_freedom(np.zeros(100)) <= 99  # no image moves it: as for a normal distribution
    assert effective_freedom(np.stack([even, few])).tolist() == [effective_freedom(even), effective_freedom(few)]


def test_critical_values_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 4)) + rng.normal(size=(60, 1)) + np.array([0, 0.1, 0.2, 1.5])
    draws, figures = resampled(values), values.mean(axis=0)
    influence = without(values)
    found = image_contrasts(figures, draws, influence)
    largest, over_first, from_first = [], [], []
    for draw in draws - figures:
        t = [
            (draw[i] - draw[j]) / (draws[:, i] - draws[:, j]).std(ddof=1) for i in range(4) for j in range(4) if i != j
        ]
        largest.append(max(t))
        above = [(draw[j] - draw[0]) / (draws[:, j] - draws[:, 0]).std(ddof=1) for j in (1, 2, 3)]
        over_first.append(max(above))
        from_first.append(max(map(abs, above)))
    loops = ((found.of_pairs, largest), (found.to_best, over_first), (found.to_baseline, from_first))
    for critical, loop in ((values[0, 1], loop) for values, loop in loops):
        normal = np.quantile(loop, 0.95, method="higher")
        freedom = effective_freedom(influence[0] - influence[1])
        assert critical == pytest.approx(stats.t.isf(stats.norm.sf(normal), freedom))
    boot, jackknife = (
        (draws[:, 0] - draws[:, 3]).std(ddof=1) * math.sqrt(60 / 59),
        stats.sem(values[:, 0] - values[:, 3]),
    )
    assert found.errors[0, 3] == pytest.approx(max(boot, jackknife))


@pytest.mark.parametrize("n", [20, 200])
def test_the_larger_of_two_errors_counts(n: int) -> None:
    values = np.random.default_rng(1).normal(3, 1, n)
    influence = without(values)
    jackknife = stats.sem(values)
    critical = stats.t.ppf(0.975, effective_freedom(influence))
    for factor, error in ((0.5, jackknife), (2.0, 2 * jackknife * math.sqrt(n / (n - 1)))):
        draws = np.random.default_rng(2).normal(0, 1, 5000)
        draws *= factor * jackknife / draws.std(ddof=1)
        interval = image_interval(3.0, draws, influence)
        assert interval.high - 3.0 == pytest.approx(critical * error)


def test_the_interval_of_a_share_is_students_on_the_logit_scale_and_stays_inside() -> None:
    influence = np.random.default_rng(1).normal(size=20) / 100
    draws = np.full(10, 0.97)  # the jackknife's error is the larger one
    plain, inside = (image_interval(0.97, draws, influence, share=share) for share in (False, True))
    assert plain.high > 1
    low, high = special.logit([inside.low, inside.high])
    half = (plain.high - 0.97) / (0.97 * 0.03)
    assert (low, high) == pytest.approx((special.logit(0.97) - half, special.logit(0.97) + half))
    assert 0 < inside.low < 0.97 < inside.high < 1
    for end in (0.0, 1.0):  # all right or all wrong everywhere: no image moves it
        assert image_interval(end, np.full(10, end), np.zeros(20), share=True) == Interval(end, end)


def test_only_how_influences_spread_counts() -> None:
    influence = np.random.default_rng(1).normal(size=20)
    draws = np.full(10, 3.0)  # the jackknife's error is the larger one
    moved = image_interval(3.0, draws, influence + 5)
    interval = image_interval(3.0, draws, influence)
    assert (moved.low, moved.high) == pytest.approx((interval.low, interval.high))


def test_steps_find_what_one_step_does_not_and_never_less() -> None:
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(80, 12))
    values = noise + np.array([*np.arange(10) * 3.0, 30.0, 30.58])
    figures = values.mean(axis=0)
    found = image_contrasts(figures, resampled(values), without(values))
    one_step = found.differences > found.of_pairs * found.errors
    assert (found.better >= one_step & ~np.eye(12, dtype=bool)).all()
    assert found.better.sum() == one_step.sum() + 1
    assert found.better[11, 10]
    assert not (found.better & found.better.T).any()


def test_rows_with_the_same_scores_tie() -> None:
    values = np.random.default_rng(4).normal(size=(50, 2))
    twice = np.column_stack([values[:, 0], values[:, 0], values[:, 1] - 5])
    found = image_contrasts(twice.mean(axis=0), resampled(twice), without(twice))
    assert found.errors[0, 1] == 0
    assert compared_with_best(found).may_be_best.tolist() == [True, True, False]
    low, high = rank_intervals(found.better)
    assert (low.tolist(), high.tolist()) == ([1, 1, 3], [2, 2, 3])


def test_a_row_outside_of_the_best_never_has_the_first_place() -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        values = rng.normal(size=(40, 8)) + rng.normal(0, 0.4, 8)
        found = image_contrasts(values.mean(axis=0), resampled(values, 200), without(values))
        best = compared_with_best(found)
        low, _ = rank_intervals(found.better)
        assert (low[best.may_be_best] == 1).all()


def test_signed_ranks_are_scipys() -> None:
    differences = np.array([0.5, -0.1, 0.2, 0.0, math.nan, 0.3, 0.4, 0.6])
    found = signed_rank(differences)
    assert (found.wins, found.losses, found.ties, found.count) == (5, 1, 1, 7)
    assert found.chance == stats.wilcoxon([0.5, -0.1, 0.2, 0.0, 0.3, 0.4, 0.6]).pvalue
    assert signed_rank(np.zeros(4)).chance is None
    even = signed_rank(np.array([1.0, -2.0, 3.0, -4.0]))
    assert (even.wins, even.losses, even.chance) == (2, 2, stats.wilcoxon([1.0, -2.0, 3.0, -4.0]).pvalue)
