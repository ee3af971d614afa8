"""Whether the board's intervals and claims hold: simulated boards whose truth is known.

Run it: `python benchmarks/intervals.py`; some minutes on two cores. It prints a line for each kind of board and ends
with 1 where a figure is outside of its limit. docs/statistics.md shows the table.

Images: six models on 100 images. A model's errors on an image depend on how hard the image is, which all models share,
and on luck of its own; objects' sizes are log-normal. The truth is the score of 60,000 images. Seeds: normal figures.
`equal`: all rows are equally good, so that every claim is false. `different`: they are not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from harness.metrics import Protocol
from leaderboard.boards.estimate import Interval
from leaderboard.stats.image_sums import Counts, ImageSums, means, region_sums
from leaderboard.stats.images import image_contrasts, image_interval
from leaderboard.stats.resampling import resamples, run_draws, score_of
from leaderboard.stats.seeds import moderated_spread, seed_contrasts
from leaderboard.stats.simultaneous import Contrasts, compared_with_best, rank_intervals

Array = NDArray[np.float64]

BOARDS = 400
SEED_BOARDS = 5000
IMAGES = 100
RESAMPLES = 1000
EQUAL = (0.0,) * 6
DIFFERENT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
PIXELS = 100_000.0

# Percent: the nominal level is 95, and 5 for claims that are false.
COVERAGE = (93.0, 97.0)
FALSE = 6.0


@dataclass
class Tally:
    """What was counted over the simulated boards of one kind."""

    rows: list[float] = field(default_factory=list)
    """Whether each interval of a row covers its truth."""
    pairs: list[float] = field(default_factory=list)
    """Whether each interval of a single difference does."""
    false_better: list[float] = field(default_factory=list)
    """Whether a board claims that a row is better than one that is as good or better."""
    best_missing: list[float] = field(default_factory=list)
    """Whether a board says of a best row that it is not the best."""
    places: list[float] = field(default_factory=list)
    """Whether all true places of a board are inside their intervals."""
    gaps: list[float] = field(default_factory=list)
    """Whether all true gaps to the best are."""

    def add(self, truth: Array, intervals: Sequence[Interval], contrasts: Contrasts) -> None:
        """Count one board; higher is better."""
        self.rows += [t in interval for t, interval in zip(truth, intervals, strict=True)]
        ahead = truth[:, None] > truth[None, :]
        self.false_better.append(bool((contrasts.better & ~ahead).any()))
        best = compared_with_best(contrasts)
        self.best_missing.append(not best.may_be_best[int(truth.argmax())])
        low, high = rank_intervals(contrasts.better)
        first, last = 1 + ahead.sum(axis=0), len(truth) - ahead.sum(axis=1)
        self.places.append(bool(((low <= first) & (high >= last)).all()))
        gap = np.array([truth[i] - np.delete(truth, i).max() for i in range(len(truth))])
        self.gaps.append(bool(((best.low <= gap + 1e-12) & (gap - 1e-12 <= best.high)).all()))

    def cells(self) -> Iterator[tuple[str, bool]]:
        """Each figure in percent, and whether it is inside its limit."""
        for counted in (self.rows, self.pairs):
            share = 100 * float(np.mean(counted)) if counted else np.nan
            yield ("" if np.isnan(share) else f"{share:.1f}"), not counted or COVERAGE[0] <= share <= COVERAGE[1]
        for counted, wrong in ((self.false_better, 1), (self.best_missing, 1), (self.places, 0), (self.gaps, 0)):
            share = 100 * float(np.mean(counted))
            yield f"{share:.1f}", (share if wrong else 100 - share) <= FALSE


@dataclass(frozen=True)
class World:
    """Images and models: draws the sums of n images for models of these levels, (M, n, P)."""

    draw: Callable[[np.random.Generator, int, Sequence[float]], Array]
    fold: Callable[[Array], Array]
    """Higher is better."""


def regions(classes: int, present: float) -> World:
    """Region scores: each class but the background is in an image with this chance."""

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        shape = (n, classes - 1)
        size = np.exp(rng.normal(-2.5, 1.0, shape)) * (rng.random(shape) < present)
        size *= np.minimum(1, 0.8 / np.maximum(size.sum(axis=1, keepdims=True), 1e-9))
        row = np.round(size * PIXELS)
        hard = 0.8 * rng.normal(size=(n, 1))
        models = []
        for level in levels:
            missed, alarms = (_share(row, level - 2 + hard + 0.7 * rng.normal(size=shape)) for _ in range(2))
            nowhere = np.exp(rng.normal(-4, 1, shape)) * PIXELS * (rng.random(shape) < 0.02) * (row == 0)
            hit, column = row - missed, row - missed + alarms + np.round(nowhere)
            rest = PIXELS - row.sum(axis=1, keepdims=True)
            right = rest - np.minimum(rest, (column - hit).sum(axis=1, keepdims=True))
            guessed = right + missed.sum(axis=1, keepdims=True)
            models.append(np.hstack([right, hit, rest, row, guessed, column]))
        return np.array(models)

    return World(draw, region_sums(Counts(*[np.zeros((1, classes))] * 3), PROTOCOL, "miou").fold)


def _share(of: Array, odds: Array) -> Array:
    """Whole pixels: the share with these log-odds."""
    return np.round(of / (1 + np.exp(-odds)))


def distances() -> World:
    """Distances of one class that is in every image: log-normal, long tails; signed so that higher is better."""

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        hard = 0.6 * rng.normal(size=(n, 1))
        models = [np.exp(3 + 0.5 * level + hard + 0.5 * rng.normal(size=(n, 1))) for level in levels]
        return np.array([means(-each, np.ones(1, dtype=bool)).parts for each in models])

    return World(draw, means(np.zeros((1, 1)), np.ones(1, dtype=bool)).fold)


def of_groups(world: World, spread: float) -> World:
    """The same, five images a group: hard groups are hard for all models, and each model has its luck with a group."""

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        groups = n // 5
        together = rng.normal(0, spread, groups)
        own = rng.normal(0, spread, (groups, len(levels)))
        parts = [world.draw(rng, 5, list(np.array(levels) + together[g] + own[g])) for g in range(groups)]
        return np.concatenate(parts, axis=1)

    return World(draw, world.fold)


PROTOCOL = Protocol()


def image_boards(world: World, levels: Sequence[float], groups: int = 0, boards: int = BOARDS) -> Tally:
    """Simulate boards of models on 100 images, or on groups of five."""
    rng = np.random.default_rng(1)
    n = 5 * groups or IMAGES
    sums = sum(world.draw(rng, 2000, levels).sum(axis=1) for _ in range(30))
    equal = len(set(levels)) == 1
    truth = np.repeat(world.fold(np.sum(sums, axis=0)), len(levels)) if equal else world.fold(np.asarray(sums))
    ids = [f"{i:04}" for i in range(n)]
    names = [f"{i // 5:03}" for i in range(n)] if groups else []
    tally = Tally()
    for board in range(boards):
        drawn = resamples(ids, names, str(board), RESAMPLES)
        models = [ImageSums(parts, world.fold) for parts in world.draw(rng, n, levels)]
        found = [run_draws(model, ids, drawn) for model in models]
        figures = np.array([score_of(model) for model in models])
        draws, influence = np.stack([f.scores for f in found], axis=1), np.stack([f.influence for f in found])
        intervals = [image_interval(x, f.scores, f.influence) for x, f in zip(figures, found, strict=True)]
        tally.add(truth, intervals, image_contrasts(figures, draws, influence))
        for i in range(1, len(levels)):
            pair = image_interval(figures[i] - figures[0], draws[:, i] - draws[:, 0], influence[i] - influence[0])
            tally.pairs.append(truth[i] - truth[0] in pair)
    return tally


def seed_boards(truth: Sequence[float], spreads: Sequence[float], seeds: int = 3, boards: int = SEED_BOARDS) -> Tally:
    """Simulate boards of methods that were trained with some seeds each."""
    rng = np.random.default_rng(2)
    tally, means_of = Tally(), np.array(truth)
    for _ in range(boards):
        values = means_of[:, None] + np.array(spreads)[:, None] * rng.normal(size=(len(truth), seeds))
        found = moderated_spread([list(row) for row in values])
        figures = values.mean(axis=1)
        intervals = [interval for i, x in enumerate(figures) if (interval := found.interval(i, float(x)))]
        tally.add(means_of, intervals, seed_contrasts(figures, found, range(len(truth))))
    return tally


@dataclass(frozen=True)
class Kind:
    """A kind of board."""

    name: str
    simulate: Callable[[], Tally]
    judged: bool = True
    """False: it shows what a broken assumption or a very small sample costs, and has no limit."""


def kinds() -> Iterator[Kind]:
    """Every kind of board."""
    for name, world in (
        ("mIoU of 2 classes", regions(2, 0.9)),
        ("mIoU of 6 classes", regions(6, 0.4)),
        ("mIoU of 21 classes", regions(21, 0.08)),
        ("HD", distances()),
    ):
        yield Kind(f"100 images, {name}, equal", partial(image_boards, world, EQUAL))
        yield Kind(f"100 images, {name}, different", partial(image_boards, world, DIFFERENT))
    yield Kind("15 rows × 3 seeds, equal", partial(seed_boards, [0.0] * 15, [1.0] * 15))
    yield Kind("15 rows × 3 seeds, different", partial(seed_boards, list(np.arange(15) / 2), [1.0] * 15))
    yield Kind("2 rows × 3 seeds, equal", partial(seed_boards, [0.0] * 2, [1.0] * 2))
    grouped = of_groups(regions(6, 0.4), 0.5)
    for groups in (20, 10):
        name = f"{groups} groups of 5 images, mIoU of 6 classes, equal"
        yield Kind(name, partial(image_boards, grouped, EQUAL, groups), judged=False)
    wild = partial(seed_boards, [0.0] * 15, [5.0] + [1.0] * 14)
    yield Kind("15 rows × 3 seeds, one spreads 5 times as far, equal", wild, judged=False)


def main() -> int:
    """Print the table; gives 1 where a figure is outside of its limit."""
    columns = ("rows cover", "differences cover", "false better", "best missing", "all places", "all gaps", "seconds")
    table = Table("board (percent)", *columns, title="Nominal: 95 covered, 5 false")
    outside = 0
    for kind in kinds():
        began = time.perf_counter()
        cells = list(kind.simulate().cells())
        if not kind.judged:
            cells = [(text, True) for text, _ in cells]
        outside += sum(not inside for _, inside in cells)
        shown = [text if inside else f"[red]{text} ![/red]" for text, inside in cells]
        name = kind.name if kind.judged else f"({kind.name})"
        table.add_row(name, *shown, f"{time.perf_counter() - began:.0f}")
    console = Console(width=150)
    console.print(table)
    limits = f"{COVERAGE[0]:g} to {COVERAGE[1]:g} covered, at most {FALSE:g} false or missing"
    console.print(f"{outside} figures outside of {limits}." if outside else f"All inside: {limits}.")
    console.print("In brackets: not judged; they show what a very small sample or a broken assumption costs.")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
