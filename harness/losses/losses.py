"""Losses over logits and label maps; void pixels never count.

Every loss is a mean over the pixels that are not void, and 0 (with a gradient of 0) where all are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax

from harness.config.recipe import Loss, LossTerm


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
    terms = [term.weight * _term(logits, target, term, ignore_index) for term in loss.terms]
    return torch.stack(terms).sum()


def _term(logits: Tensor, target: Tensor, term: LossTerm, ignore_index: int) -> Tensor:
    if term.name == "ce":
        return cross_entropy_loss(logits, target, ignore_index)
    if term.name == "bce":
        return binary_cross_entropy_loss(logits, target, ignore_index)
    if term.name == "focal":
        return focal_loss(logits, target, ignore_index, term.gamma)
    if term.name == "ohem":
        return ohem_loss(logits, target, ignore_index, term.threshold, term.keep)
    if term.name == "lovasz":
        return lovasz_loss(logits, target, ignore_index)
    return dice_loss(logits, target, ignore_index)


def cross_entropy_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Mean cross-entropy over the pixels that are not void."""
    counted = (target != ignore_index).sum()
    total = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="sum")
    return total / counted.clamp(min=1)


def binary_cross_entropy_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Mean binary cross-entropy of one sigmoid channel (N, 1, H, W)."""
    counted = target != ignore_index
    each = binary_cross_entropy_with_logits(logits[:, 0], (target == 1).to(logits.dtype), reduction="none")
    return (each * counted).sum() / counted.sum().clamp(min=1)


def focal_loss(logits: Tensor, target: Tensor, ignore_index: int, gamma: float) -> Tensor:
    """Cross-entropy weighted by (1 - p)^gamma, p the probability of the truth (Lin et al. 2017, eq. 4)."""
    counted = target != ignore_index
    truth = torch.where(counted, target, torch.zeros_like(target)).long()
    log_p = log_softmax(logits, dim=1).gather(1, truth[:, None])[:, 0]
    each = -((1 - log_p.exp()) ** gamma) * log_p
    return (each * counted).sum() / counted.sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """1 - soft Dice over the batch, averaged over the classes the batch holds (Milletari et al. 2016).

    Squares in the denominator as in the paper's equation; a sigmoid channel counts as one class.
    """
    counted = (target != ignore_index)[:, None]
    if logits.shape[1] == 1:
        guess = logits.sigmoid()
        truth = (target == 1)[:, None].to(logits.dtype)
    else:
        guess = logits.softmax(dim=1)
        labels = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        truth = (target[:, None] == labels).to(logits.dtype)
    guess, truth = guess * counted, truth * counted
    overlap = (guess * truth).sum(dim=(0, 2, 3))
    size = (guess**2).sum(dim=(0, 2, 3)) + (truth**2).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    each = 1 - 2 * overlap / size.clamp(min=1e-7)
    return (each * present).sum() / present.sum().clamp(min=1)


def ohem_loss(logits: Tensor, target: Tensor, ignore_index: int, threshold: float, keep: float) -> Tensor:
    """Cross-entropy over the hard pixels only (Shrivastava et al. 2016, as in BiSeNet).

    Hard are the pixels whose truth has a probability below `threshold`; at least a share `keep` of the pixels that are
    not void, the hardest of them, counts.
    """
    each = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="none")
    losses = each[target != ignore_index]
    if losses.numel() == 0:
        return logits.sum() * 0
    least = max(1, int(keep * losses.numel()))
    limit = -math.log(threshold) if threshold > 0 else math.inf
    hard = losses[losses > limit]
    if hard.numel() < least:
        hard = losses.topk(least).values
    return hard.mean()


def lovasz_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The Lovász extension of the Jaccard loss, averaged over the classes the batch holds (Berman et al. 2018).

    Softmax probabilities for several classes (their equation 11), the hinge for one sigmoid channel (equation 8).
    """
    counted = target != ignore_index
    truth = target[counted]
    if truth.numel() == 0:
        return logits.sum() * 0
    if logits.shape[1] == 1:
        sign = 2.0 * (truth == 1).to(logits.dtype) - 1.0
        return _lovasz_hinge(1.0 - logits[:, 0][counted] * sign, (truth == 1).to(logits.dtype))
    chances = logits.softmax(dim=1).permute(0, 2, 3, 1)[counted]  # (pixels, K)
    present = [label for label in range(logits.shape[1]) if bool((truth == label).any())]
    losses = []
    for label in present:
        inside = (truth == label).to(logits.dtype)
        errors, order = (inside - chances[:, label]).abs().sort(descending=True)
        losses.append(torch.dot(errors, _jaccard_gradient(inside[order])))
    return torch.stack(losses).mean()


def _lovasz_hinge(errors: Tensor, inside: Tensor) -> Tensor:
    errors, order = errors.sort(descending=True)
    return torch.dot(errors.relu(), _jaccard_gradient(inside[order]))


def _jaccard_gradient(inside: Tensor) -> Tensor:
    """How much the Jaccard loss grows with each further error, errors in descending order (their algorithm 1)."""
    total = inside.sum()
    intersection = total - inside.cumsum(0)
    union = total + (1 - inside).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
