"""Learning curves over seeds: the mean, and between what the seeds lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.metrics.metric import is_known
from leaderboard.shown.figures import Series
from leaderboard.shown.text import heading, scale
from leaderboard.tables.reported import Curve


def curve_names(points: Sequence[Curve], first: str) -> list[str]:
    """The curves there are: the one that selects, then losses, then the others by name."""
    names = {name for _, name, _, _ in points} - {"seconds"}
    usual = [name for name in (f"val_{first}", "train_loss", "val_loss") if name in names]
    return [*usual, *sorted(names - set(usual))]


def metric_of(curve: str) -> str:
    """The metric of a curve: of `val_miou`, `miou`."""
    return "loss" if curve.endswith("_loss") else curve.removeprefix("val_").removeprefix("train_")


def curve_title(curve: str) -> str:
    """How a curve is called: `mIoU % on val`."""
    metric = metric_of(curve)
    where = "val" if curve.startswith("val_") else "train" if curve.startswith("train_") else ""
    title = heading(metric) if is_known(metric) else metric
    return f"{title} on {where}" if where else title


def curve_scale(curve: str) -> float:
    """What a figure of a curve is multiplied by where it is drawn."""
    metric = metric_of(curve)
    return scale(metric) if is_known(metric) else 1.0


def series_of(points: Sequence[Curve], runs: Mapping[str, Sequence[int]], name: str) -> list[Series]:
    """One curve of several cells.

    Args:
        points: (run, curve, epoch, value).
        runs: what a cell is called -> its runs.
        name: the curve.
    """
    factor = curve_scale(name)
    found = []
    for number, (title, own) in enumerate(runs.items()):
        members = set(own)
        by_epoch: dict[int, list[float]] = defaultdict(list)
        seen = set()
        for run, curve, epoch, value in points:
            if curve == name and run in members and value is not None:
                by_epoch[epoch].append(factor * value)
                seen.add(run)
        if not by_epoch:
            continue
        epochs = sorted(by_epoch)
        found.append(
            Series(
                name=title if len(seen) < 2 else f"{title} ({len(seen)} seeds)",
                epochs=tuple(epochs),
                mean=tuple(sum(by_epoch[e]) / len(by_epoch[e]) for e in epochs),
                low=tuple(min(by_epoch[e]) for e in epochs),
                high=tuple(max(by_epoch[e]) for e in epochs),
                seeds=len(seen),
                dash=number // 8,
            )
        )
    return found
