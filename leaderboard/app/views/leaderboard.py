"""The ranked table: which model is best, by how much, whether that means anything, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from harness.metrics.metric import class_score_names, metric_title, names_of, score_names
from leaderboard.app import components, header, state
from leaderboard.app.data import (
    Answer,
    Chosen,
    answer_of,
    board_with,
    counts_of,
    metrics_shown,
    references,
    store,
    version,
)
from leaderboard.app.inert import cut, element, notice, paragraph, put
from leaderboard.boards.board import Board
from leaderboard.shown.lists import beside_table, cells_table, class_table, stability_table
from leaderboard.shown.method import to_know
from leaderboard.shown.ranking import TableData, ranking, setting
from leaderboard.shown.text import cell_id, heading
from leaderboard.stats.draws import stored_protocol, stored_tables
from leaderboard.stats.stability import BoardStability, rank_stability
from leaderboard.tables.reported import Beside, grid_metrics, measured_tables, reported_grids, reported_rows
from leaderboard.tables.table import overview

TITLE, URL, ORDER = "Leaderboard", state.BOARDS, 1


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    board = header.board_of(view, chosen)
    answer = answer_of(board, chosen.question)
    say_verdict(board, answer)
    with chosen.line:
        columns(view, chosen)
    check_links(view, board)
    with chosen.line:
        to_comparison(view)
    table = _ranking(
        board,
        answer,
        key_of(board, chosen, answer),
        metrics_shown(view, board.data, board.metric),
        link(state.MODEL, ""),
    )
    components.table({**table, **begin(view)}, key="ranking", on_changed=take, on_opened=open_row)
    below(view, board)
    if answer.waiting:
        wait_for_intervals()


def say_verdict(board: Board, answer: Answer) -> None:
    """Who leads, whether that means anything, and what is compared."""
    groups = answer.significance.groups
    first = groups[0].verdict if groups else "No row has a figure."
    if answer.waiting:
        first = first.partition(" Nothing says")[0]
    put(element("h1", cut(first), class_="verdict"))
    said = []
    if len(groups) > 1:
        said.append(
            f"This is about the first of {len(groups)} groups: {groups[0].heading}. Groups are ranked each in itself, "
            "because more than the network differs between them."
        )
    elif text := setting(board):
        said.append(f"All rows: {text}.")
    if answer.waiting:
        said.append("The intervals are being computed; they appear here in a moment.")
    else:
        said += to_know(answer.significance)
    if said:
        paragraph(" ".join(said))
    if board.selected_on_test:
        seen = board.seen_test
        notice("warning", f"{seen[:1].upper()}{seen[1:]}: these figures are too good, and ranked apart.")


def columns(view: state.View, chosen: Chosen) -> None:
    """Further scores as columns."""
    data = chosen.summary.data
    options = [*score_names(data.foreground), *names_of("loss")]
    with st.popover("Columns", key="columns-choice"):
        now = [m for m in metrics_shown(view, data, chosen.metric) if m in options]
        st.multiselect(
            "Scores beside the one that ranks", options, format_func=heading, width=340, **state.widget("columns", now)
        )


def to_comparison(view: state.View) -> None:
    """From the picked rows to what sets them apart."""
    picked = view.several("rows")
    if len(picked) > 1:
        st.button(f"Compare {len(picked)} rows", key="to-comparison", on_click=lambda: state.go(state.COMPARE))


def key_of(board: Board, chosen: Chosen, answer: Answer) -> str:
    """What changes when the table does."""
    return f"{version()}/{board.board_id}/{board.metric}/{chosen.question}/{answer.waiting}"


@st.cache_resource(show_spinner=False, max_entries=24)
def _ranking(_board: Board, _answer: Answer, key: str, metrics: tuple[str, ...], base: str) -> TableData:
    return ranking(_board, _answer.significance, counts_of(_board), metrics, link)


@st.cache_resource(show_spinner=False, max_entries=24)
def _notes(_board: Board, key: str) -> tuple[str, ...]:
    """What to know of the rows, besides what the table says of them itself: which seeds are missing."""
    said = {f"{row.model}: {row.cell.incomplete()}" for row in _board.rows}
    return tuple(note for note in overview(_board, [_board.metric]).notes if note not in said)


def begin(view: state.View) -> dict[str, Any]:
    """What the table begins with."""
    filters: dict[str, list[str]] = {}
    for text in view.several("only"):
        name, _, value = text.partition("=")
        filters.setdefault(name, []).append(value)
    shown = {
        "sort": view.get("sort"),
        "find": view.get("find"),
        "picked": list(view.several("rows")),
        "filters": filters,
        "precise": view.get("precise") == "yes",
    }
    return {"view": shown, "reset": view.reset}


def take(said: Mapping[str, Any]) -> None:
    """What the reader did in the table, into the view."""
    view = state.the_view()
    view.take("sort", str(said.get("sort", "")))
    view.take("find", str(said.get("find", "")))
    view.take("rows", [str(one) for one in said.get("picked", [])])
    filters = said.get("filters", {})
    view.take("only", [f"{name}={value}" for name, values in filters.items() for value in values])
    view.take("precise", "yes" if said.get("precise") else "")


def link(kind: str, id: str) -> str:
    """Where the page of a model or a run is, on this board."""
    return state.href(kind, rows=(), **{kind: id})


def open_row(id: str) -> None:
    """Open what a link of the table leads to: a run's log, or the model of a row."""
    if id.startswith("run:"):
        state.go(state.RUN, run=id.removeprefix("run:"))
    else:
        state.go(state.MODEL, model=id)


