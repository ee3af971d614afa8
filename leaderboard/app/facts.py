"""Pairs of a name and a text on a page."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.app.inert import element, put, together


def pairs(facts: Sequence[tuple[str, str]]) -> None:
    """Short facts in columns."""
    put(
        element(
            "dl",
            together(*(element("div", together(element("dt", name), element("dd", text))) for name, text in facts)),
            class_="pairs",
        )
    )


def lines(facts: Sequence[tuple[str, str]]) -> None:
    """Longer facts, one below the other."""
    rows = [together(element("dt", name), element("dd", text)) for name, text in facts]
    put(element("dl", together(*rows), class_="method"))
