"""Decay in steps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.optim.schedules.base import SCHEDULES, Schedule
from harness.utils.options import Fraction


@SCHEDULES.register("step")
class Step(Schedule):
    """Multiplied by `gamma` at regular intervals."""

    depends_on_length = False

    name: Literal["step"] = "step"
    every: int = Field(30, gt=0)
    """The number of `per` units after which the rate is multiplied by `gamma`."""
    gamma: Fraction = 0.1

    def factor(self, t: int, length: int) -> float:
        """gamma^⌊t/every⌋."""
        return float(self.gamma ** (t // self.every))
