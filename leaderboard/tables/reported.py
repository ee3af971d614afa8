"""What others reported beside what was reproduced here: a list, grids, and by epoch. Nothing of it is ranked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import find_metric, metric_title
from harness.results import Store
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.queries.details import load_batch_losses
from leaderboard.queries.load import load_curves
from leaderboard.tables.references import Point, Reference, Reported

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
    sized = any(row.parameters for r in own for row in r.rows)
    heads = ["model", "setting", *(metric_title(name) for name in names), *(["parameters"] if sized else []), "source"]
    rows = []
    for reference in own:
        for row in reference.rows:
            figures = [_text(row.metrics.get(name), name) for name in names]
            marked = [
                text if text == "–" else f"{text}{reference.mark(name, board.protocol_name)}"
                for name, text in zip(names, figures, strict=True)
            ]
            size = [parameters_text(row)] if sized else []
            rows.append([f"{reference.model} (reported)", reference.setting(row), *marked, *size, reference.source])
    notes = list(dict.fromkeys(f"{r.source}: {r.note}" for r in own if r.note))
    return heads, rows, notes


def parameters_text(row: Reported) -> str:
    """Reported parameters, in millions."""
    return "–" if row.parameters is None else f"{row.parameters / 1e6:.4g} M"


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
    cell = _cell_at(row, grid)
    ours = cell.test(metric).mean if cell is not None else None
    return compared(reported, ours, metric, mark)


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


def measured_tables(store: Store, board: Board, references: Iterable[Reference]) -> list[Beside]:
    """What was reported of single epochs and of single test batches beside ours; what the scores do not hold."""
    own = of_board(board, references)
    runs = [run.run_id for row in board.models for cell in row.cells for run in cell.scored]
    batches = load_batch_losses(store, runs, board.protocol_hash) if any(r.rows[0].batch_losses for r in own) else {}
    curves = load_curves(store, list(compared_runs(board, own)))
    return [*batch_tables(board, own, batches), *epoch_tables(board, own, curves)]


def batch_tables(board: Board, references: Iterable[Reference], losses: Mapping[int, Sequence[float]]) -> list[Beside]:
    """The losses of single test batches as they were printed, beside ours in the order of our test images.

    Which images made a batch was not reported, so that the two figures of a line are of other images and have no
    difference.

    Args:
        board: the board.
        references: every reference.
        losses: run -> the losses of its batches; over seeds their mean is shown.
    """
    found = []
    for reference in of_board(board, references):
        rows = [row for row in reference.rows if row.batch_losses]
        for model in (m for m in board.models if rows and m.model in reference.ours):
            columns = []
            for row in rows:
                cell = cell_of(model, row)
                ours = _mean_of([losses[r.run_id] for r in cell.scored if r.run_id in losses] if cell else [])
                pairs = itertools.zip_longest(row.batch_losses, ours)
                columns.append([f"{_text(theirs, 'batch_loss')} → {_text(own, 'batch_loss')}" for theirs, own in pairs])
            heads = [reference.setting(row) or metric_title("batch_loss") for row in rows]
            lines = itertools.zip_longest(*columns, fillvalue="–")
            title = (
                f"Loss of each test batch: {reference.model}, as printed → {model.model}, here, in the order of the "
                "test images; which images made a batch was not reported"
            )
            numbered = tuple((str(number), *line) for number, line in enumerate(lines, 1))
            found.append(Beside(title, ("batch", *heads), numbered))
    return found


def _mean_of(runs: Sequence[Sequence[float]]) -> list[float]:
    """Batch by batch the mean over runs."""
    return [sum(losses) / len(losses) for losses in zip(*runs, strict=False)]


def cell_of(row: Row, reported: Reported) -> Cell | None:
    """Our cell of a reported setting; of one without a setting, the cell that stands for the model."""
    if not reported.grid:
        return row.cell
    return _cell_at(row, reported.grid)


def _cell_at(row: Row, grid: Mapping[str, Any]) -> Cell | None:
    own = ((cell, cell.first.grid) for cell in row.cells)
    return next((cell for cell, given in own if all(k in given and given[k] == v for k, v in grid.items())), None)


def compared_runs(board: Board, references: Iterable[Reference]) -> dict[int, tuple[Reference, Row]]:
    """The run whose learning curve stands beside each reported one: of the chosen cell the lowest seed."""
    found = {}
    for reference in of_board(board, references):
        for row in board.models:
            if reference.curve and row.model in reference.ours and row.cell.scored:
                found[min(row.cell.scored, key=lambda r: r.seed).run_id] = (reference, row)
    return found


def epoch_tables(board: Board, references: Iterable[Reference], curves: Sequence[Curve]) -> list[Beside]:
    """Reported figures at single epochs beside ours at the same ones, and the best beside our chosen epoch.

    Args:
        board: the board.
        references: every reference.
        curves: the learning curves of `compared_runs`.

    Returns:
        One for each pair of networks; what was reported approximately is drawn over our curves and in no table.
    """
    values = {(run, name, epoch): value for run, name, epoch, value in curves}
    found = []
    for run, (reference, row) in compared_runs(board, references).items():
        points = [p for p in reference.curve if not p.approximate]
        names = list(dict.fromkeys(name for p in points for name in p.values))
        marks = {n: reference.mark(_metric_of(n), board.protocol_name) for n in names}
        chosen = next(r for r in row.cell.scored if r.run_id == run).progress.get("selected_epoch")
        lines = []
        for point in points:
            at = chosen if point.best else point.epoch
            ours = [values.get((run, n, at or 0)) for n in names]
            cells = [
                compared(point.values.get(n), own, _metric_of(n), marks[n]) for n, own in zip(names, ours, strict=True)
            ]
            lines.append((_epoch_text(point, at), *cells))
        if lines:
            title = f"By epoch: {reference.model}, reported → {row.model}, here"
            found.append(Beside(title, ("epoch", *map(_curve_title, names)), tuple(lines)))
    return found


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
