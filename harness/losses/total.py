"""The loss of a recipe: a weighted sum of terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from harness.losses.base import LOSSES, LossTerm
from harness.losses.cross_entropy import CrossEntropy
from harness.utils.options import ByName, Strict

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Strict):
    """A weighted sum of terms; void pixels never count."""

    terms: tuple[Annotated[LossTerm, ByName(LOSSES, LossTerm, default="ce")], ...] = (CrossEntropy(),)
    aux_weight: float = Field(0.4, ge=0)
    """Weight of every auxiliary output."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        """`loss: ce` is short for one term of weight 1; `loss: [ce, dice]` for several."""
        if isinstance(data, str):
            data = [data]
        if isinstance(data, list):
            return {"terms": [{"name": t} if isinstance(t, str) else t for t in data]}
        return data

    @property
    def binary(self) -> bool:
        """Whether the network has one sigmoid channel, because a term works on nothing else."""
        return bool(self._sigmoid_terms)

    @property
    def binary_term(self) -> str:
        """The name of such a term, for messages; empty where there is none."""
        return next(iter(self._sigmoid_terms), "")

    @property
    def _sigmoid_terms(self) -> list[str]:
        return [term.name for term in self.terms if not term.several_channels]

    @model_validator(mode="after")
    def _one_kind(self) -> Loss:
        if not self.terms:
            raise ValueError("a loss needs at least one term")
        others = [term.name for term in self.terms if not term.one_channel]
        if self.binary and others:
            joined = " or ".join(others)
            raise ValueError(f"{self.binary_term} works on one sigmoid channel and cannot be summed with {joined}")
        return self


def total_loss(logits: Tensor, target: Tensor, loss: Loss, ignore_index: int) -> Tensor:
    """The weighted sum of a recipe's terms for one output.

    Args:
        logits: (N, K, H, W); K = 1 for a sigmoid channel.
        target: (N, H, W) labels.
        loss: the recipe's loss.
        ignore_index: the void label.

    Returns:
        A scalar.
    """
    import torch

    terms = [term.weight * term.compute(logits, target, ignore_index) for term in loss.terms]
    return torch.stack(terms).sum()
