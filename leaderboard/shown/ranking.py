"""A board as the data of the table component: every row once, with its interval, its gap, its costs and its facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import find_metric, higher_is_better
from leaderboard.boards.board import Board, Row
from leaderboard.boards.notes import ceiling_text
from leaderboard.boards.walls import FACTS
from leaderboard.boards.walls import heading as wall_heading
from leaderboard.shown.costs import COSTS, Cost, cost_of
from leaderboard.shown.counts import Counts
from leaderboard.shown.text import NONE, between, full, heading, model_id, places, row_id, run_id, scale, short, signed
from leaderboard.stats.row import RowSignificance
from leaderboard.stats.significance import BoardSignificance
from leaderboard.tables.table import mark

Link = Callable[[str, str], str]
"""What something is (`model`, `run`) and its id -> where its page is."""
TableData = dict[str, Any]

# More rows than this, and only the first group is open.
MANY = 40


def ranking(
    board: Board,
    significance: BoardSignificance,
    counts: Mapping[int, Counts],
    metrics: Sequence[str],
    link: Link,
) -> TableData:
    """The ranked table.

    Args:
        board: the whole of it.
        significance: of the same board.
        counts: run -> what its evaluation counted apart from scores.
        metrics: the scores beside the one that ranks.
        link: where pages are.
    """
    said = {id(row): one for row, one in zip(board.rows, significance.rows, strict=True)}
    bold = {id(g.rows[i]) for g, of in zip(board.groups, significance.groups, strict=True) for i in of.best}
    costs = {id(row): cost_of(row.cell.runs) for row in board.rows}
    columns = [*_columns(board, significance, metrics), *_cost_columns(costs), *_fact_columns(board)]
    columns.append(_column("seeds", "Seeds", "Seeds that ended of all seeds.", num=True))
    rows = []
    for group in board.groups:
        for row in group.rows:
            shown = _row(board, row, said[id(row)], costs[id(row)], counts, metrics, link)
            shown["cells"]["main"]["b"] = row.rank == 1 and id(row) in bold
            rows.append({**shown, "group": group.heading})
    several = len(board.groups) > 1
    groups = [
        {
            "id": group.heading,
            "heading": _up(group.heading) if several else "",
            "note": of_group.verdict if several and n else "",
            "open": n == 0 or len(rows) <= MANY,
        }
        for n, (group, of_group) in enumerate(zip(board.groups, significance.groups, strict=True))
    ]
    return table_data(
        f"ranking-{board.board_id}-{board.metric}",
        columns,
        rows,
        groups=groups,
        name="Ranking",
        caption=caption(significance),
        searchable=len(rows) > 6,
        searchLabel="Search models",
        facts=_chips(board),
        precise=True,
        pick=4,
        reasonFrom=columns[2]["id"],
        empty="This board has no run yet.",
    )


def table_data(
    id: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], **more: Any
) -> TableData:
    """The data of the table component; its version changes with what it shows."""
    data: TableData = {"id": id, "columns": list(columns), "rows": list(rows), "view": {}, "reset": 0, **more}
    seen = {key: value for key, value in data.items() if key not in ("view", "reset")}
    text = json.dumps(seen, sort_keys=True, default=str)
    return {**data, "version": hashlib.sha256(text.encode()).hexdigest()[:16]}


def caption(significance: BoardSignificance) -> str:
    """What the dots and lines of the table are."""
    if not significance.sample:
        return "Dot: mean over seeds."
    percent = f"{100 * significance.level:.0f} %"
    return (
        f"Dot: mean over seeds. Line: {percent} interval ({significance.sample}). Rank: the places a row may have. "
        "Hollow dot: may be the best."
    )


def _column(id: str, title: str, help: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id, "title": title, "help": help, **more}


def _columns(board: Board, significance: BoardSignificance, metrics: Sequence[str]) -> list[dict[str, Any]]:
    metric = find_metric(board.metric)
    better = 1 if higher_is_better(board.metric) else -1
    ends = [
        scale(board.metric) * end
        for row in significance.rows
        for end in ((row.interval.low, row.interval.high) if row.interval else (row.figure, row.figure))
        if end is not None
    ]
    axis = [min(ends), max(ends)] if ends else [0, 1]
    pad = 0.04 * ((axis[1] - axis[0]) or 1)
    found = [
        _column("rank", "Rank", "The places it may have within its group, for all rows together.", num=True),
        _column("model", "Model", head=True),
        _column(
            "main",
            heading(board.metric),
            metric.definition,
            num=True,
            better=better,
            axis=[axis[0] - pad, axis[1] + pad],
        ),
        _column("gap", "To the best", "Difference to the best other row, with its interval.", num=True, better=better),
    ]
    found += [
        _column(f"metric-{name}", heading(name), find_metric(name).definition, num=True, priority=2,
                better=1 if higher_is_better(name) else -1)
        for name in metrics
        if name != board.metric
    ]  # fmt: skip
    return found


def _cost_columns(costs: Mapping[int, Cost]) -> list[dict[str, Any]]:
    """The costs that any row has."""
    return [
        _column(cost.name, cost.title, cost.help, num=True, better=-cost.sign, priority=2 if cost.usual else 3)
        for cost in COSTS
        if any(cost.value(own) is not None for own in costs.values())
    ]


def _fact_columns(board: Board) -> list[dict[str, Any]]:
    found = [
        _column("missed", "Missed", "Times that an image holds a class and its label map does not: all classes, mean "
                "over seeds.", num=True, better=-1, priority=3),
        _column("undefined", "Undefined", "Classes without a figure of the metric that ranks, mean over seeds.",
                num=True, better=-1, priority=3),
        _column("ceiling", "Ceiling", "What a network would score that is perfect at its input size: what resolution "
                "alone costs. Point at a figure to see the size.", num=True, priority=3),
        _column("grid", "Chosen by val" if board.chosen_by == "val" else "Hyperparameters",
                "The hyperparameters of the row.", priority=3),
        *(_column(fact.name, _up(fact.column), priority=3) for fact in board.facts),
    ]  # fmt: skip
    idle = set()
    if not any(row.cell.first.grid for row in board.rows):
        idle.add("grid")
    if not any(row.ceiling and board.metric in row.ceiling.scores for row in board.rows):
        idle.add("ceiling")
    return [one for one in found if one["id"] not in idle]


def _row(
    board: Board,
    row: Row,
    said: RowSignificance,
    cost: Cost,
    counts: Mapping[int, Counts],
    metrics: Sequence[str],
    link: Link,
) -> dict[str, Any]:
    first, metric = row.cell.first, board.metric
    rank = row.rank if said.places is None else said.places[0]
    interval = said.interval
    figure = said.figure
    main: dict[str, Any] = {"t": short(metric, figure), "f": full(metric, figure), "v": figure}
    if figure is not None:
        ends = (None, None) if interval is None else (interval.low, interval.high)
        at = [None if v is None else scale(metric) * v for v in (ends[0], figure, ends[1])]
        main |= {"iv": at, "s": between(metric, *ends), "maybe": bool(said.may_be_best) and row.rank != 1}
    name = row.model + (f" {grid_text(first.grid)}" if said.name != row.model and first.grid else "")
    cells: dict[str, Any] = {
        # Sorted by rank, rows whose intervals begin alike stay in the order of their figures.
        "rank": {"t": places(said.places, row.rank), "v": None if rank is None else [rank, row.rank or 0]},
        "model": {"t": name, "v": name.lower(), "mark": mark(row).strip()},
        "main": main,
        "gap": _gap(metric, said, row),
        "missed": _count([counts[r.run_id].missed for r in row.cell.scored if r.run_id in counts]),
        "undefined": _count([counts[r.run_id].undefined_of(metric) for r in row.cell.scored if r.run_id in counts]),
        "ceiling": _ceiling(metric, row),
        "grid": {"t": grid_text(first.grid) or NONE, "v": grid_text(first.grid)},
        "seeds": {"t": f"{said.ended} of {said.seeds}", "v": said.ended, "title": row.cell.incomplete()},
    }
    for other in metrics:
        own = row.cell.test(other)
        cells[f"metric-{other}"] = {"t": short(other, own.mean), "f": full(other, own.mean), "v": own.mean}
    for one in COSTS:
        cells[one.name] = one.cell(cost)
    facts = {fact.name: fact.text(row.wall) for fact in FACTS}
    for key, text in facts.items():
        cells[key] = {"t": text or NONE, "v": text}
    shown = {
        "id": row_id(row),
        "name": name,
        "search": " ".join([name, first.model_name, grid_text(first.grid), *facts.values()]),
        "facts": facts,
        "cells": _plain(cells),
        "link": link("model", model_id(first)),
        "open": model_id(first),
        "state": "partial" if row.cell.failed else "ok",
    }
    if figure is None:
        shown |= _why_none(row, link)
    return shown


def _plain(cells: dict[str, Any]) -> dict[str, Any]:
    """A pair that sorts as a number that does."""
    rank = cells["rank"]
    if rank["v"] is not None:
        rank["v"] = rank["v"][0] + rank["v"][1] / 1e6
    return cells


def _why_none(row: Row, link: Link) -> dict[str, Any]:
    """What a row without a figure says instead: once, with a way to its log."""
    bad = [r for r in row.cell.runs if r.reason or r.problem]
    states = row.cell.incomplete() or "not scored"
    if not bad:
        return {"reason": states, "state": "waiting", "pick": False}
    reasons = list(dict.fromkeys((r.problem or r.reason) for r in bad))
    more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
    first = bad[0]
    return {
        "reason": f"{states}: {reasons[0][:220]}{more}",
        "state": "failed",
        "pick": False,
        "log": {"href": link("run", run_id(first)), "id": f"run:{run_id(first)}"},
    }


def _gap(metric: str, said: RowSignificance, row: Row) -> dict[str, Any]:
    if said.gap is None:
        return {"t": NONE, "v": None, "title": said.note}
    ends = said.gap_interval
    text = between(metric, ends.low, ends.high, difference=True) if ends else ""
    return {
        "t": "best" if row.rank == 1 else signed(metric, said.gap),
        "f": "best" if row.rank == 1 else f"{scale(metric) * said.gap:+.12g}",
        "v": said.gap,
        # What cannot be told apart from the best is said in the cell, not by colour alone.
        "mark": "≈" if said.may_be_best and row.rank != 1 else "",
        "title": f"{signed(metric, said.gap)} {text} {said.note}".strip(),
    }


def _ceiling(metric: str, row: Row) -> dict[str, Any]:
    value = row.ceiling.scores.get(metric) if row.ceiling else None
    title = ceiling_text(row.ceiling) if row.ceiling else ""
    return {"t": short(metric, value), "f": full(metric, value), "v": value, "title": title}


def _count(values: Sequence[int]) -> dict[str, Any]:
    if not values:
        return {"t": NONE, "v": None}
    mean = sum(values) / len(values)
    return {"t": f"{mean:.0f}" if mean == int(mean) else f"{mean:.1f}", "v": mean}


def _chips(board: Board) -> list[dict[str, Any]]:
    """The facts that keep rows apart, as filters."""
    return [
        {
            "id": fact.name,
            "title": _up(fact.column),
            "values": list(dict.fromkeys(text for row in board.rows if (text := fact.text(row.wall)))),
        }
        for fact in board.facts
    ]


def _up(text: str) -> str:
    return text[:1].upper() + text[1:]


def setting(board: Board) -> str:
    """What all rows have in common, in plain words."""
    return wall_heading(board.rows[0].wall, FACTS) if len(board.groups) == 1 else ""
