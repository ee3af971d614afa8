"""`bench db` and `bench merge`: care of results databases."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.console import DbOption, new_console, refuse_idle

app = typer.Typer(
    help="Check, back up and migrate a results database.\n\nExample: bench db check", no_args_is_help=True
)


@app.command()
def check(
    with_artifacts: Annotated[
        bool, typer.Option("--artifacts/--no-artifacts", help="Compare label maps with their checksums, too.")
    ] = True,
    db: DbOption = None,
) -> None:
    """Check the file, its references, and every figure against its per-image statistics.

    Ends with 1 if anything is wrong.

    Example: bench db check
    """
    from bench.progress import CountBar
    from harness.results import open_store
    from harness.results.check import check_database

    store = open_store(db, read_only=True)
    place = store.artifacts
    checked = place if with_artifacts and place.exists else None
    problems = list(check_database(store, checked, partial(CountBar(), "Checking runs")))
    console = new_console()
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    console.print(f"{store.name}: {len(problems)} problem(s).", markup=False)
    if problems:
        raise typer.Exit(1)


@app.command()
def backup(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="A file that does not exist yet.")],
    db: DbOption = None,
) -> None:
    """Copy an SQLite database, also while a run writes it.

    Example: bench db backup --out monday.db
    """
    from harness.errors import BenchError
    from harness.results import open_store
    from harness.results.migrate import backup_sqlite

    store = open_store(db, read_only=True)
    if store.path is None:
        raise BenchError(f"{store.name}: PostgreSQL is backed up with pg_dump")
    backup_sqlite(store.path, out.resolve())
    print(f"wrote {out}")


@app.command()
def migrate(db: DbOption = None) -> None:
    """Bring a database of an earlier schema up to date, after a backup beside it.

    Example: bench db migrate
    """
    from harness.results.migrate import migrate as run

    before, after, copy = run(db)
    if before == after:
        print(f"Nothing to do: the database has schema {after}.")
        return
    print(f"Migrated from schema {before} to {after}." + (f" As it was before: {copy}" if copy else ""))


@app.command()
def artifacts(
    place: Annotated[
        str | None, typer.Argument(metavar="DIR|URL", help="Where they are now; without it, the place is shown.")
    ] = None,
    db: DbOption = None,
) -> None:
    """Show where checkpoints and label maps are, or say that they were moved.

    Example: bench db artifacts s3://lab/runs
    """
    from harness.errors import ArtifactsError
    from harness.results import open_store
    from harness.scoring.keep import PREDICTIONS
    from harness.tasks.artifacts import Artifacts

    store = open_store(db, read_only=place is None)
    try:
        if place is not None:
            moved, kept = Artifacts.named(place), store.kept()
            missing = sum(not moved.run(fingerprint).has(PREDICTIONS) for fingerprint in kept)
            if missing:
                raise ArtifactsError(
                    f"{moved.location}: the label maps of {missing} of {len(kept)} runs are not there",
                    f"Copy them from {store.artifacts.location} first.",
                )
            store.keep_artifacts_at(moved)
        print(store.artifacts.location)
    finally:
        store.close()


@app.command()
def publish(
    sources: Annotated[list[str], typer.Argument(metavar="A.db B.db…", help="The databases; they are only read.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file; replaced if it is there.")],
    limit: Annotated[float, typer.Option(metavar="MB", help="The size that it may have.", min=0.1)] = 25,
) -> None:
    """Write the finished runs of databases into one file that can be handed on.

    It has figures, curves, provenance and galleries, without what belongs to others or to your machine: photographs and
    truths of data sets, label maps, checkpoints, folders and host names.

    Example: bench db publish results.db --out published.db
    """
    from harness.results.publish import MEGABYTE
    from harness.results.publish import publish as run

    runs = run(sources, out.resolve(), round(limit * MEGABYTE))
    print(f"wrote {out}: {runs} runs, {out.stat().st_size / MEGABYTE:.1f} MB")


def merge(
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER.db", help="The database whose runs are added to yours.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show every merge, and what it brought.")] = False,
    undo: Annotated[
        int | None, typer.Option(metavar="N", help="Remove what merge N brought; put back what it replaced.")
    ] = None,
    artifacts_from: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", help="Where its label maps are.", show_default="the folder beside OTHER.db"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="MIN", help="How long reading it may take.", min=0, show_default="60")
    ] = None,
    db: DbOption = None,
) -> None:
    """Join another lab's database into yours: every training once, contradictions named.

    Nothing in it is believed: rows are checked, figures folded anew from their statistics, label maps compared with
    their checksums. What is not sound is left out and named; nothing of yours is changed. Ends with 1 if anything was
    refused, or if the two contradict each other.

    Example: bench merge their/results.db
    """
    from harness.errors import BenchError

    if (other is not None) + listed + (undo is not None) != 1:
        raise BenchError("give OTHER.db, --list or --undo N", "See: bench merge --help")
    if other is None:
        refuse_idle({"--artifacts-from": artifacts_from, "--minutes": minutes}, "it is for OTHER.db")
    if listed:
        _list_merges(db)
    elif undo is not None:
        _undo_merge(undo, db)
    elif other is not None:
        _merge(other, artifacts_from, 60 if minutes is None else minutes, db)


# Lines about single runs that a merge prints.
SHOWN = 50


def _merge(other: str, artifacts_from: str | None, minutes: float, db: str | None) -> None:
    from bench.progress import CountBar
    from harness.results import open_store
    from harness.results.merge import Limits, refuse_itself
    from harness.results.merge import merge as run
    from harness.tasks.artifacts import Artifacts

    ours = open_store(db)
    try:
        refuse_itself(ours, other)
        place = Artifacts.named(artifacts_from) if artifacts_from else None
        tick = partial(CountBar(), "Checking runs")
        result = run(ours, other, artifacts_from=place, limits=Limits(seconds=60 * minutes), tick=tick)
    finally:
        ours.close()
    print(
        f"{result.added} runs added, {result.replaced} that had not been done here, {result.same} in both, "
        f"{result.scored} of their evaluations added, {result.unfinished} unfinished ones were left out."
    )
    if result.without_label_maps:
        print(f"{result.without_label_maps} came without their label maps: there are none beside that database.")
    if result.unknown_metrics:
        print(f"Left out, because they are not installed here: figures of {', '.join(result.unknown_metrics)}.")
    lines = [f"conflict: {one}" for one in result.conflicts] + [f"refused: {one}" for one in result.refused]
    print("\n".join(lines[:SHOWN]), end="\n" if lines else "")
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN} more")
    if result.number is not None:
        print(f"This is merge {result.number}; `bench merge --undo {result.number}` takes it back.")
    if lines:
        raise typer.Exit(1)


def _list_merges(db: str | None) -> None:
    from bench.console import table
    from harness.results import open_store
    from harness.results.merge import list_merges

    store = open_store(db, read_only=True)
    names = ("added", "replaced", "scored", "refused")
    rows = []
    for one in list_merges(store):
        did = (one.counts.get(name, 0) for name in names)
        rows.append((one.id, one.at[:19], one.who, one.source, one.sha256[:16], *did, (one.undone or "")[:19]))
    new_console().print(table(("merge", "at", "by", "from", "sha256", *names, "undone"), rows, title=store.name))


def _undo_merge(number: int, db: str | None) -> None:
    from harness.results import open_store
    from harness.results.merge import undo_merge

    store = open_store(db)
    try:
        removed, restored = undo_merge(store, number)
    finally:
        store.close()
    print(f"Merge {number} is undone: {removed} runs removed, {restored} put back as they were.")
