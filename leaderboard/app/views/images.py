"""What the masks look like: every scored image, in an order, with its label maps side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from harness.datasets import data_dir
from harness.datasets.base import Dataset
from harness.errors import BenchError
from harness.metrics.metric import split_metric
from leaderboard.app import components, header, state
from leaderboard.app.data import store, version
from leaderboard.app.inert import element, notice, paragraph, put
from leaderboard.app.picked import Picked, pick
from leaderboard.boards.board import Board
from leaderboard.queries.load import Data, ImageScores, load_image_scores, load_run, load_statistics
from leaderboard.shown import figures
from leaderboard.shown.image_list import ORDERS, Images, images_table, in_order, object_sizes, wins
from leaderboard.shown.pictures import (
    Picture,
    Source,
    own_copy,
    picture,
    pictured_ids,
    said_where,
    source_of,
    viewer_data,
)
from leaderboard.shown.text import heading, scale, short

TITLE, URL, ORDER = "Images", state.IMAGES, 3

# So many cells of a grid are shown at once.
MOST_CELLS = 60


def show() -> None:
    """The page."""
    view, chosen = state.the_view(), st.session_state["chosen"]
    board = header.board_of(view, chosen)
    put(element("h1", "What the masks look like"))
    with st.container(key="image-choices", horizontal=True, vertical_alignment="bottom"):
        picked = pick(view, board, 2)
        label = choose_class(view, chosen.summary.data)
        everything = any(len(row.cells) > 1 for row in board.rows) and st.toggle(
            "Every cell of the grids", **_toggle(view)
        )
    shown = every_cell(board) if everything else picked
    metric, scores = scores_of(board, picked, label)
    if not len(scores.runs):
        notice("info", "No score of single images is kept for these runs.")
        st.stop()
    picked = [one for one in picked if one.run.run_id in scores.runs]
    sizes = sizes_of(board, picked[0], label)
    order = view.get("order") if view.get("order") in ORDERS else "worst"
    images = in_order(scores, order, sizes)
    sources = [source_of(store(), one.run) for one in shown]
    pictured = (
        None if all(s.folder for s in sources) else _pictured(store(), version(), tuple(s.run.run_id for s in sources))
    )
    current = current_image(view, images, pictured)
    say_wins(images, picked, metric)
    large, beside = st.columns([0.74, 0.26], gap="medium")
    with large:
        show_image(view, board, shown, images, sources, metric, current)
    with beside:
        st.selectbox("Order", list(ORDERS), format_func=ORDERS.__getitem__, **state.widget("order", order))
        if len(picked) > 1:
            scatter(images, picked, metric, current)
        put(element("p", " · ".join(f"{'ABCD'[n]}: {one.name}" for n, one in enumerate(picked)), class_="facts"))
        components.table(
            images_table(
                images, [one.name for one in picked], metric, current, pictured,
                lambda name: state.href(state.IMAGES, image=name),
            ),
            key="image-list",
            on_opened=lambda name: view.take("image", name),
        )  # fmt: skip


def _toggle(view: state.View) -> dict[str, Any]:
    """A switch tied to the view."""
    st.session_state["widget-cells"] = view.get("cells") == "all"

    def take() -> None:
        view.take("cells", "all" if st.session_state["widget-cells"] else "")

    return {"key": "widget-cells", "on_change": take}


def choose_class(view: state.View, data: Data) -> int | None:
    """Scores of one class instead of all; None: all."""
    names = [str(i) for i in range(len(data.classes))]
    now = view.get("class")
    if now not in names:
        if now:
            view.unknown.append(f"the class {now[:20]}")
            view.set("class", None)
        now = ""
    st.selectbox(
        "Class",
        ["", *names],
        format_func=lambda key: "all classes" if not key else data.classes[int(key)],
        width=190,
        **state.widget("class", now),
    )
    return int(now) if now else None


def every_cell(board: Board) -> list[Picked]:
    """Every scored cell of every model, in the order of its grid."""
    found: dict[int, Picked] = {}
    for row in board.models:
        for cell in sorted(row.cells, key=lambda c: [_in_grid(v) for v in c.first.grid.values()]):
            if cell.scored:
                name = ", ".join(f"{key}={value}" for key, value in cell.first.grid.items())
                found.setdefault(id(cell), Picked(row, cell, f"{row.model} {name}".strip()))
    return list(found.values())[:MOST_CELLS]


def _in_grid(value: Any) -> tuple[bool, Any]:
    """Numbers by their size and before texts."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (False, value) if number else (True, repr(value))


