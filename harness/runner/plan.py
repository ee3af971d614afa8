"""What has to be done: the suite's jobs against what the database already holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.config.expand import Smoke, expand, tuned
from harness.config.fields import merge
from harness.config.fingerprint import (
    cell_fingerprint,
    digest,
    score_fingerprint,
    train_fingerprint,
    train_parts,
    weights_parts,
)
from harness.config.job import DatasetChoice, Job
from harness.config.recipe import Recipe
from harness.config.suite import Search, Suite
from harness.config.trials import search_around
from harness.datasets import Dataset, DatasetInfo, Manifest, dataset_class, manifest_of, open_dataset, resolved
from harness.errors import BenchError, SuiteError
from harness.models.registry import BY_PARAMETER, ModelEntry, find_model
from harness.models.requirements import installed
from harness.results.scored_as import dataset_key
from harness.results.store import Store
from harness.results.withdrawals import withdrawn_among
from harness.runner.automatic import Automatic, imitated
from harness.runner.backbone import refuse_undeclared_backbones, searched_backbone
from harness.runner.machine import Machine
from harness.runner.searchers import SEARCHERS
from harness.runner.shared_training import share_trainings
from harness.runner.trained_weights import with_trained_weights
from harness.scoring.crf import require_crf
from harness.scoring.evaluate import check_metric
from harness.tasks.artifacts import Artifacts
from harness.tasks.task import Task
from harness.utils.canonical import canonical

# Told in a line of anything that takes time; told of (what, done, of how many).
Say = Callable[[str], None]
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SearchTask:
    """One network on one data set whose hyperparameters are searched."""

    key: str
    """Names what was found: a hash over the space and everything else that decides."""
    task: Task
    """The job as the suite gives it, which each trial changes."""
    search: Search

    @property
    def title(self) -> str:
        """Which network on which data set."""
        return f"{self.task.job.model.title} on {self.task.job.dataset.name}"


@dataclass
class Plan:
    """A suite's jobs by what has to be done for them."""

    suite: Suite
    train: list[Task] = field(default_factory=list)
    rescore: list[Task] = field(default_factory=list)
    done: list[Task] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What to tell about how the work is done."""
    searches: list[SearchTask] = field(default_factory=list)
    """Searches that have to be done before their winners can be planned."""
    datasets: dict[str, tuple[DatasetInfo, str, Manifest]] = field(default_factory=dict)
    """Key of a copy's row in the database -> facts, variant and manifest."""

    @property
    def to_do(self) -> list[Task]:
        """Everything that is not done, cheapest first."""
        return [*self.rescore, *self.train]

    @property
    def to_train(self) -> list[Task]:
        """Every job that has to be trained, the shorter ones inside longer ones among them."""
        return [one for task in self.train for one in task.with_shorter()]

    @property
    def jobs(self) -> list[Task]:
        """Every job."""
        return [*self.rescore, *self.to_train, *self.done]


@dataclass(frozen=True)
class _Copy:
    """A copy of a data set and its manifest."""

    dataset: Dataset
    manifest: Manifest

    @property
    def key(self) -> str:
        """What names its row in the database."""
        return dataset_key(self.dataset.info, self.manifest)


