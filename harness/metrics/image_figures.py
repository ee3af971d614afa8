"""A score for each image, from its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.metrics.families.region import ratios
from harness.metrics.image_level import image_boundary_iou, image_counts
from harness.metrics.protocol import Protocol
from harness.metrics.records import SURFACE_FLOATS, StatisticsTable
from harness.metrics.scores import classes_that_count

Figures = NDArray[np.float32]

# Scores of a class, named `iou[3]` by its number, and of the whole image.
OF_A_CLASS = ("iou", "dice", "biou", "hd", "hd95")
OF_AN_IMAGE = ("miou", "dice", "pa", "biou", "hd", "hd95", "loss")


def headline_figure(foreground: int | None) -> str:
    """The score of an image that belongs to the metric a data set is ranked by."""
    return "miou" if foreground is None else f"iou[{foreground}]"


def image_figures(
    table: StatisticsTable, num_classes: int, protocol: Protocol, metrics: Sequence[str]
) -> Mapping[str, Figures]:
    """Scores of each image, as `harness.results.frames` defines them.

    `miou` and `dice` are means over the classes that target or prediction holds, `biou`, `hd` and `hd95` over those of
    them that count and where they are defined.

    Args:
        table: the statistics.
        num_classes: K.
        protocol: says which classes count.
        metrics: their names as they are stored.

    Returns:
        For each, a figure for each of `table.ids`; NaN where it is undefined, or no pixel of the image was scored.
    """
    each: dict[str, NDArray[np.float64]] = {}
    counting = classes_that_count(num_classes, protocol)
    scored = table.shape[:, 2] > 0

    def by_class(name: str) -> NDArray[np.float64]:
        if name not in each:
            if name in ("iou", "dice"):
                each.update(_regions(table, num_classes, protocol, scored))
            elif name == "biou":
                each[name] = image_boundary_iou(table, num_classes)
            else:
                each[name] = _distances(table, num_classes, name)
        return each[name]

    found: dict[str, Figures] = {}
    for metric in metrics:
        name, bracket, index = metric.partition("[")
        if bracket:
            figures = by_class(name)[:, int(index.removesuffix("]"))]
        elif name == "loss":
            figures = table.loss
        elif name == "pa":
            by_class("iou")
            figures = each["pa"][:, 0]
        elif name in ("miou", "dice"):
            figures = _mean(by_class({"miou": "iou"}.get(name, name)))
        else:
            figures = _mean(by_class(name)[:, counting])
        found[metric] = np.where(scored, figures, np.nan).astype("<f4")
    return found


def _regions(
    table: StatisticsTable, num_classes: int, protocol: Protocol, scored: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    counts = image_counts(table, num_classes)
    plain = protocol.model_copy(update={"absent": "nan", "f1": "dice"})
    each = ratios(counts["hit"], counts["row"], counts["column"], plain)
    pixels = counts["row"].sum(axis=1, keepdims=True)
    parts = {"iou": each["iou"], "dice": each["dice"], "pa": counts["hit"].sum(axis=1, keepdims=True) / pixels}
    found = {name: np.full((len(scored), part.shape[1]), np.nan) for name, part in parts.items()}
    for name, part in parts.items():
        found[name][scored] = part
    return found


def _distances(table: StatisticsTable, num_classes: int, name: str) -> NDArray[np.float64]:
    found = np.full((len(table.ids), num_classes), np.nan)
    image, label = table.surface_integers[:, 0], table.surface_integers[:, 1]
    found[image, label] = table.surface_floats[:, SURFACE_FLOATS.index(name)]
    return found


def _mean(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the figures of each row that are defined; NaN of none."""
    defined = ~np.isnan(figures)
    count = defined.sum(axis=1)
    total = np.where(defined, figures, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
