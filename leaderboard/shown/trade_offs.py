"""Scores against costs, and the grids of hyperparameters, ours and reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from harness.config.grid import grid_text
from harness.metrics.metric import metric_title
from leaderboard.boards.board import Board, Row
from leaderboard.shown.costs import COSTS, Kind, cost_of
from leaderboard.shown.figures import Priced
from leaderboard.shown.figures import grid as heat_map
from leaderboard.shown.names import row_names
from leaderboard.shown.ranking import TableData, table_data
from leaderboard.shown.text import NONE, full, heading, scale, short
from leaderboard.stats.significance import BoardSignificance
from leaderboard.tables.references import Reference
from leaderboard.tables.reported import of_board


def kinds_of(board: Board) -> list[Kind]:
    """The costs that are known of at least two rows, or of one where there is but one."""
    found = []
    for kind in COSTS:
        known = [row for row in board.rows if cost_of(row.cell.runs).value(kind.name) is not None]
        if len(known) >= min(2, len(board.rows)):
            found.append(kind)
    return found


def machines(board: Board, kind: Kind) -> list[str]:
    """The machines that a cost was measured on: figures of different ones are drawn apart."""
    if not kind.by_machine:
        return [""]
    costs = [cost_of(row.cell.runs) for row in board.rows]
    return list(dict.fromkeys(kind.said(c) for c in costs if c.value(kind.name) is not None))


def priced(board: Board, significance: BoardSignificance, kind: Kind, machine: str) -> list[Priced]:
    """The rows that have the score and the cost."""
    factor = scale(board.metric)
    names = row_names(board)
    headings = {id(row): group.heading for group in board.groups for row in group.rows}
    found = []
    for row, said in zip(board.rows, significance.rows, strict=True):
        cost = cost_of(row.cell.runs)
        value = kind.value(cost)
        if value is None or said.figure is None or (kind.by_machine and kind.said(cost) != machine):
            continue
        ends = said.interval
        found.append(
            Priced(
                name=names[id(row)],
                group=headings[id(row)],
                cost=value,
                figure=factor * said.figure,
                low=None if ends is None else factor * ends.low,
                high=None if ends is None else factor * ends.high,
                note=kind.said(cost),
            )
        )
    return found


def priced_table(points: Sequence[Priced], on_front: Sequence[Priced], kind: Kind, metric: str) -> TableData:
    """The same figures as a table."""
    front = {id(p) for p in on_front}
    columns: list[dict[str, Any]] = [
        {"id": "name", "title": "Model", "head": True},
        {"id": "group", "title": "Group", "priority": 2},
        {"id": "figure", "title": heading(metric), "num": True, "better": 1},
        {"id": "cost", "title": kind.axis, "num": True, "better": -kind.sign},
        {"id": "front", "title": "Nothing is cheaper and better"},
    ]
    rows: list[dict[str, Any]] = [
        {
            "id": f"{n}",
            "name": p.name,
            "search": f"{p.name} {p.group}",
            "cells": {
                "name": {"t": p.name, "v": p.name.lower()},
                "group": {"t": p.group or NONE, "v": p.group},
                "figure": {"t": short(metric, p.figure / scale(metric)), "v": p.figure},
                "cost": {"t": f"{p.cost:,.4g}", "v": p.cost, "title": p.note},
                "front": {"t": "✓" if id(p) in front else "", "v": id(p) in front or None},
            },
        }
        for n, p in enumerate(points)
    ]
    return table_data(f"priced-{kind.name}-{metric}", columns, rows, name="Scores and costs", height="30rem")


# ---- grids -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A score over two axes of hyperparameters."""

    title: str
    across: tuple[str, ...]
    down: tuple[str, ...]
    axes: tuple[str, str]
    """What stands across, and down."""
    values: tuple[tuple[float | None, ...], ...]
    """As they are drawn; None where there is nothing."""
    texts: tuple[tuple[str, ...], ...]
    exact: tuple[tuple[str, ...], ...] = ()
    """At full precision."""


def our_grids(board: Board, metric: str) -> list[Grid]:
    """One for each model that has several cells."""
    found = []
    for row in board.models:
        axes = [a for a in row.cells[0].first.grid if len({repr(c.first.grid.get(a)) for c in row.cells}) > 1]
        if len(row.cells) > 1 and axes:
            found.append(_our_grid(row, axes, metric))
    return found


def _our_grid(row: Row, axes: Sequence[str], metric: str) -> Grid:
    down, rest = axes[0], list(axes[1:])
    downs = _values([cell.first.grid.get(down) for cell in row.cells])
    acrosses = _values([tuple(cell.first.grid.get(a) for a in rest) for cell in row.cells])
    means = {
        (repr(cell.first.grid.get(down)), repr(tuple(cell.first.grid.get(a) for a in rest))): cell.test(metric).mean
        for cell in row.cells
    }
    lines = [[means.get((repr(d), repr(a))) for a in acrosses] for d in downs]
    return Grid(
        title=f"{row.model}: {heading(metric)}",
        across=tuple(grid_text(dict(zip(rest, a, strict=True)), " ") or metric_title(metric) for a in acrosses),
        down=tuple(grid_text({down: d}) for d in downs),
        axes=(", ".join(rest), down),
        values=tuple(tuple(None if v is None else scale(metric) * v for v in line) for line in lines),
        texts=tuple(tuple(short(metric, v) for v in line) for line in lines),
        exact=tuple(tuple(full(metric, v) for v in line) for line in lines),
    )


def _values(values: Iterable[Any]) -> list[Any]:
    """Each once, by size where they are numbers."""
    once = list({repr(v): v for v in values}.values())
    try:
        return sorted(once)
    except TypeError:
        return sorted(once, key=repr)


def reported_like(board: Board, references: Iterable[Reference], ours: Grid, row: Row, metric: str) -> Grid | None:
    """What was reported for the same grid, in the same places; None where nothing was."""
    for reference in of_board(board, references):
        if row.model not in reference.ours or len(reference.rows) < 2:
            continue
        found = {}
        for one in reference.rows:
            down = ours.axes[1]
            rest = [a.strip() for a in ours.axes[0].split(",") if a.strip()]
            if down in one.grid and all(a in one.grid for a in rest) and metric in one.metrics:
                key = (grid_text({down: one.grid[down]}), grid_text({a: one.grid[a] for a in rest}, " "))
                found[key] = one.metrics[metric]
        if not found:
            continue
        lines = [[found.get((d, a)) for a in ours.across] for d in ours.down]
        mark = reference.mark(metric, board.protocol_name)
        return Grid(
            title=f"{reference.model}, reported: {heading(metric)}{mark} ({reference.source})",
            across=ours.across,
            down=ours.down,
            axes=ours.axes,
            values=tuple(tuple(None if v is None else scale(metric) * v for v in line) for line in lines),
            texts=tuple(tuple(short(metric, v) for v in line) for line in lines),
        )
    return None


def draw_grids(grid: Grid) -> go.Figure:
    """A grid as a heat map."""
    return heat_map(grid.values, grid.across, grid.down, grid.texts, grid.axes)