# ---- scores of images --------------------------------------------------------------------------------------------


@st.cache_resource(show_spinner=False, max_entries=24)
def _scores(_opened: Any, key: str, runs: tuple[int, ...], metric: str, protocol: str) -> ImageScores:
    return load_image_scores(_opened, runs, metric, protocol)


def scores_of(board: Board, picked: list[Picked], label: int | None) -> tuple[str, ImageScores]:
    """A score of each image: the board's own where images have it, else IoU."""
    runs = tuple(one.run.run_id for one in picked)
    name = split_metric(board.metric)[0]
    if label is not None:
        text = board.data.classes[label]
        tried = [f"{name}[{text}]", f"iou[{text}]"]
    else:
        tried = [board.metric, board.data.headline, "miou"]
    for metric in dict.fromkeys(tried):
        found = _scores(store(), version(), runs, metric, board.protocol_hash)
        if len(found.runs):
            return metric, found
    return tried[-1], found


@st.cache_resource(show_spinner=False, max_entries=24)
def _sizes(
    _opened: Any, key: str, run: int, protocol: str, classes: int, background: int | None, label: int | None
) -> dict[str, float] | None:
    try:
        return object_sizes(load_statistics(_opened, run, protocol), classes, background, label)
    except Exception:  # noqa: BLE001 (damaged statistics raise anything; then images have no sizes)
        return None


def sizes_of(board: Board, one: Picked, label: int | None) -> dict[str, float] | None:
    """How large the objects of each image are; None where nothing says it."""
    background = background_of(board)
    if background is None and label is None:
        return None
    return _sizes(store(), version(), one.run.run_id, board.protocol_hash, len(board.data.classes), background, label)


def background_of(board: Board) -> int | None:
    """The class that is no object."""
    kept = header.protocol_of(board).get("background")
    return kept if isinstance(kept, int) and 0 <= kept < len(board.data.classes) else None


@st.cache_resource(show_spinner=False, max_entries=24)
def _pictured(_opened: Any, key: str, runs: tuple[int, ...]) -> frozenset[str]:
    return pictured_ids(_opened, runs)


def current_image(view: state.View, images: Images, pictured: frozenset[str] | None) -> str:
    """The image that is open: the chosen one, else the first that can be shown."""
    asked = view.get("image")
    if asked in images.ids:
        return asked
    if asked:
        view.unknown.append(f"the image {asked[:60]}")
        view.set("image", None)
    return next((name for name in images.ids if pictured is None or name in pictured), images.ids[0])


# ---- what is shown -----------------------------------------------------------------------------------------------


def say_wins(images: Images, picked: list[Picked], metric: str) -> None:
    """How often which model is the better one."""
    said = f"{len(images.ids):,} scored images · {heading(metric)} of each"
    if len(picked) > 1:
        better, same, worse = wins(images.figures, metric)
        said += f" · {picked[0].name} is better on {better:,}, {picked[1].name} on {worse:,}"
        said += f", {same:,} equal" if same else ""
    put(element("p", said, class_="facts"))


def scatter(images: Images, picked: list[Picked], metric: str, current: str) -> None:
    """The scores of the first two models; a click opens the image."""
    both = np.asarray(~np.isnan(images.figures[:2]).any(axis=0))
    ids = [images.ids[at] for at in np.flatnonzero(both)]
    first, second = (scale(metric) * images.figures[n, both] for n in (0, 1))
    figure = figures.images(first.tolist(), second.tolist(), ids, ("A", "B"), heading(metric), current)

    def opened() -> None:
        points = st.session_state["scatter"]["selection"]["points"]
        places = [p.get("customdata") for p in points if p.get("customdata") is not None]
        if places:
            at = places[0][0] if isinstance(places[0], list) else places[0]
            if isinstance(at, int) and 0 <= at < len(ids):
                state.the_view().take("image", ids[at])

    st.plotly_chart(
        figure, width="stretch", key="scatter", on_select=opened, selection_mode="points",
        config={"displayModeBar": False, "scrollZoom": False},
        alt=f"Scores of two models on {len(ids)} images; the list below has the same figures.",
    )  # fmt: skip


