"""Our evaluator, asked in the ways in which peers ask theirs.

Peers take masks, one for each class, which may overlap; a label map has one class for each pixel. `mask_scores` and
`by_channel` therefore score every mask by itself, as class 1 of a map with two classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Evaluator, Protocol, Scores, fold
from tests.peers.case import REFUSED, Figures


def grid(*maps: str) -> NDArray[np.int64]:
    """Small maps as they are written: rows apart by spaces, a digit a pixel; several maps are stacked."""
    found = [np.array([[int(digit) for digit in row] for row in text.split()]) for text in maps]
    return found[0] if len(found) == 1 else np.stack(found)


def scores(prediction: Any, target: Any, classes: int = 2, **conventions: Any) -> Scores:
    """The scores of label maps (H, W) or (N, H, W) under the standard protocol, or one with other fields."""
    evaluator = Evaluator(classes, protocol=Protocol.model_validate(conventions))
    evaluator.update(np.asarray(prediction).astype(np.int64), np.asarray(target).astype(np.int64))
    return evaluator.compute()


def by_class(name: str, prediction: Any, target: Any, classes: int = 2, **conventions: Any) -> list[float | None]:
    """One score of every class."""
    return scores(prediction, target, classes, **conventions).per_class[name]


def by_image(name: str, prediction: Any, target: Any, classes: int = 2, **conventions: Any) -> list[list[float | None]]:
    """One score of every class, image by image: the statistics of each folded by themselves."""
    protocol = Protocol.model_validate(conventions)
    evaluator = Evaluator(classes, protocol=protocol)
    evaluator.update(np.asarray(prediction).astype(np.int64), np.asarray(target).astype(np.int64))
    table = evaluator.statistics()
    return [fold(table.subset([image]), classes, protocol).per_class[name] for image in table.ids]


def mask_score(name: str, prediction: Any, target: Any, **conventions: Any) -> float | None:
    """One score of a mask (H, W), or of the same mask in N images."""
    return by_class(name, np.asarray(prediction) != 0, np.asarray(target) != 0, **conventions)[1]


def by_channel(name: str, predictions: Any, targets: Any, **conventions: Any) -> list[list[float | None]]:
    """One score of every image and mask, from arrays (N, C, H, W) of zeros and ones."""
    return [
        [mask_score(name, p, t, **conventions) for p, t in zip(image, true, strict=True)]
        for image, true in zip(np.asarray(predictions), np.asarray(targets), strict=True)
    ]


def counts(predictions: Any, targets: Any, classes: int) -> list[list[list[int]]]:
    """True positives, false positives, true negatives and false negatives of every image and class."""
    evaluator = Evaluator(classes)
    found = []
    for image in evaluator.update(np.asarray(predictions), np.asarray(targets)):
        matrix = image.dense_confusion(classes)
        hit = np.diag(matrix)
        false, missed = matrix.sum(axis=0) - hit, matrix.sum(axis=1) - hit
        found.append(np.stack([hit, false, matrix.sum() - hit - false - missed, missed], axis=1).tolist())
    return found


def or_refused(ask: Callable[[], Figures]) -> Figures:
    """The figures, or `REFUSED` where the input was refused."""
    try:
        return ask()
    except (ValueError, RuntimeError):
        return REFUSED


def one_hot(labels: Any, classes: int) -> NDArray[np.int64]:
    """Label maps (N, H, W) as masks (N, C, H, W)."""
    return np.moveaxis(np.eye(classes, dtype=np.int64)[np.asarray(labels)], -1, 1)
