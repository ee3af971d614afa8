"""Which model is best over the data sets of a suite: on these, on others like these, and without each of them.

On these data sets: mean places and mean standardised figures, with intervals from what each board was resampled from.
The data sets are given, and the images or seeds of each are the sample. On other data sets like these: the data sets
are the sample. docs/statistics.md has the formulas.

A model that has no figure on a data set takes the last place there, and counts like the worst figure: else a model
could gain by leaving out what it is bad at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.metrics.exact import Array
from leaderboard.boards.board import Board
from leaderboard.boards.estimate import LEVEL, Interval
from leaderboard.stats.data_sets import (
    NewPlaces,
    PairClaim,
    fewest_for_a_claim,
    filled,
    holm_claims,
    mid_places,
    new_places,
    units_of,
)
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.significance import ASKS, Question, default_question, sample_of, significance
from leaderboard.stats.simultaneous import compared_with_best, together
from leaderboard.stats.suite import ModelGroup, ModelRows, models_of, suites
from leaderboard.stats.verdict import few, listed

# From so many data sets on something is said of others.
FEWEST = 6
# Means of places that differ by less are equal.
SAME = 1e-9

DrawsOf = Callable[[Board], BoardDraws | None]


@dataclass(frozen=True)
class DataSet:
    """A data set of a suite."""

    board_id: str
    title: str
    metric: str
    """What it is ranked by."""


@dataclass(frozen=True)
class OnDataSet:
    """A model on one data set."""

    place: float
    """Among the models of the group: equal figures share the mean of their places; without a figure, the last."""
    places: tuple[int, int] | None
    """Those it may have, for all models and all data sets together; None where nothing is known."""
    figure: float | None
    """What places it."""
    why_last: str
    """Why it takes the last place; empty where it has a figure."""


@dataclass(frozen=True)
class OverallRow:
    """A model over all data sets."""

    name: str
    on: tuple[OnDataSet, ...]
    """In the order of the group's data sets."""
    place: int
    """By the mean place; equal ones share one."""
    mean_place: float
    mean_places: Interval
    """Where the mean of its true places lies, for all models together."""
    gap: float
    """Mean standardised figure minus that of the best other model: above 0 is better, whatever the metric. The unit is
    the standard deviation of the models' figures on each data set."""
    gap_interval: Interval | None
    """Where the true gap lies, for all models together; None where it is not compared on every data set."""
    may_be_first: bool
    """Whether it cannot be excluded that it has the best mean place."""
    new_places: Interval | None
    """Its place on another data set like these; None below six data sets."""


@dataclass(frozen=True)
class LeftOut:
    """The order without one data set."""

    title: str
    order: tuple[str, ...]
    """Best mean place first."""
    first: tuple[str, ...]
    """Who has the best mean place."""
    tau: float | None
    """Kendall's rank correlation (tau-b) with the whole order; None where all are equal."""


@dataclass(frozen=True)
class OverallGroup:
    """Models that are ranked together on every data set."""

    heading: str
    data_sets: tuple[DataSet, ...]
    rows: tuple[OverallRow, ...]
    """Best mean place first."""
    claims: tuple[PairClaim, ...]
    """Of other data sets like these."""
    new_level: float | None
    """How often a model's place on another data set is inside of `new_places`, at least; None below six data sets."""
    other: str
    """What is known of other data sets, in plain English; or why nothing is."""
    left_out: tuple[LeftOut, ...]
    stability: str
    """What leaving out single data sets does, in plain English."""
    verdict: str
    """On these data sets, in plain English."""

    @property
    def best(self) -> frozenset[int]:
        """The rows that may have the best mean place, by their place in `rows`; empty where all may."""
        may = frozenset(i for i, row in enumerate(self.rows) if row.may_be_first)
        return may if len(may) < len(self.rows) else frozenset()


@dataclass(frozen=True)
class Overall:
    """A suite over its data sets; page, site and exports all show this."""

    suite: str
    protocol: str
    question: Question
    asks: str
    """The question that the intervals on these data sets answer, in words."""
    level: float
    """At which all statements of one kind about a group hold together, over all data sets."""
    groups: tuple[OverallGroup, ...]
    remarks: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


def collections(boards: Sequence[Board]) -> list[list[Board]]:
    """The suites with two data sets or more, each with one board a data set."""
    return [own for every in suites(boards) if len(own := _one_each(every)) > 1]


def _one_each(boards: Sequence[Board]) -> list[Board]:
    """Of boards of one data set (another copy of it, other labels) the one with the most scored runs."""
    found: dict[str, Board] = {}
    for board in boards:
        known = found.get(board.data.name)
        if known is None or _scored(board) > _scored(known):
            found[board.data.name] = board
    return list(found.values())


def _scored(board: Board) -> int:
    return sum(len(row.cell.scored) for row in board.rows)


