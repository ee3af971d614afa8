"""The loss of a recipe: a weighted sum of terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.losses.base import LOSSES, LossTerm
from harness.losses.cross_entropy import CrossEntropy
from harness.utils.options import ByName, Strict

if TYPE_CHECKING:
    from torch import Tensor

    from harness.losses.class_weights import ClassPixels


class Loss(Strict):
    """A weighted sum of terms."""

    terms: tuple[Annotated[LossTerm, ByName(LOSSES, LossTerm, default="ce")], ...] = (CrossEntropy(),)
    aux_weight: float = Field(0.4, ge=0)
    """Weight of every auxiliary output."""
    ignore: Literal["void", "nothing"] = "void"
    """`void`: void, padding and what is not valid never count. `nothing`: every pixel of the input counts; void and
    padding are label 0, and what is not valid has the label that its mask says."""
    average: Literal["counted", "all"] = "counted"
    """`counted`: the loss is a mean over the pixels that count. `all`: over all pixels of the input, the others at a
    loss of 0 (mmsegmentation's `avg_non_ignore=False`): the former, times the share of the pixels that count."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        """`loss: ce` is short for one term of weight 1; `loss: [ce, dice]` for several."""
        if isinstance(data, str):
            data = [data]
        if isinstance(data, list):
            data = {"terms": data}
        if isinstance(data, dict) and isinstance(data.get("terms"), list):
            return {**data, "terms": [{"name": t} if isinstance(t, str) else t for t in data["terms"]]}
        return data

    @property
    def binary(self) -> bool:
        """Whether the network has sigmoid channels for a binary set, because a term works on nothing else."""
        return bool(self._sigmoid_terms)

    @property
    def sigmoid_channels(self) -> int | None:
        """How many sigmoid channels the network has for a binary set; None: a channel for each class."""
        return self._sigmoid_terms[0].sigmoid_channels if self.binary else None

    @property
    def binary_term(self) -> str:
        """The name of such a term, for messages; empty where there is none."""
        return self._sigmoid_terms[0].name if self.binary else ""

    @property
    def _sigmoid_terms(self) -> list[LossTerm]:
        return [term for term in self.terms if not term.several_channels]

    @model_validator(mode="after")
    def _one_kind(self) -> Loss:
        if not self.terms:
            raise ValueError("a loss needs at least one term")
        channels = self.sigmoid_channels
        if channels is None:
            return self
        others = [term.name for term in self.terms if not _works_on(term, channels)]
        if others:
            what = "one sigmoid channel" if channels == 1 else f"{channels} sigmoid channels"
            raise ValueError(f"{self.binary_term} works on {what} and cannot be summed with {' or '.join(others)}")
        return self

    def problem(self, classes: Sequence[str]) -> str | None:
        """Why a term's options do not fit a data set of these classes; None if they do."""
        found = ((term.name, term.problem(classes)) for term in self.terms)
        return next((f"the loss {name}: {problem}" for name, problem in found if problem), None)

    def prepared(self, count: Callable[[], ClassPixels]) -> Loss:
        """The loss with what its terms take from the training images; `count` is called once, and only if needed."""
        once = cache(count)
        return self.model_copy(update={"terms": tuple(term.prepared(once) for term in self.terms)})

    def target(self, labels: Tensor, ignore_index: int, valid: Tensor | None = None) -> Tensor:
        """The labels that the loss compares with.

        Args:
            labels: (…, H, W) as a mask has them.
            ignore_index: the void label.
            valid: booleans of the same shape: the region to score; None: everywhere.

        Returns:
            Labels of the same shape. What does not count is void: nothing, where nothing is ignored.
        """
        import torch

        if self.ignore == "nothing":
            return torch.where(labels == ignore_index, torch.zeros_like(labels), labels)
        return labels if valid is None else torch.where(valid, labels, torch.full_like(labels, ignore_index))

    def pixels(self, target: Tensor, ignore_index: int) -> Tensor:
        """How many pixels the mean of a target (…, H, W) is over: a scalar, by which parts of a batch are weighed."""
        counted = (target != ignore_index).sum()
        return counted if self.average == "counted" else counted.new_tensor(target.numel())


def _works_on(term: LossTerm, channels: int) -> bool:
    """Whether a term works on so many sigmoid channels."""
    return (term.one_channel and channels == 1) or (not term.several_channels and term.sigmoid_channels == channels)


def total_loss(logits: Tensor, target: Tensor, loss: Loss, ignore_index: int) -> Tensor:
    """The weighted sum of a recipe's terms for one output, averaged as the recipe says.

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
    total = torch.stack(terms).sum()
    if loss.average == "counted":
        return total
    return total * (target != ignore_index).sum() / loss.pixels(target, ignore_index)
