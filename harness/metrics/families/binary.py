"""Scores of binary sets that name a foreground."""

from __future__ import annotations

import numpy as np

from harness.metrics.exact import Array
from harness.metrics.histogram import BINS, area_under_curve
from harness.metrics.metric import Metric, Sums, describe
from harness.metrics.sums import ImageSums, ScoredImages, quotients


def _auc(images: ScoredImages) -> ImageSums:
    """Area under the ROC curve, from the score histograms."""
    image, place, positive, pixels = images.table.histogram.T
    count = len(images.table.ids)
    parts = np.bincount((image * 2 + positive) * BINS + place, weights=pixels, minlength=count * 2 * BINS)

    def fold(sums: Array) -> Array:
        return area_under_curve(*np.split(sums, 2, axis=-1))

    return ImageSums(np.asarray(parts, dtype=np.float64).reshape(count, 2 * BINS), fold)


def _sensitivity(images: ScoredImages) -> ImageSums:
    f = _foreground(images)
    return quotients(images.counts.hit, images.counts.row).of(f)


def _specificity(images: ScoredImages) -> ImageSums:
    f = _foreground(images)
    others = images.counts.row.sum(axis=1) - images.counts.row[:, f]
    alarms = images.counts.column[:, f] - images.counts.hit[:, f]
    return quotients((others - alarms)[:, None], others[:, None]).of(0)


def _foreground(images: ScoredImages) -> int:
    if images.foreground is None:
        raise ValueError("it exists only for data sets that name a foreground")
    return images.foreground


def _binary(name: str, title: str, definition: str, sums: Sums) -> Metric:
    return Metric(name, title, definition, foreground_only=True, family="binary", sums=sums)


describe(
    _binary("auc", "AUC", "Area under the ROC curve of the foreground's probability.", _auc),
    _binary("sensitivity", "Sensitivity", "The share of the foreground's pixels that were found.", _sensitivity),
    _binary("specificity", "Specificity", "The share of the other pixels that were left alone.", _specificity),
)
