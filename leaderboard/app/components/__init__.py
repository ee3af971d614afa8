"""The parts of pages that the browser draws itself: table, image viewer, copy of the link. No build step, no request.

Each has a JavaScript and a CSS file here, which the static site uses as they are. Data goes to them as JSON, and every
text of it is set as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent


def source(name: str) -> str:
    """The text of a file of this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _registered(name: str) -> Any:
    html = f'<div class="segbench-{name}"></div>'
    return st.components.v2.component(f"segbench_{name}", html=html, css=source(f"{name}.css"), js=source(f"{name}.js"))


def _nothing() -> None:
    """Streamlit passes on only what somebody listens to."""


def table(
    data: Mapping[str, Any],
    key: str,
    on_changed: Callable[[Mapping[str, Any]], None] | None = None,
    on_opened: Callable[[str], None] | None = None,
) -> None:
    """A table.

    Args:
        data: of `leaderboard.shown.ranking.table_data`.
        key: of this table in the app.
        on_changed: told of sorting, searching, filters and picks.
        on_opened: told of the id of a row whose link was followed.
    """

    def changed() -> None:
        value = st.session_state[key].get("changed")
        if on_changed is not None and isinstance(value, Mapping):
            on_changed(value)

    def opened() -> None:
        value = st.session_state[key].get("opened")
        if on_opened is not None and isinstance(value, str):
            on_opened(value)

    _registered("table")(key=key, data=dict(data), on_changed_change=changed, on_opened_change=opened, height="content")


def viewer(
    data: Mapping[str, Any],
    key: str,
    on_changed: Callable[[Mapping[str, Any]], None],
    on_step: Callable[[str], None],
) -> None:
    """The image viewer.

    Args:
        data: of `leaderboard.shown.pictures.viewer_data`.
        key: of this viewer in the app.
        on_changed: told of mode, opacity, outline, palette and class.
        on_step: told of the image that is wanted next.
    """

    def changed() -> None:
        value = st.session_state[key].get("changed")
        if isinstance(value, Mapping):
            on_changed(value)

    def step() -> None:
        value = st.session_state[key].get("step")
        if isinstance(value, str):
            on_step(value)

    _registered("viewer")(key=key, data=dict(data), on_changed_change=changed, on_step_change=step, height="content")


def share() -> None:
    """A button that copies the address."""
    _registered("share")(key="share", height="content", width="content")
