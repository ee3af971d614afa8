"""What a metric is: a name with its title, direction, unit and definition, registered beside what computes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from harness.errors import UnknownName
from harness.metrics.sums import ClassSums, ImageSums, ScoredImages
from harness.utils.registry import Registry

# In the order in which tables show them.
Family = Literal[
    "region", "distance", "boundary", "trimap", "binary", "agreement", "structure", "calibration", "loss", "extra"
]

Sums = Callable[[ScoredImages], ImageSums | ClassSums]


@dataclass(frozen=True)
class Metric:
    """A metric: what it is called, and what it sums over images."""

    name: str
    """What suites, exports and the database call it: lower case, no spaces."""
    title: str
    """What tables call it."""
    definition: str
    """One sentence."""
    higher_is_better: bool = True
    unit: str = ""
    """`px` and the like; empty for shares and counts."""
    digits: int = 4
    """Decimals in tables. Figures are stored and compared at full precision."""
    overall: bool = True
    """Whether there is one figure over all classes."""
    per_class: bool = False
    """Whether there is one figure for each class."""
    foreground_only: bool = False
    """Whether it exists only for binary sets that name a foreground."""
    family: Family = "extra"
    sums: Sums | None = None
    """Gives the parts of each image and the fold of their sums: `ImageSums` for one figure, `ClassSums` for one of each
    class, whose mean is the figure over classes. Pure: the same statistics give the same bits. None for what is no
    figure of images."""
    moved_by: tuple[str, ...] = ()
    """Fields of the protocol that move it and need no label maps: an order is tried under their other values."""

    def sums_of(self, images: ScoredImages) -> ImageSums | ClassSums:
        """`sums` of some images.

        Raises:
            ValueError: there are none, or they are not of this form.
        """
        if self.sums is None:
            raise ValueError(f"{self.name} is no figure of images")
        found = self.sums(images)
        wanted = (ClassSums, 3) if isinstance(found, ClassSums) else (ImageSums, 2)
        if not isinstance(found, wanted[0]) or found.parts.ndim != wanted[1]:
            raise ValueError("its sums are neither ImageSums of (N, P) parts nor ClassSums of (N, Q, K)")
        if len(found.parts) != len(images.table.ids):
            raise ValueError(f"gave parts of {len(found.parts)} images for {len(images.table.ids)}")
        if self.per_class and (isinstance(found, ImageSums) or found.parts.shape[2] != images.num_classes):
            raise ValueError(f"gave no figure for each of {images.num_classes} classes")
        return found


METRICS: Registry[Metric] = Registry("metric", "harness.metrics.families", "segbench.metrics", "bench metrics")


def all_metrics() -> list[Metric]:
    """Every metric there is, in the order in which tables show them."""
    order = get_args(Family)
    return sorted((metric for _, metric in METRICS.items()), key=lambda metric: order.index(metric.family))


def describe(*metrics: Metric) -> None:
    """Register the metrics of a module."""
    for metric in metrics:
        METRICS.register(metric.name)(metric)


def is_share(name: str) -> bool:
    """Whether a metric's figures are shares, between 0 and 1, which are read as percent."""
    return find_metric(name).family in ("region", "boundary", "trimap", "binary")


def split_metric(name: str) -> tuple[str, str | None]:
    """`iou[horse]` -> (`iou`, `horse`); `miou` -> (`miou`, None)."""
    match = re.fullmatch(r"(\w+)\[(.+)\]", name)
    return (match[1], match[2]) if match else (name, None)


def find_metric(name: str) -> Metric:
    """The metric of a name, with or without a class in brackets.

    Raises:
        UnknownName: there is none; suggests the nearest.
    """
    return METRICS.get(split_metric(name)[0])


def is_known(name: str) -> bool:
    """Whether there is such a metric here: a database may hold scores of one that is not installed."""
    return split_metric(name)[0] in METRICS


def metric_title(name: str) -> str:
    """How a metric is headed: `mIoU`, `IoU[horse]`."""
    label = split_metric(name)[1]
    return find_metric(name).title + (f"[{label}]" if label is not None else "")


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric is the better one; False for distances and losses."""
    return find_metric(name).higher_is_better


def names_of(*families: Family) -> tuple[str, ...]:
    """The metrics of some families that have one figure over all classes."""
    return tuple(m.name for m in all_metrics() if m.family in families and m.overall)


def score_names(foreground: int | None) -> tuple[str, ...]:
    """The scores over all classes that a data set has; binary sets have more."""
    return tuple(
        m.name
        for m in all_metrics()
        if m.overall and m.family != "loss" and (foreground is not None or not m.foreground_only)
    )


def class_score_names() -> tuple[str, ...]:
    """The scores that every class has."""
    return tuple(m.name for m in all_metrics() if m.per_class)


def check_known(name: str, foreground: int | None, classes: Sequence[str]) -> str | None:
    """Why a data set does not have a metric; None if it has it.

    Args:
        name: the metric.
        foreground: of the data set.
        classes: of the data set.
    """
    base, label = split_metric(name)
    if label is None and base not in score_names(foreground):
        try:
            find_metric(base)
        except UnknownName as error:
            return error.message
        return f"the metric {name!r} does not exist over all classes of this data set"
    if label is not None and (base not in class_score_names() or label not in classes):
        return f"there is no metric {name!r}"
    return None
