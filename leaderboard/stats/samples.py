"""What answers each of the three questions about a board: its seeds, resamples of its images, or both."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from harness.metrics.exact import Array
from harness.metrics.metric import higher_is_better, is_share
from leaderboard.boards.board import Board, Cell
from leaderboard.boards.estimate import LEVEL, Interval
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.images import image_contrasts, image_interval
from leaderboard.stats.permutation import contributions
from leaderboard.stats.resampling import FEWEST_UNITS, MOST_UNDEFINED, RunDraws
from leaderboard.stats.seeds import moderated_spread, seed_contrasts
from leaderboard.stats.simultaneous import Contrasts, no_contrasts, with_both_errors
from leaderboard.stats.verdict import Scope, listed

# More rare classes than this are counted, not named.
_NAMED = 20
_MODERATED = "each row's spread over seeds, moderated by that of the others and never below the pooled one"
_OWN_SPREAD = "its seeds spread more than those of the other rows: its interval is from its own seeds"
_NO_FIGURE = "no seed has a figure"
_NOT_READ = "the statistics of the images were not read"


class Sample(ABC):
    """What answers a question about a board. Rows are known by their index on the board."""

    def __init__(self, board: Board, scope: Scope) -> None:
        self.board = board
        self.text = ""
        """What was drawn, in words."""
        self.scope = scope
        """To what its claims extend, in words."""
        self.remarks: tuple[str, ...] = ()
        """What to know of all of it."""
        self.why_not: dict[int, str] = {}
        """The rows of which nothing is known, and why."""
        self.notes: dict[int, str] = {}
        """What to know of single rows."""

    def not_compared(self, row: int) -> str:
        """Why nothing is claimed of a row against others; empty if something is."""
        return self.why_not.get(row, "") or failed_text(self.board.rows[row].cell)

    @abstractmethod
    def interval(self, row: int) -> Interval | None:
        """Where the true figure of a row lies; None where nothing says so."""

    @abstractmethod
    def contrasts(self, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
        """The comparison of rows by what places them; figures are signed so that higher is better."""

    @abstractmethod
    def difference(self, row: int, other: int) -> Interval:
        """Where the true difference of two rows that are compared lies, for this pair alone."""

    def between(self, row: int, other: int) -> float:
        """What places a row minus what places another, in the metric's own unit."""
        first, second = self.sign * self.signed([row, other])
        return float(first - second)

    def signed(self, rows: Sequence[int]) -> Array:
        """What places each of these rows, signed so that higher is better."""
        figures = [self.board.rows[i].cell.ranked_by(self.board.metric) or 0.0 for i in rows]
        return self.sign * np.array(figures, dtype=np.float64)

    @property
    def sign(self) -> int:
        """What makes higher better."""
        return 1 if higher_is_better(self.board.metric) else -1


def _rare(classes: Sequence[str]) -> str:
    """The classes that few images hold, by name as far as a line can."""
    more = [f"{len(classes) - _NAMED} more"] if len(classes) > _NAMED else []
    return (
        f"Fewer than {FEWEST_UNITS} of the scored images hold {listed([*classes[:_NAMED], *more])}: the figure of such "
        "a class rests on few images, and a mean over classes is biased by it."
    )


def failed_text(cell: Cell) -> str:
    """What failed seeds mean for a row; empty where none did.

    The worst of those that ended places it, which is no mean: tested like one, equal rows were called better than it in
    26 % of simulated boards (3 rows of 5 seeds, one of which failed).
    """
    if not cell.failed:
        return ""
    return f"{cell.failed} of {len(cell.runs)} seeds failed: placed by the worst that ended, and not compared"


def values_of(cell: Cell, metric: str) -> list[float]:
    """The figures of a cell's seeds that ended and have one."""
    return [v for run in cell.scored if (v := run.test.get(metric)) is not None]


