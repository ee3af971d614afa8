"""A constant learning rate."""

from __future__ import annotations

from typing import Literal

from harness.optim.schedules.base import FORMER_FIELDS, SCHEDULES, Schedule


@SCHEDULES.register("constant")
class Constant(Schedule):
    """The same rate throughout."""

    depends_on_length = False
    former_fields = FORMER_FIELDS

    name: Literal["constant"] = "constant"

    def factor(self, t: int, length: int) -> float:
        """1."""
        return 1.0
