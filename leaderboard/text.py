"""Tables as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from leaderboard.boards import Board
from leaderboard.references import load_references
from leaderboard.reported import grid_metrics, reported_grids, reported_rows
from leaderboard.tables import Table


def csv_tables(tables: Sequence[tuple[Board, Table]]) -> str:
    """One CSV of all boards: mean and standard deviation in columns of their own, at full precision."""
    metrics = list(dict.fromkeys(m for _, table in tables for m in table.metrics))
    leads = list(dict.fromkeys(c for _, table in tables for c in table.lead))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    spread = [f"{m} {part}" for m in metrics for part in ("mean", "std")]
    writer.writerow(["suite", "dataset", "variant", "protocol", *leads, *spread, "n_runs", "n_seeds"])
    for board, table in tables:
        for row, figures, runs, seeds in zip(table.rows, table.figures, table.runs, table.seeds, strict=True):
            own = dict(zip(table.lead, row, strict=True))
            found = dict(zip(table.metrics, figures, strict=True))
            cells: list[object] = []
            for metric in metrics:
                figure = found.get(metric)
                cells += ["", ""] if figure is None else [_cell(figure.mean), _cell(figure.std)]
            where = [board.suite, board.data.name, board.variant, board.protocol_name]
            writer.writerow([*where, *(own.get(c, "") for c in leads), *cells, runs, seeds])
    return buffer.getvalue()


def markdown_tables(tables: Sequence[tuple[Board, Table]]) -> str:
    """A Markdown table for each group of each board; the best mean of each column in bold."""
    parts = []
    for board, table in tables:
        lines = [f"### {_escape(table.title)}", ""]
        for text, part in table.groups:
            lines += [f"#### {_escape(text)}", ""] if text else []
            lines += [*_markdown_rows(table, part), *([""] if part.stop < len(table.rows) else [])]
        lines += [*(f"\n{_escape(note)}" for note in table.notes), ""]
        lines += _reported(board)
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _markdown_rows(table: Table, part: range) -> list[str]:
    """The heads and some of the rows of a table."""
    lead, rows = len(table.lead), table.text_rows()
    lines = [
        "| " + " | ".join(_escape(c) for c in table.columns) + " |",
        "|" + "|".join("---" for _ in table.lead) + "|" + "---:|" * (len(table.metrics) + 1),
    ]
    for i in part:
        cells = [_escape(c) for c in rows[i]]
        for j in range(len(table.metrics)):
            if i in table.best[j]:
                cells[lead + j] = f"**{cells[lead + j]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _reported(board: Board) -> list[str]:
    """What others reported for the board's suite, in tables of their own."""
    references = load_references()
    heads, rows, notes = reported_rows(board, references)
    if not rows:
        return []
    lines = [
        "Reported by others; not reproduced here and not ranked (≁: defined or scored in another way than here):",
        "",
        *_plain_rows(heads, rows),
        *(f"\n{_escape(note)}" for note in notes),
        "",
    ]
    metrics = grid_metrics(board, references)
    if metrics:
        # One score of each grid; the page shows the others.
        for grid in reported_grids(board, references, board.metric if board.metric in metrics else metrics[0]):
            lines += [_escape(grid.title), "", *_plain_rows(grid.heads, grid.rows), ""]
    return lines


def _plain_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text."""
    return [
        "| " + " | ".join(map(_escape, heads)) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(map(_escape, row)) + " |" for row in rows),
    ]


def _cell(value: float | None) -> object:
    return "" if value is None else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
