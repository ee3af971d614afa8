"""A recipe's optimizer over a network's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.optim.optimizers import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import nn

# Attributes under which networks keep what is pretrained; everything else is the head.
BACKBONES = ("encoder.", "backbone.", "stages.")


def build_optimizer(model: nn.Module, options: Optimizer) -> torch.optim.Optimizer:
    """The optimizer over the network's parameters.

    A network's own `param_groups(lr)` comes first; it returns groups as torch.optim takes them.
    """
    if hasattr(model, "param_groups"):
        return options.build(list(model.param_groups(options.lr)))  # type: ignore[operator]
    return options.build(parameter_groups(model, options))


def parameter_groups(model: nn.Module, options: Optimizer) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay; groups that would be empty are left out."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = options.lr * (1.0 if name.startswith(BACKBONES) else options.head_lr_factor)
        # Biases and the weights of normalization layers are the parameters with one dimension.
        exempt = not options.decay_norm_and_bias and parameter.ndim <= 1
        groups.setdefault((lr, 0.0 if exempt else options.weight_decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
