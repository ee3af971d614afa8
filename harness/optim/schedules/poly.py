"""Polynomial decay."""

from __future__ import annotations

from typing import Literal

from harness.optim.schedules.base import SCHEDULES, Schedule
from harness.utils.options import Positive


@SCHEDULES.register("poly")
class Poly(Schedule):
    """Down to 0 by a power (Liu et al., ParseNet, 2015)."""

    depends_on_length = True

    name: Literal["poly"] = "poly"
    power: Positive = 0.9

    def factor(self, t: int, length: int) -> float:
        """(1 - t/T)^power."""
        return float((1 - t / length) ** self.power)
