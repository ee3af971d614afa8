"""A score as parts of each image and a fold of their weighted sums.

This one form gives everything that is asked of a score. With each image once it is the score of a data set, with other
weights that of a resample (so that thousands of resamples are one matrix product), with one image alone that of the
image, and under another protocol the figure of another convention.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.metrics.confidence import CONFIDENCE_BINS
from harness.metrics.exact import Array, defined_mean, divide
from harness.metrics.protocol import Protocol
from harness.metrics.records import SURFACE_FLOATS, SURFACE_INTEGERS, StatisticsTable

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ImageSums:
    """One figure of a set of images."""

    parts: Array
    """(N, P): what is summed, for each image."""
    fold: Callable[[Array], Array]
    """(..., P) sums -> (...) figures; NaN where undefined."""
    blocks: int = 1
    """`parts` is so many blocks side by side, each of one column a class: an image has few of them above 0."""
    figure: Callable[..., Array] | None = None
    """A block's sums of a class each -> the class's figure, where `fold` is the mean over the classes that have one."""

    def score(self) -> float:
        """The figure with each image once, rounded once; NaN where it is undefined."""
        return float(self.fold(exact_sums(self.parts)))


@dataclass(frozen=True)
class ClassSums:
    """A figure of each class."""

    parts: Array
    """(N, Q, K): what is summed, for each image and class."""
    fold: Callable[[Array], Array]
    """(..., Q, K) sums -> (..., K) figures, each class by itself: it is also given some of the classes only."""
    counting: Flags | None = None
    """(K,) the classes in the mean over classes; None: all."""

    def scores(self) -> Array:
        """(K,) the figures with each image once; NaN where undefined."""
        return self.fold(exact_sums(self.parts))

    def of(self, label: int) -> ImageSums:
        """The figure of one class."""
        return self._mean_over(np.arange(self.parts.shape[2]) == label)

    def mean(self) -> ImageSums:
        """The mean over the classes that count and have a figure."""
        return self._mean_over(self.counted)

    def image_by_image(self, scored: Flags | None = None) -> ClassSums:
        """The mean over images of the figure of each image alone.

        Args:
            scored: (N,) the images that have a scored pixel; None: all. The others are skipped.
        """
        each = self.fold(self.parts)
        return means(each if scored is None else np.where(scored[:, None], each, np.nan), self.counting)

    @property
    def counted(self) -> Flags:
        """(K,) the classes in the mean."""
        return np.ones(self.parts.shape[2], dtype=bool) if self.counting is None else self.counting

    def _mean_over(self, chosen: Flags) -> ImageSums:
        parts = self.parts[:, :, chosen]
        images, *shape = parts.shape

        def fold(sums: Array) -> Array:
            return defined_mean(self.fold(sums.reshape(*sums.shape[:-1], *shape)))

        def figure(*blocks: Array) -> Array:
            return self.fold(np.stack(blocks, axis=-2))

        return ImageSums(parts.reshape(images, math.prod(shape)), fold, shape[0], figure)


def exact_sums(parts: Array) -> Array:
    """(N, …) parts -> (…) sums over images, each rounded once: no order of the images moves a bit."""
    flat = parts.reshape(len(parts), math.prod(parts.shape[1:]))
    sums = flat.sum(axis=0)  # of whole numbers it is exact
    for column in np.flatnonzero((flat != np.floor(flat)).any(axis=0)):
        sums[column] = math.fsum(flat[:, column])
    return np.asarray(sums.reshape(parts.shape[1:]))


def quotients(top: Array, bottom: Array, counting: Flags | None = None) -> ClassSums:
    """For each class the quotient of two sums over images, both (N, K)."""
    return ClassSums(np.stack([top, bottom], axis=1), _quotient, counting)


def _quotient(sums: Array) -> Array:
    return divide(sums[..., 0, :], sums[..., 1, :])


def means(each: Array, counting: Flags | None = None) -> ClassSums:
    """For each class the mean over images of (N, K) figures, NaN where an image has none."""
    defined = ~np.isnan(each)
    return quotients(np.where(defined, each, 0.0), defined.astype(np.float64), counting)


def mean_of_images(each: Array) -> ImageSums:
    """The mean over images of (N,) figures, NaN where an image has none."""
    return means(each[:, None]).of(0)


@dataclass(frozen=True)
class Counts:
    """Pixels of each image and class: in both maps, in the target, in the prediction; each (N, K), whole numbers."""

    hit: Array
    row: Array
    column: Array

    @classmethod
    def of(cls, cells: NDArray[np.int64], images: int, num_classes: int) -> Counts:
        """Count the cells (image, target, prediction, pixels) of sparse matrices; predictions out of range miss."""
        image, true, guess, pixels = cells.T
        width = num_classes + 1

        def count(label: NDArray[np.int64], where: Flags | slice) -> Array:
            at = image[where] * width + label[where]
            found = np.bincount(at, weights=pixels[where], minlength=images * width)
            return np.asarray(found.reshape(images, width)[:, :-1], dtype=np.float64)

        return cls(count(true, true == guess), count(true, slice(None)), count(guess, slice(None)))

    @classmethod
    def of_matrix(cls, confusion: NDArray[np.int64]) -> Counts:
        """Those of one (K, K+1) confusion matrix, as of one image."""
        k = len(confusion)
        hit, row, column = np.diag(confusion[:, :k]), confusion.sum(axis=1), confusion[:, :k].sum(axis=0)
        return cls(*(part[None].astype(np.float64) for part in (hit, row, column)))

    @property
    def parts(self) -> Array:
        """(N, 3, K)"""
        return np.stack([self.hit, self.row, self.column], axis=1)


@dataclass(frozen=True)
class ScoredImages:
    """What a metric is made of: the statistics of N images, and what they are scored as."""

    table: StatisticsTable
    num_classes: int
    """K"""
    protocol: Protocol
    foreground: int | None = None
    """The class that counts in a binary set."""

    @cached_property
    def scored(self) -> Flags:
        """(N,) the images that have a scored pixel; the others count nowhere."""
        return self.table.shape[:, 2] > 0

    @cached_property
    def counts(self) -> Counts:
        """Pixels of each image and class."""
        return Counts.of(self.table.confusion, len(self.table.ids), self.num_classes)

    @cached_property
    def surfaces(self) -> dict[str, Array]:
        """The boundary statistics of each (image, class) that either map holds, as columns by name."""
        columns = zip(("image", *SURFACE_INTEGERS), self.table.surface_integers.T.astype(np.float64), strict=True)
        return dict(columns) | dict(zip(SURFACE_FLOATS, self.table.surface_floats.T, strict=True))

    @cached_property
    def confidences(self) -> Array:
        """(N, 2 bins): wrong, then right pixels of each image by the bin of their confidence."""
        image, place, right, pixels = self.table.confidence.T
        count, at = len(self.table.ids), (image * 2 + right) * CONFIDENCE_BINS + place
        found = np.bincount(at, weights=pixels, minlength=count * 2 * CONFIDENCE_BINS)
        return np.asarray(found.reshape(count, 2 * CONFIDENCE_BINS), dtype=np.float64)

    def spread(self, values: Array, where: Flags | slice = slice(None), fill: float = np.nan) -> Array:
        """(N, K) of a value for each row of `surfaces`; `fill` where there is none, or not `where`."""
        grid = np.full((len(self.table.ids), self.num_classes), fill)
        image, label = self.table.surface_integers[where, :2].T
        grid[image, label] = values[where]
        return grid

    @cached_property
    def counting(self) -> Flags:
        """(K,) the classes inside the means of distances and boundary scores: all but the background."""
        counting = np.ones(self.num_classes, dtype=bool)
        protocol = self.protocol
        if protocol.background is not None and not protocol.background_in_boundary_means and self.num_classes > 1:
            counting[protocol.background] = False
        return counting
