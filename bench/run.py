"""`bench run`: train and score every job of a suite that is not done yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, DbOption, new_console, refuse_idle, table

if TYPE_CHECKING:
    from harness.config.suite import Suite
    from harness.runner import Outcome, RunOptions

LOCAL_HELP = "Run one job after another, without Ray."


def run(
    suite: Annotated[str, typer.Option("--suite", "-s", metavar="NAME|FILE", help="Which suite, e.g. demo.")],
    data_dir: DataOption = None,
    db: DbOption = None,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="With --local: in this very process, for a debugger.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it would cost; train nothing.")
    ] = False,
    timing: Annotated[
        bool | None,
        typer.Option(
            "--timing/--no-timing", help="With --dry-run: time one step of every network.", show_default="timing"
        ),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="A few steps of every job, to see that all parts work; ranked apart."),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. recipe.epochs=5 or lr=1e-3."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these models; a model that the suite does not have is added."),
    ] = None,
    datasets: Annotated[str | None, typer.Option(metavar="A,B", help="Only these data sets.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1|0-4", help="These seeds.")] = None,
    tune: Annotated[
        int | None,
        typer.Option(metavar="N", help="First search every model's hyperparameters on val, with N trials each."),
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A model file the suite may name.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score these weights of one model; train nothing.")
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="0,0,1,…", help="With --checkpoint: the data set's class for each of the model's."),
    ] = None,
    pretrained_on: Annotated[
        str | None,
        typer.Option(metavar="A,B|none", help="With --checkpoint: the data sets its weights were trained on."),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL", help="Where checkpoints and label maps go.", show_default="beside the database"
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDR|auto", help="An existing Ray cluster.", show_default="this machine"),
    ] = None,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="Processors Ray may use on this machine.", show_default="all")
    ] = None,
) -> None:
    """Train and score every job of a suite that is not done yet.

    Example: bench run --suite demo
    """
    if not local:
        refuse_idle({"--in-process": in_process}, "it needs --local; Ray's jobs have processes of their own")
    else:
        refuse_idle({"--address": address, "--cpus": cpus}, "they are Ray's, and --local needs none")
    if address is not None:
        refuse_idle({"--cpus": cpus}, "it is for Ray on this machine; a cluster knows its processors")
    if not dry_run:
        refuse_idle({"--timing/--no-timing": timing is not None}, "it is for --dry-run")
    wanted = narrowed(
        suite, overrides or (), models, datasets, seeds, checkpoint, label_map, plugin or (), pretrained_on
    )
    options = run_options(
        db=db,
        data_dir=data_dir,
        artifacts=artifacts,
        plugins=plugin or (),
        smoke=smoke,
        local=local,
        in_process=in_process,
        address=address,
        cpus=cpus,
    )
    if dry_run:
        dry(wanted, options, timing is not False, tune)
        return
    code = run_and_report(wanted, options, tune)
    if code:
        raise typer.Exit(code)


def run_options(*, local: bool = False, in_process: bool = False, **fields: Any) -> RunOptions:
    """The options of a run, from those of the command line."""
    from harness.runner import RunOptions

    return RunOptions(backend="in-process" if in_process else "local" if local else "ray", **fields)


def dry(suite: Suite, options: RunOptions, timing: bool, tune: int | None = None) -> None:
    """Print what would be done."""
    from bench.plan import print_plan
    from bench.progress import Display
    from harness.runner.suite_run import plan

    print_plan(plan(suite, options, Display(), tune=tune), new_console(), timing)


def run_and_report(suite: Suite, options: RunOptions, tune: int | None = None) -> int:
    """Run a suite and print its boards; returns the exit code: 0, 1 (jobs failed) or 130 (stopped)."""
    from bench.progress import Display
    from harness.runner.suite_run import run

    outcome = run(suite, options, Display(), tune=tune)
    report(outcome, options)
    return outcome.exit_code


def report(outcome: Outcome, options: RunOptions) -> None:
    """Print the suite's boards and what failed."""
    from harness.results import open_store
    from leaderboard.boards.board import boards
    from leaderboard.queries.load import load_runs
    from leaderboard.tables.table import overview

    console, todo = new_console(), outcome.plan
    if todo.searches:
        console.print("Stopped. The same command goes on with the searches that are left.")
        return
    if not todo.to_do:
        console.print(
            f"Nothing to do: all {len(todo.done)} jobs of suite {todo.suite.name} are trained and scored in "
            f"{outcome.database}."
        )
        for note in todo.notes:
            console.print(note, markup=False)
    protocols = {task.job.protocol_hash for task in todo.jobs}
    store = open_store(options.db, read_only=True)
    results = [r for r in load_runs(store, suite=todo.suite.name) if r.protocol_hash in protocols]
    store.close()
    for board in boards(results):
        shown = overview(board)
        console.print()
        lines = shown.text_rows()
        for heading, part in shown.groups:
            title = f"{shown.title}\n{heading}" if heading else shown.title
            console.print(
                table(shown.columns, lines[part.start : part.stop], title=title, right=len(shown.metrics) + 1)
            )
        for note in shown.notes:
            console.print(note)
    if outcome.failures:
        rows = [(task.job.title, r.state, r.reason or r.error) for task, r in outcome.failures]
        console.print(table(("job", "state", "reason"), rows, title=f"{len(rows)} failed"))
        console.print("`bench status --failed` shows them again, with their tracebacks.")
    if outcome.elsewhere:
        console.print(f"{outcome.elsewhere} jobs are being run by another command on the same database.")
    if outcome.interrupted:
        console.print("Stopped. The same command continues from the last checkpoints.")


def narrowed(
    suite: str,
    overrides: Sequence[str],
    models: str | None,
    datasets: str | None,
    seeds: str | None,
    checkpoint: Path | None,
    label_map: str | None,
    plugins: Sequence[Path],
    pretrained_on: str | None = None,
) -> Suite:
    """The suite with --set, --models, --datasets, --seeds and --checkpoint applied.

    Raises:
        UnknownName: a name is neither in the suite nor known otherwise.
        SuiteError: the seeds or the label map cannot be read, or the weights do not fit.
    """
    from harness.config.load import load_suite
    from harness.config.narrow import parse_seeds, with_checkpoint, with_datasets, with_models
    from harness.errors import SuiteError
    from harness.models.registry import read_plugin
    from harness.utils.pretraining import declared

    entries = {entry.name: entry for entry in map(read_plugin, plugins)}
    wanted = load_suite(suite, overrides)
    if models:
        wanted = with_models(wanted, _names(models), entries)
    if datasets:
        wanted = with_datasets(wanted, _names(datasets))
    if seeds:
        wanted = wanted.model_copy(update={"seeds": parse_seeds(seeds)})
    if checkpoint is None:
        if label_map is not None:
            raise SuiteError("--label-map needs --checkpoint FILE")
        if pretrained_on is not None:
            raise SuiteError("--pretrained-on needs --checkpoint FILE", "A suite says it of a model: pretrained_on.")
        return wanted
    try:
        labels = None if label_map is None else [int(part) for part in _names(label_map)]
    except ValueError as error:
        raise SuiteError(f"--label-map {label_map}: write it as whole numbers, e.g. 0,0,1") from error
    return with_checkpoint(wanted, checkpoint, labels, declared(pretrained_on, "--pretrained-on"))


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
