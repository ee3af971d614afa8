"""A loss from another package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses import LossTerm
from harness.utils.options import Fraction

if TYPE_CHECKING:
    from torch import Tensor


class Tversky(LossTerm):
    """1 - the Tversky index of the softmax, averaged over all classes (Salehi et al. 2017)."""

    name: Literal["tversky"] = "tversky"
    alpha: Fraction = 0.3
    """Weight of false positives; that of false negatives is 1 - alpha."""

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch

        counted = (target != ignore_index)[:, None]
        labels = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        truth = (target[:, None] == labels) * counted
        guess = logits.softmax(dim=1) * counted
        hits = (guess * truth).sum(dim=(0, 2, 3))
        false = self.alpha * (guess.sum(dim=(0, 2, 3)) - hits)
        missed = (1 - self.alpha) * (truth.sum(dim=(0, 2, 3)) - hits)
        return (1 - hits / (hits + false + missed).clamp(min=1e-7)).mean() * counted.any()
