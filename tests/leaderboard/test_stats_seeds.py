"""Intervals and comparisons over seeds, against scipy and cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from leaderboard.stats.seeds import APART, dunnett, moderated_spread, seed_contrasts, studentised_range
from leaderboard.stats.simultaneous import compared_with_best, rank_intervals


def moderated(own: np.ndarray, freedom: float) -> tuple[np.ndarray, float]:
    """Smyth's variances of rows with equal numbers of seeds, and d₀: a search over d₀ for the variance of log s²."""
    logs = np.log(own)
    typical = lambda d0: np.exp(  # noqa: E731
        logs.mean() - special.digamma(freedom / 2) + np.log(freedom / 2) + special.digamma(d0 / 2) - np.log(d0 / 2)
    )
    grid = np.geomspace(0.05, 5e3, 400_000)
    # log F has the variance of two independent log χ².
    distance = special.polygamma(1, freedom / 2) + special.polygamma(1, grid / 2) - logs.var(ddof=1)
    d0 = float(grid[np.abs(distance).argmin()])
    return (d0 * typical(d0) + freedom * own) / (d0 + freedom), d0


def alike(values: np.ndarray) -> np.ndarray:
    """The rows with one sample variance, so that nothing says that they spread differently."""
    return values.mean(axis=1, keepdims=True) + stats.zscore(values, axis=1, ddof=1)


def unequal(seed: int = 3, rows: int = 15, seeds: int = 3) -> np.ndarray:
    """Seeds of rows that spread differently by a typical factor of 1.65."""
    rng = np.random.default_rng(seed)
    return np.exp(0.5 * rng.normal(size=(rows, 1))) * rng.normal(size=(rows, seeds))


def test_rows_that_nothing_tells_apart_have_the_pooled_variance() -> None:
    rng = np.random.default_rng(5)
    values = alike(rng.normal(size=(15, 3))) * np.linspace(0.8, 1.2, 15)[:, None]
    found = moderated_spread(values.tolist())
    assert found.alike
    assert found.apart == ()
    assert set(found.freedom) == {30}
    assert found.pooled == pytest.approx(math.sqrt(np.mean([np.var(row, ddof=1) for row in values])))
    interval = found.interval(0, 0.0)
    assert interval is not None
    assert interval.high == pytest.approx(stats.t.ppf(0.975, 30) * found.pooled / math.sqrt(3))


def test_where_spreads_differ_the_larger_of_the_pooled_and_smyths_moderated_variance_counts() -> None:
    values = unequal()
    own = values.var(axis=1, ddof=1)
    expected, d0 = moderated(own, 2)
    found = moderated_spread(values.tolist())
    assert not found.alike
    assert found.apart == ()
    assert 1 < d0 < 28
    assert found.freedom == pytest.approx((d0 + 2,) * 15, rel=1e-3)
    assert found.variances == pytest.approx(np.maximum(expected, own.mean()), rel=1e-3)
    assert 0 < sum(v > own.mean() * 1.001 for v in found.variances) < 15, "some rows have their own share"
    assert set(found.freedom_of_pairs(range(15)).ravel()) == {
        math.floor(4 * (d0 + 2)) / 4 if d0 < 8 else math.floor(d0 + 2)
    }


def test_rows_with_unequal_numbers_of_seeds_are_moderated_by_their_own() -> None:
    values = [*unequal(8, 8).tolist(), *unequal(9, 6, 5).tolist()]
    own, d = np.array([np.var(v, ddof=1) for v in values]), np.array([2.0] * 8 + [4.0] * 6)
    logs = np.log(own) - special.digamma(d / 2) + np.log(d / 2)
    found = moderated_spread(values)
    assert found.apart == ()
    d0 = found.freedom[0] - 2
    assert found.freedom == pytest.approx(tuple(d0 + d))
    # Smyth 2004, section 6.2: the equations that d0 and s0 solve.
    assert special.polygamma(1, d0 / 2) == pytest.approx(logs.var(ddof=1) - special.polygamma(1, d / 2).mean())
    typical = np.exp(logs.mean() + special.digamma(d0 / 2) - np.log(d0 / 2))
    pooled = (own * d).sum() / d.sum()
    assert found.variances == pytest.approx(np.maximum(pooled, (d0 * typical + d * own) / (d0 + d)))


def test_one_row_alone_has_students_interval_of_its_own_seeds() -> None:
    found = moderated_spread([[1.0, 2.0, 3.0]])
    interval = found.interval(0, 2.0)
    assert interval is not None
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=1 / math.sqrt(3))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_a_row_with_one_seed_has_no_interval_and_lends_no_degrees_of_freedom() -> None:
    found = moderated_spread([[1.0, 2.0], [5.0], [4.0, 4.5, 5.0], []])
    assert found.freedom == (3, 0, 3, 0)
    assert found.interval(1, 5.0) is None
    assert found.pooled == pytest.approx(math.sqrt((0.5 + 2 * 0.25) / 3))
    assert math.isnan(moderated_spread([[1.0], []]).pooled)


def test_a_row_that_spreads_far_more_stands_on_its_own() -> None:
    calm = [[x - 0.01, x, x + 0.01] for x in range(10)]
    found = moderated_spread([*calm, [0.0, 5.0, 10.0]])
    assert found.apart == (10,)
    assert found.pooled == pytest.approx(0.01)
    assert found.freedom[:10] == (20,) * 10
    wild, tame = found.interval(10, 5.0), found.interval(0, 0.0)
    assert wild is not None
    assert tame is not None
    assert wild.high - 5 == pytest.approx(stats.t.ppf(0.975, 2) * 5 / math.sqrt(3))
    assert tame.high < 0.02
    pair = found.difference(10, 0, 5.0)
    assert pair.high - 5 == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt((25 + 0.0001) / 3))


