"""Output that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from harness.errors import BenchError

DbOption = Annotated[
    str | None,
    typer.Option("--db", metavar="FILE|URL", help="Results database.", show_default="./results.db"),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets are.", show_default="$SEGBENCH_DATA or ./data"),
]


def print_error(error: BenchError) -> None:
    """One message on standard error, and what to do on a line of its own."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)


def new_console(stderr: bool = False) -> Console:
    """A console; wide enough for tables where the output is not a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 160)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None, right: int = 0) -> Table:
    """A plain table; the last `right` columns are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=None if title is None else Text(title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    for i, name in enumerate(columns):
        shown.add_column(Text(name), justify="right" if i >= len(columns) - right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    return shown


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