def common_question(boards: Sequence[Board]) -> Question:
    """The widest question that every board's seeds can answer."""
    usual = {default_question(board) for board in boards}
    return "images" if "images" in usual else "seeds" if "seeds" in usual else "both"


def overall(boards: Sequence[Board], question: Question, draws_of: DrawsOf) -> Overall:
    """Combine the boards of a suite.

    Args:
        boards: one a data set, of `collections`.
        question: what the intervals on these data sets answer.
        draws_of: what `board_draws` made of a board; asked once for each, and only where the question is of images.
    """
    groups = models_of(boards)
    judged = [_Judged(number, board, question, draws_of, len(boards)) for number, board in enumerate(boards)]
    made = [_group(group, judged) for group in groups if len(group.models) > 1]
    alone = [model.name for group in groups if len(group.models) == 1 for model in group.models]
    remarks = [f"{listed(alone)}: ranked with no other model."] if alone else []
    return Overall(
        suite=boards[0].suite,
        protocol=boards[0].protocol_name,
        question=question,
        asks=ASKS[question],
        level=LEVEL,
        groups=tuple(one for one in made if one is not None),
        remarks=(*remarks, *(text for one in judged for text in one.remarks)),
    )


class _Judged:
    """A board with its statistics, at the level at which those of all boards, which are independent, hold together."""

    def __init__(self, number: int, board: Board, question: Question, draws_of: DrawsOf, boards: int) -> None:
        draws = None if question == "seeds" else draws_of(board)
        said = significance(board, question, draws, LEVEL ** (1 / boards))
        self.number, self.board, self.rows = number, board, said.rows
        self.sample = sample_of(board, question, draws)
        self.title = board.data.title or board.data.name
        self.remarks = [f"{self.title}: {text}" for text in said.remarks]

    def figure(self, model: ModelRows) -> float | None:
        """What places a model; None where it has no row or no figure."""
        i = model.rows.get(self.number)
        return None if i is None or self.board.rows[i].rank is None else self.rows[i].placed_by

    def signed(self, model: ModelRows) -> float:
        """The same, higher is better; NaN where there is none, or an infinite distance."""
        figure = self.figure(model)
        return math.nan if figure is None or math.isinf(figure) else self.sample.sign * figure

    def on(self, model: ModelRows, place: float) -> OnDataSet:
        """A model on this data set; `place` is the last one where it has no figure."""
        figure, i = self.figure(model), model.rows.get(self.number)
        if i is not None and figure is not None:
            return OnDataSet(place, self.rows[i].places, figure, "")
        why = "not run on it, or ranked apart there"
        if i is not None:
            why = self.board.rows[i].cell.incomplete() or "it has no figure there"
        return OnDataSet(place, (int(place), int(place)), None, why)


def _group(group: ModelGroup, boards: Sequence[_Judged]) -> OverallGroup | None:
    """Combine the models that are ranked together; None where fewer than two data sets have a figure of any."""
    models = group.models
    names = [model.name for model in models]
    known = [board for board in boards if any(board.figure(model) is not None for model in models)]
    if len(known) < 2:
        return None
    signed = np.array([[board.signed(model) for board in known] for model in models])
    places = mid_places(signed)
    enough = len(known) >= FEWEST
    new = new_places(places) if enough else None
    claims = holm_claims(filled(signed), names) if enough else []
    rows = _rows(models, known, signed, new)
    left_out = _left_out(places, names, [board.title for board in known])
    return OverallGroup(
        heading=group.heading,
        data_sets=tuple(DataSet(one.board.board_id, one.title, one.board.metric) for one in known),
        rows=rows,
        claims=tuple(claims),
        new_level=None if new is None else new.level,
        other=_other_text(len(known), len(models), claims, new),
        left_out=tuple(left_out),
        stability=_stability_text(rows, left_out),
        verdict=_verdict(rows, len(known)),
    )


def _rows(
    models: Sequence[ModelRows], known: Sequence[_Judged], signed: Array, new: NewPlaces | None
) -> tuple[OverallRow, ...]:
    """The models of a group, best mean place first."""
    places = mid_places(signed)
    mean, present = places.mean(axis=1), (~np.isnan(signed)).sum(axis=0)
    on = [
        [board.on(model, float(place)) for board, place in zip(known, own, strict=True)]
        for model, own in zip(models, places, strict=True)
    ]
    # Of a model of which nothing is known: any place that one with a figure can have.
    bounds = np.array([[one.places or (1, n) for one, n in zip(own, present, strict=True)] for own in on])
    low, high = bounds.mean(axis=1).T
    gaps, intervals = _gaps(models, known, signed)
    rows = [
        OverallRow(
            name=model.name,
            on=tuple(on[i]),
            place=1 + int((mean < mean[i] - SAME).sum()),
            mean_place=float(mean[i]),
            mean_places=Interval(float(low[i]), float(high[i])),
            gap=float(gaps[i]),
            gap_interval=intervals[i],
            may_be_first=bool(low[i] <= high.min() + SAME),
            new_places=None if new is None else Interval(float(new.low[i]), float(new.high[i])),
        )
        for i, model in enumerate(models)
    ]
    return tuple(sorted(rows, key=lambda row: (row.place, -row.gap, row.name)))


