"""Scores that follow from pixel counts alone: IoU, accuracy, Dice, precision, recall."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array, divide, mean, number
from harness.metrics.metric import Metric, describe
from harness.metrics.protocol import Protocol

describe(
    Metric("miou", "mIoU", "Mean over classes of the intersection over union.", family="region"),
    Metric("pa", "PA", "Pixel accuracy: the share of the scored pixels that are right.", family="region"),
    Metric("mpa", "mPA", "Mean over classes of the share of the class's pixels that are right.", family="region"),
    Metric("fwiou", "FWIoU", "IoU averaged over classes, weighted by their share of the target.", family="region"),
    Metric("iou", "IoU", "TP / (TP + FP + FN).", overall=False, per_class=True, family="region"),
    Metric("accuracy", "Acc", "TP / (TP + FN), the recall of a class.", overall=False, per_class=True, family="region"),
    Metric("dice", "Dice", "2TP / (2TP + FP + FN).", per_class=True, family="region"),
    Metric("precision", "Precision", "TP / (TP + FP).", per_class=True, family="region"),
    Metric("recall", "Recall", "TP / (TP + FN).", per_class=True, family="region"),
    Metric("f1", "F1", "Dice, or by the protocol the harmonic mean of precision and recall.", family="region"),
)


def region_scores(confusion: NDArray[np.int64], protocol: Protocol) -> dict[str, Array]:
    """IoU, accuracy, Dice, precision, recall and F1 of each class from a (K, K+1) confusion matrix."""
    k = len(confusion)
    return ratios(np.diag(confusion[:, :k]), confusion.sum(axis=1), confusion[:, :k].sum(axis=0), protocol)


def ratios(hit: Any, row: Any, column: Any, protocol: Protocol) -> dict[str, Array]:
    """IoU, accuracy, Dice, precision, recall and F1 from counts of pixels, all of one shape.

    NaN where undefined: IoU and Dice of a class in neither map (unless the protocol gives it a value); accuracy and
    recall of a class the target lacks; precision of a class in neither map.

    Args:
        hit: pixels of a class in both maps.
        row: its pixels in the target.
        column: its pixels in the prediction.
        protocol: supplies `absent`, `mean_over` and `f1`.
    """
    counts = row > 0 if protocol.mean_over == "target" else row + column - hit > 0
    absent = {"nan": np.nan, "zero": 0.0, "one": 1.0}[protocol.absent]
    recall = divide(hit, row)
    never = divide(hit, column)
    # A class that is there and never predicted has precision 0, not none: else it would leave the mean.
    precision = np.where((column == 0) & (row > 0), 0.0, never)
    if protocol.mean_over == "target":
        precision = np.where(row > 0, precision, np.nan)
    dice = np.where(counts, divide(2 * hit, row + column), absent)
    # 0/0 where nothing was hit stays undefined too: mmseg divides without a guard.
    f1 = dice if protocol.f1 == "dice" else divide(2 * never * recall, never + recall)
    return {
        "iou": np.where(counts, divide(hit, row + column - hit), absent),
        "accuracy": recall,
        "dice": dice,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def region_values(confusion: NDArray[np.int64], region: dict[str, Array]) -> dict[str, float | None]:
    """The scores over classes that follow from a (K, K+1) confusion matrix and its per-class scores."""
    return {
        "miou": mean(region["iou"]),
        "pa": _pixel_accuracy(confusion),
        "mpa": mean(region["accuracy"]),
        "fwiou": _frequency_weighted_iou(confusion),
        **{name: mean(region[name]) for name in ("dice", "precision", "recall", "f1")},
    }


def _pixel_accuracy(confusion: NDArray[np.int64]) -> float | None:
    return number(float(divide(np.trace(confusion[:, :-1]), confusion.sum())))


def _frequency_weighted_iou(confusion: NDArray[np.int64]) -> float | None:
    """IoU weighted by how often the target holds each class (Long et al. 2015)."""
    row, hit = confusion.sum(axis=1), np.diag(confusion[:, :-1])
    iou = divide(hit, row + confusion[:, :-1].sum(axis=0) - hit)
    total = int(row.sum())
    if total == 0:
        return None
    return math.fsum(float(r) / total * float(i) for r, i in zip(row, iou, strict=True) if r > 0)
