"""Every run with its state, and where its figures come from."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from harness.config.grid import grid_text
from leaderboard.app.data import choose_board, run_label
from leaderboard.queries import ScoredRun

TITLE, URL, ORDER = "Runs", "runs", 4


def show() -> None:
    """The page."""
    board = choose_board(own_metric=False)
    st.title("Runs")
    st.caption(board.title)
    runs = sorted(
        {r.run_id: r for row in board.rows for cell in row.cells for r in cell.runs}.values(),
        key=lambda r: r.run_id,
    )
    frame = pd.DataFrame([_line(r, board.metric) for r in runs])
    st.dataframe(frame, hide_index=True, width="stretch")
    bad = [r for r in runs if r.state not in ("ok", "pending", "running")]
    for run in bad:
        with st.expander(f"run {run.run_id}: {run_label(run)}: {run.state}: {run.reason}"):
            st.code(run.traceback or run.reason)
    labels = {r.run_id: f"run {r.run_id}: {run_label(r)}" for r in runs}
    picked = st.selectbox("Provenance of", list(labels), format_func=labels.__getitem__, key=f"run-{board.key}")
    chosen = next(r for r in runs if r.run_id == picked)
    st.json(
        {
            "fingerprint": chosen.fingerprint,
            "recipe": chosen.recipe,
            "selection": chosen.selection,
            "origin": chosen.origin,
            "protocol": {"name": chosen.protocol_name, "hash": chosen.protocol_hash},
            "progress": chosen.progress,
            "seconds": chosen.times,
            "provenance": chosen.provenance,
        }
    )


def _line(run: ScoredRun, metric: str) -> dict[str, object]:
    return {
        "run": run.run_id,
        "model": run.model,
        "hyperparameters": grid_text(run.grid),
        "seed": run.seed,
        "state": run.state,
        "reason": run.reason,
        metric: run.test.get(metric),
        "images": run.n_images,
        "parameters": run.parameters,
        "epoch chosen": run.progress.get("selected_epoch"),
        "train s": run.times.get("train"),
        "attempt": run.attempt,
        "started": run.started,
    }
