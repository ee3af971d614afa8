"""How a figure of a table is written: decimals, percent, unit, arrow, and what stands behind the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.metrics.metric import find_metric, higher_is_better, is_share
from leaderboard.boards.estimate import Estimate

Spread = Literal["std", "interval", "none"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """What a user chose for the figures of a table."""

    spread: Spread = "std"
    """Behind the mean: the standard deviation over seeds, an interval, or nothing."""
    percent: bool = False
    """Shares as 51.30 instead of 0.5130."""


@dataclass(frozen=True)
class FigureText:
    """A figure as text, rounded for reading."""

    mean: str
    """Empty where undefined."""
    std: str = ""
    low: str = ""
    high: str = ""

    def plain(self, minus: str = "-") -> str:
        """`0.8123 ± 0.0045`, `0.8123 [0.8010, 0.8201]`, or `–` where undefined."""
        if not self.mean:
            return "–"
        tail = f" ± {self.std}" if self.std else f" [{self.low}, {self.high}]" if self.low else ""
        return f"{self.mean}{tail}".replace("-", minus)


def digits(metric: str, style: Style) -> int:
    """Decimals of a metric's figures."""
    places = find_metric(metric).digits
    return max(0, places - 2) if style.percent and is_share(metric) else places


def unit(metric: str, style: Style) -> str:
    """`px`, `%`, or nothing."""
    return "%" if style.percent and is_share(metric) else find_metric(metric).unit


def arrow(metric: str) -> str:
    """Which way is better."""
    return "↑" if higher_is_better(metric) else "↓"


def figure_text(figure: Estimate, interval: Interval | None, metric: str, style: Style) -> FigureText:
    """A figure in a style.

    Args:
        figure: mean and deviation.
        interval: of the mean, where there is one.
        metric: what it is a figure of.
        style: what is wanted.
    """
    if figure.mean is None:
        return FigureText("")
    scale, places = (100.0 if style.percent and is_share(metric) else 1.0), digits(metric, style)

    def text(value: float) -> str:
        return f"{value * scale:.{places}f}" if math.isfinite(value) else "∞" if value > 0 else "-∞"

    if style.spread == "std" and figure.std is not None:
        return FigureText(text(figure.mean), std=text(figure.std))
    if style.spread == "interval" and interval is not None:
        return FigureText(text(figure.mean), low=text(interval[0]), high=text(interval[1]))
    return FigureText(text(figure.mean))
