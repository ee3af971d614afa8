"""What the signs in a table mean, in sentences under it."""

from __future__ import annotations

from leaderboard.tables.figure_text import Style
from leaderboard.tables.table import Table


def legend(table: Table, style: Style) -> list[str]:
    """A line on what stands behind a mean, where the table has it."""
    if style.spread == "std" and any(figure.std is not None for line in table.figures for figure in line):
        return ["±: standard deviation (n − 1) over seeds."]
    return []
