"""Focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.losses.base import FORMER_FIELDS, LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("focal")
class Focal(LossTerm):
    """Cross-entropy weighted by (1 - p)^gamma, p the probability of the truth (Lin et al. 2017, eq. 4)."""

    former_fields = FORMER_FIELDS

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """The focusing exponent."""

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch
        from torch.nn.functional import log_softmax

        counted = target != ignore_index
        truth = torch.where(counted, target, torch.zeros_like(target)).long()
        log_p = log_softmax(logits, dim=1).gather(1, truth[:, None])[:, 0]
        each = -((1 - log_p.exp()) ** self.gamma) * log_p
        return (each * counted).sum() / counted.sum().clamp(min=1)
