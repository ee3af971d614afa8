"""surface-distance's tests (Apache-2.0): surface_distance_test.py in google-deepmind/surface-distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from harness.metrics import Evaluator, Protocol
from tests.peers.adapter import mask_score, or_refused
from tests.peers.case import Case, Peer

CONTOUR: dict[str, Any] = {"boundary": "deepmind", "hd_percentile_rule": "deepmind", "nsd_tolerance": 1.0}
MODE = "boundary=deepmind, hd_percentile_rule=deepmind, nsd_tolerance=1"
WHERE = "SurfaceDistance2DTest"


def pixel(x: int | None) -> np.ndarray:
    """An image of 128×128 with one pixel of row 50 set."""
    mask = np.zeros((128, 128), dtype=np.int64)
    if x is not None:
        mask[50, x] = 1
    return mask


def squares() -> tuple[np.ndarray, np.ndarray]:
    """A block of 3×2 pixels, predicted, and one of 2×2, in the truth, in 6×6."""
    prediction, target = np.zeros((2, 6, 6), dtype=np.int64)
    prediction[1:4, 1:3] = target[1:3, 1:3] = 1
    return prediction, target


def directed(prediction: np.ndarray, target: np.ndarray, spacing: tuple[float, float]) -> list[float]:
    """Mean distances truth to prediction and back, and the shares of both contours within 1."""
    protocol = Protocol.model_validate({**CONTOUR, "spacing": spacing})
    (image,) = Evaluator(2, protocol=protocol).update(prediction, target)
    (found,) = [surface for surface in image.surfaces if surface.label == 1]
    return [
        found.sum_to_prediction / found.edge_target,
        found.sum_to_target / found.edge_prediction,
        found.nsd_target / found.edge_target,
        found.nsd_prediction / found.edge_prediction,
    ]


def ours(names: Sequence[str], prediction: np.ndarray, target: np.ndarray, spacing: tuple[float, float]) -> list[Any]:
    """Scores of the mask in their mode."""
    return [mask_score(name, prediction, target, **CONTOUR, spacing=spacing) for name in names]


def theirs(prediction: np.ndarray, target: np.ndarray, spacing: tuple[float, float]) -> dict[str, Any]:
    """Everything that the installed package gives."""
    import surface_distance as peer

    # The package is older than NumPy 2.
    with patch.object(np, "Inf", np.inf, create=True), patch.object(np, "NaN", np.nan, create=True):
        found = peer.compute_surface_distances(target == 1, prediction == 1, spacing)
        means = peer.compute_average_surface_distance(found)
        shares = peer.compute_surface_overlap_at_tolerance(found, 1)
        return {
            "means and shares": [*means, *shares],
            "hd": peer.compute_robust_hausdorff(found, 100),
            "hd95": peer.compute_robust_hausdorff(found, 95),
            "nsd": peer.compute_surface_dice_at_tolerance(found, 1),
            "dice": peer.compute_dice_coefficient(target == 1, prediction == 1),
        }


def surface_distance() -> Peer:
    """All of them."""
    spacing, empty = (2.0, 1.0), (3.0, 2.0)
    two = pixel(72), pixel(70)
    scores = ("hd", "hd95", "nsd", "dice")
    # The contours of its second test, point by point: length, and distance to the other.
    diag, across, down = 0.5 * math.hypot(1, 2), 1.0, 2.0
    true = [(diag, 0), (across, 0), (diag, 0), (down, 0), (diag, 0), (across, 1), (diag, 0), (down, 0)]
    guess = [
        (diag, 0), (across, 0), (diag, 0), (down, 0), (down, 0),
        (diag, 2), (across, 2), (diag, 2), (down, 0), (down, 0),
    ]  # fmt: skip

    def mean(contour: list[tuple[float, float]]) -> float:
        return sum(length * apart for length, apart in contour) / sum(length for length, _ in contour)

    def within(*contours: list[tuple[float, float]]) -> float:
        points = [point for contour in contours for point in contour]
        return sum(length for length, apart in points if apart <= 1) / sum(length for length, _ in points)

    cases = [
        Case(
            f"{WHERE}: on_2_pixels_2mm_away", "two pixels, two apart: directed means, shares of contours within 1",
            [1.5, 1.5, 0.5, 0.5], lambda: directed(*two, spacing), f"{MODE}, spacing=2,1",
            lambda: theirs(*two, spacing)["means and shares"], "surface_distance",
        ),
        Case(
            f"{WHERE}: on_2_pixels_2mm_away", "the same: HD, HD95, surface Dice, volumetric Dice", [2, 2, 0.5, 0],
            lambda: ours(scores, *two, spacing), f"{MODE}, spacing=2,1",
            lambda: [theirs(*two, spacing)[name] for name in scores], "surface_distance",
        ),
        Case(
            f"{WHERE}: two_squares_shifted_by_one_pixel", "blocks of 2×2 and 3×2: directed means, shares",
            [mean(true), mean(guess), within(true), within(guess)], lambda: directed(*squares(), spacing),
            f"{MODE}, spacing=2,1", lambda: theirs(*squares(), spacing)["means and shares"], "surface_distance",
        ),
        Case(
            f"{WHERE}: two_squares_shifted_by_one_pixel", "the same: HD, HD95, surface Dice, volumetric Dice",
            [2, 2, within(true, guess), 2 * 4 / 10], lambda: ours(scores, *squares(), spacing),
            f"{MODE}, spacing=2,1", lambda: [theirs(*squares(), spacing)[name] for name in scores], "surface_distance",
        ),
        Case(
            f"{WHERE}: empty_prediction_mask", "nothing predicted: surface Dice, volumetric Dice", [0, 0],
            lambda: ours(("nsd", "dice"), pixel(None), pixel(60), empty), f"{MODE}, spacing=3,2",
            lambda: [theirs(pixel(None), pixel(60), empty)[name] for name in ("nsd", "dice")], "surface_distance",
        ),
        Case(
            f"{WHERE}: empty_prediction_mask", "nothing predicted: HD, HD95 infinite", [math.inf, math.inf],
            lambda: ours(("hd", "hd95"), pixel(None), pixel(60), empty), f"{MODE}, spacing=3,2",
            lambda: [theirs(pixel(None), pixel(60), empty)[name] for name in ("hd", "hd95")], "surface_distance",
            instead=[math.hypot(3 * 128, 2 * 128)] * 2,
            why="A missed class costs the image's diagonal, so that means stay finite.",
        ),
        Case(
            f"{WHERE}: empty_ground_truth_mask", "nothing there: HD, HD95 infinite, surface Dice 0",
            [math.inf, math.inf, 0], lambda: ours(("hd", "hd95", "nsd"), pixel(60), pixel(None), empty),
            f"{MODE}, spacing=3,2",
            lambda: [theirs(pixel(60), pixel(None), empty)[name] for name in ("hd", "hd95", "nsd")],
            "surface_distance",
            instead=[math.hypot(3 * 128, 2 * 128)] * 2 + [0],
            why="A false alarm costs the image's diagonal, so that means stay finite.",
        ),
        Case(
            f"{WHERE}: empty_ground_truth_mask", "nothing there: volumetric Dice", 0,
            lambda: mask_score("dice", pixel(60), pixel(None)), "", needs="surface_distance",
            peer=lambda: theirs(pixel(60), pixel(None), empty)["dice"],
        ),
        Case(
            f"{WHERE}: both_empty_masks", "both empty: surface Dice, volumetric Dice undefined", [None, None],
            lambda: ours(("nsd", "dice"), pixel(None), pixel(None), empty), f"{MODE}, spacing=3,2",
            lambda: [theirs(pixel(None), pixel(None), empty)[name] for name in ("nsd", "dice")], "surface_distance",
        ),
        Case(
            f"{WHERE}: both_empty_masks", "both empty: HD, HD95 infinite", [math.inf, math.inf],
            lambda: ours(("hd", "hd95"), pixel(None), pixel(None), empty), f"{MODE}, spacing=3,2",
            lambda: [theirs(pixel(None), pixel(None), empty)[name] for name in ("hd", "hd95")], "surface_distance",
            instead=[None, None], why="Nothing to measure: undefined, and left out of means.",
        ),
        Case(
            "SurfaceDistanceTest: raises_on_incompatible_shapes", "masks of different shapes", "refused",
            lambda: or_refused(lambda: mask_score("hd", np.zeros((2, 2)), np.zeros((2, 3)))),
            peer=lambda: or_refused(lambda: theirs(np.zeros((2, 2)), np.zeros((2, 3)), (1.0, 1.0))),
            needs="surface_distance",
        ),
        Case("SurfaceDistance3DTest", "volumes", None, why="Images here have two dimensions."),
    ]  # fmt: skip
    about = "`surface_distance_test.py` of google-deepmind/surface-distance (Apache-2.0): every two-dimensional case."
    return Peer("surface-distance", about, tuple(cases))
