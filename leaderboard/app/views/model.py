"""One model on every board it stands on."""

from __future__ import annotations

import streamlit as st

from leaderboard.app import components, state
from leaderboard.app.curves import show_curves
from leaderboard.app.data import Chosen, board_with, summaries, title_of
from leaderboard.app.facts import lines
from leaderboard.app.inert import element, notice, paragraph, put
from leaderboard.boards.board import Board, Row
from leaderboard.queries.load import ScoredRun
from leaderboard.shown.about import data_facts, network_facts
from leaderboard.shown.costs import COSTS, cost_of
from leaderboard.shown.lists import model_cells_table, placings_table, runs_table
from leaderboard.shown.text import NONE, cell_id, model_id

TITLE, URL, ORDER = "Model", state.MODEL, 5

# More boards than this are not searched for a model: the page would wait for them.
MOST_BOARDS = 60


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    boards = every_board(chosen)
    known = models_of(boards)
    if not known:
        put(element("h1", "Model"))
        notice("info", "This database holds no model yet.")
        st.stop()
    asked = view.get("model")
    if asked not in known:
        if asked:
            view.unknown.append(f"the model {asked[:40]}")
            view.set("model", None)
        asked = first_of(chosen, known)
    run = known[asked]
    names = [one.model for one in known.values()]
    title = st.container()
    st.selectbox(
        "Model",
        list(known),
        format_func=lambda key: known[key].model if names.count(known[key].model) == 1 else _apart(known[key]),
        width=420,
        **state.widget("model", asked),
    )
    with title:
        put(element("h1", run.model))
    lines(network_facts(run))
    costs(run, boards, asked)
    put(element("h2", "On every board"))
    placings = [(board, row) for board in boards for row in board.rows if model_id(row.cell.first) == asked]
    components.table(placings_table(placings, title_of_board, board_link), key="placings", on_opened=open_board)
    of_board(view, chosen, asked)
    for name in dict.fromkeys(board.data.name for board, _ in placings):
        if facts := data_facts(name):
            put(element("h2", f"The data: {name}"))
            lines(facts)


def every_board(chosen: Chosen) -> list[Board]:
    """The boards of the database, the chosen one first."""
    found = []
    for summary in sorted(summaries()[:MOST_BOARDS], key=lambda one: one.board_id != chosen.id):
        metric = chosen.metric if summary.board_id == chosen.id else summary.data.headline
        board = board_with(summary.board_id, metric)
        if board is not None:
            found.append(board)
    return found


def models_of(boards: list[Board]) -> dict[str, ScoredRun]:
    """Every model, once, with one of its runs."""
    found: dict[str, ScoredRun] = {}
    for board in boards:
        for row in board.rows:
            found.setdefault(model_id(row.cell.first), row.cell.first)
    return found


def first_of(chosen: Chosen, known: dict[str, ScoredRun]) -> str:
    """The model that is shown where none is asked for: of the first picked row, else the best."""
    board = board_with(chosen.id, chosen.metric)
    picked = state.the_view().several("rows")
    rows = [] if board is None else list(board.rows)
    for row in [r for r in rows if cell_id(r.cell) in picked] + rows:
        if model_id(row.cell.first) in known:
            return model_id(row.cell.first)
    return next(iter(known))


def _apart(run: ScoredRun) -> str:
    """What tells a model from others of its name."""
    said = ", ".join(f"{key}={value}" for key, value in run.params.items()) or run.origin
    return f"{run.model} ({said})"


def costs(run: ScoredRun, boards: list[Board], asked: str) -> None:
    """What it costs, as far as any board knows."""
    runs = [r for board in boards for row in board.rows if model_id(row.cell.first) == asked for r in row.cell.runs]
    cost = cost_of(runs or [run])
    facts = []
    for kind in COSTS:
        cell = kind.cell(cost)
        if cell["t"] != NONE:
            measured = f" ({cell['title']})" if cell.get("title") else ""
            facts.append((kind.title, f"{cell['t']}{measured}"))
    if facts:
        put(element("h2", "What it costs"))
        lines(facts)


def title_of_board(board: Board) -> str:
    """A board in a line."""
    summary = next((one for one in summaries() if one.board_id == board.board_id), None)
    return board.title if summary is None else title_of(summary)


def board_link(board: Board) -> str:
    """Where the page of a board is."""
    return state.href(state.BOARDS, board=board.board_id)


def open_board(id: str) -> None:
    """Open a board."""
    state.go(state.BOARDS, board=id)


def open_run(id: str) -> None:
    """Open a run."""
    state.go(state.RUN, run=id)


def of_board(view: state.View, chosen: Chosen, asked: str) -> None:
    """Cells, curves and runs of the model on the chosen board."""
    board = board_with(chosen.id, chosen.metric)
    rows: list[Row] = [] if board is None else [r for r in board.rows if model_id(r.cell.first) == asked]
    if board is None or not rows:
        paragraph("It has no row on the board that is chosen above; the table leads to those that it is on.")
        return
    cells = list({cell_id(cell): cell for row in rows for cell in row.cells}.values())
    put(element("h2", f"On {title_of_board(board)}"))
    if len(cells) > 1:
        components.table(model_cells_table(board, rows), key="model-cells")
    names = {cell_id(cell): ", ".join(f"{k}={v}" for k, v in cell.first.grid.items()) or "this model" for cell in cells}
    show_curves(view, board, {names[cell_id(cell)]: [r.run_id for r in cell.runs] for cell in cells[:12]})
    runs = [run for cell in cells for run in cell.runs]
    components.table(
        runs_table(runs, board.metric, lambda kind, id: state.href(state.RUN, run=id)),
        key="model-runs",
        on_opened=open_run,
    )
    if any(r.scored for r in cells):
        st.button(
            "Its images",
            on_click=lambda: state.go(state.IMAGES, rows=[cell_id(rows[0].cell)]),
            key="model-images",
        )
