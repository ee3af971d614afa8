"""Output that all verbs share, and what of it reaches a terminal.

Names, reasons and tracebacks of strangers are shown. In them a terminal would obey escape sequences: nothing but
characters that can be printed, line breaks and tabs goes out, whoever prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from harness.utils.text import printable

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


def refuse_idle(given: Mapping[str, object], because: str) -> None:
    """Refuse options that would do nothing.

    Args:
        given: option -> its value; None and False: it was not given.
        because: why they cannot apply.

    Raises:
        BenchError: one of them was given.
    """
    from harness.errors import BenchError

    idle = [option for option, value in given.items() if value is not None and value is not False]
    if idle:
        raise BenchError(f"{', '.join(idle)} cannot apply: {because}")


class PlainStream:
    """A stream that lets only what can be printed through.

    It says that it is no terminal, so that no library colors what it writes; our own console writes to `terminal`.

    Args:
        terminal: where everything goes, which may be a terminal or not.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal

    def write(self, text: str) -> int:
        """Write a text, its control characters replaced."""
        clean = printable(text)
        try:
            self.terminal.write(clean)
        except UnicodeEncodeError as error:
            self.terminal.write(clean.encode(error.encoding, "replace").decode(error.encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after another."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Not for others."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)


def use_plain_streams() -> None:
    """From now on, whatever is printed in this process is plain: also warnings, and tracebacks."""
    if not isinstance(sys.stdout, PlainStream):
        sys.stdout = PlainStream(sys.stdout)
        sys.stderr = PlainStream(sys.stderr)


def new_console(stderr: bool = False) -> Console:
    """A console for plain text; wide enough for tables where the output is not a terminal."""
    from bench.plain_console import PlainConsole

    stream = sys.stderr if stderr else sys.stdout
    terminal = getattr(stream, "terminal", stream)
    width = None if terminal.isatty() else 160
    # Nothing of a text is markup: names and reasons may have brackets.
    return PlainConsole(file=terminal, highlight=False, markup=False, emoji=False, width=width)


def on_terminal(stream: TextIO) -> bool:
    """Whether what is written to a stream of this process is seen on a terminal."""
    return bool(getattr(stream, "terminal", stream).isatty())


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None, right: int = 0) -> Table:
    """A plain table; the last `right` columns are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def text(cell: Any) -> Text:
        return Text(printable(str(cell)))

    shown = Table(
        title=None if title is None else text(title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    for i, name in enumerate(columns):
        shown.add_column(text(name), justify="right" if i >= len(columns) - right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(text, row))
    return shown


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
