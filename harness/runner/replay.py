"""A row trained again from its record alone, and whether the scores are the same."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy import select

from harness.config.fingerprint import differing_parts
from harness.config.job import DatasetChoice, Job
from harness.config.suite import Suite
from harness.datasets import data_dir as data_folder
from harness.datasets import manifest_of, open_dataset, resolved
from harness.errors import BenchError
from harness.metrics import StatisticsTable
from harness.metrics.metric import metric_title
from harness.models.registry import ModelEntry, find_model, read_plugin
from harness.results import Store, beside, open_store
from harness.results.differences import Change, RunRecord, changes, read_run
from harness.results.rows import PREDICTIONS
from harness.results.schema import DatasetRow, Run
from harness.runner.devices import gpu_count
from harness.runner.driver import Driver, Outcome
from harness.runner.plan import Plan, task_of
from harness.runner.watcher import Watcher
from harness.tasks import provenance
from harness.tasks.task import Task

Verdict = Literal["the same to the bit", "within the seeds' spread", "different", "not trained"]

# A difference is within the spread where it is no larger than so many standard deviations over seeds.
DEVIATIONS = 2.0
# Facts of a machine that say nothing of what it computes.
_IDLE = ("host", "memory", "platform", "threads")


@dataclass(frozen=True)
class Figure:
    """A score of the record and of the replay."""

    split: str
    name: str
    recorded: float | None
    replayed: float | None
    spread: float | None
    """Two standard deviations over the seeds of the record; None for fewer than two."""

    @property
    def difference(self) -> float | None:
        """Replayed minus recorded."""
        return None if self.recorded is None or self.replayed is None else self.replayed - self.recorded


@dataclass(frozen=True)
class Replay:
    """What became of a row that was trained again."""

    run: int
    title: str
    verdict: Verdict
    reason: str
    """The verdict in a sentence."""
    before: tuple[str, ...]
    """What is not as it was when the row was trained."""
    figures: tuple[Figure, ...] = ()
    label_maps: dict[str, bool] = field(default_factory=dict)
    """Split -> whether every label map has the same bytes."""
    headline: str = ""
    """The score that decides between the last two verdicts."""

    @property
    def exit_code(self) -> int:
        """0: the same, or within the spread. 1: neither."""
        return int(self.verdict in ("different", "not trained"))

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {**asdict(self), "figures": [{**asdict(f), "difference": f.difference} for f in self.figures]}


def replay(
    store: Store,
    run_id: int,
    folder: Path,
    data_dir: str | Path | None = None,
    watcher: Watcher | None = None,
    cpu: bool = False,
) -> Replay:
    """Train a row again from its record, in a new database, and compare.

    Everything comes from the row: the resolved job, the seed, the resources, a single file's source. The data set and
    installed packages are this machine's.

    Args:
        store: has the row; it is only read.
        run_id: the row's number.
        folder: an empty folder for the new database, its label maps and the network's file.
        data_dir: where data sets are.
        watcher: told of everything that happens.
        cpu: train on the processor what was trained on a GPU.

    Raises:
        BenchError: there is no such row, or something that it needs is not here: says what.
    """
    watcher = watcher or Watcher()
    recorded = read_run(store, run_id)
    with store.session() as session:
        run = session.get_one(Run, run_id)
    _refuse(run)
    job = _job_here(Job.from_stored(run.config), run, data_folder(data_dir), cpu)
    entry = _entry(run, folder)
    task, plan = _plan(run, job, entry, folder, data_folder(data_dir), watcher)
    before = (*_not_as_it_was(run, task, entry), *_machine(recorded, job))
    for line in before:
        watcher.say(f"Not as it was: {line}")
    again = open_store(str(folder / "results.db"))
    try:
        again.register([task], plan.datasets)
        _train(again, task, plan, watcher)
        with again.session() as session:
            number, state, reason = session.execute(select(Run.id, Run.state, Run.reason)).one()
        if state != "ok":
            return Replay(run_id, recorded.title, "not trained", f"{state}: {reason}", before)
        return _compared(recorded, read_run(again, number), _seeds(store, run), before, _headline(store, run))
    finally:
        again.close()


def _refuse(run: Run) -> None:
    """Refuse a row that no training made, or that has nothing to compare with."""
    if run.model_origin == PREDICTIONS:
        raise BenchError(
            f"run {run.id}: its label maps came from outside: how they were made is not known here",
            "`bench db check` compares them with their checksums.",
        )
    if run.state != "ok":
        raise BenchError(f"run {run.id} is {run.state}: there is no score to compare with")


def _job_here(job: Job, run: Run, folder: Path, cpu: bool) -> Job:
    """The job with its data set where it is on this machine, and only on what this machine has."""
    resources = job.resources
    if resources.nodes > 1:
        raise BenchError(
            f"run {run.id} was trained by {resources.nodes} machines together; a replay trains on one",
            "Run its suite on a Ray cluster instead, into another database, and use `bench diff`.",
        )
    if resources.gpus and not cpu and gpu_count() < resources.gpus:
        names = ", ".join(run.provenance.get("hardware", {}).get("gpus", [])) or f"{resources.gpus:g} GPU(s)"
        raise BenchError(
            f"run {run.id} was trained on {names}; this machine has {gpu_count()} GPU(s)",
            "--cpu trains it on the processor: its figures can then be near, and not the same.",
        )
    if resources.gpus and cpu:
        resources = resources.model_copy(update={"gpus": 0.0})
    return job.model_copy(update={"resources": resources, "dataset": _placed(job.dataset, folder)})


def _placed(choice: DatasetChoice, folder: Path) -> DatasetChoice:
    """A user's own folder where it is on this machine: its place in the record, or that name in the data folder."""
    stored = choice.params.get("path")
    if stored is None:
        return choice
    places = [Path(stored), folder / Path(stored).name, folder]
    root = next((place for place in places if (place / "dataset.yaml").is_file()), None)
    if root is None:
        raise BenchError(
            f"the data set {choice.name} is a folder of somebody's own, and {Path(stored).name} is not in {folder}",
            "Name the folder that has it with --data-dir.",
        )
    name, params = resolved("folder", {"path": str(root.resolve())}, folder)
    return choice.model_copy(update={"name": name, "params": params})