def make_plan(
    suite: Suite,
    store: Store | None,
    data_folder: Path,
    artifacts: Artifacts,
    plugins: Mapping[str, ModelEntry] | None = None,
    smoke: Smoke | None = None,
    say: Say = lambda line: None,
    tick: Tick | None = None,
    obtain: bool = True,
    machine: Machine | None = None,
) -> Plan:
    """Resolve every job, check its data, and compare with the database.

    Args:
        suite: the suite.
        store: the database; None plans as if nothing was done.
        data_folder: where data sets are looked for.
        artifacts: where checkpoints and label maps go.
        plugins: networks from single files.
        smoke: cut every job down to a few steps.
        say: told of downloads and the like.
        tick: told of the data check's progress.
        obtain: whether data sets that are not there are downloaded or made.
        machine: what decides where a suite says `auto`; None: this one.

    Raises:
        BenchError: a name does not exist, data are missing or unsound; the suite asks for a metric that a data set has
            not, a head's learning rate of a network that does not say what its head is, or the weights of a run that is
            not there; or `auto` needs a measurement that cannot be taken here.
    """
    suite = suite.model_copy(update={"datasets": tuple(_resolved(choice, data_folder) for choice in suite.datasets)})
    _refuse_namesakes(suite)
    entries = {m.name: find_model(m.name, dict(plugins or {})) for m in suite.models}
    suite = _with_declared(suite, entries)
    copies = _open_copies(suite, data_folder, say, tick, obtain)
    infos = {d.name: dataset_class(d.name, d.params).info for d in suite.datasets}
    jobs = expand(suite, infos, smoke, {name: entry.size for name, entry in entries.items() if entry.size})
    _refuse_impossible(jobs, copies)
    refuse_undeclared_backbones(jobs, entries, suite.search)
    _refuse_untrue(suite, entries)
    jobs = with_trained_weights(jobs, store, artifacts)
    plan = Plan(suite)
    planner = _Planner(entries, copies, artifacts, store.cells() if store else frozenset())
    automatic = Automatic(machine or Machine(say), planner.knows)
    jobs = automatic.resolve(jobs)
    if suite.search is not None and smoke is None:
        winners, plan.searches = _searched(suite, jobs, planner, store, automatic)
        jobs = [*jobs, *winners]
    tasks: dict[str, Task] = {}
    for task in map(planner.task, jobs):
        tasks.setdefault(task.fingerprint, task)
    plan.datasets = {c.key: (c.dataset.info, c.dataset.variant, c.manifest) for c in copies.values()}
    withdrawn = _sort_by_state(plan, list(tasks.values()), store)
    plan.train, notes = share_trainings(plan.train)
    plan.notes = [*automatic.notes, *imitated(task.job for task in plan.train), *notes, *withdrawn]
    return plan


def _resolved(choice: DatasetChoice, folder: Path) -> DatasetChoice:
    name, params = resolved(choice.name, choice.params, folder)
    return choice.model_copy(update={"name": name, "params": params})


def _with_declared(suite: Suite, entries: Mapping[str, ModelEntry]) -> Suite:
    """The suite, in which each network's recipe has what the network declares of its input.

    What the suite says of that network, a grid and the command line come before it.

    Raises:
        PluginError: a package that a network needs is not installed.
    """
    models = []
    for model in suite.models:
        entry = entries[model.name]
        installed(entry.requires, entry.name)
        own = {name: value for name, value in entry.recipe.items() if name not in suite.given}
        models.append(model.model_copy(update={"recipe": merge(own, model.recipe)}) if own else model)
    return suite.model_copy(update={"models": tuple(models)})


def _refuse_namesakes(suite: Suite) -> None:
    """Refuse two folders under one name: jobs could not tell them apart."""
    known: dict[str, DatasetChoice] = {}
    for choice in suite.datasets:
        other = known.setdefault(choice.name, choice)
        if other.params != choice.params:
            raise SuiteError(
                f"suite {suite.name}: {other.params.get('path')} and {choice.params.get('path')} are both called "
                f"{choice.name}",
                "Give one of them another name in its dataset.yaml.",
            )


def _open_copies(
    suite: Suite, folder: Path, say: Say, tick: Tick | None, obtain: bool
) -> dict[tuple[str, str | None], _Copy]:
    copies: dict[tuple[str, str | None], _Copy] = {}
    for choice in suite.datasets:
        dataset = open_dataset(choice.name, choice.variant, folder, say, obtain, choice.params, tick, aside=not obtain)
        told = None if tick is None else partial(tick, f"Checking {dataset.info.title}")
        copies[choice.name, dataset.variant] = _Copy(dataset, manifest_of(dataset, told))
    return copies


