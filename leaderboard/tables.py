"""Boards as tables: what is printed, exported and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import class_score_names, find_metric, higher_is_better, metric_title, names_of, score_names
from harness.results.rows import PREDICTIONS
from leaderboard.boards import Board, Cell, Row
from leaderboard.queries import Data
from leaderboard.stats import Estimate

# What a board shows where nothing else is asked for.
DEFAULT_METRICS = ("miou", "pa", "mpa", "dice", "hd", "biou")


@dataclass(frozen=True)
class Table:
    """A board ready to be printed or exported: figures at full precision, and which are the best."""

    title: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The columns before the metrics."""
    figures: tuple[tuple[Estimate, ...], ...]
    best: tuple[frozenset[int], ...]
    """For each metric, the rows that hold its best mean."""
    runs: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def lead(self) -> tuple[str, ...]:
        """The headings before the metrics."""
        return self.columns[: len(self.columns) - len(self.metrics) - 1]

    def text_rows(self) -> list[list[str]]:
        """Every row as text, rounded for reading."""
        return [
            [*row, *(f.text(find_metric(m).digits) for f, m in zip(figures, self.metrics, strict=True)), str(n)]
            for row, figures, n in zip(self.rows, self.figures, self.runs, strict=True)
        ]


def overview(board: Board, metrics: Sequence[str] | None = None) -> Table:
    """The ranked table: one row a model, its hyperparameters chosen by val."""
    chosen = board_metrics(board, metrics)
    lead = [(str(row.rank or "–"), row.model + outside(row), grid_text(row.cell.first.grid)) for row in board.rows]
    notes = [f"{row.model}: {row.cell.incomplete()}" for row in board.rows if row.cell.incomplete()]
    notes += [
        f"{row.model}: {sum(bool(c.incomplete()) for c in row.cells)} of {len(row.cells)} cells incomplete"
        for row in board.rows
        if any(c.incomplete() for c in row.cells if c is not row.cell)
    ]
    notes += [
        f"{row.model}{outside(row)}: predictions from elsewhere; how they were made is not known here"
        for row in board.rows
        if outside(row)
    ]
    return _table(board, ("#", "model", "chosen by val"), chosen, [row.cell for row in board.rows], lead, notes)


def outside(row: Row) -> str:
    """The mark of a row whose label maps came from outside."""
    return " ‡" if row.cell.first.origin == PREDICTIONS else ""


def ablation(board: Board, metrics: Sequence[str] | None = None) -> Table:
    """Every cell of every model, with the val score that chooses among them."""
    chosen = board_metrics(board, metrics)
    cells = [(row, cell) for row in board.rows for cell in row.cells]
    # A row without a val score stands once for each cell: its cells must not be repeated.
    unique = list({cell.first.cell: (row, cell) for row, cell in cells}.values())
    lead = []
    for row, cell in unique:
        score = cell.selection_score()
        shown = "–" if score is None else f"{score:.4f}"
        mark = "✓" if any(r.cell.first.cell == cell.first.cell for r in board.rows) else ""
        lead.append((row.model, grid_text(cell.first.grid), shown, mark, cell.incomplete() or "complete"))
    heads = ("model", "hyperparameters", "val", "chosen", "runs")
    return _table(board, heads, chosen, [cell for _, cell in unique], lead, [])


def per_class(board: Board, metric: str) -> Table:
    """One per-class score of every row, class by class."""
    names = tuple(f"{metric}[{label}]" for label in board.data.classes)
    lead = [(str(row.rank or "–"), row.model) for row in board.rows]
    return _table(board, ("#", "model"), names, [row.cell for row in board.rows], lead, [])


def board_metrics(board: Board, metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to show: those asked for, else the usual ones with the headline in front."""
    if metrics:
        return tuple(metrics)
    return tuple(dict.fromkeys([board.metric, *DEFAULT_METRICS]))


def metric_names(data: Data) -> list[str]:
    """Every metric a board can show or be ranked by."""
    return [
        *score_names(data.foreground),
        *names_of("loss"),
        *(f"{m}[{c}]" for m in class_score_names() for c in data.classes),
    ]


def records(board: Board) -> list[dict[str, Any]]:
    """The rows as plain values at full precision, for JSON and for other programs."""
    return [
        {
            "suite": board.suite,
            "dataset": board.data.name,
            "variant": board.data.variant,
            "test_manifest": board.data.test_manifest,
            "protocol": {"name": board.protocol_name, "hash": board.protocol_hash},
            "selected_on_test": board.selected_on_test,
            "rank": row.rank,
            "model": row.model,
            "params": {**row.cell.first.params, **row.cell.first.grid},
            "seeds": row.cell.seeds,
            "n_runs": len(row.cell.scored),
            "states": row.cell.states,
            "metrics": {name: _plain(row.cell.test(name)) for name in (*score_names(board.data.foreground), "loss")},
            "per_class": {
                name: {c: row.cell.test(f"{name}[{c}]").mean for c in board.data.classes}
                for name in class_score_names()
            },
            "runs": [r.run_id for r in row.cell.runs],
        }
        for row in board.rows
    ]


def _plain(figure: Estimate) -> dict[str, float | None]:
    return {"mean": figure.mean, "std": figure.std}


def _table(
    board: Board,
    heads: tuple[str, ...],
    metrics: tuple[str, ...],
    cells: Sequence[Cell],
    lead: Sequence[tuple[str, ...]],
    notes: Sequence[str],
) -> Table:
    figures = tuple(tuple(cell.test(m) for m in metrics) for cell in cells)
    best = tuple(_best([row[i].mean for row in figures], m) for i, m in enumerate(metrics))
    return Table(
        title=board.title,
        columns=(*heads, *(metric_title(m) for m in metrics), "runs"),
        metrics=metrics,
        rows=tuple(lead),
        figures=figures,
        best=best,
        runs=tuple(len(cell.scored) for cell in cells),
        notes=tuple(notes),
    )


def _best(values: Sequence[float | None], metric: str) -> frozenset[int]:
    defined = [v for v in values if v is not None]
    if not defined:
        return frozenset()
    top = max(defined) if higher_is_better(metric) else min(defined)
    return frozenset(i for i, v in enumerate(values) if v == top)
