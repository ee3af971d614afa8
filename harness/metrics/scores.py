"""Folding per-image statistics into scores: a pure function, exact until the last division.

Sums of whole numbers stay whole numbers; sums of distances use `math.fsum`, which rounds once, so that the
order of the images never moves a bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.confusion import sum_cells
from harness.metrics.exact import exact_mean, mean, number
from harness.metrics.families.binary import binary_scores
from harness.metrics.families.loss import batch_loss_scores
from harness.metrics.families.region import region_scores, region_values
from harness.metrics.families.surface import boundary_scores
from harness.metrics.families.trimap import trimap_ious
from harness.metrics.image_level import image_boundary_iou, image_counts, image_level_scores, image_region_scores
from harness.metrics.metric import all_metrics, class_score_names, names_of
from harness.metrics.protocol import Protocol
from harness.metrics.records import StatisticsTable


@dataclass(frozen=True)
class Scores:
    """The scores of a set of images.

    Every score is None where it is undefined. `values` holds one figure over classes for each of `score_names`,
    `per_class` K figures for each of `class_score_names` (see `harness.metrics.metric`).
    """

    values: dict[str, float | None]
    per_class: dict[str, list[float | None]]
    foreground: dict[str, float | None] | None
    """The scores of the class that counts in a binary set, over that class alone."""
    loss: float | None
    """Mean of the images' losses, where there are any."""
    image_level: dict[str, float | None]
    """Scores averaged over images, and over the worst of them: see `image_level.image_level_scores`."""
    trimap: dict[int, float | None]
    """mIoU inside the band of each radius."""
    variants: dict[str, dict[str, float | None]]
    """For each distance: `both` (images where both maps hold the class), `penalised` (missed and spurious
    cost the diagonal) and `fraction` (of the image diagonal)."""
    undefined: dict[str, int]
    """For each score of a class, how many of the classes that count are undefined."""
    missed: list[int]
    """For each class, the images whose target holds it and whose prediction lacks it."""
    spurious: list[int]
    """For each class, the images whose prediction holds it and whose target lacks it."""
    n_images: int
    """Images with at least one scored pixel."""
    skipped: int
    """Images without one."""
    protocol: dict[str, Any] = field(default_factory=dict)
    protocol_hash: str = ""
    batch_losses: list[float | None] = field(default_factory=list)
    """The loss of each batch of images, where the recipe keeps them."""
    problems: dict[str, str] = field(default_factory=dict)
    """Metrics of other packages that failed, and why; their figures are None."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, the figures over classes at the top level."""
        record = asdict(self)
        for name in ("batch_losses", "problems"):
            if not record[name]:
                del record[name]
        return {**record.pop("values"), **record}

    def details(self) -> dict[str, Any]:
        """Everything but `values` and `per_class`."""
        record = self.to_dict()
        return {name: value for name, value in record.items() if name != "per_class" and name not in self.values}


