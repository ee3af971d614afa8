"""Cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses.base import FORMER_FIELDS, LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("ce")
class CrossEntropy(LossTerm):
    """Mean cross-entropy over the pixels that are not void."""

    former_fields = FORMER_FIELDS

    name: Literal["ce"] = "ce"

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        from torch.nn.functional import cross_entropy

        counted = (target != ignore_index).sum()
        total = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="sum")
        return total / counted.clamp(min=1)
