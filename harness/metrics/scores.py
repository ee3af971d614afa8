"""Folding per-image statistics into scores: a pure function, exact until the last division.

Sums of whole numbers stay whole numbers; sums of distances use `math.fsum`, which rounds once, so that the
order of the images never moves a bit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.exact import Array, divide, exact_mean, mean, number
from harness.metrics.histogram import area_under_curve
from harness.metrics.image_level import image_boundary_iou, image_counts, image_level_scores, image_region_scores
from harness.metrics.protocol import Protocol
from harness.metrics.records import SURFACE_FLOATS, SURFACE_INTEGERS, StatisticsTable
from harness.metrics.region import REGION, region_scores, region_values

DISTANCES = ("hd", "hd95", "assd", "masd")
BOUNDARY = ("biou", "bf", "nsd")
SCORE_NAMES = (*REGION, *DISTANCES, *BOUNDARY, "trimap_iou")
BINARY = ("auc", "sensitivity", "specificity")
PER_CLASS = ("iou", "accuracy", "dice", "precision", "recall", *DISTANCES, *BOUNDARY)


def score_names(foreground: int | None) -> tuple[str, ...]:
    """The scores of a data set: binary sets have three more."""
    return SCORE_NAMES if foreground is None else (*SCORE_NAMES, *BINARY)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one; False for distances and losses."""
    return metric.removeprefix("image_").split("[")[0] not in (*DISTANCES, "loss", "test_loss")


