"""Whether a board's order survives other conventions of scoring: computed from stored statistics, without training.

A convention is a choice that another paper makes otherwise: whether IoU is taken over the data set or image by image,
what an absent class counts, what a missed class costs a distance. Where the order depends on it, the order says little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy import stats

from harness.metrics import Protocol
from harness.metrics.metric import METRICS, higher_is_better, split_metric
from leaderboard.boards.board import Board, Cell, Group
from leaderboard.stats.draws import Tables, no_intervals
from leaderboard.stats.image_sums import image_sums
from leaderboard.stats.significance import names_of_rows


@dataclass(frozen=True)
class Convention:
    """Another way to score the same label maps."""

    name: str
    says: str
    """What is different, in plain English."""
    update: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the protocol that differ."""


@dataclass(frozen=True)
class Rescored:
    """The board's label maps scored anew under a protocol that the stored statistics cannot give."""

    convention: Convention
    protocol: Protocol
    tables: Tables


@dataclass(frozen=True)
class ConventionOrder:
    """The order of a group's rows under one convention; lists are in the order of the board's rows."""

    name: str
    says: str
    figures: tuple[float | None, ...]
    places: tuple[int | None, ...]
    moved: tuple[int | None, ...]
    """Places gained: 1 stands one place higher than on the board."""
    tau: float | None
    """Kendall's rank correlation (tau-b) with the board's order: 1 the same, -1 reversed; None for one row."""
    leader_stays: bool
    """Whether a first row of the board is a first row here."""
    reason: str
    """Why it could not be computed; empty if it could."""


@dataclass(frozen=True)
class GroupStability:
    """Whether the order of the rows that are ranked together survives."""

    heading: str
    rows: tuple[str, ...]
    places: tuple[int | None, ...]
    """On the board."""
    orders: tuple[ConventionOrder, ...]
    verdict: str
    """In plain English."""


@dataclass(frozen=True)
class BoardStability:
    """Whether a board's order survives other conventions."""

    metric: str
    groups: tuple[GroupStability, ...]

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


# By the fields of the protocol that differ, which a metric names that is moved by them.
_CONVENTIONS = (
    Convention("image level", "scored image by image, then averaged over images", {"level": "image"}),
    Convention("data-set level", "counted over all images together", {"level": "dataset"}),
    Convention("target classes only", "a class counts only where the target holds it", {"mean_over": "target"}),
    Convention("absent classes 0", "a class that is nowhere counts 0", {"absent": "zero"}),
    Convention("absent classes 1", "a class that is nowhere counts 1", {"absent": "one"}),
    Convention("absent classes left out", "a class that is nowhere is left out", {"absent": "nan"}),
    Convention("both present", "images in which a map lacks the class are left out", {"boundary_means_over": "both"}),
    Convention("penalised", "missed classes and false alarms cost the worst", {"boundary_means_over": "union"}),
    Convention("false alarms ignored", "images that lack the class are left out", {"boundary_means_over": "target"}),
    Convention(
        "fraction of the diagonal", "each distance is divided by its image's diagonal", {"distance_unit": "diagonal"}
    ),
    Convention("background counts", "the background is part of the mean", {"background_in_boundary_means": True}),
    Convention("background left out", "the background is no part of the mean", {"background_in_boundary_means": False}),
    Convention("F1 as mmseg", "F1 from precision and recall; a class never predicted is left out", {"f1": "mmseg"}),
)


def conventions(metric: str, protocol: Protocol) -> tuple[Convention, ...]:
    """The conventions that stored statistics can give for a metric, and that differ from the board's protocol."""
    name, label = split_metric(metric)
    moved_by = METRICS.get(name).moved_by if name in METRICS else ()
    # One class is not averaged with the background; and there may be none.
    fixed = {"background_in_boundary_means"} if label is not None or protocol.background is None else set()
    return tuple(
        c
        for c in _CONVENTIONS
        if set(c.update) <= {*moved_by} - fixed and protocol.model_copy(update=dict(c.update)) != protocol
    )


