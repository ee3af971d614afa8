"""Further tables of a board: cells, classes, conventions, reported figures, runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import find_metric, higher_is_better, is_known
from leaderboard.boards.board import Board, Row
from leaderboard.queries.load import ScoredRun
from leaderboard.shown.names import row_names
from leaderboard.shown.ranking import Link, TableData, table_data
from leaderboard.shown.text import (
    NONE,
    cell_id,
    full,
    heading,
    lasting,
    model_id,
    on_day,
    row_id,
    run_id,
    scale,
    short,
)
from leaderboard.stats.stability import GroupStability
from leaderboard.tables.reported import Beside

Cell = dict[str, Any]


def figure_cell(metric: str, value: float | None, spread: float | None = None) -> Cell:
    """A figure with its deviation over seeds."""
    cell: Cell = {"t": short(metric, value), "f": full(metric, value), "v": value}
    if value is not None and spread is not None:
        cell["s"] = f"± {short(metric, spread)}"
    return cell


def text_cell(text: str, **more: Any) -> Cell:
    """A text, sorted as it reads."""
    return {"t": text or NONE, "v": text.lower() or None, **more}


def cells_table(board: Board, link: Link) -> TableData:
    """Every cell of every model, with the val score that chooses among them."""
    metric, select = board.metric, board.selection["metric"]
    axes = list(dict.fromkeys(axis for row in board.rows for cell in row.cells for axis in cell.first.grid))
    shown = {cell_id(row.cell) for row in board.rows}
    columns: list[dict[str, Any]] = [
        {"id": "model", "title": "Model", "head": True},
        *({"id": f"axis-{axis}", "title": axis, "num": True} for axis in axes),
        {"id": "main", "title": heading(metric), "num": True, "better": 1 if higher_is_better(metric) else -1},
        {"id": "val", "title": f"{_title(select)} on val", "num": True, "better": 1},
        {"id": "chosen", "title": "Chosen"},
        {"id": "seeds", "title": "Seeds", "num": True},
    ]
    rows: list[dict[str, Any]] = []
    for cell, model in {id(cell): (cell, row.model) for row in board.models for cell in row.cells}.values():
        own, score = cell.test(metric), cell.selection_score()
        rows.append(
            {
                "id": model_id(cell.first),
                "name": model,
                "search": f"{model} {grid_text(cell.first.grid)}",
                "link": link("model", model_id(cell.first)),
                "cells": {
                    "model": text_cell(model),
                    **{f"axis-{axis}": _axis(cell.first.grid.get(axis)) for axis in axes},
                    "main": figure_cell(metric, own.mean, own.std),
                    "val": figure_cell(select, score) if _known(select) else {"t": NONE, "v": score},
                    "chosen": {"t": "✓" if cell_id(cell) in shown else "", "v": cell_id(cell) in shown or None},
                    "seeds": {"t": f"{len(cell.scored)} of {len(cell.runs)}", "v": len(cell.scored)},
                },
            }
        )
    return table_data(f"cells-{board.board_id}-{metric}", columns, rows, name="Every cell", searchable=len(rows) > 12)


def _known(metric: str) -> bool:
    return is_known(metric)


def _title(metric: str) -> str:
    return heading(metric) if _known(metric) else metric


def _axis(value: Any) -> Cell:
    if value is None:
        return {"t": NONE, "v": None}
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return {"t": text, "v": value if isinstance(value, int | float) and not isinstance(value, bool) else text}


def class_table(board: Board, metric: str, link: Link) -> TableData:
    """One score of every class, a line for each class and a column for each row of the board."""
    rows_of = [row for row in board.rows if row.cell.scored][:12]
    better = higher_is_better(metric)
    columns: list[dict[str, Any]] = [{"id": "class", "title": "Class", "head": True}]
    of_row = row_names(board)
    names = [of_row[id(row)] for row in rows_of]
    columns += [
        {"id": f"row-{n}", "title": name, "num": True, "better": 1 if better else -1, "priority": 1 if n < 2 else 2}
        for n, name in enumerate(names)
    ]
    lines = []
    for at, label in enumerate(board.data.classes):
        figures = [row.cell.test(f"{metric}[{label}]") for row in rows_of]
        cells = {f"row-{n}": figure_cell(metric, f.mean, f.std) for n, f in enumerate(figures)}
        swatch = list(board.data.palette[at]) if at < len(board.data.palette) else None
        lines.append(
            {
                "id": str(at),
                "name": label,
                "search": label,
                "cells": {"class": text_cell(label, v=at, swatch=swatch), **cells},
            }
        )
    note = f" The best {len(rows_of)} of {len(board.rows)} rows." if len(rows_of) < len(board.rows) else ""
    return table_data(
        f"classes-{board.board_id}-{metric}",
        columns,
        lines,
        name="Class by class",
        caption=f"{find_metric(metric).definition}{note} ±: deviation over seeds.",
        searchable=len(lines) > 12,
        searchLabel="Search classes",
    )


def stability_table(group: GroupStability, metric: str) -> TableData:
    """The places of a group's rows under each convention."""
    names = group.rows[:12]
    columns: list[dict[str, Any]] = [
        {"id": "name", "title": "Convention", "head": True},
        {"id": "says", "title": "What differs", "priority": 2},
        {"id": "tau", "title": "Kendall’s τ", "num": True, "help": "1: the same order; −1: the reverse."},
        *({"id": f"row-{n}", "title": name, "num": True, "priority": 2} for n, name in enumerate(names)),
    ]
    rows: list[dict[str, Any]] = []
    for order in group.orders:
        cells: dict[str, Cell] = {
            "name": text_cell(order.name),
            "says": text_cell(order.reason or order.says),
            "tau": {"t": NONE if order.tau is None else f"{order.tau:.2f}", "v": order.tau},
        }
        for n in range(len(names)):
            place, moved = order.places[n], order.moved[n]
            sign = "" if not moved else f" {'▲' if moved > 0 else '▼'}{abs(moved)}"
            cells[f"row-{n}"] = {
                "t": NONE if place is None else str(place),
                "s": sign.strip(),
                "v": place,
                "title": short(metric, order.figures[n]) if metric else "",
            }
        rows.append({"id": order.name, "name": order.name, "search": order.name, "cells": cells})
    return table_data(f"stability-{group.heading}-{metric}", columns, rows, name="Order under other conventions")


