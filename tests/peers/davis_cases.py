"""What davis2017-evaluation (BSD-3-Clause) computes, as its metrics.py and the papers define it; it ships no tests."""

from __future__ import annotations

import numpy as np

from tests.peers.adapter import grid, mask_score
from tests.peers.case import Case, Peer

WHERE = "davis2017/metrics.py"
REGION, CONTOUR = {"absent": "one"}, {"bf": "davis"}


def block(top: int, left: int, side: int = 50) -> np.ndarray:
    """A square of 10×10 pixels in an image."""
    mask = np.zeros((side, side), dtype=np.int64)
    mask[top : top + 10, left : left + 10] = 1
    return mask


def davis() -> Peer:
    """All of them."""
    none, here, right = np.zeros((50, 50), dtype=np.int64), block(10, 10), block(10, 11)
    corner = block(40, 40)
    dot, beside = grid("0000 0100 0000 0000"), grid("0000 0001 0000 0000")
    near = 1 / np.hypot(4, 4)

    def f(prediction: np.ndarray, target: np.ndarray, **more: object) -> float | None:
        return mask_score("bf", prediction, target, **CONTOUR, **more)

    # Half a pixel towards the origin, the contour of a 10×10 square has 11 × 11 − 9 × 9 = 40 pixels. Moved by one
    # column, and within no more than a pixel (0.008 of a diagonal of 71, rounded up), all of them match.
    cases = [
        Case(f"{WHERE}: db_eval_iou", "both empty: J = 1", 1, lambda: mask_score("iou", none, none, **REGION),
             "absent=one"),
        Case(f"{WHERE}: db_eval_iou", "nothing predicted, or nothing there: J = 0", [0, 0],
             lambda: [mask_score("iou", none, here), mask_score("iou", here, none)]),
        Case(f"{WHERE}: db_eval_iou", "a square moved by a column: 90 of 110 pixels", 90 / 110,
             lambda: mask_score("iou", right, here)),
        Case(f"{WHERE}: f_measure", "both empty: F = 1", 1, lambda: f(none, none), "bf=davis"),
        Case(f"{WHERE}: f_measure", "nothing predicted, or nothing there: F = 0", [0, 0],
             lambda: [f(none, here), f(here, none)], "bf=davis"),
        Case(f"{WHERE}: f_measure", "a square moved by a column, within a pixel", 1, lambda: f(right, here),
             "bf=davis"),
        Case(f"{WHERE}: _seg2bmap",
             "two pixels, two columns apart: of their four contour pixels two are a pixel apart", 0.5,
             lambda: f(beside, dot, bf_tolerance=near), "bf=davis, bf_tolerance = 1 px"),
        Case(f"{WHERE}: _seg2bmap",
             "a square in the last rows and columns: only its upper and left contour, 21 pixels", 21,
             lambda: _edge_pixels(corner), "boundary=davis"),
        Case(f"{WHERE}: _seg2bmap", "a square within the image: 40 pixels", 40, lambda: _edge_pixels(here),
             "boundary=davis"),
        Case(f"{WHERE}: f_measure", "void pixels are emptied in both masks", 1, _with_void, "bf=davis, void=mask"),
        Case(
            f"{WHERE}: db_eval_boundary",
            "means over frames: an object that is nowhere in one of two, missed in none", 1,
            lambda: mask_score("bf", np.stack([here, none]), np.stack([here, none]), **CONTOUR), "bf=davis",
        ),
        Case("results/semi-supervised/osvos", "the scores of the masks it ships (OSVOS, DAVIS 2017 val)", None,
             why="They need the annotations of DAVIS 2017, which this project has no copy of."),
    ]  # fmt: skip
    about = (
        "davisvideochallenge/davis2017-evaluation (BSD-3-Clause) has no tests; the cases are worked out by hand "
        "from what "
        "its `metrics.py` computes. Random masks: `tests/harness/test_peers.py`."
    )
    return Peer("DAVIS", about, tuple(cases))


def _edge_pixels(mask: np.ndarray) -> int:
    from harness.metrics.surface import davis_edge

    return int(davis_edge(mask == 1).sum())


def _with_void() -> float | None:
    """A target whose right half is void; the prediction is wrong there alone."""
    target, prediction = block(10, 10), block(10, 10)
    target[:, 30:] = 255
    prediction[20:30, 35:45] = 1
    from harness.metrics import Evaluator, Protocol

    evaluator = Evaluator(2, protocol=Protocol(void="mask", bf="davis"))
    evaluator.update(prediction, target)
    return evaluator.compute().per_class["bf"][1]
