"""Statements about all rows of a ranking that hold together: which may be the best, and where each may stand.

Everything here takes figures of which a higher one is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array

Flags = NDArray[np.bool_]

# Standard errors below this are rounding: the two rows are the same.
SAME = 1e-13


@dataclass(frozen=True)
class Contrasts:
    """What simultaneous statements about k rows are made of."""

    figures: Array
    """(k,)"""
    errors: Array
    """(k, k): standard errors of the differences; 0 between rows that are the same."""
    to_best: Array
    """(k, k): in row i the critical values of `i is not the best`, against each j; one-sided, for all j together."""
    to_baseline: Array
    """(k, k): in row i the critical values of the differences from i; two-sided, for all j together."""
    of_pairs: Array
    """(k, k): the critical value of the difference of each pair, so that all intervals of pairs hold together."""
    better: Flags
    """(k, k): whether row i is better than row j, so that all these claims hold together."""

    @property
    def differences(self) -> Array:
        """(k, k): the figure of row i minus that of row j."""
        return np.asarray(self.figures[:, None] - self.figures[None, :])

    @property
    def resolvable(self) -> float | None:
        """The smallest difference that a typical pair needs to be told apart: the median over pairs."""
        k = len(self.figures)
        return float(np.median((self.of_pairs * self.errors)[np.triu_indices(k, 1)])) if k > 1 else None


def together(parts: Sequence[Contrasts], weights: Sequence[float]) -> Contrasts:
    """The comparison of the weighted sums of figures whose errors are independent of one another.

    The widths of intervals, each of the same level, add in quadrature: Zou and Donner, Construction of confidence
    limits about effect measures, Statistics in Medicine 2008 (MOVER). A pair is called better by its own interval,
    without further steps.

    Args:
        parts: of the same k rows.
        weights: of each part's figures.
    """
    errors = np.sqrt(sum((w * part.errors) ** 2 for w, part in zip(weights, parts, strict=True)))

    def critical(of: Callable[[Contrasts], Array]) -> Array:
        width = np.sqrt(sum((w * of(p) * p.errors) ** 2 for w, p in zip(weights, parts, strict=True)))
        # Between rows that are the same any value will do.
        return np.asarray(np.divide(width, errors, out=of(parts[0]).copy(), where=errors > 0))

    found = Contrasts(
        figures=np.asarray(sum(w * part.figures for w, part in zip(weights, parts, strict=True))),
        errors=errors,
        to_best=critical(lambda part: part.to_best),
        to_baseline=critical(lambda part: part.to_baseline),
        of_pairs=critical(lambda part: part.of_pairs),
        better=np.zeros_like(parts[0].better),
    )
    return replace(found, better=found.differences > found.of_pairs * found.errors)


def with_both_errors(first: Contrasts, second: Contrasts) -> Contrasts:
    """The comparison of figures that vary for two independent reasons; nothing is claimed that either does not find.

    Args:
        first: with the errors of one reason.
        second: the same figures, with those of the other.
    """
    found = replace(together([first, second], [1.0, 1.0]), figures=first.figures)
    clear = found.differences > found.of_pairs * found.errors
    return replace(found, better=clear & first.better & second.better)


def no_contrasts(figures: Array) -> Contrasts:
    """Of fewer than two rows there is nothing to say."""
    k = len(figures)
    none = np.zeros((k, k))
    return Contrasts(figures, none, none, none, none, np.zeros((k, k), dtype=bool))


@dataclass(frozen=True)
class Best:
    """Multiple comparison with the best."""

    may_be_best: Flags
    """(k,)"""
    gap: Array
    """(k,): the figure minus the best figure of the other rows."""
    low: Array
    """(k,): from where its true value lies, for all rows together."""
    high: Array
    """(k,)"""


def compared_with_best(contrasts: Contrasts) -> Best:
    """Simultaneous intervals for each row's difference from the best of the others; each contains 0 or ends at it.

    The true best row is missing from `may_be_best` with a probability of at most 5 %. Hsu, Ranking and selection and
    multiple comparisons with the best, 1984; Hsu, Multiple Comparisons, 1996, chapter 4 (unbalanced form).
    """
    difference, k = contrasts.differences, len(contrasts.figures)
    if k < 2:
        none = np.zeros(k)
        return Best(np.ones(k, dtype=bool), none, none, none)
    others = ~np.eye(k, dtype=bool)
    width = contrasts.to_best * contrasts.errors

    def least(values: Array, where: Flags) -> Array:
        return np.asarray(np.where(where, values, np.inf).min(axis=1))

    high = least(difference + width, others)
    may = high >= 0
    # If j is the best, i is at least this much behind it: with j's own critical value.
    low = least(difference - width.T, others & may[None, :])
    low = np.where(may & (may.sum() == 1), 0.0, np.minimum(low, 0.0))
    return Best(may, least(difference, others), low, np.maximum(high, 0.0))


def rank_intervals(better: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places each row may have, for all rows together: 1 is the best.

    A row stands behind those that are better than it and before those that it is better than; the others are open.
    Mogstad, Romano, Shaikh and Wilhelm, Inference for Ranks with Applications to Mobility across Neighbourhoods and
    Academic Achievement across Countries, Review of Economic Studies 2024, section 3.

    Args:
        better: (k, k) whether row i is better than row j; all claims hold together.
    """
    return better.sum(axis=0) + 1, len(better) - better.sum(axis=1)
