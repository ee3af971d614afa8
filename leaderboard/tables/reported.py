"""What others reported beside what was reproduced here: a list, grids, and by epoch. Nothing of it is ranked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import find_metric, metric_title
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.tables.references import Point, Reference

Curve = tuple[int, str, int, float | None]
"""A point of a learning curve as it is loaded: run, name, epoch, value."""


@dataclass(frozen=True)
class Beside:
    """A table of reported figures beside ours."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_board(board: Board, references: Iterable[Reference]) -> list[Reference]:
    """The references of a board's suite."""
    return [r for r in references if r.suite == board.suite]


def reported_rows(board: Board, references: Iterable[Reference]) -> tuple[list[str], list[list[str]], list[str]]:
    """The references of a board's suite as a list.

    Returns:
        The headings, the rows as text, and a note for each source. A figure marked ≁ is defined otherwise than ours.
    """
    own = of_board(board, references)
    names = list(dict.fromkeys(name for r in own for row in r.rows for name in row.metrics))
    heads = ["model", "setting", *(metric_title(name) for name in names), "source"]
    rows = []
    for reference in own:
        for row in reference.rows:
            figures = [_text(row.metrics.get(name), name) for name in names]
            marked = [
                text if text == "–" else f"{text}{reference.mark(name, board.protocol_name)}"
                for name, text in zip(names, figures, strict=True)
            ]
            rows.append([f"{reference.model} (reported)", grid_text(row.grid), *marked, reference.source])
    notes = list(dict.fromkeys(f"{r.source}: {r.note}" for r in own if r.note))
    return heads, rows, notes


def grid_metrics(board: Board, references: Iterable[Reference]) -> list[str]:
    """The metrics that were reported for a whole grid."""
    return list(dict.fromkeys(n for r in of_board(board, references) if _is_grid(r) for n in r.rows[0].metrics))


def reported_grids(board: Board, references: Iterable[Reference], metric: str) -> list[Beside]:
    """One table for each of our rows of a reported grid, the first axis downwards and the second across.

    A cell reads `reported → ours (difference)`; ours is the mean over seeds, and – where it is not there. Figures that
    are defined otherwise are marked ≁ and have no difference.
    """
    found = []
    for reference in of_board(board, references):
        if not _is_grid(reference):
            continue
        for row in board.models:
            if row.model in reference.ours:
                found.append(_grid(reference, row, metric, reference.mark(metric, board.protocol_name)))
    return found


def _is_grid(reference: Reference) -> bool:
    return len(reference.rows) > 1 and all(row.grid for row in reference.rows)


def _grid(reference: Reference, row: Row, metric: str, mark: str) -> Beside:
    axes = list(reference.rows[0].grid)
    down, across = axes[0], axes[1:]
    columns = list(dict.fromkeys(tuple(r.grid[a] for a in across) for r in reference.rows))
    lines = []
    for value in dict.fromkeys(r.grid[down] for r in reference.rows):
        cells = [
            _cell(reference, row, {down: value, **dict(zip(across, column, strict=True))}, metric, mark)
            for column in columns
        ]
        lines.append((grid_text({down: value}), *cells))
    heads = tuple(grid_text(dict(zip(across, column, strict=True))) or metric_title(metric) for column in columns)
    title = f"{metric_title(metric)}{mark}: {reference.model}, reported → {row.model}, here"
    return Beside(title, ("", *heads), tuple(lines))


def _cell(reference: Reference, row: Row, grid: dict[str, Any], metric: str, mark: str) -> str:
    reported = next((r.metrics.get(metric) for r in reference.rows if r.grid == grid), None)
    cell = next((c for c in row.cells if _same(c, grid)), None)
    ours = cell.test(metric).mean if cell is not None else None
    return compared(reported, ours, metric, mark)


def _same(cell: Cell, grid: dict[str, Any]) -> bool:
    own = cell.first.grid
    return all(key in own and own[key] == value for key, value in grid.items())


def compared(reported: float | None, ours: float | None, metric: str, mark: str) -> str:
    """`reported → ours (difference)`; where the two are defined otherwise, the mark and no difference."""
    text = f"{_text(reported, metric)}{mark if reported is not None else ''} → {_text(ours, metric)}"
    if reported is None or ours is None or mark:
        return text
    return f"{text} ({ours - reported:+.{_digits(metric)}f})"


@dataclass(frozen=True)
class ReportedPoint:
    """A reported point of a learning curve."""

    label: str
    epoch: int
    value: float


def reported_curve(board: Board, references: Iterable[Reference], name: str) -> list[ReportedPoint]:
    """What was reported of one learning curve; approximate figures are labelled so."""
    return [
        ReportedPoint(
            f"{r.model}, reported{' (approximate)' if point.approximate else ''}"
            f"{r.mark(_metric_of(name), board.protocol_name)}",
            point.epoch,
            value,
        )
        for r in of_board(board, references)
        for point in r.curve
        if (value := point.values.get(name)) is not None
    ]


def compared_runs(board: Board, references: Iterable[Reference]) -> dict[int, tuple[Reference, Row]]:
    """The run whose learning curve stands beside each reported one: of the chosen cell the lowest seed."""
    found = {}
    for reference in of_board(board, references):
        for row in board.models:
            if reference.curve and row.model in reference.ours and row.cell.scored:
                found[min(row.cell.scored, key=lambda r: r.seed).run_id] = (reference, row)
    return found


def epoch_table(board: Board, references: Iterable[Reference], curves: Sequence[Curve]) -> Beside | None:
    """Reported figures at single epochs beside ours at the same ones, and the best beside our chosen epoch.

    Args:
        board: the board.
        references: every reference.
        curves: the learning curves of `compared_runs`.

    Returns:
        None where nothing of the kind was reported, or nothing is there to stand beside it.
    """
    pairs = compared_runs(board, references)
    names = list(dict.fromkeys(n for r, _ in pairs.values() for p in r.curve if not p.approximate for n in p.values))
    values = {(run, name, epoch): value for run, name, epoch, value in curves}
    lines = []
    for run, (reference, row) in pairs.items():
        chosen = next(r for r in row.cell.scored if r.run_id == run).progress.get("selected_epoch")
        for point in (p for p in reference.curve if not p.approximate):
            at = chosen if point.best else point.epoch
            cells = [
                compared(
                    point.values.get(n),
                    values.get((run, n, at or 0)),
                    _metric_of(n),
                    reference.mark(_metric_of(n), board.protocol_name),
                )
                for n in names
            ]
            lines.append((f"{reference.model} → {row.model}", _epoch_text(point, at), *cells))
    if not lines:
        return None
    heads = ("reported → here", "epoch", *(_curve_title(n) for n in names))
    return Beside("By epoch: reported → here", heads, tuple(lines))


def _epoch_text(point: Point, ours: int | None) -> str:
    return f"best: {point.epoch} → {ours or '–'}" if point.best else str(point.epoch)


def _metric_of(curve: str) -> str:
    """The metric of a learning curve: of `val_miou`, `miou`."""
    return "loss" if curve.endswith("_loss") else curve.removeprefix("val_")


def _curve_title(curve: str) -> str:
    return f"{metric_title(_metric_of(curve))} on {'val' if curve.startswith('val_') else 'train'}"


def _digits(metric: str) -> int:
    return find_metric(metric).digits


def _text(value: float | None, metric: str) -> str:
    return "–" if value is None else f"{value:.{_digits(metric)}f}"