def _refuse_impossible(jobs: Sequence[Job], copies: Mapping[tuple[str, str | None], _Copy]) -> None:
    """Refuse what could only fail once training has begun."""
    for job in jobs:
        dataset = copies[job.dataset.name, job.dataset.variant].dataset
        check_metric(job.selection.metric, dataset.info)
        if job.recipe.predict.crf is not None:
            require_crf()
        if job.recipe.loss.binary and len(dataset.info.classes) != 2:
            raise SuiteError(
                f"suite {job.suite}: the loss {job.recipe.loss.binary_term} needs a binary data set, "
                f"{dataset.info.name} is not"
            )
        if problem := job.recipe.loss.problem(dataset.info.classes):
            raise SuiteError(f"suite {job.suite}: {dataset.info.name} does not fit {problem}")
        if job.model.label_map is not None and (job.recipe.loss.sigmoid_channels or 1) > 1:
            raise SuiteError(
                f"suite {job.suite}: the loss {job.recipe.loss.binary_term} reads several channels as one; "
                "a label map needs a channel for each class"
            )
        if job.model.label_map is not None and any(not 0 <= v < len(dataset.info.classes) for v in job.model.label_map):
            raise SuiteError(
                f"suite {job.suite}: the label map {list(job.model.label_map)} names a class that {dataset.info.name} "
                f"does not have: it has 0 to {len(dataset.info.classes) - 1}"
            )
        if job.model.checkpoint is not None:
            continue  # it is only scored
        if not dataset.ids("train"):
            raise BenchError(
                f"{dataset.info.name} ({dataset.variant}) has no training image",
                "Weights that are there can be scored on it: --checkpoint FILE; label maps, too: bench score.",
            )
        if min(job.recipe.batch_size, len(dataset.ids("train", job.images))) < job.resources.world_size:
            raise SuiteError(
                f"suite {job.suite}: {job.resources.world_size} processes cannot share batches of "
                f"{job.recipe.batch_size}"
            )
        if job.selection.rule == "best" and not dataset.ids(job.selection.split):
            raise SuiteError(
                f"suite {job.suite}: selection.split: {dataset.info.name} has no {job.selection.split} split",
                "Use selection: {rule: last}.",
            )
        if job.recipe.early_stop is not None and not dataset.ids(job.selection.split):
            raise SuiteError(
                f"suite {job.suite}: recipe.early_stop: {dataset.info.name} has no {job.selection.split} split whose "
                "scores could end a training",
                "Leave early_stop out.",
            )


def _refuse_untrue(suite: Suite, entries: Mapping[str, ModelEntry]) -> None:
    """Refuse a declared pretraining where it is known from the network's parameters."""
    for model in suite.models:
        given = any(weights is not None for weights in (model.checkpoint, model.start_from, model.start_from_run))
        if model.pretrained_on is not None and not given and entries[model.name].origin in BY_PARAMETER:
            raise SuiteError(
                f"suite {suite.name}: pretrained_on: what {model.name} starts from is its parameter pretrained",
                "Leave pretrained_on out; it is for checkpoint, start_from and networks of other packages.",
            )


@dataclass(frozen=True)
class _Planner:
    """What makes a task of a job."""

    entries: Mapping[str, ModelEntry]
    copies: Mapping[tuple[str, str | None], _Copy]
    artifacts: Artifacts
    known_cells: Set[str]
    """The cells that the database has."""

    def copy(self, job: Job) -> _Copy:
        return self.copies[job.dataset.name, job.dataset.variant]

    def parts(self, job: Job) -> dict[str, Any]:
        """What the train fingerprint is taken over."""
        entry = self.entries[job.model.name]
        return train_parts(job, entry.source_hash, self.copy(job).manifest.hash, weights_parts(job), entry.backbone)

    def knows(self, job: Job) -> bool:
        """Whether the database has the job's cell."""
        return cell_fingerprint(self.parts(job)) in self.known_cells

    def task(self, job: Job) -> Task:
        """The task of a job, as if it had to be trained."""
        parts = self.parts(job)
        fingerprint, copy = train_fingerprint(parts), self.copy(job)
        return Task(
            job=job,
            model=self.entries[job.model.name],
            fingerprint=fingerprint,
            data_root=str(copy.dataset.root),
            folder=self.artifacts.run(fingerprint).location,
            # A smoke run looks at a few images: nothing is gained by decoding all of them.
            content="" if job.images is not None else copy.manifest.content_hash,
            parts=parts,
            cell=cell_fingerprint(parts),
            score_fingerprint=score_fingerprint(fingerprint, job),
            manifest=copy.key,
            # Where val is the test, it chooses among cells and ends trainings early even under `rule: last`.
            selected_on_test=copy.dataset.val_is_test
            or (job.selection.rule == "best" and job.selection.split == "test"),
        )


