"""The scores of a board's runs on resampled images: the costly part of its statistics, to be made once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.exact import Array
from harness.metrics.metric import check_known, find_metric, split_metric
from harness.results import Store
from harness.results.schema import Evaluation
from leaderboard.boards.board import Board
from leaderboard.stats.image_sums import image_sums, why_not
from leaderboard.stats.resampling import FEWEST_UNITS, RESAMPLES, Products, Resamples, RunDraws, resamples, run_draws

Tables = Callable[[int], StatisticsTable]
"""The statistics of a run's scored split under the board's protocol. Raises ValueError where they cannot be read."""


@dataclass(frozen=True)
class BoardDraws:
    """A board's metric on the same resamples of the images, for every run that is scored."""

    metric: str
    drawn: Resamples | None
    """None where the metric has no intervals over images."""
    of_run: Mapping[int, RunDraws]
    left_out: Mapping[int, str]
    """Run -> why it has none."""
    why_not: str
    """Why the metric has no intervals over images; empty if it has."""
    fold: Callable[[Array], Array] | None = None
    """(..., P) sums of parts -> (...) scores; None where no run has any."""
    rare: tuple[str, ...] = ()
    """The classes whose figures the metric is or averages, and that fewer than ten of the scored images hold."""


def stored_protocol(store: Store, board: Board) -> Protocol:
    """The protocol of a board, as the database keeps it."""
    query = select(Evaluation.protocol).where(Evaluation.protocol_hash == board.protocol_hash).limit(1)
    with store.session() as session:
        return Protocol.from_stored(session.scalars(query).one())


def stored_tables(store: Store, board: Board) -> Tables:
    """The statistics of a board's runs, each read when it is asked for."""

    def read(run_id: int) -> StatisticsTable:
        query = select(Evaluation.statistics).where(
            Evaluation.run_id == run_id,
            Evaluation.split == "test",
            Evaluation.protocol_hash == board.protocol_hash,
        )
        with store.session() as session:
            stored = session.scalars(query).first()
        if stored is None:
            raise ValueError("it has no statistics under this protocol")
        return StatisticsTable.from_bytes(stored)

    return read


def stored_draws(store: Store, board: Board) -> BoardDraws:
    """The scores of a board's runs on resampled images, from the database: slow."""
    return board_draws(board, stored_protocol(store, board), stored_tables(store, board))


def no_intervals(board: Board) -> str:
    """Why the metric of a board has no intervals over images; empty if it has."""
    if reason := why_not(board.metric):
        return reason
    if find_metric(board.metric).family == "loss":
        return ""
    return check_known(board.metric, board.data.foreground, board.data.classes) or ""


def board_draws(board: Board, protocol: Protocol, tables: Tables, count: int = RESAMPLES) -> BoardDraws:
    """Score every run of a board on the same resamples of its images.

    About .1 s a run with 1,449 images, 21 classes and 2,000 resamples, and .2 s once; 40 kB a run are kept.

    Args:
        board: its rows' chosen cells are scored by its metric.
        protocol: of the board.
        tables: gives the statistics of a run.
        count: how many resamples.
    """
    if reason := no_intervals(board):
        return BoardDraws(board.metric, None, {}, {}, reason)
    drawn: Resamples | None = None
    products: Products | None = None
    fold: Callable[[Array], Array] | None = None
    rare: tuple[str, ...] = ()
    of_run: dict[int, RunDraws] = {}
    left_out: dict[int, str] = {}
    for run_id in dict.fromkeys(run.run_id for row in board.rows for run in row.cell.scored):
        try:
            table = tables(run_id)
        except ValueError as error:
            left_out[run_id] = str(error)
            continue
        scored = np.flatnonzero(table.shape[:, 2] > 0)
        ids = tuple(table.ids[i] for i in scored)
        if len(ids) < FEWEST_UNITS:
            return BoardDraws(board.metric, None, {}, {}, f"{len(ids)} images say nothing of other images")
        if drawn is None:
            groups = tuple(table.groups[i] for i in scored) if table.groups else ()
            drawn = resamples(ids, groups, board.data.test_manifest, count)
            products = Products(drawn)
            rare = rare_classes(table, board.data.classes, board.metric)
        if tuple(sorted(ids)) != drawn.ids:
            left_out[run_id] = "its statistics are of other images"
            continue
        try:
            sums = image_sums(table, board.data.classes, protocol, board.metric, board.data.foreground)
        except ValueError as error:
            left_out[run_id] = str(error)
            continue
        fold = sums.fold
        of_run[run_id] = run_draws(sums, table.ids, drawn, products)
    return BoardDraws(board.metric, drawn, of_run, left_out, "" if drawn else "no run is scored", fold, rare)


# No means over classes.
_OVER_PIXELS = ("pa", "fwiou")


def rare_classes(table: StatisticsTable, classes: Sequence[str], metric: str) -> tuple[str, ...]:
    """The classes that a metric is of or averages, and that some but fewer than ten of the scored images hold."""
    name, label = split_metric(metric)
    if find_metric(metric).family in ("loss", "binary", "agreement", "calibration") or name in _OVER_PIXELS:
        return ()
    of_images = np.unique(table.confusion[:, :2], axis=0)
    images = np.bincount(of_images[:, 1], minlength=len(classes))
    return tuple(c for c, n in zip(classes, images, strict=True) if 0 < n < FEWEST_UNITS and label in (None, c))
