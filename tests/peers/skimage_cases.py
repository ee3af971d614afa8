"""scikit-image's tests of its set metrics (BSD-3-Clause): skimage/metrics/tests and tests/skimage/metrics."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from harness.metrics import Evaluator
from tests.peers.adapter import mask_score, or_refused
from tests.peers.case import Case, Peer

WHERE = "test_set_metrics.py"
MODE = "boundary=set"
Points = tuple[tuple[int, int], ...]


def mask(shape: tuple[int, int], *points: tuple[int, int]) -> np.ndarray:
    """An image with some pixels set."""
    found = np.zeros(shape, dtype=np.int64)
    for point in points:
        found[point] = 1
    return found


def ours(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float | None]:
    """The Hausdorff distance between all pixels of two masks."""
    return [mask_score("hd", one, two, boundary="set") for one, two in pairs]


def theirs(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """What the installed package gives."""
    from skimage.metrics import hausdorff_distance

    return [hausdorff_distance(one != 0, two != 0) for one, two in pairs]


def pairs_of(shape: tuple[int, int], first: Points, second: Points) -> tuple[list[Any], list[float]]:
    """Every pair of single pixels, and the distances between them."""
    pairs = list(itertools.product(first, second))
    return [(mask(shape, a), mask(shape, b)) for a, b in pairs], [float(np.hypot(*np.subtract(a, b))) for a, b in pairs]


def scikit_image() -> Peer:
    """All of them."""
    four: Points = ((0, 0), (3, 0), (1, 4), (4, 1))
    singles, apart = pairs_of((5, 5), four, four)
    others, far = pairs_of((7, 7), ((5, 4), (4, 5), (3, 4), (4, 3)), ((6, 4), (2, 6), (2, 4), (4, 0)))
    line, three = [(mask((7, 1), (3, 0)), mask((7, 1), (6, 0)))], [3.0]
    diamond = mask((60, 60), (30, 40), (40, 30), (30, 20), (20, 30))
    kite = mask((60, 60), (30, 50), (45, 30), (30, 10), (15, 30))
    none, dot = mask((3, 3)), mask((3, 3), (1, 1))
    tall, bar = np.zeros((2, 10, 10), dtype=np.int64)
    tall[2:9, 2:9] = bar[4:7, 2:9] = 1
    modified = "The modified distance (larger of the directed means) is not here; `masd` is their mean."

    def table() -> Any:
        evaluator = Evaluator(9)
        (image,) = evaluator.update(np.array([[1, 1, 8, 8]]), np.array([[1, 2, 3, 4]]))
        return image.dense_confusion(9)[:5] / image.scored

    expected = np.zeros((5, 9))
    expected[[1, 2, 3, 4], [1, 1, 8, 8]] = 0.25
    cases = [
        Case(f"{WHERE}: test_hausdorff_simple", "two pixels in a column", three, lambda: ours(line), MODE,
             lambda: theirs(line), "skimage"),
        Case(f"{WHERE}: test_hausdorff_region_single", "16 pairs of pixels", apart, lambda: ours(singles), MODE,
             lambda: theirs(singles), "skimage"),
        Case(f"{WHERE}: test_hausdorff_region_different_points", "16 pairs of pixels", far, lambda: ours(others), MODE,
             lambda: theirs(others), "skimage"),
        Case(f"{WHERE}: test_gallery", "corners of a diamond and of a kite", 10, lambda: ours([(diamond, kite)])[0],
             MODE, lambda: theirs([(diamond, kite)])[0], "skimage"),
        Case(f"{WHERE}: test_gallery", "modified Hausdorff distance", 7.5, why=modified),
        Case(f"{WHERE}: test_hausdorff_mask (proposed)", "a square and a bar across it, between edges", 2,
             lambda: mask_score("hd", bar, tall)),
        Case(
            f"{WHERE}: test_hausdorff_empty", "both empty: 0", 0, lambda: ours([(none, none)])[0], MODE,
            lambda: theirs([(none, none)])[0], "skimage", instead=None,
            why="Nothing to measure: undefined, and left out of means.",
        ),
        Case(
            f"{WHERE}: test_hausdorff_one_empty (proposed)", "nothing predicted: infinite", np.inf,
            lambda: ours([(none, dot)])[0], MODE, lambda: theirs([(none, dot)])[0], "skimage", instead=np.hypot(3, 3),
            why="A missed class costs the image's diagonal, so that means stay finite.",
        ),
        Case(
            f"{WHERE}: test_hausdorff_one_empty (proposed)", "nothing there, a pixel predicted: infinite", np.inf,
            lambda: ours([(dot, none)])[0], MODE, lambda: theirs([(dot, none)])[0], "skimage", instead=np.hypot(3, 3),
            why="A false alarm costs the image's diagonal, so that means stay finite.",
        ),
        Case(f"{WHERE}: test_hausdorff_shape_mismatch (proposed)", "masks of different shapes", "refused",
             lambda: or_refused(lambda: mask_score("hd", none, np.zeros((4, 4))))),
        Case(f"{WHERE}: hausdorff_pair", "the two points themselves", None, why="Only the distance is kept."),
        Case(f"{WHERE}: test_3d_hausdorff_region", "volumes", None, why="Images here have two dimensions."),
        Case("test_segmentation_metrics.py: test_contingency_table", "shares of pairs of labels", expected, table,
             "the confusion matrix over the scored pixels"),
        Case("test_segmentation_metrics.py: test_vi, test_are", "variation of information, adapted Rand error", None,
             why="Scores of instances: labels here are classes."),
    ]  # fmt: skip
    about = (
        "`test_set_metrics.py` and `test_segmentation_metrics.py` of scikit-image (BSD-3-Clause); *proposed* are "
        "tests of a "
        "change to it that is not released. It measures between all pixels of two masks, ours by default between edges."
    )
    return Peer("scikit-image", about, tuple(cases))
