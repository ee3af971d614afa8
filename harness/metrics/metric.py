"""What a metric is: a name with its title, direction, unit and definition, registered beside what computes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from harness.errors import UnknownName
from harness.metrics.protocol import Protocol
from harness.metrics.records import StatisticsTable
from harness.utils.registry import Registry

# In the order in which tables show them.
Family = Literal["region", "distance", "boundary", "trimap", "binary", "loss", "extra"]

# (statistics, K, protocol, the foreground of a binary set) -> a figure, or one for each class; None is undefined.
Compute = Callable[[StatisticsTable, int, Protocol, int | None], float | None]
ComputeEach = Callable[[StatisticsTable, int, Protocol, int | None], Sequence[float | None]]


@dataclass(frozen=True)
class Metric:
    """A metric. A metric of yours has `compute` or `compute_each`; those of the project are computed by families."""

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
    compute: Compute | None = None
    """Folds the statistics of a set of images into one figure. Pure: the same statistics give the same bits."""
    compute_each: ComputeEach | None = None
    """The same for a figure of each class, in their order."""


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
