"""Scores that follow from pixel counts alone: IoU, accuracy, Dice, precision, recall."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array, divide, number, total
from harness.metrics.metric import METRICS, Metric, describe
from harness.metrics.protocol import Protocol
from harness.metrics.sums import ClassSums, Counts, Flags, ImageSums, ScoredImages, mean_of_images

# What a score over classes is the mean of.
_MEAN_OF = {"miou": "iou", "mpa": "accuracy"}


def region_sums(counts: Counts, protocol: Protocol, name: str, scored: Flags | None = None) -> ImageSums | ClassSums:
    """What a region score sums over images; see `ratio_sums`."""
    if name not in _OF_ALL_CLASSES:
        return ratio_sums(counts, protocol, _MEAN_OF.get(name, name), scored)
    return of_all_classes(counts, protocol, _OF_ALL_CLASSES[name])


def of_all_classes(counts: Counts, protocol: Protocol, fold: Callable[[Array], Array]) -> ImageSums:
    """A score that looks at all classes at once: `fold` takes (..., 3 K) sums of hit, row and column."""
    parts = np.hstack([counts.hit, counts.row, counts.column])
    if protocol.level == "dataset":
        return ImageSums(parts, fold)
    return mean_of_images(np.array([float(fold(one)) for one in parts]))


def ratio_sums(counts: Counts, protocol: Protocol, name: str, scored: Flags | None = None) -> ClassSums:
    """What one of the `ratios` sums over images.

    Args:
        counts: of N images.
        protocol: under `level="image"` it is the mean over images of the ratio of each alone.
        name: of the ratio.
        scored: (N,) the images that have a scored pixel; None: all.
    """

    def fold(sums: Array) -> Array:
        hit, row, column = np.moveaxis(sums, -2, 0)
        return ratios(hit, row, column, protocol)[name]

    sums = ClassSums(counts.parts, fold)
    return sums if protocol.level == "dataset" else sums.image_by_image(scored)


def _pixel_accuracy(sums: Array) -> Array:
    hit, row, _ = np.split(sums, 3, axis=-1)
    return divide(hit.sum(axis=-1), row.sum(axis=-1))


def _frequency_weighted_iou(sums: Array) -> Array:
    """IoU weighted by how often the target holds each class (Long et al. 2015)."""
    hit, row, column = np.split(sums, 3, axis=-1)
    pixels = row.sum(axis=-1, keepdims=True)
    weighted = divide(row, pixels) * divide(hit, row + column - hit)
    return np.where(pixels[..., 0] > 0, total(np.where(row > 0, weighted, 0.0)), np.nan)


_OF_ALL_CLASSES = {"pa": _pixel_accuracy, "fwiou": _frequency_weighted_iou}


def _region(name: str, title: str, definition: str, overall: bool = True, per_class: bool = False) -> Metric:
    def sums(images: ScoredImages) -> ImageSums | ClassSums:
        return region_sums(images.counts, images.protocol, name, images.scored)

    moved_by = ("level", "mean_over", "absent", *(("f1",) if name == "f1" else ()))
    return Metric(
        name, title, definition, overall=overall, per_class=per_class, family="region", sums=sums, moved_by=moved_by
    )


_class_only = partial(_region, overall=False, per_class=True)
_both = partial(_region, per_class=True)
describe(
    _region("miou", "mIoU", "Mean over classes of the intersection over union."),
    _region("pa", "PA", "Pixel accuracy: the share of the scored pixels that are right."),
    _region("mpa", "mPA", "Mean over classes of the share of the class's pixels that are right."),
    _region("fwiou", "FWIoU", "IoU averaged over classes, weighted by their share of the target."),
    _class_only("iou", "IoU", "TP / (TP + FP + FN)."),
    _class_only("accuracy", "Acc", "TP / (TP + FN), the recall of a class."),
    _both("dice", "Dice", "2TP / (2TP + FP + FN)."),
    _both("precision", "Precision", "TP / (TP + FP)."),
    _both("recall", "Recall", "TP / (TP + FN)."),
    _region("f1", "F1", "Dice, or by the protocol the harmonic mean of precision and recall."),
)


def confusion_scores(
    confusion: NDArray[np.int64], protocol: Protocol
) -> tuple[dict[str, float | None], dict[str, list[float | None]]]:
    """The region scores that follow from a (K, K+1) confusion matrix: over classes, and of each class."""
    values, per_class = {}, {}
    for name, metric in METRICS.items():
        if metric.family != "region":
            continue
        sums = region_sums(Counts.of_matrix(confusion), protocol, name)
        if isinstance(sums, ClassSums):
            per_class[name] = [number(value) for value in sums.scores()]
            sums = sums.mean()
        values[name] = number(sums.score())
    return values, per_class


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