def _entry(run: Run, folder: Path) -> ModelEntry:
    """The network: a single file as the record has it, or what is installed here."""
    if not run.model_source:
        return find_model(run.model_name)
    name = Path(run.model_origin.removeprefix("file ")).name
    path = folder / (name if name.endswith(".py") else f"{name}.py")
    path.write_text(run.model_source, encoding="utf-8")
    return read_plugin(path)


def _plan(run: Run, job: Job, entry: ModelEntry, folder: Path, data: Path, watcher: Watcher) -> tuple[Task, Plan]:
    """The row's task as `bench run` would make it, and a plan of it alone."""
    choice = job.dataset
    dataset = open_dataset(choice.name, choice.variant, data, watcher.say, params=choice.params, tick=None)
    manifest = manifest_of(dataset)
    task = task_of(job, entry, dataset, manifest, beside(folder / "results.db"))
    suite = Suite(name=job.suite, datasets=(choice,), models=(job.model,), recipe={}, seeds=(job.seed,))
    plan = Plan(suite, train=[task], datasets={task.manifest: (dataset.info, dataset.variant, manifest)})
    return task, plan


def _train(store: Store, task: Task, plan: Plan, watcher: Watcher) -> None:
    from harness.runner.local import run_local

    watcher.begins(plan, store.name)
    try:
        run_local(Driver(store, [task], watcher, Outcome(plan, store.name)))
    finally:
        watcher.ends()


def _not_as_it_was(run: Run, task: Task, entry: ModelEntry) -> list[str]:
    """What decides the weights and is not as it was: data, the network's source, versions."""
    found = differing_parts(run.parts, task.parts)
    if entry.origin != run.model_origin:
        found.append(f"network: {run.model_origin} -> {entry.origin}")
    return found


