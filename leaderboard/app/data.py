"""The database behind the pages: opened once, read anew when it has changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from harness.config.grid import grid_text
from harness.datasets import data_dir, open_dataset
from harness.errors import BenchError
from harness.metrics.metric import metric_title
from harness.results import Store, open_store
from harness.results.publish import is_published
from harness.scoring.keep import pictures
from harness.utils.environment import setting
from leaderboard.boards import Board, board_of, boards
from leaderboard.queries import Data, ScoredRun, load_runs
from leaderboard.tables import metric_names
from leaderboard.walls import Fact, Wall, differing, wall_of


@st.cache_resource
def _store(place: str) -> Store:
    return open_store(place, read_only=True)


def store() -> Store:
    """The database named by SEGBENCH_DB; a message instead of a traceback where it cannot be opened."""
    try:
        return _store(setting("SEGBENCH_DB") or "results.db")
    except BenchError as error:
        st.error(str(error))
        st.stop()


def own_pictures(data: Data, image_id: str) -> tuple[bytes, bytes] | None:
    """Photograph and truth from the reader's own copy of a data set; None without one, or where it lacks the image."""
    return _own_pictures(data.name, data.variant, image_id, str(data_dir()))


@st.cache_data(show_spinner=False, max_entries=500)
def _own_pictures(name: str, variant: str, image_id: str, folder: str) -> tuple[bytes, bytes] | None:
    try:
        dataset = open_dataset(name, variant, Path(folder), obtain=False)
        return pictures(dataset, image_id) if image_id in dataset.ids("test") else None
    except BenchError:
        return None


def say_if_published() -> None:
    """A line on every page of a published file: whose results these are."""
    if is_published(store()):
        st.info(
            "These are the results that come with segbench, not yours. `bench run --suite demo` makes your own, "
            "`bench leaderboard` shows them."
        )


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
def _results(_opened: Store, key: str) -> list[ScoredRun]:
    return load_runs(_opened)


def results() -> list[ScoredRun]:
    """Every result of the database."""
    opened = store()
    return _results(opened, version(opened))


def choose_board(own_metric: bool = True) -> Board:
    """The sidebar: which board, and what narrows it. Stops the page where nothing is there."""
    say_if_published()
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
        own = [r for r in found if board_of(r) == board.key_fields]
        models = sorted({r.model for r in own})
        chosen = st.multiselect("Models", models, key=f"models-{key}", placeholder="all")
        walls = {r.run_id: wall_of(r) for r in own}
        wanted = {fact: _choose_fact(fact, walls.values(), key) for fact in differing(walls.values())}
        states = sorted({r.state for r in own})
        state = st.multiselect("States", states, key=f"states-{key}", placeholder="all")
        metric = board.metric
        if own_metric:
            options = metric_names(board.data)
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
        and all(not texts or fact.text(walls[r.run_id]) in texts for fact, texts in wanted.items())
        and (not state or r.state in state)
    ]
    if not own:
        st.info("No run matches these filters.")
        st.stop()
    return boards(own, metric)[0]


def _choose_fact(fact: Fact, walls: Iterable[Wall], key: str) -> list[str]:
    """A filter for one of the facts that keep rankings apart."""
    texts = sorted({fact.text(wall) for wall in walls} - {""})
    return st.multiselect(fact.column.capitalize(), texts, key=f"{fact.name}-{key}", placeholder="all")


def run_label(result: ScoredRun) -> str:
    """A run in a legend: model, hyperparameters, seed."""
    return " ".join(filter(None, (result.model, grid_text(result.grid, " "), f"seed={result.seed}")))
