"""What a better score costs, and what hyperparameters do."""

from __future__ import annotations

import streamlit as st

from harness.metrics.metric import higher_is_better
from leaderboard.app import components, header, state
from leaderboard.app.data import answer_of, references, version
from leaderboard.app.inert import element, notice, paragraph, put
from leaderboard.boards.board import Board
from leaderboard.shown import figures
from leaderboard.shown.costs import Kind
from leaderboard.shown.figures import Priced
from leaderboard.shown.text import heading
from leaderboard.shown.trade_offs import (
    Grid,
    draw_grids,
    kinds_of,
    machines,
    our_grids,
    priced,
    priced_table,
    reported_like,
)
from leaderboard.stats.significance import BoardSignificance

TITLE, URL, ORDER = "Trade-offs", state.TRADES, 4


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    board = header.board_of(view, chosen)
    answer = answer_of(board, chosen.question)
    key = f"{version()}/{board.board_id}/{board.metric}/{chosen.question}/{answer.waiting}"
    known = _known(board, answer.significance, key)
    put(element("h1", f"{heading(board.metric)} against what it costs"))
    kinds = {kind.name: kind for kind, _, _ in known}
    if kinds:
        asked = view.get("cost")
        if asked and asked not in kinds:
            view.unknown.append(f"the cost {asked[:40]}")
        name = asked if asked in kinds else next(iter(kinds))
        st.segmented_control(
            "Cost",
            list(kinds),
            format_func=lambda key: kinds[key].title,
            required=True,
            **state.widget("cost", name),
        )
        for kind, machine, points in known:
            if kind.name == name:
                show_costs(board, points, kind, machine)
    else:
        notice("info", "Nothing is known yet of what these rows cost.")
    show_grids(board)


@st.cache_resource(show_spinner=False, max_entries=24)
def _known(_board: Board, _significance: BoardSignificance, key: str) -> list[tuple[Kind, str, list[Priced]]]:
    """Every cost that is known, machine by machine, with the rows that have it."""
    found = [(kind, machine) for kind in kinds_of(_board) for machine in machines(_board, kind)]
    made = [(kind, machine, priced(_board, _significance, kind, machine)) for kind, machine in found]
    return [(kind, machine, points) for kind, machine, points in made if points]


def show_costs(board: Board, points: list[Priced], kind: Kind, machine: str) -> None:
    """Scores against one cost, on one machine."""
    if kind.by_machine:
        put(element("p", f"Measured on: {machine or 'a machine that is not known'}", class_="lead"))
    higher = higher_is_better(board.metric)
    figure = figures.trade_off(points, higher, kind.axis, heading(board.metric), dear=kind.sign < 0)
    groups = dict.fromkeys(point.group for point in points)
    line = [
        one for g in groups for one in figures.front([p for p in points if p.group == g], higher, dear=kind.sign < 0)
    ]
    st.plotly_chart(
        figure, width="stretch", key=f"trade-{kind.name}-{machine}", config={"displaylogo": False},
        alt=f"{heading(board.metric)} against {kind.axis} of {len(points)} models; the table below has the figures.",
    )  # fmt: skip
    paragraph(
        "Bars: the interval of each row. Dotted: the rows of a group of which no other is both cheaper and better."
    )
    with st.expander("The same as a table", key=f"priced-{machine}"):
        components.table(priced_table(points, line, kind, board.metric), key=f"priced-table-{kind.name}-{machine}")


def show_grids(board: Board) -> None:
    """The cells of each grid as heat maps, with the reported ones beside them."""
    ours = our_grids(board, board.metric)
    if not ours:
        return
    put(element("h2", "What the hyperparameters do"))
    rows = [row for row in board.models if len(row.cells) > 1]
    for n, (row, grid) in enumerate(zip(rows, ours, strict=False)):
        reported = reported_like(board, references(), grid, row, board.metric)
        places = st.columns(2) if reported else [st.container()]
        with places[0]:
            draw(grid, f"grid-{n}")
        if reported:
            with places[1]:
                draw(reported, f"grid-{n}-reported")
    paragraph(
        "Each cell: the mean over its seeds, on the scored images. Which cell stands for a model is chosen on val."
    )


def draw(grid: Grid, key: str) -> None:
    """One heat map."""
    put(element("h3", grid.title))
    figure = draw_grids(grid)
    lines = "; ".join(f"{d}: {', '.join(line)}" for d, line in zip(grid.down, grid.texts, strict=True))
    st.plotly_chart(figure, width="stretch", key=key, config={"displaylogo": False}, alt=f"{grid.title}. {lines[:900]}")
