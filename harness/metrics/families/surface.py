"""Distances between boundaries, and scores of boundaries, from the statistics of each image and class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array, divide, exact_mean
from harness.metrics.metric import Metric, describe
from harness.metrics.protocol import Protocol
from harness.metrics.records import SURFACE_FLOATS, SURFACE_INTEGERS, StatisticsTable


def _distance(name: str, title: str, definition: str) -> Metric:
    return Metric(
        name,
        title,
        definition,
        higher_is_better=False,
        unit="px",
        digits=2,
        per_class=True,
        family="distance",
    )


describe(
    _distance("hd", "HD", "Hausdorff distance: the largest distance of a boundary point to the other boundary."),
    _distance("hd95", "HD95", "Robust Hausdorff distance: the 95th percentile instead of the largest distance."),
    _distance("assd", "ASSD", "Average symmetric surface distance: the mean of all distances, both ways."),
    _distance("masd", "MASD", "Mean average surface distance: the mean of the two directed means."),
    Metric(
        "biou", "BIoU", "IoU of the bands along the boundaries (Cheng et al. 2021).", per_class=True, family="boundary"
    ),
    Metric(
        "bf", "BF", "Boundary F-measure within a tolerance (Csurka et al. 2013).", per_class=True, family="boundary"
    ),
    Metric(
        "nsd",
        "NSD",
        "Normalised surface distance: the share of both boundaries within a tolerance (Nikolov et al. 2018).",
        per_class=True,
        family="boundary",
    ),
)


def boundary_scores(
    table: StatisticsTable, num_classes: int, protocol: Protocol
) -> tuple[dict[str, Array], dict[str, dict[str, Array]], list[int], list[int]]:
    """Distances and boundary scores of each class, over the images whose target holds it.

    A missed class costs the image's diagonal (a score: 0); a spurious one is counted, not averaged.
    Boundary IoU sums intersections and unions over all images.

    Returns:
        The per-class scores; per distance its variants; images missed and spurious, per class.
    """
    s = surface_columns(table)
    side = np.hypot(table.shape[:, 0] * protocol.spacing[0], table.shape[:, 1] * protocol.spacing[1])
    diagonal = side[s["image"].astype(np.int64)]
    both = (s["edge_prediction"] > 0) & (s["edge_target"] > 0)
    missed = (s["edge_prediction"] == 0) & (s["edge_target"] > 0)
    spurious = (s["edge_prediction"] > 0) & (s["edge_target"] == 0)
    in_target = both | missed

    def by_class(value: Array, where: NDArray[np.bool_]) -> Array:
        return np.array([exact_mean(value[where & (s["label"] == c)]) for c in range(num_classes)], dtype=np.float64)

    scores, variants = {}, {}
    for name, value in image_distances(s).items():
        charged = np.where(both, value, diagonal)
        scores[name] = by_class(charged, in_target)
        variants[name] = {
            "both": by_class(value, both),
            "penalised": by_class(charged, in_target | spurious),
            "fraction": by_class(charged / diagonal, in_target),
        }
    scores["biou"] = np.array(
        [
            divide(s["band_intersection"][m].sum(), s["band_union"][m].sum())
            for m in (s["label"] == c for c in range(num_classes))
        ]
    )
    scores["nsd"] = by_class(np.where(both, image_nsd(s), 0.0), in_target)
    f = image_boundary_f(s)
    if protocol.bf == "davis":
        # Every image counts: an object that is nowhere was drawn without a fault.
        images = int((table.shape[:, 2] > 0).sum())
        rows = [f[s["label"] == c] for c in range(num_classes)]
        scores["bf"] = np.array([exact_mean([*row, *[1.0] * (images - len(row))]) for row in rows])
    else:
        scores["bf"] = by_class(f, s["bf_edge_target"] > 0)
    count = [[int((flag & (s["label"] == c)).sum()) for c in range(num_classes)] for flag in (missed, spurious)]
    return scores, variants, count[0], count[1]


def surface_columns(table: StatisticsTable) -> dict[str, Array]:
    """The surface statistics as named columns; `image` indexes the table's images."""
    names = ("image", *SURFACE_INTEGERS)
    columns = {name: table.surface_integers[:, i].astype(np.float64) for i, name in enumerate(names)}
    return columns | {name: table.surface_floats[:, i] for i, name in enumerate(SURFACE_FLOATS)}


def image_distances(s: dict[str, Array]) -> dict[str, Array]:
    """HD, HD95, ASSD and MASD of each (image, class) row; NaN where one map lacks the class.

    ASSD pools all distances; MASD is the mean of the two directed means.
    """
    edges = s["edge_prediction"] + s["edge_target"]
    return {
        "hd": s["hd"],
        "hd95": s["hd95"],
        "assd": divide(s["sum_to_target"] + s["sum_to_prediction"], edges),
        "masd": (divide(s["sum_to_target"], s["edge_prediction"]) + divide(s["sum_to_prediction"], s["edge_target"]))
        / 2,
    }


def image_boundary_f(s: dict[str, Array]) -> Array:
    """Boundary F-measure of each (image, class) row: 0 where one map has no edge, 1 where neither has (DAVIS)."""
    precision = divide(s["bf_prediction"], s["bf_edge_prediction"])
    recall = divide(s["bf_target"], s["bf_edge_target"])
    none = (s["bf_edge_prediction"] == 0) & (s["bf_edge_target"] == 0)
    f = np.nan_to_num(2 * divide(precision * recall, precision + recall), nan=0.0)
    return np.where(none, 1.0, f)


def image_nsd(s: dict[str, Array]) -> Array:
    """Normalised surface distance of each (image, class) row."""
    return divide(s["nsd_prediction"] + s["nsd_target"], s["edge_prediction"] + s["edge_target"])
