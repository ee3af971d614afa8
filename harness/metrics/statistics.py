"""Gathering the statistics of an image: through compiled kernels, or NumPy and SciPy to the same bits."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.metrics.boundary import (
    NO_CLASS,
    band_width,
    boundary_counts,
    boundary_maps,
    trimap_distance,
)
from harness.metrics.confusion import Labels, Mask, check_labels, confusion_matrix, counted_pixels
from harness.metrics.protocol import Protocol
from harness.metrics.records import ClassSurface, ImageStatistics, sparse
from harness.metrics.surface import boundary_points, ordered_sum, surface_distances
from harness.utils.environment import setting


@cache
def has_kernels() -> bool:
    """Whether the compiled kernels can be used in this process."""
    # For comparison, and for machines where numba misbehaves.
    if setting("SEGBENCH_NO_KERNELS"):
        return False
    try:
        import harness.metrics.fast  # noqa: F401
    except ImportError:
        return False
    return True


def image_statistics(
    prediction: Labels,
    target: Labels,
    num_classes: int,
    ignore_index: int,
    protocol: Protocol,
    image_id: str,
    valid: Mask | None = None,
) -> ImageStatistics:
    """Gather the statistics of one image.

    Args:
        prediction: (H, W) predicted labels, any integer dtype.
        target: (H, W) true labels, any integer dtype; `ignore_index` marks void.
        num_classes: K.
        ignore_index: the void label of the target.
        protocol: the conventions.
        image_id: the image's name in the data set.
        valid: (H, W) the region to score, or None for all of it.

    Raises:
        ValueError: shapes differ, or a label lies outside 0..K-1 on a scored pixel.
    """
    if has_kernels():
        from harness.metrics import fast

        if fast.can_score(protocol, num_classes, ignore_index):
            found = fast.fast_statistics(prediction, target, num_classes, protocol, image_id, valid)
            if found is not None:
                return found
    return reference_statistics(prediction, target, num_classes, ignore_index, protocol, image_id, valid)


def reference_statistics(
    prediction: Labels,
    target: Labels,
    num_classes: int,
    ignore_index: int,
    protocol: Protocol,
    image_id: str,
    valid: Mask | None = None,
) -> ImageStatistics:
    """The same as `image_statistics`, always with NumPy and SciPy; knows every convention and says what is wrong."""
    height, width = target.shape
    counted = counted_pixels(target, ignore_index, valid)
    check_labels(prediction, target, counted, num_classes, strict=protocol.out_of_range == "raise")
    scored = int(counted.sum())
    confusion = sparse(confusion_matrix(prediction, target, counted, num_classes))
    trimap = np.zeros((0, 4), dtype=np.int64)
    surfaces: tuple[ClassSurface, ...] = ()
    if scored:
        guess, true = boundary_maps(prediction, target, counted, valid, num_classes, protocol)
        distance = trimap_distance(target, true, counted, ignore_index, protocol)
        trimap = trimap_counts(prediction, target, counted, distance, num_classes, protocol)
        surfaces = class_surfaces(guess, true, protocol)
    return ImageStatistics(image_id, height, width, scored, height * width - scored, confusion, trimap, surfaces)


def trimap_counts(
    prediction: Labels,
    target: Labels,
    counted: Mask,
    distance: NDArray[np.float64],
    num_classes: int,
    protocol: Protocol,
) -> NDArray[np.int64]:
    """Confusion within each band, as rows (index of the radius, target, prediction, pixels)."""
    parts = [np.zeros((0, 4), dtype=np.int64)]
    for index, radius in enumerate(protocol.trimap_radii):
        cells = sparse(confusion_matrix(prediction, target, counted & (distance <= radius), num_classes))
        parts.append(np.insert(cells, 0, index, axis=1))
    return np.concatenate(parts)


def class_surfaces(guess: NDArray[np.int32], true: NDArray[np.int32], protocol: Protocol) -> tuple[ClassSurface, ...]:
    """Boundary statistics of each class that one of the maps holds; both (H, W), `NO_CLASS` is no class."""
    height, width = true.shape
    band = band_width(height, width, protocol)
    present = np.union1d(np.unique(guess), np.unique(true))
    found = []
    for label in present[present != NO_CLASS]:
        p, t = guess == label, true == label
        intersection, union = boundary_counts(p, t, band, protocol.biou_band)
        values = distance_statistics(p, t, protocol) | boundary_f_statistics(p, t, protocol)
        found.append(ClassSurface(int(label), band_intersection=intersection, band_union=union, **values))
    return tuple(found)


def distance_statistics(prediction: Mask, target: Mask, protocol: Protocol) -> dict[str, float]:
    """The fields of `ClassSurface` that follow from the protocol's boundary; both masks (H, W)."""
    d = surface_distances(prediction, target, protocol.spacing, protocol.boundary)
    if d is None:
        lengths = [
            float(boundary_points(m, protocol.boundary, protocol.spacing)[1].sum()) for m in (prediction, target)
        ]
        values = dict.fromkeys(("hd", "hd95", "sum_to_target", "sum_to_prediction"), float("nan"))
        return values | dict(zip(("edge_prediction", "edge_target"), lengths, strict=True)) | {
            "nsd_prediction": 0.0, "nsd_target": 0.0,
        }  # fmt: skip
    limit = protocol.nsd_limit
    return {
        "edge_prediction": float(d.weights[0].sum()),
        "edge_target": float(d.weights[1].sum()),
        "hd": float(max(d.to_target.max(), d.to_prediction.max())),
        "hd95": d.percentile(protocol.hd_percentile, protocol.hd_percentile_rule),
        "sum_to_target": ordered_sum(d.to_target, d.weights[0]),
        "sum_to_prediction": ordered_sum(d.to_prediction, d.weights[1]),
        "nsd_prediction": float(d.weights[0][d.to_target <= limit].sum()),
        "nsd_target": float(d.weights[1][d.to_prediction <= limit].sum()),
    }


def boundary_f_statistics(prediction: Mask, target: Mask, protocol: Protocol) -> dict[str, float]:
    """The fields of `ClassSurface` that the boundary F-measure is folded from; both masks (H, W)."""
    spacing = (1.0, 1.0) if protocol.bf == "davis" else protocol.spacing
    d = surface_distances(prediction, target, spacing, protocol.bf)
    if d is None:
        edges = [len(boundary_points(m, protocol.bf, spacing)[0]) for m in (prediction, target)]
        hits = [0, 0]
    else:
        limit = protocol.bf_limit(*target.shape)
        edges = [len(d.to_target), len(d.to_prediction)]
        hits = [int((d.to_target <= limit).sum()), int((d.to_prediction <= limit).sum())]
    names = ("bf_edge_prediction", "bf_edge_target", "bf_prediction", "bf_target")
    return {name: float(value) for name, value in zip(names, (*edges, *hits), strict=True)}
