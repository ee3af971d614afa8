"""Which model is best over the data sets of a suite."""

from __future__ import annotations

import streamlit as st

from leaderboard.app import components, state
from leaderboard.app.data import Chosen, overall_of, suite_of
from leaderboard.app.inert import cut, element, notice, paragraph, put
from leaderboard.shown.overall import (
    PAIRS,
    WITHOUT,
    how_overall,
    left_out_table,
    no_overall,
    overall_table,
    pairs_table,
)
from leaderboard.stats.overall import OverallGroup

TITLE, URL, ORDER = "Overall", state.OVERALL, 5


def show() -> None:
    """The page."""
    chosen: Chosen = st.session_state["chosen"]
    try:
        own = suite_of(chosen)
        found = overall_of(own, chosen.question) if own else None
    except Exception as error:  # noqa: BLE001 (the statistics of a damaged database raise whatever they do)
        put(element("h1", "Overall"))
        notice("warning", "The stored statistics cannot be read: ", (str(error).splitlines() or [""])[0][:200])
        return
    if own and found is None:
        put(element("h1", "Overall"))
        paragraph("The boards of this suite are being resampled…")
        wait_for_it()
    elif found is None or not found.groups:
        put(element("h1", "Overall"))
        notice("info", no_overall(chosen.summary.suite))
    else:
        put(element("h1", cut(found.groups[0].verdict)))
        paragraph(how_overall(found))
        for n, group in enumerate(found.groups):
            show_group(n, group)
        for text in found.remarks:
            paragraph(f"• {text}")


@st.fragment(run_every=1.0)
def wait_for_it() -> None:
    """Ask again until it is there; then the whole page is drawn."""
    chosen: Chosen = st.session_state["chosen"]
    if overall_of(suite_of(chosen), chosen.question) is not None:
        st.rerun()


def show_group(number: int, group: OverallGroup) -> None:
    """Models that are ranked together: on these data sets, on others, without one of them."""
    if group.heading:
        put(element("h2", group.heading[:1].upper() + group.heading[1:]))
    if number:
        paragraph(group.verdict)
    components.table(overall_table(group), key=f"overall-{number}")
    put(element("h2", PAIRS))
    paragraph(group.other)
    if group.claims:
        components.table(pairs_table(group), key=f"pairs-{number}")
    put(element("h2", WITHOUT))
    paragraph(group.stability)
    components.table(left_out_table(group), key=f"left-out-{number}")
