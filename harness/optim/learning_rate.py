"""The learning rate at each iteration of a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.optim.schedules import Schedule

if TYPE_CHECKING:
    import torch


def learning_rate_factor(schedule: Schedule, iteration: int, per_epoch: int, total: int) -> float:
    """The learning rate at an iteration, as a multiple of the base rate; with linear warm-up in front: (i + 1)/warmup.

    Args:
        schedule: the recipe's schedule.
        iteration: counted from 0.
        per_epoch: iterations of an epoch.
        total: iterations of the whole training.
    """
    if iteration < schedule.warmup:
        return (iteration + 1) / schedule.warmup
    if schedule.per == "epoch":
        return schedule.factor(iteration // per_epoch, math.ceil(total / per_epoch))
    return schedule.factor(iteration, total)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, iteration: int, per_epoch: int, total: int
) -> float:
    """Set every group's rate for an iteration; returns the first group's."""
    factor = learning_rate_factor(schedule, iteration, per_epoch, total)
    for group in optimizer.param_groups:
        base = group.setdefault("initial_lr", group["lr"])
        group["lr"] = max(schedule.min_lr, base * factor)
    return float(optimizer.param_groups[0]["lr"])
