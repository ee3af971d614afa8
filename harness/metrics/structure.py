"""What is counted of the structure of a class's mask: its skeleton, its components and its holes.

Components are connected by sides and corners, the outside by sides only; beyond the image is outside.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.metrics.confusion import Mask
from harness.metrics.records import STRUCTURES

_BY_CORNERS = np.ones((3, 3), dtype=bool)


def structure_counts(guess: NDArray[np.int32], true: NDArray[np.int32], labels: Iterable[int]) -> NDArray[np.int64]:
    """Count the structures of some classes of one image.

    Args:
        guess: (H, W) predicted labels, after the protocol's void rule.
        true: (H, W) true labels, after it.
        labels: the classes; one that neither map holds has no row.

    Returns:
        (m, 1 + 10) rows of label and `STRUCTURES`.
    """
    rows = []
    for label in labels:
        p, t = guess == label, true == label
        if p.any() or t.any():
            rows.append((label, *_skeletons(p, t), *_components(p, t)))
    return np.array(rows, dtype=np.int64).reshape(-1, 1 + len(STRUCTURES))


def _skeletons(p: Mask, t: Mask) -> tuple[int, int, int, int]:
    """Pixels of each skeleton, and of each that lie inside the other mask (Shit et al., clDice, CVPR 2021)."""
    from skimage.morphology import skeletonize  # takes a third of a second to import

    of_p, of_t = skeletonize(p), skeletonize(t)
    return int(of_p.sum()), int((of_p & t).sum()), int(of_t.sum()), int((of_t & p).sum())


def _components(p: Mask, t: Mask) -> tuple[int, int, int, int, int, int]:
    """Components of each, holes of each, how many of the target are met, and how many of the prediction meet none."""
    (in_p, count_p), (in_t, count_t) = (ndimage.label(mask, _BY_CORNERS) for mask in (p, t))
    both = p & t
    met, meeting = (len(np.unique(found[both])) for found in (in_t, in_p))
    return count_p, count_t, _holes(p), _holes(t), met, count_p - meeting


def _holes(mask: Mask) -> int:
    """Components of the outside but the one around the image."""
    return int(ndimage.label(~np.pad(mask, 1))[1]) - 1
