"""Whether the board's intervals and claims hold: simulated boards whose truth is known.

Run it: `python -m benchmarks.intervals`; ten minutes on one core, with `--quick` one or two. It prints a line for each
kind of board and ends with 1 where a figure is outside of its limit. docs/statistics.md shows the table.

Images: six models. A model's errors on an image depend on how hard the image is, which all models share, and on luck
of its own; objects' sizes are log-normal. The truth is the score of 60,000 images. Seeds: normal figures. `equal`: all
rows are equally good, so that every claim is false. `different`: they are not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from harness.metrics import Protocol
from harness.metrics.families.region import ratio_sums
from harness.metrics.sums import Counts, ImageSums, mean_of_images
from leaderboard.boards.estimate import LEVEL, Interval
from leaderboard.stats.data_sets import holm_claims, mid_places, new_places, units_of
from leaderboard.stats.images import image_contrasts, image_interval
from leaderboard.stats.permutation import FEW, contributions
from leaderboard.stats.resampling import Products, RunDraws, resamples, run_draws
from leaderboard.stats.samples import in_quadrature
from leaderboard.stats.seeds import moderated_spread, seed_contrasts
from leaderboard.stats.simultaneous import (
    Contrasts,
    compared_with_best,
    no_contrasts,
    rank_intervals,
    together,
    with_both_errors,
)

Array = NDArray[np.float64]

BOARDS = 400
SEED_BOARDS = 2000
# `--quick`: so many times fewer.
QUICK = 8
IMAGES = 100
RESAMPLES = 1000
EQUAL = (0.0,) * 6
DIFFERENT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
PIXELS = 100_000.0

# Percent: the nominal level is 95, and 5 for claims that are false. Where the larger of two errors is taken, intervals
# may cover more.
COVERAGE = (93.0, 99.0)
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
    found: list[float] = field(default_factory=list)
    """Which share of the true differences a board claims."""
    least: float | None = None
    """How many percent of `rows` shall be covered at least; None: 95, and not far more."""

    def add(self, truth: Array, intervals: Sequence[Interval] | None, contrasts: Contrasts) -> None:
        """Count one board; higher is better. `intervals` is None where nothing is said of rows."""
        self.rows += [t in interval for t, interval in zip(truth, intervals or (), strict=intervals is not None)]
        ahead = truth[:, None] > truth[None, :]
        self.false_better.append(bool((contrasts.better & ~ahead).any()))
        if ahead.any():
            self.found.append(float(contrasts.better[ahead].mean()))
        best = compared_with_best(contrasts)
        self.best_missing.append(not best.may_be_best[int(truth.argmax())])
        low, high = rank_intervals(contrasts.better)
        first, last = 1 + ahead.sum(axis=0), len(truth) - ahead.sum(axis=1)
        self.places.append(bool(((low <= first) & (high >= last)).all()))
        gap = np.array([truth[i] - np.delete(truth, i).max() for i in range(len(truth))])
        self.gaps.append(bool(((best.low <= gap + 1e-12) & (gap - 1e-12 <= best.high)).all()))

    def cells(self) -> Iterator[tuple[str, bool]]:
        """Each figure in percent, and whether it is inside its limit, as far as so many boards can tell."""
        # The limits are those of 400 boards; of fewer, three standard errors more.
        slack = 300 * max(0.0, float(np.sqrt(0.05 * 0.95 / len(self.false_better)) - np.sqrt(0.05 * 0.95 / BOARDS)))
        for counted in (self.rows, self.pairs):
            share = 100 * float(np.mean(counted)) if counted else np.nan
            inside = not counted or COVERAGE[0] - slack <= share <= COVERAGE[1] + slack
            if counted and self.least is not None:
                inside = share >= self.least - 1 - slack
            yield ("" if np.isnan(share) else f"{share:.1f}"), inside
        for counted, wrong in ((self.false_better, 1), (self.best_missing, 1), (self.places, 0), (self.gaps, 0)):
            share = 100 * float(np.mean(counted)) if counted else np.nan
            inside = not counted or (share if wrong else 100 - share) <= FALSE + slack
            yield ("" if np.isnan(share) else f"{share:.1f}"), inside
        yield (f"{100 * float(np.mean(self.found)):.0f}" if self.found else ""), True


@dataclass(frozen=True)
class World:
    """Images and models: draws the sums of n images for models of these levels, (M, n, P)."""

    draw: Callable[[np.random.Generator, int, Sequence[float]], Array]
    fold: Callable[[Array], Array]
    """Higher is better."""


def regions(classes: int, present: float | Array, alarms: float = 0.02, areas: float = 0.0) -> World:
    """Region scores: each class but the background is in an image with this chance.

    Args:
        classes: how many, with the background.
        present: how likely an image holds each, or any, of the others.
        alarms: how likely a model sees a class in an image that lacks it.
        areas: the standard deviation of the logarithm of images' areas.
    """

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        shape = (n, classes - 1)
        area = np.round(PIXELS * np.exp(areas * rng.normal(size=(n, 1)))) if areas else np.full((n, 1), PIXELS)
        size = np.exp(rng.normal(-2.5, 1.0, shape)) * (rng.random(shape) < present)
        size *= np.minimum(1, 0.8 / np.maximum(size.sum(axis=1, keepdims=True), 1e-9))
        row = np.round(size * area)
        hard = 0.8 * rng.normal(size=(n, 1))
        models = []
        for level in levels:
            missed, wrong = (_share(row, level - 2 + hard + 0.7 * rng.normal(size=shape)) for _ in range(2))
            nowhere = np.exp(rng.normal(-4, 1, shape)) * area * (rng.random(shape) < alarms) * (row == 0)
            hit, column = row - missed, row - missed + wrong + np.round(nowhere)
            rest = area - row.sum(axis=1, keepdims=True)
            right = rest - np.minimum(rest, (column - hit).sum(axis=1, keepdims=True))
            guessed = right + missed.sum(axis=1, keepdims=True)
            models.append(np.hstack([right, hit, rest, row, guessed, column]))
        return np.asarray(models)

    return World(draw, ratio_sums(Counts(*[np.zeros((1, classes))] * 3), PROTOCOL, "iou").mean().fold)


def _share(of: Array, odds: Array) -> Array:
    """Whole pixels: the share with these log-odds."""
    return np.asarray(np.round(of / (1 + np.exp(-odds))))


def distances() -> World:
    """Distances of one class that is in every image: log-normal, long tails; signed so that higher is better."""

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        hard = 0.6 * rng.normal(size=(n, 1))
        models = [np.exp(3 + 0.5 * level + hard + 0.5 * rng.normal(size=(n, 1))) for level in levels]
        return np.array([mean_of_images(-each[:, 0]).parts for each in models])

    return World(draw, mean_of_images(np.zeros(1)).fold)


def of_groups(world: World, spread: float, size: int = 5) -> World:
    """The same in groups: hard groups are hard for all models, and each model has its luck with a group."""

    def draw(rng: np.random.Generator, n: int, levels: Sequence[float]) -> Array:
        groups = n // size
        together = rng.normal(0, spread, groups)
        own = rng.normal(0, spread, (groups, len(levels)))
        parts = [world.draw(rng, size, list(np.array(levels) + together[g] + own[g])) for g in range(groups)]
        return np.concatenate(parts, axis=1)

    return World(draw, world.fold)


PROTOCOL = Protocol()


def image_boards(
    boards: int, world: World, levels: Sequence[float], n: int = IMAGES, group: int = 0, share: bool = True
) -> Tally:
    """Simulate boards of models on n images.

    Args:
        boards: how many.
        world: what they are drawn from.
        levels: how bad each model is.
        n: how many images.
        group: how many images a group that is on record has; 0: none is.
        share: whether the score is one between 0 and 1.
    """
    rng = np.random.default_rng(1)
    sums = sum(world.draw(rng, 2000, levels).sum(axis=1) for _ in range(30))
    equal = len(set(levels)) == 1
    truth = np.repeat(world.fold(np.sum(sums, axis=0)), len(levels)) if equal else world.fold(np.asarray(sums))
    ids = [f"{i:05}" for i in range(n)]
    names = [f"{i // group:04}" for i in range(n)] if group else []
    tally = Tally()
    for board in range(boards):
        drawn = resamples(ids, names, str(board), RESAMPLES)
        models = [ImageSums(parts, world.fold) for parts in world.draw(rng, n, levels)]
        figures = np.array([model.score() for model in models])
        if drawn.why_not:
            tally.add(truth, None, _among(no_contrasts(figures[:0]), figures, []))
            continue
        products = Products(drawn)
        found = [run_draws(model, ids, drawn, products) for model in models]
        draws, influence = np.stack([f.scores for f in found], axis=1), np.stack([f.influence for f in found])
        intervals = [image_interval(x, f.scores, f.influence, share=share) for x, f in zip(figures, found, strict=True)]
        parts = [f.parts for f in found if f.parts is not None]
        contributed = contributions(np.stack(parts), world.fold) if drawn.units < FEW else None
        tally.add(truth, intervals, image_contrasts(figures, draws, influence, contributed=contributed))
        for i in range(1, len(levels)):
            pair = image_interval(figures[i] - figures[0], draws[:, i] - draws[:, 0], influence[i] - influence[0])
            tally.pairs.append(truth[i] - truth[0] in pair)
    return tally


def seed_boards(
    boards: int,
    truth: Sequence[float],
    spread: float | Sequence[float] = 0.0,
    seeds: int = 3,
    lost: bool = False,
    tails: float = np.inf,
) -> Tally:
    """Simulate boards of methods that were trained with some seeds each.

    Args:
        boards: how many.
        truth: of each method.
        spread: the standard deviation of each method, or that of their logarithms.
        seeds: of each method.
        lost: whether a seed of the first method failed by accident.
        tails: degrees of freedom of Student's t, which the figures follow; ∞: normal.
    """
    rng = np.random.default_rng(2)
    tally, means_of, k = Tally(), np.array(truth), len(truth)
    for _ in range(boards):
        spreads = np.exp(spread * rng.normal(size=k)) if isinstance(spread, float) else np.array(spread)
        noise = rng.normal(size=(k, seeds)) if np.isinf(tails) else rng.standard_t(tails, size=(k, seeds))
        values = [list(row) for row in means_of[:, None] + spreads[:, None] * noise]
        if lost:
            values[0].pop()
        found = moderated_spread(values)
        figures = np.array([np.mean(row) for row in values])
        intervals = [interval for i, x in enumerate(figures) if (interval := found.interval(i, float(x)))]
        compared = list(range(int(lost), k))
        tally.add(means_of, intervals, _among(seed_contrasts(figures[compared], found, compared), figures, compared))
    return tally


def seed_and_image_boards(
    boards: int, spread: float, seeds: int = 3, levels: Sequence[float] = EQUAL, answer: str = "both", luck: float = 0.5
) -> Tally:
    """Simulate boards of methods trained with some seeds each, and scored on 100 images.

    A method has its luck with an image, which all of its trainings share, and each training has its own.

    Args:
        boards: how many.
        spread: how far the trainings of a method are apart, in the unit of `levels`.
        seeds: of each method.
        levels: how bad each method is.
        answer: `both`; or what `seeds` or `images` alone would claim of methods on other images; or `pigeonhole`: the
            plain bootstrap that draws seeds and images alike (Owen 2007).
        luck: the standard deviation of a method's luck with an image.
    """
    rng, world, k = np.random.default_rng(3), regions(6, 0.4), len(levels)
    means_of = np.zeros(k)
    trainings = 200

    def trained(n: int, own: Sequence[float], count: int) -> Array:
        """(k, count, n, 1) how bad each training of each method is on each image."""
        shared = luck * rng.normal(size=(len(own), 1, n, 1))
        return np.array(own).reshape(-1, 1, 1, 1) + spread * rng.normal(size=(len(own), count, 1, 1)) + shared

    for i, level in enumerate(levels if len(set(levels)) > 1 else levels[:1]):
        each = trained(2000, [level], trainings)[0]
        means_of[i] = np.mean([world.fold(world.draw(rng, 2000, [one])[0].sum(axis=0)) for one in each])
    truth = means_of if len(set(levels)) > 1 else np.repeat(means_of[0], k)
    ids = [f"{i:05}" for i in range(IMAGES)]
    tally = Tally()
    for board in range(boards):
        drawn_images = resamples(ids, [], str(board), RESAMPLES)
        products = Products(drawn_images)
        bad = trained(IMAGES, levels, seeds).reshape(k * seeds, IMAGES, 1)
        runs = [ImageSums(parts, world.fold) for parts in world.draw(rng, IMAGES, list(bad))]
        scores = np.array([run.score() for run in runs]).reshape(k, seeds)
        figures = scores.mean(axis=1)
        of_runs = [run_draws(run, ids, drawn_images, products) for run in runs]
        found = [RunDraws.mean(of_runs[i * seeds : (i + 1) * seeds]) for i in range(k)]
        draws, influence = np.stack([f.scores for f in found], axis=1), np.stack([f.influence for f in found])
        spread_of = moderated_spread(scores.tolist())
        of_images = image_contrasts(figures, draws, influence)
        of_seeds = seed_contrasts(figures, spread_of, range(k))
        one = [image_interval(x, f.scores, f.influence, share=True) for x, f in zip(figures, found, strict=True)]
        other = [interval for i, x in enumerate(figures) if (interval := spread_of.interval(i, float(x)))]
        both = [in_quadrature(float(x), a, b) for x, a, b in zip(figures, one, other, strict=True)]
        if answer == "pigeonhole":
            every = np.stack([run.scores for run in of_runs]).reshape(k, seeds, RESAMPLES)
            picked = rng.integers(0, seeds, (k, seeds, RESAMPLES))
            twice = np.take_along_axis(every, picked, axis=1).mean(axis=1).T
            plain = [image_interval(figures[i], twice[:, i], influence[i], share=True) for i in range(k)]
            tally.add(truth, plain, image_contrasts(figures, twice, influence))
            continue
        intervals = {"both": both, "images": one, "seeds": other}[answer]
        contrasts = {"both": with_both_errors(of_images, of_seeds), "images": of_images, "seeds": of_seeds}[answer]
        tally.add(truth, intervals, contrasts)
    return tally


def suite_boards(boards: int, data_sets: int, truth: Sequence[float], apart: float = 0.0, seeds: int = 3) -> Tally:
    """Simulate suites on given data sets: the claims by standardised figures, and the mean places.

    Args:
        boards: how many suites.
        data_sets: of each suite.
        truth: of each model, in standard deviations over seeds.
        apart: the standard deviation of what a data set adds to a model's truth.
        seeds: of each model on each data set.
    """
    rng, tally, k = np.random.default_rng(4), Tally(), len(truth)
    for _ in range(boards):
        scale = np.exp(rng.normal(size=data_sets))
        true = scale * (np.array(truth)[:, None] + apart * rng.normal(size=(k, data_sets)))
        values = true[..., None] + scale[:, None] * rng.normal(size=(k, data_sets, seeds))
        figures = values.mean(axis=2)
        units = units_of(figures)
        spreads = [moderated_spread(values[:, d].tolist()) for d in range(data_sets)]
        parts = [seed_contrasts(figures[:, d], spread, range(k)) for d, spread in enumerate(spreads)]
        tally.add((true * units).mean(axis=1), None, together(parts, list(units / data_sets)))
        level = LEVEL ** (1 / data_sets)
        at_once = [seed_contrasts(figures[:, d], spread, range(k), level) for d, spread in enumerate(spreads)]
        low, high = np.mean([rank_intervals(part.better) for part in at_once], axis=0)
        places = mid_places(true).mean(axis=1)
        tally.places[-1] = bool(((low <= places) & (places <= high)).all())
    return tally


def new_data_sets(boards: int, data_sets: int, truth: Sequence[float], apart: float = 1.0) -> Tally:
    """Simulate suites whose data sets are a sample: Wilcoxon and Holm, and the places on a new data set.

    Args:
        boards: how many suites.
        data_sets: of each suite.
        truth: of each model, on average over data sets.
        apart: the standard deviation of what a data set adds to a model's figure.
    """
    rng, tally, k = np.random.default_rng(5), Tally(), len(truth)
    names = [str(i) for i in range(k)]
    for _ in range(boards):
        hard = rng.normal(size=data_sets + 1)
        figures = np.array(truth)[:, None] + hard + apart * rng.normal(size=(k, data_sets + 1))
        claims = holm_claims(figures[:, :-1], names)
        tally.false_better.append(any(truth[int(c.better)] <= truth[int(c.worse)] for c in claims))
        ahead = sum(x > y for x in truth for y in truth)
        if ahead:
            right = sum(truth[int(c.better)] > truth[int(c.worse)] for c in claims)
            tally.found.append(right / ahead)
        places = mid_places(figures)
        found = new_places(places[:, :-1])
        tally.least = 100 * found.level
        tally.rows += list((found.low <= places[:, -1]) & (places[:, -1] <= found.high))
    return tally


def _among(made: Contrasts, figures: Array, compared: Sequence[int]) -> Contrasts:
    """The comparison of some of the rows, among rows of which nothing is claimed."""
    k, at = len(figures), np.ix_(compared, compared)
    critical = np.full((4, k, k), np.inf)
    better = np.zeros((k, k), dtype=bool)
    for whole, part in zip(critical, (made.errors, made.to_best, made.to_baseline, made.of_pairs), strict=True):
        whole[at] = part
    better[at] = made.better
    errors, to_best, to_baseline, of_pairs = critical
    return Contrasts(figures, errors, to_best, to_baseline, of_pairs, better)


@dataclass(frozen=True)
class Kind:
    """A kind of board."""

    name: str
    simulate: Callable[[int], Tally]
    """How many boards -> what was counted."""
    judged: bool = True
    """False: it shows what a broken assumption or a very small sample costs, and has no limit."""
    boards: int = BOARDS


def kinds() -> Iterator[Kind]:
    """Every kind of board."""
    yield from image_kinds()
    yield from group_kinds()
    yield from seed_kinds()
    yield from seed_and_image_kinds()
    yield from suite_kinds()


def image_kinds() -> Iterator[Kind]:
    """Images that are independent."""
    for name, world in (
        ("mIoU of 2 classes", regions(2, 0.9)),
        ("mIoU of 6 classes", regions(6, 0.4)),
        ("mIoU of 21 classes", regions(21, 0.08)),
    ):
        yield Kind(f"100 images, {name}, equal", partial(image_boards, world=world, levels=EQUAL))
        yield Kind(f"100 images, {name}, different", partial(image_boards, world=world, levels=DIFFERENT))
    for name, levels in (("equal", EQUAL), ("different", DIFFERENT)):
        yield Kind(f"100 images, HD, {name}", partial(image_boards, world=distances(), levels=levels, share=False))
    for n in (20, 50, 300):
        yield Kind(f"{n} images, 6 classes", partial(image_boards, world=regions(6, 0.4), levels=EQUAL, n=n))
    for n in (10, 20):
        simulate = partial(image_boards, world=regions(2, 0.9), levels=EQUAL, n=n)
        yield Kind(f"{n} images, 2 classes", simulate, judged=n > 10)
    rare = regions(21, 0.05, alarms=0.0)
    for n in (50, 100):
        simulate = partial(image_boards, world=rare, levels=EQUAL, n=n)
        yield Kind(f"{n} images, 21 classes in 5 %, no false alarms", simulate, judged=False)
    alarms = regions(21, 0.05, alarms=0.01)
    yield Kind("300 images, 21 classes in 5 %", partial(image_boards, world=alarms, levels=EQUAL, n=300))
    uneven = regions(6, 0.4, areas=1.0)
    for n in (50, 100):
        simulate = partial(image_boards, world=uneven, levels=EQUAL, n=n)
        yield Kind(f"{n} images of log-normal areas (σ = 1), 6 classes", simulate, judged=False)
    ade = regions(151, np.geomspace(0.6, 0.003, 150), alarms=0.0)
    simulate = partial(image_boards, world=ade, levels=(0.0,) * 4, n=500)
    yield Kind("500 images, 151 classes in 60 to 0.3 %", simulate, judged=False, boards=BOARDS // 4)


def group_kinds() -> Iterator[Kind]:
    """Images of one patient, drive or city."""
    for groups in (40, 20, 10):
        world = of_groups(regions(6, 0.4), 0.5)
        grouped = partial(image_boards, world=world, levels=EQUAL, n=5 * groups, group=5)
        yield Kind(f"{groups} groups of 5 images, 6 classes, equal", grouped, judged=False)
    large = of_groups(regions(6, 0.4), 0.5, 100)
    few = partial(image_boards, world=large, levels=EQUAL, n=500, group=100)
    yield Kind("5 groups of 100 images, 6 classes, equal", few, boards=BOARDS // 4)
    hidden = of_groups(regions(6, 0.4), 0.5, 10)
    unknown = partial(image_boards, world=hidden, levels=EQUAL, n=300)
    yield Kind("30 groups of 10 images, not on record", unknown, judged=False)


def seed_kinds() -> Iterator[Kind]:
    """Methods trained with some seeds each."""

    def kind(name: str, judged: bool, truth: Sequence[float], **how: Any) -> Kind:
        return Kind(name, partial(seed_boards, truth=truth, **how), judged, SEED_BOARDS)

    ahead = [4.0] + [0.0] * 14
    yield kind("15 rows × 3 seeds, equal", True, [0.0] * 15)
    yield kind("15 rows × 3 seeds, different", True, list(np.arange(15) / 2))
    yield kind("15 rows × 3 seeds, one 4 σ ahead", True, ahead)
    yield kind("2 rows × 3 seeds, equal", True, [0.0] * 2)
    yield kind("15 rows × 2 seeds, equal", True, [0.0] * 15, seeds=2)
    yield kind("15 rows × 5 seeds, equal", True, [0.0] * 15, seeds=5)
    for rows, seeds, spread in ((15, 3, 0.3), (15, 3, 0.5), (15, 3, 1.0), (6, 3, 0.5), (15, 5, 0.5)):
        name = f"{rows} rows × {seeds} seeds, spreads differ by a factor {np.exp(spread):.2f}"
        yield kind(f"{name}, equal", False, [0.0] * rows, spread=spread, seeds=seeds)
    yield kind("15 rows × 3 seeds, factor 1.65, one 4 σ ahead", False, ahead, spread=0.5)
    yield kind("15 rows × 3 seeds, one spreads 5 times as far", False, [0.0] * 15, spread=[5.0] + [1.0] * 14)
    yield kind("15 rows × 3 seeds, half spread 3 times as far", False, [0.0] * 15, spread=[3.0] * 7 + [1.0] * 8)
    yield kind("15 rows × 3 seeds, Student's t of 3", False, [0.0] * 15, tails=3.0)
    for rows, seeds in ((3, 5), (15, 5), (15, 10)):
        yield kind(f"{rows} rows × {seeds} seeds, one lost by accident", True, [0.0] * rows, seeds=seeds, lost=True)


def seed_and_image_kinds() -> Iterator[Kind]:
    """Methods trained again, on other images; and what the other two answers would claim of that."""
    for spread in (0.02, 0.1, 0.3):
        for answer in ("both", "seeds", "images", "pigeonhole"):
            simulate = partial(seed_and_image_boards, spread=spread, answer=answer)
            name = f"6 rows × 3 seeds, 100 images, trainings {spread:g} apart, answer: {answer}"
            yield Kind(name, simulate, answer == "both", BOARDS // 2)
    different = partial(seed_and_image_boards, spread=0.1, levels=DIFFERENT)
    yield Kind("6 rows × 3 seeds, 100 images, trainings 0.1 apart, different", different, boards=BOARDS // 2)


def suite_kinds() -> Iterator[Kind]:
    """Several data sets."""
    for data_sets in (3, 6):
        equal = partial(suite_boards, data_sets=data_sets, truth=[0.0] * 6)
        yield Kind(f"{data_sets} data sets, 6 models × 3 seeds, equal", equal)
        apart = partial(suite_boards, data_sets=data_sets, truth=list(np.arange(6) / 2), apart=1.0)
        yield Kind(f"{data_sets} data sets, 6 models × 3 seeds, different", apart)
    two = partial(suite_boards, data_sets=6, truth=[0.0, 1.0], apart=0.5)
    yield Kind("6 data sets, 2 models × 3 seeds, different", two, judged=False)
    for data_sets in (6, 10, 40):
        equal = partial(new_data_sets, data_sets=data_sets, truth=[0.0] * 5)
        yield Kind(f"other data sets than these {data_sets}, 5 models, equal", equal)
        apart = partial(new_data_sets, data_sets=data_sets, truth=[0.0, 0.5, 1.0, 1.5, 2.0])
        yield Kind(f"other data sets than these {data_sets}, 5 models, different", apart)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; gives 1 where a figure is outside of its limit."""
    parser = argparse.ArgumentParser(description="Whether the board's intervals and claims hold.")
    parser.add_argument("--quick", action="store_true", help=f"1/{QUICK} of the boards, and wider limits")
    parser.add_argument("--only", default="", help="only kinds of boards with this in their name")
    said = parser.parse_args(words)
    columns = ("rows", "differences", "false better", "best missing", "all places", "all gaps", "found", "seconds")
    table = Table("board (percent)", *columns, title="Nominal: 95 covered, 5 false")
    outside = 0
    for kind in kinds():
        if said.only not in kind.name:
            continue
        began = time.process_time()
        cells = list(kind.simulate(kind.boards // QUICK if said.quick else kind.boards).cells())
        if not kind.judged:
            cells = [(text, True) for text, _ in cells]
        outside += sum(not inside for _, inside in cells)
        shown = [text if inside else f"[red]{text} ![/red]" for text, inside in cells]
        name = kind.name if kind.judged else f"({kind.name})"
        table.add_row(name, *shown, f"{time.process_time() - began:.0f}")
    console = Console(width=150)
    console.print(table)
    limits = f"{COVERAGE[0]:g} to {COVERAGE[1]:g} covered, at most {FALSE:g} false or missing"
    console.print(f"{outside} figures outside of {limits}." if outside else f"All inside: {limits}.")
    console.print("In brackets: not judged; they show what a very small sample or a broken assumption costs.")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
