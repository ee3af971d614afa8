"""Online hard example mining."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from harness.losses.base import LOSSES, LossTerm
from harness.utils.options import Fraction

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("ohem")
class Ohem(LossTerm):
    """Cross-entropy over the hard pixels only (Shrivastava et al. 2016, as in BiSeNet)."""

    name: Literal["ohem"] = "ohem"
    threshold: Fraction = 0.7
    """Pixels whose truth is less probable than this are hard."""
    keep: Fraction = 1 / 16
    """The share of the pixels that are not void, the hardest of them, that counts at least."""

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        from torch.nn.functional import cross_entropy

        each = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="none")
        losses = each[target != ignore_index]
        if losses.numel() == 0:
            return logits.sum() * 0
        least = max(1, int(self.keep * losses.numel()))
        limit = -math.log(self.threshold) if self.threshold > 0 else math.inf
        hard = losses[losses > limit]
        if hard.numel() < least:
            hard = losses.topk(least).values
        return hard.mean()
