"""Learning curves on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from leaderboard.app import state
from leaderboard.app.data import references, store, version
from leaderboard.app.inert import paragraph
from leaderboard.boards.board import Board
from leaderboard.queries.load import load_curves
from leaderboard.shown import figures
from leaderboard.shown.curves import curve_names, curve_scale, curve_title, series_of
from leaderboard.tables.reported import Curve, reported_curve


@st.cache_resource(show_spinner=False, max_entries=40)
def _points(_opened: Any, key: str, runs: tuple[int, ...]) -> list[Curve]:
    return load_curves(_opened, runs)


def show_curves(view: state.View, board: Board, runs: Mapping[str, Sequence[int]], live: str = "") -> None:
    """One learning curve of several cells: the mean over seeds, the band between them, and what others reported.

    Args:
        view: which curve is chosen.
        board: its suite's reported curves are drawn beside ours.
        runs: what a cell is called -> its runs.
        live: changes whenever a run that goes on has come further; empty where none does.
    """
    every = tuple(sorted({run for own in runs.values() for run in own}))
    points = _points(store(), f"{version()}/{live}", every)
    names = curve_names(points, board.selection["metric"])
    if not names:
        paragraph("No epoch has ended yet." if live else "No learning curve is kept of these runs.")
        return
    name = view.get("curve") if view.get("curve") in names else names[0]
    st.selectbox("Curve", names, format_func=curve_title, width=300, **state.widget("curve", name))
    beside = [(p.label, p.epoch, curve_scale(name) * p.value) for p in reported_curve(board, references(), name)]
    made = series_of(points, runs, name)
    figure = figures.curves(made, beside, curve_title(name))
    said = "; ".join(f"{s.name}: {s.mean[-1]:.3g} at epoch {s.epochs[-1]}" for s in made[:6])
    st.plotly_chart(
        figure, width="stretch", key=f"curve-{name}", config={"displaylogo": False}, alt=f"{curve_title(name)}. {said}"
    )
    if any(s.seeds > 1 for s in made):
        paragraph("Line: mean over seeds. Band: from the smallest to the largest seed.")
