"""The evaluator: the field's update/compute habit in front of statistics and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from harness.metrics.boundary import boundary_maps
from harness.metrics.confidence import confidence_histogram
from harness.metrics.confusion import counted_pixels
from harness.metrics.histogram import score_histogram
from harness.metrics.protocol import Protocol
from harness.metrics.records import ImageStatistics, StatisticsTable
from harness.metrics.scores import Scores, fold
from harness.metrics.statistics import image_statistics
from harness.metrics.structure import structure_counts
from harness.utils.pixels import nearest_pixels


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

    def update(
        self,
        prediction: Any,
        target: Any,
        image_id: Any = None,
        valid: Any = None,
        score: Any = None,
        loss: Any = None,
        confidence: Any = None,
    ) -> list[ImageStatistics]:
        """Score one image (H, W) or a batch (N, H, W) of integer label maps, NumPy or torch.

        Args:
            prediction: predicted labels.
            target: true labels; `ignore_index` marks void.
            image_id: a name, or one for each image of a batch; the running number if None.
            valid: boolean region(s) to score, shaped like the target; None scores everything.
            score: binary sets: the foreground's probability, shaped like the target; gives the AUC.
            loss: a number, or one for each image of a batch; gives the mean loss.
            confidence: the predicted label's probability, shaped like the target; gives calibration.

        Returns:
            The statistics of each image.

        Raises:
            ValueError: shapes differ, labels are not whole numbers, a scored label does not exist, or a score is no
                probability or comes without a foreground.
        """
        found = self.measure(prediction, target, image_id, valid, score, loss, confidence)
        self.add(found)
        return found

    def measure(
        self,
        prediction: Any,
        target: Any,
        image_id: Any = None,
        valid: Any = None,
        score: Any = None,
        loss: Any = None,
        confidence: Any = None,
    ) -> list[ImageStatistics]:
        """What `update` gathers, without adding it: may be called from many threads at once."""
        guess, true = _as_labels(prediction, "prediction"), _as_labels(target, "target")
        if guess.shape != true.shape or true.ndim not in (2, 3):
            raise ValueError(f"prediction {guess.shape} and target {true.shape} must both be (H, W) or (N, H, W)")
        region = _like(valid, true, "valid", bool)
        chance = _like(score, true, "score", float)
        if chance is not None and self.foreground is None:
            raise ValueError("scores of the foreground need Evaluator(…, foreground=CLASS)")
        sure = _like(confidence, true, "confidence", np.float32)
        if true.ndim == 2:
            guess, true = guess[None], true[None]
            region, chance, sure = (None if part is None else part[None] for part in (region, chance, sure))
        if image_id is None:
            names = [len(self._images) + i for i in range(len(true))]
        else:
            names = [image_id] if np.ndim(image_id) == 0 else list(image_id)
        losses = np.broadcast_to(np.nan if loss is None else np.asarray(_to_numpy(loss), dtype=float), len(true))
        if len(names) != len(true):
            raise ValueError(f"{len(names)} image ids for {len(true)} images")
        return [
            self._measure_one(
                guess[i],
                true[i],
                str(names[i]),
                None if region is None else region[i],
                None if chance is None else chance[i],
                float(losses[i]),
                None if sure is None else sure[i],
            )
            for i in range(len(true))
        ]

    def _measure_one(
        self, guess: Any, true: Any, name: str, region: Any, chance: Any, loss: float, sure: Any
    ) -> ImageStatistics:
        if self.protocol.size is not None:
            size = self.protocol.size
            guess, true = _at_size(guess, size), _at_size(true, size)
            region, chance, sure = (None if part is None else _at_size(part, size) for part in (region, chance, sure))
        found = image_statistics(guess, true, self.num_classes, self.ignore_index, self.protocol, name, region)
        structured = self._structured()
        if chance is not None or sure is not None or structured:
            counted = counted_pixels(true, self.ignore_index, region)
        if chance is not None and self.foreground is not None:
            found = replace(found, histogram=score_histogram(chance, true, counted, self.foreground))
        if sure is not None:
            found = replace(found, confidence=confidence_histogram(sure, guess, true, counted))
        if structured and found.scored:
            maps = boundary_maps(guess, true, counted, region, self.num_classes, self.protocol)
            found = replace(found, structures=structure_counts(*maps, structured))
        return found if math.isnan(loss) else replace(found, loss=loss)

    def _structured(self) -> list[int]:
        """The classes whose structures are counted."""
        if self.protocol.structures == "all":
            return [label for label in range(self.num_classes) if label != self.protocol.background]
        return [self.foreground] if self.protocol.structures == "foreground" and self.foreground is not None else []

    def add(self, images: Iterable[ImageStatistics]) -> None:
        """Add what `measure` gathered."""
        self._images.extend(images)

    def merge(self, other: Evaluator) -> None:
        """Add another evaluator's images.

        Raises:
            ValueError: it counts other classes or follows another protocol.
        """
        ours = (self.num_classes, self.ignore_index, self.protocol, self.foreground)
        theirs = (other.num_classes, other.ignore_index, other.protocol, other.foreground)
        if ours != theirs:
            raise ValueError("only evaluators of the same classes, ignore index, protocol and foreground can be merged")
        self._images.extend(other._images)

    def reset(self) -> None:
        """Forget every image."""
        self._images.clear()

    def statistics(self) -> StatisticsTable:
        """The statistics of all images so far, in the order they came."""
        return StatisticsTable.of(self._images)

    def compute(self) -> Scores:
        """The scores of all images so far."""
        return self.scores_of(self.statistics())

    def scores_of(self, table: StatisticsTable) -> Scores:
        """The scores of statistics gathered elsewhere under the same protocol."""
        return fold(table, self.num_classes, self.protocol, self.foreground)


def _at_size(labels: Any, size: tuple[int, int]) -> Any:
    """A map (H, W) at another size, by the nearest pixel."""
    rows, columns = (nearest_pixels(old, new) for new, old in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns[None, :]]


def _to_numpy(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def _like(values: Any, target: Any, what: str, dtype: type) -> Any:
    """An array shaped like the target, or None."""
    if values is None:
        return None
    array: Any = np.asarray(_to_numpy(values), dtype=dtype)
    if array.shape != target.shape:
        raise ValueError(f"{what} {array.shape} must be shaped like the target {target.shape}")
    return array


def _as_labels(values: Any, what: str) -> Any:
    array = np.asarray(_to_numpy(values))
    if array.dtype == bool:
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"the {what} holds {array.dtype}, not integer labels")
    return array
