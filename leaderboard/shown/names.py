"""What rows and cells of a board are called where they stand beside one another: no two alike."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.grid import grid_text
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.shown.text import cell_id


def cell_names(board: Board, cells: Sequence[tuple[Row, Cell]]) -> list[str]:
    """The names of cells: the model, with hyperparameters where it has several cells, and what else tells them apart.

    Args:
        board: whose facts tell models of one name apart.
        cells: each with the row it belongs to.
    """
    several = {row.model for row in board.rows if len(row.cells) > 1}
    names = [f"{row.model} {grid_text(cell.first.grid) if row.model in several else ''}".strip() for row, cell in cells]
    facts = [", ".join(filter(None, (fact.text(row.wall) for fact in board.facts))) for row, _ in cells]
    longer = [
        f"{name} ({said})" if names.count(name) > 1 and said else name for name, said in zip(names, facts, strict=True)
    ]
    return [
        name if longer.count(name) == 1 else f"{name} {cell_id(cell)[:6]}"
        for name, (_, cell) in zip(longer, cells, strict=True)
    ]


def row_names(board: Board) -> dict[int, str]:
    """`id` of a row -> its name."""
    names = cell_names(board, [(row, row.cell) for row in board.rows])
    return {id(row): name for row, name in zip(board.rows, names, strict=True)}
