"""Optimizers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from harness.config.recipe import Optimizer, Recipe, Schedule

# Attributes under which networks keep what is pretrained; everything else is the head.
BACKBONES = ("encoder.", "backbone.", "stages.")


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the network's parameters.

    A network's own `param_groups(lr)` comes first; it returns groups as torch.optim takes them.
    """
    options = recipe.optimizer
    if hasattr(model, "param_groups"):
        groups = list(model.param_groups(options.lr))  # type: ignore[operator]
    else:
        groups = parameter_groups(model, options)
    common: dict[str, Any] = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.nesterov, **common)
    if options.name == "rmsprop":
        return torch.optim.RMSprop(groups, momentum=options.momentum, alpha=options.alpha, eps=options.eps, **common)
    kind = torch.optim.Adam if options.name == "adam" else torch.optim.AdamW
    return kind(groups, betas=options.betas, eps=options.eps, **common)


def parameter_groups(model: nn.Module, options: Optimizer) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay; groups that would be empty are left out."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = options.lr * (1.0 if name.startswith(BACKBONES) else options.head_lr_factor)
        # Biases and the weights of normalisation layers are the parameters with one dimension.
        exempt = not options.decay_norm_and_bias and parameter.ndim <= 1
        groups.setdefault((lr, 0.0 if exempt else options.weight_decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def factor(schedule: Schedule, iteration: int, per_epoch: int, total: int) -> float:
    """The learning rate at an iteration, as a multiple of the base rate.

    Args:
        schedule: the recipe's schedule.
        iteration: counted from 0.
        per_epoch: iterations of an epoch.
        total: iterations of the whole training.

    Returns:
        poly: (1 - t/T)^power; cosine: (1 + cos(πt/T))/2; step: gamma^⌊t/every⌋; constant: 1; with linear warm-up
        in front, (i + 1)/warmup.
    """
    if iteration < schedule.warmup:
        return (iteration + 1) / schedule.warmup
    epochs = schedule.per == "epoch"
    t = iteration // per_epoch if epochs else iteration
    length = math.ceil(total / per_epoch) if epochs else total
    if schedule.name == "poly":
        return float((1 - t / length) ** schedule.power)
    if schedule.name == "cosine":
        return (1 + math.cos(math.pi * t / length)) / 2
    if schedule.name == "step":
        return float(schedule.gamma ** (t // schedule.every))
    return 1.0


def set_learning_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, iteration: int, per_epoch: int, total: int
) -> float:
    """Set every group's rate for an iteration; returns the first group's."""
    scale = factor(schedule, iteration, per_epoch, total)
    for group in optimizer.param_groups:
        base = group.setdefault("initial_lr", group["lr"])
        group["lr"] = max(schedule.min_lr, base * scale)
    return float(optimizer.param_groups[0]["lr"])
