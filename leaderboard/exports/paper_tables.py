"""Tables of a paper besides the ranking: class by class, hyperparameter grids, models × data sets, reported figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.config.grid import grid_text
from harness.metrics.metric import METRICS, metric_title
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.boards.estimate import Estimate, estimate
from leaderboard.stats.suite import models_of, suites
from leaderboard.tables.references import Reference, Reported
from leaderboard.tables.reported import cell_of, of_board, parameters_text
from leaderboard.tables.table import Table, mark, mark_notes, per_class

# Classes above which a class is a row and a model a column.
WIDEST = 8
NOTHING = Estimate(None, None, 0)


def class_table(board: Board, metric: str) -> Table:
    """One score of every model, class by class, with the mean over classes where the board has it.

    Many classes stand below one another: then each model is a column.
    """
    table = per_class(board, metric)
    mean = f"m{metric}" if f"m{metric}" in METRICS else metric
    overall = [row.cell.test(mean) for row in board.rows]
    title = f"{metric_title(metric)} class by class · {board.title}"
    failed = [f"{row.model}: {row.cell.incomplete()}" for row in board.rows if row.cell.incomplete()]
    notes = (*failed, *mark_notes(board.rows))
    if len(board.data.classes) <= WIDEST:
        more = any(figure.mean is not None for figure in overall)
        metrics = (*table.metrics, *([mean] if more else []))
        figures = [[*own, *([figure] if more else [])] for own, figure in zip(table.figures, overall, strict=True)]
        names = (*board.data.classes, *(["mean"] if more else []))
        return replace(
            table,
            title=title,
            columns=(*table.lead, *names, "runs"),
            metrics=metrics,
            rows=tuple((str(row.rank or "–"), row.model + mark(row)) for row in board.rows),
            figures=tuple(map(tuple, figures)),
            one_metric=metric,
            notes=notes,
            key=f"{board.key}-{metric}",
        )
    models = [row.model + mark(row) for row in board.rows]
    lines = list(zip(*table.figures, strict=True))
    rows = [(name,) for name in board.data.classes]
    if any(figure.mean is not None for figure in overall):
        lines, rows = [*lines, tuple(overall)], [*rows, ("mean",)]
    return Table(
        title=title,
        columns=("class", *models),
        metrics=(metric,) * len(models),
        rows=tuple(rows),
        groups=(("", range(len(rows))),),
        figures=tuple(lines),
        runs=(),
        seeds=(),
        notes=notes,
        one_metric=metric,
        counted=False,
        key=f"{board.key}-{metric}",
    )


def grid_tables(board: Board, metric: str) -> list[Table]:
    """One score over the grid: the first hyperparameter downwards, the others across, a group for each model.

    Models with the same hyperparameters share a table. The cell that val chose has a star.
    """
    by_axes: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in board.models:
        axes = tuple(dict.fromkeys(name for cell in row.cells for name in cell.first.grid))
        if axes and len(row.cells) > 1:
            by_axes[axes].append(row)
    return [_grid_table(board, metric, axes, rows) for axes, rows in by_axes.items()]


def _grid_table(board: Board, metric: str, axes: tuple[str, ...], rows: Sequence[Row]) -> Table:
    down, across = axes[0], axes[1:]
    columns = list(dict.fromkeys(_point(cell, across) for row in rows for cell in row.cells))
    chosen = {row.cell.first.cell for row in board.rows} if board.chosen_by else set()
    lead: list[tuple[str, ...]] = []
    figures: list[list[Estimate]] = []
    marks: list[tuple[str, ...]] = []
    groups = []
    for row in rows:
        start = len(lead)
        for value in dict.fromkeys(_point(cell, (down,)) for cell in row.cells):
            line = {_point(cell, across): cell for cell in row.cells if _point(cell, (down,)) == value}
            cells = [line.get(column) for column in columns]
            lead.append((_shown(line[next(iter(line))], down),))
            figures.append([NOTHING if cell is None else cell.test(metric) for cell in cells])
            marks.append(tuple("*" if cell is not None and cell.first.cell in chosen else "" for cell in cells))
        groups.append((row.model + mark(row), range(start, len(lead))))
    heads = {_point(cell, across): _grid_head(cell, across) for row in rows for cell in row.cells}
    missing = [f"{row.model}: {cell.incomplete()}" for row in rows for cell in row.cells if cell.incomplete()]
    notes = [f"* the cell that {board.chosen_by} chose"] if any(map(any, marks)) else []
    names = tuple(heads[column] or metric_title(metric) for column in columns)
    return Table(
        title=f"{metric_title(metric)} over {' × '.join(axes)} · {board.title}",
        columns=(down, *names),
        metrics=(metric,) * len(columns),
        rows=tuple(lead),
        groups=tuple(groups),
        figures=tuple(map(tuple, figures)),
        runs=(),
        seeds=(),
        notes=(*notes, *dict.fromkeys(missing), *mark_notes(rows)),
        marks=tuple(marks),
        one_metric=metric,
        counted=False,
        key=f"{board.key}-grid-{'-'.join(axes)}",
    )


def _point(cell: Cell, axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(repr(cell.first.grid.get(axis)) for axis in axes)


def _shown(cell: Cell, axis: str) -> str:
    return grid_text({axis: cell.first.grid[axis]}).partition("=")[2] if axis in cell.first.grid else "–"


def _grid_head(cell: Cell, axes: Sequence[str]) -> str:
    return grid_text({axis: cell.first.grid[axis] for axis in axes if axis in cell.first.grid})


def dataset_tables(boards: Iterable[Board], metrics: Sequence[str] | None = None) -> list[Table]:
    """Models × data sets, a table for each suite; rows that differ in more than the network are in groups of their own.

    Args:
        boards: of any suites.
        metrics: what to show of each data set; None: what its board is ranked by.
    """
    return [_dataset_table(own, metrics) for own in suites(boards)]


def _dataset_table(boards: Sequence[Board], metrics: Sequence[str] | None) -> Table:
    shown = [(number, metric) for number, board in enumerate(boards) for metric in (metrics or (board.metric,))]
    groups: list[tuple[str, range]] = []
    names: list[str] = []
    lines: list[dict[int, Row]] = []
    for group in models_of(boards):
        groups.append((group.heading, range(len(lines), len(lines) + len(group.models))))
        for model in group.models:
            rows = {number: boards[number].rows[i] for number, i in model.rows.items()}
            names.append(model.name + next(filter(None, map(mark, rows.values())), ""))
            lines.append(rows)
    figures = [
        [rows[number].cell.test(metric) if number in rows else NOTHING for number, metric in shown] for rows in lines
    ]
    columns = [f"{boards[number].data.title}: {metric_title(metric)}" for number, metric in shown]
    apart = f", {boards[0].seen_test}" if boards[0].seen_test else ""
    notes = [
        f"{name} on {boards[number].data.title}: {row.cell.incomplete()}"
        for name, rows in zip(names, lines, strict=True)
        for number, row in rows.items()
        if row.cell.incomplete()
    ]
    notes += mark_notes(row for board in boards for row in board.rows)
    return Table(
        title=f"Models and data sets · suite {boards[0].suite} · protocol {boards[0].protocol_name}{apart}",
        columns=("model", *columns),
        metrics=tuple(metric for _, metric in shown),
        rows=tuple((name,) for name in names),
        groups=tuple(groups),
        figures=tuple(map(tuple, figures)),
        runs=(),
        seeds=(),
        notes=tuple(dict.fromkeys(notes)),
        counted=False,
        key=f"{boards[0].suite}-datasets-{boards[0].protocol_hash[:6]}",
    )


def reported_table(board: Board, references: Iterable[Reference]) -> Table | None:
    """What others reported for a board's suite beside what was reproduced here; nothing of it is ranked.

    Returns:
        For each score three columns: reported, here, and the difference, which only figures of one definition have.
        None where nothing was reported.
    """
    own = of_board(board, references)
    names = list(dict.fromkeys(name for r in own for row in r.rows for name in row.metrics))
    names = [name for name in names if name.partition("[")[0] in METRICS]
    sized = any(row.parameters for r in own for row in r.rows)
    lead, figures, marks = [], [], []
    for reference in own:
        for row in reference.rows:
            ours: list[Row | None] = [model for model in board.models if model.model in reference.ours]
            for model in ours or [None]:
                cell = None if model is None else cell_of(model, row)
                here = "–" if model is None else model.model + mark(model)
                size = (parameters_text(row),) if sized else ()
                lead.append((reference.model, here, reference.setting(row) or "–", *size, reference.source))
                line, behind = _beside(reference, row, cell, names, board.protocol_name)
                figures.append(line)
                marks.append(behind)
    if not lead or not names:
        return None
    shown = {model for r in own for model in r.ours}
    notes = [f"{r.source}: {r.note}" for r in own if r.note]
    notes += mark_notes(row for row in board.models if row.model in shown)
    if any(map(any, marks)):
        notes.insert(0, "≁: defined or scored in another way than here; such figures have no difference")
    heads = [f"{metric_title(name)}, {what}" for name in names for what in ("reported", "here", "difference")]
    return Table(
        title=f"Reported by others and reproduced · {board.title}",
        columns=("reported as", "here", "setting", *(("parameters",) if sized else ()), "source", *heads),
        metrics=tuple(name for name in names for _ in range(3)),
        rows=tuple(lead),
        groups=(("", range(len(lead))),),
        figures=tuple(figures),
        runs=(),
        seeds=(),
        notes=tuple(dict.fromkeys(notes)),
        marks=tuple(marks),
        counted=False,
        key=f"{board.key}-reported",
    )


def _beside(
    reference: Reference, row: Reported, cell: Cell | None, names: Sequence[str], protocol: str
) -> tuple[tuple[Estimate, ...], tuple[str, ...]]:
    line: list[Estimate] = []
    marks: list[str] = []
    for name in names:
        reported = estimate([row.metrics.get(name)])
        ours = NOTHING if cell is None else cell.test(name)
        other = reference.mark(name, protocol)
        known = reported.mean is not None and ours.mean is not None and not other
        difference = estimate([ours.mean - reported.mean]) if known else NOTHING  # type: ignore[operator]
        line += [reported, ours, difference]
        marks += [other if reported.mean is not None else "", "", ""]
    return tuple(line), tuple(marks)
