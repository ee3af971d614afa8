"""Soft Dice loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses.base import LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("dice")
class Dice(LossTerm):
    """1 - soft Dice over the batch, averaged over the classes the batch holds (Milletari et al. 2016).

    Squares in the denominator as in the paper's equation; a sigmoid channel counts as one class.
    """

    one_channel = True

    name: Literal["dice"] = "dice"

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch

        counted = (target != ignore_index)[:, None]
        if logits.shape[1] == 1:
            guess = logits.sigmoid()
            truth = (target == 1)[:, None].to(logits.dtype)
        else:
            guess = logits.softmax(dim=1)
            labels = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
            truth = (target[:, None] == labels).to(logits.dtype)
        guess, truth = guess * counted, truth * counted
        overlap = (guess * truth).sum(dim=(0, 2, 3))
        size = (guess**2).sum(dim=(0, 2, 3)) + (truth**2).sum(dim=(0, 2, 3))
        present = truth.sum(dim=(0, 2, 3)) > 0
        each = 1 - 2 * overlap / size.clamp(min=1e-7)
        return (each * present).sum() / present.sum().clamp(min=1)
