"""One run: what became of it, its log, where its figures come from, and how to get them again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import streamlit as st

from harness.errors import BenchError
from leaderboard.app import components, state
from leaderboard.app.curves import show_curves
from leaderboard.app.data import Chosen, board_with, runs_of, store
from leaderboard.app.facts import lines, pairs
from leaderboard.app.inert import element, notice, paragraph, put
from leaderboard.boards.board import Board
from leaderboard.boards.withdrawn import withdrawn_text
from leaderboard.queries.images import curve_length
from leaderboard.queries.load import ScoredRun, load_run
from leaderboard.queries.run import RunDetail
from leaderboard.shown.about import command, data_facts, environment_facts, find_run, replay_command, state_facts
from leaderboard.shown.lists import scores_table
from leaderboard.shown.pictures import source_of
from leaderboard.shown.text import full, heading, model_id, short

TITLE, URL, ORDER = "Run", state.RUN, 6

# Of a log, so much from its end.
_LOG_BYTES = 60_000


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    number = wanted(view, chosen)
    if number is None:
        put(element("h1", "Run"))
        notice("info", "This board has no run.")
        st.stop()
    try:
        detail = load_run(store(), number)
    except BenchError as error:
        put(element("h1", f"Run {number}"))
        notice("error", str(error))
        st.stop()
    run = next((one for one in detail.scored if one.suite == chosen.summary.suite), detail.run)
    put(element("h1", f"Run {run.run_id}: {run.model}, seed {run.seed}"))
    say_score(run)
    pairs(state_facts(run))
    say_troubles(run, detail)
    with st.container(horizontal=True, key="run-links"):
        st.button("The model", on_click=lambda: state.go(state.MODEL, model=model_id(run)))
        download_maps(run)
    again(run, detail)
    curves_of(view, chosen, run)
    put(element("h2", "Scores"))
    components.table(scores_table(run), key="run-scores")
    log_of(run)
    rest(run, detail)


def wanted(view: state.View, chosen: Chosen) -> int | None:
    """The number of the run that is asked for; the newest of the board where none is."""
    asked = view.get("run")
    if asked:
        found = find_run(store(), asked)
        if found is not None:
            return found
        view.unknown.append(f"the run {asked[:40]}")
        view.set("run", None)
    own = runs_of(chosen.id, (chosen.metric,))
    return max((run.run_id for run in own), default=None)


def say_score(run: ScoredRun) -> None:
    """The headline score of the run, large."""
    metric = run.data.headline if run.data.classes else ""
    value = run.test.get(metric)
    if value is not None:
        text = f"{heading(metric)} {short(metric, value)} on {run.n_images:,} images"
        put(element("p", text, class_="lead", title=full(metric, value)))


def say_troubles(run: ScoredRun, detail: RunDetail) -> None:
    """Why it does not count, or did not end well."""
    if run.withdrawn:
        notice("warning", "This run is shown and not ranked: ", withdrawn_text(run.withdrawn))
    for problem in detail.problems:
        notice("error", element("b", "Not sound: "), problem)
    if run.reason:
        notice("error", element("b", f"{run.state}: "), run.reason)
    if run.traceback or run.error:
        with st.expander("Traceback", expanded=True, key="traceback"):
            st.code(clean(run.traceback or run.error), language=None, height=320)
    earlier = [one for one in detail.history if isinstance(one, dict)]
    if earlier:
        paragraph(f"{len(earlier)} earlier attempt{'s' if len(earlier) > 1 else ''} did not end well:")
        for one in earlier:
            said = [str(one.get(key) or "") for key in ("state", "reason", "finished")]
            paragraph(f"• attempt {one.get('attempt', '?')}: {' · '.join(filter(None, said))}"[:600])


def clean(text: str) -> str:
    """Text without control characters, which a browser shows as nothing or worse."""
    return "".join(c for c in text[-_LOG_BYTES:] if c in "\n\t" or ord(c) >= 32)


def again(run: ScoredRun, detail: RunDetail) -> None:
    """The command, and what has changed since."""
    put(element("h2", "Get this figure again"))
    made = command(run, detail.config)
    if made:
        place = store().path
        st.code(replay_command(run, place.name if place else "URL"), language=None)
        paragraph("Trains it again from its record alone, and says whether every label map and score is the same.")
        st.code(made, language=None)
        paragraph("Makes it as a job of its suite; a job that is already done is not done again.")
    else:
        paragraph("These label maps come from elsewhere: how they were made is not known here.")
    why = st.expander("What has changed since? (bench why)", key="why", on_change="rerun")
    if why.open:
        with why, st.spinner("Comparing code, data and settings…"):
            st.code(clean(said_why(run.run_id)), language=None)


def said_why(number: int) -> str:
    """What the command `bench why` says, in a process of its own: it reads plugins and data."""
    opened = store()
    place = str(opened.path) if opened.path else opened.engine.url.render_as_string(hide_password=False)
    words = [sys.executable, "-m", "bench", "why", str(number), "--db", place]
    if folder := os.environ.get("SEGBENCH_DATA"):
        words += ["--data-dir", folder]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return f"It took too long. Run it yourself: bench why {number}"
    return done.stdout.strip() or done.stderr.strip()


def curves_of(view: state.View, chosen: Chosen, run: ScoredRun) -> None:
    """The learning curves of the run."""
    board = board_with(chosen.id, chosen.metric)
    if board is not None:
        put(element("h2", "Learning curves"))
        name = f"{run.model}, seed {run.seed}"
        if run.state == "running":
            growing_curves(view, board, name, run.run_id)
        else:
            show_curves(view, board, {name: [run.run_id]})


@st.fragment(run_every=5.0)
def growing_curves(view: state.View, board: Board, name: str, run_id: int) -> None:
    """The learning curves of a run that goes on; they are drawn again when there are more points."""
    show_curves(view, board, {name: [run_id]}, live=str(curve_length(store(), run_id)))


def log_of(run: ScoredRun) -> None:
    """The end of the run's log, where it is kept on this machine."""
    folder = source_of(store(), run)
    path = folder.files / "log.txt" if folder.files else None
    part = st.expander("Log", key="log", on_change="rerun", expanded=False)
    if not part.open:
        return
    with part:
        text = None if path is None else tail(path)
        if text is None:
            paragraph("The log is beside the artifacts of the machine that ran it, and not here.")
        else:
            st.code(clean(text), language=None, height=420)
            paragraph(f"The end of {path}")


