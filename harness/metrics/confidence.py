"""Confidence in the predicted label, binned with whether it is right: what calibration is computed from.

A bin is a thirty-second of an octave of the doubt, 1 minus the confidence: a confident network puts most pixels within
a thousandth of 1, where bins of equal width would tie them all. A pixel counts as if its confidence were the middle of
its bin, which is off by at most a 64th of the doubt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.confusion import Labels, Mask
from harness.metrics.exact import Array

# A doubt's bits as a float32 without its last 18 are its octave and thirty-second; the smallest there is, is 2^-24.
_DROPPED = 18
_FIRST = (127 - 24) * 32 - 1
CONFIDENCE_BINS = 24 * 32 + 2
"""None; 24 octaves; a doubt of 1."""


def confidence_histogram(
    confidence: NDArray[np.floating], prediction: Labels, target: Labels, counted: Mask
) -> NDArray[np.int64]:
    """Count the scored pixels of one image by the bin of their confidence.

    Args:
        confidence: (H, W) probability of the predicted label, in 0..1.
        prediction: (H, W) predicted labels.
        target: (H, W) true labels.
        counted: (H, W) the pixels that are scored.

    Returns:
        (c, 3) rows of bin, whether the prediction is right, pixels; only what is not 0.

    Raises:
        ValueError: a scored pixel's confidence is not a number in 0..1.
    """
    chosen = confidence[counted].astype(np.float32, copy=False)
    if chosen.size and not (chosen.min() >= 0 and chosen.max() <= 1):  # false of NaN, too
        raise ValueError("confidences must be probabilities in 0..1")
    bins = np.maximum(((1 - chosen).view(np.int32) >> _DROPPED) - _FIRST, 0)
    counts = np.bincount(2 * bins + (prediction == target)[counted], minlength=2 * CONFIDENCE_BINS)
    filled = np.flatnonzero(counts)
    return np.stack([filled // 2, filled % 2, counts[filled]], axis=1).astype(np.int64)


def bin_confidences() -> Array:
    """(bins,) the confidence that stands for each bin, descending."""
    edges = ((np.arange(CONFIDENCE_BINS + 1) + _FIRST) << _DROPPED).astype(np.int32).view(np.float32).astype(np.float64)
    doubts = (edges[:-1] + edges[1:]) / 2
    doubts[0], doubts[-1] = 0.0, 1.0
    return 1 - doubts