def task_of(job: Job, entry: ModelEntry, dataset: Dataset, manifest: Manifest, artifacts: Artifacts) -> Task:
    """The task of a single job, as a plan has it.

    Args:
        job: the job, nothing left open.
        entry: its network.
        dataset: the copy of its data.
        manifest: of the copy.
        artifacts: where its label maps go.
    """
    copies = {(job.dataset.name, job.dataset.variant): _Copy(dataset, manifest)}
    return _Planner({job.model.name: entry}, copies, artifacts, frozenset()).task(job)


def _searched(
    suite: Suite, jobs: Sequence[Job], planner: _Planner, store: Store | None, automatic: Automatic
) -> tuple[list[Job], list[SearchTask]]:
    """The winners of the searches that are done, and the searches that are not."""
    given = suite.search
    assert given is not None  # noqa: S101 (the caller asked)
    winners: list[Job] = []
    open_searches = []
    bases = {(job.dataset.name, job.dataset.variant, job.model.title): job for job in reversed(jobs)}
    for base in reversed(list(bases.values())):
        if base.model.checkpoint is not None:
            continue  # weights that are only scored: there is nothing to search
        job = base.model_copy(update={"seed": given.seed, "grid": {}})
        job = job.model_copy(update={"recipe": Recipe.model_validate(merge(suite.recipe, base.model.recipe))})
        (job,) = automatic.resolve([job])
        copy = planner.copy(job)
        search = search_around(given, job.recipe, job.model.title)
        _refuse_unfair_search(job, copy.dataset, search.searcher)
        about = {"search": canonical(search), **searched_backbone(search, planner.entries[job.model.name])}
        key = digest({**about, "job": planner.parts(job)})[:40]
        found = store.search_result(key) if store else None
        if found is not None:
            winners += [tuned(job, found, seed) for seed in suite.seeds]
            continue
        task = Task(
            job,
            planner.entries[job.model.name],
            fingerprint=key,
            data_root=str(copy.dataset.root),
            folder=planner.artifacts.of(f"search-{key[:16]}").location,
            kind="search trial",
            content=copy.manifest.content_hash,
        )
        open_searches.append(SearchTask(key, task, search))
    return winners, open_searches


def _refuse_unfair_search(job: Job, dataset: Dataset, searcher: str) -> None:
    """Refuse a search that would see the scored images, or whose trials could not be compared."""
    SEARCHERS.get(searcher)
    if job.selection.rule != "best" or job.selection.split != "val":
        raise SuiteError(f"suite {job.suite}: search: needs selection {{rule: best, split: val}}: test is only scored")
    if not job.recipe.epochs:
        raise SuiteError(f"suite {job.suite}: search: needs a recipe whose length is in epochs")
    if dataset.val_is_test:
        raise SuiteError(
            f"suite {job.suite}: search: {dataset.info.name} ({dataset.variant}) has no val of its own: "
            "the search would see the images that are scored"
        )


def _sort_by_state(plan: Plan, tasks: Sequence[Task], store: Store | None) -> list[str]:
    """Put each task where it belongs; returns what to tell of those that are withdrawn, which stay as they are."""
    fingerprints = [task.fingerprint for task in tasks]
    states = store.states(fingerprints) if store else {}
    scored = store.scored([task.score_fingerprint for task in tasks]) if store else set()
    withdrawn = withdrawn_among(store, fingerprints) if store else {}
    notes = []
    for task in tasks:
        word = withdrawn.get(task.fingerprint)
        if word is not None:
            plan.done.append(task)
            back = f"`bench withdraw {word.run_id} --restore --why …` puts it back"
            notes.append(f"Not done again: run {word.run_id} ({task.job.title}) is {word.text}. {back}.")
        elif states.get(task.fingerprint) != "ok":
            plan.train.append(task)
        elif task.score_fingerprint not in scored:
            plan.rescore.append(replace(task, kind="rescore"))
        else:
            plan.done.append(task)
    return notes
