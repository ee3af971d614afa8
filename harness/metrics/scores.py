"""Folding per-image statistics into scores: a pure function, exact until the last division.

Every sum over images is rounded once (`harness.metrics.sums`), so that their order never moves a bit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from harness.metrics.exact import defined_mean, mean, number
from harness.metrics.families.loss import batch_loss_scores
from harness.metrics.families.surface import distance_sums, missed_and_spurious
from harness.metrics.families.trimap import trimap_sums
from harness.metrics.image_level import image_level_scores
from harness.metrics.metric import all_metrics, names_of
from harness.metrics.protocol import Protocol
from harness.metrics.records import StatisticsTable
from harness.metrics.sums import ClassSums, ScoredImages

# What else is kept of each distance: the images it is averaged over, and its unit.
_VARIANTS = {
    "both": ("both", "spacing"),
    "penalised": ("union", "spacing"),
    "fraction": ("target", "diagonal"),
}


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
    images = ScoredImages(table, num_classes, protocol, foreground)
    found = figures_of(images)
    missed, spurious = missed_and_spurious(images)
    variants = {
        name: {kind: _over_classes(distance_sums(images, name, *how)) for kind, how in _VARIANTS.items()}
        for name in names_of("distance")
    }
    trimap = {radius: _over_classes(trimap_sums(images, radius)) for radius in protocol.trimap_radii}
    return Scores(
        values=found.values | batch_loss_scores(table),
        per_class=found.per_class,
        foreground=None if foreground is None else found.of_class(foreground),
        loss=mean(table.loss),
        image_level=image_level_scores(images),
        trimap=trimap,
        variants=variants,
        undefined=found.undefined,
        missed=missed,
        spurious=spurious,
        n_images=int(images.scored.sum()),
        skipped=int((~images.scored).sum()),
        protocol=protocol.model_dump(mode="json"),
        protocol_hash=protocol.hash,
        batch_losses=[number(loss) for loss in table.batch_loss],
        problems=found.problems,
    )


def _over_classes(sums: ClassSums) -> float | None:
    return number(sums.mean().score())


@dataclass(frozen=True)
class Figures:
    """The figures of metrics, by name; None where undefined."""

    values: dict[str, float | None] = field(default_factory=dict)
    each: dict[str, list[float | None]] = field(default_factory=dict)
    """K figures of every metric that has one for each class, shown or not."""
    per_class: dict[str, list[float | None]] = field(default_factory=dict)
    """Of those, the scores of a class."""
    undefined: dict[str, int] = field(default_factory=dict)
    """How many of the classes that count have no such score."""
    problems: dict[str, str] = field(default_factory=dict)

    def of_class(self, label: int) -> dict[str, float | None]:
        """Every score under its usual name for one class alone."""
        found = {name: figures[label] for name, figures in self.each.items()}
        return found | {"pa": found["accuracy"], "fwiou": found["iou"]}


def figures_of(images: ScoredImages, names: Collection[str] = ()) -> Figures:
    """Fold metrics; one of another package that fails is undefined, with its reason, and stops nothing.

    Args:
        images: the statistics.
        names: only these; none: all but losses.
    """
    found = Figures()
    for metric in all_metrics():
        name = metric.name
        if metric.family == "loss" or (names and name not in names):
            continue
        if metric.foreground_only and images.foreground is None:
            continue
        try:
            sums = metric.sums_of(images)
            if isinstance(sums, ClassSums):
                figures = sums.scores()
                value = float(defined_mean(figures[sums.counted]))
                found.each[name] = [number(float(figure)) for figure in figures]
                if metric.per_class:
                    found.per_class[name] = found.each[name]
                    found.undefined[name] = int(np.isnan(figures[sums.counted]).sum())
            else:
                value = sums.score()
            if metric.overall:
                found.values[name] = number(value)
        except Exception as error:
            if metric.family != "extra":
                raise
            # A stranger's function may raise anything.
            found.problems[name] = f"{type(error).__name__}: {error}"
            if metric.overall:
                found.values[name] = None
            if metric.per_class:
                found.per_class[name] = [None] * images.num_classes
    return found
