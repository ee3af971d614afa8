"""What boundary-iou-api (BSD-2-Clause) computes, as mask_to_boundary and the paper define it; it ships no tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics import Protocol
from harness.metrics.boundary import band_width, inner_band
from tests.peers.adapter import mask_score, scores
from tests.peers.case import Case, Peer

WHERE = "boundary_iou/utils/boundary_utils.py: mask_to_boundary"


def bands_by_opencv(masks: np.ndarray) -> list[int]:
    """Pixels of the bands as its recipe makes them: a border of zeros, 3×3 erosions, the difference."""
    import cv2

    found = []
    for mask in masks:
        padded = np.pad(mask, 1).astype(np.uint8)
        inside = cv2.erode(padded, np.ones((3, 3), dtype=np.uint8), iterations=band_width(*mask.shape, Protocol()))
        found.append(int(mask.sum() - inside[1:-1, 1:-1].sum()))
    return found


def our_bands(masks: np.ndarray) -> list[int]:
    """Pixels of our bands."""
    return [int(inner_band(m == 1, band_width(*m.shape, Protocol())).sum()) for m in masks]


def noise() -> np.ndarray:
    """Smooth random masks of 200×150, for which bands are five pixels wide."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    return np.stack([ndimage.gaussian_filter(rng.random((200, 150)), 6) > 0.5 for _ in range(6)]).astype(np.int64)


def boundary_iou() -> Peer:
    """All of them."""
    here = np.zeros((10, 10), dtype=np.int64)
    here[2:8, 2:8] = 1
    right, full = np.roll(here, 1, axis=1), np.ones((6, 6), dtype=np.int64)
    sizes = ((75, 100), (512, 512), (1024, 2048), (3, 3), (480, 640))
    none = np.zeros((10, 10), dtype=np.int64)

    def theirs() -> Any:
        return bands_by_opencv(noise())

    cases = [
        Case(WHERE, "width 0.02 of the diagonal, rounded as Python does (2.5 to 2), at least one", [2, 14, 46, 1, 16],
             lambda: [band_width(*size, Protocol()) for size in sizes]),
        Case(WHERE, "the image's border counts: a full image of 6×6, width 1", 20,
             lambda: int(inner_band(full == 1, 1).sum())),
        Case(WHERE, "a square of 6×6 moved by a column, width 1", 10 / 30,
             lambda: mask_score("biou", right, here, biou_width=1), "biou_width=1"),
        Case(WHERE, "the same, width 2", 24 / 40, lambda: mask_score("biou", right, here, biou_width=2),
             "biou_width=2"),
        Case(WHERE, "pixels of the bands of six smooth random masks", theirs, lambda: our_bands(noise()), needs="cv2"),
        Case(
            "boundary_iou/coco_instance_api/cocoeval.py", "minimum of mask IoU and Boundary IoU",
            why="Instances; scores of classes here are kept apart.",
        ),
        Case(
            WHERE, "both empty: nothing to divide by", None, lambda: mask_score("biou", none, none),
                    ),
        Case(
            "the paper, equation 3", "several images: intersections and unions summed", (10 + 20) / (30 + 20),
            lambda: _of_two_images(), "biou_width=1",
        ),
    ]  # fmt: skip
    about = (
        "bowenc0221/boundary-iou-api (BSD-2-Clause) has no tests; the cases are worked out by hand from what it "
        "computes. "
        "Its bands are made again with OpenCV, by the recipe that it states, where OpenCV is installed. Random masks "
        "with void: `tests/harness/test_peers.py`."
    )
    return Peer("Boundary IoU", about, tuple(cases))


def _of_two_images() -> float | None:
    """The moved square, and a full block of 6×6 that is right."""
    prediction, target = np.zeros((2, 2, 10, 10), dtype=np.int64)
    target[0, 2:8, 2:8] = prediction[0, 2:8, 3:9] = 1
    target[1, 2:8, 2:8] = prediction[1, 2:8, 2:8] = 1
    return scores(prediction, target, biou_width=1).per_class["biou"][1]
