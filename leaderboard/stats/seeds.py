"""Repetitions with other seeds: the spread of each row, and comparisons that follow from it."""

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

# The level of the test of whether a row spreads more than the others, for all rows together.
APART = 0.0001
# Ratios of variances are rounded up to steps of this factor: rows then share critical values, which become no smaller.
_RATIO = 2.0


@dataclass(frozen=True)
class Spread:
    """The spread over seeds of each row of a board."""

    counts: tuple[int, ...]
    """Seeds of each row."""
    variances: tuple[float, ...]
    """Of one seed, of each row; NaN where a row has one seed."""
    freedom: tuple[float, ...]
    """Degrees of freedom behind each variance; 0 where a row has one seed."""
    pooled: float
    """The standard deviation pooled over rows; NaN where no row has two seeds."""
    alike: bool
    """Whether nothing says that the rows' spreads differ: then all have the pooled one."""
    apart: tuple[int, ...]
    """Rows that clearly spread more than the others: they stand on their own."""

    def interval(self, row: int, mean: float, level: float = LEVEL) -> Interval | None:
        """Student's interval of a row's mean; None where the row has one seed."""
        n, freedom = self.counts[row], self.freedom[row]
        if not freedom:
            return None
        half = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(self.variances[row] / n)
        return Interval(mean - half, mean + half)

    def of_means(self, rows: Sequence[int]) -> Array:
        """(k,) the variances of the means of these rows."""
        return np.array([self.variances[i] / self.counts[i] for i in rows], dtype=np.float64)

    def freedom_of_pairs(self, rows: Sequence[int]) -> Array:
        """(k, k) degrees of freedom of the difference of each pair of rows: the fewer of the two.

        Rounded down, to quarters below ten: a critical value takes .2 s, and can then be looked up again.
        """
        freedom = np.array([self.freedom[i] for i in rows], dtype=np.float64)
        fewer = np.minimum(freedom[:, None], freedom[None, :])
        return np.asarray(np.where(fewer < 10, np.floor(4 * fewer) / 4, np.floor(fewer)))

    def difference(self, row: int, other: int, value: float, level: float = LEVEL) -> Interval:
        """Student's interval of the difference of two rows with two seeds or more."""
        freedom = self.freedom_of_pairs([row, other])[0, 1]
        half = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(self.of_means([row, other]).sum())
        return Interval(value - half, value + half)


def moderated_spread(values: Sequence[Sequence[float]]) -> Spread:
    """Each row's variance, moderated by that of the others and never below the pooled one.

    Few seeds say little of a row's own variance, so an analysis of variance pools it over rows. Where rows spread
    differently, what they share understates the variance of some: the larger of the pooled and the moderated variance
    is taken. The moderated one is the row's own, drawn towards what is typical as much as the variances of all rows
    speak for it: (d₀s₀² + ds²) / (d₀ + d), with d₀ + d degrees of freedom and never more than the pooled variance has
    (Smyth, Linear models and empirical Bayes methods, Statistical Applications in Genetics and Molecular Biology 2004).
    The larger of the two is ours; docs/statistics.md shows what it costs.

    A row that clearly spreads more than the others (F test against their pooled variance, at .01 % divided by the
    number of rows, the clearest first until none is left) lends nothing, and has its own variance and degrees of
    freedom: else one method of which a training collapsed would hide every difference between the others. ('t Lam,
    Scrutiny of variance results for outliers: Cochran's test optimized, Analytica Chimica Acta 2010.)

    Args:
        values: for each row the figures of its seeds.
    """
    counts = np.array([len(row) for row in values], dtype=np.int64)
    own = np.array([np.var(row, ddof=1) if len(row) > 1 else math.nan for row in values], dtype=np.float64)
    repeated = counts > 1
    # Seeds that all gave the same are no sample of a spread.
    lending = repeated & (own > 0) if (own > 0).any() else repeated
    of_row: Array = counts.astype(np.float64) - 1
    apart = _apart(own, of_row, np.flatnonzero(lending))
    lending[apart] = False
    freedom = of_row[lending].sum()
    pooled = float((own * of_row)[lending].sum() / freedom) if freedom else math.nan
    d, typical = _prior(own[lending], of_row[lending])
    moderated = pooled if math.isinf(d) else (d * typical + of_row * own) / (d + of_row)
    variances = np.where(repeated, np.maximum(pooled, moderated), math.nan)
    freedoms = np.where(repeated, np.minimum(d + of_row, freedom), 0.0)
    variances[apart], freedoms[apart] = own[apart], of_row[apart]
    return Spread(
        counts=tuple(int(n) for n in counts),
        variances=tuple(variances.tolist()),
        freedom=tuple(freedoms.tolist()),
        pooled=math.sqrt(pooled),
        alike=math.isinf(d),
        apart=tuple(apart),
    )


