"""Which rows may be the best and where each may stand, worked by hand."""

from __future__ import annotations

import numpy as np

from leaderboard.boards.estimate import LEVEL, Estimate, Interval, estimate
from leaderboard.stats.simultaneous import Contrasts, compared_with_best, no_contrasts, rank_intervals


def contrasts(figures: list[float], error: float, best: float, pairs: float) -> Contrasts:
    k = len(figures)
    off = 1 - np.eye(k)
    x = np.array(figures)
    better = (x[:, None] - x[None, :] > pairs * error) & (off > 0)
    return Contrasts(x, error * off, np.full((k, k), best), np.full((k, k), best), np.full((k, k), pairs), better)


def test_the_set_that_may_be_the_best() -> None:
    best = compared_with_best(contrasts([10.0, 9.0, 7.0], 1.0, 2.0, 2.5))
    assert best.may_be_best.tolist() == [True, True, False]
    assert best.gap.tolist() == [1.0, -1.0, -3.0]
    assert best.high.tolist() == [3.0, 1.0, 0.0]
    # The first: behind the second at most by 1 - 2. The last is behind the first by 3 + 2 at most, the second by 2 + 2.
    assert best.low.tolist() == [-1.0, -3.0, -5.0]


def test_a_row_that_is_alone_in_the_set_is_the_best() -> None:
    best = compared_with_best(contrasts([10.0, 5.0, 4.0], 1.0, 2.0, 2.5))
    assert best.may_be_best.tolist() == [True, False, False]
    assert best.low.tolist() == [0.0, -7.0, -8.0]
    assert best.high.tolist() == [7.0, 0.0, 0.0]


def test_rows_that_are_the_same_are_both_the_best() -> None:
    same = contrasts([3.0, 3.0, 1.0], 0.0, 2.0, 2.0)
    assert compared_with_best(same).may_be_best.tolist() == [True, True, False]


def test_places_follow_from_pairs_and_not_from_overlap() -> None:
    # Rows 1 apart, told apart from 2.5 on: each may stand two places higher or lower.
    low, high = rank_intervals(contrasts([5.0, 4.0, 3.0, 2.0, 1.0], 1.0, 2.0, 2.5).better)
    assert low.tolist() == [1, 1, 1, 2, 3]
    assert high.tolist() == [3, 4, 5, 5, 5]


def test_one_row_and_none() -> None:
    assert compared_with_best(no_contrasts(np.array([1.0]))).may_be_best.tolist() == [True]
    assert no_contrasts(np.zeros(0)).resolvable is None
    low, high = rank_intervals(no_contrasts(np.array([1.0])).better)
    assert (low.tolist(), high.tolist()) == ([1], [1])


def test_what_a_typical_pair_needs_is_the_median_over_pairs() -> None:
    errors = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 10.0], [2.0, 10.0, 0.0]])
    none = np.zeros((3, 3))
    found = Contrasts(np.zeros(3), errors, none, none, np.full((3, 3), 3.0), none > 0)
    assert found.resolvable == 6.0
    assert no_contrasts(np.array([1.0])).resolvable is None
    two = Contrasts(np.zeros(2), errors[:2, :2], none[:2, :2], none[:2, :2], np.full((2, 2), 3.0), none[:2, :2] > 0)
    assert two.resolvable == 3.0


def test_nothing_is_said_of_a_row_alone() -> None:
    found = no_contrasts(np.array([1.0]))
    assert not found.better.any()
    best = compared_with_best(found)
    assert (best.gap.tolist(), best.low.tolist(), best.high.tolist()) == ([0.0], [0.0], [0.0])


def test_intervals_hold_their_ends_and_can_be_moved() -> None:
    interval = Interval(1.0, 2.0)
    assert all(value in interval for value in (1.0, 1.5, 2.0))
    assert 0.99 not in interval
    assert 2.01 not in interval
    assert interval.shifted(0.5) == Interval(1.5, 2.5)


def test_estimates_by_hand() -> None:
    assert LEVEL == 0.95
    assert estimate([]) == estimate([None]) == Estimate(None, None, 0)
    assert estimate([3.0, None]) == Estimate(3.0, None, 1)
    assert estimate([1.0, 3.0]) == Estimate(2.0, 2**0.5, 2)
    assert [found.text() for found in (estimate([]), estimate([3.0]))] == ["–", "3.0000"]
    assert estimate([1.0, 3.0]).text(2) == "2.00 ± 1.41"


def test_only_rows_that_may_be_the_best_bound_how_far_another_is_behind() -> None:
    found = contrasts([10.0, 9.0, 0.0], 1.0, 2.0, 2.5)
    found.to_best[2, 0] = 18.0  # row 2 is not the best: it is clearly behind row 1
    best = compared_with_best(found)
    assert best.may_be_best.tolist() == [True, True, False]
    assert best.low[0] == -1.0
