"""Rows against a row: paired differences with intervals, and claims about single images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from leaderboard.boards.board import Board
from leaderboard.boards.estimate import Interval
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.samples import ImageSample, Sample
from leaderboard.stats.significance import ASKS, Question, groups_of, names_of_rows, sample_of
from leaderboard.stats.signs import SignedRank, signed_rank
from leaderboard.stats.verdict import difference_text


@dataclass(frozen=True)
class Difference:
    """A row of a board minus another, of what places them; in the metric's own unit."""

    question: Question
    asks: str
    """The question in words."""
    row: str
    other: str
    value: float | None
    """None where one of them has no figure."""
    interval: Interval | None
    """Where the true difference lies; None where nothing says so."""
    better: bool | None
    """Whether the row is better (True) or worse (False); None where they cannot be told apart."""
    verdict: str
    """In plain English."""

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ImageClaim:
    """On how many images a row is better than another: a claim about single images, not about the board's metric."""

    unit: str
    """What is counted: `image`, or `group` where images come in groups."""
    counts: SignedRank
    verdict: str
    """In plain English."""


def compare(board: Board, question: Question, row: int, other: int, draws: BoardDraws | None = None) -> Difference:
    """Compare two rows of a board, with an interval for this one difference.

    Args:
        board: the whole of it.
        question: which one.
        row: its index on the board.
        other: the other's.
        draws: for `images` and `both`: what `board_draws` made of this board.
    """
    sample = sample_of(board, question, draws)
    known = row != other and not sample.not_compared(row) and not sample.not_compared(other)
    return _difference(board, question, sample, row, other, sample.difference(row, other) if known else None)


def against(board: Board, question: Question, baseline: int, draws: BoardDraws | None = None) -> tuple[Difference, ...]:
    """Compare every other row of a baseline's group with the baseline; all intervals hold together (Dunnett).

    Args:
        board: the whole of it.
        question: which one.
        baseline: its index on the board.
        draws: for `images` and `both`: what `board_draws` made of this board.

    Returns:
        In the board's order.
    """
    sample = sample_of(board, question, draws)
    rows = next(rows for _, rows in groups_of(board) if baseline in rows)
    compared = [i for i in rows if not sample.not_compared(i) and board.rows[i].rank is not None]
    widths: dict[int, float] = {}
    if baseline in compared:
        contrasts, at = sample.contrasts(compared), compared.index(baseline)
        widths = dict(zip(compared, contrasts.to_baseline[at] * contrasts.errors[at], strict=True))
    found = []
    for i in rows:
        if i == baseline:
            continue
        value = sample.between(i, baseline)
        interval = Interval(value - widths[i], value + widths[i]) if i in widths else None
        found.append(_difference(board, question, sample, i, baseline, interval))
    return tuple(found)


def image_claim(board: Board, row: int, other: int, draws: BoardDraws) -> ImageClaim | None:
    """Count the images on which a row scores better than another by the board's metric, computed of each image alone.

    Args:
        board: the whole of it.
        row: its index on the board.
        other: the other's.
        draws: what `board_draws` made of this board.

    Returns:
        None where a row has no statistics, or no image has a score of both.
    """
    sample = ImageSample(board, draws)
    first, second = sample.each(row), sample.each(other)
    if first is None or second is None:
        return None
    counts = signed_rank(sample.sign * (first - second))
    if counts.count == 0:
        return None
    if draws.drawn is not None and draws.drawn.why_not:
        counts = replace(counts, chance=None)  # images of one group are no independent trials
    name, rival = (names_of_rows(board.rows)[i] for i in (row, other))
    p = "" if counts.chance is None else f" (Wilcoxon's signed-rank test: {_chance(counts.chance)})"
    ties = f", the same on {counts.ties}" if counts.ties else ""
    said = f"{name} is better than {rival} on {counts.wins} of {counts.count} {sample.unit}s, worse on {counts.losses}"
    return ImageClaim(sample.unit, counts, f"{said}{ties}{p}.")


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _difference(
    board: Board, question: Question, sample: Sample, row: int, other: int, interval: Interval | None
) -> Difference:
    names = names_of_rows(board.rows)
    known = all(board.rows[i].cell.ranked_by(board.metric) is not None for i in (row, other))
    value = sample.between(row, other) if known else None
    better = None if interval is None or 0.0 in interval else sample.sign * interval.low > 0
    first, second = names[row], names[other]
    if value is None:
        said = f"{first} and {second} do not both have a figure."
    elif interval is None:
        why = sample.not_compared(row) or sample.not_compared(other) or "they are one row"
        text = difference_text(board.metric, value)
        said = f"{first} and {second}: {text}. Nothing says whether that means anything: {why}."
    elif better is None:
        said = f"{first} and {second} cannot be told apart: {difference_text(board.metric, value, interval)}."
    else:
        than = "better" if better else "worse"
        said = f"{first} is {than} than {second}: {difference_text(board.metric, value, interval)}."
    return Difference(question, ASKS[question], first, second, value, interval, better, said)