@st.cache_resource(show_spinner=False, max_entries=8)
def _own_copy(_data: Data, key: str, folder: str, run: int) -> Dataset | None:
    params = load_run(store(), run).config.get("dataset", {})
    given = params.get("params") if isinstance(params, Mapping) else None
    return own_copy(_data, Path(folder) if folder else None, given if isinstance(given, Mapping) else {})


def data_folder() -> str:
    """Where copies of data sets are looked for; empty where the named folder is not there."""
    try:
        return str(data_dir())
    except BenchError:
        return ""


@st.cache_resource(show_spinner=False, max_entries=60)
def _picture(_board: Board, key: str, image: str, _sources: list[Source], _own: Dataset | None) -> Picture:
    return picture(store(), _board.data, image, _sources, _own)


def show_image(
    view: state.View,
    board: Board,
    shown: list[Picked],
    images: Images,
    sources: list[Source],
    metric: str,
    current: str,
) -> None:
    """One image, large, in panels that move together."""
    folder = data_folder()
    own = _own_copy(board.data, f"{version()}/{board.board_id}", folder, shown[0].run.run_id)
    key = f"{version()}/{board.board_id}/{','.join(one.id for one in shown)}/{folder}"
    made = _picture(board, key, current, sources, own)
    if made.maps or made.truth is not None or made.photo:
        components.viewer(
            viewer_data(
                made, board.data, panels(board, shown, images, metric, current), background_of(board), options(view),
                steps(images, current), view.reset,
            ),
            key="viewer",
            on_changed=take_options,
            on_step=lambda name: state.the_view().take("image", name),
        )  # fmt: skip
    else:
        put(element("h2", current))
        walk(images, current)
    paragraph(said_where(made))


def walk(images: Images, current: str) -> None:
    """The images before and after, where none can be drawn."""
    around = steps(images, current)
    with st.container(horizontal=True, key="walk"):
        for name, text in (("previous", "‹ Previous"), ("next", "Next ›")):
            to = around[name]
            st.button(text, disabled=to is None, on_click=lambda to=to: state.the_view().take("image", to))


def panels(board: Board, shown: list[Picked], images: Images, metric: str, current: str) -> list[tuple[int, str, str]]:
    """Run, title and score of each panel."""
    found = _scores(store(), version(), tuple(one.run.run_id for one in shown), metric, board.protocol_hash)
    at = found.ids.index(current) if current in found.ids else None
    made = []
    for one in shown:
        text = ""
        if at is not None and one.run.run_id in found.runs:
            value = float(found.figures[found.runs.index(one.run.run_id), at])
            text = "" if np.isnan(value) else f"{heading(metric)} {short(metric, value)}"
        made.append((one.run.run_id, one.name, text))
    return made


def steps(images: Images, current: str) -> dict[str, Any]:
    """The images before and after the open one."""
    at = images.ids.index(current)
    return {
        "previous": images.ids[at - 1] if at else None,
        "next": images.ids[at + 1] if at + 1 < len(images.ids) else None,
        "text": f"{at + 1:,} of {len(images.ids):,}",
    }


def options(view: state.View) -> dict[str, Any]:
    """How the viewer begins."""
    try:
        opacity = min(1.0, max(0.1, float(view.get("opacity"))))
    except ValueError:
        opacity = 0.55
    return {
        "mode": view.get("way"),
        "opacity": opacity,
        "outline": view.get("outline") != "no",
        "palette": view.get("palette"),
        "only": None,
    }


def take_options(said: Mapping[str, Any]) -> None:
    """What the reader set in the viewer, into the view."""
    view = state.the_view()
    view.take("way", str(said.get("mode", "")))
    view.take("outline", "yes" if said.get("outline") else "no")
    view.take("palette", str(said.get("palette", "")))
    opacity = said.get("opacity")
    if isinstance(opacity, int | float):
        view.take("opacity", f"{opacity:g}")
