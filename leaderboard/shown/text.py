"""Figures, costs and times as people read them. Nothing is compared after it was rounded."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from harness.metrics.metric import find_metric, is_share, metric_title
from leaderboard.boards.board import Cell, Row
from leaderboard.queries.load import ScoredRun

NONE = "–"


def scale(metric: str) -> float:
    """What a stored figure is multiplied by where it is shown."""
    return 100.0 if is_share(metric) else 1.0


def heading(metric: str) -> str:
    """A metric with its unit: `mIoU %`, `HD px`."""
    unit = "%" if is_share(metric) else find_metric(metric).unit
    return f"{metric_title(metric)} {unit}".strip()


def digits(metric: str) -> int:
    """Decimals: one of a percent."""
    return 1 if is_share(metric) else min(find_metric(metric).digits, 3 if not find_metric(metric).unit else 1)


def short(metric: str, value: float | None) -> str:
    """A figure to read: `69.3`."""
    return NONE if value is None else f"{scale(metric) * value:.{digits(metric)}f}".replace("-", "−")


def full(metric: str, value: float | None) -> str:
    """A figure at full precision, in the same unit."""
    return NONE if value is None else f"{scale(metric) * value:.12g}"


def signed(metric: str, value: float | None) -> str:
    """A difference: `+6.1`, `−0.4`."""
    if value is None:
        return NONE
    text = f"{abs(scale(metric) * value):.{digits(metric)}f}"
    return text if not float(text) else f"{'−' if value < 0 else '+'}{text}"


def amount(metric: str, value: float) -> str:
    """The size of a difference with its unit: `6.1 points`, `2.3 px`, `0.012`."""
    unit = "points" if is_share(metric) else find_metric(metric).unit
    return f"{short(metric, abs(value))} {unit}".rstrip()


def between(metric: str, low: float | None, high: float | None, difference: bool = False) -> str:
    """An interval: `[68.6, 70.0]`."""
    if low is None or high is None:
        return ""
    write = signed if difference else short
    return f"[{write(metric, low)}, {write(metric, high)}]"


def three_digits(value: float) -> str:
    """Three digits that count, never with an exponent: `0.863`, `20.7`, `2,403`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def large(value: float | None) -> str:
    """A large number: `26.7 M`, `61.9 G`."""
    if value is None:
        return NONE
    for step, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= step:
            return f"{three_digits(value / step)} {sign}"
    return three_digits(value)


def lasting(seconds: float | None) -> str:
    """A time: `3.2 h`, `41 s`."""
    if seconds is None:
        return NONE
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def weight(size: float | None) -> str:
    """Bytes: `1.4 GB`."""
    return NONE if size is None else f"{large(size)}B"


def on_day(moment: str | None) -> str:
    """A stored time as `2026-11-25 21:14`."""
    if not moment:
        return NONE
    try:
        return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment[:40]


def places(interval: tuple[int, int] | None, rank: int | None) -> str:
    """A rank interval: `1–2`; where a row is placed but not compared, nothing is known of its place elsewhere."""
    if interval is None:
        return NONE if rank is None else "not known"
    low, high = interval
    return str(low) if low == high else f"{low}–{high}"


def cell_id(cell: Cell) -> str:
    """What a link calls a cell: the same as long as everything but the seed is."""
    return cell.first.cell[:12]


def row_id(row: Row) -> str:
    """What a link calls a row: its chosen cell."""
    return cell_id(row.cell)


def model_id(run: ScoredRun) -> str:
    """What a link calls a model, on every board: its label, network, parameters and origin."""
    what: list[Any] = [run.model, run.model_name, run.params, run.origin]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:12]


def run_id(run: ScoredRun) -> str:
    """What a link calls a run: the start of its fingerprint, which a merge does not change."""
    return run.fingerprint[:16]
