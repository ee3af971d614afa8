"""The ranked table, its cells, and scores class by class."""

from __future__ import annotations

from html import escape

import pandas as pd
import plotly.express as px
import streamlit as st

from harness.metrics.metric import class_score_names, higher_is_better, metric_title, names_of, score_names
from leaderboard.app.data import choose_board
from leaderboard.app.markup import STYLE, show_beside
from leaderboard.boards import Board
from leaderboard.latex import latex_table
from leaderboard.references import load_references
from leaderboard.reported import Beside, grid_metrics, reported_grids, reported_rows
from leaderboard.tables import (
    Table,
    ablation,
    board_metrics,
    overview,
    per_class,
)
from leaderboard.walls import FACTS, heading

TITLE, URL, ORDER = "Leaderboard", "leaderboard", 1


def show() -> None:
    """The page."""
    board = choose_board()
    st.title("Leaderboard")
    st.caption(board.title)
    if board.smoke:
        st.warning("Smoke runs: these figures only show that all parts work.")
    if board.selected_on_test:
        st.warning(f"{board.seen_test.capitalize()}: these figures are too good, and ranked apart.")
    metrics = st.multiselect(
        "Metrics",
        [
            *score_names(board.data.foreground),
            *names_of("loss"),
            *([board.data.headline] if board.data.foreground is not None else []),
        ],
        default=list(board_metrics(board, None)),
        format_func=metric_title,
        key=f"columns-{board.key}-{board.metric}",
    ) or [board.metric]
    ranked, cells, classes = st.tabs(["Ranking", "Ablation: all cells", "Class by class"])
    with ranked:
        table = overview(board, metrics)
        show_table(table)
        st.caption(
            f"{rows_are(board)} Mean ± standard deviation (n − 1) over seeds; bold: best. ↑ higher is better, ↓ lower."
        )
        alone = len(board.groups) == 1
        st.caption(
            f"All rows: {heading(board.rows[0].wall, FACTS)}."
            if alone
            else "Each part is ranked in itself: more than the network differs between them."
        )
        for note in table.notes:
            st.caption(f"⚠ {note}")
        show_reported(board)
        st.plotly_chart(bars(board), width="stretch")
        with st.expander("LaTeX"):
            st.code(latex_table(table), language="latex")
    with cells:
        show_table(ablation(board, metrics))
    with classes:
        metric = st.selectbox("Score", class_score_names(), format_func=metric_title, key=f"class-{board.key}")
        show_table(per_class(board, metric))


def show_table(table: Table) -> None:
    """A table as HTML: text that can be searched, copied and read by a screen reader."""
    arrows = {metric_title(m): "↑" if higher_is_better(m) else "↓" for m in table.metrics}
    heads = "".join(f"<th>{escape(c)} {arrows.get(c, '')}</th>" for c in table.columns)
    rows, bodies = table.text_rows(), []
    for text, part in table.groups:
        head = f'<tr><th colspan="{len(table.columns)}" scope="rowgroup">{escape(_first_up(text))}</th></tr>'
        lines = "".join(_line(table, i, rows[i]) for i in part)
        bodies.append(f"<tbody>{head if text else ''}{lines}</tbody>")
    body = "".join(bodies)
    st.html(f"<style>{STYLE}</style><div class='board'><table><thead><tr>{heads}</tr></thead>{body}</table></div>")


def _line(table: Table, i: int, row: list[str]) -> str:
    """One row as HTML."""
    tds, lead = [], len(table.lead)
    for j, text in enumerate(row):
        best = lead <= j < len(row) - 1 and i in table.best[j - lead]
        classes = "number" if j >= lead else "text"
        column = table.metrics[j - lead] if lead <= j < len(row) - 1 else table.columns[j]
        inner = f"<b>{escape(text)}</b>" if best else escape(text)
        tds.append(f'<td class="{classes}" data-column="{escape(column)}">{inner}</td>')
    return f"<tr>{''.join(tds)}</tr>"


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def rows_are(board: Board) -> str:
    """What a row of the ranking is."""
    if board.chosen_by is None:
        return "One row for each model and cell: there is no val to choose one."
    metric = metric_title(board.selection["metric"])
    return f"One row for each model; its hyperparameters were chosen by the mean of {metric} on {board.chosen_by}."


def show_reported(board: Board) -> None:
    """What others reported for this suite: apart from the ranking, each figure with its source."""
    references = load_references()
    heads, rows, notes = reported_rows(board, references)
    if not rows:
        return
    st.subheader("Reported by others")
    metrics = grid_metrics(board, references)
    if metrics:
        metric = st.selectbox("Reported score", metrics, format_func=metric_title, key=f"reported-{board.key}")
        for table in reported_grids(board, references, metric):
            st.caption(table.title)
            show_beside(table)
    with st.expander("Every reported figure", expanded=not metrics):
        show_beside(Beside("", tuple(heads), tuple(map(tuple, rows))))
    st.caption("Reported figures are not ranked. ≁: defined or scored in another way than here, so not comparable.")
    for note in notes:
        st.caption(note)


def bars(board: Board) -> object:
    """The board's metric as bars with the standard deviation, in one color for each group."""
    rows = [
        # A model can stand in several groups: its bars must not be piled on one another.
        {"model": row.model, "group": group.heading, "mean": e.mean, "std": e.std or 0.0}
        for group in board.groups
        for row in group.rows
        if (e := row.cell.test(board.metric)).mean is not None
    ]
    frame = pd.DataFrame(rows, columns=["model", "group", "mean", "std"])
    frame["line"] = [str(n) for n in range(len(rows))]
    several, height = len(board.groups) > 1, 90 + 48 * len(rows)
    figure = px.bar(
        frame,
        x="mean",
        y="line",
        color="group" if several else None,
        error_x="std",
        orientation="h",
        height=height + (20 * len(board.groups) if several else 0),
    )
    figure.update_yaxes(type="category", tickvals=frame["line"], ticktext=frame["model"])
    figure.update_layout(
        legend={"title": None, "orientation": "h", "yanchor": "top", "y": -60 / height} if several else None,
        xaxis_title=metric_title(board.metric),
        yaxis_title=None,
        yaxis_autorange="reversed",
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
    )
    return figure
