"""What a loss must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from harness.utils.options import Component, Positive
from harness.utils.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

LOSSES: Registry[type[LossTerm]] = Registry("loss", "harness.losses", "segbench.losses", "docs/suites.md")

# What training version 2 stored with every term, whatever its kind.
FORMER_FIELDS: Mapping[str, Any] = {"gamma": 2.0, "threshold": 0.7, "keep": 1 / 16}


class LossTerm(Component, ABC):
    """One term of a recipe's loss: its options, and how it is computed.

    A subclass has `name: Literal["its name"] = "its name"`, its own options, and `compute`. It is imported wherever a
    suite is read, so its module imports torch inside of `compute` only.
    """

    one_channel: ClassVar[bool] = False
    """Whether it works on one sigmoid channel."""
    several_channels: ClassVar[bool] = True
    """Whether it works on a channel for each class."""
    sigmoid_channels: ClassVar[int] = 1
    """How many sigmoid channels it needs, all for class 1 of a binary set, where it works on nothing else."""

    name: str
    weight: Positive = 1.0

    @abstractmethod
    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """The loss of one output, without the weight.

        The built-in losses are a mean over the pixels that are not void, and 0 (with a gradient of 0) where all are.

        Args:
            logits: (N, K, H, W) floats; K = 1 for a sigmoid channel, whose positive values mean class 1, or the
                `sigmoid_channels` of the term.
            target: (N, H, W) labels.
            ignore_index: the void label; pixels that have it never count.

        Returns:
            A scalar.
        """
