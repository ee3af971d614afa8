"""What an optimizer must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.utils.options import Component, Positive
from harness.utils.registry import Registry

if TYPE_CHECKING:
    import torch

OPTIMIZERS: Registry[type[Optimizer]] = Registry(
    "optimizer", "harness.optim.optimizers", "segbench.optimizers", "docs/suites.md"
)


class Optimizer(Component, ABC):
    """An optimizer: its options, and how it is built.

    A subclass has `name: Literal["its name"] = "its name"`, its own options, and `build`. It is imported wherever a
    suite is read, so its module imports torch inside of `build` only.
    """

    name: str
    lr: Positive = 1e-3
    weight_decay: float = Field(0.0, ge=0)
    head_lr_factor: Positive = 1.0
    """The learning rate of everything but the backbone that the network declares, as a multiple of `lr`.

    Without effect on a network that declares to have none: nothing of it is ever pretrained."""
    decay_norm_and_bias: bool = True
    """False exempts biases and normalization layers from weight decay."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over groups of parameters, as torch.optim takes them.

        Groups may have learning rates and weight decays of their own; `lr` and `weight_decay` are for the others.
        """
