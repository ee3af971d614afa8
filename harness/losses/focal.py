"""Focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.losses.base import LOSSES, LossTerm, chance_of_truth
from harness.losses.class_weights import ClassWeights, wrong_number
from harness.utils.options import Fraction

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("focal")
class Focal(LossTerm):
    """Cross-entropy weighted by (1 - p)^gamma, p the probability of the truth (Lin et al. 2017, eq. 4).

    With `alpha`, also by the weight of the true class (eq. 5). The mean is over pixels, whatever they weigh.
    """

    one_channel = True

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """The focusing exponent."""
    alpha: Fraction | ClassWeights | None = None
    """One weight for each class; on a binary set also a single number, which is class 1's, while class 0 has 1 - alpha.
    None: no weights."""

    def problem(self, classes: Sequence[str]) -> str | None:
        """See `LossTerm`."""
        if isinstance(self.alpha, tuple):
            return wrong_number("alpha", self.alpha, classes)
        if self.alpha is not None and len(classes) != 2:
            return f"alpha: a single number is for a binary set; give one weight for each of the {len(classes)} classes"
        return None

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch

        counted, truth, log_p = chance_of_truth(logits, target, ignore_index)
        # At p = 1 a power below 1 has an infinite slope; clamped, it has none there, as the loss itself.
        miss = (1 - log_p.exp()).clamp(min=torch.finfo(log_p.dtype).tiny)
        each = -(miss**self.gamma) * log_p
        if self.alpha is not None:
            alpha = self.alpha if isinstance(self.alpha, tuple) else (1 - self.alpha, self.alpha)
            each = logits.new_tensor(alpha)[truth] * each
        return (each * counted).sum() / counted.sum().clamp(min=1)
