"""Text of a database that does nothing: no Markdown, no HTML, no LaTeX, no link, no outside request.

A label, a class, an image's id, a reason or a title is written by whoever made the run. Text that is shown goes through
`element` (HTML) or `st.code`; only where Streamlit takes nothing but Markdown (labels of buttons, tabs and expanders)
through `plain`; in a Plotly figure through `leaderboard.shown.figures.label`.
"""

from __future__ import annotations

import re

import streamlit as st

from leaderboard.shown.markup import Html, element, together

__all__ = ["Html", "cut", "element", "notice", "paragraph", "plain", "put", "together"]

# After these, text is read on: links, shortcodes of emoji and icons, addresses.
_JOINER = "\u2060"
_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~^=&'\"/])")


def put(*parts: Html) -> None:
    """Put HTML on the page."""
    st.html(Html("").join(parts))


def cut(text: str, most: int = 260) -> str:
    """A text that is not longer than a heading can be."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def paragraph(text: str, class_: str = "said") -> None:
    """A paragraph of plain text."""
    put(element("p", text, class_=class_))


def plain(text: str, most: int = 120) -> str:
    r"""Text as Markdown that reads as the text does.

    Every sign that Markdown, LaTeX or Streamlit's own directives know is escaped. A backslash does not hold the
    detection of bare addresses and of `:shortcodes:`, which looks at the finished text: an invisible joiner does.
    """
    flat = " ".join(str(text).split())
    cut = flat if len(flat) <= most else flat[: most - 1] + "…"
    escaped = _SIGNS.sub(r"\\\1", cut)
    return re.sub(r"(:|@|[wW]{3})", rf"\1{_JOINER}", escaped)


def notice(kind: str, *parts: str | Html) -> None:
    """A box that says something: `info`, `warning` or `error`."""
    role = "alert" if kind == "error" else "status"
    put(element("div", together(*parts), class_=f"notice {kind}", role=role))
