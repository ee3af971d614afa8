"""Scores of a data set as functions of sums over images: what makes thousands of resamples affordable.

Each score that `harness.metrics.fold` gives is a function of sums over images: of pixels, of boundary lengths, of
distances and of how many images have one. Images that count twice only count twice in those sums, so that a resample
costs one row of a matrix product. With each image once a score equals fold's to the last rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.exact import Array, divide
from harness.metrics.families.region import ratios
from harness.metrics.families.surface import image_boundary_f, image_distances, image_nsd, surface_columns
from harness.metrics.histogram import BINS
from harness.metrics.image_level import image_boundary_iou
from harness.metrics.metric import METRICS, split_metric
from harness.metrics.scores import classes_that_count

# Which images a distance is averaged over, and what one costs where a map lacks the class. `charged`: a missed class
# costs the diagonal; the others are `variants` of the scores (`harness.metrics.scores.Scores`).
Variant = Literal["charged", "both", "penalised", "fraction"]

# The scores over classes that average a score of each class.
_MEAN_OF = {"miou": "iou", "mpa": "accuracy", "trimap_iou": "iou"}


@dataclass(frozen=True)
class ImageSums:
    """A score as a function of sums over images."""

    parts: Array
    """(N, P): what is summed, for each image."""
    fold: Callable[[Array], Array]
    """(..., P) sums -> (...) scores; NaN where a score is undefined."""
    blocks: int = 1
    """`parts` is so many blocks side by side, each of one column a class: an image has few of them above 0."""
    figure: Callable[..., Array] | None = None
    """A block's sums of a class each -> the class's figure, where `fold` is the mean over the classes that have one."""


def why_not(metric: str) -> str:
    """Why a metric has no interval over images; empty if it has one."""
    name = split_metric(metric)[0]
    if name not in METRICS:
        return f"{metric} is a metric of a package that is not installed here"
    family = METRICS.get(name).family
    if family == "extra":
        return f"{metric} is a metric of another package, which is not known to be a function of sums over images"
    if family == "loss" and name != "loss":
        return f"{metric} is a figure of batches, and batches are no sample of images"
    return ""


def image_sums(
    table: StatisticsTable,
    classes: Sequence[str],
    protocol: Protocol,
    metric: str,
    foreground: int | None = None,
    variant: Variant = "charged",
) -> ImageSums:
    """What a metric sums over the images of a table, in the table's order.

    Args:
        table: the statistics of N images.
        classes: the K classes.
        protocol: the conventions under which they were gathered.
        metric: a name such as `miou`, `iou[horse]` or `hd95`.
        foreground: the class that counts in a binary set.
        variant: of a distance.

    Raises:
        ValueError: the metric has no such form; `why_not` says why.
    """
    if reason := why_not(metric):
        raise ValueError(reason)
    name, label = split_metric(metric)
    family = METRICS.get(name).family
    chosen = slice(None) if label is None else slice(classes.index(label), classes.index(label) + 1)
    counting = classes_that_count(len(classes), protocol) if label is None else np.ones(1, dtype=bool)
    if family == "region":
        counts = Counts.of(table.confusion, len(table.ids), len(classes), chosen)
        make = _region_by_image if protocol.level == "image" else region_sums
        return make(counts, protocol, name, table.shape[:, 2] > 0)
    if family == "trimap":
        index = protocol.trimap_radii.index(protocol.trimap_headline)
        band = table.trimap[table.trimap[:, 1] == index][:, [0, 2, 3, 4]]
        return region_sums(Counts.of(band, len(table.ids), len(classes), chosen), protocol, name)
    if family == "binary":
        return _binary(table, len(classes), name, foreground)
    if family == "loss":
        return means(table.loss[:, None], np.ones(1, dtype=bool))
    return _surface(table, len(classes), protocol, name, chosen, counting, variant)


@dataclass(frozen=True)
class Counts:
    """Pixels of each image and class: in both maps, in the target, in the prediction; each (N, K)."""

    hit: Array
    row: Array
    column: Array

    @classmethod
    def of(cls, cells: NDArray[np.int64], images: int, num_classes: int, chosen: slice) -> Counts:
        """Count the cells (image, target, prediction, pixels) of sparse matrices; predictions out of range miss."""
        image, true, guess, pixels = cells.T
        width = num_classes + 1

        def count(label: NDArray[np.int64], where: NDArray[np.bool_] | slice) -> Array:
            at = image[where] * width + label[where]
            found = np.bincount(at, weights=pixels[where], minlength=images * width)
            return np.asarray(found.reshape(images, width)[:, :-1][:, chosen], dtype=np.float64)

        return cls(count(true, true == guess), count(true, slice(None)), count(guess, slice(None)))


def region_sums(counts: Counts, protocol: Protocol, name: str, scored: NDArray[np.bool_] | None = None) -> ImageSums:
    """Ratios of sums of pixels; a class that a resample lacks leaves its mean as it leaves that of a data set."""

    def fold(sums: Array) -> Array:
        hit, row, column = np.split(sums, 3, axis=-1)
        if name == "pa":
            return divide(hit.sum(axis=-1), row.sum(axis=-1))
        iou = np.nan_to_num(divide(hit, row + column - hit))
        return divide((row * iou).sum(axis=-1), row.sum(axis=-1))

    def figure(hit: Array, row: Array, column: Array) -> Array:
        return ratios(hit, row, column, protocol)[_MEAN_OF.get(name, name)]

    blocks = (counts.hit, counts.row, counts.column)
    return ImageSums(np.hstack(blocks), fold, 3) if name in ("pa", "fwiou") else _mean_over_classes(blocks, figure)


def _mean_over_classes(blocks: Sequence[Array], figure: Callable[..., Array]) -> ImageSums:
    """The mean over classes of a figure of each; blocks are (N, K)."""

    def fold(sums: Array) -> Array:
        return defined_mean(figure(*np.split(sums, len(blocks), axis=-1)))

    return ImageSums(np.hstack(blocks), fold, len(blocks), figure)


def _region_by_image(counts: Counts, protocol: Protocol, name: str, scored: NDArray[np.bool_]) -> ImageSums:
    """The region scores under `level="image"`: means over images of a figure of each image."""
    hit, row, column = counts.hit, counts.row, counts.column
    every = np.ones(1, dtype=bool)
    if name == "pa":
        return means(divide(hit.sum(axis=1), row.sum(axis=1))[:, None], every)
    if name == "fwiou":
        iou = np.nan_to_num(divide(hit, row + column - hit))
        return means(divide((row * iou).sum(axis=1), row.sum(axis=1))[:, None], every)
    each = ratios(hit, row, column, protocol)[_MEAN_OF.get(name, name)]
    # An image without a scored pixel is skipped, also where absent classes are given a figure.
    return means(np.where(scored[:, None], each, np.nan), np.ones(each.shape[1], dtype=bool))


def means(each: Array, counting: NDArray[np.bool_]) -> ImageSums:
    """The mean over classes of the means over images of (N, K) figures, NaN where an image has none."""
    return _quotients(np.nan_to_num(each), (~np.isnan(each)).astype(np.float64), counting)


def _quotients(top: Array, bottom: Array, counting: NDArray[np.bool_]) -> ImageSums:
    """The mean over the classes that count of a quotient of two sums over images, each (N, K)."""
    return _mean_over_classes((top[:, counting], bottom[:, counting]), divide)


def _surface(
    table: StatisticsTable,
    num_classes: int,
    protocol: Protocol,
    name: str,
    chosen: slice,
    counting: NDArray[np.bool_],
    variant: Variant,
) -> ImageSums:
    """Distances and boundary scores; see `harness.metrics.families.surface.boundary_scores`."""
    s = surface_columns(table)
    image, label = table.surface_integers[:, 0], table.surface_integers[:, 1]

    def spread(values: Array, where: NDArray[np.bool_], fill: float = np.nan) -> Array:
        grid = np.full((len(table.ids), num_classes), fill)
        grid[image[where], label[where]] = values[where]
        return grid[:, chosen]

    every = np.ones(len(image), dtype=bool)
    in_target = s["edge_target"] > 0
    both = in_target & (s["edge_prediction"] > 0)
    if name == "biou":
        if protocol.level == "image":
            return means(image_boundary_iou(table, num_classes)[:, chosen], counting)
        top, bottom = (spread(s[part], every, 0.0) for part in ("band_intersection", "band_union"))
        return _quotients(top, bottom, counting)
    if name == "nsd":
        return means(spread(np.where(both, image_nsd(s), 0.0), in_target), counting)
    if name == "bf":
        f = image_boundary_f(s)
        if protocol.bf != "davis":
            return means(spread(f, s["bf_edge_target"] > 0), counting)
        scored = (table.shape[:, 2] > 0)[:, None]
        return means(np.where(scored, spread(f, every, 1.0), np.nan), counting)
    side = np.hypot(table.shape[:, 0] * protocol.spacing[0], table.shape[:, 1] * protocol.spacing[1])
    diagonal = side[image]
    distance = image_distances(s)[name]
    charged = np.where(both, distance, diagonal)
    values, where = {
        "charged": (charged, in_target),
        "both": (distance, both),
        "penalised": (charged, every),
        "fraction": (charged / diagonal, in_target),
    }[variant]
    return means(spread(values, where), counting)


def _binary(table: StatisticsTable, num_classes: int, name: str, foreground: int | None) -> ImageSums:
    """AUC, sensitivity and specificity; see `harness.metrics.families.binary.binary_scores`."""
    if foreground is None:
        raise ValueError(f"{name} exists only for data sets that name a foreground")
    if name == "auc":
        return _auc(table)
    every = Counts.of(table.confusion, len(table.ids), num_classes, slice(None))
    f = foreground
    found, true, guessed = every.hit[:, f], every.row[:, f], every.column[:, f]
    others = every.row.sum(axis=1) - true
    top, bottom = (found, true) if name == "sensitivity" else (others - (guessed - found), others)
    return _quotients(top[:, None], bottom[:, None], np.ones(1, dtype=bool))


def _auc(table: StatisticsTable) -> ImageSums:
    image, place, positive, pixels = table.histogram.T
    at = (image * 2 + positive) * BINS + place
    parts = np.bincount(at, weights=pixels, minlength=len(table.ids) * 2 * BINS).reshape(-1, 2 * BINS)

    def fold(sums: Array) -> Array:
        others, found = np.split(sums, 2, axis=-1)
        below = np.cumsum(others, axis=-1) - others
        ordered = (found * (2 * below + others)).sum(axis=-1)
        return divide(ordered, 2 * others.sum(axis=-1) * found.sum(axis=-1))

    return ImageSums(np.asarray(parts, dtype=np.float64), fold)


def defined_mean(values: Array) -> Array:
    """The mean along the last axis of what is not NaN; NaN of nothing."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
