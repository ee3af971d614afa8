"""`bench bundle` and `bench verify`: what a reviewer gets, and what a reviewer does with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from rich.console import Console

    from harness.results.bundling.verify import Verified


# Problems that are printed.
SHOWN = 50


def bundle(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or its file, which then goes along.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The archive.", show_default="SUITE.tar.gz")
    ] = None,
    label_maps: Annotated[
        bool, typer.Option("--label-maps/--no-label-maps", help="Without them nobody can score them anew.")
    ] = True,
    db: DbOption = None,
) -> None:
    """Write what a reviewer needs to check a suite's figures as one archive.

    The same results give the same bytes. Photographs and truths are left out: they are the data set's.

    Example: bench bundle demo --out demo.tar.gz
    """
    from harness.results import open_store
    from harness.results.bundling.write import write_bundle

    store = open_store(db, read_only=True)
    target = out or Path(f"{Path(suite).stem}.tar.gz")
    try:
        done = write_bundle(store, suite, target, label_maps)
    finally:
        store.close()
    size = target.stat().st_size / 1e6
    print(
        f"wrote {target}: {done.runs} runs of suite {done.suite}, label maps of {done.label_maps} splits, "
        f"{done.files} files, {size:.1f} MB"
    )
    for line in done.left_out:
        print(f"not in it: {line}")
    print(f"A reviewer runs: bench verify {target.name} --data-dir DIR")


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="An archive that `bench bundle` wrote.")],
    data_dir: DataOption = None,
    limit: Annotated[float, typer.Option("--limit", metavar="GB", help="How much it may unpack to.")] = 50.0,
    json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Check an archive: its checksums, every figure from its statistics, and the label maps against your own data.

    Nothing of it is run or believed. Ends with 0 where everything agrees, else with 1.

    Example: bench verify demo.tar.gz
    """
    from harness.results.bundling.unpack import ArchiveLimits
    from harness.results.bundling.verify import verify_bundle

    console = new_console()
    found = verify_bundle(bundle, data_dir, ArchiveLimits(total_bytes=int(limit * 1e9)))
    if json:
        from json import dumps

        from leaderboard.exports.plain import json_text

        print(json_text(dumps(found.record(), indent=2, ensure_ascii=False)))
    else:
        report(found, console)
    raise typer.Exit(found.exit_code)


def report(found: Verified, console: Console) -> None:
    """Print a line for each run, what is wrong, and the end of it."""
    rows = [
        (r.run, r.title, r.state, f"{r.figures} of {r.figures} agree" if r.figures else "–", r.label_maps, r.rescored)
        for r in found.rows
    ]
    heads = ("run", "of", "state", "figures from statistics", "label maps", "scored anew")
    console.print(table(heads, rows, title=f"Suite {found.suite}, written by segbench {found.version}"))
    for line in found.left_out:
        console.print(f"Not in it: {line}", markup=False)
    for line in found.notes:
        console.print(f"Note: {line}", markup=False)
    for line in found.problems[:SHOWN]:
        console.print(f"Wrong: {line}", markup=False)
    if len(found.problems) > SHOWN:
        console.print(f"… and {len(found.problems) - SHOWN} more; --json has all of them")
    console.print(found.summary, markup=False)
