"""Repetitions with other seeds: a spread that rows share, and comparisons that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from harness.metrics.exact import Array
from leaderboard.boards.estimate import LEVEL, Interval
from leaderboard.stats.simultaneous import Contrasts, no_contrasts

# The level of the tests of whether spreads differ.
SPREADS_DIFFER = 0.01
# The degrees of freedom for which critical values are computed where rows do not share a spread.
_STEPS = np.array([1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 60, 120, 1000], dtype=np.float64)


@dataclass(frozen=True)
class Spread:
    """The spread over seeds of each row of a board."""

    counts: tuple[int, ...]
    """Seeds of each row."""
    variances: tuple[float, ...]
    """Of one seed: the shared variance, or the row's own; NaN where a row has one seed."""
    freedom: tuple[int, ...]
    """Degrees of freedom behind each variance; 0 where a row has one seed."""
    pooled: float | None
    """The standard deviation that rows share; None where none do."""
    apart: tuple[int, ...]
    """Rows that clearly spread more than the others: they stand on their own."""
    quiet: tuple[int, ...]
    """Rows that clearly spread less than the others: they are given the others' spread, and lend nothing to it."""
    differ: bool
    """Whether spreads clearly differ beyond single rows: who spreads more than the shared spread is `apart`, too."""

    def interval(self, row: int, mean: float, level: float = LEVEL) -> Interval | None:
        """Student's interval of a row's mean; None where the row has one seed."""
        n, freedom = self.counts[row], self.freedom[row]
        if not freedom:
            return None
        half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(self.variances[row] / n)
        return Interval(mean - half, mean + half)

    def shares(self, row: int) -> bool:
        """Whether a row has the shared spread."""
        return self.pooled is not None and self.counts[row] > 1 and row not in self.apart

    def of_means(self, rows: Sequence[int]) -> Array:
        """(k,) the variances of the means of these rows."""
        return np.array([self.variances[i] / self.counts[i] for i in rows], dtype=np.float64)

    def freedom_of_pairs(self, rows: Sequence[int]) -> Array:
        """(k, k) degrees of freedom of the difference of each pair of rows.

        Where both share the pooled variance, those behind it; else those of Welch and Satterthwaite, rounded down, so
        that critical values can be looked up again.
        """
        freedom = np.array([self.freedom[i] for i in rows], dtype=np.float64)
        shares = np.array([self.shares(i) for i in rows], dtype=bool)
        variance = self.of_means(rows)
        part = variance**2 / freedom
        total, parts = variance[:, None] + variance[None, :], part[:, None] + part[None, :]
        welch = np.divide(total**2, parts, out=np.ones_like(total), where=parts > 0)
        own = _STEPS[np.maximum(np.searchsorted(_STEPS, welch + 1e-9) - 1, 0)]
        return np.asarray(np.where(shares[:, None] & shares[None, :], freedom[:, None], own))

    def difference(self, row: int, other: int, value: float, level: float = LEVEL) -> Interval:
        """Student's, or Welch's, interval of the difference of two rows with two seeds or more."""
        freedom = self.freedom_of_pairs([row, other])[0, 1]
        half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(self.of_means([row, other]).sum())
        return Interval(value - half, value + half)


def pooled_spread(values: Sequence[Sequence[float]]) -> Spread:
    """Pool the variance over rows, as an analysis of variance does, where nothing speaks against it.

    No row is thought to spread less than the shared spread says; one that clearly spreads more does not share it:

    - A row whose variance clearly differs from that of the others lends nothing. If it is larger, the row stands on its
      own, with its own degrees of freedom. This is the F test of its variance against the pooled variance of the
      others, two-sided, at 1 % divided by the number of rows, the clearest first, until none is left. ('t Lam, Scrutiny
      of variance results for outliers: Cochran's test optimized, Analytica Chimica Acta 2010.)
    - If Bartlett's test then still says at 1 % that the spreads differ, every row whose variance is larger than the
      pooled one stands on its own.

    Args:
        values: for each row the figures of its seeds.
    """
    counts = np.array([len(row) for row in values], dtype=np.int64)
    own = np.array([np.var(row, ddof=1) if len(row) > 1 else math.nan for row in values], dtype=np.float64)
    repeated = [i for i, n in enumerate(counts) if n > 1]
    # Seeds that all gave the same are no sample of a spread.
    lending = [i for i in repeated if own[i] > 0] or repeated
    apart: list[int] = []
    while len(lending) > 1:
        chances = _differ(own[lending], counts[lending] - 1)
        clearest = int(chances.argmin())
        if chances[clearest] * len(lending) >= SPREADS_DIFFER:
            break
        row = lending.pop(clearest)
        if own[row] > _pooled(own[lending], counts[lending] - 1):
            apart.append(row)
    freedom = int((counts[lending] - 1).sum())
    together = _pooled(own[lending], counts[lending] - 1)
    differ = len(lending) > 1 and _bartlett([values[i] for i in lending]) < SPREADS_DIFFER
    quiet = [i for i in repeated if i not in lending and i not in apart]
    if differ:
        apart += [i for i in lending if own[i] > together]
    shares = [i in repeated and i not in apart for i in range(len(values))]
    return Spread(
        counts=tuple(int(n) for n in counts),
        variances=tuple(together if share else float(v) for share, v in zip(shares, own, strict=True)),
        freedom=tuple(freedom if share else max(int(n) - 1, 0) for share, n in zip(shares, counts, strict=True)),
        pooled=math.sqrt(together) if sum(shares) > 1 else None,
        apart=tuple(sorted(apart)),
        quiet=tuple(quiet),
        differ=differ,
    )


