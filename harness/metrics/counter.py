"""Counting a confusion matrix over many images, on the device where the label maps are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.metrics.confusion import confusion_matrix, counted_pixels
from harness.metrics.statistics import has_kernels


class ConfusionCounter:
    """One confusion matrix for a data set, (K, K+1); column K holds predictions outside 0..K-1.

    Maps on a GPU are counted there and nothing waits for it until `matrix` is asked for.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._here = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        self._there: dict[torch.device, Tensor] = {}

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        """Count one image: integer maps (H, W), `valid` boolean. The target is brought to the prediction's device."""
        if prediction.device.type == "cpu":
            self._here += self._count_here(prediction, target.cpu(), valid)
            return
        device = prediction.device
        found = count_on_device(prediction, target.to(device), self.num_classes, self.ignore_index, valid)
        self._there[device] = found if device not in self._there else self._there[device] + found

    def matrix(self) -> NDArray[np.int64]:
        """Everything counted so far."""
        return self._here + sum(part.cpu().numpy() for part in self._there.values())

    def _count_here(self, prediction: Tensor, target: Tensor, valid: Tensor | None) -> NDArray[np.int64]:
        guess, true = prediction.numpy(), target.numpy()
        region = None if valid is None else valid.cpu().numpy()
        if has_kernels() and self.ignore_index == 255:
            from harness.metrics import fast

            found = fast.count_labels(guess, true, self.num_classes, region)
            if found is not None:
                return found
        return confusion_matrix(guess, true, counted_pixels(true, self.ignore_index, region), self.num_classes)


def count_on_device(
    prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int, valid: Tensor | None = None
) -> Tensor:
    """The confusion matrix (K, K+1) of maps (H, W) on their own device, without a transfer or a wait."""
    k = num_classes
    counted = target != ignore_index
    if valid is not None:
        counted &= valid.to(target.device)
    guess = prediction.long()
    guess = torch.where((guess < 0) | (guess >= k), k, guess)
    # What does not count goes into a cell of its own: selecting pixels would need their number, and so a wait.
    cells = torch.where(counted, target.long() * (k + 1) + guess, k * (k + 1))
    # bincount would wait for its largest value, too.
    counts = torch.zeros(k * (k + 1) + 1, dtype=torch.int64, device=target.device)
    counts.scatter_add_(0, cells.ravel(), torch.ones_like(cells).ravel())
    return counts[:-1].reshape(k, k + 1)
