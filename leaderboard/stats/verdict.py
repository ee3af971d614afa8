"""What the statistics of a group of rows come to, in plain English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics.metric import find_metric, higher_is_better, is_share, metric_title
from leaderboard.boards.estimate import Interval
from leaderboard.stats.row import RowSignificance

# More rows than this are counted, not named.
NAMED = 3
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Scope:
    """To what the claims about rows extend, in words."""

    checkpoints: bool
    """Whether checkpoints were compared, and not the methods that made them."""
    to: str
    """`on images like these 20`, `over trainings with other seeds`."""


def value_text(metric: str, value: float) -> str:
    """A figure with its unit, as one says it: `69.3 %`, `41.20 px`."""
    if is_share(metric):
        return f"{100 * value:.1f} %"
    kind = find_metric(metric)
    return f"{value:.{kind.digits}f} {kind.unit}".rstrip()


def figure_text(metric: str, value: float) -> str:
    """A figure with its metric: `69.3 % mIoU`, `41.20 px HD`."""
    return f"{value_text(metric, value)} {metric_title(metric)}"


def difference_text(metric: str, value: float, interval: Interval | None = None) -> str:
    """A difference as one says it: `+6.1 points mIoU [4.5, 7.4]`, `-2.30 px HD`."""
    kind, title = find_metric(metric), metric_title(metric)
    factor, digits, unit = (100, 1, " points") if is_share(metric) else (1, kind.digits, f" {kind.unit}".rstrip())
    ends = "" if interval is None else f" [{factor * interval.low:.{digits}f}, {factor * interval.high:.{digits}f}]"
    return f"{factor * value:+.{digits}f}{unit} {title}{ends}"


def verdict(metric: str, rows: Sequence[RowSignificance], scope: Scope) -> str:
    """Which row has the best figure, which cannot be told apart from it, and of what that holds.

    Args:
        metric: what they are ranked by.
        rows: of one group, best first.
        scope: of what compared them.
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
    leads = _leads(metric, compared, scope)
    if first.like_leader is None:
        sentences.append(f"{first.name} is first with {said}, but is not compared: {first.note}.")
        leads = f"of the others {leads}"
    sentences.append(leads[:1].upper() + leads[1:])
    silent = [row.name for row in ranked if row.like_leader is None and row is not first]
    if silent:
        sentences.append(f"{few(silent)} {'is' if len(silent) == 1 else 'are'} not compared.")
    if scope.checkpoints:
        once = all(row.ended == 1 for row in compared)
        sentences.append(
            "One training each: whether that holds for another, nothing says."
            if once
            else "Whether that holds for other trainings, this does not say."
        )
    return " ".join(sentences)


def _leads(metric: str, compared: Sequence[RowSignificance], scope: Scope) -> str:
    """Which of the rows that are compared has the best figure, and what the others are."""
    leader = compared[0]
    most, less = ("highest", "lower") if higher_is_better(metric) else ("lowest", "higher")
    title, figure = metric_title(metric), value_text(metric, leader.placed_by or 0.0)
    level = [row.name for row in compared if row.place == leader.place]
    others = [row.name for row in compared if row.like_leader and row.name not in level]
    if len(level) > 1:
        them = f"the checkpoints {few(level)}" if scope.checkpoints else few(level)
        said = f"{them} share the {most} {title}, {figure}"
    else:
        has = f"{leader.name} has"
        if scope.checkpoints:
            has = f"the checkpoint {has}" if leader.ended == 1 else f"the checkpoints of {leader.name} have"
        said = f"{has} the {most} {title}, {figure}"
    if others:
        return f"{said}. {few(others)} cannot be told apart from {'it' if len(level) == 1 else 'them'} {scope.to}."
    if len(level) > 1:
        return f"{said}."
    if len(compared) == 2:
        return f"{said}; {compared[1].name} scores {less} {scope.to}."
    rest = len(compared) - 1
    return f"{said}; the other {_NUMBERS[rest] if rest < len(_NUMBERS) else rest} score {less} {scope.to}."


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def few(names: Sequence[str]) -> str:
    """The names, or `A, B and 5 more`."""
    return listed([*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"] if len(names) > NAMED else names)
