"""Scores of a data set as functions of sums over images: what makes thousands of resamples affordable.

Images that count twice only count twice in those sums, so that a resample costs one row of a matrix product. With each
image once a score is `harness.metrics.fold`'s (see `harness.metrics.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.metric import METRICS, split_metric
from harness.metrics.sums import ClassSums, ImageSums, ScoredImages


def why_not(metric: str) -> str:
    """Why a metric has no interval over images; empty if it has one."""
    name = split_metric(metric)[0]
    if name not in METRICS:
        return f"{metric} is a metric of a package that is not installed here"
    if METRICS.get(name).sums is None:
        return f"{metric} is a figure of batches, and batches are no sample of images"
    return ""


def image_sums(
    table: StatisticsTable,
    classes: Sequence[str],
    protocol: Protocol,
    metric: str,
    foreground: int | None = None,
) -> ImageSums:
    """What a metric sums over the images of a table, in the table's order.

    Args:
        table: the statistics of N images.
        classes: the K classes.
        protocol: the conventions.
        metric: a name such as `miou`, `iou[horse]` or `hd95`.
        foreground: the class that counts in a binary set.

    Raises:
        ValueError: the metric has no such form (`why_not` says why), or is of another package and fails.
    """
    if reason := why_not(metric):
        raise ValueError(reason)
    name, label = split_metric(metric)
    try:
        sums = METRICS.get(name).sums_of(ScoredImages(table, len(classes), protocol, foreground))
        if isinstance(sums, ClassSums):
            sums = sums.mean() if label is None else sums.of(classes.index(label))
        sums.score()
    except Exception as error:  # a stranger's function may raise anything
        raise ValueError(f"{metric} cannot be computed: {error}") from error
    return sums
