"""Lovász loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.losses.base import LOSSES, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("lovasz")
class Lovasz(LossTerm):
    """The Lovász extension of the Jaccard loss, averaged over the classes the batch holds (Berman et al. 2018).

    Softmax probabilities for several classes (their equation 11), the hinge for one sigmoid channel (equation 8).
    """

    one_channel = True

    name: Literal["lovasz"] = "lovasz"

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """See `LossTerm`."""
        import torch

        counted = target != ignore_index
        truth = target[counted]
        if truth.numel() == 0:
            return logits.sum() * 0
        if logits.shape[1] == 1:
            sign = 2.0 * (truth == 1).to(logits.dtype) - 1.0
            return _hinge(1.0 - logits[:, 0][counted] * sign, (truth == 1).to(logits.dtype))
        chances = logits.softmax(dim=1).permute(0, 2, 3, 1)[counted]  # (pixels, K)
        present = [label for label in range(logits.shape[1]) if bool((truth == label).any())]
        losses = []
        for label in present:
            inside = (truth == label).to(logits.dtype)
            errors, order = (inside - chances[:, label]).abs().sort(descending=True)
            losses.append(torch.dot(errors, _jaccard_gradient(inside[order])))
        return torch.stack(losses).mean()


def _hinge(errors: Tensor, inside: Tensor) -> Tensor:
    import torch

    errors, order = errors.sort(descending=True)
    return torch.dot(errors.relu(), _jaccard_gradient(inside[order]))


def _jaccard_gradient(inside: Tensor) -> Tensor:
    """How much the Jaccard loss grows with each further error, errors in descending order (their algorithm 1)."""
    import torch

    total = inside.sum()
    intersection = total - inside.cumsum(0)
    union = total + (1 - inside).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
