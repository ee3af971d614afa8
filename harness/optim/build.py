"""A recipe's optimizer over a network's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import BadModel
from harness.optim.optimizers import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import nn


def build_optimizer(
    model: nn.Module, options: Optimizer, backbone: Sequence[str] | None = None
) -> torch.optim.Optimizer:
    """The optimizer over the network's parameters.

    A network's own `param_groups(lr)` comes first; it returns groups as torch.optim takes them.

    Args:
        model: the network.
        options: of the optimizer.
        backbone: as `parameter_groups` takes it.

    Raises:
        BadModel: as `parameter_groups`.
    """
    if hasattr(model, "param_groups"):
        return options.build(list(model.param_groups(options.lr)))  # type: ignore[operator]
    return options.build(parameter_groups(model, options, backbone))


def parameter_groups(
    model: nn.Module, options: Optimizer, backbone: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay; groups that would be empty are left out.

    Args:
        model: the network.
        options: say the learning rate, the head's factor and the weight decay.
        backbone: names of the submodules that keep `lr`; all other parameters are the head and get `head_lr_factor`
            times as much. Empty: nothing of the network is ever pretrained, so that there is no head to be faster than
            the rest, and all of it keeps `lr`. None: nobody says.

    Raises:
        BadModel: the head is to have a rate of its own, and nobody says what the head is.
    """
    factor = options.head_lr_factor
    if backbone is None and factor != 1:
        raise BadModel(
            f"optimizer.head_lr_factor is {factor:g}, but the network does not say what its backbone is: "
            'declare it, as in BACKBONE = ("encoder",), or leave the factor at 1'
        )
    prefixes = tuple(f"{name}." for name in backbone) if backbone else ("",)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = options.lr * (1.0 if name.startswith(prefixes) else factor)
        # Biases and the weights of normalization layers are the parameters with one dimension.
        exempt = not options.decay_norm_and_bias and parameter.ndim <= 1
        groups.setdefault((lr, 0.0 if exempt else options.weight_decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
