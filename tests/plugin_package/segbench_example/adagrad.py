"""An optimizer from another package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.optim import Optimizer

if TYPE_CHECKING:
    import torch


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011)."""

    name: Literal["adagrad"] = "adagrad"
    lr_decay: float = Field(0.0, ge=0)

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer`."""
        from torch.optim import Adagrad as TorchAdagrad

        return TorchAdagrad(groups, lr=self.lr, lr_decay=self.lr_decay, weight_decay=self.weight_decay)
