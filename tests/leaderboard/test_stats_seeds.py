"""Intervals and comparisons over seeds, against scipy and cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from leaderboard.stats.seeds import dunnett, pooled_spread, seed_contrasts, studentised_range
from leaderboard.stats.simultaneous import compared_with_best, rank_intervals


def test_fifteen_rows_of_three_seeds_share_thirty_degrees_of_freedom() -> None:
    rng = np.random.default_rng(5)
    values = [list(row) for row in rng.normal(size=(15, 3))]
    found = pooled_spread(values)
    assert found.apart == ()
    assert set(found.freedom) == {30}
    assert found.pooled == pytest.approx(math.sqrt(np.mean([np.var(row, ddof=1) for row in values])))
    interval = found.interval(0, 0.0)
    assert interval is not None
    assert interval.high == pytest.approx(stats.t.ppf(0.975, 30) * found.pooled / math.sqrt(3))


def test_one_row_alone_has_students_interval_of_its_own_seeds() -> None:
    found = pooled_spread([[1.0, 2.0, 3.0]])
    interval = found.interval(0, 2.0)
    assert interval is not None
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=1 / math.sqrt(3))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert found.pooled is None


def test_a_row_with_one_seed_has_no_interval_and_lends_no_degrees_of_freedom() -> None:
    found = pooled_spread([[1.0, 2.0], [5.0], [4.0, 4.5, 5.0], []])
    assert found.freedom == (3, 0, 3, 0)
    assert [found.shares(row) for row in range(4)] == [True, False, True, False]
    assert found.interval(1, 5.0) is None
    assert found.pooled == pytest.approx(math.sqrt((0.5 + 2 * 0.25) / 3))


def test_a_row_that_spreads_far_more_stands_on_its_own() -> None:
    calm = [[x - 0.01, x, x + 0.01] for x in range(10)]
    found = pooled_spread([*calm, [0.0, 5.0, 10.0]])
    assert found.apart == (10,)
    assert found.pooled == pytest.approx(0.01)
    assert found.freedom[:10] == (20,) * 10
    wild, tame = found.interval(10, 5.0), found.interval(0, 0.0)
    assert wild is not None
    assert tame is not None
    assert wild.high - 5 == pytest.approx(stats.t.ppf(0.975, 2) * 5 / math.sqrt(3))
    assert tame.high < 0.02


def test_a_row_that_spreads_far_less_is_given_the_spread_of_the_others_and_lends_nothing() -> None:
    found = pooled_spread([[1.0, 1.0, 1.0], [0.1, 0.3, 0.2], [0.4, 0.6, 0.45]])
    assert (found.quiet, found.apart) == ((0,), ())
    assert found.freedom == (4, 4, 4)
    assert found.pooled == pytest.approx(math.sqrt((0.01 + np.var([0.4, 0.6, 0.45], ddof=1)) / 2))
    calm = pooled_spread([*[[x - 1.0, x, x + 1.0] for x in range(10)], [5.0, 5.0001, 5.0002]])
    assert (calm.quiet, calm.apart) == ((10,), ())
    assert calm.variances[10] == pytest.approx(1.0)


def test_seeds_that_all_gave_the_same_everywhere() -> None:
    found = pooled_spread([[1.0, 1.0], [2.0, 2.0]])
    interval = found.interval(0, 1.0)
    assert interval is not None
    assert (interval.low, interval.high) == (1.0, 1.0)
    assert seed_contrasts(np.array([1.0, 2.0]), found, range(2)).better.tolist() == [[False, False], [True, False]]


def test_where_half_of_the_rows_spread_far_more_those_stand_on_their_own() -> None:
    found = pooled_spread([[-s, 0.0, s] for s in (0.1, 0.11, 0.12, 0.13, 2.0, 2.1, 2.2, 2.3)])
    assert found.differ
    assert found.apart == (4, 5, 6, 7)
    assert found.freedom == (16,) * 4 + (2,) * 4
    assert found.variances[4] == pytest.approx(4.0)
    assert found.variances[0] == pytest.approx(np.mean([s * s for s in (0.1, 0.11, 0.12, 0.13, 2.0, 2.1, 2.2, 2.3)]))


@pytest.mark.parametrize(("k", "freedom"), [(2, 4), (3, 6), (15, 30)])
@pytest.mark.parametrize("two_sided", [False, True])
def test_dunnetts_critical_value_is_scipys(k: int, freedom: int, two_sided: bool) -> None:
    d = dunnett(0.95, (1.0,) * (k - 1), freedom, two_sided)
    rng = np.random.default_rng(0)
    shape = np.full((k - 1, k - 1), 0.5) + 0.5 * np.eye(k - 1)
    t = stats.multivariate_t(shape=shape, df=freedom, seed=rng)
    lower = np.full(k - 1, -d if two_sided else -np.inf)
    assert t.cdf(np.full(k - 1, d), lower_limit=lower) == pytest.approx(0.95, abs=1e-3)


def test_dunnetts_critical_value_of_unequal_numbers_of_seeds() -> None:
    v = np.array([0.5, 2.0, 1.0])  # of the others, the first row has 1
    d = dunnett(0.95, tuple(v), 12)
    shape = np.full((3, 3), 1.0) + np.diag(v)
    scale = np.sqrt(v + 1)
    t = stats.multivariate_t(shape=shape / np.outer(scale, scale), df=12, seed=np.random.default_rng(0))
    assert t.cdf(np.full(3, d)) == pytest.approx(0.95, abs=1e-3)


def test_pairs_are_tukeys() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 3)) + np.array([0, 0, 3, 6])[:, None]
    found = pooled_spread([list(row) for row in values])
    contrasts = seed_contrasts(values.mean(axis=1), found, range(4))
    expected = stats.tukey_hsd(*values).confidence_interval(0.95)
    low = contrasts.differences - contrasts.of_pairs * contrasts.errors
    np.testing.assert_allclose(low[np.triu_indices(4, 1)], expected.low[np.triu_indices(4, 1)], rtol=1e-6)
    np.testing.assert_array_equal(contrasts.better, (expected.low > 0) & ~np.eye(4, dtype=bool))
    q = studentised_range(0.95, 4, 8) / math.sqrt(2) * found.pooled * math.sqrt(2 / 3)  # type: ignore[operator]
    assert contrasts.resolvable == pytest.approx(q)


def test_baselines_are_dunnetts() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4, 5)) + np.array([0, 1, 2, 3])[:, None]
    contrasts = seed_contrasts(values.mean(axis=1), pooled_spread([list(row) for row in values]), range(4))
    expected = stats.dunnett(*values[1:], control=values[0], rng=np.random.default_rng(0)).confidence_interval(0.95)
    widths = (contrasts.to_baseline * contrasts.errors)[0, 1:]
    np.testing.assert_allclose(contrasts.differences[1:, 0] + widths, expected.high, rtol=2e-3)


def test_unequal_numbers_of_seeds_share_one_spread() -> None:
    found = pooled_spread([[0.0, 1.0, 2.0], [0.5, 1.5], [0.1, 0.9, 1.4, 2.0]])
    contrasts = seed_contrasts(np.array([1.0, 1.0, 1.1]), found, range(3))
    assert found.pooled is not None
    assert contrasts.errors[0, 1] == pytest.approx(found.pooled * math.sqrt(1 / 3 + 1 / 2))
    assert contrasts.of_pairs[0, 1] == contrasts.of_pairs[1, 2]


def test_a_pair_with_a_row_of_its_own_spread_has_welchs_degrees_of_freedom() -> None:
    found = pooled_spread([*[[x - 0.01, x, x + 0.01] for x in range(10)], [0.0, 5.0, 10.0]])
    a, b = found.of_means([0, 10])
    welch = (a + b) ** 2 / (a**2 / 20 + b**2 / 2)
    freedom = found.freedom_of_pairs([0, 10])
    assert freedom[0, 0] == 20
    assert freedom[0, 1] <= welch < freedom[0, 1] + 0.5


def test_two_rows_of_three_seeds_need_what_a_t_test_needs() -> None:
    values = [[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]]
    found = pooled_spread(values)
    interval = found.difference(1, 0, 4.0)
    expected = stats.ttest_ind(values[1], values[0]).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    contrasts = seed_contrasts(np.array([1.0, 5.0]), found, range(2))
    assert contrasts.of_pairs[0, 1] == pytest.approx(stats.t.ppf(0.975, 4), rel=1e-4)
    best = compared_with_best(contrasts)
    assert best.may_be_best.tolist() == [False, True]
    low, high = rank_intervals(contrasts.better)
    assert (low.tolist(), high.tolist()) == ([2, 1], [2, 1])
