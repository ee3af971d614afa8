"""Scores of binary sets that name a foreground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import divide, number
from harness.metrics.histogram import area_under_curve
from harness.metrics.metric import Metric, describe
from harness.metrics.records import StatisticsTable

describe(
    Metric(
        "auc", "AUC", "Area under the ROC curve of the foreground's probability.", foreground_only=True, family="binary"
    ),
    Metric(
        "sensitivity",
        "Sensitivity",
        "The share of the foreground's pixels that were found.",
        foreground_only=True,
        family="binary",
    ),
    Metric(
        "specificity",
        "Specificity",
        "The share of the other pixels that were left alone.",
        foreground_only=True,
        family="binary",
    ),
)


def binary_scores(table: StatisticsTable, confusion: NDArray[np.int64], foreground: int) -> dict[str, float | None]:
    """AUC from the score histograms of all images; sensitivity and specificity of the label maps.

    Sensitivity is the share of the foreground's pixels that were found, specificity the share of the other pixels
    that were left; under a threshold of one half these are the histograms' figures too.
    """
    row = confusion.sum(axis=1)
    others = np.delete(confusion, foreground, axis=0)
    return {
        "auc": number(area_under_curve(table.histogram[:, 1:])),
        "sensitivity": number(float(divide(confusion[foreground, foreground], row[foreground]))),
        "specificity": number(float(divide(others.sum() - others[:, foreground].sum(), others.sum()))),
    }
