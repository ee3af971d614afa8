"""The look of the pages beyond Streamlit's own."""

from __future__ import annotations

import streamlit as st
from PIL import Image, ImageDraw

from leaderboard.app.components import source


def put() -> None:
    """Put the style sheet on the page."""
    st.html(f"<style>{source('page.css')}</style>")


def icon() -> Image.Image:
    """Three bars. An icon of Streamlit's own would be asked of another host."""
    made = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    pen = ImageDraw.Draw(made)
    for left, top, colour in ((4, 30, "#0072B2"), (24, 8, "#D55E00"), (44, 42, "#009E73")):
        pen.rectangle((left, top, left + 15, 60), fill=colour)
    return made
