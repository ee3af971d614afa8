"""The confusion matrix: whole numbers, rows are the target, one matrix for the data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]


def counted_pixels(target: Labels, ignore_index: int, valid: Mask | None) -> Mask:
    """The pixels that are scored: not void in the target, and inside the valid region. Shape (H, W)."""
    counted: Mask = target != ignore_index
    return counted if valid is None else counted & valid


def check_labels(prediction: Labels, target: Labels, counted: Mask, num_classes: int, strict: bool) -> None:
    """Refuse labels outside 0..num_classes-1 on scored pixels.

    Args:
        prediction: (H, W) predicted labels.
        target: (H, W) true labels.
        counted: (H, W) pixels that are scored; what lies outside them is never looked at.
        num_classes: K.
        strict: whether the prediction is checked too.

    Raises:
        ValueError: naming the map and the labels that do not exist.
    """
    maps = [("target", target)] + ([("prediction", prediction)] if strict else [])
    for what, labels in maps:
        outside = counted & ((labels < 0) | (labels >= num_classes))
        if outside.any():
            found = ", ".join(str(v) for v in np.unique(labels[outside])[:5])
            raise ValueError(
                f"the {what} holds label(s) {found} on {int(outside.sum())} scored pixel(s), "
                f"outside 0..{num_classes - 1}"
            )


def confusion_matrix(prediction: Labels, target: Labels, counted: Mask, num_classes: int) -> NDArray[np.int64]:
    """Count (target, prediction) pairs over the scored pixels.

    Args:
        prediction: (H, W) predicted labels; a label outside 0..K-1 falls into the extra column K.
        target: (H, W) true labels, inside 0..K-1 wherever `counted`.
        counted: (H, W) pixels to count.
        num_classes: K.

    Returns:
        (K, K+1) counts; rows are the target. Column K holds predictions outside 0..K-1: such a pixel is a
        miss of its true class and nobody's false positive.
    """
    width = num_classes + 1
    predicted = prediction[counted].astype(np.int64)
    predicted[(predicted < 0) | (predicted >= num_classes)] = num_classes
    pairs = target[counted].astype(np.int64) * width + predicted
    return np.bincount(pairs, minlength=num_classes * width).reshape(num_classes, width)
