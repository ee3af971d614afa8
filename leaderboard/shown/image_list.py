"""The scored images of a board in an order, with a score of each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import StatisticsTable
from harness.metrics.metric import higher_is_better
from harness.metrics.sums import Counts
from harness.scoring.keep import at_random
from leaderboard.queries.load import ImageScores
from leaderboard.shown.lists import figure_cell
from leaderboard.shown.ranking import TableData, table_data
from leaderboard.shown.text import heading

ORDERS = {
    "worst": "worst first",
    "best": "best first",
    "disagreement": "most disagreement",
    "small": "smallest objects",
    "large": "largest objects",
    "name": "by name",
    "random": "at random, always the same",
}


@dataclass(frozen=True)
class Images:
    """Images in an order."""

    ids: tuple[str, ...]
    figures: NDArray[np.float64]
    """(models, images), in the same order; NaN where undefined."""
    sizes: NDArray[np.float64] | None
    """(images,): the share of the pixels that objects, or the class, take; None where it is not known."""


def object_sizes(
    table: StatisticsTable, num_classes: int, background: int | None, label: int | None
) -> dict[str, float]:
    """Of each image the share of its true pixels that objects take, or one class.

    Args:
        table: the statistics of any run on these images: the truth is the same in all.
        num_classes: K.
        background: the class that is no object; None: there is none, and every image is full of objects.
        label: only this class.
    """
    scored = table.shape[:, 2] > 0  # the others are not counted
    true = Counts.of(table.confusion, len(table.ids), num_classes).row[scored]
    total = true.sum(axis=1)
    if label is not None:
        own = true[:, label]
    elif background is None:
        own = total
    else:
        own = total - true[:, background]
    share = np.divide(own, total, out=np.zeros(len(total)), where=total > 0)
    ids = [table.ids[i] for i in np.flatnonzero(scored)]
    return dict(zip(ids, map(float, share), strict=True))


def in_order(scores: ImageScores, order: str, sizes: Mapping[str, float] | None) -> Images:
    """The images in one of the orders; those without a score of any model are left out."""
    figures = scores.figures.astype(np.float64)
    known = ~np.isnan(figures).all(axis=0) if len(figures) else np.zeros(len(scores.ids), dtype=bool)
    places = np.flatnonzero(known)
    names = np.array(scores.ids, dtype=object)
    area = None if sizes is None else np.array([sizes.get(name, np.nan) for name in scores.ids])
    own = figures[:, places]
    if order in ("small", "large") and area is not None:
        key = area[places] if order == "small" else -area[places]
    elif order == "disagreement" and len(figures) > 1:
        key = -(np.nanmax(own, axis=0) - np.nanmin(own, axis=0))
    elif order == "name":
        key = np.arange(len(places), dtype=np.float64)
    elif order == "random":
        drawn = {name: at for at, name in enumerate(at_random(scores.ids))}
        key = np.array([drawn[str(name)] for name in names[places]], dtype=np.float64)
    else:
        mean = np.nanmean(own, axis=0)
        key = mean if (order != "best") == higher_is_better(scores.metric) else -mean
    ordered = places[np.argsort(key, kind="stable")]
    return Images(
        tuple(str(name) for name in names[ordered]), figures[:, ordered], None if area is None else area[ordered]
    )


def wins(figures: NDArray[np.float64], metric: str) -> tuple[int, int, int]:
    """On how many images the first of two models is better, as good, and worse."""
    both = ~np.isnan(figures[:2]).any(axis=0)
    first, second = figures[0, both], figures[1, both]
    better = int((first > second).sum())
    worse = int((first < second).sum())
    same = int((first == second).sum())
    return (better, same, worse) if higher_is_better(metric) else (worse, same, better)


def images_table(
    images: Images,
    names: Sequence[str],
    metric: str,
    current: str | None,
    pictured: frozenset[str] | None,
    link: Callable[[str], str],
) -> TableData:
    """The images as a table; a click opens one.

    Args:
        images: in their order.
        names: of the models.
        metric: the score.
        current: the image that is open.
        pictured: the images that can be shown; None: all.
        link: where the page of an image is.
    """
    columns: list[dict[str, Any]] = [
        {"id": "image", "title": "Image", "head": True},
        *(
            {"id": f"model-{n}", "title": f"{'ABCD'[n]}", "help": name, "num": True,
             "better": 1 if higher_is_better(metric) else -1}
            for n, name in enumerate(names[:4])
        ),
    ]  # fmt: skip
    if images.sizes is not None:
        columns.append({"id": "size", "title": "Object", "num": True, "help": "Share of the image"})
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(images.ids):
        cells = {"image": {"t": name, "v": name, "weak": pictured is not None and name not in pictured}}
        for n in range(min(4, len(names))):
            value = float(images.figures[n, at])
            cells[f"model-{n}"] = figure_cell(metric, None if np.isnan(value) else value)
        if images.sizes is not None:
            size = float(images.sizes[at])
            cells["size"] = {"t": f"{100 * size:.1f} %", "v": size}
        rows.append(
            {"id": name, "name": name, "search": name, "link": link(name), "current": name == current, "cells": cells}
        )
    return table_data(
        f"images-{metric}",
        columns,
        rows,
        name="Images",
        caption=f"{heading(metric)} of each image",
        searchable=len(rows) > 12,
        searchLabel="Search images",
        height="26rem",
        limit=60,
    )
