"""A score for each image: what a metric gives on that image alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.metrics.exact import Array
from harness.metrics.metric import METRICS, split_metric
from harness.metrics.sums import ClassSums, ScoredImages

# A class that an image lacks has no score there, whatever the protocol gives it.
_ALONE = {"level": "image", "absent": "nan", "f1": "dice"}


def headline_figure(foreground: int | None) -> str:
    """The score of an image that belongs to the metric a data set is ranked by."""
    return "miou" if foreground is None else f"iou[{foreground}]"


def has_image_figures(metric: str) -> bool:
    """Whether single images have a score: of a metric, or of a class, named `iou[3]` by its number."""
    name, label = split_metric(metric)
    if name not in METRICS or METRICS.get(name).sums is None:
        return False
    return METRICS.get(name).overall if label is None else METRICS.get(name).per_class


def alone(images: ScoredImages) -> ScoredImages:
    """The same images, each scored by itself."""
    return replace(images, protocol=images.protocol.model_copy(update=_ALONE))


def class_figures(images: ScoredImages, metric: str) -> Array:
    """(N, K) the score of each class in each image that is scored `alone`; NaN where it is undefined.

    Raises:
        ValueError: the metric has no score of a class.
    """
    sums = METRICS.get(metric).sums_of(images)
    if not isinstance(sums, ClassSums):
        raise ValueError(f"{metric} is no score of a class")
    return sums.fold(sums.parts)


def image_figures(images: ScoredImages, metrics: Sequence[str]) -> Mapping[str, Array]:
    """Scores of each image.

    Args:
        images: their statistics.
        metrics: the scores; of a class by its number, `iou[3]`.

    Returns:
        For each, (N,) figures; NaN where it is undefined, or no pixel of the image was scored.
    """
    images, found = alone(images), {}
    for metric in metrics:
        name, label = split_metric(metric)
        sums = METRICS.get(name).sums_of(images)
        if isinstance(sums, ClassSums):
            sums = sums.mean() if label is None else sums.of(int(label))
        found[metric] = np.where(images.scored, sums.fold(sums.parts), np.nan)
    return found
