"""What a loss must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.utils.options import Component, Positive
from harness.utils.registry import Registry

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from harness.losses.class_weights import ClassPixels

LOSSES: Registry[type[LossTerm]] = Registry("loss", "harness.losses", "segbench.losses", "docs/suites.md")


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

    def problem(self, classes: Sequence[str]) -> str | None:
        """Why the term's options do not fit a data set of these classes; None if they do."""
        return None

    def prepared(self, count: Callable[[], ClassPixels]) -> Self:
        """The term with what it takes from the training images.

        Args:
            count: counts their pixels, class by class; called only by a term that needs it.
        """
        return self

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


def chance_of_truth(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """What losses of single pixels are made of.

    Args:
        logits: (N, K, H, W); K = 1 for a sigmoid channel.
        target: (N, H, W) labels.
        ignore_index: the void label.

    Returns:
        Each (N, H, W): which pixels count, their labels (0 where they do not count), and the logarithm of the
        probability of that label.
    """
    import torch
    from torch.nn.functional import log_softmax

    if logits.shape[1] == 1:  # a sigmoid is a softmax beside a channel of zeros
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    counted = target != ignore_index
    truth = torch.where(counted, target, torch.zeros_like(target)).long()
    return counted, truth, log_softmax(logits, dim=1).gather(1, truth[:, None])[:, 0]
