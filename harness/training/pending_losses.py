"""Losses of steps that a GPU may still be computing."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from harness.errors import Diverged


class PendingLosses:
    """Reads each loss one step late on a GPU, so that no step waits for the one before; at once on a CPU.

    Args:
        device: where the losses are computed.
    """

    def __init__(self, device: torch.device) -> None:
        self._late = 0 if device.type == "cpu" else 1
        self._waiting: deque[tuple[int, int, Tensor]] = deque()

    def add(self, epoch: int, iteration: int, loss: Tensor) -> float:
        """Take in a step's loss; returns the sum of those that are now read.

        Raises:
            Diverged: one is not finite; names its epoch and iteration.
        """
        self._waiting.append((epoch, iteration, loss))
        return self._read(self._late)

    def settle(self) -> float:
        """Wait for all that are left: at the end of an epoch, and before a checkpoint.

        Raises:
            Diverged: one is not finite.
        """
        return self._read(0)

    def _read(self, left: int) -> float:
        total = 0.0
        while len(self._waiting) > left:
            epoch, iteration, loss = self._waiting.popleft()
            value = float(loss)
            if not math.isfinite(value):
                raise Diverged(f"the loss became {value} at epoch {epoch}, iteration {iteration}")
            total += value
        return total
