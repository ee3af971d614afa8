"""What a learning-rate schedule must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import Field

from harness.utils.options import Component
from harness.utils.registry import Registry

SCHEDULES: Registry[type[Schedule]] = Registry(
    "schedule", "harness.optim.schedules", "segbench.schedules", "docs/suites.md"
)


class Schedule(Component, ABC):
    """How the learning rate changes: options, and the learning-rate factor at a moment.

    A subclass has `name: Literal["its name"] = "its name"`, its own options, and `factor`.
    """

    depends_on_length: ClassVar[bool] = True
    """Whether the rate at a given moment depends on how long the training is to be. Where it does not, a shorter
    training is the beginning of a longer one, and is not trained a second time."""

    name: str
    per: Literal["iteration", "epoch"] = "iteration"
    """Whether the rate changes with every iteration or once an epoch."""
    min_lr: float = Field(0.0, ge=0)
    warmup: int = Field(0, ge=0)
    """Iterations of linear warm-up from 0."""

    @abstractmethod
    def factor(self, t: int, length: int) -> float:
        """The learning-rate factor: the rate as a multiple of the base rate.

        Args:
            t: iterations or epochs (as `per` says) since the beginning.
            length: of the whole training, in the same unit.
        """
