"""The same test images across models: photograph, truth, prediction, error."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from harness.config.grid import grid_text
from leaderboard.app.data import choose_board, own_pictures, store
from leaderboard.boards import Board, Cell
from leaderboard.overlay import error_map, legend
from leaderboard.queries import ScoredRun, Shown, load_gallery

TITLE, URL, ORDER = "Gallery", "gallery", 2


def show() -> None:
    """The page."""
    board = choose_board(own_metric=False)
    st.title("Gallery")
    everything = st.toggle("All cells, not only the chosen ones", key=f"cells-{board.key}")
    whose = "every cell" if everything or board.chosen_by is None else f"the cell chosen on {board.chosen_by}"
    st.caption(
        f"{board.title}. For each model: {whose}, its lowest seed. In the error maps grey is right, red is wrong, "
        "white is void and not scored."
    )
    runs = pictured(board, everything)
    shown = load_gallery(store(), board.data.test_manifest, [run.run_id for run in runs])
    if not shown:
        st.info("There are no predictions for this board yet.")
        st.stop()
    show_legend(board)
    shown = [with_pictures(sample, board) for sample in shown]
    if not all(sample.target for sample in shown):
        st.info(
            f"Photographs and truths of {board.data.title} belong to the data set and are not in this file. Put a copy "
            "of the data set into the data folder (SEGBENCH_DATA, or ./data) and they are shown."
        )
    names = [s.image_id for s in shown]
    # Of every cell one image is enough to begin with; the key differs because a kept choice would override the default.
    first = names[: 1 if everything else 4]
    picked = st.multiselect("Images", names, default=first, key=f"images-{board.key}-{everything}")
    for sample in (s for s in shown if s.image_id in picked):
        st.subheader(sample.image_id, divider="gray")
        show_sample(sample, [run for run in runs if run.run_id in sample.predictions])


def with_pictures(sample: Shown, board: Board) -> Shown:
    """The sample with photograph and truth; where the database has none, from the reader's own copy of the data set."""
    if sample.target or (own := own_pictures(board.data, sample.image_id)) is None:
        return sample
    return replace(sample, image=own[0], target=own[1])


def pictured(board: Board, everything: bool) -> list[ScoredRun]:
    """The runs whose predictions are shown: of each chosen cell, or of every cell, the lowest seed."""
    if everything:
        cells = [cell for row in board.models for cell in sorted(row.cells, key=_in_grid)]
    else:
        cells = [row.cell for row in board.rows]
    return [min(cell.scored, key=lambda run: run.seed) for cell in cells if cell.scored]


def _in_grid(cell: Cell) -> list[tuple[bool, Any]]:
    """The place of a cell in its grid: axis by axis, numbers by their size and before texts."""
    return [(False, v) if isinstance(v, int | float) else (True, repr(v)) for v in cell.first.grid.values()]


# Predictions beside one another; more go to the next line.
PER_LINE = 6


def show_sample(sample: Shown, runs: list[ScoredRun]) -> None:
    """Photograph and truth, as far as they are there, then each prediction with its error map below."""
    target = Image.open(io.BytesIO(sample.target)) if sample.target else None
    lead = 2 if target else 0
    for first in range(0, max(1, len(runs)), PER_LINE):
        part = runs[first : first + PER_LINE]
        # Two rows of columns, so that the error maps stand on one line whatever the captions' length.
        width = max(1, lead + (min(len(runs), PER_LINE) if len(runs) > PER_LINE else len(part)))
        above, below = st.columns(width), st.columns(width)
        if target:
            above[0].image(sample.image, caption="image", width="stretch")
            above[1].image(target.convert("RGB"), caption="truth", width="stretch")
        for i, run in enumerate(part, start=lead):
            prediction = Image.open(io.BytesIO(sample.predictions[run.run_id]))
            name = f"{run.model} {grid_text(run.grid)}".strip()
            above[i].image(prediction.convert("RGB"), caption=f"prediction: {name}", width="stretch")
            # A copy of other images of the same names has other sizes.
            if target and target.size == prediction.size:
                wrong = error_map(np.asarray(target), np.asarray(prediction))
                below[i].image(wrong, caption=f"error: {name}", width="stretch")


def show_legend(board: Board) -> None:
    """The classes' colours."""
    chips = " ".join(
        f"<span style='display:inline-block;width:0.9em;height:0.9em;margin:0 0.3em 0 0.8em;"
        f"border:1px solid #888;background:rgb{colour}'></span>{name}"
        for name, colour in legend(board.data)
    )
    st.html(f"<div style='font-size:0.9rem'>{chips}</div>")
