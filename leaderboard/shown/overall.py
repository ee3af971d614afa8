"""A suite over its data sets, as the data of tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leaderboard.boards.estimate import Interval
from leaderboard.shown.lists import text_cell
from leaderboard.shown.ranking import TableData, table_data
from leaderboard.shown.text import NONE, heading, short
from leaderboard.stats.overall import FEWEST, OnDataSet, Overall, OverallGroup, OverallRow, place_text, places_text

PAIRS = "Better on other data sets like these"
WITHOUT = "Without one of the data sets"


def how_overall(found: Overall) -> str:
    """What the figures are, in a paragraph."""
    percent = f"{100 * found.level:.0f} %"
    return (
        f"{found.asks} Places, their means and gaps hold at {percent} for all models of a group and all data sets "
        "together. The gap is the mean figure minus that of the best other model, each data set in units of the "
        "standard deviation between models. A model without a figure on a data set takes the last place there."
    )


def overall_table(group: OverallGroup) -> TableData:
    """Models × data sets with places, mean places and gaps."""
    columns: list[dict[str, Any]] = [
        {"id": "rank", "title": "#", "num": True},
        {"id": "model", "title": "Model", "head": True},
        {"id": "mean", "title": "Mean place", "num": True, "better": -1,
         "help": "The mean of its places, and where that of its true places lies."},
        {"id": "gap", "title": "Gap", "num": True, "better": 1,
         "help": "Mean standardised figure minus that of the best other model; above 0 is better."},
    ]  # fmt: skip
    columns += [
        {"id": f"on-{n}", "title": one.title, "num": True, "help": heading(one.metric), "better": -1}
        for n, one in enumerate(group.data_sets)
    ]
    if group.new_level is not None:
        said = f"In which places it stands on {100 * group.new_level:.0f} % of data sets like these."
        columns.append({"id": "new", "title": "On another", "num": True, "help": said})
    rows = [_row(group, i, row) for i, row in enumerate(group.rows)]
    return table_data(
        f"overall-{'-'.join(one.board_id[:4] for one in group.data_sets)}-{group.heading}",
        columns,
        rows,
        name="Overall",
        caption="In each cell: the places it may have, and its figure. Gap: 1 is a standard deviation of models.",
        searchable=len(rows) > 12,
        searchLabel="Search models",
    )


def _row(group: OverallGroup, i: int, row: OverallRow) -> dict[str, Any]:
    gap = f"{row.gap:+.2f}".replace("-", "−")
    ends = "" if row.gap_interval is None else _between(row.gap_interval, lambda v: f"{v:+.2f}".replace("-", "−"))
    cells: dict[str, Any] = {
        "rank": {"t": str(row.place), "v": row.place},
        "model": text_cell(row.name),
        "mean": {"t": place_text(row.mean_place), "v": row.mean_place, "s": _between(row.mean_places, place_text),
                 "b": i in group.best and row.place == 1, "mark": "≈" if i in group.best and row.place > 1 else ""},
        "gap": {"t": gap, "v": row.gap, "s": ends},
        **{f"on-{n}": _on(data.metric, one) for n, (data, one) in enumerate(zip(group.data_sets, row.on, strict=True))},
    }  # fmt: skip
    if row.new_places is not None:
        low, high = place_text(row.new_places.low), place_text(row.new_places.high)
        cells["new"] = {"t": low if low == high else f"{low}–{high}", "v": row.new_places.low}
    return {"id": row.name, "name": row.name, "search": row.name, "cells": cells}


def _on(metric: str, one: OnDataSet) -> dict[str, Any]:
    if one.figure is None:
        return {"t": places_text(one), "v": one.place, "s": NONE, "title": one.why_last}
    return {"t": places_text(one), "v": one.place, "s": short(metric, one.figure)}


def _between(interval: Interval, write: Callable[[float], str]) -> str:
    return f"[{write(interval.low)}, {write(interval.high)}]"


def pairs_table(group: OverallGroup) -> TableData:
    """Who is better than whom on data sets like these."""
    columns: list[dict[str, Any]] = [
        {"id": "better", "title": "Better", "head": True},
        {"id": "worse", "title": "Than"},
        {"id": "wins", "title": "Data sets won : lost", "num": True},
        {"id": "chance", "title": "p (Holm)", "num": True},
    ]
    rows = [
        {
            "id": str(n),
            "name": f"{one.better} {one.worse}",
            "cells": {
                "better": text_cell(one.better),
                "worse": text_cell(one.worse),
                "wins": {"t": f"{one.wins} : {one.losses}", "v": one.wins - one.losses},
                "chance": {"t": f"{one.chance:.3f}", "v": one.chance},
            },
        }
        for n, one in enumerate(group.claims)
    ]
    return table_data(f"pairs-{group.heading}", columns, rows, name=PAIRS)


def left_out_table(group: OverallGroup) -> TableData:
    """The order without each of the data sets."""
    columns: list[dict[str, Any]] = [
        {"id": "without", "title": "Without", "head": True},
        {"id": "tau", "title": "Kendall’s τ", "num": True, "help": "With the whole order: 1 the same, −1 reversed."},
        {"id": "order", "title": "Order by mean place"},
    ]
    rows = [
        {
            "id": str(n),
            "name": one.title,
            "cells": {
                "without": text_cell(one.title),
                "tau": {"t": NONE if one.tau is None else f"{one.tau:.2f}".replace("-", "−"), "v": one.tau},
                "order": text_cell(", ".join(one.order)),
            },
        }
        for n, one in enumerate(group.left_out)
    ]
    return table_data(f"left-out-{group.heading}", columns, rows, name=WITHOUT)


def no_overall(suite: str) -> str:
    """Why a suite has no such page."""
    return (
        f"The suite {suite} has scores on one data set, or none that two models have a figure on. This page needs two "
        f"data sets of one suite, and {FEWEST} to say something of others."
    )
