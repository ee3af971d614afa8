"""Scores of single images, averaged: an image counts as much as any other, however large its objects are."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.exact import Array, exact_mean, mean, number
from harness.metrics.families.region import ratios
from harness.metrics.families.surface import boundary_iou_sums
from harness.metrics.sums import ScoredImages

# Percent of the images that count as the worst.
WORST = (1, 5)
DECILES = range(10, 101, 10)


def image_level_scores(images: ScoredImages) -> dict[str, float | None]:
    """Scores averaged over images, after Wang et al., Revisiting Evaluation Metrics for Semantic Segmentation, 2023.

    `miou_i` (mIoU^I): mean over the classes an image holds, then over images. `miou_c` (mIoU^C): mean over the images
    that hold a class, then over classes. `miou_i_5` and `miou_c_5` are the same over the worst 5 % of the images (of a
    class), at least one of them, rounded up; `miou_i_q` and `miou_c_q` are the means of the worst 10, 20, … 100 %.
    Likewise for Dice. `biou_c` is Boundary IoU the second way, over the images that the protocol averages boundary
    scores over. A class that is absent from an image leaves its mean.
    """
    plain = images.protocol.model_copy(update={"absent": "nan", "f1": "dice"})
    hit, row, column = np.moveaxis(images.counts.parts[images.scored], 1, 0)
    each = ratios(hit, row, column, plain)
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
    scores["biou_c"] = number(boundary_iou_sums(images, "image").mean().score())
    return scores


def worst(ascending: Array, percent: int) -> float:
    """The mean of the lowest `percent` of some scores in ascending order, at least one of them; NaN of none."""
    count = -(-len(ascending) * percent // 100)
    return exact_mean(ascending[: max(1, count)])


def _defined(values: Array | list[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[~np.isnan(array)])
