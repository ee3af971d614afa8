"""A learning-rate schedule from another package."""

from __future__ import annotations

from typing import Literal

from harness.optim import Schedule
from harness.utils.options import Fraction


class Linear(Schedule):
    """Down to a share of the rate in a straight line."""

    depends_on_length = True

    name: Literal["linear"] = "linear"
    end: Fraction = 0.0

    def factor(self, t: int, length: int) -> float:
        """1 - (1 - end)·t/T."""
        return 1 - (1 - self.end) * t / length
