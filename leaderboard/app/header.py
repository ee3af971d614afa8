"""What stands on every page: the pages, the board, what it is, downloads and the link."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from harness.results.schema import FAILED
from leaderboard.app import components
from leaderboard.app.data import (
    Answer,
    Chosen,
    board_with,
    is_shipped,
    metrics_shown,
    read_version,
    runs_of,
    store,
    version,
)
from leaderboard.app.inert import element, notice, put, together
from leaderboard.app.state import View
from leaderboard.boards.board import Board, boards
from leaderboard.exports.latex import latex_table
from leaderboard.exports.text import csv_tables, markdown_tables
from leaderboard.queries.load import live_status
from leaderboard.shown.method import method, resolution
from leaderboard.stats.draws import stored_protocol
from leaderboard.tables.table import overview, records

# The states of a run that has ended.
DONE = ("ok", *FAILED)


def links(view: View, pages: dict[str, Any]) -> None:
    """The pages in a row; each link carries the view."""
    with st.container(key="pages", horizontal=True, vertical_alignment="center"):
        for url, page in pages.items():
            st.page_link(page, label=page.title, query_params=view.query(url))
        components.share()


def say_what_it_is(chosen: Chosen) -> None:
    """What to know of a board before its figures are read."""
    if is_shipped():
        notice(
            "info",
            "These are the results that come with segbench, not yours. ",
            element("code", "bench run --suite demo"),
            " makes your own.",
        )
    if chosen.summary.smoke:
        notice("warning", "Smoke runs: these figures only show that all parts work.")


def say_what_runs(chosen: Chosen) -> None:
    """How far the board's suite is, while anything of it is to be done."""
    states = chosen.summary.states
    if any(states.get(state) for state in ("running", "pending")):
        _progress(chosen.summary.suite, version())


@st.fragment(run_every=3.0)
def _progress(suite: str, drawn: str) -> None:
    """Ask the database every few seconds, cheaply; draw the whole page again when a run has ended."""
    now = read_version()
    if now != drawn:
        st.rerun()
    states = live_status(store()).get(suite, {})
    done = sum(states.get(state, 0) for state in DONE)
    words = [f"{count} {state}" for state, count in states.items() if state not in DONE]
    notice("info", f"{done} of {sum(states.values())} runs of this suite have ended; {', '.join(words)}.")


def facts_line(board: Board) -> None:
    """The board in a line: images, resolution, protocol."""
    n = max((run.n_images for row in board.rows for run in row.cell.scored), default=0)
    protocol = protocol_of(board)
    parts = [board.data.title or board.data.name, f"suite {board.suite}"]
    parts += [f"{n:,} test images" if n else "not scored yet", resolution(protocol).rstrip(".").lower()]
    parts.append(f"protocol {board.protocol_name}")
    if board.variant:
        parts.append(f"train images: {board.variant}")
    if board.chosen_by:
        parts.append(f"hyperparameters chosen on {board.chosen_by}")
    put(element("p", " · ".join(parts), class_="facts"))


@st.cache_resource(show_spinner=False, max_entries=40)
def _protocol(_board: Board, key: str) -> dict[str, Any]:
    try:
        return stored_protocol(store(), _board).stored()
    except Exception:  # noqa: BLE001 (nothing scored yet, or a protocol of another version: its name is still shown)
        return {}


def protocol_of(board: Board) -> dict[str, Any]:
    """The protocol of a board; empty where nothing is scored under it."""
    return _protocol(board, f"{version()}/{board.board_id}")


def how(board: Board, answer: Answer) -> None:
    """How all this was computed, on demand."""
    with st.popover("How was this computed?", key="how"):
        lines = method(board, answer.significance, protocol_of(board))
        rows = [together(element("dt", name), element("dd", text)) for name, text in lines]
        put(element("dl", together(*rows), class_="method"))


def downloads(view: View, chosen: Chosen) -> None:
    """The table in every format, made when it is asked for."""

    def board() -> Board:
        made = boards(runs_of(chosen.id), chosen.metric)[0]
        return made

    def shown() -> tuple[str, ...]:
        return (chosen.metric, *metrics_shown(view, chosen.summary.data, chosen.metric))

    kinds: dict[str, tuple[str, str, Callable[[], str]]] = {
        "CSV": ("csv", "text/csv", lambda: csv_tables([(b := board(), overview(b, shown()))], safe=True)),
        "Markdown": (
            "md",
            "text/markdown",
            lambda: markdown_tables([(b := board(), overview(b, shown()))], store=store()),
        ),
        "LaTeX": ("tex", "text/x-tex", lambda: latex_table(overview(board(), shown()))),
        "JSON": ("json", "application/json", lambda: json.dumps(records(board()), indent=2, ensure_ascii=False)),
    }
    with st.popover("Download", key="download"):
        for name, (ending, mime, make) in kinds.items():
            st.download_button(
                name, make, file_name=f"board-{chosen.id}.{ending}", mime=mime, on_click="ignore", key=f"get-{ending}"
            )


def board_of(view: View, chosen: Chosen) -> Board:
    """The chosen board with the scores that are shown; stops the page where it has no rows."""
    board = board_with(chosen.id, chosen.metric, metrics_shown(view, chosen.summary.data, chosen.metric))
    if board is None:
        notice("info", "This board has no run.")
        st.stop()
    return board
