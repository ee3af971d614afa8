"""Cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from harness.losses.base import LOSSES, LossTerm
from harness.losses.class_weights import ClassPixels, ClassWeights, Rule, weights_by, wrong_number

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("ce")
class CrossEntropy(LossTerm):
    """Mean cross-entropy over the pixels that are not void; with weights, the mean by the weights of the pixels."""

    name: Literal["ce"] = "ce"
    class_weights: ClassWeights | Rule | None = None
    """One weight for each class, or how to take them from the pixels of the training images; None: all count alike."""

    @field_validator("class_weights")
    @classmethod
    def _not_all_zero(cls, weights: ClassWeights | Rule | None) -> ClassWeights | Rule | None:
        if isinstance(weights, tuple) and not any(weights):
            raise ValueError("class_weights: at least one weight must be above 0")
        return weights

    def problem(self, classes: Sequence[str]) -> str | None:
        """See `LossTerm`."""
        given = self.class_weights
        return wrong_number("class_weights", given, classes) if isinstance(given, tuple) else None

    def prepared(self, count: Callable[[], ClassPixels]) -> CrossEntropy:
        """See `LossTerm`: weights by rule become numbers."""
        if not isinstance(self.class_weights, str):
            return self
        return self.model_copy(update={"class_weights": weights_by(self.class_weights, count())})

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`. With weights: PyTorch's mean, the weighted sum by the sum of the pixels' weights.

        Raises:
            ValueError: weights by rule that `prepared` has not made numbers of.
        """
        from torch.nn.functional import cross_entropy

        if isinstance(self.class_weights, str):
            raise ValueError(f"class_weights: {self.class_weights} needs the pixels of the training images")
        counted = target != ignore_index
        if self.class_weights is None:
            total = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="sum")
            return total / counted.sum().clamp(min=1)
        weight = logits.new_tensor(self.class_weights)
        total = cross_entropy(logits, target.long(), weight, ignore_index=ignore_index, reduction="sum")
        mass = (weight[target.long().where(counted, 0)] * counted).sum()
        # Where every pixel that counts has the weight 0, the sum above is 0 as well.
        return total / mass.where(mass > 0, mass.new_ones(()))