def _apart(own: Array, freedom: Array, lending: NDArray[np.int64]) -> list[int]:
    """Which of the lending rows clearly spread more than the rest of them."""
    found: list[int] = []
    left = lending.tolist()
    while len(left) > 1:
        weighted, rest = own[left] * freedom[left], freedom[left].sum() - freedom[left]
        others = (weighted.sum() - weighted) / rest
        ratio = np.divide(own[left], others, out=np.ones_like(others), where=others > 0)
        chances = special.fdtrc(freedom[left], rest, ratio)
        clearest = int(chances.argmin())
        if chances[clearest] * len(left) >= APART:
            break
        found.append(left.pop(clearest))
    return sorted(found)


def _prior(variances: Array, freedom: Array) -> tuple[float, float]:
    """Of the variances of rows, how many degrees of freedom d₀ a typical variance s₀² is worth; d₀ is ∞ where equal.

    Moments of log s², which minus log(s₀²) is half the logarithm of an F variable (Smyth 2004, section 6.2).
    """
    if len(variances) < 2 or not (variances > 0).all():
        return math.inf, math.nan
    logs = np.log(variances) - special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return math.inf, math.nan
    # 1/y < trigamma(y) < 1/y + 1/y²: where it is `excess`.
    high = (1 + math.sqrt(1 + 4 * excess)) / (2 * excess)
    half = float(optimize.brentq(lambda y: float(special.polygamma(1, y)) - excess, 1 / excess, high))
    return 2 * half, math.exp(logs.mean() + special.digamma(half) - math.log(half))


def seed_contrasts(figures: Array, found: Spread, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
    """Compare rows that have two seeds or more.

    Pairs: Tukey and Kramer. The best and baselines: Dunnett's critical values, for the variances of the means.

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
    errors = np.sqrt(variance[:, None] + variance[None, :])
    np.fill_diagonal(errors, 0)
    ratios = _rounded_up(variance)
    to_best, to_baseline, of_pairs = np.zeros((3, k, k))
    for i in range(k):
        others = tuple(sorted(np.delete(ratios[i], i).tolist()))
        for j in range(k):
            if i == j:
                continue
            of_pairs[i, j] = studentised_range(level, k, freedom[i, j]) / math.sqrt(2)
            to_best[i, j] = dunnett(level, others, freedom[i, j])
            to_baseline[i, j] = dunnett(level, others, freedom[i, j], two_sided=True)
    better = (figures[:, None] - figures[None, :] > of_pairs * errors) & ~np.eye(k, dtype=bool)
    return Contrasts(figures, errors, to_best, to_baseline, of_pairs, better)


def _rounded_up(variance: Array) -> Array:
    """(k, k) the variance of row j's mean in units of row i's, rounded up: differences from i then correlate less."""
    if not variance.any():
        return np.ones((len(variance), len(variance)))
    exact = np.log(variance[None, :] / variance[:, None]) / math.log(_RATIO)
    return np.asarray(_RATIO ** np.ceil(exact - 1e-9))


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

    # Between one difference alone and independent ones (Šidák).
    tail = 2 if two_sided else 1
    low, high = (1 - (1 - chance_of_one) / tail for chance_of_one in (level, level ** (1 / len(others))))
    ends = (0.5 * float(special.stdtrit(freedom, low)), 2 * float(special.stdtrit(freedom, high)))
    return float(optimize.brentq(lambda d: chance(d) - level, *ends, xtol=1e-6))
