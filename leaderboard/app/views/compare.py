"""Up to four rows against one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from harness.metrics.metric import class_score_names
from leaderboard.app import components, header, state
from leaderboard.app.background import Background
from leaderboard.app.curves import show_curves
from leaderboard.app.data import board_with, store, version
from leaderboard.app.inert import cut, element, notice, paragraph, put
from leaderboard.app.picked import Picked, pick
from leaderboard.boards.board import Board
from leaderboard.queries.load import load_image_scores, load_run, load_statistics
from leaderboard.shown import figures
from leaderboard.shown.compare import (
    changes_table,
    configuration_table,
    confusion,
    difference_table,
    differences,
    only,
    sentence,
)
from leaderboard.shown.image_list import wins
from leaderboard.shown.lists import percent
from leaderboard.shown.text import heading, short
from leaderboard.stats.draws import BoardDraws, stored_draws
from leaderboard.stats.significance import ASKS

TITLE, URL, ORDER = "Compare", state.COMPARE, 2

# Larger confusion matrices are listed, not drawn.
MOST_DRAWN = 30


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    board = header.board_of(view, chosen)
    title = st.container()
    picked = pick(view, board, 2)
    if len(picked) < 2:
        with title:
            put(element("h1", "Compare"))
        notice("info", "This board has one scored row: there is nothing to compare it with.")
        st.stop()
    names = [one.name for one in picked]
    draws = draws_for(board, picked) if chosen.question != "seeds" else None
    found = differences(board, [(one.row, one.cell) for one in picked], chosen.question, draws)
    with title:
        put(element("h1", cut(sentence(board.metric, found[0], names)) if found else "Compare"))
        paragraph(f"{ASKS[chosen.question]} The intervals hold for the rows below together.")
    apart(picked, names)
    components.table(difference_table(board.metric, found, names, all_wins(board, picked)), key="differences")
    link_to_images(view)
    put(element("h2", "Class by class"))
    classes(view, board, picked)
    put(element("h2", "Confusions"))
    confusions(board, picked)
    put(element("h2", "What was set otherwise"))
    configurations(picked)
    put(element("h2", "Learning curves"))
    show_curves(view, board, {one.name: [run.run_id for run in one.cell.runs] for one in picked})


_draws: Background[BoardDraws] = Background(most=24)


def draws_for(board: Board, picked: list[Picked]) -> BoardDraws | None:
    """The scores of the picked rows on resampled images; None where their statistics cannot be read."""
    opened, cells = store(), only(board, [(one.row, one.cell) for one in picked])
    key = f"{opened.name}/{version()}/{board.board_id}/{board.metric}/{','.join(one.id for one in picked)}"
    with st.spinner("Resampling the images…"):
        try:
            return _draws.get(key, lambda: stored_draws(opened, cells), wait=True)
        except Exception:  # noqa: BLE001 (statistics of a damaged database raise anything; the figures stand)
            return None


def apart(picked: list[Picked], names: list[str]) -> None:
    """Say where more than the network differs."""
    walls = {one.row.wall for one in picked}
    if len(walls) > 1:
        notice(
            "warning",
            f"{' and '.join(names)} are not ranked together: pretraining, data or tuning differ between them, and a "
            "difference is no difference of networks.",
        )


@st.cache_resource(show_spinner=False, max_entries=24)
def _scores(_opened: Any, key: str, runs: tuple[int, ...], metric: str, protocol: str) -> Any:
    return load_image_scores(_opened, runs, metric, protocol)


def all_wins(board: Board, picked: list[Picked]) -> dict[tuple[int, int], tuple[int, int, int]]:
    """On how many images which of each pair is better; the lowest seed of each stands for it."""
    runs = tuple(one.run.run_id for one in picked)
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for metric in dict.fromkeys([board.metric, board.data.headline, "miou"]):
        scores = _scores(store(), version(), runs, metric, board.protocol_hash)
        if len(scores.runs) == len(set(runs)):
            lines = [scores.figures[scores.runs.index(run)] for run in runs]
            for i in range(len(lines)):
                for j in range(i + 1, len(lines)):
                    found[i, j] = wins(np.array([lines[i], lines[j]], dtype=np.float64), metric)
            return found
    return found


def link_to_images(view: state.View) -> None:
    """From the difference to the pictures behind it."""
    if st.button("See the images on which they differ most", key="to-images"):
        view.set("order", "disagreement")
        state.go(state.IMAGES)
        st.rerun()


def classes(view: state.View, board: Board, picked: list[Picked]) -> None:
    """One score of every class, as signs or as a heat map."""
    names = list(class_score_names())
    metric = view.get("each") if view.get("each") in names else "iou"
    with st.container(horizontal=True, key="class-choices", vertical_alignment="bottom"):
        st.selectbox("Score", names, format_func=heading, width=200, **state.widget("each", metric))
        way = st.segmented_control("As", ["signs", "heat map"], default="signs", required=True, key="class-way")
    wanted = [f"{metric}[{label}]" for label in board.data.classes]
    full = board_with(board.board_id, board.metric, wanted)
    if full is None:
        return
    cells = {cell.first.cell: cell for row in full.rows for cell in row.cells}
    rows = {
        one.name: percent(metric, [cells[one.cell.first.cell].test(name).mean for name in wanted])
        for one in picked
        if one.cell.first.cell in cells
    }
    labels = list(board.data.classes)
    if way == "signs":
        figure = figures.class_bars(labels, rows, heading(metric))
    else:
        values = [list(own) for own in rows.values()]
        flat = [[None if v is None else v / (percent(metric, [1.0])[0] or 1) for v in own] for own in values]
        texts = [[short(metric, v) for v in own] for own in flat]
        # Classes down, models across: it stays readable with many classes and on a phone.
        figure = figures.grid(
            [list(part) for part in zip(*values, strict=True)], list(rows), labels,
            [list(part) for part in zip(*texts, strict=True)], ("", ""),
        )  # fmt: skip
    st.plotly_chart(
        figure, width="stretch", key="classes", config={"displaylogo": False},
        alt=f"{heading(metric)} of {len(labels)} classes for {', '.join(rows)}; the board has them as a table.",
    )  # fmt: skip


@st.cache_resource(show_spinner=False, max_entries=24)
def _shares(_opened: Any, key: str, run: int, protocol: str, classes: int) -> Any:
    try:
        return figures.confusion_shares(confusion(load_statistics(_opened, run, protocol), classes))
    except Exception:  # noqa: BLE001 (damaged statistics raise anything; then there is no matrix)
        return None


def confusions(board: Board, picked: list[Picked]) -> None:
    """What the first two take for what, and where they differ."""
    labels = list(board.data.classes)
    found = [_shares(store(), version(), one.run.run_id, board.protocol_hash, len(labels)) for one in picked[:2]]
    if any(one is None for one in found):
        paragraph("The statistics of one of them cannot be read.")
        return
    names = [one.name for one in picked[:2]]
    paragraph(
        f"{names[0]} minus {names[1]}, in points of the true class's pixels (lines: truth; columns: prediction). On "
        "the diagonal more is better, elsewhere less."
    )
    if len(labels) <= MOST_DRAWN:
        change = 100 * (found[0] - found[1])
        texts = [[f"{v:+.1f}" if abs(v) >= 0.05 else "" for v in line] for line in change.tolist()]
        figure = figures.grid(change.tolist(), labels, labels, texts, ("prediction", "truth"), middle=0.0)
        st.plotly_chart(
            figure, width="stretch", key="confusion", config={"displaylogo": False},
            alt="Difference of the two confusion matrices; the table below lists the largest differences.",
        )  # fmt: skip
    components.table(changes_table(found, labels, names), key="changes")


def configurations(picked: list[Picked]) -> None:
    """The settings that differ."""
    configs = [load_run(store(), one.run.run_id).config for one in picked]
    components.table(configuration_table(configs, [one.name for one in picked]), key="configuration")
