"""The bootstrap over images: the same resamples for every row of a board, and scores computed anew on each.

A resample draws as many images as there are, with replacement; where images come in groups (patients, drives, cities),
as many groups. All rows see the same resamples, so that differences between rows are paired. Efron and Tibshirani, An
Introduction to the Bootstrap, 1993; groups: Field and Welsh, Bootstrapping clustered data, JRSS B 2007.

A class that a resample lacks is treated as the protocol treats a class that a data set lacks: it leaves the mean over
classes (or has the figure that the protocol gives it). The figure of a single class is undefined on such a resample,
which is then left out; where that is more than one resample in twenty, the class has no interval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from harness.metrics.exact import Array, divide
from harness.metrics.statistics import has_kernels
from harness.metrics.sums import ImageSums
from leaderboard.stats.permutation import FEW

# Of each board.
RESAMPLES = 2000
# Fewer groups say too little of the spread between groups, fewer images of that between images: nothing is claimed.
FEWEST_UNITS = 10
# The share of resamples on which a figure may be undefined.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Resamples:
    """How often each image, or group of images, is drawn in each resample."""

    ids: tuple[str, ...]
    """The N images, in the order that `unit_of` follows."""
    unit_of: NDArray[np.int64]
    """(N,): which unit an image belongs to."""
    counts: NDArray[np.uint8]
    """(B, U): how often a unit was drawn; they sum to U. (0, U) where nothing is claimed."""
    unit: str
    """What is drawn: `image` or `group`."""
    why_not: str
    """Why they say nothing of other images; empty if they do."""

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.counts.shape[1])

    @property
    def text(self) -> str:
        """`2,000 resamples of 1,449 images`; empty where nothing is drawn."""
        return f"{len(self.counts):,} resamples of {self.units:,} {self.unit}s" if len(self.counts) else ""


def resamples(ids: Sequence[str], groups: Sequence[str], manifest: str, count: int = RESAMPLES) -> Resamples:
    """Draw the resamples of a board.

    Of fewer than ten groups nothing is drawn. Images of one group are alike, so that drawing images takes the luck of
    five groups for a difference between models: simulated boards of equal rows claimed one in 91 to 99 %.

    Args:
        ids: the images.
        groups: the group of each image; () where there are none.
        manifest: what the draws are seeded by: the hash of the scored images, so that everything that shows this board
            shows the same intervals.
        count: B.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    names = [groups[i] for i in order] if groups else []
    found = sorted(set(names))
    by_group = len(found) >= FEWEST_UNITS
    place = {name: index for index, name in enumerate(found)}
    unit_of = np.array([place[name] for name in names] if by_group else range(len(order)), dtype=np.int64)
    why_not = ""
    if found and not by_group:
        few = "groups" if len(found) > 1 else "group"
        why_not = (
            f"the images are of only {len(found)} {few} (patients, drives, cities), and fewer than {FEWEST_UNITS} "
            "say nothing of others"
        )
        count = 0
    units = len(found) if by_group else len(order)
    seed = int.from_bytes(hashlib.sha256(f"resamples of {manifest}".encode()).digest()[:16], "big")
    rng = np.random.Generator(np.random.PCG64(seed))
    # One after the other: all indices at once would take eight times the memory of the counts.
    counts = np.zeros((count, units), dtype=np.uint8)
    for one in counts:
        one[:] = np.bincount(rng.integers(0, units, size=units), minlength=units)
    return Resamples(tuple(ids[i] for i in order), unit_of, counts, "group" if by_group else "image", why_not)


@dataclass(frozen=True)
class RunDraws:
    """A score of one run on the resamples, and what each image, or group of images, does to it."""

    scores: Array
    """(B,): on each resample; NaN where it is undefined."""
    influence: Array
    """(U,): the score minus the score without the unit; 0 where that is undefined."""
    each: Array
    """(U,): the score of the unit alone; NaN where it is undefined."""
    parts: Array | None = None
    """(U, P): what the score sums, where there are so few units that they are permuted."""

    @classmethod
    def mean(cls, runs: Sequence[RunDraws]) -> RunDraws:
        """The mean over runs: of a cell over its seeds."""
        parts = [run.parts for run in runs if run.parts is not None]
        return cls(
            np.mean([run.scores for run in runs], axis=0),
            np.mean([run.influence for run in runs], axis=0),
            np.mean([run.each for run in runs], axis=0),
            np.mean(parts, axis=0) if parts else None,
        )


