"""Cosine decay."""

from __future__ import annotations

import math
from typing import Literal

from harness.optim.schedules.base import SCHEDULES, Schedule


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Down to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)."""

    depends_on_length = True

    name: Literal["cosine"] = "cosine"

    def factor(self, t: int, length: int) -> float:
        """(1 + cos(πt/T))/2."""
        return (1 + math.cos(math.pi * t / length)) / 2
