"""What a board's differences mean: intervals, which rows may be the best, which places each may have.

Three questions, never mixed:

- `seeds`: *these methods trained again*, on these images. The seeds are the sample. A row needs two.
- `images`: *these checkpoints on other images like these*. The images are the sample.
- `both`: *these methods trained again, on other images like these*. Seeds and images are the sample.

Every statement is over the whole of a group of rows that is ranked together, never over a filtered part.
docs/statistics.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from harness.config.grid import grid_text
from harness.metrics.metric import higher_is_better
from leaderboard.boards.board import Board, Group, Row
from leaderboard.boards.estimate import LEVEL, Interval
from leaderboard.stats.draws import BoardDraws, no_intervals
from leaderboard.stats.resampling import FEWEST_UNITS
from leaderboard.stats.row import RowSignificance
from leaderboard.stats.samples import ImageSample, Sample, SeedAndImageSample, SeedSample, values_of
from leaderboard.stats.simultaneous import compared_with_best, rank_intervals
from leaderboard.stats.verdict import verdict

Question = Literal["both", "seeds", "images"]

ASKS: dict[Question, str] = {
    "both": "These methods trained again, on other images like these: seeds and images are the sample.",
    "seeds": "These methods trained again, on these images: the seeds are the sample.",
    "images": "These checkpoints on other images like these: the images are the sample.",
}


# So many seeds of every row, and a board answers for trainings and images at once.
SEEDS_FOR_BOTH = 3


@dataclass(frozen=True)
class GroupSignificance:
    """What the statistics say of the rows that are ranked together."""

    heading: str
    rows: tuple[RowSignificance, ...]
    """As the group's rows, best first."""
    leader: str | None
    """The first of the rows that are compared; None where none is."""
    resolvable: float | None
    """The smallest difference that a typical pair of rows needs to be told apart; None where nothing is compared."""
    verdict: str
    """In plain English, for the head of the page."""

    @property
    def best(self) -> frozenset[int]:
        """The rows among which the best one is, by their place in `rows`: what may be printed bold.

        Empty where nothing is resolved: no row is shown not to be the best, or one that is not compared stands first.
        """
        may = frozenset(i for i, row in enumerate(self.rows) if row.may_be_best)
        first = {i for i, row in enumerate(self.rows) if row.place == 1}
        settled = any(row.may_be_best is False for row in self.rows)
        return may if settled and first <= may else frozenset()


@dataclass(frozen=True)
class BoardSignificance:
    """What the statistics say of a board; page, exports and text all show this."""

    question: Question
    asks: str
    """The question in words."""
    metric: str
    level: float
    """Of each interval; at which all statements of one kind about a group hold together."""
    sample: str
    """What was drawn, in words: `2,000 resamples of 1,449 images`; empty where nothing was."""
    groups: tuple[GroupSignificance, ...]
    """As the board's groups."""
    resolvable: float | None
    """The smallest difference that a typical pair of rows needs to be told apart, in the board's widest group."""
    remarks: tuple[str, ...]
    """What to know of all of it."""

    @property
    def rows(self) -> tuple[RowSignificance, ...]:
        """As the board's rows."""
        return tuple(row for group in self.groups for row in group.rows)

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


def default_question(board: Board) -> Question:
    """The widest question that a board's seeds can answer.

    `both` where every row with a figure has three seeds or more that ended, the metric has intervals over images, and
    these are ten or more; `seeds` where two rows have two or more; else `images`.
    """
    ended = [n for row in board.rows if (n := len(values_of(row.cell, board.metric)))]
    images = max((run.n_images for row in board.rows for run in row.cell.scored), default=0)
    if len(ended) > 1 and min(ended) >= SEEDS_FOR_BOTH and images >= FEWEST_UNITS and not no_intervals(board):
        return "both"
    return "seeds" if sum(n > 1 for n in ended) > 1 else "images"