def rank_stability(
    board: Board, protocol: Protocol, tables: Tables, rescored: Sequence[Rescored] = ()
) -> BoardStability:
    """Order a board's rows under every convention that can be had.

    About .03 s for each run with 1,449 images.

    Args:
        board: the whole of it.
        protocol: of the board.
        tables: gives the statistics of a run.
        rescored: conventions that need label maps, scored beforehand.
    """
    found: dict[tuple[str, int], float] = {}
    reasons: dict[str, str] = {}
    every = [(c, protocol.model_copy(update=dict(c.update)), tables) for c in conventions(board.metric, protocol)]
    every += [(one.convention, one.protocol, one.tables) for one in rescored]
    refused = no_intervals(board)
    runs = [run.run_id for row in board.rows for run in row.cell.scored]
    for run_id in dict.fromkeys(runs):
        kept: dict[int, Any] = {}
        for convention, under, source in every:
            try:
                if refused:
                    raise ValueError(refused)
                table = kept.setdefault(id(source), None) or source(run_id)
                kept[id(source)] = table
                sums = image_sums(table, board.data.classes, under, board.metric, board.data.foreground)
                found[convention.name, run_id] = sums.score()
            except ValueError as error:
                reasons.setdefault(convention.name, str(error))
    groups = tuple(_group(board.metric, g, [c for c, _, _ in every], found, reasons) for g in board.groups)
    return BoardStability(board.metric, groups)


def _group(
    metric: str,
    group: Group,
    every: Sequence[Convention],
    found: Mapping[tuple[str, int], float],
    reasons: Mapping[str, str],
) -> GroupStability:
    before = [row.cell.ranked_by(metric) for row in group.rows]
    places = tuple(row.rank for row in group.rows)
    orders = []
    for convention in every:
        figures = [_figure(metric, row.cell, convention.name, found) for row in group.rows]
        after = _places(figures, higher_is_better(metric))
        orders.append(
            ConventionOrder(
                name=convention.name,
                says=convention.says,
                figures=tuple(figures),
                places=after,
                moved=tuple(None if b is None or a is None else b - a for b, a in zip(places, after, strict=True)),
                tau=_tau(before, figures),
                leader_stays=any(b == 1 and a == 1 for b, a in zip(places, after, strict=True)),
                reason=reasons.get(convention.name, ""),
            )
        )
    names = tuple(names_of_rows(group.rows))
    return GroupStability(group.heading, names, places, tuple(orders), _verdict(names, places, orders))


def _figure(metric: str, cell: Cell, convention: str, found: Mapping[tuple[str, int], float]) -> float | None:
    """What places a row under a convention: the mean over its seeds, or the worst where seeds failed."""
    values = [found.get((convention, run.run_id), math.nan) for run in cell.scored]
    if not values or any(math.isnan(v) for v in values):
        return None
    if cell.failed:
        return min(values) if higher_is_better(metric) else max(values)
    return math.fsum(values) / len(values)


def _places(figures: Sequence[float | None], higher: bool) -> tuple[int | None, ...]:
    """The place of each figure; equal ones share one."""
    ordered = sorted((f for f in figures if f is not None), reverse=higher)
    return tuple(None if f is None else ordered.index(f) + 1 for f in figures)


def _tau(before: Sequence[float | None], after: Sequence[float | None]) -> float | None:
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if len(pairs) < 2:
        return None
    tau = float(stats.kendalltau(*zip(*pairs, strict=True)).statistic)
    return None if math.isnan(tau) else tau


def _verdict(names: Sequence[str], places: Sequence[int | None], orders: Sequence[ConventionOrder]) -> str:
    done = [order for order in orders if order.tau is not None]
    if not done:
        return "There is nothing to compare."
    leader = next((name for name, place in zip(names, places, strict=True) if place == 1), "")
    lost = [order.name for order in done if not order.leader_stays]
    moved = [order.name for order in done if any(order.moved)]
    if not moved:
        return f"The order is the same under all {len(done)} other conventions."
    changes = f"The order changes under {len(moved)} of {len(done)} other conventions ({', '.join(moved)})"
    if not lost:
        return f"{changes}; {leader} stays first under all of them."
    return f"{changes}; {leader} is not first under {len(lost)} ({', '.join(lost)})."
