"""The same test images across models: photograph, truth, prediction, error."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st
from PIL import Image

from harness.config.grid import grid_text
from leaderboard.app.data import choose_board, store
from leaderboard.boards import Board
from leaderboard.overlay import error_map, legend
from leaderboard.queries import load_gallery

TITLE, URL, ORDER = "Gallery", "gallery", 2


def show() -> None:
    """The page."""
    board = choose_board(own_metric=False)
    st.title("Gallery")
    st.caption(
        f"{board.title}. For each model: the cell chosen on {board.chosen_by}, its lowest seed. In the error maps grey "
        "is right, red is wrong, white is void and not scored."
    )
    scored = [row for row in board.rows if row.cell.scored]
    chosen = [min(row.cell.scored, key=lambda r: r.seed).run_id for row in scored]
    shown = load_gallery(store(), board.data.test_manifest, chosen)
    if not shown:
        st.info("There are no predictions for this board yet.")
        st.stop()
    show_legend(board)
    names = [s.image_id for s in shown]
    picked = st.multiselect("Images", names, default=names[:4], key=f"images-{board.key}")
    for sample in (s for s in shown if s.image_id in picked):
        st.subheader(sample.image_id, divider="gray")
        target = Image.open(io.BytesIO(sample.target))
        # Two rows of columns, so that the error maps stand on one line whatever the captions' length.
        above, below = st.columns(2 + len(scored)), st.columns(2 + len(scored))
        above[0].image(sample.image, caption="image", width="stretch")
        above[1].image(target.convert("RGB"), caption="truth", width="stretch")
        for i, (row, run) in enumerate(zip(scored, chosen, strict=True), start=2):
            data = sample.predictions.get(run)
            if data is None:
                continue
            prediction = Image.open(io.BytesIO(data))
            name = f"{row.model} {grid_text(row.cell.first.grid)}".strip()
            above[i].image(prediction.convert("RGB"), caption=f"prediction: {name}", width="stretch")
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
