"""Scores of the foreground, binned: what an AUC over any subset of images needs, in a few kilobytes an image.

Bins are equally wide in log-odds, not in probability: a confident network puts most pixels within a thousandth of 0
and 1, where equal bins of probability would tie them all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.metrics.confusion import Labels, Mask

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


def area_under_curve(rows: NDArray[np.int64]) -> float:
    """Area under the ROC curve: the share of (foreground, other) pixel pairs in the right order, ties counting half.

    Args:
        rows: (h, 3) of bin, whether the target is the foreground, pixels; a bin may come more than once.

    Returns:
        The area; NaN where there is no pixel of one kind. Scores of one bin are ties. (Mann and Whitney 1947.)
    """
    counts = np.zeros((BINS, 2), dtype=np.int64)
    np.add.at(counts, (rows[:, 0], rows[:, 1]), rows[:, 2])
    others, found = counts[:, 0].tolist(), counts[:, 1].tolist()
    total = sum(others) * sum(found)
    if total == 0:
        return math.nan
    below, twice = 0, 0  # whole numbers of any size: exact until the division
    for other, hit in zip(others, found, strict=True):
        twice += hit * (2 * below + other)
        below += other
    return float(twice / (2 * total))
