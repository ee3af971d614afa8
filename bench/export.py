"""`bench export`: tables and figures leave, ready for a paper, a spreadsheet or a page."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import export_figures
from bench.console import DbOption, refuse_idle

if TYPE_CHECKING:
    from leaderboard.exports.export import Wanted

app = typer.Typer(
    no_args_is_help=True,
    help="Write tables and figures for a paper, a spreadsheet or a page.\n\n"
    "Example: bench export latex --suite demo --out demo.tex",
)
app.command("figures")(export_figures.figures)


class TableKind(StrEnum):
    """The tables there are; as leaderboard.exports.export has them, which help does not import."""

    main = "main"
    cells = "cells"
    classes = "classes"
    grid = "grid"
    datasets = "datasets"
    overall = "overall"
    reported = "reported"


class SpreadKind(StrEnum):
    """What stands behind a mean."""

    std = "std"
    interval = "interval"
    none = "none"


SuiteOption = Annotated[str | None, typer.Option("--suite", "-s", help="Only this suite.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="Only this data set.")]
MetricsOption = Annotated[str | None, typer.Option("--metrics", metavar="A,B", help="Columns, e.g. miou,hd95,biou.")]
TableOption = Annotated[
    TableKind,
    typer.Option(
        "--table",
        help="main: one row a model. cells: every cell. classes: class by class. grid: over the hyperparameters. "
        "datasets: models × data sets. overall: which model is best over the data sets of a suite. "
        "reported: beside what others reported.",
    ),
]
CellsOption = Annotated[bool, typer.Option("--ablation", help="The same as --table cells.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Include smoke runs.")]
SpreadOption = Annotated[SpreadKind, typer.Option("--spread", help="Behind each mean.")]
PercentOption = Annotated[bool, typer.Option("--percent", help="Shares as 51.30 instead of 0.5130.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write here.", show_default="standard output")
]


@app.command("latex")
def latex(
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    metrics: MetricsOption = None,
    table: TableOption = TableKind.main,
    ablation: CellsOption = False,
    smoke: SmokeOption = False,
    spread: SpreadOption = SpreadKind.std,
    percent: PercentOption = False,
    siunitx: Annotated[bool, typer.Option("--siunitx", help="Align the figures with siunitx.")] = False,
    caption: Annotated[str | None, typer.Option(help="Instead of the table's title.")] = None,
    label: Annotated[str | None, typer.Option(help="Of the table.")] = None,
    out: OutOption = None,
    db: DbOption = None,
) -> None:
    r"""Write LaTeX tables, for \usepackage{booktabs,graphicx}.

    Example: bench export latex --suite demo --out demo.tex
    """
    more = {"siunitx": siunitx, "caption": caption, "label": label}
    _write("latex", db, out, _wanted(suite, dataset, metrics, table, ablation, smoke, spread, percent) | more)


@app.command("csv")
def csv(
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    metrics: MetricsOption = None,
    table: TableOption = TableKind.main,
    ablation: CellsOption = False,
    smoke: SmokeOption = False,
    spread: SpreadOption = SpreadKind.std,
    excel_safe: Annotated[
        bool, typer.Option("--excel-safe", help="An apostrophe before what a spreadsheet would compute.")
    ] = False,
    out: OutOption = None,
    db: DbOption = None,
) -> None:
    """Write CSV, figures at full precision.

    Example: bench export csv --suite demo --metrics miou,biou
    """
    more = {"excel_safe": excel_safe}
    _write("csv", db, out, _wanted(suite, dataset, metrics, table, ablation, smoke, spread, False) | more)


@app.command("markdown")
def markdown(
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    metrics: MetricsOption = None,
    table: TableOption = TableKind.main,
    ablation: CellsOption = False,
    smoke: SmokeOption = False,
    spread: SpreadOption = SpreadKind.std,
    percent: PercentOption = False,
    out: OutOption = None,
    db: DbOption = None,
) -> None:
    """Write Markdown tables.

    Example: bench export markdown --suite demo --percent
    """
    _write("markdown", db, out, _wanted(suite, dataset, metrics, table, ablation, smoke, spread, percent))


@app.command("json")
def json(
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    metrics: MetricsOption = None,
    table: TableOption = TableKind.main,
    smoke: SmokeOption = False,
    out: OutOption = None,
    db: DbOption = None,
) -> None:
    """Write JSON, figures at full precision.

    Example: bench export json --suite demo --out demo.json
    """
    _write("json", db, out, _wanted(suite, dataset, metrics, table, False, smoke, SpreadKind.std, False))


@app.command("html")
def html(
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    metrics: MetricsOption = None,
    table: TableOption = TableKind.main,
    ablation: CellsOption = False,
    smoke: SmokeOption = False,
    spread: SpreadOption = SpreadKind.std,
    percent: PercentOption = False,
    out: OutOption = None,
    db: DbOption = None,
) -> None:
    """Write one HTML page that needs nothing else.

    Example: bench export html --suite demo --out demo.html
    """
    _write("html", db, out, _wanted(suite, dataset, metrics, table, ablation, smoke, spread, percent))


def _wanted(
    suite: str | None,
    dataset: str | None,
    metrics: str | None,
    table: TableKind,
    every_cell: bool,
    smoke: bool,
    spread: SpreadKind,
    percent: bool,
) -> dict[str, Any]:
    """What the options say that all formats share, as fields of `Wanted`."""
    from leaderboard.exports.export import Kind
    from leaderboard.tables.figure_text import Style

    if table not in (TableKind.main, TableKind.cells):
        refuse_idle({"--ablation": every_cell}, f"--table {table.value} is another table than that of the cells")
    return {
        "suite": suite,
        "dataset": dataset,
        "metrics": _names(metrics),
        "kind": Kind.cells if every_cell else Kind(table.value),
        "smoke": smoke,
        "style": Style(spread.value, percent),
    }


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _write(format: str, db: str | None, out: Path | None, fields: dict[str, Any]) -> None:
    import shlex

    from leaderboard.exports.export import Wanted

    command = shlex.join(["bench", *sys.argv[1:]])
    text = _text(db, Wanted(format, **fields, command=command))
    if out is None:
        print(text, end="")
        return
    write_whole(out, text)
    print(f"wrote {out}")


def _text(db: str | None, wanted: Wanted) -> str:
    from harness.results import open_store
    from leaderboard.exports.export import export

    store = open_store(db, read_only=True)
    try:
        return export(store, wanted)
    finally:
        store.close()


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
    """The boards that match, in a format, without where they come from.

    Raises:
        BenchError: nothing matches, or a metric does not exist.
    """
    from leaderboard.exports.export import Kind, Wanted

    kind = Kind.cells if ablation else Kind.main
    return _text(db, Wanted(format, suite, dataset, _names(metrics), kind, smoke, caption=caption, label=label))


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
