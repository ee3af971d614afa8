"""The ranked table, its cells, and scores class by class."""

from __future__ import annotations

import pandas as pd
import plotly.express as px
import streamlit as st

from harness.metrics.metric import class_score_names, higher_is_better, metric_title, names_of, score_names
from leaderboard.app.data import choose_board
from leaderboard.boards import Board
from leaderboard.latex import latex_table
from leaderboard.references import load_references, reported_rows
from leaderboard.tables import (
    Table,
    ablation,
    board_metrics,
    overview,
    per_class,
)

TITLE, URL, ORDER = "Leaderboard", "leaderboard", 1


def show() -> None:
    """The page."""
    board = choose_board()
    st.title("Leaderboard")
    st.caption(board.title)
    if board.smoke:
        st.warning("Smoke runs: these figures only show that all parts work.")
    if board.selected_on_test:
        st.warning("Checkpoints were chosen on the same images that are scored.")
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
            "One row for each model; its hyperparameters were chosen by the mean of "
            f"{metric_title(board.rows[0].cell.first.selection['metric'])} on val. Mean ± standard deviation "
            "(n − 1) over seeds; bold: best. ↑ higher is better, ↓ lower."
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
    heads = "".join(f"<th>{_html(c)} {arrows.get(c, '')}</th>" for c in table.columns)
    body = []
    lead = len(table.lead)
    for i, row in enumerate(table.text_rows()):
        tds = []
        for j, text in enumerate(row):
            best = lead <= j < len(row) - 1 and i in table.best[j - lead]
            classes = "number" if j >= lead else "text"
            column = table.metrics[j - lead] if lead <= j < len(row) - 1 else table.columns[j]
            inner = f"<b>{_html(text)}</b>" if best else _html(text)
            tds.append(f'<td class="{classes}" data-column="{_html(column)}">{inner}</td>')
        body.append(f"<tr>{''.join(tds)}</tr>")
    st.html(
        f"<style>{STYLE}</style><div class='board'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def show_reported(board: Board) -> None:
    """What others reported for this suite: apart from the ranking, each figure with its source."""
    heads, rows, notes = reported_rows(board, load_references())
    if not rows:
        return
    st.subheader("Reported by others")
    cells = "".join(f"<tr>{''.join(f'<td>{_html(text)}</td>' for text in row)}</tr>" for row in rows)
    head = "".join(f"<th>{_html(text)}</th>" for text in heads)
    st.html(
        f"<style>{STYLE}</style><div class='board reported'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{cells}</tbody></table></div>"
    )
    st.caption("Not reproduced here and not ranked. ≁: defined in another way than here, so not comparable.")
    for note in notes:
        st.caption(note)


def bars(board: Board) -> object:
    """The board's metric as bars with the standard deviation."""
    rows = [
        {"model": row.model, "mean": e.mean, "std": e.std or 0.0}
        for row in board.rows
        if (e := row.cell.test(board.metric)).mean is not None
    ]
    frame = pd.DataFrame(rows, columns=["model", "mean", "std"])
    figure = px.bar(frame, x="mean", y="model", error_x="std", orientation="h", height=90 + 48 * len(rows))
    figure.update_layout(
        xaxis_title=metric_title(board.metric),
        yaxis_title=None,
        yaxis_autorange="reversed",
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
    )
    return figure


def _html(text: str) -> str:
    import html

    return html.escape(text)


STYLE = """
.board { overflow-x: auto; }
.board table { border-collapse: collapse; font-size: 0.95rem; font-variant-numeric: tabular-nums; }
.board th, .board td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: left; white-space: nowrap; }
.board th { border-bottom: 1px solid #8888; font-weight: 600; }
.board tbody tr:hover { background: #8881; }
.board td.number { text-align: right; }
"""
