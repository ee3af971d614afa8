"""A board's table with its statistics: what is bold, and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.metrics.metric import metric_title
from harness.results import Store
from leaderboard.boards.board import Board, boards
from leaderboard.stats.draws import stored_draws
from leaderboard.stats.significance import BoardSignificance, default_question, significance
from leaderboard.tables.table import Table

Interval = tuple[float, float]


def judge(board: Board, metric: str, store: Store) -> BoardSignificance:
    """What the statistics say of a board ranked by any metric; the question is the one that its seeds can answer."""
    board = ranked_by(board, metric)
    question = default_question(board)
    return significance(board, question, None if question == "seeds" else stored_draws(store, board))


def ranked_by(board: Board, metric: str) -> Board:
    """The same board ranked by any metric."""
    if metric == board.metric:
        return board
    runs = {run.run_id: run for row in board.rows for cell in row.cells for run in cell.runs}
    (made,) = boards(runs.values(), metric)
    return made


def judged(table: Table, board: Board, found: Mapping[str, BoardSignificance], intervals: bool = False) -> Table:
    """The ranked table of a board with its statistics.

    Args:
        table: of `overview`: its rows are the board's.
        board: the board.
        found: metric -> what the statistics say of the board ranked by it; the others have nothing bold.
        intervals: whether figures get their intervals.
    """
    at = {row.cell.first.cell: i for i, row in enumerate(board.rows)}
    best = tuple(
        frozenset(at[group.rows[i].cell] for group in one.groups for i in group.best) if one else frozenset()
        for one in (found.get(metric) for metric in table.metrics)
    )
    notes = []
    if any(best):
        each = "the best of each group" if len(table.groups) > 1 else "the best"
        notes.append(f"Bold: {each} and what cannot be told apart from it ({_percent(found)})")
    columns: list[list[Interval | None]] = [[] for _ in table.metrics]
    if intervals:
        columns = [_column(found[metric], at) for metric in table.metrics]
        notes += [f"In brackets: {_percent(found)} intervals, of each row alone"] if any(map(any, columns)) else []
    asked = dict.fromkeys(one.asks for one in found.values())
    said = [f"{'. '.join(notes)}. {' '.join(asked)}"] if notes else []
    missing = [metric_title(m) for m, column in zip(table.metrics, columns, strict=True) if column and not any(column)]
    said += [f"No intervals of {', '.join(missing)}."] if missing else []
    ends = tuple(zip(*columns, strict=True)) if intervals else ()
    return replace(table, best=best, intervals=ends, notes=(*said, *table.notes))


def _column(found: BoardSignificance, at: Mapping[str, int]) -> list[Interval | None]:
    ends = {at[row.cell]: row.interval for row in found.rows}
    return [None if (one := ends.get(i)) is None else (one.low, one.high) for i in range(len(at))]


def _percent(found: Mapping[str, BoardSignificance]) -> str:
    return f"{100 * next(iter(found.values())).level:g} %"
