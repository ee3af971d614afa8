"""Folding per-image statistics into scores: a pure function, exact until the last division.

Sums of whole numbers stay whole numbers; sums of distances use `math.fsum`, which rounds once, so that the
order of the images never moves a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.protocol import Protocol
from harness.metrics.records import SURFACE_FLOATS, SURFACE_INTEGERS, StatisticsTable

Array = NDArray[np.float64]

DISTANCES = ("hd", "hd95", "assd", "masd")
BOUNDARY = ("biou", "bf", "nsd")
REGION = ("miou", "pa", "mpa", "fwiou", "dice", "precision", "recall", "f1")
SCORE_NAMES = (*REGION, *DISTANCES, *BOUNDARY, "trimap_iou")
PER_CLASS = ("iou", "accuracy", "dice", "precision", "recall", *DISTANCES, *BOUNDARY)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one; False for distances and losses."""
    return metric.removeprefix("image_").split("[")[0] not in (*DISTANCES, "loss", "test_loss")


@dataclass(frozen=True)
class Scores:
    """The scores of a set of images.

    Every score is None where it is undefined. `values` holds one figure over classes for each of
    `SCORE_NAMES`; `per_class` holds K figures for each of `PER_CLASS`.
    """

    values: dict[str, float | None]
    per_class: dict[str, list[float | None]]
    foreground: dict[str, float | None] | None
    """The scores of the class that counts in a binary set, under the names of `PER_CLASS`."""
    image_level: dict[str, float | None]
    """`miou_i`, `miou_c` and `dice_i` after Wang et al. 2023; `biou` as a mean over images, then classes."""
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
    region = region_scores(confusion, protocol)
    boundary, variants, missed, spurious = boundary_scores(table, num_classes, protocol)
    per_class = {**region, **boundary}
    counting = classes_that_count(num_classes, protocol)
    values: dict[str, float | None] = {
        **region_values(confusion, region),
        **{name: mean(per_class[name][counting]) for name in (*DISTANCES, *BOUNDARY)},
    }
    trimap = trimap_scores(table, num_classes, protocol)
    values["trimap_iou"] = trimap.get(protocol.trimap_headline)
    lists = {name: [number(v) for v in per_class[name]] for name in PER_CLASS}
    return Scores(
        values=values,
        per_class=lists,
        foreground=None if foreground is None else {name: lists[name][foreground] for name in PER_CLASS},
        image_level=image_level_scores(table, num_classes, protocol),
        trimap=trimap,
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


def region_scores(confusion: NDArray[np.int64], protocol: Protocol) -> dict[str, Array]:
    """IoU, accuracy, Dice, precision and recall of each class from a (K, K+1) confusion matrix.

    NaN where undefined: IoU and Dice of a class in neither map (unless the protocol gives it a value);
    accuracy and recall of a class the target lacks; precision of a class in neither map.
    """
    k = len(confusion)
    hit = np.diag(confusion[:, :k])
    row, column = confusion.sum(axis=1), confusion[:, :k].sum(axis=0)
    union = row + column - hit
    absent = {"nan": np.nan, "zero": 0.0, "one": 1.0}[protocol.absent]
    recall = _divide(hit, row)
    # A class that is there and never predicted has precision 0, not none: else it would leave the mean.
    precision = np.where((column == 0) & (row > 0), 0.0, _divide(hit, column))
    return {
        "iou": np.where(union > 0, _divide(hit, union), absent),
        "accuracy": recall,
        "dice": np.where(union > 0, _divide(2 * hit, row + column), absent),
        "precision": precision,
        "recall": recall,
    }


def region_values(confusion: NDArray[np.int64], region: dict[str, Array]) -> dict[str, float | None]:
    """The scores over classes that follow from a (K, K+1) confusion matrix and its per-class scores."""
    return {
        "miou": mean(region["iou"]),
        "pa": _pixel_accuracy(confusion),
        "mpa": mean(region["accuracy"]),
        "fwiou": _frequency_weighted_iou(confusion),
        "dice": mean(region["dice"]),
        "precision": mean(region["precision"]),
        "recall": mean(region["recall"]),
        "f1": mean(region["dice"]),
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
            _divide(s["band_intersection"][m].sum(), s["band_union"][m].sum())
            for m in (s["label"] == c for c in range(num_classes))
        ]
    )
    for name, value in image_boundary_fractions(s).items():
        scores[name] = by_class(np.where(both, value, 0.0), in_target)
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
        "assd": _divide(s["sum_to_target"] + s["sum_to_prediction"], edges),
        "masd": (_divide(s["sum_to_target"], s["edge_prediction"]) + _divide(s["sum_to_prediction"], s["edge_target"]))
        / 2,
    }


