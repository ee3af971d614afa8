"""Few images: a test of rows that is exact where they are alike, beside the bootstrap, which is not.

Where k rows are alike, it is chance which row has which of the k label maps of an image: the labels of the rows are
permuted image by image, and the largest difference is as large as the observed one only as often as the level says,
whatever the distribution and however few the images (Fisher, The Design of Experiments, 1935; the largest of all pairs:
Westfall and Young, Resampling-Based Multiple Testing, 1993). Rows are alike under this hypothesis all together; where
some differ, it guards the bootstrap's claims, and is none of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.metrics.exact import Array

# With so many images or groups the bootstrap is good enough alone.
FEW = 50
PERMUTATIONS = 2000
# Numbers that are held at once.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Permuted:
    """How large studentised differences become by chance."""

    statistic: Array
    """(k, k): the mean difference of row i and j in units of its standard error, as observed."""
    of_pairs: float
    """What the largest of all pairs does not exceed, at the level."""
    to_best: Array
    """(k,): what no other row's rise above row i exceeds."""
    to_baseline: Array
    """(k,): what no difference from row i exceeds, either way."""


def contributions(parts: Array, fold: Callable[[Array], Array]) -> Array:
    """(k, U): what each unit contributes to each row's score, around the mean over rows.

    Which row is which does not enter it: permuted parts give permuted contributions, so that a test of these is exact.

    Args:
        parts: (k, U, P) what the score is made of.
        fold: (..., P) sums -> (...) scores.
    """
    middle = parts.mean(axis=0)
    total = middle.sum(axis=0)
    found = np.stack([fold(total + row - middle) for row in parts]) - fold(total)
    return np.asarray(np.nan_to_num(found))


def permuted(values: Array, level: float, count: int = PERMUTATIONS) -> Permuted:
    """Permute the rows within every unit; the same values always give the same.

    Args:
        values: (k, U) contributions, higher is better.
        level: of each of the three critical values.
        count: how many permutations, the observed order among them.
    """
    k, units = values.shape
    values = values - values.mean(axis=0)
    rng = np.random.default_rng(0)
    pairs, best, baseline = np.empty(count), np.empty((count, k)), np.empty((count, k))
    size = max(1, _BLOCK // (k * max(k, units)))
    for first in range(0, count, size):
        part = slice(first, min(first + size, count))
        order = np.broadcast_to(np.arange(k), (part.stop - first, units, k)).copy()
        shuffled = rng.permuted(order, axis=2)
        if first == 0:
            shuffled[0] = order[0]
        t = _studentised(np.take_along_axis(values.T[None], shuffled, axis=2).transpose(0, 2, 1))
        pairs[part] = t.max(axis=(1, 2))
        best[part] = t.max(axis=1)
        baseline[part] = np.abs(t).max(axis=1)

    def critical(largest: Array) -> Array:
        return np.asarray(np.quantile(largest, level, axis=0, method="higher"))

    return Permuted(_studentised(values[None])[0], float(critical(pairs)), critical(best), critical(baseline))


def _studentised(values: Array) -> Array:
    """(b, k, U) -> (b, k, k): the mean difference of rows in units of its standard error; 0 where there is none."""
    units = values.shape[2]
    products = values @ values.transpose(0, 2, 1)
    squares = np.diagonal(products, axis1=1, axis2=2)
    both = squares[:, :, None] + squares[:, None, :]
    means = values.mean(axis=2)
    difference = means[:, :, None] - means[:, None, :]
    variance = (both - 2 * products) / units - difference**2
    known = variance > 1e-12 * both
    error = np.sqrt(np.where(known, variance, 1.0) / (units - 1))
    return np.asarray(np.where(known, difference / error, 0.0))
