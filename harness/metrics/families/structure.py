"""Scores of a class's structure: is it connected as it should be, and is each of its parts found?"""

from __future__ import annotations

import numpy as np

from harness.metrics.exact import Array, divide
from harness.metrics.metric import Metric, Sums, describe
from harness.metrics.records import STRUCTURES
from harness.metrics.sums import ClassSums, ScoredImages, means


def _grid(images: ScoredImages, name: str) -> Array:
    """(N, K) of one of `STRUCTURES`; 0 where it was not counted."""
    grid = np.zeros((len(images.table.ids), images.num_classes))
    image, label = images.table.structures[:, :2].T
    grid[image, label] = images.table.structures[:, 2 + STRUCTURES.index(name)]
    return grid


def _averaged(images: ScoredImages, each: Array) -> ClassSums:
    """The mean of (N, K) figures over the images that `Protocol.boundary_means_over` says."""
    predicted, there = (_grid(images, f"components_{name}") > 0 for name in ("prediction", "target"))
    over = {"union": there | predicted, "target": there, "both": there & predicted}
    return means(np.where(over[images.protocol.boundary_means_over], each, np.nan), images.counting)


def _cldice(images: ScoredImages) -> ClassSums:
    """Shit et al., clDice, CVPR 2021, equation 1: the harmonic mean of topology precision and sensitivity."""
    precision = divide(_grid(images, "skeleton_prediction_inside"), _grid(images, "skeleton_prediction"))
    sensitivity = divide(_grid(images, "skeleton_target_inside"), _grid(images, "skeleton_target"))
    # One map has no skeleton, or no pixel of one lies inside the other mask: the worst there is.
    return _averaged(images, np.nan_to_num(divide(2 * precision * sensitivity, precision + sensitivity)))


def _betti(images: ScoredImages) -> ClassSums:
    """The sum over both Betti numbers of two dimensions: components, and holes."""
    return _averaged(images, _difference(images, "components") + _difference(images, "holes"))


def _count_error(images: ScoredImages) -> ClassSums:
    return _averaged(images, _difference(images, "components"))


def _difference(images: ScoredImages, name: str) -> Array:
    return np.abs(_grid(images, f"{name}_prediction") - _grid(images, f"{name}_target"))


def _lesion_f1(images: ScoredImages) -> ClassSums:
    """2 TP / (2 TP + FP + FN) of components: one of the target is found if the prediction meets it anywhere."""
    names = ("components_met", "components_target", "alarms")

    def fold(sums: Array) -> Array:
        met, there, alarms = np.moveaxis(sums, -2, 0)
        return divide(2 * met, met + there + alarms)

    sums = ClassSums(np.stack([_grid(images, name) for name in names], axis=1), fold, images.counting)
    return sums if images.protocol.level == "dataset" else sums.image_by_image(images.scored)


def _structure(name: str, title: str, definition: str, sums: Sums, moved_by: str, count: bool = False) -> Metric:
    return Metric(
        name,
        title,
        definition,
        higher_is_better=not count,
        unit="parts" if count else "",
        digits=2 if count else 4,
        per_class=True,
        family="structure",
        sums=sums,
        moved_by=(moved_by, "background_in_boundary_means"),
    )


describe(
    _structure("cldice", "clDice", "Dice of skeletons in masks (Shit et al. 2021).", _cldice, "boundary_means_over"),
    _structure(
        "betti",
        "Betti error",
        "By how many components and holes an image's prediction and target differ.",
        _betti,
        "boundary_means_over",
        count=True,
    ),
    _structure(
        "lesion_f1",
        "Lesion F1",
        "F1 of connected components; one is found where the prediction meets it (ISLES 2022).",
        _lesion_f1,
        "level",
    ),
    _structure(
        "lesion_count",
        "Count error",
        "By how many components an image's prediction and target differ (ISLES 2022).",
        _count_error,
        "boundary_means_over",
        count=True,
    ),
)