def run_draws(sums: ImageSums, ids: Sequence[str], drawn: Resamples, products: Products | None = None) -> RunDraws:
    """Score a run on each resample.

    Args:
        sums: what is summed, for each image of `ids`.
        ids: the images of the statistics; those that the resamples do not know are left out.
        drawn: the resamples.
        products: of these resamples, the same for one run after the other, which is faster.

    Raises:
        KeyError: an image of the resamples is not among `ids`.
    """
    products, parts = products or Products(drawn), sums.parts
    if tuple(ids) != drawn.ids:
        place = {name: index for index, name in enumerate(ids)}
        parts = parts[[place[name] for name in drawn.ids]]
    if drawn.unit == "group":
        together = np.zeros((drawn.units, parts.shape[1]))
        np.add.at(together, drawn.unit_of, parts)
        parts = together
    total, cells = parts.sum(axis=0), Cells.of(parts, sums.blocks)
    influence = np.nan_to_num(sums.fold(total) - _one_by_one(sums, parts, cells, total, -1))
    each = _one_by_one(sums, parts, cells, np.zeros_like(total), 1)
    return RunDraws(sums.fold(products.of(parts, cells)), influence, each, parts if len(parts) < FEW else None)


@dataclass(frozen=True)
class Cells:
    """The sums of units and classes of which one is above 0: of 150 classes an image holds ten."""

    shape: tuple[int, int, int]
    """U units, M blocks, K classes."""
    unit: NDArray[np.int64]
    """(C,)"""
    label: NDArray[np.int64]
    """(C,) ascending."""
    sums: Array
    """(C, M)"""

    @classmethod
    def of(cls, parts: Array, blocks: int) -> Cells:
        """Find the cells of (U, P) parts."""
        each = parts.reshape(len(parts), blocks, -1)
        label, unit = map(np.ascontiguousarray, np.nonzero(each.any(axis=1).T))
        return cls((len(parts), blocks, each.shape[2]), unit, label, each[unit, :, label])


class Products:
    """Sums over units, each as often as it was drawn, for one run after the other.

    A block that is the same as in the run before, as the target's pixels are, is not multiplied again.
    """

    def __init__(self, drawn: Resamples) -> None:
        self._by_unit = np.ascontiguousarray(drawn.counts.T, dtype=np.uint8)
        self._last: dict[int, tuple[Array, Array]] = {}

    def of(self, parts: Array, cells: Cells) -> Array:
        """(U, P) parts and their cells -> (B, P)."""
        blocks = np.split(parts, cells.shape[1], axis=1)
        return np.vstack([self._block(m, block, cells) for m, block in enumerate(blocks)]).T

    def _block(self, m: int, block: Array, cells: Cells) -> Array:
        """(U, K) -> (K, B)."""
        known = self._last.get(m)
        if known is None or not np.array_equal(known[0], block):
            known = self._last[m] = (block, self._product(block, cells, m))
        return known[1]

    def _product(self, block: Array, cells: Cells, m: int) -> Array:
        if not has_kernels():
            return np.asarray(sparse.csr_array(block.T) @ self._by_unit.astype(np.float64))
        from leaderboard.stats.weighted import add_weighted

        out = np.zeros((block.shape[1], self._by_unit.shape[1]))
        add_weighted(self._by_unit, cells.unit, cells.label, np.ascontiguousarray(cells.sums[:, m]), out)
        return out


def _one_by_one(sums: ImageSums, parts: Array, cells: Cells, start: Array, sign: int) -> Array:
    """(U,): the score of `start` and, for each unit alone, of what that unit adds (+1) or takes away (-1)."""
    if sums.figure is None:
        return sums.fold(start + sign * parts)
    units, blocks, _ = cells.shape
    before = start.reshape(blocks, -1)
    figures = sums.figure(*before)
    changed = sums.figure(*(before[:, cells.label] + sign * cells.sums.T))

    def summed(values: Array, new: Array) -> Array:
        """The sum over classes, of which only those of the unit's cells are new."""
        moved = np.bincount(cells.unit, weights=new - values[cells.label], minlength=units)
        return np.asarray(values.sum() + moved)

    defined = summed((~np.isnan(figures)).astype(np.float64), (~np.isnan(changed)).astype(np.float64))
    return divide(summed(np.nan_to_num(figures), np.nan_to_num(changed)), defined)
