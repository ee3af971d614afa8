"""Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.optim.optimizers.base import OPTIMIZERS, Optimizer
from harness.utils.options import Fraction, Positive

if TYPE_CHECKING:
    import torch


@OPTIMIZERS.register("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer`."""
        from torch.optim import Adam as TorchAdam

        return TorchAdam(groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)
