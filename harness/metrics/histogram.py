"""Scores of the foreground, binned: what an AUC over any subset of images needs, in a few kilobytes an image.

Bins are equally wide in log-odds, not in probability: a confident network puts most pixels within a thousandth of 0
and 1, where equal bins of probability would tie them all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.confusion import Labels, Mask
from harness.metrics.exact import Array, divide

BINS = 1024
# Log-odds beyond this share the outermost bins: 16 is a probability of 0.9999999.
LIMIT = 16.0


def score_histogram(scores: NDArray[np.floating], target: Labels, counted: Mask, foreground: int) -> NDArray[np.int64]:
    """Count the scored pixels of one image by the bin of their score.

    Args:
        scores: (H, W) probability of the foreground, in 0..1.
        target: (H, W) true labels.
        counted: (H, W) the pixels that are scored.
        foreground: the class whose probability it is.

    Returns:
        (h, 3) rows of bin, whether the target is the foreground, pixels; only what is not 0. A probability of one half
        or more lies in the upper half of the bins.

    Raises:
        ValueError: a scored pixel's probability is not a number in 0..1.
    """
    chosen = scores[counted].astype(np.float64)
    if chosen.size and not (np.isfinite(chosen).all() and chosen.min() >= 0 and chosen.max() <= 1):
        raise ValueError("the scores of the foreground must be probabilities in 0..1")
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(chosen) - np.log1p(-chosen), -LIMIT, LIMIT)
    bins = np.minimum(((odds + LIMIT) * (BINS / (2 * LIMIT))).astype(np.int64), BINS - 1)
    positive = (target[counted] == foreground).astype(np.int64)
    counts = np.bincount(2 * bins + positive, minlength=2 * BINS)
    filled = np.flatnonzero(counts)
    return np.stack([filled // 2, filled % 2, counts[filled]], axis=1).astype(np.int64)


def area_under_curve(others: Array, found: Array) -> Array:
    """Area under the ROC curve: the share of (foreground, other) pixel pairs in the right order, ties counting half.

    Args:
        others: (..., bins) pixels of other classes in each bin, whole numbers.
        found: (..., bins) pixels of the foreground.

    Returns:
        (...) areas; NaN where there is no pixel of one kind. Scores of one bin are ties. (Mann and Whitney 1947.) One
        area is exact until the division.
    """
    if others.ndim > 1:
        below = np.cumsum(others, axis=-1) - others
        ordered = (found * (2 * below + others)).sum(axis=-1)
        return divide(ordered, 2 * others.sum(axis=-1) * found.sum(axis=-1))
    passed, twice, hits = 0, 0, 0  # whole numbers of any size
    for other, hit in zip(map(int, others), map(int, found), strict=True):
        twice += hit * (2 * passed + other)
        passed += other
        hits += hit
    return np.asarray(twice / (2 * passed * hits) if passed and hits else np.nan)
