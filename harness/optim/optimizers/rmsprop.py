"""RMSprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.optim.optimizers.base import OPTIMIZERS, Optimizer
from harness.utils.options import Fraction, Positive

if TYPE_CHECKING:
    import torch


@OPTIMIZERS.register("rmsprop")
class RmsProp(Optimizer):
    """RMSprop with momentum."""

    name: Literal["rmsprop"] = "rmsprop"
    momentum: float = Field(0.9, ge=0, lt=1)
    alpha: Fraction = 0.99
    """How slowly the mean of squared gradients follows."""
    eps: Positive = 1e-8

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer`."""
        from torch.optim import RMSprop

        return RMSprop(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