def fold(table: StatisticsTable, num_classes: int, protocol: Protocol, foreground: int | None = None) -> Scores:
    """Fold per-image statistics into scores.

    Args:
        table: the statistics, gathered under the same protocol.
        num_classes: K.
        protocol: the conventions.
        foreground: the class that counts in a binary set.

    Returns:
        The scores; an undefined one is None and counted under `undefined`.
    """
    scored = table.shape[:, 2] > 0
    confusion = dataset_confusion(table, num_classes)
    images = image_counts(table, num_classes)
    region = region_scores(confusion, protocol)
    overall = region_values(confusion, region)
    boundary, variants, missed, spurious = boundary_scores(table, num_classes, protocol)
    if protocol.level == "image":
        region, overall = image_region_scores(images, protocol)
        boundary["biou"] = np.array([exact_mean(column) for column in image_boundary_iou(table, num_classes).T])
    f1 = region.pop("f1")
    per_class = {**region, **boundary}
    counting = classes_that_count(num_classes, protocol)
    trimap = trimap_ious(table, num_classes, protocol)
    headline = trimap[protocol.trimap_headline]
    surface = names_of("distance", "boundary")
    values: dict[str, float | None] = {
        **overall,
        **{name: mean(per_class[name][counting]) for name in surface},
        "trimap_iou": mean(headline),
    }
    lists = {name: [number(v) for v in per_class[name]] for name in class_score_names() if name in per_class}
    of_foreground = None
    if foreground is not None:
        values |= binary_scores(table, confusion, foreground)
        of_foreground = {name: figures[foreground] for name, figures in lists.items()} | {
            "miou": lists["iou"][foreground],
            "fwiou": lists["iou"][foreground],
            "pa": lists["accuracy"][foreground],
            "mpa": lists["accuracy"][foreground],
            "f1": number(f1[foreground]),
            "trimap_iou": number(headline[foreground]),
        }
    extra = extra_scores(table, num_classes, protocol, foreground)
    return Scores(
        values=values | batch_loss_scores(table) | extra.values,
        per_class=lists | extra.per_class,
        foreground=of_foreground,
        loss=mean(table.loss),
        image_level=image_level_scores(table, images, protocol, counting),
        trimap={radius: mean(ious) for radius, ious in trimap.items()},
        variants={name: {kind: mean(v[counting]) for kind, v in kinds.items()} for name, kinds in variants.items()},
        undefined={
            name: int(np.isnan(figures[counting] if name in surface else figures).sum())
            for name, figures in ((name, per_class[name]) for name in lists)
        },
        missed=missed,
        spurious=spurious,
        n_images=int(scored.sum()),
        skipped=int((~scored).sum()),
        protocol=protocol.model_dump(mode="json"),
        protocol_hash=protocol.hash,
        batch_losses=[number(loss) for loss in table.batch_loss],
        problems=extra.problems,
    )


@dataclass(frozen=True)
class ExtraScores:
    """What the metrics of other packages give."""

    values: dict[str, float | None]
    per_class: dict[str, list[float | None]]
    problems: dict[str, str]


def extra_scores(
    table: StatisticsTable, num_classes: int, protocol: Protocol, foreground: int | None, names: Iterable[str] = ()
) -> ExtraScores:
    """Fold the metrics of other packages; one that fails is undefined, with its reason, and stops nothing.

    Args:
        table: the statistics.
        num_classes: K.
        protocol: the conventions.
        foreground: the class that counts in a binary set.
        names: only these; none: all.
    """
    found = ExtraScores({}, {}, {})
    wanted = set(names)
    for metric in all_metrics():
        name = metric.name
        if (wanted and name not in wanted) or (metric.foreground_only and foreground is None):
            continue
        try:
            if metric.compute is not None:
                value = metric.compute(table, num_classes, protocol, foreground)
                found.values[name] = None if value is None else number(float(value))
            if metric.compute_each is not None:
                each = metric.compute_each(table, num_classes, protocol, foreground)
                found.per_class[name] = _one_for_each(each, num_classes)
        except Exception as error:  # noqa: BLE001 (a stranger's function may raise anything)
            found.problems[name] = f"{type(error).__name__}: {error}"
            if metric.overall:
                found.values[name] = None
            if metric.per_class:
                found.per_class[name] = [None] * num_classes
    return found


def _one_for_each(figures: Sequence[float | None], num_classes: int) -> list[float | None]:
    if len(figures) != num_classes:
        raise ValueError(f"gave {len(figures)} figures for {num_classes} classes")
    return [None if value is None else number(float(value)) for value in figures]


def classes_that_count(num_classes: int, protocol: Protocol) -> NDArray[np.bool_]:
    """The classes inside the means of distances and boundary scores: all but the background, shape (K,)."""
    counting = np.ones(num_classes, dtype=bool)
    if protocol.background is not None and not protocol.background_in_boundary_means and num_classes > 1:
        counting[protocol.background] = False
    return counting


def dataset_confusion(table: StatisticsTable, num_classes: int) -> NDArray[np.int64]:
    """The confusion matrix of all images together, (K, K+1); column K: predictions out of range."""
    return sum_cells(table.confusion[:, 1], table.confusion[:, 2], table.confusion[:, 3], num_classes)