def _machine(recorded: RunRecord, job: Job) -> list[str]:
    """Packages, code and hardware that are not as they were."""
    here = provenance.hardware() if job.resources.gpus else provenance.hardware([])
    there = {name: value for name, value in recorded.hardware.items() if name not in _IDLE}
    code = {name: recorded.code.get(name) for name in ("version", "commit", "dirty")}
    parts = {
        "package": changes(recorded.packages, provenance.packages()),
        "code": changes(code, provenance.code_state()),
        "hardware": changes(there, {name: here.get(name) for name in there}),
    }
    return [f"{part}: {_said(change)}" for part, found in parts.items() for change in found]


def _said(change: Change) -> str:
    return f"{change.what} {change.a} -> {change.b}"


def _headline(store: Store, run: Run) -> str:
    with store.session() as session:
        data = session.get_one(DatasetRow, run.manifest)
        return "miou" if data.foreground is None else f"iou[{data.classes[data.foreground]}]"


def _seeds(store: Store, run: Run) -> list[RunRecord]:
    """The runs of the same cell, the row itself among them."""
    with store.session() as session:
        same = select(Run.id).where(Run.cell == run.cell, Run.state == "ok").order_by(Run.id)
        numbers = list(session.scalars(same))
    return [read_run(store, number) for number in numbers]


def _compared(
    recorded: RunRecord, again: RunRecord, seeds: Sequence[RunRecord], before: tuple[str, ...], headline: str
) -> Replay:
    """What the replay's scores are to those of the record."""
    common = [key for key in recorded.scores if key in again.scores]
    figures = tuple(
        Figure(key[1], name, value, again.scores[key].get(name), _spread(seeds, key, name))
        for key in sorted(common, key=lambda key: (key[1] != "test", key))
        for name, value in recorded.scores[key].items()
    )
    maps = {s: again.label_maps.get(s) == digest for s, digest in recorded.label_maps.items()}
    bits = all(_same_statistics(recorded.statistics[key], again.statistics[key]) for key in common)
    verdict, reason = _judged(figures, maps, bits, headline, len(seeds))
    return Replay(recorded.run, recorded.title, verdict, reason, before, figures, maps, headline)


def _same_statistics(a: bytes, b: bytes) -> bool:
    """Whether two tables of statistics have the same values to the bit; other versions of zlib pack them otherwise."""
    if a == b:
        return True
    try:
        one, other = StatisticsTable.from_bytes(a), StatisticsTable.from_bytes(b)
    except ValueError:
        return False
    return all(_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(StatisticsTable))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    return bool(a == b)


def _spread(seeds: Sequence[RunRecord], key: tuple[str, str], name: str) -> float | None:
    values = [v for seed in seeds if (v := seed.scores.get(key, {}).get(name)) is not None]
    return DEVIATIONS * statistics.stdev(values) if len(values) > 1 else None


def _judged(
    figures: Sequence[Figure], maps: dict[str, bool], bits: bool, headline: str, seeds: int
) -> tuple[Verdict, str]:
    if not figures:
        return "different", "nothing can be compared: the record was scored under another protocol"
    changed = [f for f in figures if f.recorded != f.replayed]
    if not changed and bits and all(maps.values()):
        told = (
            f"label maps, statistics and all {len(figures)} scores are equal"
            if maps
            else (f"statistics and all {len(figures)} scores are equal; the record has no checksums of label maps")
        )
        return "the same to the bit", told
    what = [] if all(maps.values()) else [f"label maps of {', '.join(s for s, same in maps.items() if not same)}"]
    what += [f"{len(changed)} of {len(figures)} scores"] if changed else []
    differ = f"{' and '.join(what) or 'the statistics of the images'} differ"
    split = "test" if any(f.split == "test" for f in figures) else figures[0].split
    one = next((f for f in figures if f.name == headline and f.split == split), None)
    if one is None or one.difference is None:
        return "different", f"{differ}; there is no {headline} to judge by"
    told = f"{differ}; {metric_title(headline)} on {split} by {one.difference:+.6f}"
    if one.spread is None:
        return "different", f"{told}; with one seed there is no spread to judge by"
    within = abs(one.difference) <= one.spread
    spread = f"±{one.spread:.6f} (two standard deviations over {seeds} seeds)"
    return (
        ("within the seeds' spread", f"{told}, within {spread}")
        if within
        else ("different", f"{told}, outside {spread}")
    )