def beside_table(table: Beside) -> TableData:
    """A table of plain text."""
    columns: list[dict[str, Any]] = [
        {"id": str(n), "title": head, "head": n == 0, "sortable": False, "num": n > 0 and _numbers(table, n)}
        for n, head in enumerate(table.heads)
    ]
    rows = [
        {"id": str(i), "name": row[0], "cells": {str(n): {"t": text} for n, text in enumerate(row)}}
        for i, row in enumerate(table.rows)
    ]
    return table_data(f"beside-{table.title}", columns, rows, name=table.title or "Reported figures")


def _numbers(table: Beside, column: int) -> bool:
    texts = [row[column] for row in table.rows if column < len(row) and row[column] != NONE]
    return bool(texts) and all(text[:1].isdigit() or text[:1] in "-−" for text in texts)


def runs_table(runs: Sequence[ScoredRun], metric: str, link: Link, board_of: bool = False) -> TableData:
    """Runs in a table, each with its state."""
    columns: list[dict[str, Any]] = [
        {"id": "run", "title": "Run", "head": True},
        *([{"id": "board", "title": "Board", "priority": 2}] if board_of else []),
        {"id": "model", "title": "Model"},
        {"id": "grid", "title": "Hyperparameters", "priority": 2},
        {"id": "seed", "title": "Seed", "num": True},
        {"id": "state", "title": "State"},
        {"id": "main", "title": heading(metric), "num": True, "better": 1 if higher_is_better(metric) else -1},
        {"id": "epoch", "title": "Epoch", "num": True, "priority": 2, "help": "Whose checkpoint was scored."},
        {"id": "train", "title": "Training", "num": True, "priority": 2},
        {"id": "finished", "title": "Finished", "priority": 3},
        {"id": "reason", "title": "Reason", "priority": 2},
    ]
    rows: list[dict[str, Any]] = []
    for run in runs:
        epoch = run.progress.get("selected_epoch")
        seconds = run.times.get("train")
        said = "withdrawn" if run.withdrawn else "not sound" if run.problem else run.state
        reason = run.withdrawn.why if run.withdrawn else run.problem or run.reason
        rows.append(
            {
                "id": run_id(run),
                "name": f"run {run.run_id}",
                "search": f"{run.run_id} {run.model} {grid_text(run.grid)} {said} {run.reason}",
                "link": link("run", run_id(run)),
                "cells": {
                    "run": {"t": str(run.run_id), "v": run.run_id},
                    "board": text_cell(f"{run.data.title or run.data.name} · {run.suite}"),
                    "model": text_cell(run.model),
                    "grid": text_cell(grid_text(run.grid)),
                    "seed": {"t": str(run.seed), "v": run.seed},
                    "state": text_cell(said),
                    "main": figure_cell(metric, run.test.get(metric)),
                    "epoch": {"t": NONE if epoch is None else str(epoch), "v": epoch if _number(epoch) else None},
                    "train": {"t": lasting(seconds), "v": seconds},
                    "finished": {"t": on_day(run.finished), "v": run.finished},
                    "reason": {"t": reason[:80] or "", "title": reason[:400], "v": reason[:80] or None},
                },
            }
        )
    return table_data(
        f"runs-{metric}-{len(rows)}", columns, rows, name="Runs", searchable=len(rows) > 12, searchLabel="Search runs"
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def ids_of(board: Board) -> dict[str, str]:
    """What links call the rows of a board, with their names."""
    return {row_id(row): f"{row.model} {grid_text(row.cell.first.grid)}".strip() for row in board.rows}


def percent(metric: str, values: Sequence[float | None]) -> list[float | None]:
    """Figures as they are drawn."""
    return [None if v is None else scale(metric) * v for v in values]


def scores_table(run: ScoredRun) -> TableData:
    """Every score of a run, on test and on val."""
    known = [name for name in dict.fromkeys([*run.test, *run.val]) if _known(name)]
    columns: list[dict[str, Any]] = [
        {"id": "name", "title": "Score", "head": True},
        {"id": "test", "title": "Test", "num": True},
        {"id": "val", "title": "Val", "num": True},
    ]
    rows = [
        {
            "id": name,
            "name": name,
            "search": f"{name} {heading(name)}",
            "cells": {
                "name": text_cell(heading(name), title=find_metric(name).definition),
                "test": figure_cell(name, run.test.get(name)),
                "val": figure_cell(name, run.val.get(name)),
            },
        }
        for name in sorted(known, key=lambda name: ("[" in name, name))
    ]
    return table_data(
        f"scores-{run.run_id}-{run.protocol_hash[:8]}",
        columns,
        rows,
        name="Scores",
        searchable=True,
        searchLabel="Search scores",
        precise=True,
        height="26rem",
        empty="This run is not scored.",
    )


def placings_table(
    placings: Sequence[tuple[Board, Row]], title: Callable[[Board], str], link: Callable[[Board], str]
) -> TableData:
    """Where a model stands on every board."""
    columns: list[dict[str, Any]] = [
        {"id": "board", "title": "Board", "head": True},
        {"id": "group", "title": "Ranked among", "priority": 2},
        {"id": "place", "title": "Place", "num": True},
        {"id": "metric", "title": "Score"},
        {"id": "main", "title": "Figure", "num": True},
        {"id": "best", "title": "Best there", "num": True, "priority": 2},
        {"id": "seeds", "title": "Seeds", "num": True},
    ]
    rows: list[dict[str, Any]] = []
    for n, (board, row) in enumerate(placings):
        group = next(g for g in board.groups if any(r is row for r in g.rows))
        figures = [f for r in group.rows if (f := r.cell.test(board.metric).mean) is not None]
        top = (max if higher_is_better(board.metric) else min)(figures) if figures else None
        own = row.cell.test(board.metric)
        rows.append(
            {
                "id": board.board_id,
                "name": f"{title(board)} {n}",
                "link": link(board),
                "cells": {
                    "board": text_cell(title(board)),
                    "group": text_cell(group.heading),
                    "place": {"t": NONE if row.rank is None else f"{row.rank} of {len(group.rows)}", "v": row.rank},
                    "metric": text_cell(heading(board.metric)),
                    "main": figure_cell(board.metric, own.mean, own.std),
                    "best": figure_cell(board.metric, top),
                    "seeds": {"t": f"{len(row.cell.scored)} of {len(row.cell.runs)}", "v": len(row.cell.scored)},
                },
            }
        )
    return table_data("placings", columns, rows, name="On every board")


def model_cells_table(board: Board, rows: Sequence[Row]) -> TableData:
    """The cells of one model."""
    only = replace(board, rows=tuple(rows))
    return cells_table(only, lambda kind, id: "")