def _pooled(variances: Array, freedom: NDArray[np.int64]) -> float:
    return float((variances * freedom).sum() / freedom.sum()) if len(freedom) else math.nan


def _differ(variances: Array, freedom: NDArray[np.int64]) -> Array:
    """The p-value of the F test of each row's variance against the pooled variance of the others, two-sided."""
    rest = freedom.sum() - freedom
    pooled = ((freedom * variances).sum() - freedom * variances) / rest
    below = stats.f.cdf(np.divide(variances, pooled, out=np.ones_like(pooled), where=pooled > 0), freedom, rest)
    return np.asarray(2 * np.minimum(below, 1 - below))


def _bartlett(values: Sequence[Sequence[float]]) -> float:
    return float(stats.bartlett(*values).pvalue) if all(np.var(row) > 0 for row in values) else 1.0


def seed_contrasts(figures: Array, found: Spread, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
    """Compare rows that have two seeds or more.

    Pairs: Tukey and Kramer, where both rows share the pooled variance; where one stands on its own, Games and Howell,
    with the degrees of freedom of Welch and Satterthwaite. The best and baselines: Dunnett's critical values, and where
    a row stands on its own those of independent differences, which are larger (Šidák).

    Args:
        figures: (k,) what places each of the rows, higher is better.
        found: the spread over all rows of the board.
        rows: which rows of the board these are.
        level: at which all statements of one kind hold together.
    """
    k = len(rows)
    if k < 2:
        return no_contrasts(figures)
    variance, freedom = found.of_means(rows), found.freedom_of_pairs(rows)
    shares, seeds = [found.shares(i) for i in rows], [found.counts[i] for i in rows]
    together = np.logical_and.outer(shares, shares)
    errors = np.sqrt(variance[:, None] + variance[None, :])
    np.fill_diagonal(errors, 0)
    to_best = _independent(level, k - 1, freedom)
    to_baseline = _independent(1 - (1 - level) / 2, k - 1, freedom)
    of_pairs = np.zeros((k, k))
    for i in range(k):
        # The shared spread cancels: what is left are the numbers of seeds.
        others = tuple(sorted(seeds[i] / seeds[j] if shares[j] else 1.0 for j in range(k) if j != i))
        for j in range(k):
            if i == j:
                continue
            of_pairs[i, j] = studentised_range(level, k, freedom[i, j]) / math.sqrt(2)
            if together[i, j]:
                to_best[i, j] = dunnett(level, others, freedom[i, j])
                to_baseline[i, j] = dunnett(level, others, freedom[i, j], two_sided=True)
    better = (figures[:, None] - figures[None, :] > of_pairs * errors) & ~np.eye(k, dtype=bool)
    return Contrasts(figures, errors, to_best, to_baseline, of_pairs, better)


def _independent(level: float, differences: int, freedom: Array) -> Array:
    found = np.asarray(stats.t.ppf(level ** (1 / differences), np.maximum(freedom, 1)))
    np.fill_diagonal(found, 0)
    return found


@lru_cache(maxsize=4096)
def studentised_range(level: float, k: int, freedom: float) -> float:
    """The quantile of the studentised range of k means (Tukey)."""
    return float(stats.studentized_range.ppf(level, k, freedom))


# Points at which Dunnett's integral is taken: normal, and evenly spread over probabilities.
_NORMAL = np.polynomial.hermite_e.hermegauss(48)
_EVEN = np.polynomial.legendre.leggauss(96)


@lru_cache(maxsize=4096)
def dunnett(level: float, others: tuple[float, ...], freedom: float, two_sided: bool = False) -> float:
    """Dunnett's critical value of differences from one row, for all other rows together.

    The chance that (e_j - e) ≤ d · s · √(v_j + 1) for every other row j, with independent normal errors e of variances
    v_j and 1 and s² of χ²/freedom, is an integral over e and s of a product over rows (Dunnett, A Multiple Comparison
    Procedure for Comparing Several Treatments with a Control, JASA 1955). Two-sided: of |e_j - e|.

    Args:
        level: that chance.
        others: the variances of the other rows' means, in units of that of the row that all are compared with.
        freedom: degrees of freedom of the variances.
        two_sided: whether it bounds differences both ways.
    """
    at, weight = _NORMAL
    s = np.sqrt(stats.chi2.ppf((_EVEN[0] + 1) / 2, freedom) / freedom)[:, None]
    variances, how_many = np.unique(np.array(others), return_counts=True)

    def chance(d: float) -> float:
        inside = np.ones((len(s), len(at)))
        for v, n in zip(variances, how_many, strict=True):
            limit, deviation = d * s * math.sqrt(v + 1), max(math.sqrt(v), 1e-150)
            below = special.ndtr((limit + at) / deviation)
            inside *= (below - special.ndtr((at - limit) / deviation) if two_sided else below) ** n
        return float(_EVEN[1] @ inside @ weight / 2 / weight.sum())

    return float(optimize.brentq(lambda d: chance(d) - level, 0.0, 1e5, xtol=1e-6))