class SeedSample(Sample):
    """The seeds are the sample: these methods trained again, on these images."""

    def __init__(self, board: Board) -> None:
        super().__init__(board, Scope(checkpoints=False, to="over trainings with other seeds"))
        self._values = [values_of(row.cell, board.metric) for row in board.rows]
        self._spread = moderated_spread(self._values)
        freedom = max(self._spread.freedom, default=0)
        if freedom:
            how = "the pooled spread over seeds" if self._spread.alike else _MODERATED
            self.text = f"{how}, {freedom:.3g} degrees of freedom"
        elif any(self._values):
            self.remarks = ("One seed says nothing about the methods trained again.",)
        for i, values in enumerate(self._values):
            if len(values) < 2:
                self.why_not[i] = "one seed says nothing about training again" if values else _NO_FIGURE
            elif i in self._spread.apart:
                self.notes[i] = _OWN_SPREAD

    def interval(self, row: int) -> Interval | None:
        """Student's, of the mean over the seeds that ended."""
        return None if row in self.why_not else self._spread.interval(row, float(np.mean(self._values[row])))

    def difference(self, row: int, other: int) -> Interval:
        """Student's, with the spreads of both."""
        return self._spread.difference(row, other, self.between(row, other))

    def contrasts(self, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
        """From the spread over seeds."""
        return seed_contrasts(self.signed(rows), self._spread, rows, level)


class ImageSample(Sample):
    """The images are the sample: these checkpoints on other images like these."""

    def __init__(self, board: Board, draws: BoardDraws | None) -> None:
        n = len(draws.drawn.ids) if draws and draws.drawn else 0
        super().__init__(board, Scope(checkpoints=True, to=f"on images like these {n:,}"))
        self._mean: dict[int, RunDraws] = {}
        self._fold = draws.fold if draws else None
        self.unit = "image"
        """What is drawn: `image` or `group`."""
        nothing = draws.why_not if draws else _NOT_READ
        if draws is not None and draws.drawn is not None:
            self.text, self.unit, nothing = draws.drawn.text, draws.drawn.unit, draws.drawn.why_not
        if nothing:
            self.remarks = (f"There are no intervals over images: {nothing}.",)
        elif draws is not None and draws.rare:
            self.remarks = (_rare(draws.rare),)
        for i, row in enumerate(board.rows):
            lost = self._read(i, row.cell, draws) if draws is not None and draws.drawn is not None else ""
            if reason := lost or nothing:
                self.why_not[i] = reason

    def _read(self, i: int, cell: Cell, draws: BoardDraws) -> str:
        """Take what a row's runs have on the resamples; gives why the row cannot be compared."""
        values = [(value, run.run_id) for run in cell.scored if (value := run.test.get(self.board.metric)) is not None]
        if not values:
            return _NO_FIGURE
        lost = [draws.left_out.get(run, _NOT_READ) for _, run in values if run not in draws.of_run]
        if lost:
            return lost[0]
        mean = RunDraws.mean([draws.of_run[run] for _, run in values])
        if np.isnan(mean.scores).sum() > MOST_UNDEFINED * len(mean.scores):
            return "too few images hold the class"
        self._mean[i] = mean
        return ""

    def interval(self, row: int) -> Interval | None:
        """From resamples, of the mean over the seeds that ended."""
        mean = self.board.rows[row].cell.test(self.board.metric).mean
        if row in self.why_not or mean is None:
            return None
        own = self._mean[row]
        known = own.scores[~np.isnan(own.scores)]
        return image_interval(mean, known, own.influence, share=is_share(self.board.metric))

    def difference(self, row: int, other: int) -> Interval:
        """From differences on the same resamples."""
        first, second = self._mean[row], self._mean[other]
        draws = first.scores - second.scores
        return image_interval(self.between(row, other), draws[~np.isnan(draws)], first.influence - second.influence)

    def contrasts(self, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
        """From differences on the same resamples; one on which a row is undefined is left out for all of them."""
        figures = self.signed(rows)
        if len(rows) < 2:
            return no_contrasts(figures)
        draws = np.stack([self.sign * self._mean[i].scores for i in rows], axis=1)
        influence = np.stack([self.sign * self._mean[i].influence for i in rows])
        known = draws[~np.isnan(draws).any(axis=1)]
        return image_contrasts(figures, known, influence, level, self._contributed(rows))

    def _contributed(self, rows: Sequence[int]) -> Array | None:
        """(k, U) what each unit contributes to each row; None where there are too many units to permute."""
        parts = [part for i in rows if (part := self._mean[i].parts) is not None]
        if self._fold is None or len(parts) < len(rows):
            return None
        return self.sign * contributions(np.stack(parts), self._fold)

    def each(self, row: int) -> Array | None:
        """The score of each image, or group of images, alone: the mean over seeds; NaN where one is undefined.

        None where the row has no statistics.
        """
        return self._mean[row].each if row in self._mean else None


class SeedAndImageSample(Sample):
    """Seeds and images are the sample: these methods trained again, on other images like these.

    The figure of a row varies with its trainings and with the images, and the two add up. The widths of the intervals
    of both questions do so in quadrature: each knows how few seeds, or images, it rests on. Drawing seeds and images
    alike (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007) estimates the same sum, but of three seeds
    it understates their variance by a third. What an image does to one training counts in both parts, which is careful
    (Owen 2007). That both sources belong to a claim of a method: Bouthillier et al., Accounting for Variance in Machine
    Learning Benchmarks, MLSys 2021.
    """

    def __init__(self, board: Board, draws: BoardDraws | None) -> None:
        self._seeds, self._images = SeedSample(board), ImageSample(board, draws)
        to = f"over other trainings, {self._images.scope.to}"
        super().__init__(board, Scope(checkpoints=False, to=to))
        parts = (self._images, self._seeds)
        self.text = "; ".join(part.text for part in parts) if all(part.text for part in parts) else ""
        self.remarks = tuple(text for part in parts for text in part.remarks)
        # Why the images say nothing holds for the whole board, and is said first.
        self.why_not = {**self._seeds.why_not, **self._images.why_not}
        self.notes = self._seeds.notes

    def interval(self, row: int) -> Interval | None:
        """Of the mean over the seeds that ended."""
        mean = self.board.rows[row].cell.test(self.board.metric).mean
        images, seeds = self._images.interval(row), self._seeds.interval(row)
        if row in self.why_not or mean is None or images is None or seeds is None:
            return None
        found = in_quadrature(mean, images, seeds)
        return Interval(max(found.low, 0.0), min(found.high, 1.0)) if is_share(self.board.metric) else found

    def difference(self, row: int, other: int) -> Interval:
        """From both."""
        return in_quadrature(
            self.between(row, other), self._images.difference(row, other), self._seeds.difference(row, other)
        )

    def contrasts(self, rows: Sequence[int], level: float = LEVEL) -> Contrasts:
        """From both; nothing is claimed that either does not find."""
        return with_both_errors(self._images.contrasts(rows, level), self._seeds.contrasts(rows, level))


def in_quadrature(figure: float, first: Interval, second: Interval) -> Interval:
    """The limits of a figure with two independent errors, from those with each of them (Zou and Donner 2008)."""
    return Interval(
        figure - math.hypot(figure - first.low, figure - second.low),
        figure + math.hypot(first.high - figure, second.high - figure),
    )
