"""Distances between the boundaries of two masks: gathered once, folded by `scores`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from harness.metrics.confusion import Mask

Distances = NDArray[np.float64]


def inner_edge(mask: Mask) -> Mask:
    """Pixels of `mask` with a 4-neighbour outside it; beyond the image is outside. Shape (H, W)."""
    padded = np.pad(mask, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two edges, in units of the spacing.

    Attributes:
        to_target: for each edge pixel of the prediction, the distance to the target's nearest edge pixel.
        to_prediction: for each edge pixel of the target, the distance to the prediction's nearest.
    """

    to_target: Distances
    to_prediction: Distances

    def percentile(self, q: float, rule: str) -> float:
        """The robust Hausdorff distance: `directed` takes the larger side's percentile, `pooled` both sides'."""
        if rule == "pooled":
            return float(np.percentile(np.concatenate([self.to_target, self.to_prediction]), q))
        return float(max(np.percentile(self.to_target, q), np.percentile(self.to_prediction, q)))


def surface_distances(prediction: Mask, target: Mask, spacing: tuple[float, float]) -> SurfaceDistances:
    """Distances between the edges of two masks, both (H, W) and neither empty.

    Source: the directed distances of Huttenlocher et al. 1993, on inner 4-neighbour edges.
    """
    scale = np.asarray(spacing)
    a = np.argwhere(inner_edge(prediction)) * scale
    b = np.argwhere(inner_edge(target)) * scale
    return SurfaceDistances(cKDTree(b).query(a)[0], cKDTree(a).query(b)[0])


def ordered_sum(distances: Distances) -> float:
    """The sum over the distinct distances, ascending, each times its number: no order of the points moves a bit."""
    values, times = np.unique(distances, return_counts=True)
    # One after another, not pairwise: the compiled kernels add so.
    return float((values * times).cumsum()[-1])
