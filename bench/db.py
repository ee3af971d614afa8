"""`bench db` and `bench merge`: care of results databases."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.console import DbOption, new_console

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
    """Bring a database of an earlier version up to date, after a backup beside it.

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
    other: Annotated[str, typer.Argument(metavar="OTHER.db", help="The database whose runs are added to yours.")],
    db: DbOption = None,
) -> None:
    """Join another lab's database into yours: every training once, contradictions named.

    Label maps beside the other database come along. Ends with 1 if the two contradict each other; the figures that were
    here are kept then.

    Example: bench merge their/results.db
    """
    from harness.errors import BenchError
    from harness.results import open_store
    from harness.results.merge import merge as run

    theirs = open_store(other, read_only=True)
    ours = open_store(db)
    try:
        if theirs.name == ours.name:
            raise BenchError(f"{ours.name}: is the same database")
        result = run(ours, theirs, ours.artifacts, theirs.artifacts)
    finally:
        ours.close()
    print(
        f"{result.added} runs added, {result.replaced} that had not been done here, {result.same} in both, "
        f"{result.scored} of their evaluations added, {result.unfinished} unfinished ones were left out."
    )
    for conflict in result.conflicts:
        print(f"conflict: {conflict}")
    if result.conflicts:
        raise typer.Exit(1)
