"""The evaluator: the field's update/compute habit in front of statistics and scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics.protocol import Protocol
from harness.metrics.records import ImageStatistics, StatisticsTable
from harness.metrics.scores import Scores, fold
from harness.metrics.statistics import image_statistics


class Evaluator:
    """Scores label maps under one protocol.

    Args:
        num_classes: K; labels are 0..K-1.
        ignore_index: the target's void label.
        protocol: the conventions.
        foreground: the class that counts in a binary set.

    Example:
        >>> evaluator = Evaluator(num_classes=2)
        >>> _ = evaluator.update(np.array([[0, 1]]), np.array([[0, 1]]))
        >>> evaluator.compute().to_dict()["miou"]
        1.0
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        protocol: Protocol | None = None,
        foreground: int | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.protocol = protocol or Protocol()
        self.foreground = foreground
        self._images: list[ImageStatistics] = []

    def update(self, prediction: Any, target: Any, image_id: Any = None, valid: Any = None) -> list[ImageStatistics]:
        """Score one image (H, W) or a batch (N, H, W) of integer label maps, NumPy or torch.

        Args:
            prediction: predicted labels.
            target: true labels; `ignore_index` marks void.
            image_id: a name, or one for each image of a batch; the running number if None.
            valid: boolean region(s) to score, shaped like the target; None scores everything.

        Returns:
            The statistics of each image.

        Raises:
            ValueError: shapes differ, labels are not whole numbers, or a scored label does not exist.
        """
        guess, true = _as_labels(prediction, "prediction"), _as_labels(target, "target")
        if guess.shape != true.shape or true.ndim not in (2, 3):
            raise ValueError(f"prediction {guess.shape} and target {true.shape} must both be (H, W) or (N, H, W)")
        region = None if valid is None else np.asarray(_to_numpy(valid), dtype=bool)
        if region is not None and region.shape != true.shape:
            raise ValueError(f"valid {region.shape} must be shaped like the target {true.shape}")
        if true.ndim == 2:
            guess, true = guess[None], true[None]
            region = None if region is None else region[None]
        names = [image_id] if true.shape[0] == 1 and not isinstance(image_id, list | tuple) else image_id
        if names is None or names == [None]:
            names = [len(self._images) + i for i in range(len(true))]
        if len(names) != len(true):
            raise ValueError(f"{len(names)} image ids for {len(true)} images")
        found = [
            image_statistics(
                guess[i],
                true[i],
                self.num_classes,
                self.ignore_index,
                self.protocol,
                str(names[i]),
                None if region is None else region[i],
            )
            for i in range(len(true))
        ]
        self._images.extend(found)
        return found

    def merge(self, other: Evaluator) -> None:
        """Add another evaluator's images.

        Raises:
            ValueError: it counts other classes or follows another protocol.
        """
        ours = (self.num_classes, self.ignore_index, self.protocol)
        theirs = (other.num_classes, other.ignore_index, other.protocol)
        if ours != theirs:
            raise ValueError("only evaluators of the same classes, ignore index and protocol can be merged")
        self._images.extend(other._images)

    def reset(self) -> None:
        """Forget every image."""
        self._images.clear()

    def statistics(self) -> StatisticsTable:
        """The statistics of all images so far, in the order they came."""
        return StatisticsTable.of(self._images)

    def compute(self) -> Scores:
        """The scores of all images so far."""
        return fold(self.statistics(), self.num_classes, self.protocol, self.foreground)


def _to_numpy(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def _as_labels(values: Any, what: str) -> Any:
    array = np.asarray(_to_numpy(values))
    if array.dtype == bool:
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"the {what} holds {array.dtype}, not integer labels")
    return array
