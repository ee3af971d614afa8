"""Binary cross-entropy of three channels against the mask as an RGB image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses.base import LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("rgb_bce")
class RgbBinaryCrossEntropy(LossTerm):
    """Mean binary cross-entropy of three sigmoid channels, each against the binary mask: the mask as an RGB image.

    The literal form of study C. A pixel is class 1 where the mean of its three probabilities is above 0.5. The study
    counts every pixel: `loss: {terms: [rgb_bce], ignore: nothing}`.
    """

    one_channel = False
    several_channels = False
    sigmoid_channels = 3

    name: Literal["rgb_bce"] = "rgb_bce"

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`; the mean is over pixels and channels."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        counted = (target != ignore_index)[:, None]
        truth = (target == 1)[:, None].to(logits.dtype).expand_as(logits)
        each = binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (each * counted).sum() / (counted.sum() * logits.shape[1]).clamp(min=1)