def sample_of(board: Board, question: Question, draws: BoardDraws | None) -> Sample:
    """What answers a question about a board.

    Args:
        board: the whole of it.
        question: which one.
        draws: for `images` and `both`: what `board_draws` made.
    """
    if question == "seeds":
        return SeedSample(board)
    return ImageSample(board, draws) if question == "images" else SeedAndImageSample(board, draws)


def significance(
    board: Board, question: Question, draws: BoardDraws | None = None, level: float = LEVEL
) -> BoardSignificance:
    """Answer one of the three questions for every row of a board.

    Args:
        board: the whole of it.
        question: which one.
        draws: for `images` and `both`: what `board_draws` made of this board; it is costly and worth keeping.
        level: at which all statements of one kind about a group hold together.
    """
    sample = sample_of(board, question, draws)
    groups = [_group(board.metric, group, sample, rows, level) for group, rows in groups_of(board)]
    widest = max(groups, key=lambda g: len(g.rows), default=None)
    return BoardSignificance(
        question=question,
        asks=ASKS[question],
        metric=board.metric,
        level=level,
        sample=sample.text,
        groups=tuple(groups),
        resolvable=widest.resolvable if widest else None,
        remarks=sample.remarks,
    )


def groups_of(board: Board) -> Iterator[tuple[Group, range]]:
    """The groups of a board, each with the indices of its rows on the board."""
    first = 0
    for group in board.groups:
        # A board's rows are its groups, one after the other.
        rows = range(first, first + len(group.rows))
        yield group, rows
        first = rows.stop


def _group(metric: str, group: Group, sample: Sample, indices: range, level: float) -> GroupSignificance:
    """What a sample says of the rows of a group, which are the board's rows of these indices."""
    ranked = [i for i, row in zip(indices, group.rows, strict=True) if row.rank is not None]
    compared = [i for i in ranked if not sample.not_compared(i)]
    contrasts = sample.contrasts(compared, level)
    best = compared_with_best(contrasts)
    low, high = rank_intervals(contrasts.better)
    names = names_of_rows(group.rows)
    sign = 1 if higher_is_better(metric) else -1
    rows = []
    for name, i, row in zip(names, indices, group.rows, strict=True):
        one = RowSignificance(
            name=name,
            cell=row.cell.first.cell,
            place=row.rank,
            figure=row.cell.test(metric).mean,
            interval=sample.interval(i),
            placed_by=row.cell.ranked_by(metric),
            ended=len(values_of(row.cell, metric)),
            seeds=len(row.cell.runs),
            note="; ".join(filter(None, (sample.not_compared(i), sample.notes.get(i, "")))),
        )
        if row.cell.failed and row.rank is not None and i not in sample.why_not:
            # Nobody knows what the failed seeds would have been: no place above that of the worst that ended.
            one = replace(one, places=(row.rank, len(ranked)))
        if ranked == [i]:
            one = replace(one, places=(1, 1))
        if i in compared and len(compared) > 1:
            at = compared.index(i)
            ends = sorted((float(sign * best.low[at]), float(sign * best.high[at])))
            one = replace(
                one,
                gap=float(sign * best.gap[at]),
                gap_interval=Interval(*ends),
                may_be_best=bool(best.may_be_best[at]),
                like_leader=not contrasts.better[0, at],
                # A row that is not compared may stand anywhere.
                places=(int(low[at]), int(high[at]) + len(ranked) - len(compared)),
            )
        rows.append(one)
    return GroupSignificance(
        heading=group.heading,
        rows=tuple(rows),
        leader=names[compared[0] - indices.start] if compared else None,
        resolvable=contrasts.resolvable,
        verdict=verdict(metric, rows, sample.scope),
    )


def names_of_rows(rows: Sequence[Row]) -> list[str]:
    """What the rows of a group are called: the model, with its hyperparameters where it has several rows."""
    models = [row.model for row in rows]
    grids = [grid_text(row.cell.first.grid) for row in rows]
    return [
        f"{model} ({grid})" if models.count(model) > 1 and grid else model
        for model, grid in zip(models, grids, strict=True)
    ]
