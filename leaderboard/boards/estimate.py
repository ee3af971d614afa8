"""A figure over repetitions, and an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# How sure an interval, or all claims of a ranking together, shall be.
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a figure lies, at the level of confidence that its owner states; in the figure's own unit."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Whether the interval covers a value, its ends included."""
        return self.low <= value <= self.high

    def shifted(self, by: float) -> Interval:
        """The interval moved by a constant."""
        return Interval(self.low + by, self.high + by)


@dataclass(frozen=True)
class Estimate:
    """A figure over the seeds of one cell, at full precision."""

    mean: float | None
    """None where no seed has the figure."""
    std: float | None
    """Sample standard deviation (ddof = 1); None for fewer than two seeds."""
    n: int
    """Seeds that have the figure."""

    def text(self, digits: int = 4) -> str:
        """`0.8123 ± 0.0045`, or `–` where undefined; rounded for reading only."""
        if self.mean is None:
            return "–"
        tail = "" if self.std is None else f" ± {self.std:.{digits}f}"
        return f"{self.mean:.{digits}f}{tail}"


def estimate(values: Sequence[float | None]) -> Estimate:
    """Mean and sample standard deviation of the values that are defined."""
    defined = [v for v in values if v is not None]
    if not defined:
        return Estimate(None, None, 0)
    mean = math.fsum(defined) / len(defined)
    return Estimate(mean, statistics.stdev(defined) if len(defined) > 1 else None, len(defined))
