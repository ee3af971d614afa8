"""Losses over logits and label maps. To add one, write a module here that registers it."""

from harness.losses.base import LOSSES, LossTerm
from harness.losses.total import Loss, total_loss

__all__ = ["LOSSES", "Loss", "LossTerm", "total_loss"]
