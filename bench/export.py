"""`bench export`: tables leave as LaTeX, CSV, Markdown or JSON."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DbOption

if TYPE_CHECKING:
    from leaderboard.boards import Board
    from leaderboard.tables import Table


class Format(StrEnum):
    """What a table can leave as."""

    latex = "latex"
    csv = "csv"
    markdown = "markdown"
    json = "json"


def export(
    format: Annotated[Format, typer.Argument(help="latex, csv, markdown or json.")],
    suite: Annotated[str | None, typer.Option("--suite", "-s", help="Only this suite.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B", help="Columns, e.g. miou,hd95,biou.")] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Every cell, not only the chosen ones.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Include smoke runs.")] = False,
    caption: Annotated[str | None, typer.Option(help="LaTeX caption.")] = None,
    label: Annotated[str | None, typer.Option(help="LaTeX label.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write here.", show_default="standard output"),
    ] = None,
    db: DbOption = None,
) -> None:
    """Write the leaderboard as a table.

    Example: bench export latex --suite demo --out demo.tex
    """
    text = export_text(format, db, suite, dataset, metrics, ablation, smoke, caption, label)
    if out is None:
        print(text, end="")
        return
    write_whole(out, text)
    print(f"wrote {out}")


def export_text(
    format: str,
    db: str | None,
    suite: str | None = None,
    dataset: str | None = None,
    metrics: str | None = None,
    ablation: bool = False,
    smoke: bool = False,
    caption: str | None = None,
    label: str | None = None,
) -> str:
    """The boards that match, in a format.

    Raises:
        BenchError: nothing matches, or a metric does not exist.
    """
    import json

    from harness.results import open_store
    from leaderboard.boards import boards
    from leaderboard.queries import load_runs
    from leaderboard.tables import records
    from leaderboard.text import csv_tables, markdown_tables

    store = open_store(db, read_only=True)
    results = load_runs(store, suite)
    found = [b for b in boards(results) if (smoke or not b.smoke) and dataset in (None, b.data.name)]
    _refuse_empty(found, {r.suite for r in load_runs(store)}, suite, dataset, smoke)
    if format == "json":
        return json.dumps([row for b in found for row in records(b)], indent=2, ensure_ascii=False) + "\n"
    tables = [(board, _table(board, metrics, ablation)) for board in found]
    if format == "csv":
        return csv_tables(tables)
    if format == "markdown":
        return markdown_tables(tables)
    return _latex(tables, caption, label)


def _latex(tables: list[tuple[Board, Table]], caption: str | None, label: str | None) -> str:
    import re

    from leaderboard.latex import latex_table

    parts = []
    for board, table in tables:
        own = "tab:" + re.sub(r"[^A-Za-z0-9:-]+", "-", board.key)
        given = label if len(tables) == 1 else label and f"{label}-{board.data.name}"
        parts.append(latex_table(table, caption, given or own))
    return "\n".join(parts)


def _table(board: Board, metrics: str | None, every_cell: bool) -> Table:
    from harness.errors import UnknownName
    from harness.metrics.metric import score_names
    from leaderboard.tables import ablation, metric_names, overview

    chosen = [m.strip() for m in metrics.split(",") if m.strip()] if metrics else None
    for metric in chosen or ():
        if metric not in metric_names(board.data):
            names = score_names(board.data.foreground)
            near = UnknownName.of("metric", metric, metric_names(board.data), "bench metrics")
            raise UnknownName(near.message, f"Metrics: {', '.join(names)}; of one class: iou[NAME] and the like.")
    return ablation(board, chosen) if every_cell else overview(board, chosen)


def _refuse_empty(found: list[Board], suites: set[str], suite: str | None, dataset: str | None, smoke: bool) -> None:
    from harness.errors import BenchError, UnknownName

    if found:
        return
    if suite is not None and suite not in suites:
        raise UnknownName.of("suite in this database", suite, suites, "bench status")
    hint = None if smoke else "Smoke runs are left out; --smoke includes them."
    raise BenchError(f"Nothing to export{f' for {dataset}' if dataset else ''}: no run matches.", hint)


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: beside it first, then into its place.

    Raises:
        BenchError: it cannot be written; nothing half-written stays.
    """
    from harness.errors import BenchError
    from harness.utils.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror}") from error
