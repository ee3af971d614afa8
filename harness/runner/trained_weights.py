"""The weights that a training starts from where a suite says which run of the results database had them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from harness.config.job import Job, TrainedRun
from harness.errors import SuiteError
from harness.results.facts import pretraining
from harness.results.schema import DatasetRow, Run, SuiteEntry
from harness.results.store import Store
from harness.results.withdrawals import withdrawn_runs
from harness.tasks.artifacts import Artifacts
from harness.tasks.checkpoint_files import BEST, CHECKPOINTS, LAST


def with_trained_weights(jobs: Sequence[Job], store: Store | None, artifacts: Artifacts) -> list[Job]:
    """The jobs, of which those that start from a run name the file of its weights, and what those were trained on.

    Raises:
        SuiteError: the database has no such run that ended well (says which command makes it), or several of a grid; or
            its weights are gone.
    """
    return [_resolved(job, job.model.start_from_run, store, artifacts) for job in jobs]


def _resolved(job: Job, wanted: TrainedRun | None, store: Store | None, artifacts: Artifacts) -> Job:
    if wanted is None:
        return job
    if job.dataset.name not in wanted.trained_on:
        raise SuiteError(f"{_place(job)}: trained_on has no data set for {job.dataset.name}")
    suite, dataset = wanted.suite or job.suite, wanted.trained_on[job.dataset.name]
    seed = job.seed if wanted.seed is None else wanted.seed
    command = f'bench run --suite {suite} --models "{wanted.model}" --datasets {dataset} --seeds {seed}'
    title = f"{wanted.model} of {suite}, trained on {dataset}, seed {seed}"
    found = [] if store is None else _runs(store, suite, wanted.model, dataset, seed)
    if not found:
        raise SuiteError(f"{_place(job)}: the database has no run that ended well of {title}", f"First: {command}")
    if len({repr(sorted(run.grid.items())) for run, _ in found}) > 1:
        raise SuiteError(f"{_place(job)}: several cells of a grid are called {title}", "Name a suite without a grid.")
    run, data = found[-1]
    update: dict[str, Any] = {"start_from_run": None, "start_from": str(_weights(job, run, artifacts))}
    if job.model.pretrained_on is None:
        given = run.config["model"].get("start_from") is not None
        before = pretraining(run.model_origin, run.model_params, given, run.provenance)
        update["pretrained_on"] = None if before is None else tuple(sorted({*before, data.title}))
    return job.model_copy(update={"model": job.model.model_copy(update=update)})


def _place(job: Job) -> str:
    return f"suite {job.suite}: {job.model.title}: start_from_run"


def _runs(store: Store, suite: str, model: str, dataset: str, seed: int) -> list[tuple[Run, DatasetRow]]:
    """The runs of a row of a suite that ended well and stand, the newest last."""
    withdrawn = withdrawn_runs(store)
    query = (
        select(Run, DatasetRow)
        .join(SuiteEntry, SuiteEntry.run_id == Run.id)
        .join(DatasetRow, DatasetRow.manifest == Run.manifest)
        .where(SuiteEntry.suite == suite, DatasetRow.name == dataset)
        .where(Run.model == model, Run.seed == seed, Run.state == "ok")
        .order_by(Run.finished, Run.id)
    )
    with store.session() as session:
        found = [(run, data) for run, data in session.execute(query)]
    return [(run, data) for run, data in found if run.id not in withdrawn and not run.config.get("smoke")]


def _weights(job: Job, run: Run, artifacts: Artifacts) -> Path:
    """The file of the weights that were scored."""
    name = BEST if run.selection.get("rule") == "best" else LAST
    path = artifacts.run(run.fingerprint).fetch(f"{CHECKPOINTS}/{name}")
    if not path.is_file():
        raise SuiteError(
            f"{_place(job)}: run {run.id} is there, but its weights are not: {path}",
            "Put them back, or start from a run of another seed: start_from_run: {seed: N}.",
        )
    return path
