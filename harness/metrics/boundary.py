"""Bands along boundaries: void handling, Boundary IoU and the trimap.

NumPy and SciPy only; every count is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.metrics.confusion import Labels, Mask
from harness.metrics.protocol import Protocol
from harness.metrics.surface import inner_edge

Int = NDArray[np.int32]

# Belongs to no class: void, invalid, or (in a prediction) out of range.
NO_CLASS = -1


def boundary_maps(
    prediction: Labels,
    target: Labels,
    counted: Mask,
    valid: Mask | None,
    num_classes: int,
    protocol: Protocol,
) -> tuple[Int, Int]:
    """The two label maps the boundary metrics look at, after the protocol's void rule.

    Args:
        prediction: (H, W) predicted labels.
        target: (H, W) true labels.
        counted: (H, W) pixels that are neither void nor invalid.
        valid: (H, W) the valid region, or None where all is valid.
        num_classes: K.
        protocol: supplies `void` and `fill_radius`.

    Returns:
        Prediction and target as int32 (H, W), `NO_CLASS` where a pixel belongs to no class.
    """
    # Widened first: among unsigned bytes, "no class" would turn into the label 255.
    true = np.where(counted, target.astype(np.int32), np.int32(NO_CLASS))
    if protocol.void == "fill":
        fill_void(true, np.ones_like(counted) if valid is None else valid, protocol.fill_radius)
    guess = prediction.astype(np.int32)
    guess[(guess < 0) | (guess >= num_classes) | (true == NO_CLASS)] = NO_CLASS
    return guess, true


def fill_void(labels: Int, fillable: Mask, radius: int) -> None:
    """Give each void pixel within `radius` of a labelled one the nearest label; ties: the lowest. In place."""
    void = (labels == NO_CLASS) & fillable
    if radius == 0 or not void.any() or void.all():
        return
    present = np.unique(labels[labels != NO_CLASS])
    ys, xs = np.nonzero(void)
    nearest = np.full(len(ys), np.inf)
    chosen = np.full(len(ys), NO_CLASS, dtype=np.int32)
    for label in present:  # ascending, so that a tie keeps the lowest
        distance = ndimage.distance_transform_edt(labels != label)[ys, xs]
        closer = distance < nearest
        nearest[closer] = distance[closer]
        chosen[closer] = label
    within = nearest <= radius
    labels[ys[within], xs[within]] = chosen[within]


def band_width(height: int, width: int, protocol: Protocol) -> int:
    """Pixels of the Boundary IoU band: max(1, round(fraction · diagonal)), halves to even (Cheng et al.)."""
    if protocol.biou_width is not None:
        return protocol.biou_width
    return max(1, round(protocol.biou_dilation * float(np.hypot(height, width))))


def inner_band(mask: Mask, distance: int, band_metric: str = "chessboard") -> Mask:
    """Pixels of `mask` within `distance` of its outside; beyond the image is outside. (H, W).

    `chessboard` repeats a 3×3 erosion (Cheng et al.); `euclidean` takes the pixels nearer than `distance` to the
    mask's inner edge, so that a distance of 1 is that edge.
    """
    if band_metric == "euclidean":
        edge = inner_edge(mask)
        near: Mask = mask & (ndimage.distance_transform_edt(~edge) < distance)
        return near
    size = 2 * distance + 1
    eroded = ndimage.minimum_filter(mask.astype(np.uint8), size=size, mode="constant", cval=0)
    band: Mask = mask & (eroded == 0)
    return band


def boundary_counts(prediction: Mask, target: Mask, distance: int, band_metric: str) -> tuple[int, int]:
    """Intersection and union, in pixels, of the two inner bands of one class.

    Source: Cheng et al., Boundary IoU (CVPR 2021), equation 3.
    """
    a, b = (inner_band(mask, distance, band_metric) for mask in (prediction, target))
    return int((a & b).sum()), int((a | b).sum())


def trimap_distance(
    target: Labels, filled: Int, counted: Mask, ignore_index: int, protocol: Protocol
) -> NDArray[np.float64]:
    """How far each scored pixel lies from the trimap's centre.

    Args:
        target: (H, W) true labels as given.
        filled: (H, W) the target after the protocol's void rule.
        counted: (H, W) scored pixels.
        ignore_index: the void label.
        protocol: supplies `trimap` and `trimap_radii`.

    Returns:
        (H, W) distance in pixels; beyond the largest radius, or not scored: a number above it.
        With `labels`, a pixel beside a change has distance 1, on both sides; the image border is no change.
    """
    far = max(protocol.trimap_radii) + 1.0
    if protocol.trimap == "void":
        centre = target == ignore_index
        offset = 0
    else:
        centre = label_changes(filled)
        offset = 1
    if not centre.any():
        return np.full(target.shape, far)
    if protocol.trimap_band == "euclidean":
        distance = ndimage.distance_transform_edt(~centre) + offset
    else:
        distance = ndimage.distance_transform_cdt(~centre, metric="chessboard").astype(np.float64) + offset
    return np.where(counted, np.minimum(distance, far), far)


def label_changes(labels: Int) -> Mask:
    """Pixels with a 4-neighbour of another class; a pixel of no class makes no change. (H, W)."""
    change = np.zeros(labels.shape, dtype=bool)
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (labels[a] != labels[b]) & (labels[a] != NO_CLASS) & (labels[b] != NO_CLASS)
        change[a] |= differs
        change[b] |= differs
    return change
