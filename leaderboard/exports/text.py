"""Tables as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from harness.results import Store
from harness.utils.text import plain_line
from leaderboard.boards.board import Board
from leaderboard.exports.latex import title_of
from leaderboard.exports.plain import excel_safe, markdown, markdown_line
from leaderboard.tables.figure_text import Style, arrow, figure_text, unit
from leaderboard.tables.legend import legend
from leaderboard.tables.references import load_references
from leaderboard.tables.reported import grid_metrics, measured_tables, reported_grids, reported_rows
from leaderboard.tables.table import Table


def csv_tables(tables: Sequence[tuple[Board, Table]], safe: bool = False) -> str:
    """One CSV of all boards: mean and standard deviation in columns of their own, at full precision.

    Args:
        tables: boards and their tables.
        safe: keep spreadsheets from computing what begins as a formula, with an apostrophe in front.
    """
    text = texts(safe)
    metrics = list(dict.fromkeys(m for _, table in tables for m in table.metrics))
    leads = list(dict.fromkeys(c for _, table in tables for c in table.lead))
    bounds = any(interval for _, table in tables for line in table.intervals for interval in line)
    parts = ("mean", "std", "low", "high") if bounds else ("mean", "std")
    spread = [text(f"{m} {part}") for m in metrics for part in parts]
    lines: list[list[object]] = [
        ["suite", "dataset", "variant", "protocol", *map(text, leads), *spread, "n_runs", "n_seeds"]
    ]
    for board, table in tables:
        for i, (row, runs, seeds) in enumerate(zip(table.rows, table.runs, table.seeds, strict=True)):
            own = dict(zip(table.lead, row, strict=True))
            place = {metric: j for j, metric in enumerate(table.metrics)}
            cells = [figure for m in metrics for figure in _figure(table, i, place.get(m), len(parts))]
            where = [board.suite, board.data.name, board.variant, board.protocol_title]
            lines.append([*map(text, where), *(text(own.get(c, "")) for c in leads), *cells, runs, seeds])
    return csv_text(lines)


def csv_plain(tables: Sequence[Table], safe: bool = False) -> str:
    """Tables of other kinds as one CSV: a line for each figure, at full precision."""
    text = texts(safe)
    lines: list[list[object]] = [["table", "group", "row", "column", "metric", "mean", "std", "low", "high", "mark"]]
    for table in tables:
        for group, part in table.groups:
            for i in part:
                row = ", ".join(table.rows[i])
                for j, (column, metric) in enumerate(zip(table.figure_columns, table.metrics, strict=True)):
                    where = map(text, (table.title, group, row, column, metric))
                    lines.append([*where, *_figure(table, i, j, 4), text(table.mark(i, j).strip())])
    return csv_text(lines)


def texts(safe: bool) -> Callable[[str], str]:
    """How a text of a database is written into a cell."""
    return (lambda value: excel_safe(plain_line(value))) if safe else plain_line


def _figure(table: Table, i: int, j: int | None, parts: int) -> list[object]:
    """Mean and deviation of a figure, and the ends of its interval where those are columns too."""
    if j is None:
        return [""] * parts
    figure, interval = table.figures[i][j], table.interval(i, j) or (None, None)
    return [_cell(value) for value in (figure.mean, figure.std, *interval)[:parts]]


def csv_text(lines: Sequence[Sequence[object]]) -> str:
    """Lines of cells as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def markdown_tables(
    tables: Sequence[tuple[Board, Table]],
    style: Style | None = None,
    provenance: Sequence[str] = (),
    store: Store | None = None,
) -> str:
    """A Markdown table for each group of each board, and what others reported for it.

    Args:
        tables: boards and their tables.
        style: how figures are written.
        provenance: where they come from, a line each.
        store: the boards' database, whose curves and batches stand beside reported ones; None: without them.
    """
    parts = [
        "\n".join([*_markdown_lines(table, style or Style()), "", *_reported(board, store)]) for board, table in tables
    ]
    return "\n".join([*parts, *_from(provenance)])


def markdown_plain(tables: Sequence[Table], style: Style | None = None, provenance: Sequence[str] = ()) -> str:
    """Tables of other kinds in Markdown."""
    return "\n".join([*("\n".join([*_markdown_lines(t, style or Style()), ""]) for t in tables), *_from(provenance)])


def _from(provenance: Sequence[str]) -> list[str]:
    # A tag alone on its line would begin a block in which nothing is Markdown, not even an escape.
    return [*(f"<sub>{markdown(line)}</sub><br>" for line in provenance), ""] if provenance else []


def _markdown_lines(table: Table, style: Style) -> list[str]:
    lines = [f"### {markdown(title_of(table, style))}", ""]
    for text, part in table.groups:
        lines += [f"#### {markdown(text)}", ""] if text else []
        lines += [*_markdown_rows(table, part, style), *([""] if part.stop < len(table.rows) else [])]
    return [*lines, *(f"\n{markdown_line(note)}" for note in (*table.notes, *legend(table, style)))]


def _markdown_rows(table: Table, part: range, style: Style) -> list[str]:
    """The heads and some of the rows of a table."""
    heads = [*map(markdown, table.lead)]
    for name, metric in zip(table.figure_columns, table.metrics, strict=True):
        of = f" ({u})" if (u := unit(metric, style)) else ""
        heads.append(markdown(name) + ("" if table.one_metric else f"{of} {arrow(metric)}"))
    lines = [
        "| " + " | ".join([*heads, *(["runs"] if table.counted else [])]) + " |",
        "|" + "|".join("---" for _ in table.lead) + "|" + "---:|" * (len(table.metrics) + int(table.counted)),
    ]
    for i in part:
        cells = [markdown(c) or " " for c in table.rows[i]]
        cells += [_markdown_figure(table, i, j, style) for j in range(len(table.metrics))]
        cells += [table.run_texts()[i]] if table.counted else []
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _markdown_figure(table: Table, i: int, j: int, style: Style) -> str:
    text = markdown(figure_text(table.figures[i][j], table.interval(i, j), table.metrics[j], style).plain())
    mark = table.mark(i, j)
    apart = " " if mark.startswith(" ") else ""
    return (f"**{text}**" if table.bold(i, j) else text) + apart + markdown(mark)


def _reported(board: Board, store: Store | None) -> list[str]:
    """What others reported for the board's suite, in tables of their own."""
    references = load_references()
    heads, rows, notes = reported_rows(board, references)
    if not rows:
        return []
    lines = [
        "Reported by others; not reproduced here and not ranked (≁: defined or scored in another way than here):",
        "",
        *_plain_rows(heads, rows),
        *(f"\n{markdown_line(note)}" for note in notes),
        "",
    ]
    metrics, grids = grid_metrics(board, references), []
    if metrics:
        # One score of each grid; the page shows the others.
        grids = reported_grids(board, references, board.metric if board.metric in metrics else metrics[0])
    grids += measured_tables(store, board, references) if store else []
    for beside in grids:
        lines += [markdown_line(beside.title), "", *_plain_rows(beside.heads, beside.rows), ""]
    return lines


def _plain_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text."""
    return [
        "| " + " | ".join(map(markdown, heads)) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(map(markdown, row)) + " |" for row in rows),
    ]


def _cell(value: float | None) -> object:
    return "" if value is None else repr(value)
