"""`bench status` and `bench why`: what is in the database, what failed, and why a result is stale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from harness.results.schema import Run
    from leaderboard.queries.load import ScoredRun


# So many runs are listed without being asked for.
FEW = 30


def status(
    db: DbOption = None,
    suite: Annotated[str | None, typer.Option("--suite", "-s", help="Only this suite.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed runs, with their tracebacks.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help=f"List every run; by itself, up to {FEW} of them.")] = False,
) -> None:
    """Say what is in the database under which numbers, what failed and why, and what was withdrawn.

    Example: bench status --failed
    """
    from harness.errors import BenchError, UnknownName
    from harness.results import open_store
    from harness.results.schema import FAILED
    from leaderboard.queries.load import load_runs

    if failed and runs:
        raise BenchError("--failed and --runs: give one of them; the failed runs are listed by --failed alone")
    console = new_console()
    store = open_store(db, read_only=True)
    results = list({(r.suite, r.run_id): r for r in load_runs(store, suite)}.values())
    if suite is not None and not results:
        raise UnknownName.of("suite in this database", suite, {r.suite for r in load_runs(store)}, "bench status")
    every = list({r.run_id: r for r in results}.values())
    bad = [r for r in every if r.state in FAILED]
    if failed:
        for r in bad:
            console.print(f"run {r.run_id} ", style="bold", end="")
            console.print(f"{r.model} on {r.data.name} seed={r.seed}: {r.state}: {r.reason}", markup=False)
            console.print(r.traceback, markup=False)
        console.print(f"{len(bad)} failed" if bad else "Nothing failed.")
        return
    numbers: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for r in results:
        numbers[r.suite, r.data.name, _state(r)].append(r.run_id)
    rows = [(*which, ranges(found), len(found)) for which, found in sorted(numbers.items())]
    console.print(table(("suite", "data set", "state", "numbers", "runs"), rows, title=store.name, right=1))
    if runs or len(every) <= FEW:
        console.print(_listed(every))
    else:
        console.print("`bench status --runs` lists every run with its number.")
    if bad:
        shown = [(r.run_id, r.model, r.data.name, r.seed, r.state, r.reason) for r in bad]
        console.print(table(("run", "model", "data set", "seed", "state", "reason"), shown, title="Failed"))
    out = [(r.run_id, r.model, r.data.name, r.seed, _withdrawn_text(r)) for r in every if r.withdrawn is not None]
    if out:
        console.print(table(("run", "model", "data set", "seed", ""), out, title="Withdrawn: shown, not ranked"))


def _state(run: ScoredRun) -> str:
    return f"{run.state}, withdrawn" if run.withdrawn is not None else run.state


def _withdrawn_text(run: ScoredRun) -> str:
    from leaderboard.boards.withdrawn import withdrawn_text

    return withdrawn_text(run.withdrawn) if run.withdrawn is not None else ""


def _listed(runs: Sequence[ScoredRun]) -> Any:
    """Every run with its number, its hyperparameters and its headline score."""
    from harness.config.grid import grid_text
    from harness.metrics.metric import find_metric, metric_title

    def score(run: ScoredRun) -> str:
        name = run.data.headline
        value = run.test.get(name)
        return "–" if value is None else f"{metric_title(name)} {value:.{find_metric(name).digits}f}"

    rows = [
        (r.run_id, r.model, r.data.name, grid_text(r.grid), r.seed, _state(r), score(r))
        for r in sorted(runs, key=lambda r: r.run_id)
    ]
    return table(("run", "model", "data set", "hyperparameters", "seed", "state", "test"), rows, title="Runs")


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in short: `1–3, 7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in parts)


def why(
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="The run's number, as `bench status` shows it.")],
    db: DbOption = None,
    data_dir: DataOption = None,
) -> None:
    """Say where a run's figures come from, and what has changed since.

    Example: bench why 12
    """
    from sqlalchemy import select

    from harness.errors import BenchError
    from harness.results import open_store
    from harness.results.merge import merge_source
    from harness.results.schema import Evaluation, Run
    from harness.results.withdrawals import words_on

    store = open_store(db, read_only=True)
    with store.session() as session:
        run = session.get(Run, run_id)
        scored = session.scalars(select(Evaluation.merge_id).where(Evaluation.run_id == run_id).distinct()).all()
    if run is None:
        raise BenchError(f"{store.name}: there is no run {run_id}", "`bench status` lists the runs.")
    console = new_console()
    rows = provenance_rows(run)
    if (came := merge_source(store, run.merge_id)) is not None:
        rows.append(("came by", came))
    others = sorted({number for number in scored if number is not None} - {run.merge_id})
    rows += [("scores came by", told) for number in others if (told := merge_source(store, number)) is not None]
    rows += [("withdrawals", word.text) for word in words_on(store, run_id)]
    console.print(table(("", ""), rows))
    changes = stale_parts(run, data_dir)
    if changes:
        console.print("Out of date: trained today, this job would have another fingerprint. What differs:")
        for change in changes:
            console.print(f"  {change}", markup=False)
    else:
        console.print("Up to date: trained today, this job would have the same fingerprint.")


def provenance_rows(run: Run) -> list[tuple[str, str]]:
    """Where a run's figures come from, line by line."""
    code, machine = run.provenance.get("code", {}), run.provenance.get("hardware", {})
    dirty = " with local changes" if code.get("dirty") else ""
    gpus = ", ".join(machine.get("gpus", [])) or "none"
    return [
        ("run", f"{run.id}: {run.model} on {run.config['dataset']['name']}, seed {run.seed}"),
        ("state", f"{run.state} {run.reason}".strip()),
        ("fingerprint", run.fingerprint),
        ("ran", f"{run.started or '–'} to {run.finished or '–'}, attempt {run.attempt}"),
        ("code", f"segbench {code.get('version', '–')}, commit {code.get('commit') or '–'}{dirty}"),
        ("packages", ", ".join(f"{k} {v}" for k, v in run.provenance.get("packages", {}).items())),
        ("machine", f"{machine.get('processor', '–')}, {machine.get('cores', '–')} cores, GPUs: {gpus}"),
        ("search", searched(run)),
        ("earlier attempts", "; ".join(f"{h['attempt']}: {h['state']} {h['reason']}" for h in run.history) or "none"),
        ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in run.times.items())),
    ]


