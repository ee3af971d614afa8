"""Binary cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses.base import LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("bce")
class BinaryCrossEntropy(LossTerm):
    """Mean binary cross-entropy of one sigmoid channel."""

    one_channel = True
    several_channels = False

    name: Literal["bce"] = "bce"

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        counted = target != ignore_index
        each = binary_cross_entropy_with_logits(logits[:, 0], (target == 1).to(logits.dtype), reduction="none")
        return (each * counted).sum() / counted.sum().clamp(min=1)