def tail(path: Path) -> str | None:
    """The end of a file as text; None where there is none."""
    try:
        if not path.is_file() or path.is_symlink():
            return None
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return None


def download_maps(run: ScoredRun) -> None:
    """The label maps of the run as one file, where they are kept on this machine."""
    folder = source_of(store(), run).folder
    if folder is None:
        return
    st.download_button(
        "Label maps (ZIP)", lambda: packed(folder), file_name=f"run-{run.fingerprint[:12]}.zip", mime="application/zip",
        on_click="ignore", key="get-maps",
    )  # fmt: skip


def packed(folder: Path) -> bytes:
    """The label maps of a folder, with their checksums, in one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and (path.suffix == ".png" or path.name == "SHA256SUMS"):
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


def rest(run: ScoredRun, detail: RunDetail) -> None:
    """Environment, settings, and whom to cite."""
    put(element("h2", "Where it was made"))
    lines(environment_facts(run))
    with st.expander("Every setting", key="settings"):
        st.code(text_of(detail.config), language=None, height=420)
    with st.expander("Everything that is noted of its making", key="provenance"):
        st.code(text_of(run.provenance), language=None, height=420)
    if facts := data_facts(run.data.name):
        put(element("h2", f"The data: {run.data.title}"))
        lines(facts)


def text_of(value: Any) -> str:
    """A value as indented JSON."""
    return clean(json.dumps(value, indent=2, ensure_ascii=False, default=str))
