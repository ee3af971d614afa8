"""What the statistics of a group of rows come to, in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics.metric import find_metric, metric_title
from leaderboard.boards.estimate import Interval
from leaderboard.stats.row import RowSignificance

# More rows than this are counted, not named.
NAMED = 3
_SHARES = ("region", "boundary", "trimap", "binary")


def figure_text(metric: str, value: float) -> str:
    """A figure with its metric, as one says it: `69.3 % mIoU`, `41.20 px HD`."""
    kind = find_metric(metric)
    title = metric_title(metric)
    if kind.family in _SHARES:
        return f"{100 * value:.1f} % {title}"
    unit = f" {kind.unit}" if kind.unit else ""
    return f"{value:.{kind.digits}f}{unit} {title}"


def difference_text(metric: str, value: float, interval: Interval | None = None) -> str:
    """A difference as one says it: `+6.1 points mIoU [4.5, 7.4]`, `-2.30 px HD`."""
    kind, title = find_metric(metric), metric_title(metric)
    factor, digits, unit = (100, 1, " points") if kind.family in _SHARES else (1, kind.digits, f" {kind.unit}".rstrip())
    ends = "" if interval is None else f" [{factor * interval.low:.{digits}f}, {factor * interval.high:.{digits}f}]"
    return f"{factor * value:+.{digits}f}{unit} {title}{ends}"


def verdict(metric: str, rows: Sequence[RowSignificance]) -> str:
    """Who leads, and who cannot be told apart from the leader.

    Args:
        metric: what they are ranked by.
        rows: of one group, best first.
    """
    ranked = [row for row in rows if row.place is not None]
    if not ranked:
        return "No row has a figure."
    first = ranked[0]
    said = figure_text(metric, first.placed_by or 0.0)
    if len(ranked) == 1:
        return f"{first.name} is the only row with a figure: {said}."
    compared = [row for row in ranked if row.like_leader is not None]
    if len(compared) < 2:
        why = f": {first.note}" if first.note else ""
        return f"{first.name} is first: {said}. Nothing says whether the differences mean anything{why}."
    sentences = []
    if first.like_leader is None:
        sentences.append(f"{first.name} is first with {said}, but is not compared: {first.note}.")
    leader = compared[0]
    level = [row.name for row in compared if row.place == leader.place]
    others = [row.name for row in compared if row.like_leader and row.name not in level]
    figure = figure_text(metric, leader.placed_by or 0.0)
    if len(level) > 1:
        sentences.append(f"{_few(level)} share the first place: {figure}.")
    else:
        sentences.append(f"{leader.name} leads: {figure}.")
    if others:
        them = "it" if len(level) == 1 else "them"
        sentences.append(f"{_few(others)} cannot be told apart from {them}.")
    elif len(level) == 1:
        sentences.append("Every other row is worse." if len(compared) > 2 else f"{compared[1].name} is worse.")
    silent = [row.name for row in ranked if row.like_leader is None and row is not first]
    if silent:
        sentences.append(f"{_few(silent)} {'is' if len(silent) == 1 else 'are'} not compared.")
    return " ".join(sentences)


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _few(names: Sequence[str]) -> str:
    """The names, or `A, B and 5 more`."""
    return listed([*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"] if len(names) > NAMED else names)
