"""Learning curves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import streamlit as st

from leaderboard.app.data import choose_board, run_label, store
from leaderboard.app.markup import show_beside
from leaderboard.queries import load_curves
from leaderboard.references import load_references
from leaderboard.reported import ReportedPoint, compared_runs, epoch_table, reported_curve

TITLE, URL, ORDER = "Learning curves", "curves", 3


def show() -> None:
    """The page."""
    board = choose_board(own_metric=False)
    st.title("Learning curves")
    st.caption(board.title)
    everything = st.toggle("All cells, not only the chosen ones", key=f"cells-{board.key}")
    cells = [c for row in board.rows for c in (row.cells if everything else (row.cell,))]
    labels = {r.run_id: run_label(r) for cell in cells for r in cell.runs}
    points = load_curves(store(), list(labels))
    if not points:
        st.info("There is no learning curve for this board yet.")
        st.stop()
    frame = pd.DataFrame(points, columns=["run", "curve", "epoch", "value"])
    frame["run"] = frame["run"].map(labels)
    names = sorted(set(frame["curve"]) - {"seconds"})
    first = f"val_{board.rows[0].cell.first.selection['metric']}"
    usual = [n for n in ("train_loss", first) if n in names]
    references = load_references()
    runs = list(compared_runs(board, references))
    table = epoch_table(board, references, load_curves(store(), runs)) if runs else None
    if table is not None:
        st.caption(table.title)
        show_beside(table)
    picked = st.multiselect("Curves", names, default=usual, key=f"curves-{board.key}")
    for name in picked:
        part = frame[frame["curve"] == name].dropna()
        figure = px.line(part, x="epoch", y="value", color="run", markers=True, title=name, height=420)
        figure.update_layout(yaxis_title=name, legend_title=None)
        mark_reported(figure, reported_curve(board, references, name))
        st.plotly_chart(figure, width="stretch", key=f"plot-{name}")


def mark_reported(figure: go.Figure, points: Iterable[ReportedPoint]) -> None:
    """Reported points as stars over our learning curves, one entry of the legend for each report."""
    for label, own in itertools.groupby(points, key=lambda point: point.label):
        part = list(own)
        figure.add_scatter(
            x=[p.epoch for p in part],
            y=[p.value for p in part],
            mode="markers",
            marker={"symbol": "star", "size": 13, "line": {"width": 1}},
            name=label,
        )