def _gaps(models: Sequence[ModelRows], known: Sequence[_Judged], signed: Array) -> tuple[Array, list[Interval | None]]:
    """Each model's mean standardised figure minus that of the best other, with intervals where it is compared.

    The standard deviations of models' figures are the unit, and taken as given.
    """
    units = units_of(signed)
    mean = (filled(signed) * units).mean(axis=1)
    gaps = np.array([mean[i] - np.delete(mean, i).max() for i in range(len(mean))])
    intervals: list[Interval | None] = [None] * len(mean)
    whole = [
        i
        for i, model in enumerate(models)
        if not np.isnan(signed[i]).any()
        and not any(board.sample.not_compared(model.rows[board.number]) for board in known)
    ]
    if len(whole) < 2:
        return gaps, intervals
    parts = [board.sample.contrasts([models[i].rows[board.number] for i in whole]) for board in known]
    best = compared_with_best(together(parts, list(units / len(known))))
    for at, i in enumerate(whole):
        gaps[i] = best.gap[at]
        intervals[i] = Interval(float(best.low[at]), float(best.high[at]))
    return gaps, intervals


def _left_out(places: Array, names: Sequence[str], titles: Sequence[str]) -> list[LeftOut]:
    whole, found = places.mean(axis=1), []
    for d, title in enumerate(titles):
        mean = np.delete(places, d, axis=1).mean(axis=1)
        order = sorted(range(len(names)), key=lambda i, m=mean: (m[i], whole[i], names[i]))  # type: ignore[misc]
        tau = float(stats.kendalltau(whole, mean).statistic)
        first = tuple(names[i] for i in order if mean[i] <= mean.min() + SAME)
        found.append(LeftOut(title, tuple(names[i] for i in order), first, None if math.isnan(tau) else tau))
    return found


# ---- in words ----------------------------------------------------------------------------------------------------


def place_text(value: float) -> str:
    """A mean of places: `2`, `1.5`, `1.33`."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def places_text(one: OnDataSet) -> str:
    """The places of a model on a data set: `1–2`, `last`, `not known`."""
    if one.figure is None:
        return "last"
    if one.places is None:
        return "not known"
    low, high = one.places
    return str(low) if low == high else f"{low}–{high}"


def _verdict(rows: Sequence[OverallRow], data_sets: int) -> str:
    first = [row.name for row in rows if row.place == 1]
    best = rows[0].mean_places
    said = f"{place_text(rows[0].mean_place)}" + (
        f" [{place_text(best.low)}, {place_text(best.high)}]" if len(first) == 1 else ""
    )
    others = [row.name for row in rows if row.may_be_first and row.place != 1]
    what = f"the best mean place over these {data_sets} data sets, {said}"
    start = f"{few(first)} {'has' if len(first) == 1 else 'share'} {what}"
    if len(others) == len(rows) - len(first):
        return f"{start}. Nothing is resolved: every model may have the best."
    if others:
        return f"{start}; {few(others)} may have it too, the other {len(rows) - len(first) - len(others)} not."
    return f"{start}; no other model's can be as good." if len(first) == 1 else f"{start}; the others' are worse."


def _other_text(data_sets: int, models: int, claims: Sequence[PairClaim], new: NewPlaces | None) -> str:
    if new is None:
        return f"Nothing is said of other data sets: {data_sets} are too few a sample of data sets, it takes {FEWEST}."
    said = [f"{claim.better} is better than {claim.worse} (p = {claim.chance:.3f})" for claim in claims]
    needed = fewest_for_a_claim(models)
    if said:
        claimed = f"On other data sets like these {listed(said)}."
    elif data_sets < needed:
        claimed = f"No difference can be claimed of other data sets: with {models} models it takes at least {needed}."
    else:
        claimed = "No difference can be claimed of other data sets like these."
    return f"{claimed} Places on another one hold for {100 * new.level:.0f} % of data sets, each model for itself."


def _stability_text(rows: Sequence[OverallRow], left_out: Sequence[LeftOut]) -> str:
    first = {row.name for row in rows if row.place == 1}
    lost = [one.title for one in left_out if not first <= set(one.first)]
    shared = [one.title for one in left_out if first < set(one.first)]
    if not lost:
        stays = f"{few(sorted(first))} {'stays' if len(first) == 1 else 'stay'} first whichever data set is left out"
        return f"{stays}; without {listed(shared)} others share that." if shared else f"{stays}."
    return f"{few(sorted(first))} {'is' if len(first) == 1 else 'are'} not first without {listed(lost)}."
