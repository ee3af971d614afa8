"""Constrained focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.losses.base import LOSSES, LossTerm, chance_of_truth

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("constrained_focal")
class ConstrainedFocal(LossTerm):
    """Cross-entropy in which a rare class of the batch weighs more: ((N - n) / n)^(1 / beta), n of N pixels being its.

    The loss of Zhao et al., Constrained-Focal-Loss Based Deep Learning for Segmentation of Spores, IEEE Access 7, 2019,
    that study E surveys: -w · log(p), p the probability of the truth, averaged over pixels. It is binary: the weight is
    the foreground's, and the background's is 1. Written after the authors' published program (their beta there: 2), not
    after the equation in print, which was not at hand. In spite of its name it has no factor (1 - p)^gamma.

    A batch of foreground alone weighs 0, by the formula. Of more than two classes each but label 0 has such a weight of
    its own, which is our reading.
    """

    one_channel = True

    name: Literal["constrained_focal"] = "constrained_focal"
    beta: float = Field(2.0, gt=0)
    """The root that constrains the weight: a larger one brings it nearer to 1."""

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch

        counted, truth, log_p = chance_of_truth(logits, target, ignore_index)
        none = torch.zeros(max(2, logits.shape[1]), dtype=torch.float64, device=logits.device)
        pixels = none.scatter_add(0, truth.flatten(), counted.flatten().double())
        weight = (((pixels.sum() - pixels) / pixels.clamp(min=1)) ** (1 / self.beta)).to(logits.dtype)
        weight[0] = 1
        return -(weight[truth] * log_p * counted).sum() / counted.sum().clamp(min=1)
