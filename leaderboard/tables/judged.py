"""A board's table with its statistics: intervals, and what cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.metrics.metric import metric_title
from harness.results import Store
from leaderboard.boards.board import Board, boards
from leaderboard.stats.draws import board_draws, stored_protocol, stored_tables
from leaderboard.stats.significance import BoardSignificance, default_question, significance
from leaderboard.tables.table import Table

Interval = tuple[float, float]


def judged(table: Table, board: Board, store: Store, intervals: bool) -> Table:
    """The ranked table of a board with its statistics, whose question is the one that the board's seeds can answer.

    Args:
        table: of `overview`: its rows are the board's.
        board: the board.
        store: has the statistics of each image.
        intervals: whether every figure gets its interval.
    """
    found = {board.metric: _significance(board, store)}
    for metric in table.metrics if intervals else ():
        if metric not in found:
            found[metric] = _significance(_ranked_by(board, metric), store)
    table = _with_ties(table, board, found[board.metric])
    return _with_intervals(table, board, found) if intervals else table


def _significance(board: Board, store: Store) -> BoardSignificance:
    question = default_question(board)
    if question == "seeds":
        return significance(board, question)
    draws = board_draws(board, stored_protocol(store, board), stored_tables(store, board))
    return significance(board, question, draws)


def _ranked_by(board: Board, metric: str) -> Board:
    """The same board ranked by another metric."""
    runs = {run.run_id: run for row in board.rows for cell in row.cells for run in cell.runs}
    (found,) = boards(runs.values(), metric)
    return found


def _with_ties(table: Table, board: Board, found: BoardSignificance) -> Table:
    level = frozenset(i for i, row in enumerate(found.rows) if row.may_be_best)
    if board.metric not in table.metrics or not level:
        return table
    place = table.metrics.index(board.metric)
    tied = tuple(level if j == place else frozenset[int]() for j in range(len(table.metrics)))
    if level <= table.best[place]:
        return replace(table, tied=tied)
    told = f"Bold {metric_title(board.metric)}: the best, and what cannot be told apart from it ({_percent(found)})."
    return replace(table, tied=tied, notes=(f"{told} {found.asks}", *table.notes))


def _with_intervals(table: Table, board: Board, found: dict[str, BoardSignificance]) -> Table:
    cells = [row.cell.first.cell for row in board.rows]
    columns = [_column(found[metric], cells) for metric in table.metrics]
    questions = list(dict.fromkeys(found[metric].asks for metric in table.metrics))
    told = f"In brackets: {_percent(found[board.metric])} intervals, of each row alone. {' '.join(questions)}"
    missing = [metric_title(m) for m, column in zip(table.metrics, columns, strict=True) if not any(column)]
    without = [f"No intervals of {', '.join(missing)}."] if missing else []
    notes = [told] if len(missing) < len(columns) else []
    return replace(table, intervals=tuple(zip(*columns, strict=True)), notes=(*notes, *without, *table.notes))


def _column(found: BoardSignificance, cells: Sequence[str]) -> list[Interval | None]:
    by_cell = {row.cell: row.interval for row in found.rows}
    own = [by_cell.get(cell) for cell in cells]
    return [None if one is None else (one.low, one.high) for one in own]


def _percent(found: BoardSignificance) -> str:
    return f"{100 * found.level:g} %"
