"""A constant learning rate."""

from __future__ import annotations

from typing import Literal

from harness.optim.schedules.base import SCHEDULES, Schedule


@SCHEDULES.register("constant")
class Constant(Schedule):
    """The same rate throughout."""

    depends_on_length = False

    name: Literal["constant"] = "constant"

    def factor(self, t: int, length: int) -> float:
        """1."""
        return 1.0
