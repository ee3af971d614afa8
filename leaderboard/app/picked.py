"""Which rows the pages beside the board are about: those that were picked, else the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from leaderboard.app import state
from leaderboard.app.inert import notice, plain
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.queries.load import ScoredRun
from leaderboard.shown.names import cell_names
from leaderboard.shown.text import cell_id


@dataclass(frozen=True)
class Picked:
    """A cell that was picked, and the row that it belongs to."""

    row: Row
    cell: Cell
    name: str

    @property
    def id(self) -> str:
        """In links."""
        return cell_id(self.cell)

    @property
    def run(self) -> ScoredRun:
        """The run that stands for it where one is needed: the lowest seed that ended."""
        return min(self.cell.scored, key=lambda run: run.seed)


def candidates(board: Board) -> dict[str, Picked]:
    """Every cell of the board that is scored, chosen ones first, under names that differ."""
    every = [*((row, row.cell) for row in board.rows), *((row, cell) for row in board.rows for cell in row.cells)]
    once: dict[str, tuple[Row, Cell]] = {}
    for row, cell in every:
        if cell.scored:
            once.setdefault(cell_id(cell), (row, cell))
    found = list(once.values())
    names = cell_names(board, found)
    return {cell_id(cell): Picked(row, cell, name) for (row, cell), name in zip(found, names, strict=True)}


def pick(view: state.View, board: Board, at_least: int, most: int = 4) -> list[Picked]:
    """Let the reader choose rows; says what a link names that the board does not have.

    Args:
        view: what is chosen.
        board: the board.
        at_least: so many are shown where fewer are picked, from the best on.
        most: so many can be picked.
    """
    known = candidates(board)
    if not known:
        notice("info", "No run of this board is scored yet.")
        st.stop()
    asked = view.several("rows")
    lost = [one for one in asked if one not in known]
    if lost:
        view.unknown.append(f"rows that are not on this board, or not scored ({', '.join(lost)[:60]})")
    now = [one for one in asked if one in known][:most]
    for key in known:
        if len(now) >= at_least:
            break
        if key not in now:
            now.append(key)
    st.multiselect(
        "Models",
        list(known),
        format_func=lambda key: known[key].name,
        max_selections=most,
        **state.widget("rows", now),
    )
    return [known[key] for key in now]


def titles(picked: Sequence[Picked]) -> str:
    """The picked ones in a line of Markdown."""
    return plain(", ".join(one.name for one in picked), 200)
