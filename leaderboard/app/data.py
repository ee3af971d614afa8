"""The database behind the pages: opened once, read anew when it has changed."""

from __future__ import annotations

import os

import streamlit as st

from harness.errors import BenchError
from harness.results import Store, open_store
from leaderboard.queries import Result, load_results
from leaderboard.tables import Board, all_metrics, boards, metric_title


@st.cache_resource
def _store(place: str) -> Store:
    return open_store(place, read_only=True)


def store() -> Store:
    """The database named by SEGBENCH_DB; a message instead of a traceback where it cannot be opened."""
    try:
        return _store(os.environ.get("SEGBENCH_DB", "results.db"))
    except BenchError as error:
        st.error(str(error))
        st.stop()


def version(opened: Store) -> str:
    """Changes when somebody has committed: the cache's key."""
    if opened.path is None:
        # Another server tells nothing cheaply: the page reads it anew.
        return os.urandom(8).hex()
    times = [
        p.stat().st_mtime_ns for p in (opened.path, opened.path.with_name(opened.path.name + "-wal")) if p.exists()
    ]
    return "/".join(map(str, times))


@st.cache_data(show_spinner=False, max_entries=4)
def _results(_opened: Store, key: str) -> list[Result]:
    return load_results(_opened)


def results() -> list[Result]:
    """Every result of the database."""
    opened = store()
    return _results(opened, version(opened))


def choose_board(own_metric: bool = True) -> Board:
    """The sidebar: which board, and what narrows it. Stops the page where nothing is there."""
    found = results()
    if not found:
        st.info("This database holds no run yet. `bench run --suite demo` makes some.")
        st.stop()
    every = boards(found)
    with st.sidebar:
        keys = [b.key for b in every]
        titles = {b.key: b.title for b in every}
        key = st.selectbox("Board", keys, format_func=lambda k: titles[k], key="board")
        board = next(b for b in every if b.key == key)
        own = [r for r in found if _belongs(r, board)]
        models = sorted({r.model for r in own})
        chosen = st.multiselect("Models", models, key=f"models-{key}", placeholder="all")
        variants = sorted({r.data.variant for r in own})
        variant = st.multiselect("Data variants", variants, key=f"variants-{key}", placeholder="all")
        states = sorted({r.state for r in own})
        state = st.multiselect("States", states, key=f"states-{key}", placeholder="all")
        metric = board.metric
        if own_metric:
            options = all_metrics(board.data)
            metric = st.selectbox(
                "Rank by",
                options,
                index=options.index(board.metric),
                format_func=metric_title,
                key=f"metric-{key}",
            )
    own = [
        r
        for r in own
        if (not chosen or r.model in chosen)
        and (not variant or r.data.variant in variant)
        and (not state or r.state in state)
    ]
    if not own:
        st.info("No run matches these filters.")
        st.stop()
    return boards(own, metric)[0]


def _belongs(result: Result, board: Board) -> bool:
    return (result.suite, result.data.test_manifest, result.protocol_hash, result.selected_on_test) == (
        board.suite,
        board.data.test_manifest,
        board.protocol_hash,
        board.selected_on_test,
    )


def run_label(result: Result) -> str:
    """A run in a legend: model, hyperparameters, seed."""
    grid = "".join(f" {k}={v:g}" if isinstance(v, float) else f" {k}={v}" for k, v in result.grid.items())
    return f"{result.model}{grid} seed={result.seed}"