def image_boundary_fractions(s: dict[str, Array]) -> dict[str, Array]:
    """Boundary F-measure and normalised surface distance of each (image, class) row."""
    precision = _divide(s["bf_prediction"], s["edge_prediction"])
    recall = _divide(s["bf_target"], s["edge_target"])
    total = precision + recall
    return {
        "bf": np.where(total > 0, 2 * _divide(precision * recall, total), 0.0),
        "nsd": _divide(s["nsd_prediction"] + s["nsd_target"], s["edge_prediction"] + s["edge_target"]),
    }


def image_level_scores(table: StatisticsTable, num_classes: int, protocol: Protocol) -> dict[str, float | None]:
    """Scores averaged over images.

    `miou_i`: mean over the classes an image holds, then over images; `miou_c`: mean over the images that hold
    a class (in either map), then over classes (Wang et al., Revisiting evaluation metrics for semantic
    segmentation, 2023: mIoU^I and mIoU^C). `biou_c` is Boundary IoU the second way, over images whose
    target holds the class.
    """
    iou, dice = image_region_scores(table, num_classes)
    s = surface_columns(table)
    band = _divide(s["band_intersection"], s["band_union"])
    in_target = s["edge_target"] > 0
    counting = classes_that_count(num_classes, protocol)
    biou = [exact_mean(band[in_target & (s["label"] == c)]) for c in np.flatnonzero(counting)]
    return {
        "miou_i": mean([exact_mean(row) for row in iou]),
        "miou_c": mean([exact_mean(column) for column in iou.T]),
        "dice_i": mean([exact_mean(row) for row in dice]),
        "dice_c": mean([exact_mean(column) for column in dice.T]),
        "biou_c": mean(biou),
    }


def image_region_scores(table: StatisticsTable, num_classes: int) -> tuple[Array, Array]:
    """IoU and Dice of each image and class, two (N, K) arrays; NaN where neither map holds the class."""
    n = len(table.ids)
    image, true, guess, pixels = table.confusion.T
    row, column, hit = (np.zeros((n, num_classes + 1), dtype=np.int64) for _ in range(3))
    np.add.at(row, (image, true), pixels)
    np.add.at(column, (image, guess), pixels)
    same = true == guess
    np.add.at(hit, (image[same], true[same]), pixels[same])
    row, column, hit = row[:, :-1], column[:, :-1], hit[:, :-1]
    return _divide(hit, row + column - hit), _divide(2 * hit, row + column)


def trimap_scores(table: StatisticsTable, num_classes: int, protocol: Protocol) -> dict[int, float | None]:
    """MIoU inside the band of each radius (Kohli et al. 2009; Chen et al. 2018, section 4.4)."""
    scores = {}
    for index, radius in enumerate(protocol.trimap_radii):
        cells = table.trimap[table.trimap[:, 1] == index]
        confusion = _sum_cells(cells[:, 2], cells[:, 3], cells[:, 4], num_classes)
        scores[radius] = mean(region_scores(confusion, protocol)["iou"])
    return scores


def mean(values: Sequence[float] | Array) -> float | None:
    """The exactly rounded mean of the defined values; None if there is none."""
    return number(exact_mean(values))


def exact_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN, summed without rounding error; NaN if there is none."""
    defined = [float(v) for v in values if not math.isnan(v)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def number(value: float) -> float | None:
    """A float for a record: None stands for NaN."""
    return None if math.isnan(value) else float(value)


def _pixel_accuracy(confusion: NDArray[np.int64]) -> float | None:
    return number(float(_divide(np.trace(confusion[:, :-1]), confusion.sum())))


def _frequency_weighted_iou(confusion: NDArray[np.int64]) -> float | None:
    """IoU weighted by how often the target holds each class (Long et al. 2015)."""
    row, hit = confusion.sum(axis=1), np.diag(confusion[:, :-1])
    iou = _divide(hit, row + confusion[:, :-1].sum(axis=0) - hit)
    total = int(row.sum())
    if total == 0:
        return None
    return math.fsum(float(r) / total * float(i) for r, i in zip(row, iou, strict=True) if r > 0)


def _sum_cells(
    rows: NDArray[np.int64], columns: NDArray[np.int64], counts: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    np.add.at(matrix, (rows, columns), counts)
    return matrix


def _divide(numerator: Any, denominator: Any) -> Array:
    """Element-wise division; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
        return np.asarray(np.where(bottom == 0, np.nan, top / bottom), dtype=np.float64)
