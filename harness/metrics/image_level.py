"""Scores of single images, averaged: an image counts as much as any other, however large its objects are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array, divide, exact_mean, mean, number
from harness.metrics.families.region import ratios
from harness.metrics.protocol import Protocol
from harness.metrics.records import StatisticsTable

# Percent of the images that count as the worst.
WORST = (1, 5)
DECILES = range(10, 101, 10)

Counts = dict[str, NDArray[np.int64]]


def image_counts(table: StatisticsTable, num_classes: int) -> Counts:
    """For each image and class the pixels in both maps (`hit`), the target (`row`) and the prediction (`column`).

    Each is (N, K), of the images that have a scored pixel.
    """
    n = len(table.ids)
    image, true, guess, pixels = table.confusion.T
    row, column, hit = (np.zeros((n, num_classes + 1), dtype=np.int64) for _ in range(3))
    np.add.at(row, (image, true), pixels)
    np.add.at(column, (image, guess), pixels)
    same = true == guess
    np.add.at(hit, (image[same], true[same]), pixels[same])
    scored = table.shape[:, 2] > 0
    return {name: part[scored, :-1] for name, part in (("hit", hit), ("row", row), ("column", column))}


def image_region_scores(counts: Counts, protocol: Protocol) -> tuple[dict[str, Array], dict[str, float | None]]:
    """The region scores under `level="image"`.

    Returns:
        For each score K means over the images where it is defined; and the scores over classes, of which pixel accuracy
        and frequency-weighted IoU are means over images.
    """
    each = ratios(counts["hit"], counts["row"], counts["column"], protocol)
    per_class = {name: np.array([exact_mean(column) for column in table.T]) for name, table in each.items()}
    share = divide(counts["row"], counts["row"].sum(axis=1, keepdims=True))
    iou = divide(counts["hit"], counts["row"] + counts["column"] - counts["hit"])
    weighted = np.where(counts["row"] > 0, share * iou, 0.0)
    overall = {
        "miou": mean(per_class["iou"]),
        "pa": mean(divide(counts["hit"].sum(axis=1), counts["row"].sum(axis=1))),
        "mpa": mean(per_class["accuracy"]),
        "fwiou": mean([math.fsum(row) for row in weighted]),
        **{name: mean(per_class[name]) for name in ("dice", "precision", "recall", "f1")},
    }
    return per_class, overall


def image_boundary_iou(table: StatisticsTable, num_classes: int) -> Array:
    """Boundary IoU of each image and class, (N, K); NaN where the target lacks the class."""
    image, label, intersection, union = table.surface_integers.T
    in_target = table.surface_floats[:, 1] > 0
    scores = np.full((len(table.ids), num_classes), np.nan)
    scores[image[in_target], label[in_target]] = divide(intersection, union)[in_target]
    return scores


def image_level_scores(
    table: StatisticsTable, counts: Counts, protocol: Protocol, counting: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Scores averaged over images, after Wang et al., Revisiting Evaluation Metrics for Semantic Segmentation, 2023.

    `miou_i` (mIoU^I): mean over the classes an image holds, then over images. `miou_c` (mIoU^C): mean over the images
    that hold a class, then over classes. `miou_i_5` and `miou_c_5` are the same over the worst 5 % of the images (of a
    class), at least one of them, rounded up; `miou_i_q` and `miou_c_q` are the means of the worst 10, 20, … 100 %.
    Likewise for Dice. `biou_c` is Boundary IoU the second way, over images whose target holds the class.

    Args:
        table: the statistics.
        counts: what `image_counts` makes of them.
        protocol: supplies `mean_over`; a class that is absent from an image leaves its mean.
        counting: (K,) the classes in the means of boundary scores.
    """
    plain = protocol.model_copy(update={"absent": "nan", "f1": "dice"})
    each = ratios(counts["hit"], counts["row"], counts["column"], plain)
    scores: dict[str, float | None] = {}
    for name, figures in (("miou", each["iou"]), ("dice", each["dice"])):
        by_image = [_defined([exact_mean(row) for row in figures])]
        by_class = [_defined(column) for column in figures.T]
        for end, groups in (("i", by_image), ("c", by_class)):
            scores[f"{name}_{end}"] = mean([worst(group, 100) for group in groups])
            for percent in WORST:
                scores[f"{name}_{end}_{percent}"] = mean([worst(group, percent) for group in groups])
            deciles = [mean([worst(group, percent) for group in groups]) for percent in DECILES]
            scores[f"{name}_{end}_q"] = number(exact_mean([math.nan if d is None else d for d in deciles]))
    biou = image_boundary_iou(table, len(counting))
    scores["biou_c"] = mean([exact_mean(column) for column in biou.T[counting]])
    return scores


def worst(ascending: Array, percent: int) -> float:
    """The mean of the lowest `percent` of some scores in ascending order, at least one of them; NaN of none."""
    count = -(-len(ascending) * percent // 100)
    return exact_mean(ascending[: max(1, count)])


def _defined(values: Array | list[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[~np.isnan(array)])
