"""What the signs in a table mean, in sentences under it."""

from __future__ import annotations

from leaderboard.tables.figure_text import Style
from leaderboard.tables.table import Table


def legend(table: Table, style: Style) -> list[str]:
    """One line on bold, underlined and what stands behind a mean, as far as the table has them."""
    said = []
    if any(table.best):
        among = " of each group" if len(table.groups) > 1 and table.counted else ""
        said.append(f"Bold: best mean{among}" + ("; underlined: second best" if any(table.second) else ""))
    if style.spread == "std" and any(figure.std is not None for line in table.figures for figure in line):
        said.append("±: standard deviation (n − 1) over seeds")
    return [". ".join(filter(None, said)) + "."] if said else []