def check_links(view: state.View, board: Board) -> None:
    """Say which rows a link names that this board does not have."""
    known = {cell_id(cell) for row in board.rows for cell in row.cells}
    lost = [one for one in view.several("rows") if one not in known]
    if lost:
        view.unknown.append(f"{len(lost)} row{'s' if len(lost) > 1 else ''} of another board ({', '.join(lost)[:60]})")
        view.set("rows", [one for one in view.several("rows") if one in known])


@st.fragment(run_every=1.0)
def wait_for_intervals() -> None:
    """Ask again until the intervals are there; then the whole page is drawn with them."""
    chosen: Chosen = st.session_state["chosen"]
    board = board_with(chosen.id, chosen.metric, metrics_shown(state.the_view(), chosen.summary.data, chosen.metric))
    if board is None or not answer_of(board, chosen.question).waiting:
        st.rerun()


# ---- below the table ---------------------------------------------------------------------------------------------


def below(view: state.View, board: Board) -> None:
    """What explains the table and what stands beside it, folded; each is made when it is opened."""
    for note in _notes(board, f"{version()}/{board.board_id}/{board.metric}"):
        paragraph(f"• {note}")
    classes = st.expander("Class by class", key="classes", on_change="rerun")
    if classes.open:
        with classes:
            class_by_class(view)
    if any(len(row.cells) > 1 for row in board.rows):
        cells = st.expander("Every cell of every grid", key="cells-of-grids", on_change="rerun")
        if cells.open:
            with cells:
                components.table(cells_table(board, link), key="cells-table", on_opened=open_row)
    stability = st.expander("Would other conventions of scoring change the order?", key="stability", on_change="rerun")
    if stability.open:
        with stability:
            show_stability(board)
    show_reported(board)


def class_by_class(view: state.View) -> None:
    """One score of every class, as a table."""
    chosen: Chosen = st.session_state["chosen"]
    names = list(class_score_names())
    metric = view.get("each") if view.get("each") in names else "iou"
    st.selectbox("Score", names, format_func=heading, width=200, **state.widget("each", metric))
    wanted = [f"{metric}[{label}]" for label in chosen.summary.data.classes]
    board = board_with(chosen.id, chosen.metric, wanted)
    if board is not None:
        components.table(class_table(board, metric, link), key="class-table", on_opened=open_row)


@st.cache_resource(show_spinner=False, max_entries=12)
def _stability(_board: Board, key: str) -> BoardStability:
    opened = store()
    return rank_stability(_board, stored_protocol(opened, _board), stored_tables(opened, _board))


def show_stability(board: Board) -> None:
    """The order under other conventions."""
    with st.spinner("Scoring the stored counts again…"):
        try:
            found = _stability(board, f"{version()}/{board.board_id}/{board.metric}")
        except Exception as error:  # noqa: BLE001 (the statistics of a damaged database raise whatever they do)
            notice("warning", "The stored statistics cannot be read: ", str(error).splitlines()[0][:200])
            return
    for group in found.groups:
        if group.heading:
            put(element("h3", group.heading[:1].upper() + group.heading[1:]))
        paragraph(group.verdict)
        if group.orders:
            components.table(stability_table(group, board.metric), key=f"stability-{group.heading}")


def show_reported(board: Board) -> None:
    """What others reported for this suite: apart from the ranking, each figure with its source."""
    heads, rows, notes = reported_rows(board, references())
    if not rows:
        return
    put(element("h2", "Reported by others"))
    paragraph("Figures that others reported, apart from the ranking. ≁: defined or scored in another way than here.")
    metrics = grid_metrics(board, references())
    chosen: Chosen = st.session_state["chosen"]
    if metrics:  # a grid may be of scores that the ranking has not
        board = board_with(chosen.id, chosen.metric, metrics) or board
    for metric in metrics:
        for n, grid in enumerate(reported_grids(board, references(), metric)):
            with st.expander(f"{metric_title(metric)}: reported → here", expanded=metric == metrics[0]):
                paragraph(grid.title)
                components.table(beside_table(grid), key=f"reported-{metric}-{n}")
    for n, beside in enumerate(measured_tables(store(), board, references())):
        with st.expander(beside.title):
            components.table(beside_table(beside), key=f"reported-measured-{n}")
    with st.expander("Every reported figure", expanded=not metrics):
        components.table(beside_table(Beside("", tuple(heads), tuple(map(tuple, rows)))), key="reported-all")
    for note in notes:
        paragraph(note)
