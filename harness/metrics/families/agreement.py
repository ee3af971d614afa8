"""Agreement of two label maps beyond chance, from pixel counts alone."""

from __future__ import annotations

import numpy as np

from harness.metrics.exact import Array, divide, total
from harness.metrics.families.region import of_all_classes
from harness.metrics.metric import Metric, describe
from harness.metrics.sums import ImageSums, ScoredImages


def _shares(sums: Array) -> tuple[Array, Array, Array]:
    """The share of pixels that agree, and (..., K+1) those of each class in target and prediction.

    Class K is what was predicted out of range.
    """
    hit, row, column = np.split(sums, 3, axis=-1)
    pixels = row.sum(axis=-1, keepdims=True)
    outside = pixels - column.sum(axis=-1, keepdims=True)
    true, predicted = np.concatenate([row, 0 * outside], axis=-1), np.concatenate([column, outside], axis=-1)
    return divide(hit.sum(axis=-1), pixels[..., 0]), divide(true, pixels), divide(predicted, pixels)


def _kappa(sums: Array) -> Array:
    """Cohen, A Coefficient of Agreement for Nominal Scales, 1960."""
    agree, true, predicted = _shares(sums)
    chance = total(true * predicted)
    return divide(agree - chance, 1 - chance)


def _mcc(sums: Array) -> Array:
    """Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004."""
    agree, true, predicted = _shares(sums)
    spread = (1 - total(true**2)) * (1 - total(predicted**2))
    return divide(agree - total(true * predicted), np.sqrt(spread))


def _agreement(name: str, title: str, definition: str) -> Metric:
    fold = {"mcc": _mcc, "kappa": _kappa}[name]

    def sums(images: ScoredImages) -> ImageSums:
        return of_all_classes(images.counts, images.protocol, fold)

    return Metric(name, title, definition, family="agreement", sums=sums, moved_by=("level",))


describe(
    _agreement("mcc", "MCC", "Matthews correlation coefficient of prediction and target, over all classes."),
    _agreement("kappa", "Kappa", "Cohen's kappa: agreement beyond chance."),
)