@dataclass(frozen=True)
class Scores:
    """The scores of a set of images.

    Every score is None where it is undefined. `values` holds one figure over classes for each of `SCORE_NAMES`, and
    where a foreground is named one for each of `BINARY`; `per_class` holds K figures for each of `PER_CLASS`.
    """

    values: dict[str, float | None]
    per_class: dict[str, list[float | None]]
    foreground: dict[str, float | None] | None
    """The scores of the class that counts in a binary set: `SCORE_NAMES`, over that class alone, and `PER_CLASS`."""
    loss: float | None
    """Mean of the images' losses, where there are any."""
    image_level: dict[str, float | None]
    """Scores averaged over images, and over the worst of them: see `image_level.image_level_scores`."""
    trimap: dict[int, float | None]
    """mIoU inside the band of each radius."""
    variants: dict[str, dict[str, float | None]]
    """For each distance: `both` (images where both maps hold the class), `penalised` (missed and spurious
    cost the diagonal) and `fraction` (of the image diagonal)."""
    undefined: dict[str, int]
    """For each of `PER_CLASS`, how many of the classes that count are undefined."""
    missed: list[int]
    """For each class, the images whose target holds it and whose prediction lacks it."""
    spurious: list[int]
    """For each class, the images whose prediction holds it and whose target lacks it."""
    n_images: int
    """Images with at least one scored pixel."""
    skipped: int
    """Images without one."""
    protocol: dict[str, Any] = field(default_factory=dict)
    protocol_hash: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, the figures over classes at the top level."""
        record = asdict(self)
        return {**record.pop("values"), **record}


def fold(table: StatisticsTable, num_classes: int, protocol: Protocol, foreground: int | None = None) -> Scores:
    """Fold per-image statistics into scores.

    Args:
        table: the statistics, gathered under the same protocol.
        num_classes: K.
        protocol: the conventions.
        foreground: the class that counts in a binary set.

    Returns:
        The scores; an undefined one is None and counted under `undefined`.
    """
    scored = table.shape[:, 2] > 0
    confusion = dataset_confusion(table, num_classes)
    images = image_counts(table, num_classes)
    region = region_scores(confusion, protocol)
    overall = region_values(confusion, region)
    boundary, variants, missed, spurious = boundary_scores(table, num_classes, protocol)
    if protocol.level == "image":
        region, overall = image_region_scores(images, protocol)
        boundary["biou"] = np.array([exact_mean(column) for column in image_boundary_iou(table, num_classes).T])
    f1 = region.pop("f1")
    per_class = {**region, **boundary}
    counting = classes_that_count(num_classes, protocol)
    trimap = trimap_ious(table, num_classes, protocol)
    headline = trimap[protocol.trimap_headline]
    values: dict[str, float | None] = {
        **overall,
        **{name: mean(per_class[name][counting]) for name in (*DISTANCES, *BOUNDARY)},
        "trimap_iou": mean(headline),
    }
    lists = {name: [number(v) for v in per_class[name]] for name in PER_CLASS}
    of_foreground = None
    if foreground is not None:
        values |= binary_scores(table, confusion, foreground)
        of_foreground = {name: figures[foreground] for name, figures in lists.items()} | {
            "miou": lists["iou"][foreground],
            "fwiou": lists["iou"][foreground],
            "pa": lists["accuracy"][foreground],
            "mpa": lists["accuracy"][foreground],
            "f1": number(f1[foreground]),
            "trimap_iou": number(headline[foreground]),
        }
    return Scores(
        values=values,
        per_class=lists,
        foreground=of_foreground,
        loss=mean(table.loss),
        image_level=image_level_scores(table, images, protocol, counting),
        trimap={radius: mean(ious) for radius, ious in trimap.items()},
        variants={name: {kind: mean(v[counting]) for kind, v in kinds.items()} for name, kinds in variants.items()},
        undefined={
            name: int(np.isnan(per_class[name][counting] if name in (*DISTANCES, *BOUNDARY) else per_class[name]).sum())
            for name in PER_CLASS
        },
        missed=missed,
        spurious=spurious,
        n_images=int(scored.sum()),
        skipped=int((~scored).sum()),
        protocol=protocol.model_dump(mode="json"),
        protocol_hash=protocol.hash,
    )


def classes_that_count(num_classes: int, protocol: Protocol) -> NDArray[np.bool_]:
    """The classes inside the means of distances and boundary scores: all but the background, shape (K,)."""
    counting = np.ones(num_classes, dtype=bool)
    if protocol.background is not None and not protocol.background_in_boundary_means and num_classes > 1:
        counting[protocol.background] = False
    return counting


def dataset_confusion(table: StatisticsTable, num_classes: int) -> NDArray[np.int64]:
    """The confusion matrix of all images together, (K, K+1); column K: predictions out of range."""
    return _sum_cells(table.confusion[:, 1], table.confusion[:, 2], table.confusion[:, 3], num_classes)


def binary_scores(table: StatisticsTable, confusion: NDArray[np.int64], foreground: int) -> dict[str, float | None]:
    """AUC from the score histograms of all images; sensitivity and specificity of the label maps.

    Sensitivity is the share of the foreground's pixels that were found, specificity the share of the other pixels
    that were left; under a threshold of one half these are the histograms' figures too.
    """
    row = confusion.sum(axis=1)
    others = np.delete(confusion, foreground, axis=0)
    return {
        "auc": number(area_under_curve(table.histogram[:, 1:])),
        "sensitivity": number(float(divide(confusion[foreground, foreground], row[foreground]))),
        "specificity": number(float(divide(others.sum() - others[:, foreground].sum(), others.sum()))),
    }


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


def trimap_ious(table: StatisticsTable, num_classes: int, protocol: Protocol) -> dict[int, Array]:
    """IoU of each class inside the band of each radius (Kohli et al. 2009; Chen et al. 2018, section 4.4)."""
    scores = {}
    for index, radius in enumerate(protocol.trimap_radii):
        cells = table.trimap[table.trimap[:, 1] == index]
        confusion = _sum_cells(cells[:, 2], cells[:, 3], cells[:, 4], num_classes)
        scores[radius] = region_scores(confusion, protocol)["iou"]
    return scores


def _sum_cells(
    rows: NDArray[np.int64], columns: NDArray[np.int64], counts: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    np.add.at(matrix, (rows, columns), counts)
    return matrix
