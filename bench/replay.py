"""`bench replay`: a row is trained again from its record alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from rich.console import Console

    from harness.runner.replay import Replay


def replay(
    run: Annotated[int, typer.Argument(metavar="RUN", help="The row's number: `bench status` and the board show it.")],
    data_dir: DataOption = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="On the processor, what was trained on a GPU.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the new database and label maps in this new folder."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What came out, as JSON.")] = False,
    db: DbOption = None,
) -> None:
    """Train a row again from its record alone, and say whether its scores are the same.

    Ends with 0 where they are the same to the bit or within the seeds' spread, else with 1.

    Example: bench replay 12
    """
    import tempfile

    from bench.progress import Display
    from harness.errors import BenchError
    from harness.results import open_store
    from harness.runner.replay import replay as train_again
    from harness.runner.watcher import Watcher

    store = open_store(db, read_only=True)
    with tempfile.TemporaryDirectory(prefix="segbench-replay-") as scratch:
        if keep is not None:
            try:
                keep.mkdir(parents=True)
            except OSError as error:
                raise BenchError(f"--keep {keep}: cannot be made: {error.strerror}", "Name a new folder.") from error
        folder = (keep or Path(scratch)).resolve()
        try:
            found = train_again(store, run, folder, data_dir, Watcher() if json else Display(), cpu)
        except BaseException:
            if keep is not None and not any(folder.glob("results.db")):
                _remove(folder)
            raise
        finally:
            store.close()
    if json:
        from json import dumps

        from leaderboard.exports.plain import json_text

        print(json_text(dumps(found.record(), indent=2, ensure_ascii=False)))
    else:
        report(found, new_console())
        if keep is not None:
            print(f"Kept in {keep}")
    raise typer.Exit(found.exit_code)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def report(found: Replay, console: Console) -> None:
    """Print the figures that differ, or the usual ones, and the verdict."""
    from harness.metrics.metric import is_known, metric_title
    from leaderboard.tables.table import DEFAULT_METRICS

    usual = {found.headline, *DEFAULT_METRICS}
    shown = [f for f in found.figures if is_known(f.name) and f.name in usual]
    rows = [
        (f.split, metric_title(f.name), *map(_number, (f.recorded, f.replayed)), _difference(f.difference),
         "–" if f.spread is None else f"±{f.spread:.6f}")
        for f in shown
    ]  # fmt: skip
    if rows:
        console.print(table(("split", "score", "recorded", "replayed", "difference", "seeds' spread"), rows, right=4))
    for split, same in found.label_maps.items():
        console.print(f"label maps of {split}: {'every byte is the same' if same else 'differ'}")
    console.print(f"run {found.run}, {found.title}: {found.verdict}: {found.reason}", markup=False)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def _difference(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:+.2e}"
