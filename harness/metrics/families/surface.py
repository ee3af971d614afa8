"""Distances between boundaries, and scores of boundaries, from the statistics of each image and class."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import numpy as np

from harness.metrics.exact import Array, divide
from harness.metrics.metric import Metric, Sums, describe
from harness.metrics.sums import ClassSums, Flags, ScoredImages, means, quotients


def distance_sums(images: ScoredImages, name: str, over: str, unit: str) -> ClassSums:
    """The mean of a distance of each class over images, as `Protocol.boundary_means_over` and `distance_unit` say."""
    s, both, average = images.surfaces, *_averaged(images, over)
    side = np.hypot(*(images.table.shape[:, i] * images.protocol.spacing[i] for i in (0, 1)))
    diagonal = side[images.table.surface_integers[:, 0]]
    charged = np.where(both, _DISTANCES[name](s), diagonal)
    return means(images.spread(charged if unit == "spacing" else charged / diagonal, average), images.counting)


def boundary_iou_sums(images: ScoredImages, level: str) -> ClassSums:
    """Boundary IoU of each class: of pixels summed over all images, or averaged over them (`Protocol.level`)."""
    s = images.surfaces
    if level == "dataset":
        top, bottom = (images.spread(s[name], fill=0.0) for name in ("band_intersection", "band_union"))
        return quotients(top, bottom, images.counting)
    average = _averaged(images, images.protocol.boundary_means_over)[1]
    return means(images.spread(divide(s["band_intersection"], s["band_union"]), average), images.counting)


def _averaged(images: ScoredImages, over: str, edge: str = "edge") -> tuple[Flags, Flags]:
    """Of each row of `images.surfaces` whether both maps hold the class, and whether it is averaged."""
    in_target, in_prediction = (images.surfaces[f"{edge}_{name}"] > 0 for name in ("target", "prediction"))
    both = in_target & in_prediction
    return both, {"union": in_target | in_prediction, "target": in_target, "both": both}[over]


def missed_and_spurious(images: ScoredImages) -> tuple[list[int], list[int]]:
    """For each class, the images that only the target holds it in, and those that only the prediction does."""
    s, both = images.surfaces, _averaged(images, "both")[1]
    only = ((s[name] > 0) & ~both for name in ("edge_target", "edge_prediction"))
    missed, spurious = (images.spread(np.ones(len(both)), where, 0.0).sum(axis=0) for where in only)
    return missed.astype(int).tolist(), spurious.astype(int).tolist()


def _surface_distance(images: ScoredImages) -> ClassSums:
    """The share of both boundaries within the tolerance; 0 where one map lacks the class."""
    s, both, average = images.surfaces, *_averaged(images, images.protocol.boundary_means_over)
    near = divide(s["nsd_prediction"] + s["nsd_target"], s["edge_prediction"] + s["edge_target"])
    return means(images.spread(np.where(both, near, 0.0), average), images.counting)


def _boundary_f(images: ScoredImages) -> ClassSums:
    """The harmonic mean of precision and recall of edge pixels: 0 where one map has none, 1 where neither has."""
    s = images.surfaces
    precision = divide(s["bf_prediction"], s["bf_edge_prediction"])
    recall = divide(s["bf_target"], s["bf_edge_target"])
    none = (s["bf_edge_prediction"] == 0) & (s["bf_edge_target"] == 0)
    f = np.where(none, 1.0, np.nan_to_num(2 * divide(precision * recall, precision + recall), nan=0.0))
    if images.protocol.bf != "davis":
        average = _averaged(images, images.protocol.boundary_means_over, "bf_edge")[1]
        return means(images.spread(f, average), images.counting)
    # Every image counts: an object that is nowhere was drawn without a fault.
    return means(np.where(images.scored[:, None], images.spread(f, fill=1.0), np.nan), images.counting)


def _pooled_mean(s: dict[str, Array]) -> Array:
    return divide(s["sum_to_target"] + s["sum_to_prediction"], s["edge_prediction"] + s["edge_target"])


def _mean_of_means(s: dict[str, Array]) -> Array:
    return (divide(s["sum_to_target"], s["edge_prediction"]) + divide(s["sum_to_prediction"], s["edge_target"])) / 2


# Of each (image, class) row; NaN where one map lacks the class.
_DISTANCES: dict[str, Callable[[dict[str, Array]], Array]] = {
    "hd": itemgetter("hd"),
    "hd95": itemgetter("hd95"),
    "assd": _pooled_mean,
    "masd": _mean_of_means,
}
_OVER, _BACKGROUND = "boundary_means_over", "background_in_boundary_means"


def _distance(name: str, title: str, definition: str) -> Metric:
    def sums(images: ScoredImages) -> ClassSums:
        return distance_sums(images, name, images.protocol.boundary_means_over, images.protocol.distance_unit)

    return Metric(
        name,
        title,
        definition,
        higher_is_better=False,
        unit="px",
        digits=2,
        per_class=True,
        family="distance",
        sums=sums,
        moved_by=(_OVER, "distance_unit", _BACKGROUND),
    )


def _boundary(name: str, title: str, definition: str, sums: Sums, *moved_by: str) -> Metric:
    moved = (*moved_by, _BACKGROUND)
    return Metric(name, title, definition, per_class=True, family="boundary", sums=sums, moved_by=moved)


describe(
    _distance("hd", "HD", "Hausdorff distance: the largest distance of a boundary point to the other boundary."),
    _distance("hd95", "HD95", "Robust Hausdorff distance: the 95th percentile instead of the largest distance."),
    _distance("assd", "ASSD", "Average symmetric surface distance: the mean of all distances, both ways."),
    _distance("masd", "MASD", "Mean average surface distance: the mean of the two directed means."),
    _boundary(
        "biou",
        "BIoU",
        "IoU of the bands along the boundaries (Cheng et al. 2021).",
        lambda images: boundary_iou_sums(images, images.protocol.level),
        "level",
    ),
    _boundary("bf", "BF", "Boundary F-measure within a tolerance (Csurka et al. 2013).", _boundary_f, _OVER),
    _boundary(
        "nsd",
        "NSD",
        "Normalised surface distance: the share of both boundaries within a tolerance (Nikolov et al. 2018).",
        _surface_distance,
        _OVER,
    ),
)
