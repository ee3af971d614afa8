"""Pictures made of label maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.datasets.palette import VOID_COLOR
from leaderboard.queries import Data

RIGHT, WRONG, VOID = (200, 200, 200), (214, 39, 40), (255, 255, 255)


def error_map(
    target: NDArray[np.integer], prediction: NDArray[np.integer], ignore_index: int = 255
) -> NDArray[np.uint8]:
    """Where a prediction is right, wrong, or not scored.

    Args:
        target: (H, W) true labels.
        prediction: (H, W) predicted labels.
        ignore_index: the void label.

    Returns:
        (H, W, 3) RGB.
    """
    picture = np.empty((*target.shape, 3), dtype=np.uint8)
    picture[...] = RIGHT
    picture[prediction != target] = WRONG
    picture[target == ignore_index] = VOID
    return picture


def legend(data: Data) -> list[tuple[str, tuple[int, int, int]]]:
    """The classes and void with their colours."""
    return [*zip(data.classes, data.palette, strict=True), ("void", VOID_COLOR)]
