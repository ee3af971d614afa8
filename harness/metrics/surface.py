"""Distances between the boundaries of two masks: gathered once, folded by `scores`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from harness.metrics.confusion import Mask

Floats = NDArray[np.float64]


def inner_edge(mask: Mask) -> Mask:
    """Pixels of `mask` with a 4-neighbour outside it; beyond the image is outside. Shape (H, W)."""
    padded = np.pad(mask, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded


def davis_edge(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower right neighbour; the image's border is no edge. (H, W).

    The last row looks to the right only, the last column down only (Perazzi et al., DAVIS, CVPR 2016).
    """
    right, below, diagonal = mask.copy(), mask.copy(), mask.copy()
    right[:, :-1] = mask[:, 1:]
    below[:-1] = mask[1:]
    diagonal[:-1, :-1] = mask[1:, 1:]
    edge: Mask = (mask ^ right) | (mask ^ below)
    edge[:-1, :-1] |= (mask ^ diagonal)[:-1, :-1]
    return edge


def contour_corners(mask: Mask, spacing: tuple[float, float]) -> tuple[NDArray[np.int64], Floats]:
    """The corners between pixels where a mask's contour passes, (n, 2), and the contour's length at each, (n,).

    A corner touches four pixels: with one or three of them inside, the contour cuts it off diagonally; with two
    neighbours inside, it passes straight; with two opposite ones, it cuts twice (Nikolov et al. 2018).
    """
    padded = np.pad(mask, 1).astype(np.int8)
    top, bottom = padded[:-1, :-1] + padded[:-1, 1:], padded[1:, :-1] + padded[1:, 1:]
    left = padded[:-1, :-1] + padded[1:, :-1]
    inside = top + bottom
    cut = math.hypot(*spacing) / 2
    length = np.zeros(inside.shape)
    length[(inside == 1) | (inside == 3)] = cut
    length[inside == 2] = 2 * cut
    length[(inside == 2) & (top != 1)] = spacing[1]
    length[(inside == 2) & (left != 1)] = spacing[0]
    points = np.argwhere(length > 0)
    return points, length[points[:, 0], points[:, 1]]


def boundary_points(mask: Mask, boundary: str, spacing: tuple[float, float]) -> tuple[NDArray[np.int64], Floats]:
    """The points that stand for a mask's boundary, (n, 2) in pixels, and the weight of each, (n,)."""
    if boundary == "deepmind":
        return contour_corners(mask, spacing)
    chosen = {"inner": inner_edge, "davis": davis_edge, "set": lambda m: m}[boundary](mask)
    points = np.argwhere(chosen)
    return points, np.ones(len(points))


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two boundaries, in units of the spacing.

    Attributes:
        to_target: for each boundary point of the prediction, the distance to the target's nearest.
        to_prediction: for each boundary point of the target, the distance to the prediction's nearest.
        weights: of the prediction's points, and of the target's.
    """

    to_target: Floats
    to_prediction: Floats
    weights: tuple[Floats, Floats]

    def percentile(self, q: float, rule: str) -> float:
        """The robust Hausdorff distance under one of the protocol's rules."""
        if rule == "pooled":
            return float(np.percentile(np.concatenate([self.to_target, self.to_prediction]), q))
        sides = (self.to_target, self.to_prediction)
        if rule == "deepmind":
            return max(_weighted_percentile(d, w, q) for d, w in zip(sides, self.weights, strict=True))
        return float(max(np.percentile(d, q) for d in sides))


def surface_distances(
    prediction: Mask, target: Mask, spacing: tuple[float, float], boundary: str = "inner"
) -> SurfaceDistances | None:
    """Distances between the boundaries of two masks, both (H, W); None where one of them has none.

    Source: the directed distances of Huttenlocher et al. 1993.
    """
    (a, of_a), (b, of_b) = (boundary_points(mask, boundary, spacing) for mask in (prediction, target))
    if len(a) == 0 or len(b) == 0:
        return None
    return SurfaceDistances(_nearest(a, b, spacing), _nearest(b, a, spacing), (of_a, of_b))


def _nearest(points: NDArray[np.int64], others: NDArray[np.int64], spacing: tuple[float, float]) -> Floats:
    """From each point the distance to the nearest of the others.

    Measured between whole pixels once the nearest is known: differences of scaled coordinates would carry rounding that
    depends on where in the image they lie.
    """
    scale = np.asarray(spacing)
    _, nearest = cKDTree(others * scale).query(points * scale)
    apart = (points - others[nearest]) * scale
    distances: Floats = np.sqrt((apart**2).sum(axis=1))
    return distances


def ordered_sum(distances: Floats, weights: Floats) -> float:
    """The sum over the distinct distances, ascending, each times its weight: no order of the points moves a bit."""
    values, where = np.unique(distances, return_inverse=True)
    # One after another, not pairwise: the compiled kernels add so.
    return float((values * np.bincount(where, weights)).cumsum()[-1])


def _weighted_percentile(distances: Floats, weights: Floats, q: float) -> float:
    """The first distance, ascending, up to which the share of the weights reaches q percent."""
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(weights[order]) / np.sum(weights)
    place = min(int(np.searchsorted(reached, q / 100)), len(distances) - 1)
    return float(distances[order][place])