def searched(run: Run) -> str:
    """How a run's hyperparameters were found."""
    from leaderboard.boards.searched import search_cost

    if run.search is None:
        return "none: its hyperparameters were given"
    values = ", ".join(f"{key}={value:.4g}" for key, value in run.search["values"].items())
    return f"{values} from {search_cost(run.search)}"


def stale_parts(run: Run, data_dir: object) -> list[str]:
    """What has changed since a run was trained: its network's source, its data, the training's version."""
    from harness.config.fingerprint import differing_parts, train_parts
    from harness.config.job import Job
    from harness.datasets import data_dir as folder_of
    from harness.datasets import manifest_of, open_dataset
    from harness.errors import BenchError
    from harness.models.declaration import read_declaration
    from harness.models.registry import ModelEntry, find_model
    from harness.results.rows import PREDICTIONS

    if run.model_origin == PREDICTIONS:
        return ["the predictions come from elsewhere: how they were made is not known here"]
    job = Job.from_stored(run.config)
    source, manifest = run.parts["model_source"], run.parts["data"]
    backbone = run.parts.get("backbone")
    notes = []
    try:
        if run.model_source:
            said = read_declaration(run.model_source, run.model_origin)
            backbone = said.backbone
            if said.requires:  # their versions count
                own = ModelEntry(job.model.name, "build", source=run.model_source, requires=said.requires)
                source = own.source_hash
        else:
            entry = find_model(job.model.name)
            source, backbone = entry.source_hash, entry.backbone
    except BenchError as error:
        notes.append(f"model: {error.message}")
    try:
        folder = folder_of(str(data_dir) if data_dir else None)
        manifest = manifest_of(
            open_dataset(job.dataset.name, job.dataset.variant, folder, obtain=False, params=job.dataset.params)
        ).hash
    except BenchError as error:
        notes.append(f"data: could not be compared: {error.message.splitlines()[0]}")
    given: dict[str, Any] = {key: run.parts[key] for key in ("checkpoint", "start_from") if key in run.parts}
    return [*differing_parts(run.parts, train_parts(job, source, manifest, given, backbone)), *notes]