def test_two_rows_that_spread_far_more_are_found_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    calm = (0.01 * rng.normal(size=(12, 3))).tolist()
    assert moderated_spread([*calm, [-5.0, 0.0, 5.0], [-7.0, 0.0, 7.0]]).apart == (12, 13)


def test_a_row_spreads_clearly_more_by_the_f_test_of_scipy() -> None:
    calm = [[x - 1.0, x, x + 1.0] for x in range(10)]
    limit = math.sqrt(stats.f.isf(APART / 11, 2, 20))
    assert moderated_spread([*calm, [-0.99 * limit, 0.0, 0.99 * limit]]).apart == ()
    assert moderated_spread([*calm, [-1.01 * limit, 0.0, 1.01 * limit]]).apart == (10,)


def test_seeds_that_all_gave_the_same_lend_nothing_and_are_given_the_spread_of_the_others() -> None:
    found = moderated_spread([[1.0, 1.0, 1.0], [0.1, 0.3, 0.2], [0.4, 0.6, 0.45]])
    assert found.freedom == (4, 4, 4)
    assert found.pooled == pytest.approx(math.sqrt((0.01 + np.var([0.4, 0.6, 0.45], ddof=1)) / 2))
    assert found.variances[0] == pytest.approx(found.pooled**2)


def test_seeds_that_all_gave_the_same_everywhere() -> None:
    found = moderated_spread([[1.0, 1.0], [2.0, 2.0]])
    interval = found.interval(0, 1.0)
    assert interval is not None
    assert (interval.low, interval.high) == (1.0, 1.0)
    assert seed_contrasts(np.array([1.0, 2.0]), found, range(2)).better.tolist() == [[False, False], [True, False]]


def test_critical_values_of_rows_that_spread_differently_are_no_smaller_than_exact_ones() -> None:
    found = moderated_spread(unequal().tolist())
    contrasts = seed_contrasts(np.zeros(15), found, range(15))
    v = found.of_means(range(15))
    freedom = float(found.freedom_of_pairs([0, 1])[0, 1])
    for two_sided, made in ((False, contrasts.to_best), (True, contrasts.to_baseline)):
        exact = dunnett(0.95, tuple(sorted(np.delete(v / v[4], 4))), freedom, two_sided)
        assert exact <= made[4, 0] + 1e-6
        assert made[4, 0] == pytest.approx(exact, rel=0.03)


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
    values = alike(rng.normal(size=(4, 3))) + np.array([0, 0, 3, 6])[:, None]
    found = moderated_spread([list(row) for row in values])
    contrasts = seed_contrasts(values.mean(axis=1), found, range(4))
    expected = stats.tukey_hsd(*values).confidence_interval(0.95)
    low = contrasts.differences - contrasts.of_pairs * contrasts.errors
    np.testing.assert_allclose(low[np.triu_indices(4, 1)], expected.low[np.triu_indices(4, 1)], rtol=1e-6)
    np.testing.assert_array_equal(contrasts.better, (expected.low > 0) & ~np.eye(4, dtype=bool))
    q = studentised_range(0.95, 4, 8) / math.sqrt(2) * found.pooled * math.sqrt(2 / 3)
    assert contrasts.resolvable == pytest.approx(q)


def test_baselines_are_dunnetts() -> None:
    rng = np.random.default_rng(2)
    values = alike(rng.normal(size=(4, 5))) + np.array([0, 1, 2, 3])[:, None]
    contrasts = seed_contrasts(values.mean(axis=1), moderated_spread([list(row) for row in values]), range(4))
    expected = stats.dunnett(*values[1:], control=values[0], rng=np.random.default_rng(0)).confidence_interval(0.95)
    widths = (contrasts.to_baseline * contrasts.errors)[0, 1:]
    np.testing.assert_allclose(contrasts.differences[1:, 0] + widths, expected.high, rtol=2e-3)


def test_unequal_numbers_of_seeds_share_one_spread() -> None:
    found = moderated_spread([[0.0, 1.0, 2.0], [0.5, 1.5], [0.1, 0.9, 1.4, 2.0]])
    contrasts = seed_contrasts(np.array([1.0, 1.0, 1.1]), found, range(3))
    assert contrasts.errors[0, 1] == pytest.approx(found.pooled * math.sqrt(1 / 3 + 1 / 2))
    assert contrasts.of_pairs[0, 1] == contrasts.of_pairs[1, 2]


def test_two_rows_of_three_seeds_need_what_a_t_test_needs() -> None:
    values = [[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]]
    found = moderated_spread(values)
    interval = found.difference(1, 0, 4.0)
    expected = stats.ttest_ind(values[1], values[0]).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    contrasts = seed_contrasts(np.array([1.0, 5.0]), found, range(2))
    assert contrasts.of_pairs[0, 1] == pytest.approx(stats.t.ppf(0.975, 4), rel=1e-4)
    best = compared_with_best(contrasts)
    assert best.may_be_best.tolist() == [False, True]
    low, high = rank_intervals(contrasts.better)
    assert (low.tolist(), high.tolist()) == ([2, 1], [2, 1])
